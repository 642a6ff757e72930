// Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR.
#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"

namespace apiserver::registry::validation {
namespace {

// A name that becomes part of a path; required.
FieldErrors SegmentName(const Value& v, const std::string& path) {
  if (NoText(v)) return {Required(path)};
  return Reasoned(path, v, object::IsPathSegmentName(v.string_or()));
}

FieldErrors ValidateTypedReference(const Value& ref, const std::string& path) {
  FieldErrors errors;
  if (const Value& group = ref.At("apiGroup"); group.is_string())
    AppendInvalid(errors, Child(path, "apiGroup"), group, object::IsDns1123Subdomain(group.as_string()));
  Append(errors, SegmentName(ref.At("kind"), Child(path, "kind")));
  Append(errors, SegmentName(ref.At("name"), Child(path, "name")));
  return errors;
}

// --- Ingress ---

object::Reasons IsHost(const std::string& host) {
  return host.find('*') != std::string::npos ? object::IsWildcardDns1123Subdomain(host)
                                             : object::IsDns1123Subdomain(host);
}

FieldErrors ValidateIngressBackend(const Value& backend, const std::string& path) {
  FieldErrors errors;
  const Value &resource = backend.At("resource"), &service = backend.At("service");
  if (resource.is_map() && service.is_map())
    return {Invalid(path, "", "cannot set both resource and service backends")};
  if (resource.is_map()) return ValidateTypedReference(resource, Child(path, "resource"));
  if (!service.is_map()) return {Invalid(path, "", "resource or service backend is required")};
  std::string name = Text(service.At("name")), at = Child(path, "service");
  if (name.empty()) {
    errors.push_back(Required(Child(at, "name")));
  } else {
    AppendInvalid(errors, Child(at, "name"), name, object::NameIsDnsLabel(name, false));
  }
  std::string port_name = Text(service.At("port", "name"));
  int64_t number = service.At("port", "number").int_or();
  if (!port_name.empty() && number != 0) {
    errors.push_back(Invalid(path, "", "cannot set both port name & port number"));
  } else if (!port_name.empty()) {
    AppendInvalid(errors, Child(at, "port", "name"), port_name, object::IsPortName(port_name));
  } else if (number != 0) {
    AppendInvalid(errors, Child(at, "port", "number"), number, object::IsPortNumber(number));
  } else {
    errors.push_back(Required(path, "port name or number is required"));
  }
  return errors;
}

FieldErrors ValidateIngressPath(const Value& rule, const std::string& path) {
  FieldErrors errors;
  const Value& type = rule.At("pathType");
  if (!type.is_string()) return {Required(Child(path, "pathType"), "pathType must be specified")};
  std::string text = Text(rule.At("path")), at = Child(path, "path");
  auto absolute = [&] {
    if (!text.starts_with("/")) errors.push_back(Invalid(at, text, "must be an absolute path"));
  };
  if (type.as_string() == "Exact" || type.as_string() == "Prefix") {
    absolute();
    for (const char* part : {"//", "/./", "/../", "%2f", "%2F"})
      if (text.find(part) != std::string::npos)
        errors.push_back(Invalid(at, text, std::string("must not contain '") + part + "'"));
    for (const char* suffix : {"/..", "/."})
      if (text.ends_with(suffix)) errors.push_back(Invalid(at, text, std::string("cannot end with '") + suffix + "'"));
  } else if (type.as_string() == "ImplementationSpecific") {
    if (!text.empty()) absolute();
  } else {
    errors.push_back(NotSupported(Child(path, "pathType"), type, {"Exact", "ImplementationSpecific", "Prefix"}));
  }
  Append(errors, ValidateIngressBackend(rule.At("backend"), Child(path, "backend")));
  return errors;
}

FieldErrors ValidateIngressRule(const Value& rule, const std::string& path) {
  FieldErrors errors;
  if (std::string host = Text(rule.At("host")); !host.empty()) {
    if (object::ParseIp(host))
      errors.push_back(Invalid(Child(path, "host"), host, "must be a DNS name, not an IP address"));
    AppendInvalid(errors, Child(path, "host"), host, IsHost(host));
  }
  const Value& http = rule.At("http");
  if (!http.is_map()) return errors;
  std::string at = Child(path, "http", "paths");
  const List& paths = Items(http.At("paths"));
  if (paths.empty()) errors.push_back(Required(at));
  for (size_t i = 0; i < paths.size(); ++i) Append(errors, ValidateIngressPath(paths[i], Index(at, i)));
  return errors;
}

FieldErrors ValidateIngressSpec(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value& backend = spec.At("defaultBackend");
  const List &rules = Items(spec.At("rules")), &tls = Items(spec.At("tls"));
  if (rules.empty() && !backend.is_map())
    errors.push_back(Invalid(path, spec.At("rules"), "either `defaultBackend` or `rules` must be specified"));
  if (backend.is_map()) Append(errors, ValidateIngressBackend(backend, Child(path, "defaultBackend")));
  for (size_t i = 0; i < rules.size(); ++i)
    Append(errors, ValidateIngressRule(rules[i], Index(Child(path, "rules"), i)));
  for (size_t i = 0; i < tls.size(); ++i) {
    std::string at = Index(Child(path, "tls"), i);
    const List& hosts = Items(tls[i].At("hosts"));
    for (size_t j = 0; j < hosts.size(); ++j)
      AppendInvalid(errors, Index(Child(at, "hosts"), j), hosts[j], IsHost(Text(hosts[j])));
    if (std::string secret = Text(tls[i].At("secretName")); !secret.empty())
      AppendInvalid(errors, Child(at, "secretName"), secret, object::IsDns1123Subdomain(secret));
  }
  if (const Value& name = spec.At("ingressClassName"); name.is_string())
    AppendInvalid(errors, Child(path, "ingressClassName"), name, object::IsDns1123Subdomain(name.as_string()));
  return errors;
}

// --- IngressClass ---

FieldErrors ValidateIngressClassParameters(const Value& ref, const std::string& path) {
  if (!ref.is_map()) return {};
  FieldErrors errors = ValidateTypedReference(ref, path);
  const Value &scope = ref.At("scope"), &ns = ref.At("namespace");
  if (!scope.is_string()) {
    errors.push_back(Required(Child(path, "scope")));
    return errors;
  }
  if (!Contains({"Cluster", "Namespace"}, scope.as_string())) {
    errors.push_back(NotSupported(Child(path, "scope"), scope, {"Cluster", "Namespace"}));
  } else if (scope.as_string() == "Namespace") {
    if (!ns.is_string()) {
      errors.push_back(Required(Child(path, "namespace"), "`parameters.scope` is set to 'Namespace'"));
    } else {
      AppendInvalid(errors, Child(path, "namespace"), ns, object::NameIsDnsLabel(ns.as_string(), false));
    }
  } else if (ns.is_string()) {
    errors.push_back(FieldForbidden(Child(path, "namespace"), "`parameters.scope` is set to 'Cluster'"));
  }
  return errors;
}

// --- NetworkPolicy ---

FieldErrors ValidatePolicyPort(const Value& port, const std::string& path) {
  FieldErrors errors;
  const Value &protocol = port.At("protocol"), &number = port.At("port"), &end = port.At("endPort");
  if (protocol.is_string() && !Contains({"TCP", "UDP", "SCTP"}, protocol.as_string()))
    errors.push_back(NotSupported(Child(path, "protocol"), protocol, {"TCP", "UDP", "SCTP"}));
  std::string at = Child(path, "endPort");
  if (number.is_int()) {
    AppendInvalid(errors, Child(path, "port"), number, object::IsPortNumber(number.as_int()));
    if (!end.is_int()) return errors;
    if (end.as_int() < number.as_int())
      errors.push_back(Invalid(at, number, "must be greater than or equal to `port`"));
    AppendInvalid(errors, at, end, object::IsPortNumber(end.as_int()));
  } else if (number.is_string()) {
    if (end.is_int()) errors.push_back(Invalid(at, end, "may not be specified when `port` is non-numeric"));
    AppendInvalid(errors, Child(path, "port"), number, object::IsPortName(number.as_string()));
  } else if (end.is_int()) {
    errors.push_back(Invalid(at, end, "may not be specified when `port` is not specified"));
  }
  return errors;
}

// Ranges that the object held before are tolerated, however they are written.
using Known = std::set<std::string>;

FieldErrors ValidateRange(const std::string& text, const std::string& path, const Known& known) {
  return known.contains(text) ? FieldErrors{} : object::IsValidLegacyCidr(path, text);
}

FieldErrors ValidateIpBlock(const Value& block, const std::string& path, const Known& known) {
  std::string text = Text(block.At("cidr"));
  if (text.empty()) return {Required(Child(path, "cidr"))};
  FieldErrors errors = ValidateRange(text, Child(path, "cidr"), known);
  auto cidr = object::ParseCidr(text);
  if (!cidr) return errors;
  const List& except = Items(block.At("except"));
  for (size_t i = 0; i < except.size(); ++i) {
    std::string at = Index(Child(path, "except"), i), part = Text(except[i]);
    Append(errors, ValidateRange(part, at, known));
    auto inner = object::ParseCidr(part);
    if (inner && (!cidr->Contains(inner->Masked()) || cidr->prefix >= inner->prefix))
      errors.push_back(Invalid(at, part, "must be a strict subset of `cidr`"));
  }
  return errors;
}

FieldErrors ValidatePolicyPeer(const Value& peer, const std::string& path, const Known& known) {
  FieldErrors errors;
  int peers = 0;
  for (const char* field : {"podSelector", "namespaceSelector"}) {
    if (!peer.At(field).is_map()) continue;
    ++peers;
    Append(errors, ops::ValidateLabelSelector(peer.At(field), Child(path, field)));
  }
  const Value& block = peer.At("ipBlock");
  if (block.is_map()) {
    Append(errors, ValidateIpBlock(block, Child(path, "ipBlock"), known));
    if (peers++ > 0) errors.push_back(FieldForbidden(path, "may not specify both ipBlock and another peer"));
  }
  if (peers == 0) errors.push_back(Required(path, "must specify a peer"));
  return errors;
}

FieldErrors ValidatePolicyRules(const Value& rules, const char* peers, const std::string& path, const Known& known) {
  FieldErrors errors;
  for (size_t i = 0; i < Items(rules).size(); ++i) {
    const Value& rule = rules.At(i);
    const List &ports = Items(rule.At("ports")), &others = Items(rule.At(peers));
    std::string at = Index(path, i);
    for (size_t j = 0; j < ports.size(); ++j)
      Append(errors, ValidatePolicyPort(ports[j], Index(Child(at, "ports"), j)));
    for (size_t j = 0; j < others.size(); ++j)
      Append(errors, ValidatePolicyPeer(others[j], Index(Child(at, peers), j), known));
  }
  return errors;
}

Known RangesOf(const Value& spec) {
  Known known;
  for (auto [rules, peers] : {std::pair{"ingress", "from"}, std::pair{"egress", "to"}})
    for (const Value& rule : Items(spec.At(rules)))
      for (const Value& peer : Items(rule.At(peers))) {
        known.insert(Text(peer.At("ipBlock", "cidr")));
        for (const Value& except : Items(peer.At("ipBlock", "except"))) known.insert(Text(except));
      }
  return known;
}

FieldErrors ValidatePolicySpec(const Value& spec, const std::string& path, const Known& known) {
  FieldErrors errors = ops::ValidateLabelSelector(spec.At("podSelector"), Child(path, "podSelector"));
  Append(errors, ValidatePolicyRules(spec.At("ingress"), "from", Child(path, "ingress"), known));
  Append(errors, ValidatePolicyRules(spec.At("egress"), "to", Child(path, "egress"), known));
  const List& types = Items(spec.At("policyTypes"));
  std::string at = Child(path, "policyTypes");
  if (types.size() > 2) {
    errors.push_back(Invalid(at, spec.At("policyTypes"), "may not specify more than two policyTypes"));
    return errors;
  }
  for (size_t i = 0; i < types.size(); ++i)
    if (!Contains({"Ingress", "Egress"}, Text(types[i])))
      errors.push_back(NotSupported(Index(at, i), types[i], {"Ingress", "Egress"}));
  return errors;
}

// --- IPAddress and ServiceCIDR ---

object::Reasons NameIsIp(std::string_view name, bool) {
  object::Reasons reasons;
  for (const auto& e : object::IsValidIp("", name)) reasons.push_back(e.detail);
  return reasons;
}

FieldErrors ValidateCidrs(const Value& spec, const std::string& path) {
  const List& cidrs = Items(spec.At("cidrs"));
  if (cidrs.empty()) return {Required(path, "at least one CIDR required")};
  if (cidrs.size() > 2)
    return {Invalid(path, GoStruct(spec, {{"CIDRs", "cidrs", Value()}}), "may only hold up to 2 values")};
  FieldErrors errors;
  for (size_t i = 0; i < cidrs.size(); ++i) Append(errors, object::IsValidCidr(Index(path, i), Text(cidrs[i])));
  if (cidrs.size() == 2) {
    auto a = object::ParseCidr(Text(cidrs[0])), b = object::ParseCidr(Text(cidrs[1]));
    if (a && b && a->address.v4 == b->address.v4)
      errors.push_back(
          Invalid(path, spec.At("cidrs"),
                  "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"));
  }
  return errors;
}

}  // namespace

FieldErrors ValidateIngress(const Value& object) {
  constexpr const char* kClass = "kubernetes.io/ingress.class";
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateIngressSpec(object.At("spec"), "spec"));
  const Value &annotation = object::AnnotationsOf(object).At(kClass), &name = object.At("spec", "ingressClassName");
  if (annotation.is_string() && name.is_string() && annotation.as_string() != name.as_string())
    errors.push_back(
        Invalid(Child("annotations", kClass), annotation, "must match `ingressClassName` when both are specified"));
  return errors;
}
FieldErrors ValidateIngressUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, Meta(object, true));
  Append(errors, ValidateIngressSpec(object.At("spec"), "spec"));
  return errors;
}

FieldErrors ValidateIngressClass(const Value& object) {
  constexpr int kMaxController = 250;
  FieldErrors errors = Meta(object, false);
  std::string controller = Text(object.At("spec", "controller"));
  if (controller.size() > kMaxController) errors.push_back(object::TooLong("spec.controller", kMaxController));
  Append(errors, object::IsDomainPrefixedPath("spec.controller", controller));
  Append(errors, ValidateIngressClassParameters(object.At("spec", "parameters"), "spec.parameters"));
  return errors;
}
FieldErrors ValidateIngressClassUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors,
         ops::ValidateImmutable(object.At("spec", "controller"), old.At("spec", "controller"), "spec.controller"));
  Append(errors, ValidateIngressClass(object));
  return errors;
}

FieldErrors ValidateNetworkPolicy(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidatePolicySpec(object.At("spec"), "spec", {}));
  return errors;
}
FieldErrors ValidateNetworkPolicyUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidatePolicySpec(object.At("spec"), "spec", RangesOf(old.At("spec"))));
  return errors;
}

FieldErrors ValidateIpAddress(const Value& object) {
  FieldErrors errors = Meta(object, false, NameIsIp);
  const Value& parent = object.At("spec", "parentRef");
  const std::string path = "spec.parentRef";
  if (!parent.is_map()) {
    errors.push_back(Required(path));
    return errors;
  }
  if (std::string group = Text(parent.At("group")); !group.empty())
    AppendInvalid(errors, Child(path, "group"), group, object::IsDns1123Subdomain(group));
  Append(errors, SegmentName(parent.At("resource"), Child(path, "resource")));
  Append(errors, SegmentName(parent.At("name"), Child(path, "name")));
  if (std::string ns = Text(parent.At("namespace")); !ns.empty())
    AppendInvalid(errors, Child(path, "namespace"), ns, object::IsPathSegmentName(ns));
  return errors;
}
FieldErrors ValidateIpAddressUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidateIpAddress(object);
  Append(errors, MetaUpdate(object, old));
  Append(errors, ops::ValidateImmutable(object.At("spec", "parentRef"), old.At("spec", "parentRef"), "spec.parentRef"));
  return errors;
}

FieldErrors ValidateServiceCidr(const Value& object) {
  FieldErrors errors = Meta(object, false);
  Append(errors, ValidateCidrs(object.At("spec"), "spec.cidrs"));
  return errors;
}
FieldErrors ValidateServiceCidrUpdate(const Value& object, const Value& old) {
  const std::string path = "spec.cidrs";
  FieldErrors errors = MetaUpdate(object, old);
  const Value &now = object.At("spec", "cidrs"), &before = old.At("spec", "cidrs");
  bool gains_one = Size(before) == 1 && Size(now) == 2;
  if (Size(now) != Size(before) && !gains_one) {
    errors.push_back(Invalid(path, now, ops::kImmutable));
    return errors;
  }
  for (size_t i = 0; i < Size(before); ++i)
    if (!(now.At(i) == before.At(i))) errors.push_back(Invalid(Index(path, i), now.At(i), ops::kImmutable));
  if (gains_one) Append(errors, ValidateCidrs(object.At("spec"), path));
  return errors;
}

}  // namespace apiserver::registry::validation
