// Endpoints: for every service with a selector one object of the same name that lists its pods' addresses and ports.
#include <algorithm>

#include "controller-manager/controllers/endpoint_subsets.h"
#include "controller-manager/controllers/service_pods.h"
#include "machinery/object/api_error.h"

namespace controller_manager {
namespace {
using core::EndpointAddress;
using core::Endpoints;
using core::Pod;
using core::Service;

constexpr char kManagedBy[] = "endpoints.kubernetes.io/managed-by";
constexpr char kManager[] = "endpoint-controller";
constexpr char kOverCapacity[] = "endpoints.kubernetes.io/over-capacity";
constexpr int kMaxAddresses = 1000;

// A pod that is not ready is listed as such only while it may still become ready.
bool MayBecomeReady(const Pod& pod) {
  const auto& phase = pod.status().phase();
  if (pod.spec().restartpolicy() == "Never") return phase != "Failed" && phase != "Succeeded";
  if (pod.spec().restartpolicy() == "OnFailure") return phase != "Succeeded";
  return true;
}

// What the subsets say. Bytes would differ: the server writes empty fields that we leave out.
std::string Text(const Subsets& subsets) {
  std::string out;
  auto add = [&](const auto& addresses) {
    for (const auto& a : addresses)
      out += a.ip() + '|' + a.hostname() + '|' + a.nodename() + '|' + a.targetref().name() + '|' + a.targetref().uid() +
             ' ';
    out += ';';
  };
  for (const auto& s : subsets) {
    add(s.addresses());
    add(s.notreadyaddresses());
    for (const auto& p : s.ports())
      out += p.name() + '|' + std::to_string(p.port()) + '|' + p.protocol() + '|' + p.appprotocol() + ' ';
    out += '\n';
  }
  return out;
}

bool SameLabels(const LabelMap& a, const LabelMap& b) { return a.size() == b.size() && Contains(a, b); }

class EndpointsController final : public RunnableController {
 public:
  explicit EndpointsController(ManagerContext& context)
      : client_(context.client),
        events_(context.events(kManager)),
        services_(context.informers.Of<Service>()),
        pods_(context.informers.Of<Pod>()),
        endpoints_(context.informers.Of<Endpoints>()),
        controller_(context.executor, "endpoint", context.Workers("endpoints-controller", 5),
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    controller_.For<Service>(services_);
    controller_.Watches<Pod>(pods_, [this](const client::Change<Pod>& c) { return ServicesOf(services_, c); });
    // Somebody else's change of our object is undone; one left over from a service deleted while nobody watched goes.
    controller_.Watches<Endpoints>(endpoints_, [](const client::Change<Endpoints>& c) {
      bool ours = c.any().metadata().labels().contains(kManagedBy);
      return ours ? std::vector{client::KeyOf(c.any())} : std::vector<client::Key>();
    });
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    auto service = services_.Get(key);
    auto known = endpoints_.Get(key);
    if (!service) {
      if (!known) co_return client::Done{};
      const auto& m = known->metadata();
      // Endpoints without our label may be hand-made, or a leader election's.
      if (!m.labels().contains(kManagedBy)) co_return client::Done{};
      auto gone = co_await client_.Delete<Endpoints>(ctx, m.namespace_(), m.name(), {.uid = m.uid()});
      if (!gone.ok() && !machinery::object::IsNotFound(gone)) co_return base::Err(gone);
      co_return client::Done{};
    }
    if (service->spec().selector().empty() || service->metadata().has_deletiontimestamp() ||
        service->spec().type() == "ExternalName")
      co_return client::Done{};
    Endpoints wanted = Build(*service);
    if (!known) {
      auto made = co_await client_.Create<Endpoints>(ctx, std::move(wanted));
      CO_TRY(Told(*service, base::StatusOf(made), "FailedToCreateEndpoint", "Failed to create endpoint for service "));
      co_return client::Done{};
    }
    if (Text(RepackSubsets(known->subsets())) == Text(wanted.subsets()) &&
        SameLabels(known->metadata().labels(), wanted.metadata().labels()))
      co_return client::Done{};
    Endpoints object = *known;
    object.mutable_subsets()->Swap(wanted.mutable_subsets());
    *object.mutable_metadata()->mutable_labels() = wanted.metadata().labels();
    auto* annotations = object.mutable_metadata()->mutable_annotations();
    annotations->erase(kOverCapacity);
    for (const auto& [k, v] : wanted.metadata().annotations()) (*annotations)[k] = v;
    auto updated = co_await client_.Update<Endpoints>(ctx, std::move(object));
    CO_TRY(Told(*service, base::StatusOf(updated), "FailedToUpdateEndpoint", "Failed to update endpoint "));
    co_return client::Done{};
  }

  base::Status Told(const Service& service, base::Status status, std::string reason, std::string text) {
    if (!status.ok() && !machinery::object::IsConflict(status) && !machinery::object::IsAlreadyExists(status))
      events_.Event(client::ReferenceTo(service), "Warning", std::move(reason),
                    text + client::KeyOf(service) + ": " + std::string(status.message()));
    return status;
  }

  Endpoints Build(const Service& service) {
    Endpoints out;
    auto* m = out.mutable_metadata();
    m->set_namespace_(service.metadata().namespace_());
    m->set_name(service.metadata().name());
    *m->mutable_labels() = service.metadata().labels();
    (*m->mutable_labels())[kManagedBy] = kManager;
    if (IsHeadless(service)) (*m->mutable_labels())[kHeadless] = "";
    Subsets subsets;
    std::vector<std::shared_ptr<const Pod>> behind;
    std::string family = service.spec().ipfamilies().empty() ? "IPv4" : service.spec().ipfamilies(0);
    int count = 0;
    bool full = false;
    for (const auto& pod : pods_.ListNamespace(service.metadata().namespace_())) {
      if (!Contains(pod->metadata().labels(), service.spec().selector())) continue;
      if (!BelongsToEndpoints(*pod, service.spec().publishnotreadyaddresses())) continue;
      std::string ip = AddressOf(*pod, family);
      if (ip.empty()) continue;
      bool ready = service.spec().publishnotreadyaddresses() || IsReady(*pod);
      if (!ready && !MayBecomeReady(*pod)) continue;
      if (++count > kMaxAddresses) {
        full = true;
        break;
      }
      behind.push_back(pod);
      AddPod(subsets, service, *pod, ip, ready);
    }
    *out.mutable_subsets() = RepackSubsets(subsets);
    (*m->mutable_annotations())[kTriggerTime] = TriggerTime(service, behind);
    if (full) (*m->mutable_annotations())[kOverCapacity] = "truncated";
    return out;
  }

  static void AddPod(Subsets& subsets, const Service& service, const Pod& pod, const std::string& ip, bool ready) {
    EndpointAddress address;
    address.set_ip(ip);
    if (!pod.spec().nodename().empty()) address.set_nodename(pod.spec().nodename());
    std::string hostname = HostnameFor(pod, service);
    if (!hostname.empty()) address.set_hostname(hostname);
    auto* ref = address.mutable_targetref();
    ref->set_kind("Pod");
    ref->set_namespace_(pod.metadata().namespace_());
    ref->set_name(pod.metadata().name());
    ref->set_uid(pod.metadata().uid());
    // A pod that lacks a named port is left out of that port only.
    for (const auto& port : service.spec().ports()) {
      auto number = TargetPort(pod, port);
      if (!number) continue;
      core::EndpointPort p;
      if (!port.name().empty()) p.set_name(port.name());
      p.set_port(*number);
      p.set_protocol(port.protocol());
      if (port.has_appprotocol()) p.set_appprotocol(port.appprotocol());
      AddTo(subsets, p, address, ready);
    }
    if (service.spec().ports().empty()) AddTo(subsets, std::nullopt, address, ready);
  }

  static void AddTo(Subsets& subsets, const std::optional<core::EndpointPort>& port, const EndpointAddress& address,
                    bool ready) {
    auto* s = subsets.Add();
    *(ready ? s->add_addresses() : s->add_notreadyaddresses()) = address;
    if (port) *s->add_ports() = *port;
  }

  client::Client& client_;
  client::EventRecorder& events_;
  client::Informer<Service>& services_;
  client::Informer<Pod>& pods_;
  client::Informer<Endpoints>& endpoints_;
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeEndpoints(ManagerContext& context) {
  return std::make_unique<EndpointsController>(context);
}

}  // namespace controller_manager
