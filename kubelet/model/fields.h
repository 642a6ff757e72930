// What a container may learn of its own pod: the field paths and resource fields of the downward API. Pure.
#pragma once

#include <string>

#include "base/status.h"
#include "kubelet/model/types.h"

namespace kubelet {

// What is not in the pod object itself when it is asked for.
struct NodeFacts {
  std::string node_name, host_ip;
  std::vector<std::string> host_ips, pod_ips;
  int64_t allocatable_milli_cpu = 0, allocatable_memory = 0, allocatable_storage = 0;
};

// The text of fieldRef.fieldPath: "metadata.labels['app']", "status.podIP", ...
base::Result<std::string> FieldText(const api::Pod& pod, const std::string& path, const NodeFacts& node);
// The text of resourceFieldRef; a container without a limit gets the node's allocatable amount.
base::Result<std::string> ResourceText(const api::Pod& pod, const api::ResourceFieldSelector& selector,
                                       const std::string& own_container, const NodeFacts& node);

}  // namespace kubelet
