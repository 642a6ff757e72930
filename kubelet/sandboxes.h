// The sandbox of a pod: made, and its address shown. One strand.
#pragma once

#include "kubelet/worker.h"

namespace kubelet {

class Sandboxes {
 public:
  // What goes on after Create is a task of `scope`.
  Sandboxes(Tools& tools, base::TaskScope& scope) : tools_(tools), scope_(scope) {}

  // The id of a new sandbox. w->observed is fresh afterwards.
  base::Task<base::Result<std::string>> Create(WorkerPtr w, uint32_t attempt);
  // The configuration that a pod's sandbox has or gets.
  base::Result<cri::PodSandboxConfig> ConfigOf(const Worker& w, uint32_t attempt) const;

 private:
  void ShowNetwork(WorkerPtr w);
  base::Task<void> ShowAddress(WorkerPtr w);

  Tools& tools_;
  base::TaskScope& scope_;
};

}  // namespace kubelet
