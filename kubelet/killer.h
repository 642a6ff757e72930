// How containers and pods end: the hook before, the order among containers, the grace period, the sandbox last; and how
// the runtime's records of them go. One strand.
#pragma once

#include "kubelet/hooks.h"
#include "kubelet/termination_order.h"

namespace kubelet {

class Killer {
 public:
  // `ctx` ends whatever runs.
  Killer(Tools& tools, Hooks& hooks, base::Context ctx) : tools_(tools), hooks_(hooks), ctx_(std::move(ctx)) {}

  struct Killing {
    int64_t grace = 0;  // seconds
    std::string message;
    base::Context ctx;
    TerminationOrder* order = nullptr;  // null: at once
  };
  base::Task<void> KillContainer(WorkerPtr w, ObservedContainer c, Killing how);
  // All that run, then the sandboxes. `grace` in seconds, nullopt: the pod's own. kAborted when w->kill_ctx was ended
  // because a shorter one was given meanwhile.
  base::Task<base::Status> KillPod(WorkerPtr w, std::optional<int64_t> grace);
  // Of what has stopped.
  base::Task<void> RemoveRecords(ObservedPod observed);
  // Runs nobody wants: a sandbox or container left behind by pods that are unknown. Stops and removes it.
  base::Task<void> KillOrphan(base::Context ctx, ObservedPod observed);

 private:
  Tools& tools_;
  Hooks& hooks_;
  base::Context ctx_;
};

}  // namespace kubelet
