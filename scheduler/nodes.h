// All nodes and what the pods on them use, as parallel arrays: a filter over thousands of nodes reads a few dense
// columns. Changed one event at a time; the scheduling cycle reads it in place, because cycle and updates share one
// strand and a cycle never waits.
//
// Pods are counted from the moment the scheduler decides (Assume) until the pod's end; the watch confirms them.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "scheduler/pod_info.h"

namespace scheduler {

using NodeIndex = uint32_t;

class NodeTable {
 public:
  // --- reading; `i` is one of live() ---
  // Nodes that exist, in the order they came.
  const std::vector<NodeIndex>& live() const { return live_; }
  const std::string& name(NodeIndex i) const { return names_[i]; }
  const Node& node(NodeIndex i) const { return *nodes_[i]; }
  int64_t allocatable_milli_cpu(NodeIndex i) const { return allocatable_cpu_[i]; }
  int64_t allocatable_memory(NodeIndex i) const { return allocatable_memory_[i]; }
  int64_t used_milli_cpu(NodeIndex i) const { return used_cpu_[i]; }
  int64_t used_memory(NodeIndex i) const { return used_memory_[i]; }
  int64_t nonzero_milli_cpu(NodeIndex i) const { return nonzero_cpu_[i]; }
  int64_t nonzero_memory(NodeIndex i) const { return nonzero_memory_[i]; }
  int64_t allowed_pods(NodeIndex i) const { return allowed_pods_[i]; }
  int64_t pod_count(NodeIndex i) const { return pod_count_[i]; }
  // Taints with effect NoSchedule or NoExecute, or an unschedulable node: most nodes have none.
  bool restricted(NodeIndex i) const { return restricted_[i]; }
  struct More {
    Resources allocatable, used;
    std::multiset<HostPort> ports;
    std::map<int32_t, int> priorities;  // pods by priority
  };
  const More& more(NodeIndex i) const { return more_[i]; }
  // -1 when there is no such node.
  int64_t Find(std::string_view name) const;

  // --- writing ---
  void SetNode(std::shared_ptr<const Node> node);
  void RemoveNode(const std::string& name);
  // Counts a decided pod on `node`; a pod is on one node only.
  void Assume(const PodInfo& pod, const std::string& node);
  // The watch shows the pod on `node`: confirms, moves or adds it.
  void SetPod(const PodInfo& pod, const std::string& node);
  void RemovePod(const std::string& uid);
  // Takes back an Assume whose binding failed; nothing when the watch has confirmed it meanwhile.
  void Forget(const std::string& uid);
  bool assumed(const std::string& uid) const;
  bool has_pod(const std::string& uid) const { return pods_.contains(uid); }
  size_t pods() const { return pods_.size(); }

 private:
  struct Use {
    NodeIndex node;
    bool assumed;
    int32_t priority;
    Resources requests;
    int64_t nonzero_cpu, nonzero_memory;
    std::vector<HostPort> ports;
  };
  NodeIndex Slot(const std::string& name);
  void Count(const Use& use, int sign);
  void Release(NodeIndex i);

  std::unordered_map<std::string, NodeIndex> by_name_;
  std::unordered_map<std::string, Use> pods_;
  std::vector<NodeIndex> live_, free_;
  std::vector<std::string> names_;
  std::vector<std::shared_ptr<const Node>> nodes_;  // null: only its pods are known yet
  std::vector<int64_t> allocatable_cpu_, allocatable_memory_, used_cpu_, used_memory_, nonzero_cpu_, nonzero_memory_;
  std::vector<int64_t> allowed_pods_, pod_count_;
  std::vector<char> restricted_;
  std::vector<More> more_;
};

}  // namespace scheduler
