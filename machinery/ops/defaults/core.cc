#include "machinery/ops/defaults/table.h"

namespace machinery::ops::defaults {
namespace {

using value::Map;
using value::Value;

void ImagePullPolicy(Value& v, const Context&) {
  if (NoText(v, "imagePullPolicy")) v.Set("imagePullPolicy", PullPolicyOf(v.At("image").string_or()));
}

void ImageVolumeSource(Value& v, const Context&) {
  if (NoText(v, "pullPolicy")) v.Set("pullPolicy", PullPolicyOf(v.At("reference").string_or()));
}

// Requests follow limits in a Pod, not in a template: a template may still meet a LimitRange.
void RequestsFromLimits(Value& container) {
  const Value& limits = container.At("resources", "limits");
  if (!limits.is_map() || limits.map().empty()) return;
  Map wanted = limits.map();
  Value& requests = container.Ensure("resources").Ensure("requests");
  if (!requests.is_map()) requests = Value(Map{});
  for (auto& e : wanted.entries()) SetIfAbsent(requests, e.key, std::move(e.value));
}

void Pod(Value& v, const Context&) {
  if (!v.At("spec").is_map()) return;
  Value& spec = v.Ensure("spec");
  bool host_network = spec.At("hostNetwork").bool_or();
  for (const char* field : {"containers", "initContainers"}) {
    ForEach(spec, field, [&](Value& container) {
      RequestsFromLimits(container);
      if (!host_network) return;
      ForEach(container, "ports", [](Value& port) {
        if (port.At("hostPort").int_or() == 0) port.Set("hostPort", port.At("containerPort").int_or());
      });
    });
  }
  PodLevelResources(spec);
}

// A volume that names no source is an empty directory.
void Volume(Value& v, const Context&) {
  if (!v.is_map()) return;
  for (const auto& e : v.map())
    if (e.key != "name" && !e.value.is_null()) return;
  v.Set("emptyDir", Value(Map{}));
}

void Namespace(Value& v, const Context&) {
  std::string name(v.At("metadata", "name").string_or());
  if (!name.empty()) v.Ensure("metadata").Ensure("labels").Set("kubernetes.io/metadata.name", name);
}

void NodeStatus(Value& v, const Context&) {
  if (Absent(v, "allocatable") && v.At("capacity").is_map()) {
    Value copy = v.At("capacity");
    v.Set("allocatable", std::move(copy));
  }
}

void FillFrom(Value& target, const Value& source) {
  if (!source.is_map()) return;
  for (const auto& e : source.map()) SetIfAbsent(target, e.key, e.value);
}

void LimitRangeItem(Value& v, const Context&) {
  if (v.At("type").string_or() != "Container") return;
  Value limits = v.At("default").is_map() ? v.At("default") : Value(Map{});
  FillFrom(limits, v.At("max"));
  Value requests = v.At("defaultRequest").is_map() ? v.At("defaultRequest") : Value(Map{});
  FillFrom(requests, limits);
  FillFrom(requests, v.At("min"));
  v.Set("default", std::move(limits));
  v.Set("defaultRequest", std::move(requests));
}

void ReplicationController(Value& v, const Context&) {
  const Value& labels = v.At("spec", "template", "metadata", "labels");
  if (!labels.is_map()) return;
  Value copy = labels;
  if (NoEntries(v.At("spec"), "selector")) v.Ensure("spec").Set("selector", copy);
  if (NoEntries(v.At("metadata"), "labels")) v.Ensure("metadata").Set("labels", std::move(copy));
}

}  // namespace

std::vector<TypeDefault> CoreDefaults() {
  return {{"k8s.io.api.core.v1.Container", ImagePullPolicy},
          {"k8s.io.api.core.v1.EphemeralContainerCommon", ImagePullPolicy},
          {"k8s.io.api.core.v1.ImageVolumeSource", ImageVolumeSource},
          {"k8s.io.api.core.v1.Pod", Pod},
          {"k8s.io.api.core.v1.Volume", Volume},
          {"k8s.io.api.core.v1.Namespace", Namespace},
          {"k8s.io.api.core.v1.NodeStatus", NodeStatus},
          {"k8s.io.api.core.v1.LimitRangeItem", LimitRangeItem},
          {"k8s.io.api.core.v1.ReplicationController", ReplicationController}};
}

}  // namespace machinery::ops::defaults
