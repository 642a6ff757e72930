#include "scheduler/nodes.h"

#include <algorithm>

#include "base/status.h"
#include "proto/k8s/core/v1/node.pb.h"

namespace scheduler {

int64_t NodeTable::Find(std::string_view name) const {
  auto it = by_name_.find(std::string(name));
  return it == by_name_.end() || !nodes_[it->second] ? -1 : static_cast<int64_t>(it->second);
}

NodeIndex NodeTable::Slot(const std::string& name) {
  if (auto it = by_name_.find(name); it != by_name_.end()) return it->second;
  NodeIndex i;
  if (!free_.empty()) {
    i = free_.back();
    free_.pop_back();
  } else {
    i = static_cast<NodeIndex>(names_.size());
    names_.emplace_back();
    nodes_.emplace_back();
    more_.emplace_back();
    restricted_.push_back(0);
    for (auto* column : {&allocatable_cpu_, &allocatable_memory_, &used_cpu_, &used_memory_, &nonzero_cpu_,
                         &nonzero_memory_, &allowed_pods_, &pod_count_})
      column->push_back(0);
  }
  names_[i] = name;
  by_name_[name] = i;
  return i;
}

void NodeTable::SetNode(std::shared_ptr<const Node> node) {
  NodeIndex i = Slot(node->metadata().name());
  if (!nodes_[i]) live_.push_back(i);
  Resources allocatable;
  int64_t pods = 0;
  for (const auto& [name, quantity] : node->status().allocatable()) {
    if (name == "cpu")
      allocatable.milli_cpu = MilliValue(quantity.string());
    else if (name == "memory")
      allocatable.memory = WholeValue(quantity.string());
    else if (name == "ephemeral-storage")
      allocatable.ephemeral_storage = WholeValue(quantity.string());
    else if (name == "pods")
      pods = WholeValue(quantity.string());
    else
      allocatable.AddExtended(name, WholeValue(quantity.string()));
  }
  allocatable_cpu_[i] = allocatable.milli_cpu;
  allocatable_memory_[i] = allocatable.memory;
  allowed_pods_[i] = pods;
  more_[i].allocatable = std::move(allocatable);
  restricted_[i] = node->spec().unschedulable() || std::ranges::any_of(node->spec().taints(), [](const Taint& t) {
                     return t.effect() != "PreferNoSchedule";
                   });
  nodes_[i] = std::move(node);
}

void NodeTable::RemoveNode(const std::string& name) {
  auto it = by_name_.find(name);
  if (it == by_name_.end() || !nodes_[it->second]) return;
  NodeIndex i = it->second;
  nodes_[i] = nullptr;
  std::erase(live_, i);
  Release(i);
}

// A slot is kept while pods are counted on it: the node may come back under its name before they are gone.
void NodeTable::Release(NodeIndex i) {
  if (nodes_[i] || pod_count_[i] > 0) return;
  by_name_.erase(names_[i]);
  names_[i].clear();
  more_[i] = {};
  free_.push_back(i);
}

void NodeTable::Count(const Use& use, int sign) {
  NodeIndex i = use.node;
  More& more = more_[i];
  if (sign > 0)
    more.used += use.requests;
  else
    more.used -= use.requests;
  used_cpu_[i] = more.used.milli_cpu;
  used_memory_[i] = more.used.memory;
  nonzero_cpu_[i] += sign * use.nonzero_cpu;
  nonzero_memory_[i] += sign * use.nonzero_memory;
  pod_count_[i] += sign;
  int& n = more.priorities[use.priority];
  n += sign;
  if (n == 0) more.priorities.erase(use.priority);
  for (const auto& p : use.ports) {
    if (sign > 0)
      more.ports.insert(p);
    else
      more.ports.erase(more.ports.find(p));
  }
}

void NodeTable::Assume(const PodInfo& pod, const std::string& node) {
  CHECK_MSG(!pods_.contains(pod.uid), pod.key);
  Use use{Slot(node), true, pod.priority, pod.requests, pod.nonzero_milli_cpu, pod.nonzero_memory, pod.ports};
  Count(use, 1);
  pods_.emplace(pod.uid, std::move(use));
}

void NodeTable::SetPod(const PodInfo& pod, const std::string& node) {
  RemovePod(pod.uid);
  Assume(pod, node);
  pods_.at(pod.uid).assumed = false;
}

void NodeTable::RemovePod(const std::string& uid) {
  auto it = pods_.find(uid);
  if (it == pods_.end()) return;
  Count(it->second, -1);
  NodeIndex i = it->second.node;
  pods_.erase(it);
  Release(i);
}

void NodeTable::Forget(const std::string& uid) {
  if (assumed(uid)) RemovePod(uid);
}

bool NodeTable::assumed(const std::string& uid) const {
  auto it = pods_.find(uid);
  return it != pods_.end() && it->second.assumed;
}

}  // namespace scheduler
