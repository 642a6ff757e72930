// Pod garbage collection: pods whose node is gone or declared out of service, pods that were deleted before they got a
// node, and ended pods beyond a number.
#include <algorithm>
#include <ctime>
#include <tuple>

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

constexpr base::Duration kEvery = std::chrono::seconds(20);
// A node may only be a moment late in the copy, or come back under its name.
constexpr base::Duration kQuarantine = std::chrono::seconds(40);

class PodGcController final : public RunnableController {
 public:
  explicit PodGcController(ManagerContext& context)
      : executor_(context.executor),
        client_(context.client),
        threshold_(context.options.terminated_pod_gc_threshold),
        nodes_(context.informers.Of<Node>()),
        pods_(context.informers.Of<Pod>()) {}

  base::Task<void> Run(base::Context ctx) override {
    if (!(co_await nodes_.WaitForSync(ctx)).ok() || !(co_await pods_.WaitForSync(ctx)).ok()) co_return;
    while ((co_await base::Sleep(executor_, ctx, kEvery)).ok()) {
      co_await Ended(ctx);
      co_await OutOfService(ctx);
      co_await Orphans(ctx);
      co_await Unscheduled(ctx);
    }
  }

 private:
  base::Task<void> Ended(base::Context ctx) {
    if (threshold_ <= 0) co_return;
    std::vector<std::shared_ptr<const Pod>> ended;
    for (auto& p : pods_.List())
      if (IsTerminal(*p)) ended.push_back(std::move(p));
    if (ended.size() <= static_cast<size_t>(threshold_)) co_return;
    // Evicted ones first: nobody waits for what they did.
    std::ranges::sort(ended, {}, [](const auto& p) {
      return std::tuple(p->status().reason() != "Evicted", p->metadata().creationtimestamp().seconds(),
                        p->metadata().name());
    });
    ended.resize(ended.size() - static_cast<size_t>(threshold_));
    for (const auto& p : ended) co_await Remove(ctx, *p, "");
  }

  // Nobody will ever confirm the end of a pod there: an administrator said with the taint that the machine is off.
  base::Task<void> OutOfService(base::Context ctx) {
    for (const auto& p : pods_.List()) {
      if (!p->metadata().has_deletiontimestamp()) continue;
      auto node = nodes_.Get(p->spec().nodename());
      bool declared = node && std::ranges::any_of(node->spec().taints(), [](const auto& t) {
                        return t.key() == "node.kubernetes.io/out-of-service";
                      });
      const auto* ready = declared ? FindCondition(*node, "Ready") : nullptr;
      if (declared && !(ready && ready->status() == "True")) co_await Remove(ctx, *p, "");
    }
  }

  base::Task<void> Orphans(base::Context ctx) {
    std::map<std::string, base::MonoTime> missing;
    for (const auto& p : pods_.List()) {
      const auto& node = p->spec().nodename();
      if (node.empty() || nodes_.Get(node)) continue;
      auto seen = missing_.find(node);
      base::MonoTime since = seen == missing_.end() ? executor_.Now() : seen->second;
      missing[node] = since;
      if (executor_.Now() - since < kQuarantine) continue;
      // The copy may be wrong; a pod is not taken from a living node for that.
      auto live = co_await client_.Get<Node>(ctx, "", node);
      if (!live && machinery::object::IsNotFound(live.error()))
        co_await Remove(ctx, *p, "PodGC: node no longer exists");
    }
    missing_ = std::move(missing);
  }

  base::Task<void> Unscheduled(base::Context ctx) {
    for (const auto& p : pods_.List())
      if (p->metadata().has_deletiontimestamp() && p->spec().nodename().empty()) co_await Remove(ctx, *p, "");
  }

  std::string Now() const {
    char text[32];
    std::time_t t = std::chrono::system_clock::to_time_t(
        std::chrono::time_point_cast<std::chrono::system_clock::duration>(executor_.WallNow()));
    std::tm parts{};
    gmtime_r(&t, &parts);
    return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts));
  }

  base::Task<void> Remove(base::Context ctx, const Pod& pod, std::string why) {
    const auto& m = pod.metadata();
    base::LogInfo("PodGC is force deleting Pod", {{"pod", client::KeyOf(pod)}});
    if (!IsTerminal(pod)) {
      std::string patch = R"({"status":{"phase":"Failed")";
      if (!why.empty() && !Condition(pod, "DisruptionTarget"))
        patch += R"(,"conditions":[{"type":"DisruptionTarget","status":"True","reason":"DeletionByPodGC","message":")" +
                 why + R"(","observedGeneration":)" + std::to_string(m.generation()) + R"(,"lastTransitionTime":")" +
                 Now() + "\"}]";
      auto updated = co_await client_.Patch<Pod>(
          ctx, m.namespace_(), m.name(), machinery::request::PatchType::kStrategicMerge, patch + "}}", "status");
      if (!updated) co_return;  // next time round
    }
    auto status =
        co_await client_.Delete<Pod>(ctx, m.namespace_(), m.name(), {.grace_period_seconds = 0, .uid = m.uid()});
    if (!status.ok() && !machinery::object::IsNotFound(status))
      base::LogError("PodGC cannot delete", status, {{"pod", client::KeyOf(pod)}});
  }

  base::Executor& executor_;
  client::Client& client_;
  int threshold_;
  client::Informer<Node>& nodes_;
  client::Informer<Pod>& pods_;
  std::map<std::string, base::MonoTime> missing_;  // nodes that pods name and nobody knows, since when
};
}  // namespace

std::unique_ptr<RunnableController> MakePodGc(ManagerContext& context) {
  return std::make_unique<PodGcController>(context);
}

}  // namespace controller_manager
