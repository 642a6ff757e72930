// Whether the container runtime is there and its network works, asked every 5 s (more often while it is not), and the
// node's pod addresses on their way to it. One strand.
#pragma once

#include <functional>
#include <string>

#include "kubelet/node.h"
#include "kubelet/runtimes/runtime.h"

namespace kubelet {

class RuntimeWatch {
 public:
  RuntimeWatch(base::Executor& executor, runtimes::Runtime& runtime, const NodeKeeper& node)
      : executor_(executor), runtime_(runtime), node_(node) {}

  // Called when one of the texts below has changed.
  std::function<void()> on_change;
  // "" while the runtime answers and calls itself ready.
  std::string error() const { return ready_ ? "" : error_; }
  // "" while pods can have networks.
  const std::string& network_error() const { return network_error_; }

  base::Task<void> Run(base::Context ctx);

 private:
  base::Task<void> Ask(base::Context ctx);
  base::Task<void> SetPodCidr(base::Context ctx);

  base::Executor& executor_;
  runtimes::Runtime& runtime_;
  const NodeKeeper& node_;
  bool ready_ = false;
  std::string error_ = "container runtime status check may not have completed yet", network_error_;
  std::string pod_cidr_set_;
};

}  // namespace kubelet
