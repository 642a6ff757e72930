// Node lifecycle: notices nodes that stopped reporting, says so in their conditions, and turns conditions into taints.
// A node lives as long as its Ready heartbeat or its Lease moves; times are our own clock's.
#include <algorithm>

#include "base/log.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/labels.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/coordination/v1/lease.pb.h"
#include "proto/k8s/core/v1/node.pb.h"

namespace controller_manager {
namespace {
using core::Node;
using core::NodeCondition;
using core::Pod;
using core::Taint;
using k8s::io::api::coordination::v1::Lease;

struct ConditionTaint {
  const char *condition, *status, *taint;
};
constexpr ConditionTaint kTaints[] = {
    {"Ready", "False", "node.kubernetes.io/not-ready"},
    {"Ready", "Unknown", "node.kubernetes.io/unreachable"},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};
constexpr char kUnschedulable[] = "node.kubernetes.io/unschedulable";

const NodeCondition* Find(const Node& node, std::string_view type) {
  for (const auto& c : node.status().conditions())
    if (c.type() == type) return &c;
  return nullptr;
}

// The taints conditions ask for: NoSchedule each, and NoExecute too for a node that is not ready.
std::vector<std::pair<std::string, std::string>> WantedTaints(const Node& node) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& t : kTaints) {
    const auto* c = Find(node, t.condition);
    if (!c || c->status() != t.status) continue;
    out.emplace_back(t.taint, "NoSchedule");
    if (c->type() == "Ready") out.emplace_back(t.taint, "NoExecute");
  }
  if (node.spec().unschedulable()) out.emplace_back(kUnschedulable, "NoSchedule");
  return out;
}

bool IsOurs(const Taint& t) {
  bool by_condition = std::ranges::any_of(kTaints, [&](const auto& k) { return t.key() == k.taint; });
  if (t.effect() == "NoExecute") return by_condition && (t.key() == kTaints[0].taint || t.key() == kTaints[1].taint);
  return t.effect() == "NoSchedule" && (by_condition || t.key() == kUnschedulable);
}

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
        controller_(context.executor, "node_lifecycle", 4,
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    context.informers.Index<Pod>("node", [](const Pod& p) { return std::vector{p.spec().nodename()}; });
    leases_.SetTransform([](Lease& l) { l.mutable_metadata()->clear_managedfields(); });
    controller_.For<Node>(nodes_);
    controller_.Watches<Lease>(leases_, [](const client::Change<Lease>&) { return std::vector<client::Key>(); });
  }

  base::Task<void> Run(base::Context ctx) override {
    base::TaskScope scope(executor_, ctx);
    scope.Spawn(leases_.Run(scope.context()));
    scope.Spawn(controller_.Run(scope.context()));
    if ((co_await nodes_.WaitForSync(ctx)).ok() && (co_await leases_.WaitForSync(ctx)).ok() &&
        (co_await pods_.WaitForSync(ctx)).ok()) {
      while ((co_await base::Sleep(executor_, ctx, options_.node_monitor_period)).ok())
        for (const auto& node : nodes_.List()) controller_.queue().Add(node->metadata().name());
    }
    co_await scope.Join();
  }

 private:
  struct Health {
    std::string heartbeat;
    base::MonoTime moved{};
  };

  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    auto known = nodes_.Get(key);
    if (!known) {
      health_.erase(key);
      co_return client::Done{};
    }
    Node node = *known;
    if (IsSilent(node)) {
      bool was_ready = Find(node, "Ready") && Find(node, "Ready")->status() == "True";
      if (MarkUnknown(node)) {
        CO_TRY_ASSIGN(node, co_await client_.UpdateStatus<Node>(ctx, std::move(node)));
        if (was_ready)
          events_.Event(client::ReferenceTo(node), "Normal", "NodeNotReady",
                        "Node " + key + " status is now: NodeNotReady");
      }
    }
    const auto* ready = Find(node, "Ready");
    if (ready && ready->status() != "True") CO_TRY(co_await MarkPodsNotReady(ctx, key));
    if (FixTaints(node)) CO_TRY(co_await client_.Update<Node>(ctx, std::move(node)));
    co_return client::Done{};
  }

  bool IsSilent(const Node& node) {
    const auto& name = node.metadata().name();
    const auto* ready = Find(node, "Ready");
    auto lease = leases_.Get("kube-node-lease", name);
    auto text = [](const auto& t) { return std::to_string(t.seconds()) + "." + std::to_string(t.nanos()) + " "; };
    // We never move these times ourselves, so any change is a sign of life.
    std::string heartbeat = ready ? text(ready->lastheartbeattime()) : "";
    if (lease) heartbeat += text(lease->spec().renewtime());
    auto [it, fresh] = health_.try_emplace(name);
    Health& h = it->second;
    if (fresh || h.heartbeat != heartbeat) h = {heartbeat, executor_.Now()};
    base::Duration patience = ready ? options_.node_monitor_grace_period : options_.node_startup_grace_period;
    return executor_.Now() - h.moved > patience;
  }

  bool MarkUnknown(Node& node) {
    bool changed = false;
    for (std::string type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
      auto* all = node.mutable_status()->mutable_conditions();
      auto it = std::find_if(all->begin(), all->end(), [&](const auto& c) { return c.type() == type; });
      bool fresh = it == all->end();
      NodeCondition* c = fresh ? all->Add() : &*it;
      if (c->status() == "Unknown") continue;
      c->set_type(type);
      c->set_status("Unknown");
      c->set_reason(fresh ? "NodeStatusNeverUpdated" : "NodeStatusUnknown");
      c->set_message(fresh ? "Kubelet never posted node status." : "Kubelet stopped posting node status.");
      client::SetTime(*c->mutable_lasttransitiontime(), executor_.WallNow());
      if (fresh) *c->mutable_lastheartbeattime() = node.metadata().creationtimestamp();
      changed = true;
    }
    return changed;
  }

  // Endpoints must not send traffic to a node that is gone.
  base::Task<base::Status> MarkPodsNotReady(base::Context ctx, std::string node) {
    base::Status out;
    for (const auto& pod : pods_.ByIndex("node", node)) {
      if (!IsReady(*pod) || IsTerminal(*pod)) continue;
      Pod changed = *pod;
      for (auto& c : *changed.mutable_status()->mutable_conditions()) {
        if (c.type() != "Ready") continue;
        c.set_status("False");
        client::SetTime(*c.mutable_lasttransitiontime(), executor_.WallNow());
      }
      auto updated = co_await client_.UpdateStatus<Pod>(ctx, std::move(changed));
      if (updated)
        events_.Event(client::ReferenceTo(*pod), "Warning", "NodeNotReady", "Node is not ready");
      else if (!machinery::object::IsNotFound(updated.error()) && !machinery::object::IsConflict(updated.error()))
        out = updated.error();
    }
    co_return out;
  }

  bool FixTaints(Node& node) {
    auto wanted = WantedTaints(node);
    auto* all = node.mutable_spec()->mutable_taints();
    int before = all->size();
    all->erase(std::remove_if(all->begin(), all->end(),
                              [&](const Taint& t) {
                                return IsOurs(t) &&
                                       std::ranges::find(wanted, std::make_pair(t.key(), t.effect())) == wanted.end();
                              }),
               all->end());
    bool changed = all->size() != before;
    for (const auto& [key, effect] : wanted) {
      bool there = std::ranges::any_of(*all, [&](const Taint& t) { return t.key() == key && t.effect() == effect; });
      if (there) continue;
      auto* t = all->Add();
      t->set_key(key);
      t->set_effect(effect);
      client::SetTime(*t->mutable_timeadded(), executor_.WallNow());
      changed = true;
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
  std::map<std::string, Health> health_;
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeNodeLifecycle(ManagerContext& context) {
  return std::make_unique<NodeLifecycleController>(context);
}

}  // namespace controller_manager
