// What controllers never look at is dropped from their copies of big kinds. A trimmed object must not be written back
// whole: read it again first (its status may be written, it is kept complete).
#pragma once

#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace k8s::io::api::core::v1 {

inline void TrimMore(Pod& pod) {
  auto* spec = pod.mutable_spec();
  spec->clear_volumes();
  spec->clear_affinity();
  auto trim = [](auto* containers) {
    for (auto& c : *containers) {
      c.clear_image(), c.clear_command(), c.clear_args(), c.clear_env(), c.clear_envfrom(), c.clear_volumemounts();
      c.clear_livenessprobe(), c.clear_readinessprobe(), c.clear_startupprobe(), c.clear_lifecycle();
      c.clear_securitycontext(), c.clear_terminationmessagepath(), c.clear_terminationmessagepolicy();
      c.clear_resources();
    }
  };
  trim(spec->mutable_containers());
  trim(spec->mutable_initcontainers());
}

}  // namespace k8s::io::api::core::v1
