// Services: addresses and node ports are taken before the write and given back when it fails; fields that a change of
// type makes meaningless are dropped, and what a client leaves out of an update stays as it was allocated.
#include <algorithm>
#include <set>

#include "apiserver/registry/core/node_ports.h"
#include "apiserver/registry/core/service_ips.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"
#include "machinery/object/names.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;
using machinery::value::List;

namespace {

using Strings = std::vector<std::string>;

std::string TypeOf(const Value& service) { return std::string(service.At("spec", "type").string_or()); }
bool NeedsClusterIp(const Value& s) {
  std::string type = TypeOf(s);
  return type == "ClusterIP" || type == "NodePort" || type == "LoadBalancer";
}
bool Headless(const Value& s) { return s.At("spec", "clusterIP").string_or() == "None"; }
bool AllocatesNodePorts(const Value& s) {
  std::string type = TypeOf(s);
  return type == "NodePort" || (type == "LoadBalancer" && s.At("spec", "allocateLoadBalancerNodePorts").bool_or(true));
}
bool MayHaveNodePorts(const Value& s) { return TypeOf(s) == "NodePort" || TypeOf(s) == "LoadBalancer"; }
bool NeedsHealthCheckPort(const Value& s) {
  return TypeOf(s) == "LoadBalancer" && s.At("spec", "externalTrafficPolicy").string_or() == "Local";
}
bool ExternallyReachable(const Value& s) {
  if (MayHaveNodePorts(s)) return true;
  const Value& ips = s.At("spec", "externalIPs");
  return TypeOf(s) == "ClusterIP" && ips.is_list() && !ips.list().empty();
}

Value ListOf(const Strings& strings) { return Value(List(strings.begin(), strings.end())); }
Strings ClusterIps(const Value& s) { return object::StringsOf(s.At("spec", "clusterIPs")); }

std::vector<int> NodePortsOf(const Value& s) {
  std::vector<int> out;
  const Value& ports = s.At("spec", "ports");
  if (ports.is_list())
    for (const Value& p : ports.list())
      if (auto n = p.At("nodePort").int_or(); n > 0) out.push_back(static_cast<int>(n));
  if (auto n = s.At("spec", "healthCheckNodePort").int_or(); n > 0) out.push_back(static_cast<int>(n));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

base::Status Invalid(const Value& service, object::FieldError error) {
  return object::InvalidObject({"", "Service"}, object::NameOf(service), {std::move(error)});
}

// What a write has taken, and what becomes free when it succeeds.
class Taken final : public Reservation {
 public:
  Taken(ServiceIps* ips, NodePorts* ports, ServiceIps::Owner owner)
      : ips_(ips), ports_(ports), owner_(std::move(owner)) {}
  ~Taken() override {
    if (!committed_) {
      if (ips_) ips_->ReleaseLater(std::move(addresses), owner_);
      if (ports_) ports_->ReleaseLater(std::move(node_ports));
    }
  }
  void Commit() override {
    committed_ = true;
    if (ports_) {
      for (int port : node_ports) ports_->Settle(port);
      ports_->ReleaseLater(std::move(free_ports));
    }
    if (ips_) ips_->ReleaseLater(std::move(free_addresses), owner_);
  }
  Strings addresses, free_addresses;
  std::vector<int> node_ports, free_ports;

 private:
  ServiceIps* ips_;
  NodePorts* ports_;
  ServiceIps::Owner owner_;
  bool committed_ = false;
};

// --- families ---

// clusterIP is the first of clusterIPs; whichever of the two a client has set alone counts.
void AlignIps(Value& service, const Value* old) {
  Value& spec = service.Ensure("spec");
  std::string ip(spec.At("clusterIP").string_or());
  Strings ips = object::StringsOf(spec.At("clusterIPs"));
  if (!old) {
    if (!ip.empty() && ips.empty()) spec.Set("clusterIPs", ListOf({ip}));
    if (ip.empty() && !ips.empty()) spec.Set("clusterIP", ips[0]);
    return;
  }
  std::string old_ip(old->At("spec", "clusterIP").string_or());
  Strings old_ips = ClusterIps(*old);
  if (ip.empty() && !old_ip.empty() && ips == old_ips) {
    spec.Remove("clusterIPs");
  } else if (ip != old_ip && ips == old_ips) {
    spec.Set("clusterIPs", ListOf({ip}));
  }
}

class Families {
 public:
  Families(const ServiceIps& ips, Value& service) : ips_(ips), service_(service), spec_(service.Ensure("spec")) {}

  base::Status Complete() {
    if (!NeedsClusterIp(service_)) return base::Ok();
    TRY(CheckIps());
    Strings families = object::StringsOf(spec_.At("ipFamilies"));
    std::string policy(spec_.At("ipFamilyPolicy").string_or());
    const Value& selector = spec_.At("selector");
    if (Headless(service_) && (!selector.is_map() || selector.map().empty())) {
      // Whoever writes the endpoints of such a Service by hand may use any family.
      if (policy.empty()) policy = families.size() == 1 ? "SingleStack" : "RequireDualStack";
      if (families.empty()) families.push_back(ips_.default_family());
      if (policy != "SingleStack" && families.size() == 1) families.push_back(Other(families[0]));
      Store(families, policy);
      return base::Ok();
    }
    Infer(families);
    if (policy.empty()) policy = families.size() > 1 ? "RequireDualStack" : "SingleStack";
    bool dual = ips_.HasFamily("IPv4") && ips_.HasFamily("IPv6");
    if (policy == "RequireDualStack" && !dual)
      return Invalid(service_, object::Invalid("spec.ipFamilyPolicy", Value(policy),
                                               "this cluster is not configured for dual-stack services"));
    for (size_t i = 0; i < families.size(); ++i)
      if (!ips_.HasFamily(families[i]))
        return Invalid(service_, object::Invalid("spec.ipFamilies[" + std::to_string(i) + "]", Value(families[i]),
                                                 "not configured on this cluster"));
    if (families.empty()) families.push_back(ips_.default_family());
    if (policy != "SingleStack" && dual && families.size() == 1) families.push_back(Other(families[0]));
    Store(families, policy);
    return base::Ok();
  }

 private:
  static std::string Other(std::string_view family) { return family == "IPv4" ? "IPv6" : "IPv4"; }
  void Store(const Strings& families, const std::string& policy) {
    spec_.Set("ipFamilies", ListOf(families));
    spec_.Set("ipFamilyPolicy", policy);
  }
  base::Status CheckIps() {
    object::FieldErrors errors;
    Strings ips = object::StringsOf(spec_.At("clusterIPs"));
    for (size_t i = 0; i < ips.size(); ++i)
      if (ips[i] != "None" && !object::ParseIp(ips[i]))
        errors.push_back(object::Invalid("spec.clusterIPs[" + std::to_string(i) + "]", Value(ips[i]),
                                         "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    if (errors.empty()) return base::Ok();
    return object::InvalidObject({"", "Service"}, object::NameOf(service_), errors);
  }
  // A given address names its family.
  void Infer(Strings& families) {
    Strings ips = object::StringsOf(spec_.At("clusterIPs"));
    for (size_t i = families.size(); i < ips.size(); ++i)
      if (auto ip = object::ParseIp(ips[i]); ip && i == families.size()) families.push_back(ip->v4 ? "IPv4" : "IPv6");
  }
  const ServiceIps& ips_;
  Value& service_;
  Value& spec_;
};

// --- taking ---

class Taker {
 public:
  Taker(Operation op, Value& service, Taken& taken)
      : op_(std::move(op)),
        ips_(op_.registry->facilities().service_ips),
        ports_(op_.registry->facilities().node_ports),
        service_(service),
        taken_(taken) {}

  base::Task<base::Status> Addresses() {
    if (!ips_ || !NeedsClusterIp(service_)) co_return base::Ok();
    Value& spec = service_.Ensure("spec");
    if (Headless(service_)) {
      spec.Set("clusterIPs", ListOf({"None"}));
      co_return base::Ok();
    }
    Strings families = object::StringsOf(spec.At("ipFamilies")), ips = object::StringsOf(spec.At("clusterIPs"));
    ServiceIps::Owner owner{std::string(object::NamespaceOf(service_)), std::string(object::NameOf(service_))};
    for (size_t i = 0; i < families.size(); ++i) {
      if (i < ips.size()) {
        auto s = co_await ips_->Take(op_.ctx, ips[i], owner, op_.dry_run);
        if (!s.ok())
          co_return Invalid(service_, object::Invalid("spec.clusterIPs", ListOf(ips),
                                                      "failed to allocate IP " + ips[i] + ": " + Why(s)));
      } else {
        auto ip = co_await ips_->TakeAny(op_.ctx, families[i], owner, op_.dry_run);
        if (!ip) co_return object::InternalError("failed to allocate a serviceIP: " + Why(ip.error()));
        ips.push_back(*ip);
      }
      if (!op_.dry_run) taken_.addresses.push_back(ips[i]);
    }
    spec.Set("clusterIPs", ListOf(ips));
    spec.Set("clusterIP", ips[0]);
    co_return base::Ok();
  }

  // `held`: ports that the Service has already.
  base::Task<base::Status> Ports(const std::vector<int>& held) {
    if (!ports_) co_return base::Ok();
    std::set<int> mine(held.begin(), held.end());
    Value& spec = service_.Ensure("spec");
    if (MayHaveNodePorts(service_) && spec.At("ports").is_list()) {
      std::map<int64_t, int> by_port;  // one node port for the same port under several protocols
      List& list = spec.Ensure("ports").list();
      for (size_t i = 0; i < list.size(); ++i) CO_TRY(co_await OnePort(list[i], i, mine, by_port));
    }
    if (NeedsHealthCheckPort(service_)) CO_TRY(co_await HealthCheckPort(spec, mine));
    co_return base::Ok();
  }

 private:
  // Texts of errors that came from the store carry its words; those of the allocators stand alone.
  static std::string Why(const base::Status& s) { return std::string(s.message()); }

  base::Task<base::Status> OnePort(Value& port, size_t index, std::set<int>& mine, std::map<int64_t, int>& by_port) {
    int wanted = static_cast<int>(port.At("nodePort").int_or());
    int64_t number = port.At("port").int_or();
    auto known = by_port.find(number);
    if (wanted == 0) {
      if (!AllocatesNodePorts(service_)) co_return base::Ok();
      if (known == by_port.end()) {
        auto any = co_await ports_->TakeAny(op_.ctx, op_.dry_run);
        if (!any) co_return object::InternalError("failed to allocate a nodePort: " + Why(any.error()));
        Note(*any, mine);
        known = by_port.emplace(number, *any).first;
      }
      port.Set("nodePort", Value(known->second));
      co_return base::Ok();
    }
    if (!mine.contains(wanted)) {
      auto s = co_await ports_->Take(op_.ctx, wanted, op_.dry_run);
      if (!s.ok())
        co_return Invalid(service_,
                          object::Invalid("spec.ports[" + std::to_string(index) + "].nodePort", Value(wanted), Why(s)));
      Note(wanted, mine);
    }
    by_port.emplace(number, wanted);
    co_return base::Ok();
  }

  base::Task<base::Status> HealthCheckPort(Value& spec, std::set<int>& mine) {
    int wanted = static_cast<int>(spec.At("healthCheckNodePort").int_or());
    if (wanted == 0) {
      auto any = co_await ports_->TakeAny(op_.ctx, op_.dry_run);
      if (!any) co_return object::InternalError("failed to allocate a HealthCheck NodePort: " + Why(any.error()));
      Note(*any, mine);
      spec.Set("healthCheckNodePort", Value(*any));
    } else if (!mine.contains(wanted)) {
      auto s = co_await ports_->Take(op_.ctx, wanted, op_.dry_run);
      if (!s.ok())
        co_return object::InternalError("failed to allocate requested HealthCheck NodePort " + std::to_string(wanted) +
                                        ": " + Why(s));
      Note(wanted, mine);
    }
    co_return base::Ok();
  }

  void Note(int port, std::set<int>& mine) {
    mine.insert(port);
    if (!op_.dry_run) taken_.node_ports.push_back(port);
  }

  Operation op_;
  ServiceIps* ips_;
  NodePorts* ports_;
  Value& service_;
  Taken& taken_;
};

// --- updates ---

// What was allocated and the client left out stays.
void KeepAllocated(Value& service, const Value& old) {
  Value& spec = service.Ensure("spec");
  const Value& was = old.At("spec");
  if (NeedsClusterIp(old) && NeedsClusterIp(service)) {
    if (spec.At("clusterIP").string_or().empty()) spec.Set("clusterIP", was.At("clusterIP"));
    if (object::StringsOf(spec.At("clusterIPs")).empty() && spec.At("clusterIP") == was.At("clusterIP"))
      spec.Set("clusterIPs", was.At("clusterIPs"));
    for (std::string_view field : {"ipFamilies", "ipFamilyPolicy"})
      if (spec.At(field).is_null() && !was.At(field).is_null()) spec.Set(field, was.At(field));
  }
  if (MayHaveNodePorts(old) && AllocatesNodePorts(service) && spec.At("ports").is_list() && was.At("ports").is_list()) {
    std::set<int64_t> used;
    for (const Value& p : spec.At("ports").list()) used.insert(p.At("nodePort").int_or());
    for (Value& p : spec.Ensure("ports").list()) {
      if (p.At("nodePort").int_or() != 0) continue;
      for (const Value& o : was.At("ports").list()) {
        int64_t port = o.At("nodePort").int_or();
        bool same = o.At("port") == p.At("port") && o.At("protocol") == p.At("protocol");
        if (same && port != 0 && !used.contains(port)) p.Set("nodePort", Value(port));
      }
    }
  }
  if (NeedsHealthCheckPort(old) && NeedsHealthCheckPort(service) && spec.At("healthCheckNodePort").int_or() == 0)
    spec.Set("healthCheckNodePort", was.At("healthCheckNodePort"));
}

// Fields that came with the old type and were not touched go with it.
void DropForType(Value& service, const Value& old) {
  Value& spec = service.Ensure("spec");
  const Value& was = old.At("spec");
  auto drop_same = [&](std::initializer_list<std::string_view> fields) {
    for (auto field : fields)
      if (spec.At(field) == was.At(field)) spec.Remove(field);
  };
  if (NeedsClusterIp(old) && !NeedsClusterIp(service) && spec.At("clusterIPs") == was.At("clusterIPs"))
    drop_same({"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"});
  if (MayHaveNodePorts(old) && !MayHaveNodePorts(service) && spec.At("ports").is_list()) {
    const Value& before = was.At("ports");
    List& ports = spec.Ensure("ports").list();
    bool same = before.is_list() && before.list().size() == ports.size();
    for (size_t i = 0; same && i < ports.size(); ++i)
      same = ports[i].At("nodePort").int_or() == before.At(i).At("nodePort").int_or();
    if (same)
      for (Value& p : ports) p.Remove("nodePort");
  }
  if (NeedsHealthCheckPort(old) && !NeedsHealthCheckPort(service)) drop_same({"healthCheckNodePort"});
  if (TypeOf(old) == "LoadBalancer" && TypeOf(service) != "LoadBalancer")
    drop_same({"allocateLoadBalancerNodePorts", "loadBalancerClass"});
  if (ExternallyReachable(old) && !ExternallyReachable(service)) drop_same({"externalTrafficPolicy"});
}

class ServiceStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginCreate(Operation op, Value& service) const override {
    const Facilities& f = op.registry->facilities();
    AlignIps(service, nullptr);
    auto taken = NewTaken(op, service);
    if (f.service_ips) CO_TRY(Families(*f.service_ips, service).Complete());
    Taker taker(op, service, *taken);
    CO_TRY(co_await taker.Addresses());
    CO_TRY(co_await taker.Ports({}));
    co_return taken;
  }

  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginUpdate(Operation op, Value& service,
                                                                     const Value& old) const override {
    const Facilities& f = op.registry->facilities();
    KeepAllocated(service, old);
    AlignIps(service, &old);
    auto taken = NewTaken(op, service);
    Taker taker(op, service, *taken);
    bool had = NeedsClusterIp(old), needs = NeedsClusterIp(service);
    if (f.service_ips && needs && !had) {
      CO_TRY(Families(*f.service_ips, service).Complete());
      CO_TRY(co_await taker.Addresses());
    }
    std::vector<int> held = NodePortsOf(old);
    CO_TRY(co_await taker.Ports(held));
    DropForType(service, old);
    if (!op.dry_run) {
      if (had && !needs)
        for (auto& ip : ClusterIps(old))
          if (ip != "None") taken->free_addresses.push_back(ip);
      auto now = NodePortsOf(service);
      std::set_difference(held.begin(), held.end(), now.begin(), now.end(), std::back_inserter(taken->free_ports));
    }
    co_return taken;
  }

  base::Task<void> AfterDelete(Operation op, const Value& service) const override {
    const Facilities& f = op.registry->facilities();
    Strings ips;
    for (auto& ip : ClusterIps(service))
      if (ip != "None") ips.push_back(ip);
    if (f.service_ips && !ips.empty())
      co_await f.service_ips->Release(
          op.ctx, ips, {std::string(object::NamespaceOf(service)), std::string(object::NameOf(service))});
    auto ports = NodePortsOf(service);
    if (f.node_ports && !ports.empty()) (void)co_await f.node_ports->Release(op.ctx, std::move(ports));
  }

  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "spec.clusterIP"), FieldOf(*kind_.type, "spec.type")};
  }

 private:
  static std::unique_ptr<Taken> NewTaken(const Operation& op, const Value& service) {
    const Facilities& f = op.registry->facilities();
    return std::make_unique<Taken>(
        f.service_ips, f.node_ports,
        ServiceIps::Owner{std::string(object::NamespaceOf(service)), std::string(object::NameOf(service))});
  }
};

}  // namespace

std::unique_ptr<Strategy> NewServiceStrategy(const Kind& kind) { return std::make_unique<ServiceStrategy>(kind); }

}  // namespace apiserver::registry
