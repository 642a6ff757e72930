// Lifecycle handlers: what a container wants done right after it starts and right before it ends. One strand.
#pragma once

#include "kubelet/worker.h"

namespace kubelet {

class Hooks {
 public:
  // `ctx` ends whatever runs.
  Hooks(Tools& tools, base::Context ctx) : tools_(tools), ctx_(std::move(ctx)) {}

  // OK, or the failure in words; nothing is done about it here.
  base::Task<base::Status> PostStart(WorkerPtr w, api::Container container, std::string id);
  // At most `grace` seconds; a failure is an event.
  base::Task<void> PreStop(WorkerPtr w, api::LifecycleHandler handler, ObservedContainer c, int64_t grace);

 private:
  struct Call {
    api::LifecycleHandler handler;
    api::Container container;
    std::string id, pod_ip;
    base::Duration timeout;
  };
  base::Task<base::Status> Run(base::Context ctx, Call call);

  Tools& tools_;
  base::Context ctx_;
};

}  // namespace kubelet
