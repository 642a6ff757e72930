// Fields that say one thing under two names, and old ways of saying it. The original settles them whenever it converts
// between a served version and its own form; so every stored and every shown object has them settled, and a writer of
// either name is understood.
#include <algorithm>

#include "base/bytes.h"
#include "machinery/ops/defaults/table.h"

namespace machinery::ops::defaults {
namespace {

using value::List;
using value::Map;
using value::Value;

constexpr std::string_view kInitContainerAnnotations[] = {
    "pod.beta.kubernetes.io/init-containers", "pod.alpha.kubernetes.io/init-containers",
    "pod.beta.kubernetes.io/init-container-statuses", "pod.alpha.kubernetes.io/init-container-statuses"};

// serviceAccount is the old name of serviceAccountName; where they disagree the newer name wins.
void PodSpec(Value& v, const Context&) {
  const Value& name = v.At("serviceAccountName");
  if (name.string_or().empty()) {
    if (NoText(v, "serviceAccount")) return;
    v.Set("serviceAccountName", Value(v.At("serviceAccount")));
  } else if (!(v.At("serviceAccount") == name)) {
    v.Set("serviceAccount", Value(name));
  }
}

// What init containers were before they had a field; kubelets of that time would act on it.
void DropInitContainerAnnotations(Value& v, const Context&) {
  const Value& annotations = v.At("metadata", "annotations");
  if (!annotations.is_map()) return;
  for (std::string_view key : kInitContainerAnnotations)
    if (annotations.map().Find(key)) v.Ensure("metadata").Ensure("annotations").Remove(key);
}

// A negative grace period was let in once; in a pod (not in a template) it means the shortest one.
void PodGracePeriod(Value& v, const Context&) {
  if (v.At("spec", "terminationGracePeriodSeconds").int_or() < 0)
    v.Ensure("spec").Set("terminationGracePeriodSeconds", 1);
}

// The first of the list is the single field; a writer of the single field alone wins over a list that disagrees.
void PodStatus(Value& v, const Context&) {
  std::string ip(v.At("podIP").string_or());
  const Value& list = v.At("podIPs");
  bool empty = !list.is_list() || list.list().empty();
  std::string first(empty ? "" : list.At(size_t{0}).At("ip").string_or());
  if (ip.empty()) {
    if (!first.empty()) v.Set("podIP", first);
  } else if (empty || first != ip) {
    v.Set("podIPs", Value(List{Value(Map{{"ip", Value(ip)}})}));
  }
}

void NodeSpec(Value& v, const Context&) {
  std::string range(v.At("podCIDR").string_or());
  const Value& list = v.At("podCIDRs");
  bool empty = !list.is_list() || list.list().empty();
  std::string first(empty ? "" : list.At(size_t{0}).string_or());
  if (range.empty()) {
    if (!first.empty()) v.Set("podCIDR", first);
  } else if (empty || first != range) {
    v.Set("podCIDRs", Value(List{Value(range)}));
  }
}

// stringData is for writing only: plain text that goes into data.
void Secret(Value& v, const Context&) {
  if (v.At("stringData").is_null()) return;
  Value text = v.At("stringData");
  v.Remove("stringData");
  if (!text.is_map()) return;
  for (const auto& e : text.map()) v.Ensure("data").Set(e.key, base::Base64Encode(e.value.string_or()));
}

// What policy/v1beta1 added to a selector to say "none" or "all"; in v1 it means something only where it stands alone.
void PodDisruptionBudgetSpec(Value& v, const Context&) {
  constexpr std::string_view kLabel = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";
  const Value& selector = v.At("selector");
  const Value& expressions = selector.At("matchExpressions");
  if (!expressions.is_list()) return;
  auto is_marker = [&](const Value& e) { return e.At("key").string_or() == kLabel; };
  const List& list = expressions.list();
  if (std::none_of(list.begin(), list.end(), is_marker)) return;
  bool alone = list.size() == 1 && NoEntries(selector, "matchLabels");
  if (alone && list[0].At("operator").string_or() == "Exists" && NoEntries(list[0], "values")) return;
  std::erase_if(v.Ensure("selector").Ensure("matchExpressions").list(), is_marker);
}

}  // namespace

std::vector<TypeDefault> Aliases() {
  return {{"k8s.io.api.core.v1.PodSpec", PodSpec},
          {"k8s.io.api.core.v1.Pod", DropInitContainerAnnotations},
          {"k8s.io.api.core.v1.Pod", PodGracePeriod},
          {"k8s.io.api.core.v1.PodTemplateSpec", DropInitContainerAnnotations},
          {"k8s.io.api.core.v1.PodStatus", PodStatus},
          {"k8s.io.api.core.v1.NodeSpec", NodeSpec},
          {"k8s.io.api.core.v1.Secret", Secret},
          {"k8s.io.api.policy.v1.PodDisruptionBudgetSpec", PodDisruptionBudgetSpec}};
}

}  // namespace machinery::ops::defaults
