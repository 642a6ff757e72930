#include "apiserver/registry/core/pod_fields.h"

#include <map>

#include "apiserver/registry/validation/pod_parts.h"
#include "apiserver/registry/validation/validation.h"
#include "machinery/object/meta.h"
#include "machinery/ops/validation.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

namespace {

constexpr size_t kMaxProfileName = 4095;

template <class F>
void EachItem(Value& parent, std::string_view field, F f) {
  if (!parent.At(field).is_list()) return;
  for (Value& item : parent.Ensure(field).list()) f(item);
}

// A name that the field would not take is not taken from the annotation either.
bool IsFitProfile(const Value& profile) {
  if (profile.is_null()) return false;
  std::string_view name = profile.At("localhostProfile").string_or();
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  bool padded = !name.empty() && (kSpace.find(name.front()) != kSpace.npos || kSpace.find(name.back()) != kSpace.npos);
  return !padded && name.size() <= kMaxProfileName;
}

// The requirements that keys of the pod's own labels stand for.
void AddRequirements(Value& selector, const Value& keys, std::string_view op, const Value& labels) {
  if (!keys.is_list()) return;
  for (const Value& key : keys.list()) {
    const Value& value = labels.At(key.string_or());
    if (!value.is_string()) continue;
    Value& expressions = selector.Ensure("matchExpressions");
    if (!expressions.is_list()) expressions = Value(List{});
    expressions.list().emplace_back(Map{{"key", Value(key)}, {"operator", Value(op)}, {"values", Value(List{value})}});
  }
}

// A term without a selector matches nothing, keys or not.
void CompleteTerm(Value& term, const Value& labels) {
  if (!term.At("labelSelector").is_map()) return;
  const Value match = term.At("matchLabelKeys"), mismatch = term.At("mismatchLabelKeys");
  AddRequirements(term.Ensure("labelSelector"), match, "In", labels);
  AddRequirements(term.Ensure("labelSelector"), mismatch, "NotIn", labels);
}

}  // namespace

std::vector<std::string> AppArmorFromAnnotations(Value& pod) {
  std::vector<std::string> warnings;
  const Value annotations = object::AnnotationsOf(pod);
  if (!annotations.is_map() || pod.At("spec", "os", "name").string_or() == "windows") return warnings;
  const Value whole = pod.At("spec", "securityContext", "appArmorProfile");
  for (std::string_view list : validation::kContainerLists) {
    EachItem(pod.Ensure("spec"), list, [&](Value& container) {
      std::string key = std::string(validation::kAppArmor) + std::string(container.At("name").string_or());
      const Value& annotation = annotations.At(key);
      if (!annotation.is_string() || !container.At("securityContext", "appArmorProfile").is_null()) return;
      Value profile = validation::AppArmorProfileOf(annotation.as_string());
      bool fit = IsFitProfile(profile), news = fit && !(profile == whole);
      if (news) container.Ensure("securityContext").Set("appArmorProfile", std::move(profile));
      if (!fit || news)
        warnings.push_back(machinery::ops::Key("metadata.annotations", key) +
                           ": deprecated since v1.30; use the \"appArmorProfile\" field instead");
    });
  }
  return warnings;
}

void MatchOwnLabels(Value& pod) {
  const Value labels = object::LabelsOf(pod);
  Value& spec = pod.Ensure("spec");
  for (std::string_view which : {"podAffinity", "podAntiAffinity"}) {
    if (!spec.At("affinity", which).is_map()) continue;
    Value& affinity = spec.Ensure("affinity").Ensure(which);
    EachItem(affinity, "preferredDuringSchedulingIgnoredDuringExecution", [&](Value& wish) {
      if (wish.At("podAffinityTerm").is_map()) CompleteTerm(wish.Ensure("podAffinityTerm"), labels);
    });
    EachItem(affinity, "requiredDuringSchedulingIgnoredDuringExecution",
             [&](Value& term) { CompleteTerm(term, labels); });
  }
  EachItem(spec, "topologySpreadConstraints", [&](Value& constraint) { CompleteTerm(constraint, labels); });
}

void KeepObservedGenerations(Value& pod, const Value& old) {
  if (!pod.At("status").is_map()) return;
  Value& status = pod.Ensure("status");
  auto keep = [](Value& v, const Value& generation) {
    if (v.At("observedGeneration").int_or() == 0 && generation.int_or() != 0) v.Set("observedGeneration", generation);
  };
  keep(status, old.At("status", "observedGeneration"));
  // More than one condition of a type is allowed: they are taken in their order.
  std::map<std::string, std::vector<Value>, std::less<>> before;
  if (old.At("status", "conditions").is_list())
    for (const Value& c : old.At("status", "conditions").list())
      before[std::string(c.At("type").string_or())].push_back(c.At("observedGeneration"));
  std::map<std::string, size_t, std::less<>> taken;
  EachItem(status, "conditions", [&](Value& c) {
    std::string type(c.At("type").string_or());
    const auto& known = before[type];
    size_t n = taken[type]++;
    if (n < known.size()) keep(c, known[n]);
  });
}

}  // namespace apiserver::registry
