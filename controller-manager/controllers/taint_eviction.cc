// Taint eviction: deletes pods from nodes with NoExecute taints they do not tolerate, or tolerate for a time only. The
// time counts from when the taint was added, so a restart does not grant it anew.
#include <algorithm>

#include "base/log.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/labels.h"
#include "controller-manager/controllers/node_health.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"

namespace controller_manager {
namespace {
using core::Node;
using core::Pod;
using core::Taint;

class TaintEvictionController final : public RunnableController {
 public:
  explicit TaintEvictionController(ManagerContext& context)
      : executor_(context.executor),
        client_(context.client),
        events_(context.events("taint-eviction-controller")),
        deletions_(context.metrics
                       .AddCounter("taint_eviction_controller_pod_deletions_total",
                                   "Pods deleted because of a NoExecute taint.")
                       .Get()),
        nodes_(context.informers.Of<Node>()),
        pods_(context.informers.Of<Pod>()),
        controller_(context.executor, "taint_eviction", 8,
                    [this](base::Context ctx, client::Key key) { return Reconcile(std::move(ctx), std::move(key)); }) {
    context.informers.Index<Pod>("node", [](const Pod& p) { return std::vector{p.spec().nodename()}; });
    controller_.Watches<Node>(nodes_, [this](const client::Change<Node>& c) { return PodsOf(c); });
    controller_.Watches<Pod>(pods_, [this](const client::Change<Pod>& c) {
      return c.current && Threatened(*c.current) ? std::vector{client::KeyOf(*c.current)} : std::vector<client::Key>();
    });
  }
  base::Task<void> Run(base::Context ctx) override { return controller_.Run(std::move(ctx)); }

 private:
  static bool Evicts(const Node& node) {
    return std::ranges::any_of(node.spec().taints(), [](const Taint& t) { return t.effect() == "NoExecute"; });
  }
  bool Threatened(const Pod& pod) const {
    auto node = nodes_.Get(pod.spec().nodename());
    return node && Evicts(*node);
  }
  std::vector<client::Key> PodsOf(const client::Change<Node>& c) const {
    std::vector<client::Key> out;
    bool before = c.old && Evicts(*c.old), after = c.current && Evicts(*c.current);
    if (!before && !after) return out;
    for (const auto& pod : pods_.ByIndex("node", c.any().metadata().name())) out.push_back(client::KeyOf(*pod));
    return out;
  }

  base::Task<base::Result<client::Done>> Reconcile(base::Context ctx, client::Key key) {
    auto pod = pods_.Get(key);
    if (!pod || pod->metadata().has_deletiontimestamp()) {
      waiting_.erase(key);
      co_return client::Done{};
    }
    auto node = nodes_.Get(pod->spec().nodename());
    base::WallTime now = executor_.WallNow();
    auto noticed = waiting_.find(key);
    auto due = node ? EvictionTime(pod->spec(), node->spec(), noticed == waiting_.end() ? now : noticed->second)
                    : std::nullopt;
    if (!due) {
      if (waiting_.erase(key))
        events_.Event(client::ReferenceTo(*pod), "Normal", "TaintManagerEviction", "Cancelling deletion of Pod " + key);
      co_return client::Done{};
    }
    if (*due > now) {
      waiting_.try_emplace(key, now);
      co_return client::Done{*due - now};
    }
    waiting_.erase(key);
    co_return co_await Evict(ctx, *pod);
  }

  base::Task<base::Result<client::Done>> Evict(base::Context ctx, const Pod& pod) {
    const auto& m = pod.metadata();
    events_.Event(client::ReferenceTo(pod), "Normal", "TaintManagerEviction",
                  "Marking for deletion Pod " + client::KeyOf(pod));
    if (!Condition(pod, "DisruptionTarget")) {
      Pod marked = pod;
      auto* c = marked.mutable_status()->add_conditions();
      c->set_type("DisruptionTarget");
      c->set_status("True");
      c->set_reason("DeletionByTaintManager");
      c->set_message("Taint manager: deleting due to NoExecute taint");
      c->set_observedgeneration(m.generation());
      client::SetTime(*c->mutable_lasttransitiontime(), executor_.WallNow());
      auto updated = co_await client_.UpdateStatus<Pod>(ctx, std::move(marked));
      if (!updated && machinery::object::IsNotFound(updated.error())) co_return client::Done{};
      if (!updated) co_return base::Err(updated.error());
    }
    auto status = co_await client_.Delete<Pod>(ctx, m.namespace_(), m.name(), {.uid = m.uid()});
    if (!status.ok() && !machinery::object::IsNotFound(status)) co_return base::Err(status);
    deletions_.Add();
    co_return client::Done{};
  }

  base::Executor& executor_;
  client::Client& client_;
  client::EventRecorder& events_;
  base::Counter& deletions_;
  client::Informer<Node>& nodes_;
  client::Informer<Pod>& pods_;
  std::map<client::Key, base::WallTime> waiting_;  // pods that will have to go, and since when that is known
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeTaintEviction(ManagerContext& context) {
  return std::make_unique<TaintEvictionController>(context);
}

}  // namespace controller_manager
