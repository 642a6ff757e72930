#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"
#include "scheduler/framework.h"

namespace scheduler {
namespace {
class NodeName final : public Plugin, public PreFilterPlugin, public FilterPlugin {
 public:
  std::string_view name() const override { return "NodeName"; }
  bool MayHelp(const ClusterEvent& e, const PodInfo&) const override { return e.kind == EventKind::kNodeAdded; }
  Verdict PreFilter(CycleState&, const PodInfo& pod, const NodeTable&) const override {
    return {pod.pod->spec().nodename().empty() ? Code::kSkip : Code::kSuccess, {}};
  }
  Verdict Filter(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    if (pod.pod->spec().nodename() == nodes.name(i)) return {};
    return Unresolvable("node(s) didn't match the requested node name");
  }
};

class NodeUnschedulable final : public Plugin, public FilterPlugin {
 public:
  NodeUnschedulable() {
    taint_.set_key("node.kubernetes.io/unschedulable");
    taint_.set_effect("NoSchedule");
  }
  std::string_view name() const override { return "NodeUnschedulable"; }
  bool MayHelp(const ClusterEvent& e, const PodInfo&) const override {
    return e.kind == EventKind::kNodeAdded ||
           (e.kind == EventKind::kNodeUpdated && e.old_node->spec().unschedulable() && !e.node->spec().unschedulable());
  }
  Verdict Filter(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    if (!nodes.restricted(i) || !nodes.node(i).spec().unschedulable()) return {};
    for (const auto& t : pod.pod->spec().tolerations())
      if (Tolerates(t, taint_)) return {};
    return Unresolvable("node(s) were unschedulable");
  }

 private:
  Taint taint_;
};
}  // namespace

std::unique_ptr<Plugin> MakeNodeName(const PluginContext&) { return std::make_unique<NodeName>(); }
std::unique_ptr<Plugin> MakeNodeUnschedulable(const PluginContext&) { return std::make_unique<NodeUnschedulable>(); }

}  // namespace scheduler
