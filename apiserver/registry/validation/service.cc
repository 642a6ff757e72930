// Services, Endpoints and EndpointSlices. What needs an allocator (is the address free, is it in range) is not here.
#include <algorithm>

#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

const Names kProtocols = {"SCTP", "TCP", "UDP"};
const Names kServiceTypes = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"};
constexpr const char* kOnlyLoadBalancer = "may only be used when `type` is 'LoadBalancer'";
constexpr const char* kMayNotChange = "may not change once set";

bool IsType(const Value& spec, std::string_view type) { return spec.At("type").string_or() == type; }
bool IsHeadless(const Value& spec) {
  const List& ips = Items(spec.At("clusterIPs"));
  return ips.size() == 1 && ips[0].string_or() == "None";
}
bool IsReachableFromOutside(const Value& spec) {
  return IsType(spec, "LoadBalancer") || IsType(spec, "NodePort") ||
         (IsType(spec, "ClusterIP") && Size(spec.At("externalIPs")) > 0);
}
bool NeedsHealthCheckPort(const Value& spec) {
  return IsType(spec, "LoadBalancer") && spec.At("externalTrafficPolicy").string_or() == "Local";
}
bool IsIn(const Value& list, const std::string& text) {
  return std::any_of(Items(list).begin(), Items(list).end(), [&](const Value& v) { return v.string_or() == text; });
}
// A text that was there before is tolerated.
FieldErrors ValidateIp(const std::string& ip, const Value& existing, const std::string& path) {
  return IsIn(existing, ip) ? FieldErrors{} : object::IsValidLegacyIp(path, ip);
}

// An address that traffic can be sent to.
FieldErrors ValidateEndpointIp(const std::string& text, const std::string& path) {
  auto ip = object::ParseIp(text);
  if (!ip) return {Invalid(path, text, "must be a valid IP address")};
  FieldErrors errors;
  auto bad = [&](const std::string& why) { errors.push_back(Invalid(path, text, why)); };
  if (ip->IsUnspecified()) bad("may not be unspecified (" + text + ")");
  if (ip->IsLoopback()) bad("may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (ip->IsLinkLocalUnicast()) bad("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  if (ip->IsLinkLocalMulticast()) bad("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
  return errors;
}

// --- ports ---

FieldErrors ValidatePortName(const Value& name, bool required, const std::string& path) {
  if (NoText(name)) return required ? FieldErrors{Required(path)} : FieldErrors{};
  return Reasoned(path, name, object::IsDns1123Label(name.string_or()));
}
FieldErrors ValidateAppProtocol(const Value& port, const std::string& path) {
  const Value& protocol = port.At("appProtocol");
  if (!protocol.is_string()) return {};
  return Reasoned(Child(path, "appProtocol"), protocol, object::IsQualifiedName(protocol.as_string()));
}

FieldErrors ValidateServicePort(const Value& port, bool require_name, std::set<std::string>* names,
                                const std::string& path) {
  FieldErrors errors = ValidatePortName(port.At("name"), require_name, Child(path, "name"));
  if (!NoText(port.At("name")) && !names->insert(Text(port.At("name"))).second)
    errors.push_back(Duplicate(Child(path, "name"), port.At("name")));
  int64_t number = port.At("port").int_or();
  AppendInvalid(errors, Child(path, "port"), number, object::IsPortNumber(number));
  Append(errors, OneOf(Child(path, "protocol"), port.At("protocol"), kProtocols));
  Append(errors, ValidatePort(port.At("targetPort"), Child(path, "targetPort")));
  Append(errors, ValidateAppProtocol(port, path));
  return errors;
}

// Node ports that may not be there, and what two ports may not share.
FieldErrors ValidatePortsTogether(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const List& ports = Items(spec.At("ports"));
  if (IsType(spec, "ClusterIP")) {
    for (size_t i = 0; i < ports.size(); ++i)
      if (ports[i].At("nodePort").int_or() != 0)
        errors.push_back(
            FieldForbidden(Child(Index(path, i), "nodePort"), "may not be used when `type` is 'ClusterIP'"));
  }
  std::set<std::pair<std::string, int64_t>> node_ports, numbers;
  for (size_t i = 0; i < ports.size(); ++i) {
    int64_t number = ports[i].At("nodePort").int_or();
    if (number != 0 && !node_ports.insert({Text(ports[i].At("protocol")), number}).second)
      errors.push_back(Duplicate(Child(Index(path, i), "nodePort"), number));
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    std::string protocol = Text(ports[i].At("protocol"));
    int64_t number = ports[i].At("port").int_or();
    if (numbers.insert({protocol, number}).second) continue;
    Map key;  // as Go prints a port of which only these two are set
    key.Append("Name", "");
    key.Append("Protocol", protocol);
    key.Append("AppProtocol", Value());
    key.Append("Port", number);
    key.Append("TargetPort", 0);
    key.Append("NodePort", 0);
    errors.push_back(Duplicate(Index(path, i), Value(std::move(key))));
  }
  return errors;
}

// --- cluster IPs ---

FieldErrors ValidateFamilies(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const List& families = Items(spec.At("ipFamilies"));
  std::set<std::string> seen;
  for (size_t i = 0; i < families.size(); ++i) {
    std::string at = Index(Child(path, "ipFamilies"), i), family = Text(families[i]);
    if (family != "IPv4" && family != "IPv6") errors.push_back(NotSupported(at, family, {"IPv4", "IPv6"}));
    if (!seen.insert(family).second) errors.push_back(Duplicate(at, family));
  }
  const Names policies = {"PreferDualStack", "RequireDualStack", "SingleStack"};
  if (const Value& policy = spec.At("ipFamilyPolicy"); policy.is_string() && !Contains(policies, policy.as_string()))
    errors.push_back(NotSupported(Child(path, "ipFamilyPolicy"), policy, policies));
  return errors;
}

FieldErrors ValidateClusterIps(const Value& spec, const Value& old, const std::string& path) {
  if (IsType(spec, "ExternalName")) return {};
  FieldErrors errors;
  const Value &all = spec.At("clusterIPs"), &first = spec.At("clusterIP"), &existing = old.At("clusterIPs");
  const List &ips = Items(all), &families = Items(spec.At("ipFamilies"));
  std::string at = Child(path, "clusterIPs");
  if (!NoText(first)) {
    if (ips.empty()) {
      errors.push_back(Required(at));
    } else if (!(ips[0] == first)) {
      errors.push_back(Invalid(at, all, "first value must match `clusterIP`"));
    }
  } else if (!ips.empty()) {
    errors.push_back(Invalid(at, all, "must be empty when `clusterIP` is not specified"));
  }
  Append(errors, ValidateFamilies(spec, path));
  bool all_fine = true;
  for (size_t i = 0; i < ips.size(); ++i) {
    if (i == 0 && ips[i].string_or() == "None") {
      if (ips.size() == 1) continue;
      all_fine = false;
      errors.push_back(Invalid(at, all, "'None' must be the first and only value"));
      continue;
    }
    FieldErrors bad = ValidateIp(Text(ips[i]), existing, Index(at, i));
    all_fine &= bad.empty();
    Append(errors, std::move(bad));
  }
  if (ips.size() > 2) errors.push_back(Invalid(at, all, "may only hold up to 2 values"));
  if (!all_fine) return errors;
  auto is_v6 = [](const Value& ip) {
    auto parsed = object::ParseIp(Text(ip));
    return parsed && !parsed->v4;
  };
  if (ips.size() > 1) {
    auto sixes = std::count_if(ips.begin(), ips.end(), is_v6);
    if (sixes == 0 || static_cast<size_t>(sixes) == ips.size())
      errors.push_back(Invalid(at, all, "may specify no more than one IP for each IP family"));
  }
  if (IsHeadless(spec)) return errors;
  for (size_t i = 0; i < std::min(ips.size(), families.size()); ++i) {
    std::string family = Text(families[i]);
    if ((family == "IPv4" && is_v6(ips[i])) || (family == "IPv6" && !is_v6(ips[i])))
      errors.push_back(
          Invalid(Index(at, i), ips[i],
                  "expected an " + family + " value as indicated by `ipFamilies[" + std::to_string(i) + "]`"));
  }
  return errors;
}

// Lists whose first entry stays and whose second may come and, to a single stack, go.
FieldErrors ValidateListUpdate(const Value& spec, const Value& old, const char* field, const char* what) {
  FieldErrors errors;
  const Value& now = spec.At(field);
  const List &before = Items(old.At(field)), &after = Items(now);
  std::string at = Child("spec", field);
  auto first_differs = [&] { return !before.empty() && !after.empty() && !(before[0] == after[0]); };
  if (before.size() == after.size()) {
    bool is_ips = std::string_view(field) == "clusterIPs";
    for (size_t i = 0; i < before.size(); ++i)
      if (!(before[i] == after[i])) errors.push_back(Invalid(Index(at, is_ips ? i : 0), now, kMayNotChange));
    return errors;
  }
  bool shrinks = before.size() > after.size();
  if (shrinks && Items(spec.At("clusterIPs")).empty())
    errors.push_back(Invalid(Index(at, 0), now, std::string("primary ") + what + " can not be unset"));
  if (first_differs()) errors.push_back(Invalid(Index(at, 0), spec.At("clusterIPs"), kMayNotChange));
  if (shrinks && after.size() == 1 && spec.At("ipFamilyPolicy").string_or() != "SingleStack")
    errors.push_back(Invalid("spec.ipFamilyPolicy", spec.At("ipFamilyPolicy"),
                             std::string("must be set to 'SingleStack' when releasing the secondary ") + what));
  return errors;
}

FieldErrors ValidateFamilyUpdate(const Value& spec, const Value& old) {
  FieldErrors errors;
  if (IsType(spec, "ExternalName") || IsType(old, "ExternalName")) return errors;
  bool now = IsHeadless(spec), before = IsHeadless(old);
  if (!(now && before)) Append(errors, ValidateListUpdate(spec, old, "clusterIPs", "clusterIP"));
  if (!now && !before) Append(errors, ValidateListUpdate(spec, old, "ipFamilies", "ipFamily"));
  return errors;
}

// --- the rest of the spec ---

FieldErrors ValidateAffinityConfig(const Value& spec, const std::string& path) {
  constexpr int64_t kMaxSeconds = 86400;
  const Value &affinity = spec.At("sessionAffinity"), &config = spec.At("sessionAffinityConfig");
  FieldErrors errors = OneOf(Child(path, "sessionAffinity"), affinity, {"ClientIP", "None"});
  std::string at = Child(path, "sessionAffinityConfig");
  if (affinity.string_or() == "ClientIP") {
    const Value& seconds = config.At("clientIP", "timeoutSeconds");
    auto missing = [&](const std::string& what) {
      errors.push_back(Required(what, "when session affinity type is ClientIP"));
    };
    if (!config.is_map()) {
      missing(at);
    } else if (!config.At("clientIP").is_map()) {
      missing(Child(at, "clientIP"));
    } else if (!seconds.is_int()) {
      missing(Child(at, "clientIP", "timeoutSeconds"));
    } else if (seconds.as_int() <= 0 || seconds.as_int() > kMaxSeconds) {
      errors.push_back(Invalid(Child(at, "clientIP", "timeoutSeconds"), seconds,
                               "must be greater than 0 and less than " + std::to_string(kMaxSeconds)));
    }
  } else if (affinity.string_or() == "None" && config.is_map()) {
    errors.push_back(FieldForbidden(at, "must not be set when session affinity is None"));
  }
  return errors;
}

FieldErrors ValidateExternalName(const Value& spec, const std::string& path) {
  FieldErrors errors;
  for (const char* field : {"clusterIPs", "ipFamilies", "ipFamilyPolicy"})
    if (Size(spec.At(field)) > 0 || spec.At(field).is_string())
      errors.push_back(FieldForbidden(Child(path, field), "may not be set for ExternalName services"));
  std::string name = Text(spec.At("externalName"));
  if (name.ends_with(".")) name.pop_back();
  if (name.empty()) {
    errors.push_back(Required(Child(path, "externalName")));
  } else {
    AppendInvalid(errors, Child(path, "externalName"), name, object::IsDns1123Subdomain(name));
  }
  return errors;
}

FieldErrors ValidateSourceRanges(const Value& service, const Value& old, const std::string& path) {
  constexpr const char* kAnnotation = "service.beta.kubernetes.io/load-balancer-source-ranges";
  FieldErrors errors;
  const Value &spec = service.At("spec"), &ranges = spec.At("loadBalancerSourceRanges");
  const Value& annotation = object::AnnotationsOf(service).At(kAnnotation);
  bool balanced = IsType(spec, "LoadBalancer");
  if (Size(ranges) > 0) {
    std::string at = Child(path, "LoadBalancerSourceRanges");
    if (!balanced) errors.push_back(FieldForbidden(at, kOnlyLoadBalancer));
    for (size_t i = 0; i < Items(ranges).size(); ++i) {
      std::string range(base::Trim(Text(ranges.At(i))));
      if (!IsIn(old.At("spec", "loadBalancerSourceRanges"), range))
        Append(errors, object::IsValidLegacyCidr(Index(at, i), range));
    }
  } else if (annotation.is_string()) {
    std::string at = Key("metadata.annotations", kAnnotation), text(base::Trim(Text(annotation)));
    if (!balanced) errors.push_back(FieldForbidden(at, kOnlyLoadBalancer));
    if (object::AnnotationsOf(old).At(kAnnotation) == annotation || text.empty()) return errors;
    for (const std::string& range : base::Split(text, ','))
      Append(errors, object::IsValidLegacyCidr(at, std::string(base::Trim(range))));
  }
  return errors;
}

FieldErrors ValidateLoadBalancerClass(const Value& spec, const Value* old) {
  const std::string path = "spec.loadBalancerClass";
  FieldErrors errors;
  const Value& name = spec.At("loadBalancerClass");
  bool balanced = IsType(spec, "LoadBalancer");
  if (old && balanced && IsType(*old, "LoadBalancer") && !(old->At("loadBalancerClass") == name))
    errors.push_back(Invalid(path, name, kMayNotChange));
  if (!name.is_string()) return errors;
  if (balanced) {
    AppendInvalid(errors, path, name, object::IsQualifiedName(name.as_string()));
  } else {
    errors.push_back(FieldForbidden(path, kOnlyLoadBalancer));
  }
  return errors;
}

FieldErrors ValidateTrafficPolicies(const Value& spec) {
  FieldErrors errors;
  const Value &external = spec.At("externalTrafficPolicy"), &internal = spec.At("internalTrafficPolicy"),
              &distribution = spec.At("trafficDistribution");
  if (IsReachableFromOutside(spec)) {
    Append(errors, OneOf("spec.externalTrafficPolicy", external, {"Cluster", "Local"}));
  } else if (!NoText(external)) {
    errors.push_back(
        Invalid("spec.externalTrafficPolicy", external, "may only be set for externally-accessible services"));
  }
  int64_t port = spec.At("healthCheckNodePort").int_or();
  if (!NeedsHealthCheckPort(spec)) {
    if (port != 0)
      errors.push_back(Invalid("spec.healthCheckNodePort", port,
                               "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"));
  } else if (port == 0) {
    errors.push_back(Required("spec.healthCheckNodePort"));
  } else {
    AppendInvalid(errors, "spec.healthCheckNodePort", port, object::IsPortNumber(port));
  }
  if (internal.is_null()) {
    if (Contains({"NodePort", "LoadBalancer", "ClusterIP"}, Text(spec.At("type"))))
      errors.push_back(Required("spec.internalTrafficPolicy"));
  } else if (!Contains({"Cluster", "Local"}, Text(internal))) {
    errors.push_back(NotSupported("spec.internalTrafficPolicy", internal, {"Cluster", "Local"}));
  }
  const Names distributions = {"PreferClose", "PreferSameZone", "PreferSameNode"};
  if (distribution.is_string() && !Contains(distributions, distribution.as_string()))
    errors.push_back(NotSupported("spec.trafficDistribution", distribution, distributions));
  return errors;
}

// `old` is null on create.
FieldErrors ValidateServiceSpec(const Value& service, const Value& old) {
  constexpr const char *kHints = "service.kubernetes.io/topology-aware-hints",
                       *kMode = "service.kubernetes.io/topology-mode";
  FieldErrors errors;
  const Value &hints = object::AnnotationsOf(service).At(kHints), &mode = object::AnnotationsOf(service).At(kMode);
  if (hints.is_string() && mode.is_string() && !(hints == mode))
    errors.push_back(Invalid(Key("metadata.annotations", kMode), mode,
                             std::string("must match annotations[") + kHints + "] when both are specified"));
  const std::string path = "spec";
  const Value& spec = service.At("spec");
  const List& ports = Items(spec.At("ports"));
  if (ports.empty() && !IsHeadless(spec) && !IsType(spec, "ExternalName"))
    errors.push_back(Required(Child(path, "ports")));
  if (IsType(spec, "ExternalName")) {
    Append(errors, ValidateExternalName(spec, path));
  } else if (IsHeadless(spec) && (IsType(spec, "LoadBalancer") || IsType(spec, "NodePort"))) {
    errors.push_back(Invalid("spec.clusterIPs[0]", spec.At("clusterIPs").At(0),
                             "may not be set to 'None' for " + Text(spec.At("type")) + " services"));
  }
  std::set<std::string> names;
  for (size_t i = 0; i < ports.size(); ++i)
    Append(errors, ValidateServicePort(ports[i], ports.size() > 1, &names, Index(Child(path, "ports"), i)));
  Append(errors, ops::ValidateLabels(spec.At("selector"), Child(path, "selector")));
  Append(errors, ValidateAffinityConfig(spec, path));
  Append(errors, ValidateClusterIps(spec, old.At("spec"), path));
  const List& external = Items(spec.At("externalIPs"));
  for (size_t i = 0; i < external.size(); ++i) {
    std::string at = Index(Child(path, "externalIPs"), i), ip = Text(external[i]);
    FieldErrors bad = ValidateIp(ip, old.At("spec", "externalIPs"), at);
    Append(errors, bad.empty() ? ValidateEndpointIp(ip, at) : std::move(bad));
  }
  Append(errors, OneOf(Child(path, "type"), spec.At("type"), kServiceTypes));
  Append(errors, ValidatePortsTogether(spec, Child(path, "ports")));
  Append(errors, ValidateSourceRanges(service, old, path));
  bool balanced = IsType(spec, "LoadBalancer"), allocates = !spec.At("allocateLoadBalancerNodePorts").is_null();
  if (allocates && !balanced)
    errors.push_back(FieldForbidden(Child(path, "allocateLoadBalancerNodePorts"), kOnlyLoadBalancer));
  if (!allocates && balanced) errors.push_back(Required("allocateLoadBalancerNodePorts"));
  Append(errors, ValidateLoadBalancerClass(spec, nullptr));
  Append(errors, ValidateTrafficPolicies(spec));
  return errors;
}

// --- Endpoints ---

FieldErrors ValidateAddress(const Value& address, const std::string& path) {
  std::string ip = Text(address.At("ip"));
  FieldErrors errors = object::IsValidLegacyIp(Child(path, "ip"), ip);
  if (const Value& host = address.At("hostname"); !NoText(host))
    AppendInvalid(errors, Child(path, "hostname"), host, object::IsDns1123Label(host.as_string()));
  if (const Value& node = address.At("nodeName"); node.is_string())
    AppendInvalid(errors, Child(path, "nodeName"), node, object::IsDns1123Subdomain(node.as_string()));
  Append(errors, ValidateEndpointIp(ip, Child(path, "ip")));
  return errors;
}

FieldErrors ValidateSubsets(const Value& subsets, const std::string& path) {
  FieldErrors errors;
  for (size_t i = 0; i < Items(subsets).size(); ++i) {
    const Value& subset = subsets.At(i);
    std::string at = Index(path, i);
    if (Size(subset.At("addresses")) == 0 && Size(subset.At("notReadyAddresses")) == 0)
      errors.push_back(Required(at, "must specify `addresses` or `notReadyAddresses`"));
    for (const char* field : {"addresses", "notReadyAddresses"}) {
      const List& addresses = Items(subset.At(field));
      for (size_t j = 0; j < addresses.size(); ++j)
        Append(errors, ValidateAddress(addresses[j], Index(Child(at, field), j)));
    }
    const List& ports = Items(subset.At("ports"));
    for (size_t j = 0; j < ports.size(); ++j) {
      std::string item = Index(Child(at, "ports"), j);
      int64_t number = ports[j].At("port").int_or();
      Append(errors, ValidatePortName(ports[j].At("name"), ports.size() > 1, Child(item, "name")));
      AppendInvalid(errors, Child(item, "port"), number, object::IsPortNumber(number));
      Append(errors, OneOf(Child(item, "protocol"), ports[j].At("protocol"), kProtocols));
      Append(errors, ValidateAppProtocol(ports[j], item));
    }
  }
  return errors;
}

FieldErrors ValidateEndpointsObject(const Value& object, const Value& old) {
  FieldErrors errors = Meta(object, true);
  const Value& subsets = object.At("subsets");
  FieldErrors bad = ValidateSubsets(subsets, "subsets");
  bool unchanged = !old.is_null() && SemanticEqual(subsets, old.At("subsets"));
  if (!unchanged) Append(errors, std::move(bad));
  return errors;
}

// --- EndpointSlice ---

constexpr int kMaxEndpoints = 1000, kMaxAddresses = 100, kMaxPorts = 20000, kMaxTopology = 16, kMaxHints = 8;

FieldErrors ValidateDomainName(std::string name, const std::string& path) {
  if (name.empty()) return {Required(path)};
  if (name.ends_with(".")) name.pop_back();
  if (auto reasons = object::IsDns1123Subdomain(name); !reasons.empty())
    return {Invalid(path, name, base::Join(reasons, ","))};
  if (name.find('.') == std::string::npos)
    return {Invalid(path, name, "should be a domain with at least two segments separated by dots")};
  for (const std::string& label : base::Split(name, '.'))
    if (auto reasons = object::IsDns1123Label(label); !reasons.empty())
      return {Invalid(path, label, base::Join(reasons, ","))};
  return {};
}

FieldErrors ValidateSliceAddress(const std::string& address, const std::string& type, size_t i,
                                 const std::string& path) {
  std::string at = Index(path, i);
  if (type == "FQDN") return ValidateDomainName(address, at);
  if (type != "IPv4" && type != "IPv6") return {};
  FieldErrors errors = type == "IPv4" ? object::IsValidLegacyIp(at, address) : object::IsValidIp(at, address);
  if (!errors.empty()) return errors;
  auto ip = object::ParseIp(address);
  if (ip && ip->v4 != (type == "IPv4")) errors.push_back(Invalid(path, address, "must be an " + type + " address"));
  Append(errors, ValidateEndpointIp(address, at));
  return errors;
}

FieldErrors ValidateHints(const Value& hints, const std::string& path) {
  FieldErrors errors;
  for (const char* field : {"forZones", "forNodes"}) {
    const List& list = Items(hints.At(field));
    std::string at = Child(path, field);
    if (list.size() > kMaxHints) {
      errors.push_back(TooMany(at, static_cast<int>(list.size()), kMaxHints));
      return errors;
    }
    std::set<std::string> seen;
    for (size_t i = 0; i < list.size(); ++i) {
      std::string item = Child(Index(at, i), "name"), name = Text(list[i].At("name"));
      if (!seen.insert(name).second) errors.push_back(Duplicate(item, name));
      bool zone = std::string_view(field) == "forZones";
      AppendInvalid(errors, item, name, zone ? object::IsLabelValue(name) : object::IsDns1123Subdomain(name));
    }
  }
  return errors;
}

FieldErrors ValidateSliceEndpoints(const Value& slice, const std::string& path) {
  FieldErrors errors;
  const List& endpoints = Items(slice.At("endpoints"));
  if (endpoints.size() > kMaxEndpoints) return {TooMany(path, static_cast<int>(endpoints.size()), kMaxEndpoints)};
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const Value& endpoint = endpoints[i];
    std::string at = Index(path, i), list = Child(at, "addresses");
    const List& addresses = Items(endpoint.At("addresses"));
    if (addresses.empty()) {
      errors.push_back(Required(list, "must contain at least 1 address"));
    } else if (addresses.size() > kMaxAddresses) {
      errors.push_back(TooMany(list, static_cast<int>(addresses.size()), kMaxAddresses));
    }
    for (size_t j = 0; j < addresses.size(); ++j)
      Append(errors, ValidateSliceAddress(Text(addresses[j]), Text(slice.At("addressType")), j, list));
    if (const Value& node = endpoint.At("nodeName"); node.is_string())
      AppendInvalid(errors, Child(at, "nodeName"), node, object::IsDns1123Subdomain(node.as_string()));
    const Value& topology = endpoint.At("deprecatedTopology");
    if (Size(topology) > kMaxTopology)
      errors.push_back(TooMany(Child(at, "deprecatedTopology"), static_cast<int>(Size(topology)), kMaxTopology));
    Append(errors, ops::ValidateLabels(topology, Child(at, "deprecatedTopology")));
    if (const Value& host = endpoint.At("hostname"); host.is_string())
      AppendInvalid(errors, Child(at, "hostname"), host, object::IsDns1123Label(host.as_string()));
    Append(errors, ValidateHints(endpoint.At("hints"), Child(at, "hints")));
  }
  return errors;
}

FieldErrors ValidateSlicePorts(const Value& slice, const std::string& path) {
  FieldErrors errors;
  const List& ports = Items(slice.At("ports"));
  if (ports.size() > kMaxPorts) return {TooMany(path, static_cast<int>(ports.size()), kMaxPorts)};
  std::set<std::string> names;
  for (size_t i = 0; i < ports.size(); ++i) {
    std::string at = Index(path, i), name = Text(ports[i].At("name"));
    Append(errors, ValidatePortName(ports[i].At("name"), false, Child(at, "name")));
    if (!names.insert(name).second) errors.push_back(Duplicate(Child(at, "name"), name));
    Append(errors, OneOf(Child(at, "protocol"), ports[i].At("protocol"), kProtocols));
    Append(errors, ValidateAppProtocol(ports[i], at));
  }
  return errors;
}

FieldErrors ValidateSlice(const Value& object, const Value& old) {
  FieldErrors errors = Meta(object, true);
  Append(errors, OneOf("addressType", object.At("addressType"), {"FQDN", "IPv4", "IPv6"}));
  Append(errors, ValidateSlicePorts(object, "ports"));
  bool unchanged = !old.is_null() && SemanticEqual(object.At("endpoints"), old.At("endpoints"));
  if (!unchanged) Append(errors, ValidateSliceEndpoints(object, "endpoints"));
  return errors;
}

}  // namespace

FieldErrors ValidateServiceClusterIps(const Value& service, const Value& old) {
  return ValidateClusterIps(service.At("spec"), old.At("spec"), "spec");
}

FieldErrors ValidateService(const Value& object) {
  FieldErrors errors = Meta(object, true, object::NameIsDnsLabel);
  Append(errors, ValidateServiceSpec(object, Value()));
  return errors;
}
FieldErrors ValidateServiceUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  const Value &spec = object.At("spec"), &before = old.At("spec");
  Append(errors, ValidateFamilyUpdate(spec, before));
  Append(errors, ValidateLoadBalancerClass(spec, &before));
  bool same_port = spec.At("healthCheckNodePort").int_or() == before.At("healthCheckNodePort").int_or();
  if (NeedsHealthCheckPort(spec) && NeedsHealthCheckPort(before) && !same_port)
    errors.push_back(FieldForbidden("spec.healthCheckNodePort", ops::kImmutable));
  Append(errors, ValidateServiceSpec(object, old));
  return errors;
}
FieldErrors ValidateServiceStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  const std::string path = "status.loadBalancer.ingress";
  const List& ingress = Items(object.At("status", "loadBalancer", "ingress"));
  if (!IsType(object.At("spec"), "LoadBalancer") && !ingress.empty()) {
    errors.push_back(FieldForbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"));
    return errors;
  }
  List existing;
  for (const Value& i : Items(old.At("status", "loadBalancer", "ingress"))) existing.push_back(i.At("ip"));
  Value known(std::move(existing));
  for (size_t i = 0; i < ingress.size(); ++i) {
    std::string at = Index(path, i), ip = Text(ingress[i].At("ip")), host = Text(ingress[i].At("hostname"));
    const Value& mode = ingress[i].At("ipMode");
    if (!ip.empty()) Append(errors, ValidateIp(ip, known, Child(at, "ip")));
    if (mode.is_null()) {
      if (!ip.empty()) errors.push_back(Required(Child(at, "ipMode"), "must be specified when `ip` is set"));
    } else if (ip.empty()) {
      errors.push_back(FieldForbidden(Child(at, "ipMode"), "may not be specified when `ip` is not set"));
    } else if (!Contains({"Proxy", "VIP"}, Text(mode))) {
      errors.push_back(NotSupported(Child(at, "ipMode"), mode, {"Proxy", "VIP"}));
    }
    if (host.empty()) continue;
    AppendInvalid(errors, Child(at, "hostname"), host, object::IsDns1123Subdomain(host));
    if (object::ParseIp(host))
      errors.push_back(Invalid(Child(at, "hostname"), host, "must be a DNS name, not an IP address"));
  }
  return errors;
}

FieldErrors ValidateEndpoints(const Value& object) { return ValidateEndpointsObject(object, Value()); }
FieldErrors ValidateEndpointsUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateEndpointsObject(object, old));
  return errors;
}

FieldErrors ValidateEndpointSlice(const Value& object) { return ValidateSlice(object, Value()); }
FieldErrors ValidateEndpointSliceUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidateSlice(object, old);
  Append(errors, ops::ValidateImmutable(object.At("addressType"), old.At("addressType"), "addressType"));
  return errors;
}

}  // namespace apiserver::registry::validation
