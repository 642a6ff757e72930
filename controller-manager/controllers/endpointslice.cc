// EndpointSlice: a service's pods in slices of at most 100 endpoints, one set of slices per address family and set of
// ports. A change touches as few slices as it can.
#include <algorithm>
#include <set>

#include "controller-manager/common/writes.h"
#include "controller-manager/controllers/service_pods.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/discovery/v1/endpointslice.pb.h"

namespace controller_manager {
namespace {
namespace discovery = k8s::io::api::discovery::v1;
using core::Node;
using core::Pod;
using core::Service;
using discovery::Endpoint;
using discovery::EndpointSlice;
using SlicePtr = std::shared_ptr<const EndpointSlice>;

constexpr char kServiceName[] = "kubernetes.io/service-name";
constexpr char kManagedBy[] = "endpointslice.kubernetes.io/managed-by";
constexpr char kManager[] = "endpointslice-controller.k8s.io";
constexpr int kMaxEndpoints = 100;
constexpr base::Duration kRecheck = std::chrono::seconds(1);

std::string ServiceKey(const EndpointSlice& s) {
  auto it = s.metadata().labels().find(kServiceName);
  if (it == s.metadata().labels().end()) return {};
  auto manager = s.metadata().labels().find(kManagedBy);
  if (manager == s.metadata().labels().end() || manager->second != kManager) return {};
  return s.metadata().namespace_() + "/" + it->second;
}

std::string PortsKey(const EndpointSlice& s) {
  std::vector<std::string> parts;
  for (const auto& p : s.ports())
    parts.push_back(p.name() + ":" + std::to_string(p.port()) + "/" + p.protocol() + "/" + p.appprotocol());
  std::ranges::sort(parts);
  std::string out = s.addresstype() + "|";
  for (const auto& p : parts) out += p + ";";
  return out;
}

// Who an endpoint is, whatever its state: the pod and its address.
std::string Identity(const Endpoint& e) {
  return e.targetref().uid() + "|" + (e.addresses().empty() ? "" : e.addresses(0)) + "|" + e.hostname();
}

// What the endpoint says. Bytes would differ: the server writes empty fields that we leave out.
std::string Text(const Endpoint& e) {
  const auto& c = e.conditions();
  return Identity(e) + '|' + e.targetref().name() + '|' + e.nodename() + '|' + e.zone() + '|' +
         std::to_string(c.ready() * 4 + c.serving() * 2 + c.terminating());
}

// All slices that should exist for one family and set of ports.
struct Wanted {
  EndpointSlice head;                         // everything but endpoints and name
  std::map<std::string, Endpoint> endpoints;  // by Identity
};

class EndpointSliceController final : public RunnableController {
 public:
  explicit EndpointSliceController(ManagerContext& context)
      : client_(context.client),
        events_(context.events("endpoint-slice-controller")),
        services_(context.informers.Of<Service>()),
        pods_(context.informers.Of<Pod>()),
        nodes_(context.informers.Of<Node>()),
        slices_(context.informers.Of<EndpointSlice>()),
        writes_(context.executor),
        controller_(context.executor, "endpoint_slice", context.Workers("endpointslice-controller", 5),
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    context.informers.Index<EndpointSlice>("service",
                                           [](const EndpointSlice& s) { return std::vector{ServiceKey(s)}; });
    controller_.For<Service>(services_);
    controller_.Watches<Pod>(pods_, [this](const client::Change<Pod>& c) { return ServicesOf(services_, c); });
    controller_.Watches<EndpointSlice>(slices_, [](const client::Change<EndpointSlice>& c) {
      std::string key = ServiceKey(c.any());
      return key.empty() ? std::vector<client::Key>() : std::vector{key};
    });
    // Not a trigger: only asked for zones.
    controller_.Watches<Node>(nodes_, [](const client::Change<Node>&) { return std::vector<client::Key>(); });
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    auto service = services_.Get(key);
    // Slices of a service that is gone are the garbage collector's: they are owned by it.
    if (!service || service->metadata().has_deletiontimestamp()) {
      writes_.Forget(key);
      co_return client::Done{};
    }
    if (service->spec().selector().empty() || service->spec().type() == "ExternalName") co_return client::Done{};
    // A slice's name is the server's choice, so a copy from before our own creation would make it twice.
    if (!writes_.SeenBy(key, slices_.resource_version())) co_return client::Done{kRecheck};
    auto wanted = Build(*service);
    std::vector<SlicePtr> stale;
    std::map<std::string, std::vector<SlicePtr>> known;
    for (const auto& slice : slices_.ByIndex("service", key)) {
      if (slice->metadata().has_deletiontimestamp()) continue;
      auto it = wanted.find(PortsKey(*slice));
      if (it == wanted.end())
        stale.push_back(slice);
      else
        known[it->first].push_back(slice);
    }
    for (auto& [ports, want] : wanted) CO_TRY(co_await Fit(ctx, *service, want, known[ports], stale));
    for (const auto& slice : stale) {
      const auto& m = slice->metadata();
      auto gone = co_await client_.Delete<EndpointSlice>(ctx, m.namespace_(), m.name(), {.uid = m.uid()});
      if (!gone.ok() && !machinery::object::IsNotFound(gone)) co_return base::Err(gone);
    }
    co_return client::Done{};
  }

  // Brings the slices of one family and set of ports in line: what is listed stays where it is, new endpoints fill the
  // slices that change anyway, then those with room, then a new one.
  base::Task<base::Status> Fit(base::Context ctx, const Service& service, Wanted& want, std::vector<SlicePtr> known,
                               std::vector<SlicePtr>& stale) {
    struct Plan {
      SlicePtr old;
      EndpointSlice slice;
      bool changed = false;
    };
    std::vector<Plan> plans;
    auto missing = want.endpoints;
    for (auto& old : known) {
      Plan p{old, *old, false};
      p.slice.clear_endpoints();
      for (const auto& e : old->endpoints()) {
        auto it = missing.find(Identity(e));
        if (it == missing.end()) {
          p.changed = true;
          continue;
        }
        p.changed |= Text(it->second) != Text(e);
        *p.slice.add_endpoints() = std::move(it->second);
        missing.erase(it);
      }
      p.changed |= !SameHead(*old, want.head);
      plans.push_back(std::move(p));
    }
    std::ranges::stable_sort(plans, std::greater<>(), &Plan::changed);
    for (auto& p : plans) {
      while (!missing.empty() && p.slice.endpoints_size() < kMaxEndpoints) {
        *p.slice.add_endpoints() = std::move(missing.begin()->second);
        missing.erase(missing.begin());
        p.changed = true;
      }
    }
    size_t kept =
        static_cast<size_t>(std::ranges::count_if(plans, [](const auto& p) { return p.slice.endpoints_size() > 0; }));
    for (auto& p : plans) {
      // One slice stays even when nothing is behind the service.
      if (p.slice.endpoints_size() == 0 && (kept > 0 || !missing.empty() || &p != &plans.front())) {
        stale.push_back(p.old);
      } else if (p.changed) {
        CopyHead(want.head, p.slice);
        CO_TRY(co_await client_.Update<EndpointSlice>(ctx, std::move(p.slice)));
      }
    }
    if (plans.empty() || !missing.empty()) co_return co_await MakeNew(ctx, service, want.head, std::move(missing));
    co_return base::Ok();
  }

  base::Task<base::Status> MakeNew(base::Context ctx, const Service& service, EndpointSlice head,
                                   std::map<std::string, Endpoint> missing) {
    do {
      EndpointSlice slice = head;
      while (!missing.empty() && slice.endpoints_size() < kMaxEndpoints) {
        *slice.add_endpoints() = std::move(missing.begin()->second);
        missing.erase(missing.begin());
      }
      auto made = co_await client_.Create<EndpointSlice>(ctx, std::move(slice));
      if (!made) {
        if (made.error().message().find("because it is being terminated") == std::string_view::npos)
          events_.Event(client::ReferenceTo(service), "Warning", "FailedToUpdateEndpointSlices",
                        "Error updating Endpoint Slices for Service " + client::KeyOf(service) + ": " +
                            std::string(made.error().message()));
        co_return made.error();
      }
      writes_.Created(client::KeyOf(service), made->metadata().resourceversion());
    } while (!missing.empty());
    co_return base::Ok();
  }

  static bool SameHead(const EndpointSlice& a, const EndpointSlice& head) {
    const auto &x = a.metadata().labels(), &y = head.metadata().labels();
    return x.size() == y.size() && Contains(x, y);
  }
  static void CopyHead(const EndpointSlice& head, EndpointSlice& slice) {
    *slice.mutable_metadata()->mutable_labels() = head.metadata().labels();
    (*slice.mutable_metadata()->mutable_annotations())[kTriggerTime] = Annotation(head.metadata(), kTriggerTime);
  }

  std::map<std::string, Wanted> Build(const Service& service) {
    std::vector<std::shared_ptr<const Pod>> behind;
    for (const auto& pod : pods_.ListNamespace(service.metadata().namespace_()))
      if (Contains(pod->metadata().labels(), service.spec().selector()) && BelongsToEndpoints(*pod, true))
        behind.push_back(pod);
    std::string trigger = TriggerTime(service, behind);
    std::map<std::string, Wanted> out;
    std::vector<std::string> families(service.spec().ipfamilies().begin(), service.spec().ipfamilies().end());
    if (families.empty()) families.push_back("IPv4");
    for (const auto& family : families) {
      bool any = false;
      for (const auto& pod : behind) {
        std::string address = AddressOf(*pod, family);
        if (address.empty()) continue;
        EndpointSlice head = Head(service, family, trigger);
        for (const auto& port : service.spec().ports()) AddPort(head, *pod, port);
        auto& want = out[PortsKey(head)];
        want.head = head;
        Endpoint e = MakeEndpoint(service, *pod, address);
        std::string id = Identity(e);
        want.endpoints.emplace(std::move(id), std::move(e));
        any = true;
      }
      if (!any) {
        EndpointSlice head = Head(service, family, trigger);
        out[PortsKey(head)].head = head;
      }
    }
    return out;
  }

  static EndpointSlice Head(const Service& service, const std::string& family, const std::string& trigger) {
    EndpointSlice s;
    auto* m = s.mutable_metadata();
    m->set_namespace_(service.metadata().namespace_());
    m->set_generatename(service.metadata().name() + "-");
    for (const auto& [k, v] : service.metadata().labels()) (*m->mutable_labels())[k] = v;
    (*m->mutable_labels())[kServiceName] = service.metadata().name();
    (*m->mutable_labels())[kManagedBy] = kManager;
    if (IsHeadless(service)) (*m->mutable_labels())[kHeadless] = "";
    (*m->mutable_annotations())[kTriggerTime] = trigger;
    AddControllerRef(*m, service, "v1", "Service");
    s.set_addresstype(family);
    return s;
  }

  static void AddPort(EndpointSlice& slice, const Pod& pod, const core::ServicePort& port) {
    auto number = TargetPort(pod, port);
    if (!number) return;
    auto* p = slice.add_ports();
    p->set_name(port.name());
    p->set_protocol(port.protocol());
    p->set_port(*number);
    if (port.has_appprotocol()) p->set_appprotocol(port.appprotocol());
  }

  Endpoint MakeEndpoint(const Service& service, const Pod& pod, const std::string& address) {
    Endpoint e;
    e.add_addresses(address);
    bool terminating = pod.metadata().has_deletiontimestamp(), serving = IsReady(pod);
    e.mutable_conditions()->set_ready(service.spec().publishnotreadyaddresses() || (serving && !terminating));
    e.mutable_conditions()->set_serving(serving);
    e.mutable_conditions()->set_terminating(terminating);
    auto* ref = e.mutable_targetref();
    ref->set_kind("Pod");
    ref->set_namespace_(pod.metadata().namespace_());
    ref->set_name(pod.metadata().name());
    ref->set_uid(pod.metadata().uid());
    std::string hostname = HostnameFor(pod, service);
    if (!hostname.empty()) e.set_hostname(hostname);
    if (pod.spec().nodename().empty()) return e;
    e.set_nodename(pod.spec().nodename());
    if (auto node = nodes_.Get(pod.spec().nodename())) {
      auto zone = node->metadata().labels().find("topology.kubernetes.io/zone");
      if (zone != node->metadata().labels().end()) e.set_zone(zone->second);
    }
    return e;
  }

  client::Client& client_;
  client::EventRecorder& events_;
  client::Informer<Service>& services_;
  client::Informer<Pod>& pods_;
  client::Informer<Node>& nodes_;
  client::Informer<EndpointSlice>& slices_;
  Writes writes_;
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeEndpointSlice(ManagerContext& context) {
  return std::make_unique<EndpointSliceController>(context);
}

}  // namespace controller_manager
