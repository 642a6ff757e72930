// Images for containers: whether one must be pulled, pulling with back-off, and the words that events and waiting
// states use for each outcome. One strand.
#pragma once

#include <map>
#include <string>

#include "base/sync.h"
#include "kubelet/events.h"
#include "kubelet/model/backoff.h"
#include "kubelet/pod/status.h"
#include "kubelet/runtimes/runtime.h"

namespace kubelet {

class Images {
 public:
  // `serialize`: one pull at a time (--serialize-image-pulls).
  Images(base::Executor& executor, runtimes::Runtime& runtime, Events& events, bool serialize);

  // The image, present on the node; or why the container waits.
  struct Outcome {
    std::optional<cri::Image> image;
    pod::WaitReason wait;
  };
  base::Task<Outcome> Ensure(base::Context ctx, PodPtr pod, const api::Container& container,
                             cri::PodSandboxConfig sandbox, std::vector<cri::AuthConfig> credentials);
  // The images of the node, largest first, for its status.
  base::Task<base::Result<std::vector<cri::Image>>> List(base::Context ctx);

 private:
  base::Task<Outcome> Pull(base::Context ctx, PodPtr pod, const api::Container& container,
                           cri::PodSandboxConfig sandbox, std::vector<cri::AuthConfig> credentials);
  base::Executor& executor_;
  runtimes::Runtime& runtime_;
  Events& events_;
  bool serialize_;
  base::Mutex one_pull_;
  Backoff backoff_;
  std::map<std::string, std::string> last_errors_;  // by back-off key
};

// "busybox" -> "docker.io/library/busybox:latest": as runtimes want it.
std::string NormalizeImage(const std::string& image);

}  // namespace kubelet
