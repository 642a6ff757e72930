// Whether the node runs short of memory or disk, by the thresholds of --eviction-hard, and which pod has to go when it
// is memory. One strand.
#pragma once

#include <map>
#include <string>

#include "kubelet/node.h"
#include "kubelet/workers.h"

namespace kubelet {

class Evictor {
 public:
  // "memory.available" -> "100Mi" or "10%"; `root_directory` is on the disk that is watched.
  Evictor(Host& host, cgroups::Manager& cgroups, Events& events, std::map<std::string, std::string> hard,
          std::string root_directory);

  // Looks at the node once; under memory pressure one pod is evicted.
  void Check(NodeKeeper& node, Workers& workers);
  bool memory_pressure() const { return memory_pressure_; }
  bool disk_pressure() const { return disk_pressure_; }

 private:
  void EvictOne(Workers& workers, int64_t available);

  Host& host_;
  cgroups::Manager& cgroups_;
  Events& events_;
  std::map<std::string, std::string> hard_;
  std::string root_directory_;
  bool memory_pressure_ = false, disk_pressure_ = false;
};

}  // namespace kubelet
