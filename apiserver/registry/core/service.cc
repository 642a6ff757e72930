// Services: addresses and node ports are taken before the write and given back when it fails.
#include <algorithm>
#include <map>
#include <set>

#include "apiserver/registry/core/node_ports.h"
#include "apiserver/registry/core/service_fields.h"
#include "apiserver/registry/core/service_ips.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;
using service::Strings;

namespace {

base::Status Invalid(const Value& service, object::FieldError error) {
  return object::InvalidObject({"", "Service"}, object::NameOf(service), {std::move(error)});
}

ServiceIps::Owner OwnerOf(const Value& service) {
  return {std::string(object::NamespaceOf(service)), std::string(object::NameOf(service))};
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

// --- addresses ---

class AddressTaker {
 public:
  AddressTaker(Operation op, Value& service, Taken& taken)
      : op_(std::move(op)), ips_(op_.registry->facilities().service_ips), service_(service), taken_(taken) {}

  base::Task<base::Status> ForCreate() {
    if (!ips_) co_return base::Ok();
    CO_TRY(service::CompleteFamilies(*ips_, service_, Value()));
    co_return co_await TakeFrom(0);
  }

  base::Task<base::Status> ForUpdate(const Value& old) {
    if (!ips_) co_return base::Ok();
    CO_TRY(service::CompleteFamilies(*ips_, service_, old));
    if (service::KeepsPreferredFamilies(service_, old)) co_return base::Ok();
    bool needs = service::NeedsClusterIp(service_), needed = service::NeedsClusterIp(old);
    if (!needed) co_return co_await TakeFrom(0);
    const Strings had = service::ClusterIpsOf(old);
    if (!had.empty() && had[0] == "None") co_return base::Ok();
    if (!needs) {
      Free(had, 0);
      co_return base::Ok();
    }
    size_t before = service::FamiliesOf(old).size(), now = service::FamiliesOf(service_).size();
    if (before == 1 && now == 2) co_return co_await TakeFrom(1);
    if (before == 2 && now == 1) Free(had, 1);
    co_return base::Ok();
  }

 private:
  void Free(const Strings& addresses, size_t first) {
    if (op_.dry_run) return;
    for (size_t i = first; i < addresses.size(); ++i) taken_.free_addresses.push_back(addresses[i]);
  }

  // An address for each family from the first-th on; those that the client named, or any.
  base::Task<base::Status> TakeFrom(size_t first) {
    if (!service::NeedsClusterIp(service_)) co_return base::Ok();
    Strings families = service::FamiliesOf(service_), ips = service::ClusterIpsOf(service_);
    if (!ips.empty() && ips[0] == "None") co_return base::Ok();
    ServiceIps::Owner owner = OwnerOf(service_);
    for (size_t i = first; i < families.size(); ++i) {
      if (i < ips.size() && !ips[i].empty()) {
        auto s = co_await ips_->Take(op_.ctx, ips[i], owner, op_.dry_run);
        if (!s.ok()) co_return Failed(ips, "failed to allocate IP " + ips[i] + ": " + std::string(s.message()));
      } else {
        ips.resize(std::max(ips.size(), i + 1));
        auto ip = co_await ips_->TakeAny(op_.ctx, families[i], owner, op_.dry_run);
        if (!ip && ip.error().message() == ServiceIps::kFull)
          co_return object::InternalError("failed to allocate a serviceIP for Service " +
                                          object::GoQuote(object::NameOf(service_)) + ": " +
                                          std::string(ip.error().message()));
        if (!ip) co_return Failed(ips, "failed to allocate IP: " + std::string(ip.error().message()));
        ips[i] = *ip;
      }
      if (!op_.dry_run) taken_.addresses.push_back(ips[i]);
    }
    if (ips.empty()) co_return base::Ok();
    Value& spec = service_.Ensure("spec");
    spec.Set("clusterIP", ips[0]);
    spec.Set("clusterIPs", service::ListOf(ips));
    co_return base::Ok();
  }
  base::Status Failed(const Strings& ips, std::string why) const {
    return Invalid(service_, object::Invalid("spec.clusterIPs", service::ListOf(ips), std::move(why)));
  }

  Operation op_;
  ServiceIps* ips_;
  Value& service_;
  Taken& taken_;
};

// --- ports ---

class PortTaker {
 public:
  PortTaker(Operation op, Value& service, Taken& taken)
      : op_(std::move(op)), ports_(op_.registry->facilities().node_ports), service_(service), taken_(taken) {}

  base::Task<base::Status> ForCreate() {
    if (!ports_) co_return base::Ok();
    if (service::HasNodePorts(service_)) CO_TRY(co_await FirstPorts());
    if (service::NeedsHealthCheckPort(service_)) CO_TRY(co_await HealthCheckPort());
    co_return base::Ok();
  }

  base::Task<base::Status> ForUpdate(const Value& old) {
    if (!ports_) co_return base::Ok();
    const std::vector<int> had = service::NodePortsOf(old);
    if (service::HasNodePorts(service_)) {
      CO_TRY(co_await MorePorts(std::set<int>(had.begin(), had.end())));
      auto now = service::NodePortsOf(service_);
      for (int port : had)
        if (std::find(now.begin(), now.end(), port) == now.end()) Free(port);
    } else if (service::HasNodePorts(old)) {
      for (int port : had) Free(port);
    }
    bool needs = service::NeedsHealthCheckPort(service_), needed = service::NeedsHealthCheckPort(old);
    if (needs && !needed) CO_TRY(co_await HealthCheckPort());
    if (needed && !needs) Free(static_cast<int>(old.At("spec", "healthCheckNodePort").int_or()));
    co_return base::Ok();
  }

 private:
  List& Ports() {
    Value& ports = service_.Ensure("spec").Ensure("ports");
    if (!ports.is_list()) ports = Value(List{});
    return ports.list();
  }

  // Ports of one number under several protocols share a node port: the one that any of them asks for, or any.
  base::Task<base::Status> FirstPorts() {
    std::map<int64_t, int> wanted, given;
    for (const Value& p : Ports())
      if (int n = static_cast<int>(p.At("nodePort").int_or()); n != 0) wanted.emplace(p.At("port").int_or(), n);
    for (size_t i = 0; i < Ports().size(); ++i) {
      Value& port = Ports()[i];
      int64_t number = port.At("port").int_or();
      int own = static_cast<int>(port.At("nodePort").int_or());
      if (own == 0 && !service::AllocatesNodePorts(service_)) continue;
      auto known = given.find(number);
      if (known == given.end()) {
        auto asked = wanted.find(number);
        if (asked == wanted.end()) {
          CO_TRY_ASSIGN(int any, co_await TakeAny());
          known = given.emplace(number, any).first;
        } else {
          CO_TRY(co_await Take(i, asked->second));
          known = given.emplace(number, asked->second).first;
        }
        port.Set("nodePort", Value(known->second));
      } else if (own == 0) {
        port.Set("nodePort", Value(known->second));
      } else if (own != known->second) {
        CO_TRY(co_await Take(i, own));
      }
    }
    co_return base::Ok();
  }

  // Ports of a Service that is there already: what it has it keeps, a port that names none gets one of its own.
  base::Task<base::Status> MorePorts(std::set<int> mine) {
    std::set<std::pair<std::string, int>> seen;
    for (size_t i = 0; i < Ports().size(); ++i) {
      Value& port = Ports()[i];
      int own = static_cast<int>(port.At("nodePort").int_or());
      if (own == 0 && !service::AllocatesNodePorts(service_)) continue;
      if (own == 0) {
        CO_TRY_ASSIGN(own, co_await TakeAny());
        port.Set("nodePort", Value(own));
      } else if (mine.insert(own).second) {
        CO_TRY(co_await Take(i, own));
      }
      std::string protocol(port.At("protocol").string_or());
      if (!seen.emplace(protocol, own).second)
        co_return object::Unclassified("duplicate nodePort: {" + protocol + " " + std::to_string(own) + "}");
    }
    co_return base::Ok();
  }

  base::Task<base::Status> HealthCheckPort() {
    int own = static_cast<int>(service_.At("spec", "healthCheckNodePort").int_or());
    if (own == 0) {
      auto any = co_await ports_->TakeAny(op_.ctx, op_.dry_run);
      if (!any)
        co_return object::InternalError("failed to allocate a HealthCheck NodePort 0: " +
                                        std::string(any.error().message()));
      Note(*any);
      service_.Ensure("spec").Set("healthCheckNodePort", Value(*any));
      co_return base::Ok();
    }
    auto s = co_await TakeOnce(own);
    if (!s.ok())
      co_return object::InternalError("failed to allocate requested HealthCheck NodePort " + std::to_string(own) +
                                      ": " + std::string(s.message()));
    co_return base::Ok();
  }

  base::Task<base::Status> Take(size_t index, int port) {
    auto s = co_await TakeOnce(port);
    if (s.ok()) co_return s;
    co_return Invalid(service_, object::Invalid("spec.ports[" + std::to_string(index) + "].nodePort", Value(port),
                                                std::string(s.message())));
  }
  // A dry run marks nothing, so what it has taken before is remembered here.
  base::Task<base::Status> TakeOnce(int port) {
    if (taken_now_.contains(port)) co_return base::AlreadyExists("provided port is already allocated");
    CO_TRY(co_await ports_->Take(op_.ctx, port, op_.dry_run));
    Note(port);
    co_return base::Ok();
  }
  base::Task<base::Result<int>> TakeAny() {
    auto any = co_await ports_->TakeAny(op_.ctx, op_.dry_run);
    if (!any)
      co_return base::Err(
          object::InternalError("failed to allocate a nodePort: " + std::string(any.error().message())));
    Note(*any);
    co_return *any;
  }
  void Note(int port) {
    taken_now_.insert(port);
    if (!op_.dry_run) taken_.node_ports.push_back(port);
  }
  void Free(int port) {
    if (!op_.dry_run && port != 0) taken_.free_ports.push_back(port);
  }

  Operation op_;
  NodePorts* ports_;
  Value& service_;
  Taken& taken_;
  std::set<int> taken_now_;
};

class ServiceStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void PrepareForCreate(const Operation& op, Value& service) const override {
    Strategy::PrepareForCreate(op, service);
    DropUnusedPolicy(service);
  }
  void PrepareForUpdate(const Operation& op, Value& service, const Value& old) const override {
    Strategy::PrepareForUpdate(op, service, old);
    service::DropForType(service, old);
    DropUnusedPolicy(service);
    // Taking down a balancer is somebody's work, but its addresses are not the Service's any more.
    if (service::TypeOf(service) != "LoadBalancer" && service.At("status", "loadBalancer").is_map())
      service.Ensure("status").Set("loadBalancer", Value(Map{}));
  }

  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginCreate(Operation op, Value& service) const override {
    service::AlignClusterIps(service, Value());
    auto taken = NewTaken(op, service);
    AddressTaker addresses(op, service, *taken);
    CO_TRY(co_await addresses.ForCreate());
    PortTaker ports(op, service, *taken);
    CO_TRY(co_await ports.ForCreate());
    co_return taken;
  }

  base::Task<base::Result<std::unique_ptr<Reservation>>> BeginUpdate(Operation op, Value& service,
                                                                     const Value& old) const override {
    service::KeepAllocated(service, old);
    service::AlignClusterIps(service, old);
    auto taken = NewTaken(op, service);
    AddressTaker addresses(op, service, *taken);
    CO_TRY(co_await addresses.ForUpdate(old));
    PortTaker ports(op, service, *taken);
    CO_TRY(co_await ports.ForUpdate(old));
    co_return taken;
  }

  base::Task<void> AfterDelete(Operation op, const Value& service) const override {
    const Facilities& f = op.registry->facilities();
    Strings ips;
    for (auto& ip : service::ClusterIpsOf(service))
      if (ip != "None") ips.push_back(ip);
    if (f.service_ips && !ips.empty()) co_await f.service_ips->Release(op.ctx, ips, OwnerOf(service));
    auto ports = service::NodePortsOf(service);
    if (service::NeedsHealthCheckPort(service))
      ports.push_back(static_cast<int>(service.At("spec", "healthCheckNodePort").int_or()));
    if (f.node_ports && !ports.empty()) (void)co_await f.node_ports->Release(op.ctx, std::move(ports));
  }

  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "spec.clusterIP"), FieldOf(*kind_.type, "spec.type")};
  }

 private:
  // A name elsewhere has no traffic to steer; the original keeps the field and never shows it. What is wrong in it is
  // still for validation to say.
  static void DropUnusedPolicy(Value& service) {
    std::string_view policy = service.At("spec", "internalTrafficPolicy").string_or();
    if (service::TypeOf(service) == "ExternalName" && (policy == "Cluster" || policy == "Local"))
      service.Ensure("spec").Remove("internalTrafficPolicy");
  }

  static std::unique_ptr<Taken> NewTaken(const Operation& op, const Value& service) {
    const Facilities& f = op.registry->facilities();
    return std::make_unique<Taken>(f.service_ips, f.node_ports, OwnerOf(service));
  }
};

}  // namespace

std::unique_ptr<Strategy> NewServiceStrategy(const Kind& kind) { return std::make_unique<ServiceStrategy>(kind); }

}  // namespace apiserver::registry
