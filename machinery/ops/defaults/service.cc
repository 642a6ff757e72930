#include "machinery/ops/defaults/table.h"

namespace machinery::ops::defaults {
namespace {

using value::Map;
using value::Value;

void ServiceSpec(Value& v, const Context&) {
  std::string_view affinity = v.At("sessionAffinity").string_or("None");
  if (affinity == "None" || affinity.empty()) v.Remove("sessionAffinityConfig");
  if (affinity == "ClientIP" && v.At("sessionAffinityConfig", "clientIP", "timeoutSeconds").is_null())
    v.Set("sessionAffinityConfig", Value(Map{{"clientIP", Value(Map{{"timeoutSeconds", Value(10800)}})}}));
  std::string type(v.At("type").string_or());
  if (type.empty()) type = "ClusterIP";
  bool balanced = type == "LoadBalancer";
  bool outside = balanced || type == "NodePort" || (type == "ClusterIP" && !NoEntries(v, "externalIPs"));
  if (outside && NoText(v, "externalTrafficPolicy")) v.Set("externalTrafficPolicy", "Cluster");
  if (balanced || type == "NodePort" || type == "ClusterIP") SetIfAbsent(v, "internalTrafficPolicy", "Cluster");
  if (balanced) SetIfAbsent(v, "allocateLoadBalancerNodePorts", true);
}

void ServicePort(Value& v, const Context&) {
  const Value& target = v.At("targetPort");
  bool unset = target.is_null() || (target.is_int() && target.as_int() == 0) ||
               (target.is_string() && target.as_string().empty());
  if (unset) v.Set("targetPort", v.At("port").int_or());
}

void Service(Value& v, const Context&) {
  if (v.At("spec", "type").string_or() != "LoadBalancer" || !v.At("status", "loadBalancer").is_map()) return;
  ForEach(v.Ensure("status").Ensure("loadBalancer"), "ingress", [](Value& ingress) {
    if (!NoText(ingress, "ip")) SetIfAbsent(ingress, "ipMode", "VIP");
  });
}

}  // namespace

std::vector<TypeDefault> ServiceDefaults() {
  return {{"k8s.io.api.core.v1.Service", Service},
          {"k8s.io.api.core.v1.ServiceSpec", ServiceSpec},
          {"k8s.io.api.core.v1.ServicePort", ServicePort}};
}

}  // namespace machinery::ops::defaults
