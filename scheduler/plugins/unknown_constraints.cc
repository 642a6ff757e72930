#include <algorithm>

#include "proto/k8s/core/v1/pod.pb.h"
#include "scheduler/framework.h"

namespace scheduler {
namespace {
// Hard constraints that no plugin knows yet. Placing such a pod as if they were not there would break a promise its
// author relies on, so it stays pending and its event says why. Soft ones may be ignored: they are preferences.
class UnknownConstraints final : public Plugin, public PreFilterPlugin {
 public:
  std::string_view name() const override { return "UnknownConstraints"; }
  bool MayHelp(const ClusterEvent& e, const PodInfo&) const override { return e.kind == EventKind::kPodUpdated; }
  Verdict PreFilter(CycleState&, const PodInfo& pod, const NodeTable&) const override {
    const auto& spec = pod.pod->spec();
    if (!spec.affinity().podaffinity().requiredduringschedulingignoredduringexecution().empty())
      return Refuse("required inter-pod affinity");
    if (!spec.affinity().podantiaffinity().requiredduringschedulingignoredduringexecution().empty())
      return Refuse("required inter-pod anti-affinity");
    if (std::ranges::any_of(spec.topologyspreadconstraints(),
                            [](const auto& c) { return c.whenunsatisfiable() == "DoNotSchedule"; }))
      return Refuse("topology spread constraints with whenUnsatisfiable DoNotSchedule");
    if (std::ranges::any_of(spec.volumes(), [](const auto& v) {
          return v.volumesource().has_persistentvolumeclaim() || v.volumesource().has_ephemeral();
        }))
      return Refuse("persistent volume claims");
    if (spec.has_schedulinggroup()) return Refuse("scheduling groups");
    return {Code::kSkip, {}};
  }

 private:
  static Verdict Refuse(std::string_view what) {
    return Unresolvable("pod has " + std::string(what) + ", which this scheduler does not support yet");
  }
};

// Resource claims are not allocated yet; their place among the plugins, and what they say after a failed filter, are
// the original's.
class DynamicResources final : public Plugin, public PreFilterPlugin, public PostFilterPlugin {
 public:
  std::string_view name() const override { return "DynamicResources"; }
  bool MayHelp(const ClusterEvent& e, const PodInfo&) const override { return e.kind == EventKind::kPodUpdated; }
  Verdict PreFilter(CycleState&, const PodInfo& pod, const NodeTable&) const override {
    if (pod.pod->spec().resourceclaims().empty()) return {Code::kSkip, {}};
    return Unresolvable("pod has resource claims, which this scheduler does not support yet");
  }
  Verdict PostFilter(CycleState&, const PodInfo&, const NodeTable&, const Rejections&) const override {
    return Unschedulable("no new claims to deallocate");
  }
};
}  // namespace

std::unique_ptr<Plugin> MakeUnknownConstraints(const PluginContext&) { return std::make_unique<UnknownConstraints>(); }
std::unique_ptr<Plugin> MakeDynamicResources(const PluginContext&) { return std::make_unique<DynamicResources>(); }

}  // namespace scheduler
