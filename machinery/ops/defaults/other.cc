#include "base/strings.h"
#include "machinery/ops/defaults/table.h"

namespace machinery::ops::defaults {
namespace {

using value::List;
using value::Map;
using value::Value;

void NetworkPolicySpec(Value& v, const Context&) {
  if (!NoEntries(v, "policyTypes")) return;
  List types{Value("Ingress")};
  if (!NoEntries(v, "egress")) types.emplace_back("Egress");
  v.Set("policyTypes", Value(std::move(types)));
}

void Subject(Value& v, const Context&) {
  std::string_view kind = v.At("kind").string_or();
  if (NoText(v, "apiGroup") && (kind == "User" || kind == "Group")) v.Set("apiGroup", "rbac.authorization.k8s.io");
}

void CountOfExact(Value& v, const Context&) {
  std::string_view mode = v.At("allocationMode").string_or();
  if ((mode.empty() || mode == "ExactCount") && v.At("count").int_or() == 0) v.Set("count", 1);
}

// In v1beta1 a request either names a class (and then has a mode and a count) or offers alternatives.
void DeviceRequestV1Beta1(Value& v, const Context& context) {
  if (NoText(v, "deviceClassName")) return;
  if (NoText(v, "allocationMode")) v.Set("allocationMode", "ExactCount");
  CountOfExact(v, context);
}

void DeviceTaint(Value& v, const Context& context) {
  if (!context.now.empty()) SetIfAbsent(v, "timeAdded", context.now);
}

void CustomResourceDefinition(Value& v, const Context&) {
  if (v.At("spec", "names").is_map()) {
    Value& names = v.Ensure("spec").Ensure("names");
    std::string kind(names.At("kind").string_or());
    if (NoText(names, "singular") && !kind.empty()) names.Set("singular", base::Lower(kind));
    if (NoText(names, "listKind") && !kind.empty()) names.Set("listKind", kind + "List");
  }
  if (!NoEntries(v.At("status"), "storedVersions") || !v.At("spec", "versions").is_list()) return;
  for (const Value& version : v.At("spec", "versions").list()) {
    if (!version.At("storage").bool_or()) continue;
    Value name = version.At("name");
    v.Ensure("status").Set("storedVersions", Value(List{std::move(name)}));
    return;
  }
}

}  // namespace

std::vector<TypeDefault> OtherDefaults() {
  return {
      {"k8s.io.api.networking.v1.NetworkPolicySpec", NetworkPolicySpec},
      {"k8s.io.api.rbac.v1.Subject", Subject},
      {"k8s.io.api.resource.v1.DeviceSubRequest", CountOfExact},
      {"k8s.io.api.resource.v1.ExactDeviceRequest", CountOfExact},
      {"k8s.io.api.resource.v1beta2.DeviceSubRequest", CountOfExact},
      {"k8s.io.api.resource.v1beta2.ExactDeviceRequest", CountOfExact},
      {"k8s.io.api.resource.v1beta1.DeviceSubRequest", CountOfExact},
      {"k8s.io.api.resource.v1beta1.DeviceRequest", DeviceRequestV1Beta1},
      {"k8s.io.api.resource.v1.DeviceTaint", DeviceTaint},
      {"k8s.io.api.resource.v1alpha3.DeviceTaint", DeviceTaint},
      {"k8s.io.api.resource.v1beta1.DeviceTaint", DeviceTaint},
      {"k8s.io.api.resource.v1beta2.DeviceTaint", DeviceTaint},
      {"k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition", CustomResourceDefinition}};
}

}  // namespace machinery::ops::defaults
