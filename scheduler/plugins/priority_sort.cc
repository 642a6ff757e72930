#include "proto/k8s/core/v1/pod.pb.h"
#include "scheduler/framework.h"

namespace scheduler {
namespace {
// Higher priority first; the queue breaks ties by the time a pod came.
class PrioritySort final : public Plugin, public QueueSortPlugin {
 public:
  std::string_view name() const override { return "PrioritySort"; }
  bool Less(const PodInfo& a, const PodInfo& b) const override { return a.priority > b.priority; }
};

// A pod with scheduling gates is not looked at until they are gone.
class SchedulingGates final : public Plugin, public PreEnqueuePlugin {
 public:
  std::string_view name() const override { return "SchedulingGates"; }
  bool MayHelp(const ClusterEvent& event, const PodInfo&) const override {
    return event.kind == EventKind::kPodUpdated;
  }
  Verdict PreEnqueue(const PodInfo& pod) const override {
    const auto& gates = pod.pod->spec().schedulinggates();
    if (gates.empty()) return {};
    std::string names;
    for (const auto& g : gates) names += (names.empty() ? "" : " ") + g.name();
    return Unresolvable("waiting for scheduling gates: [" + names + "]");
  }
};
}  // namespace

std::unique_ptr<Plugin> MakePrioritySort(const PluginContext&) { return std::make_unique<PrioritySort>(); }
std::unique_ptr<Plugin> MakeSchedulingGates(const PluginContext&) { return std::make_unique<SchedulingGates>(); }

}  // namespace scheduler
