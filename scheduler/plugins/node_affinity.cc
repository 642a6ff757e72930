#include <algorithm>

#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"
#include "scheduler/framework.h"
#include "scheduler/node_selector.h"

namespace scheduler {
namespace {
const auto& Preferred(const PodInfo& pod) {
  return pod.pod->spec().affinity().nodeaffinity().preferredduringschedulingignoredduringexecution();
}

class NodeAffinity final : public Plugin,
                           public PreFilterPlugin,
                           public FilterPlugin,
                           public PreScorePlugin,
                           public ScorePlugin {
 public:
  std::string_view name() const override { return "NodeAffinity"; }
  bool MayHelp(const ClusterEvent& e, const PodInfo& pod) const override {
    if (e.kind == EventKind::kPodUpdated) return true;
    return e.node && RequiredAffinityMatches(*pod.pod, *e.node);
  }
  Verdict PreFilter(CycleState&, const PodInfo& pod, const NodeTable&) const override {
    const auto& spec = pod.pod->spec();
    bool any = !spec.nodeselector().empty() ||
               spec.affinity().nodeaffinity().has_requiredduringschedulingignoredduringexecution();
    return {any ? Code::kSuccess : Code::kSkip, {}};
  }
  Verdict Filter(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    if (RequiredAffinityMatches(*pod.pod, nodes.node(i))) return {};
    return Unresolvable("node(s) didn't match Pod's node affinity/selector");
  }
  Verdict PreScore(CycleState&, const PodInfo& pod, const NodeTable&, const std::vector<NodeIndex>&) const override {
    return {Preferred(pod).empty() ? Code::kSkip : Code::kSuccess, {}};
  }
  int64_t weight() const override { return 2; }
  int64_t Score(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    int64_t sum = 0;
    for (const auto& term : Preferred(pod))
      if (Matches(term.preference(), nodes.node(i))) sum += term.weight();
    return sum;
  }
  void NormalizeScore(CycleState&, const PodInfo&, std::vector<int64_t>& scores) const override {
    int64_t highest = *std::ranges::max_element(scores);
    if (highest <= 0) return;
    for (auto& s : scores) s = kMaxScore * s / highest;
  }
};
}  // namespace

std::unique_ptr<Plugin> MakeNodeAffinity(const PluginContext&) { return std::make_unique<NodeAffinity>(); }

}  // namespace scheduler
