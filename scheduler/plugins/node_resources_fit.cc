#include <algorithm>

#include "scheduler/framework.h"

namespace scheduler {
namespace {
// Requests against what is left of the allocatable; scores by LeastAllocated of CPU and memory, each with weight 1.
class NodeResourcesFit final : public Plugin, public FilterPlugin, public ScorePlugin {
 public:
  std::string_view name() const override { return "NodeResourcesFit"; }
  bool MayHelp(const ClusterEvent& e, const PodInfo&) const override {
    // A node's change is worth a look whatever it is: its allocatable is not kept beside the old one.
    return e.kind != EventKind::kPodUpdated;
  }
  Verdict Filter(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    Verdict out;
    if (nodes.pod_count(i) + 1 > nodes.allowed_pods(i)) Add(out, Code::kUnschedulable, "Too many pods");
    const Resources& r = pod.requests;
    Check(out, "cpu", r.milli_cpu, nodes.allocatable_milli_cpu(i), nodes.used_milli_cpu(i));
    Check(out, "memory", r.memory, nodes.allocatable_memory(i), nodes.used_memory(i));
    if (r.ephemeral_storage == 0 && r.extended.empty()) return out;
    const auto& more = nodes.more(i);
    Check(out, "ephemeral-storage", r.ephemeral_storage, more.allocatable.ephemeral_storage,
          more.used.ephemeral_storage);
    for (const auto& [name, amount] : r.extended)
      Check(out, name, amount, more.allocatable.Extended(name), more.used.Extended(name));
    return out;
  }
  int64_t weight() const override { return 1; }
  int64_t Score(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    return (LeastAllocated(nodes.nonzero_milli_cpu(i) + pod.nonzero_milli_cpu, nodes.allocatable_milli_cpu(i)) +
            LeastAllocated(nodes.nonzero_memory(i) + pod.nonzero_memory, nodes.allocatable_memory(i))) /
           2;
  }

 private:
  static void Add(Verdict& v, Code code, std::string reason) {
    v.code = std::max(v.code, code);
    v.reasons.push_back(std::move(reason));
  }
  static void Check(Verdict& v, std::string_view name, int64_t wanted, int64_t allocatable, int64_t used) {
    if (wanted == 0 || wanted <= allocatable - used) return;
    // More than the node has in all: no preemption can help.
    Add(v, wanted > allocatable ? Code::kUnresolvable : Code::kUnschedulable, "Insufficient " + std::string(name));
  }
  static int64_t LeastAllocated(int64_t requested, int64_t capacity) {
    if (capacity == 0 || requested > capacity) return 0;
    // In double: bytes times 100 would pass int64 only beyond 80 PiB, but extended use may come.
    return static_cast<int64_t>(static_cast<double>(capacity - requested) * kMaxScore / static_cast<double>(capacity));
  }
};
}  // namespace

std::unique_ptr<Plugin> MakeNodeResourcesFit(const PluginContext&) { return std::make_unique<NodeResourcesFit>(); }

}  // namespace scheduler
