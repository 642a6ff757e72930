#include "apiserver/registry/core/service_fields.h"

#include <algorithm>
#include <map>
#include <set>

#include "apiserver/registry/validation/validation.h"
#include "machinery/object/api_error.h"
#include "machinery/object/meta.h"
#include "machinery/object/names.h"

namespace apiserver::registry::service {

namespace object = machinery::object;
using machinery::value::List;
using object::FieldErrors;

namespace {

constexpr std::string_view kSingle = "SingleStack", kRequireDual = "RequireDualStack", kPreferDual = "PreferDualStack";

std::string_view PolicyOf(const Value& service) { return service.At("spec", "ipFamilyPolicy").string_or(); }
std::string Other(std::string_view family) { return family == "IPv4" ? "IPv6" : "IPv4"; }

bool ExternallyReachable(const Value& s) {
  if (HasNodePorts(s)) return true;
  const Value& ips = s.At("spec", "externalIPs");
  return TypeOf(s) == "ClusterIP" && ips.is_list() && !ips.list().empty();
}
bool HasSelector(const Value& s) {
  const Value& selector = s.At("spec", "selector");
  return selector.is_map() && !selector.map().empty();
}

base::Status Refuse(const Value& service, const FieldErrors& errors) {
  if (errors.empty()) return base::Ok();
  return object::InvalidObject({"", "Service"}, object::NameOf(service), errors);
}

// One run of CompleteFamilies.
class Completion {
 public:
  Completion(const ServiceIps& ips, Value& service, const Value& old)
      : ips_(ips), service_(service), spec_(service.Ensure("spec")), old_(old) {}

  base::Status Run() {
    ChoosePolicy();
    TRY(Refuse(service_, validation::ValidateServiceClusterIps(service_, old_)));
    FieldErrors errors = CheckPolicy();
    InferFamilies(errors);
    TRY(Refuse(service_, errors));
    // Whoever writes the endpoints of a Service without selector by hand may use any family.
    if (IsHeadless(service_) && !HasSelector(service_)) {
      Fill(true);
      return base::Ok();
    }
    TRY(Refuse(service_, CheckCluster()));
    Fill(ips_.HasFamily("IPv4") && ips_.HasFamily("IPv6"));
    return base::Ok();
  }

 private:
  void ChoosePolicy() {
    if (spec_.At("ipFamilyPolicy").is_string()) return;
    if (const Value& was = old_.At("spec", "ipFamilyPolicy"); was.is_string())
      spec_.Set("ipFamilyPolicy", was);
    else
      spec_.Set("ipFamilyPolicy", IsHeadless(service_) && !HasSelector(service_) ? kRequireDual : kSingle);
  }

  void Shorten(std::string_view field) {
    const Value& now = spec_.At(field);
    if (!now.is_list() || now.list().size() < 2 || !(now == old_.At("spec", field))) return;
    const Value first = now.At(size_t{0});
    spec_.Set(field, Value(List{first}));
  }
  bool Reduced(std::string_view field) const {
    size_t now = object::StringsOf(spec_.At(field)).size();
    return now > 0 && now < object::StringsOf(old_.At("spec", field)).size();
  }

  FieldErrors CheckPolicy() {
    FieldErrors errors;
    auto bad = [&](const char* why) {
      errors.push_back(object::Invalid("spec.ipFamilyPolicy", spec_.At("ipFamilyPolicy"), why));
    };
    bool single = PolicyOf(service_) == kSingle;
    if (!old_.is_null() && single) {
      // Asking for one family is clear where nothing else was touched.
      Shorten("clusterIPs");
      Shorten("ipFamilies");
    } else if (!old_.is_null()) {
      if (Reduced("clusterIPs")) bad("must be 'SingleStack' to release the secondary cluster IP");
      if (Reduced("ipFamilies")) bad("must be 'SingleStack' to release the secondary IP family");
    }
    if (single && ClusterIpsOf(service_).size() == 2)
      bad("must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
    if (single && FamiliesOf(service_).size() == 2)
      bad("must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
    return errors;
  }

  // A given address names its family.
  void InferFamilies(FieldErrors& errors) {
    Strings families = FamiliesOf(service_), ips = ClusterIpsOf(service_);
    for (size_t i = 0; i < ips.size() && ips[i] != "None"; ++i) {
      auto ip = object::ParseIp(ips[i]);
      if (!ip || i < families.size()) continue;
      std::string family = ip->v4 ? "IPv4" : "IPv6";
      if (ips_.HasFamily(family))
        families.push_back(family);
      else
        errors.push_back(object::Invalid("spec.clusterIPs[" + std::to_string(i) + "]", spec_.At("clusterIPs"),
                                         family + " is not configured on this cluster"));
    }
    if (!families.empty()) spec_.Set("ipFamilies", ListOf(families));
  }

  FieldErrors CheckCluster() {
    FieldErrors errors;
    bool dual = ips_.HasFamily("IPv4") && ips_.HasFamily("IPv6");
    if (PolicyOf(service_) == kRequireDual && !dual)
      errors.push_back(object::Invalid("spec.ipFamilyPolicy", spec_.At("ipFamilyPolicy"),
                                       "this cluster is not configured for dual-stack services"));
    Strings families = FamiliesOf(service_);
    for (size_t i = 0; i < families.size(); ++i)
      if (!ips_.HasFamily(families[i]))
        errors.push_back(object::Invalid("spec.ipFamilies[" + std::to_string(i) + "]", Value(families[i]),
                                         "not configured on this cluster"));
    return errors;
  }

  void Fill(bool both_can_be_had) {
    Strings families = FamiliesOf(service_);
    if (families.empty()) families.push_back(ips_.default_family());
    if (PolicyOf(service_) != kSingle && families.size() == 1 && both_can_be_had)
      families.push_back(Other(families[0]));
    spec_.Set("ipFamilies", ListOf(families));
  }

  const ServiceIps& ips_;
  Value& service_;
  Value& spec_;
  const Value& old_;
};

void KeepNodePorts(Value& service, const Value& old) {
  auto ports_of = [](const Value& s) { return s.At("spec", "ports"); };
  const Value before = ports_of(old);
  Value& ports = service.Ensure("spec").Ensure("ports");
  if (!before.is_list() || !ports.is_list()) return;
  // Numbers that both have are in use already.
  std::set<int64_t> had, used;
  std::map<std::string, int64_t, std::less<>> by_name;
  for (const Value& p : before.list()) {
    had.insert(p.At("nodePort").int_or());
    by_name[std::string(p.At("name").string_or())] = p.At("nodePort").int_or();
  }
  for (const Value& p : ports.list())
    if (int64_t number = p.At("nodePort").int_or(); number != 0 && had.contains(number)) used.insert(number);
  for (Value& p : ports.list()) {
    if (p.At("nodePort").int_or() != 0) continue;
    auto known = by_name.find(p.At("name").string_or());
    if (known != by_name.end() && known->second != 0 && !used.contains(known->second))
      p.Set("nodePort", Value(known->second));
  }
}

}  // namespace

std::string TypeOf(const Value& service) { return std::string(service.At("spec", "type").string_or()); }
bool NeedsClusterIp(const Value& s) { return TypeOf(s) != "ExternalName"; }
bool IsHeadless(const Value& s) { return s.At("spec", "clusterIP").string_or() == "None"; }
bool HasNodePorts(const Value& s) { return TypeOf(s) == "NodePort" || TypeOf(s) == "LoadBalancer"; }
bool AllocatesNodePorts(const Value& s) {
  std::string type = TypeOf(s);
  return type == "NodePort" || (type == "LoadBalancer" && s.At("spec", "allocateLoadBalancerNodePorts").bool_or(true));
}
bool NeedsHealthCheckPort(const Value& s) {
  return TypeOf(s) == "LoadBalancer" && s.At("spec", "externalTrafficPolicy").string_or() == "Local";
}
Strings ClusterIpsOf(const Value& s) { return object::StringsOf(s.At("spec", "clusterIPs")); }
Strings FamiliesOf(const Value& s) { return object::StringsOf(s.At("spec", "ipFamilies")); }
Value ListOf(const Strings& strings) { return Value(List(strings.begin(), strings.end())); }

std::vector<int> NodePortsOf(const Value& s) {
  std::vector<int> out;
  const Value& ports = s.At("spec", "ports");
  if (ports.is_list())
    for (const Value& p : ports.list())
      if (auto n = p.At("nodePort").int_or(); n != 0) out.push_back(static_cast<int>(n));
  return out;
}

void KeepAllocated(Value& service, const Value& old) {
  Value& spec = service.Ensure("spec");
  const Value& was = old.At("spec");
  if (NeedsClusterIp(old) && NeedsClusterIp(service)) {
    if (spec.At("clusterIP").string_or().empty() && !was.At("clusterIP").is_null())
      spec.Set("clusterIP", was.At("clusterIP"));
    if (ClusterIpsOf(service).empty() && !ClusterIpsOf(old).empty()) spec.Set("clusterIPs", was.At("clusterIPs"));
  }
  if (AllocatesNodePorts(old) && AllocatesNodePorts(service) && spec.At("ports").is_list()) KeepNodePorts(service, old);
  if (NeedsHealthCheckPort(old) && NeedsHealthCheckPort(service) && spec.At("healthCheckNodePort").int_or() == 0 &&
      !was.At("healthCheckNodePort").is_null())
    spec.Set("healthCheckNodePort", was.At("healthCheckNodePort"));
}

void AlignClusterIps(Value& service, const Value& old) {
  Value& spec = service.Ensure("spec");
  std::string ip(spec.At("clusterIP").string_or());
  Strings ips = ClusterIpsOf(service);
  if (old.is_null()) {
    // Not the other way round: who knows clusterIPs sets both.
    if (!ip.empty() && ips.empty()) spec.Set("clusterIPs", ListOf({ip}));
    return;
  }
  std::string old_ip(old.At("spec", "clusterIP").string_or());
  Strings old_ips = ClusterIpsOf(old);
  if (!old_ips.empty() && ips.empty() && ip == old_ip) {
    spec.Set("clusterIPs", ListOf(old_ips));
  } else if (ip != old_ip && ips == old_ips) {
    if (!old_ip.empty() && ip.empty())
      spec.Remove("clusterIPs");
    else
      spec.Set("clusterIPs", ListOf({ip}));
  }
}

bool KeepsPreferredFamilies(const Value& service, const Value& old) {
  if (old.is_null() || PolicyOf(service) != kPreferDual || TypeOf(old) != TypeOf(service) || !NeedsClusterIp(service))
    return false;
  if (const Value& was = old.At("spec", "ipFamilyPolicy"); was.is_string() && was.as_string() != kPreferDual)
    return false;
  return ClusterIpsOf(service) == ClusterIpsOf(old) && FamiliesOf(service) == FamiliesOf(old);
}

base::Status CompleteFamilies(const ServiceIps& ips, Value& service, const Value& old) {
  if (!NeedsClusterIp(service) || KeepsPreferredFamilies(service, old)) return base::Ok();
  return Completion(ips, service, old).Run();
}

void DropForType(Value& service, const Value& old) {
  Value& spec = service.Ensure("spec");
  const Value& was = old.At("spec");
  auto same = [&](std::string_view field) { return spec.At(field) == was.At(field); };
  auto drop_same = [&](std::initializer_list<std::string_view> fields) {
    for (auto field : fields)
      if (same(field)) spec.Remove(field);
  };
  if (NeedsClusterIp(old) && !NeedsClusterIp(service)) {
    if (same("clusterIP") && same("clusterIPs")) drop_same({"clusterIP", "clusterIPs"});
    drop_same({"ipFamilies", "ipFamilyPolicy"});
  }
  if (HasNodePorts(old) && !HasNodePorts(service) && spec.At("ports").is_list()) {
    auto now = NodePortsOf(service), before = NodePortsOf(old);
    bool nothing_new = std::all_of(now.begin(), now.end(), [&](int port) {
      return std::find(before.begin(), before.end(), port) != before.end();
    });
    if (nothing_new)
      for (Value& p : spec.Ensure("ports").list()) p.Remove("nodePort");
  }
  if (NeedsHealthCheckPort(old) && !NeedsHealthCheckPort(service)) drop_same({"healthCheckNodePort"});
  if (TypeOf(old) == "LoadBalancer" && TypeOf(service) != "LoadBalancer")
    drop_same({"allocateLoadBalancerNodePorts", "loadBalancerClass"});
  if (ExternallyReachable(old) && !ExternallyReachable(service)) drop_same({"externalTrafficPolicy"});
}

}  // namespace apiserver::registry::service
