#include <algorithm>
#include <map>

#include "proto/k8s/core/v1/pod.pb.h"
#include "scheduler/framework.h"

namespace scheduler {
namespace {
// Says what preemption could do for a pod that fits nowhere. It does not evict anybody yet: where victims with a lower
// priority exist the message says that.
class DefaultPreemption final : public Plugin, public PostFilterPlugin {
 public:
  std::string_view name() const override { return "DefaultPreemption"; }
  Verdict PostFilter(CycleState&, const PodInfo& pod, const NodeTable& nodes,
                     const Rejections& rejections) const override {
    if (pod.pod->spec().preemptionpolicy() == "Never")
      return Unschedulable("preemption: not eligible due to preemptionPolicy=Never.");
    std::map<std::string, int> counts;
    for (const auto& [node, verdict] : rejections) ++counts[Reason(pod, nodes, node, verdict)];
    std::vector<std::string> lines;
    for (const auto& [reason, n] : counts) lines.push_back(std::to_string(n) + " " + reason);
    std::ranges::sort(lines);
    std::string out = "preemption: 0/" + std::to_string(nodes.live().size()) + " nodes are available: ";
    for (size_t i = 0; i < lines.size(); ++i) out += (i ? ", " : "") + lines[i];
    return Unschedulable(out + ".");
  }

 private:
  static std::string Reason(const PodInfo& pod, const NodeTable& nodes, NodeIndex node, const Verdict& verdict) {
    if (verdict.code == Code::kUnresolvable) return "Preemption is not helpful for scheduling";
    const auto& priorities = nodes.more(node).priorities;
    if (priorities.empty() || priorities.begin()->first >= pod.priority)
      return "No preemption victims found for incoming pod";
    return "Preemption of pods with lower priority is not supported yet";
  }
};
}  // namespace

std::unique_ptr<Plugin> MakeDefaultPreemption(const PluginContext&) { return std::make_unique<DefaultPreemption>(); }

}  // namespace scheduler
