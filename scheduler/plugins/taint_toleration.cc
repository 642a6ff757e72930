#include <algorithm>

#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"
#include "scheduler/framework.h"

namespace scheduler {
namespace {

bool Tolerated(const Pod& pod, const Taint& taint) {
  return std::ranges::any_of(pod.spec().tolerations(), [&](const auto& t) { return Tolerates(t, taint); });
}

class TaintToleration final : public Plugin, public FilterPlugin, public ScorePlugin {
 public:
  std::string_view name() const override { return "TaintToleration"; }
  bool MayHelp(const ClusterEvent& e, const PodInfo& pod) const override {
    if (e.kind != EventKind::kNodeAdded && e.kind != EventKind::kNodeUpdated) return false;
    return std::ranges::none_of(e.node->spec().taints(), [&](const Taint& t) { return Repels(*pod.pod, t); });
  }
  Verdict Filter(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    if (!nodes.restricted(i)) return {};
    for (const auto& t : nodes.node(i).spec().taints())
      if (Repels(*pod.pod, t)) return Unresolvable("node(s) had untolerated taint(s)");
    return {};
  }
  int64_t weight() const override { return 3; }
  int64_t Score(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    int64_t n = 0;
    for (const auto& t : nodes.node(i).spec().taints())
      if (t.effect() == "PreferNoSchedule" && !Tolerated(*pod.pod, t)) ++n;
    return n;
  }
  // Fewer are better.
  void NormalizeScore(CycleState&, const PodInfo&, std::vector<int64_t>& scores) const override {
    int64_t highest = *std::ranges::max_element(scores);
    for (auto& s : scores) s = highest == 0 ? kMaxScore : kMaxScore - kMaxScore * s / highest;
  }

 private:
  static bool Repels(const Pod& pod, const Taint& t) { return t.effect() != "PreferNoSchedule" && !Tolerated(pod, t); }
};
}  // namespace

std::unique_ptr<Plugin> MakeTaintToleration(const PluginContext&) { return std::make_unique<TaintToleration>(); }

}  // namespace scheduler
