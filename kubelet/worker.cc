#include "kubelet/worker.h"

namespace kubelet {

base::Task<base::Status> Refresh(base::Context ctx, runtimes::Runtime& runtime, WorkerPtr w) {
  CO_TRY_ASSIGN(ObservedPod observed, co_await runtimes::Observe(ctx, runtime, w->uid));
  w->observed = std::move(observed);
  w->observed_stale = false;
  co_return base::Ok();
}

std::string PodIp(const ObservedPod& observed, const std::vector<std::string>& host_ips) {
  if (!observed.sandboxes.empty() && !observed.sandboxes.front().ips.empty())
    return observed.sandboxes.front().ips.front();
  return host_ips.empty() ? "127.0.0.1" : host_ips.front();
}

}  // namespace kubelet
