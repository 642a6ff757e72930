// Node lifecycle: notices nodes that stopped reporting, says so in their conditions, and turns conditions into taints.
// A node lives as long as its Ready heartbeat or its Lease moves; times are our own clock's, and only those count in
// which the server could hear the node. NoSchedule taints follow the conditions at once; NoExecute ones, which empty a
// node, are rationed per zone (node_health.h).
#include <algorithm>

#include "base/log.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/labels.h"
#include "controller-manager/controllers/node_health.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/coordination/v1/lease.pb.h"

namespace controller_manager {
namespace {
using core::Node;
using core::Pod;
using k8s::io::api::coordination::v1::Lease;

constexpr int kRetries = 5;
constexpr base::Duration kRetrySleep = std::chrono::milliseconds(20);
constexpr char kExcluded[] = "node.kubernetes.io/exclude-disruption";

class NodeLifecycleController final : public RunnableController {
 public:
  explicit NodeLifecycleController(ManagerContext& context)
      : executor_(context.executor),
        client_(context.client),
        options_(context.options),
        events_(context.events("node-controller")),
        nodes_(context.informers.Of<Node>()),
        pods_(context.informers.Of<Pod>()),
        leases_(context.executor, context.informers.client(), {.namespace_name = "kube-node-lease"}),
        hearing_(context.options.node_monitor_period),
        disruption_(context.options.eviction_rates),
        zone_size_(context.metrics.AddGauge("node_collector_zone_size", "Registered nodes per zone.", {"zone"})),
        zone_health_(
            context.metrics.AddGauge("node_collector_zone_health", "Percentage of healthy nodes per zone.", {"zone"})),
        unhealthy_(
            context.metrics.AddGauge("node_collector_unhealthy_nodes_in_zone", "Nodes that are not Ready.", {"zone"})),
        evictions_(context.metrics.AddCounter("node_collector_evictions_total",
                                              "Nodes that were given a NoExecute taint.", {"zone"})),
        taints_(context.executor, "node_lifecycle", 4,
                [this](base::Context ctx, client::Key key) { return FixNode(std::move(ctx), std::move(key)); }),
        bound_(context.executor, "node_lifecycle_pods", 4,
               [this](base::Context ctx, client::Key key) { return CheckPod(std::move(ctx), std::move(key)); }) {
    context.informers.Index<Pod>("node", [](const Pod& p) { return std::vector{p.spec().nodename()}; });
    leases_.SetTransform([](Lease& l) { l.mutable_metadata()->clear_managedfields(); });
    taints_.For<Node>(nodes_);
    bound_.Watches<Pod>(pods_, [](const client::Change<Pod>& c) {
      bool bound = c.current && !c.current->spec().nodename().empty() &&
                   (!c.old || c.old->spec().nodename() != c.current->spec().nodename());
      return bound ? std::vector{client::KeyOf(*c.current)} : std::vector<client::Key>();
    });
  }

  base::Task<void> Run(base::Context ctx) override {
    base::TaskScope scope(executor_, ctx);
    scope.Spawn(leases_.Run(scope.context()));
    if ((co_await nodes_.WaitForSync(ctx)).ok() && (co_await leases_.WaitForSync(ctx)).ok() &&
        (co_await pods_.WaitForSync(ctx)).ok()) {
      scope.Spawn(taints_.Run(scope.context()));
      scope.Spawn(bound_.Run(scope.context()));
      do {
        co_await MonitorAll(scope.context());
      } while ((co_await base::Sleep(executor_, ctx, options_.node_monitor_period)).ok());
    }
    co_await scope.Join();
  }

 private:
  using NodePtr = std::shared_ptr<const Node>;
  struct Health {
    std::string heartbeat, uid;
    base::MonoTime moved{};
    bool retry_pods = false;
  };

  // --- one look at all nodes ---

  base::Task<void> MonitorAll(base::Context ctx) {
    auto nodes = nodes_.List();
    NoticeComings(nodes);
    bool answered = co_await ServerAnswers(ctx, nodes);
    switch (hearing_.Begin(answered, executor_.Now())) {
      case Hearing::Verdict::kGood:
        break;
      case Hearing::Verdict::kDeaf:
        co_return;
      case Hearing::Verdict::kBack:
        base::LogInfo("The API server answers again, each Node has its full grace period");
        for (auto& [name, health] : health_) health.moved = executor_.Now();
        break;
    }
    write_failed_ = false;
    base::TaskScope scope(executor_, ctx);
    std::map<std::string, ZoneCounts> zones;
    for (const auto& node : nodes) scope.Spawn(MonitorOne(scope.context(), node, &zones));
    co_await scope.Join();
    hearing_.End(write_failed_, executor_.Now());
    for (const auto& [zone, counts] : zones) Measure(zone, counts);
    switch (disruption_.Update(zones, executor_.Now())) {
      case Disruption::Change::kNone:
        break;
      case Disruption::Change::kEntered:
        base::LogInfo("Controller detected that all Nodes are not-Ready. Entering master disruption mode");
        for (const auto& node : nodes) (void)co_await SetNoExecute(ctx, node->metadata().name(), "");
        break;
      case Disruption::Change::kLeft:
        base::LogInfo("Controller detected that some Nodes are Ready. Exiting master disruption mode");
        // The nodes were silent because nobody could be heard; each gets its full grace again.
        for (auto& [name, health] : health_) health.moved = executor_.Now();
        break;
    }
  }

  // Asked of the store itself: a server that lost its store answers from memory and takes no heartbeat.
  base::Task<bool> ServerAnswers(base::Context ctx, const std::vector<NodePtr>& nodes) {
    if (nodes.empty()) co_return true;
    auto node = co_await client_.Get<Node>(ctx.WithTimeout(executor_, options_.node_monitor_period), "",
                                           nodes.front()->metadata().name());
    co_return node || IsAnswer(node.error());
  }

  // An error that a server in good order gave.
  static bool IsAnswer(const base::Status& status) {
    int code = machinery::object::HttpCodeOf(status);
    return code >= 400 && code < 500 && code != 429;
  }

  void NoticeComings(const std::vector<NodePtr>& nodes) {
    std::map<std::string, Health> gone = std::move(health_);
    health_.clear();
    for (const auto& node : nodes) {
      const auto& m = node->metadata();
      if (auto known = gone.extract(m.name())) {
        health_.insert(std::move(known));
        continue;
      }
      health_[m.name()] = {.heartbeat = Heartbeat(*node), .uid = m.uid(), .moved = executor_.Now()};
      Tell(m.name(), m.uid(), "RegisteredNode",
           "Node " + m.name() + " event: Registered Node " + m.name() + " in Controller");
    }
    for (const auto& [name, health] : gone)
      Tell(name, health.uid, "RemovingNode", "Node " + name + " event: Removing Node " + name + " from Controller");
  }

  void Tell(const std::string& name, const std::string& uid, std::string reason, std::string message) {
    Node about;
    about.mutable_metadata()->set_name(name);
    about.mutable_metadata()->set_uid(uid);
    events_.Event(client::ReferenceTo(about), "Normal", std::move(reason), std::move(message));
  }

  void Measure(const std::string& zone, const ZoneCounts& counts) {
    zone_size_.With({zone}).Set(counts.size());
    zone_health_.With({zone}).Set(100.0 * counts.ready / counts.size());
    unhealthy_.With({zone}).Set(counts.not_ready);
    evictions_.With({zone}).Add(0);
  }

  base::Task<void> MonitorOne(base::Context ctx, NodePtr known, std::map<std::string, ZoneCounts>* zones) {
    std::string name = known->metadata().name();
    Node node = *known;
    bool was_ready = NoExecuteTaint(node).empty() && FindCondition(node, "Ready");
    if (IsSilent(node)) {
      for (int i = 0; i < kRetries && MarkUnknown(node, executor_.WallNow()); ++i) {
        auto updated = co_await client_.UpdateStatus<Node>(ctx, node);
        if (!updated) {
          write_failed_ = write_failed_ || !IsAnswer(updated.error());
          (void)co_await base::Sleep(executor_, ctx, kRetrySleep);
          updated = co_await client_.Get<Node>(ctx, "", name);
        }
        if (!updated) {
          base::LogError("Update health of Node from Controller error, Skipping - no pods will be evicted",
                         updated.error(), {{"node", name}});
          co_return;
        }
        node = std::move(*updated);
        was_ready |= NoExecuteTaint(node).empty();
      }
    }
    const auto* ready = FindCondition(node, "Ready");
    bool is_ready = ready && ready->status() == "True";
    if (!node.metadata().labels().contains(kExcluded)) {
      auto& zone = (*zones)[ZoneOf(node)];
      ++(is_ready ? zone.ready : zone.not_ready);
    }
    if (!ready) co_return;
    co_await Ration(ctx, node);
    Health& health = health_[name];
    if (!is_ready && was_ready)
      Tell(name, node.metadata().uid(), "NodeNotReady", "Node " + name + " status is now: NodeNotReady");
    if (is_ready || (!was_ready && !health.retry_pods)) co_return;
    bool done = (co_await MarkPodsNotReady(ctx, pods_.ByIndex("node", name))).ok();
    // Asked for again: the node may be gone by now.
    if (auto it = health_.find(name); it != health_.end()) it->second.retry_pods = !done;
  }

  static std::string Heartbeat(const Node& node) {
    const auto* ready = FindCondition(node, "Ready");
    return ready ? std::to_string(ready->lastheartbeattime().seconds()) : "";
  }

  bool IsSilent(const Node& node) {
    const auto& name = node.metadata().name();
    const auto* ready = FindCondition(node, "Ready");
    // We never move these times ourselves, so any change is a sign of life.
    std::string heartbeat = Heartbeat(node);
    if (auto lease = leases_.Get("kube-node-lease", name))
      heartbeat += " " + std::to_string(lease->spec().renewtime().seconds()) + "." +
                   std::to_string(lease->spec().renewtime().nanos());
    Health& h = health_[name];
    if (h.heartbeat != heartbeat) h.heartbeat = heartbeat, h.moved = executor_.Now();
    base::Duration patience = ready ? options_.node_monitor_grace_period : options_.node_startup_grace_period;
    return executor_.Now() - h.moved > patience;
  }

  // --- NoExecute taints ---

  // Gives a node the taint that empties it when its turn has come; takes it away at once.
  base::Task<void> Ration(base::Context ctx, const Node& node) {
    std::string name = node.metadata().name(), zone = ZoneOf(node), wanted = NoExecuteTaint(node);
    if (wanted.empty() ? !HasReadinessTaint(node) : HasNoExecuteTaint(node, wanted)) co_return;
    // One kind in place of the other is no new eviction.
    bool swap = wanted.empty() || HasReadinessTaint(node);
    if (!swap && !disruption_.MayEmptyNode(zone, executor_.Now())) co_return;
    if (auto status = co_await SetNoExecute(ctx, name, wanted); !status.ok())
      base::LogError("Unable to change the NoExecute taint; will try again in the next cycle", status,
                     {{"node", name}});
    else if (!swap)
      evictions_.With({zone}).Add();
  }

  base::Task<base::Status> SetNoExecute(base::Context ctx, std::string name, std::string wanted) {
    base::Status failure;
    for (int i = 0; i < kRetries; ++i) {
      auto node = co_await client_.Get<Node>(ctx, "", name);
      if (!node) co_return machinery::object::IsNotFound(node.error()) ? base::Ok() : node.error();
      if (!FixNoExecuteTaint(*node, wanted, executor_.WallNow())) co_return base::Ok();
      auto updated = co_await client_.Update<Node>(ctx, std::move(*node));
      if (updated) co_return base::Ok();
      failure = updated.error();
      if (!machinery::object::IsConflict(failure)) co_return failure;
    }
    co_return failure;
  }

  // --- pods ---

  // Endpoints must not send traffic to a node that is gone.
  base::Task<base::Status> MarkPodsNotReady(base::Context ctx, std::vector<std::shared_ptr<const Pod>> pods) {
    base::Status out;
    for (const auto& pod : pods) {
      if (!IsReady(*pod)) continue;
      Pod changed = *pod;
      for (auto& c : *changed.mutable_status()->mutable_conditions()) {
        if (c.type() != "Ready") continue;
        c.set_status("False");
        client::SetTime(*c.mutable_lasttransitiontime(), executor_.WallNow());
      }
      auto updated = co_await client_.UpdateStatus<Pod>(ctx, std::move(changed));
      if (updated)
        events_.Event(client::ReferenceTo(*pod), "Warning", "NodeNotReady", "Node is not ready");
      else if (!machinery::object::IsNotFound(updated.error()))
        out = updated.error();
    }
    co_return out;
  }

  // A pod that was bound to a node which nobody hears.
  base::Task<base::Result<client::Done>> CheckPod(base::Context ctx, client::Key key) {
    auto pod = pods_.Get(key);
    auto node = pod ? nodes_.Get(pod->spec().nodename()) : nullptr;
    if (!node || NoExecuteTaint(*node).empty()) co_return client::Done{};
    std::vector<std::shared_ptr<const Pod>> one(1, pod);
    CO_TRY(co_await MarkPodsNotReady(ctx, std::move(one)));
    co_return client::Done{};
  }

  // --- at each change of a node ---

  base::Task<base::Result<client::Done>> FixNode(base::Context ctx, client::Key key) {
    auto known = nodes_.Get(key);
    if (!known) co_return client::Done{};
    Node node = *known;
    bool changed = FixNoScheduleTaints(node, executor_.WallNow());
    changed |= FixLabels(node);
    // A node that is well again takes pods back at once.
    if (NoExecuteTaint(node).empty() && FindCondition(node, "Ready"))
      changed |= FixNoExecuteTaint(node, "", executor_.WallNow());
    if (changed) CO_TRY(co_await client_.Update<Node>(ctx, std::move(node)));
    co_return client::Done{};
  }

  // The old names of two labels follow the new ones.
  static bool FixLabels(Node& node) {
    auto& labels = *node.mutable_metadata()->mutable_labels();
    bool changed = false;
    for (std::string what : {"os", "arch"}) {
      auto from = labels.find("kubernetes.io/" + what);
      if (from == labels.end()) continue;
      std::string value = from->second;
      std::string& old = labels["beta.kubernetes.io/" + what];
      changed |= old != value;
      old = value;
    }
    return changed;
  }

  base::Executor& executor_;
  client::Client& client_;
  const ManagerOptions& options_;
  client::EventRecorder& events_;
  client::Informer<Node>& nodes_;
  client::Informer<Pod>& pods_;
  client::Informer<Lease> leases_;
  Hearing hearing_;
  bool write_failed_ = false;  // in this look at the nodes
  Disruption disruption_;
  base::Family<base::Gauge>&zone_size_, &zone_health_, &unhealthy_;
  base::Family<base::Counter>& evictions_;
  std::map<std::string, Health> health_;
  client::Controller taints_, bound_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeNodeLifecycle(ManagerContext& context) {
  return std::make_unique<NodeLifecycleController>(context);
}

}  // namespace controller_manager
