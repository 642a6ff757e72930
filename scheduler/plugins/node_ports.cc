#include <algorithm>

#include "scheduler/framework.h"

namespace scheduler {
namespace {
constexpr std::string_view kAnyAddress = "0.0.0.0";

bool Conflicts(const HostPort& a, const HostPort& b) {
  return a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || a.ip == kAnyAddress || b.ip == kAnyAddress);
}

class NodePorts final : public Plugin, public PreFilterPlugin, public FilterPlugin {
 public:
  std::string_view name() const override { return "NodePorts"; }
  bool MayHelp(const ClusterEvent& e, const PodInfo&) const override {
    return e.kind == EventKind::kNodeAdded || e.kind == EventKind::kAssignedPodGone;
  }
  Verdict PreFilter(CycleState&, const PodInfo& pod, const NodeTable&) const override {
    return {pod.ports.empty() ? Code::kSkip : Code::kSuccess, {}};
  }
  Verdict Filter(CycleState&, const PodInfo& pod, const NodeTable& nodes, NodeIndex i) const override {
    for (const auto& wanted : pod.ports)
      for (const auto& used : nodes.more(i).ports)
        if (Conflicts(wanted, used)) return Unschedulable("node(s) didn't have free ports for the requested pod ports");
    return {};
  }
};
}  // namespace

std::unique_ptr<Plugin> MakeNodePorts(const PluginContext&) { return std::make_unique<NodePorts>(); }

}  // namespace scheduler
