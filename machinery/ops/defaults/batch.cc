#include <limits>

#include "machinery/ops/defaults/table.h"

namespace machinery::ops::defaults {
namespace {

using value::Map;
using value::Value;

void Job(Value& v, const Context&) {
  Value& spec = v.Ensure("spec");
  // Neither given: a job of one pod.
  if (Absent(spec, "completions") && Absent(spec, "parallelism")) spec.Set("completions", 1);
  SetIfAbsent(spec, "backoffLimit", Absent(spec, "backoffLimitPerIndex") ? 6 : std::numeric_limits<int32_t>::max());
  SetIfAbsent(spec, "podReplacementPolicy", Absent(spec, "podFailurePolicy") ? "TerminatingOrFailed" : "Failed");
  const Value& labels = spec.At("template", "metadata", "labels");
  if (labels.is_map() && NoEntries(v.At("metadata"), "labels")) {
    Value copy = labels;
    v.Ensure("metadata").Set("labels", std::move(copy));
  }
}

Value Policy(std::string_view type, int n) {
  return Value(Map{{"type", Value(type)}, {"value", Value(n)}, {"periodSeconds", Value(15)}});
}

void HorizontalPodAutoscalerBehavior(Value& v, const Context&) {
  SetIfAbsent(v, "scaleUp", Value(Map{}));
  Value& up = v.Ensure("scaleUp");
  SetIfAbsent(up, "stabilizationWindowSeconds", 0);
  SetIfAbsent(up, "selectPolicy", "Max");
  if (Absent(up, "policies")) up.Set("policies", Value(value::List{Policy("Pods", 4), Policy("Percent", 100)}));
  SetIfAbsent(v, "scaleDown", Value(Map{}));
  Value& down = v.Ensure("scaleDown");
  SetIfAbsent(down, "selectPolicy", "Max");
  if (Absent(down, "policies")) down.Set("policies", Value(value::List{Policy("Percent", 100)}));
}

}  // namespace

std::vector<TypeDefault> BatchDefaults() {
  return {{"k8s.io.api.batch.v1.Job", Job},
          {"k8s.io.api.autoscaling.v2.HorizontalPodAutoscalerBehavior", HorizontalPodAutoscalerBehavior}};
}

}  // namespace machinery::ops::defaults
