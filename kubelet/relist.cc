#include "kubelet/relist.h"

#include <algorithm>

#include "base/log.h"

namespace kubelet {
namespace {

// What was listed, by pod, as a text that only a change makes another: runtimes list in any order.
std::map<std::string, std::string> Summarize(const runtimes::Relist& list) {
  std::map<std::string, std::set<std::string>> parts;
  for (const auto& s : list.sandboxes)
    parts[s.labels().at(std::string(kPodUidLabel))].insert(s.id() + ":" + std::to_string(s.state()));
  for (const auto& c : list.containers)
    parts[c.labels().at(std::string(kPodUidLabel))].insert(c.id() + ":" + std::to_string(c.state()));
  std::map<std::string, std::string> out;
  for (const auto& [uid, ids] : parts)
    for (const auto& id : ids) out[uid] += id + ";";
  return out;
}

}  // namespace

Relist::Relist(base::Executor& executor, runtimes::Runtime& runtime, base::MetricsRegistry& metrics)
    : executor_(executor), runtime_(runtime), metrics_(metrics), started_(executor.Now()) {}

base::Status Relist::Healthy() const {
  if (at_ != base::MonoTime{} && executor_.Now() - at_ < std::chrono::minutes(3)) return base::Ok();
  if (executor_.Now() - started_ < std::chrono::minutes(3)) return base::Ok();
  return base::Unavailable("pleg was last seen active too long ago; threshold is 3m0s");
}

base::Task<void> Relist::Run(base::TaskScope& scope, Workers& workers) {
  base::Context ctx = scope.context();
  auto& duration =
      metrics_
          .AddHistogram("kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods in PLEG.",
                        {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10})
          .Get();
  auto& seen =
      metrics_.AddGauge("kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active.").Get();
  while (ctx.status().ok()) {
    base::MonoTime begun = executor_.Now();
    base::Status s = co_await Once(scope, workers);
    if (s.ok()) {
      at_ = executor_.Now();
      duration.Observe(std::chrono::duration<double>(at_ - begun).count());
      seen.Set(static_cast<double>(WallNanos(executor_.clock())) / 1e9);
    } else if (ctx.status().ok()) {
      base::LogV(1, "The runtime could not be listed", {{"err", s}});
    }
    if (!(co_await base::Sleep(executor_, ctx, std::chrono::seconds(1))).ok()) co_return;
  }
}

void Relist::Count(const runtimes::Relist& list) {
  size_t running = std::ranges::count_if(list.sandboxes, [](const auto& s) { return s.state() == cri::SANDBOX_READY; });
  metrics_.AddGauge("kubelet_running_pods", "Number of pods that have a running pod sandbox")
      .Get()
      .Set(static_cast<double>(running));
  auto& by_state =
      metrics_.AddGauge("kubelet_running_containers", "Number of containers currently running", {"container_state"});
  double counts[4] = {};
  for (const auto& c : list.containers)
    if (c.state() < 4) ++counts[c.state()];
  static constexpr const char* kStates[] = {"created", "running", "exited", "unknown"};
  for (int i = 0; i < 4; ++i) by_state.With({kStates[i]}).Set(counts[i]);
}

base::Task<base::Status> Relist::Once(base::TaskScope& scope, Workers& workers) {
  const base::MonoTime asked = executor_.Now();
  CO_TRY_ASSIGN(runtimes::Relist list, co_await runtimes::ListAll(scope.context(), runtime_));
  const std::map<std::string, std::string> now = Summarize(list);
  Count(list);
  bool ready = sources_ready();
  for (const auto& [uid, text] : now) {
    bool known = workers.Knows(uid);
    if (known && seen_[uid] == text) continue;
    if (!known && (!ready || orphans_.contains(uid))) continue;
    if (!observing_.insert(uid).second) continue;  // the next relist sees that it differs
    seen_[uid] = text;
    scope.Spawn(Observe(scope.context(), workers, uid, !known));
  }
  for (auto it = seen_.begin(); it != seen_.end();) {
    if (now.contains(it->first)) {
      ++it;
      continue;
    }
    if (workers.Knows(it->first)) workers.Observed(it->first, ObservedPod{.uid = it->first}, asked);
    it = seen_.erase(it);
  }
  co_return base::Ok();
}

base::Task<void> Relist::Observe(base::Context ctx, Workers& workers, std::string uid, bool orphan) {
  const base::MonoTime asked = executor_.Now();
  auto observed = co_await runtimes::Observe(ctx, runtime_, uid);
  observing_.erase(uid);
  if (!observed) {
    seen_.erase(uid);
    co_return;
  }
  if (!orphan || workers.Knows(uid)) {
    workers.Observed(uid, std::move(*observed), asked);
    co_return;
  }
  // The manifests and the API have been read, and neither knows it.
  orphans_.insert(uid);
  co_await workers.KillOrphan(ctx, std::move(*observed));
  orphans_.erase(uid);
  seen_.erase(uid);
}

}  // namespace kubelet
