// What the kubelet tells people about a pod or its node. One strand.
#pragma once

#include <string>
#include <string_view>

#include "kubelet/model/types.h"

namespace kubelet {

class Events {
 public:
  virtual ~Events() = default;
  // `container` picks the field path of the event ("spec.containers{main}"); "" is the pod as a whole. `type` is
  // "Normal" or "Warning".
  virtual void Pod(const api::Pod& pod, std::string_view container, std::string_view type, std::string reason,
                   std::string message) = 0;
  virtual void Node(std::string_view type, std::string reason, std::string message) = 0;
};

}  // namespace kubelet
