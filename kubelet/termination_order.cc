#include "kubelet/termination_order.h"

#include <algorithm>

namespace kubelet {

TerminationOrder::TerminationOrder(base::Executor& executor, const api::Pod& pod,
                                   const std::vector<std::string>& running)
    : executor_(executor), ended_(executor) {
  for (const auto& name : running) ranks_[name] = 0;
  int rank = 0;
  const auto& init = pod.spec().initcontainers();
  for (int i = init.size() - 1; i >= 0; --i)
    if (auto it = ranks_.find(init[i].name()); it != ranks_.end() && IsSidecar(init[i])) it->second = ++rank;
}

bool TerminationOrder::IsTurnOf(const std::string& name) const {
  auto own = ranks_.find(name);
  return own == ranks_.end() ||
         std::ranges::none_of(ranks_, [&](const auto& other) { return other.second < own->second; });
}

base::Task<base::Duration> TerminationOrder::WaitForTurn(base::Context ctx, std::string name, base::Duration most) {
  const base::MonoTime begun = executor_.Now();
  base::Context bounded = ctx.WithTimeout(executor_, most);
  while (!IsTurnOf(name))
    if (!(co_await ended_.Wait(bounded)).ok()) break;
  co_return executor_.Now() - begun;
}

void TerminationOrder::Ended(const std::string& name) {
  ranks_.erase(name);
  ended_.NotifyAll();
}

}  // namespace kubelet
