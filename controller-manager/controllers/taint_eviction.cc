// Taint eviction: deletes pods from nodes with NoExecute taints they do not tolerate, or tolerate for a time only. The
// time counts from when the taint was added, so a restart does not grant it anew.
#include <algorithm>
#include <limits>
#include <set>

#include "base/log.h"
#include "controller-manager/common/context.h"
#include "controller-manager/common/labels.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/core/v1/node.pb.h"

namespace controller_manager {
namespace {
using core::Node;
using core::Pod;
using core::Taint;
using core::Toleration;

bool Tolerates(const Toleration& toleration, const Taint& taint) {
  if (!toleration.effect().empty() && toleration.effect() != taint.effect()) return false;
  if (!toleration.key().empty() && toleration.key() != taint.key()) return false;
  return toleration.operator_() == "Exists" || toleration.value() == taint.value();
}

constexpr base::WallTime kNever = base::WallTime::max();

// When the pod has to go because of the node's taints.
base::WallTime Deadline(const Pod& pod, const Node& node, base::WallTime now) {
  base::WallTime out = kNever;
  for (const auto& taint : node.spec().taints()) {
    if (taint.effect() != "NoExecute") continue;
    base::WallTime added = taint.has_timeadded() ? client::ToWallTime(taint.timeadded()) : now;
    int64_t patience = -1;  // nobody tolerates it
    for (const auto& t : pod.spec().tolerations()) {
      if (!Tolerates(t, taint)) continue;
      int64_t seconds =
          t.has_tolerationseconds() ? std::max<int64_t>(t.tolerationseconds(), 0) : std::numeric_limits<int64_t>::max();
      patience = patience < 0 ? seconds : std::min(patience, seconds);
    }
    if (patience < 0) return base::WallTime::min();
    if (patience < std::numeric_limits<int32_t>::max())
      out = std::min<base::WallTime>(out, added + std::chrono::seconds(patience));
  }
  return out;
}

class TaintEvictionController final : public RunnableController {
 public:
  explicit TaintEvictionController(ManagerContext& context)
      : executor_(context.executor),
        client_(context.client),
        events_(context.events("taint-eviction-controller")),
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
    if (!pod || IsTerminal(*pod) || pod->metadata().has_deletiontimestamp()) {
      waiting_.erase(key);
      co_return client::Done{};
    }
    auto node = nodes_.Get(pod->spec().nodename());
    base::WallTime now = executor_.WallNow();
    base::WallTime due = node ? Deadline(*pod, *node, now) : kNever;
    if (due == kNever) {
      if (waiting_.erase(key))
        events_.Event(client::ReferenceTo(*pod), "Normal", "TaintManagerEviction", "Cancelling deletion of Pod " + key);
      co_return client::Done{};
    }
    if (due > now) {
      waiting_.insert(key);
      co_return client::Done{due - now};
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
    co_return client::Done{};
  }

  base::Executor& executor_;
  client::Client& client_;
  client::EventRecorder& events_;
  client::Informer<Node>& nodes_;
  client::Informer<Pod>& pods_;
  std::set<client::Key> waiting_;
  client::Controller controller_;
};
}  // namespace

std::unique_ptr<RunnableController> MakeTaintEviction(ManagerContext& context) {
  return std::make_unique<TaintEvictionController>(context);
}

}  // namespace controller_manager
