// autoscaling/v1 knows one metric, CPU utilization. What v2 has beyond that travels through v1 in annotations, in the
// shapes that the original writes there, so that a v1 client which updates an object does not lose it.
#include <optional>
#include <string>
#include <vector>

#include "machinery/object/meta.h"
#include "machinery/value/value.h"

namespace machinery::ops::conversions {
namespace {

using value::List;
using value::Map;
using value::Value;

constexpr const char* kMetrics = "autoscaling.alpha.kubernetes.io/metrics";
constexpr const char* kCurrentMetrics = "autoscaling.alpha.kubernetes.io/current-metrics";
constexpr const char* kConditions = "autoscaling.alpha.kubernetes.io/conditions";
constexpr const char* kBehavior = "autoscaling.alpha.kubernetes.io/behavior";
constexpr const char* kAnnotations[] = {kMetrics,
                                        kCurrentMetrics,
                                        kConditions,
                                        kBehavior,
                                        "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
                                        "autoscaling.alpha.kubernetes.io/scale-up-tolerance"};

// Where a field of a metric stands in the annotation and where in v2 (below the source's own field).
struct Move {
  const char* source;  // "external"
  const char* flat;    // "metricName"
  std::vector<const char*> path;
};
const std::vector<Move> kSpecMoves = {
    {"external", "metricName", {"metric", "name"}},
    {"external", "metricSelector", {"metric", "selector"}},
    {"external", "targetValue", {"target", "value"}},
    {"external", "targetAverageValue", {"target", "averageValue"}},
    {"object", "target", {"describedObject"}},
    {"object", "metricName", {"metric", "name"}},
    {"object", "targetValue", {"target", "value"}},
    {"object", "selector", {"metric", "selector"}},
    {"object", "averageValue", {"target", "averageValue"}},
    {"pods", "metricName", {"metric", "name"}},
    {"pods", "targetAverageValue", {"target", "averageValue"}},
    {"pods", "selector", {"metric", "selector"}},
    {"resource", "name", {"name"}},
    {"resource", "targetAverageUtilization", {"target", "averageUtilization"}},
    {"resource", "targetAverageValue", {"target", "averageValue"}},
    {"containerResource", "name", {"name"}},
    {"containerResource", "targetAverageUtilization", {"target", "averageUtilization"}},
    {"containerResource", "targetAverageValue", {"target", "averageValue"}},
    {"containerResource", "container", {"container"}},
};
const std::vector<Move> kStatusMoves = {
    {"external", "metricName", {"metric", "name"}},
    {"external", "metricSelector", {"metric", "selector"}},
    {"external", "currentValue", {"current", "value"}},
    {"external", "currentAverageValue", {"current", "averageValue"}},
    {"object", "target", {"describedObject"}},
    {"object", "metricName", {"metric", "name"}},
    {"object", "currentValue", {"current", "value"}},
    {"object", "selector", {"metric", "selector"}},
    {"object", "averageValue", {"current", "averageValue"}},
    {"pods", "metricName", {"metric", "name"}},
    {"pods", "currentAverageValue", {"current", "averageValue"}},
    {"pods", "selector", {"metric", "selector"}},
    {"resource", "name", {"name"}},
    {"resource", "currentAverageUtilization", {"current", "averageUtilization"}},
    {"resource", "currentAverageValue", {"current", "averageValue"}},
    {"containerResource", "name", {"name"}},
    {"containerResource", "currentAverageUtilization", {"current", "averageUtilization"}},
    {"containerResource", "currentAverageValue", {"current", "averageValue"}},
    {"containerResource", "container", {"container"}},
};
// Values that the flat form always has, zero where v2 has none.
bool AlwaysThere(std::string_view source, std::string_view flat) {
  if (source == "object") return flat == "targetValue" || flat == "currentValue";
  if (source == "pods") return flat == "targetAverageValue" || flat == "currentAverageValue";
  return flat == "currentValue" || flat == "currentAverageValue";
}

Value Flatten(const Value& metric, const std::vector<Move>& moves) {
  Map out{{"type", metric.At("type")}};
  for (const Move& m : moves) {
    const Value& source = metric.At(m.source);
    if (!source.is_map()) continue;
    const Value* v = &source;
    for (const char* step : m.path) v = &v->At(step);
    if (!out.Has(m.source)) out.Set(m.source, Value(Map{}));
    Value& flat = *out.Find(m.source);
    if (!v->is_null()) {
      flat.Set(m.flat, *v);
    } else if (AlwaysThere(m.source, m.flat)) {
      flat.Set(m.flat, "0");
    }
  }
  return Value(std::move(out));
}

Value Unflatten(const Value& metric, const std::vector<Move>& moves, const char* values) {
  Map out{{"type", metric.At("type")}};
  for (const Move& m : moves) {
    const Value& v = metric.At(m.source).At(m.flat);
    if (v.is_null()) continue;
    if (!out.Has(m.source)) out.Set(m.source, Value(Map{}));
    Value* at = out.Find(m.source);
    for (size_t i = 0; i + 1 < m.path.size(); ++i) at = &at->Ensure(m.path[i]);
    at->Set(m.path.back(), v);
  }
  // v2 says which of its values is meant; the flat form leaves that to which is set.
  for (auto& e : out.entries()) {
    if (e.key == "type" || std::string_view(values) != "target") continue;
    Value& target = e.value.Ensure("target");
    bool utilization = target.At("averageUtilization").is_int();
    bool average = target.At("averageValue").is_string();
    if (e.key == "object" && average) target.Remove("value");  // the flat form's zero
    target.Set("type", utilization ? "Utilization" : average ? "AverageValue" : "Value");
  }
  return Value(std::move(out));
}

bool IsCpuUtilization(const Value& metric) {
  return metric.At("type").string_or() == "Resource" && metric.At("resource", "name").string_or() == "cpu" &&
         metric.At("resource", "target", "averageUtilization").is_int();
}

Value CpuMetric(int64_t percent) {
  return Value(Map{
      {"type", Value("Resource")},
      {"resource",
       Value(Map{{"name", Value("cpu")},
                 {"target", Value(Map{{"type", Value("Utilization")}, {"averageUtilization", Value(percent)}})}})}});
}

// The annotation holds Go's own names, as it was once written from a struct without tags.
Value GoRules(const Value& rules) {
  if (!rules.is_map()) return Value();
  Value policies;
  if (rules.At("policies").is_list()) {
    policies = Value(List{});
    for (const Value& p : rules.At("policies").list()) {
      policies.list().push_back(
          Value(Map{{"Type", p.At("type")}, {"Value", p.At("value")}, {"PeriodSeconds", p.At("periodSeconds")}}));
    }
  }
  return Value(Map{{"StabilizationWindowSeconds", rules.At("stabilizationWindowSeconds")},
                   {"SelectPolicy", rules.At("selectPolicy")},
                   {"Policies", std::move(policies)},
                   {"Tolerance", rules.At("tolerance")}});
}

std::string Uncapitalized(std::string key) {
  if (!key.empty() && key[0] >= 'A' && key[0] <= 'Z') key[0] = static_cast<char>(key[0] - 'A' + 'a');
  return key;
}
Value FromGoNames(const Value& v) {
  if (v.is_list()) {
    List out;
    for (const Value& item : v.list()) out.push_back(FromGoNames(item));
    return Value(std::move(out));
  }
  if (!v.is_map()) return v;
  Map out;
  for (const auto& e : v.map())
    if (!e.value.is_null()) out.Append(Uncapitalized(e.key), FromGoNames(e.value));
  return Value(std::move(out));
}

std::optional<Value> ReadAnnotation(const Value& object, const char* key) {
  const Value& text = object::AnnotationsOf(object).At(key);
  if (!text.is_string()) return std::nullopt;
  auto parsed = value::FromJson(text.as_string());
  if (!parsed) return std::nullopt;
  return std::move(*parsed);
}

void DropAnnotations(Value& object) {
  for (const char* key : kAnnotations) object::RemoveAnnotation(object, key);
}

void CopyFields(const Value& from, Value& to, std::initializer_list<const char*> fields) {
  for (const char* f : fields)
    if (!from.At(f).is_null()) to.Set(f, from.At(f));
}

}  // namespace

Value AutoscalerV2ToV1(Value v) {
  Value spec(Map{}), status(Map{});
  CopyFields(v.At("spec"), spec, {"scaleTargetRef", "minReplicas", "maxReplicas"});
  CopyFields(v.At("status"), status, {"observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas"});
  List others, current;
  if (const Value& metrics = v.At("spec", "metrics"); metrics.is_list()) {
    for (const Value& m : metrics.list()) {
      if (!IsCpuUtilization(m)) {
        others.push_back(Flatten(m, kSpecMoves));
      } else if (spec.At("targetCPUUtilizationPercentage").is_null()) {
        spec.Set("targetCPUUtilizationPercentage", m.At("resource", "target", "averageUtilization"));
      }
    }
  }
  if (const Value& metrics = v.At("status", "currentMetrics"); metrics.is_list()) {
    for (const Value& m : metrics.list()) {
      current.push_back(Flatten(m, kStatusMoves));
      bool cpu = m.At("type").string_or() == "Resource" && m.At("resource", "name").string_or() == "cpu";
      const Value& percent = m.At("resource", "current", "averageUtilization");
      if (cpu && percent.is_int()) status.Set("currentCPUUtilizationPercentage", percent);
    }
  }
  DropAnnotations(v);
  auto annotate = [&](const char* key, const Value& content) { object::SetAnnotation(v, key, value::ToJson(content)); };
  if (!others.empty()) annotate(kMetrics, Value(std::move(others)));
  if (!current.empty()) annotate(kCurrentMetrics, Value(std::move(current)));
  if (const Value& behavior = v.At("spec", "behavior"); behavior.is_map()) {
    annotate(kBehavior, Value(Map{{"ScaleUp", GoRules(behavior.At("scaleUp"))},
                                  {"ScaleDown", GoRules(behavior.At("scaleDown"))}}));
  }
  if (const Value& conditions = v.At("status", "conditions"); conditions.is_list() && !conditions.list().empty())
    annotate(kConditions, conditions);
  v.Set("spec", std::move(spec));
  v.Set("status", std::move(status));
  return v;
}

Value AutoscalerV1ToV2(Value v) {
  Value spec(Map{}), status(Map{});
  CopyFields(v.At("spec"), spec, {"scaleTargetRef", "minReplicas", "maxReplicas"});
  CopyFields(v.At("status"), status, {"observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas"});
  List metrics;
  if (auto others = ReadAnnotation(v, kMetrics); others && others->is_list())
    for (const Value& m : others->list()) metrics.push_back(Unflatten(m, kSpecMoves, "target"));
  const Value& percent = v.At("spec", "targetCPUUtilizationPercentage");
  if (percent.is_int()) metrics.push_back(CpuMetric(percent.as_int()));
  // The default that v1 left to the controller.
  if (metrics.empty()) metrics.push_back(CpuMetric(80));
  spec.Set("metrics", Value(std::move(metrics)));
  if (auto behavior = ReadAnnotation(v, kBehavior)) {
    Value converted = FromGoNames(*behavior);
    if (converted.is_map() && !converted.map().empty()) spec.Set("behavior", std::move(converted));
  }
  if (auto current = ReadAnnotation(v, kCurrentMetrics); current && current->is_list()) {
    List list;
    for (const Value& m : current->list()) list.push_back(Unflatten(m, kStatusMoves, "current"));
    status.Set("currentMetrics", Value(std::move(list)));
  } else if (const Value& now = v.At("status", "currentCPUUtilizationPercentage"); now.is_int()) {
    status.Set(
        "currentMetrics",
        Value(List{Value(Map{
            {"type", Value("Resource")},
            {"resource", Value(Map{{"name", Value("cpu")}, {"current", Value(Map{{"averageUtilization", now}})}})}})}));
  }
  if (auto conditions = ReadAnnotation(v, kConditions); conditions && conditions->is_list())
    status.Set("conditions", std::move(*conditions));
  DropAnnotations(v);
  v.Set("spec", std::move(spec));
  v.Set("status", std::move(status));
  return v;
}

}  // namespace machinery::ops::conversions
