// The scheduling framework: what a plugin sees and where it hooks in. A scheduling cycle (PreFilter .. Permit) is a
// pure function of the pod, the node table and an injected Random; a binding cycle (PreBind .. PostBind) may wait.
//
// One strand. Plugins are made once, by Framework, in the order of plugins.def; they keep no state between cycles
// except what they were constructed with. What they compute for one cycle lives in CycleState.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/task.h"
#include "machinery/client/client.h"
#include "scheduler/nodes.h"

namespace scheduler {

enum class Code : uint8_t {
  kSuccess,
  kUnschedulable,  // another state of the node's pods could help (preemption may)
  kUnresolvable,   // UnschedulableAndUnresolvable: removing pods from the node cannot help
  kWait,           // Permit: decide later
  kSkip,           // nothing to do for this pod
  kError,
};
struct Verdict {
  Code code = Code::kSuccess;
  std::vector<std::string> reasons;
  bool ok() const { return code == Code::kSuccess || code == Code::kSkip; }
  bool rejected() const { return code == Code::kUnschedulable || code == Code::kUnresolvable; }
};
inline Verdict Unschedulable(std::string reason) { return {Code::kUnschedulable, {std::move(reason)}}; }
inline Verdict Unresolvable(std::string reason) { return {Code::kUnresolvable, {std::move(reason)}}; }

// Data of one pod's cycle, one object per type.
class CycleState {
 public:
  template <class T>
  T& Of() {
    auto& slot = data_[Key<T>()];
    if (!slot) slot = std::make_shared<T>();
    return *static_cast<T*>(slot.get());
  }

 private:
  template <class T>
  static const void* Key() {
    static const char key = 0;
    return &key;
  }
  std::map<const void*, std::shared_ptr<void>> data_;
};

// What happened in the cluster, as far as it may let a waiting pod fit.
enum class EventKind : uint8_t { kNodeAdded, kNodeUpdated, kAssignedPodGone, kAssignedPodUpdated, kPodUpdated };
struct ClusterEvent {
  EventKind kind;
  const Node* old_node = nullptr;
  const Node* node = nullptr;
  const Pod* pod = nullptr;
};

class Plugin {
 public:
  virtual ~Plugin() = default;
  virtual std::string_view name() const = 0;
  // Whether `event` may make `pod`, which this plugin rejected, schedulable. When in doubt, yes.
  virtual bool MayHelp(const ClusterEvent& event, const PodInfo& pod) const { return true; }
};
class PreEnqueuePlugin {
 public:
  virtual ~PreEnqueuePlugin() = default;
  virtual Verdict PreEnqueue(const PodInfo& pod) const = 0;
};
class QueueSortPlugin {
 public:
  virtual ~QueueSortPlugin() = default;
  virtual bool Less(const PodInfo& a, const PodInfo& b) const = 0;
};
class PreFilterPlugin {
 public:
  virtual ~PreFilterPlugin() = default;
  // kSkip: the plugin's Filter is not asked for this pod.
  virtual Verdict PreFilter(CycleState& state, const PodInfo& pod, const NodeTable& nodes) const = 0;
};
class FilterPlugin {
 public:
  virtual ~FilterPlugin() = default;
  virtual Verdict Filter(CycleState& state, const PodInfo& pod, const NodeTable& nodes, NodeIndex node) const = 0;
};
// Rejected nodes with their verdicts, by index; empty when PreFilter rejected the pod everywhere.
using Rejections = std::vector<std::pair<NodeIndex, Verdict>>;
class PostFilterPlugin {
 public:
  virtual ~PostFilterPlugin() = default;
  // kSuccess: room is being made.
  virtual Verdict PostFilter(CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                             const Rejections& rejections) const = 0;
};
class PreScorePlugin {
 public:
  virtual ~PreScorePlugin() = default;
  // kSkip: the plugin's Score is not asked for this pod.
  virtual Verdict PreScore(CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                           const std::vector<NodeIndex>& feasible) const = 0;
};
inline constexpr int64_t kMaxScore = 100;
class ScorePlugin {
 public:
  virtual ~ScorePlugin() = default;
  virtual int64_t weight() const = 0;
  virtual int64_t Score(CycleState& state, const PodInfo& pod, const NodeTable& nodes, NodeIndex node) const = 0;
  // Brings the scores of all feasible nodes to 0..kMaxScore.
  virtual void NormalizeScore(CycleState& state, const PodInfo& pod, std::vector<int64_t>& scores) const {}
};
class ReservePlugin {
 public:
  virtual ~ReservePlugin() = default;
  virtual Verdict Reserve(CycleState& state, const PodInfo& pod, const std::string& node) = 0;
  virtual void Unreserve(CycleState& state, const PodInfo& pod, const std::string& node) = 0;
};
class PermitPlugin {
 public:
  virtual ~PermitPlugin() = default;
  struct Answer {
    Verdict verdict;
    base::Duration timeout{};  // of kWait
  };
  virtual Answer Permit(CycleState& state, const PodInfo& pod, const std::string& node) = 0;
};
class PreBindPlugin {
 public:
  virtual ~PreBindPlugin() = default;
  virtual base::Task<base::Status> PreBind(base::Context ctx, const PodInfo& pod, std::string node) = 0;
};
class BindPlugin {
 public:
  virtual ~BindPlugin() = default;
  virtual base::Task<base::Status> Bind(base::Context ctx, const PodInfo& pod, std::string node) = 0;
};
class PostBindPlugin {
 public:
  virtual ~PostBindPlugin() = default;
  virtual void PostBind(const PodInfo& pod, const std::string& node) = 0;
};

// What plugins may be built from.
struct PluginContext {
  machinery::client::Client& client;
};

// The plugins of plugins.def, sorted by extension point. Stateless towards pods; cheap to call.
class Framework {
 public:
  explicit Framework(const PluginContext& context);
  ~Framework();
  // Framework without the plugin folder: tests give their own.
  explicit Framework(std::vector<std::unique_ptr<Plugin>> plugins);

  struct Rejection {
    Verdict verdict;
    std::string_view plugin;
  };
  Rejection RunPreEnqueue(const PodInfo& pod) const;
  bool Less(const PodInfo& a, const PodInfo& b) const { return queue_sort_->Less(a, b); }
  // The first rejection; remembers which Filters to skip in `state`.
  Rejection RunPreFilter(CycleState& state, const PodInfo& pod, const NodeTable& nodes) const;
  Rejection RunFilter(CycleState& state, const PodInfo& pod, const NodeTable& nodes, NodeIndex node) const;
  Verdict RunPostFilter(CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                        const Rejections& rejections) const;
  // Sum of weighted, normalized scores for each feasible node.
  std::vector<int64_t> RunScore(CycleState& state, const PodInfo& pod, const NodeTable& nodes,
                                const std::vector<NodeIndex>& feasible) const;
  Verdict RunReserve(CycleState& state, const PodInfo& pod, const std::string& node) const;
  void RunUnreserve(CycleState& state, const PodInfo& pod, const std::string& node) const;
  PermitPlugin::Answer RunPermit(CycleState& state, const PodInfo& pod, const std::string& node) const;
  base::Task<base::Status> RunBind(base::Context ctx, const PodInfo& pod, std::string node) const;
  // Whether an event may help a pod that these plugins rejected.
  bool MayHelp(const ClusterEvent& event, const PodInfo& pod, const std::vector<std::string_view>& plugins) const;

 private:
  void Sort();
  struct Skips;
  template <class P>
  struct Hook {
    P* hook;
    Plugin* plugin;
  };
  std::vector<std::unique_ptr<Plugin>> plugins_;
  QueueSortPlugin* queue_sort_ = nullptr;
  std::vector<Hook<PreEnqueuePlugin>> pre_enqueue_;
  std::vector<Hook<PreFilterPlugin>> pre_filter_;
  std::vector<Hook<FilterPlugin>> filter_;
  std::vector<Hook<PostFilterPlugin>> post_filter_;
  std::vector<Hook<PreScorePlugin>> pre_score_;
  std::vector<Hook<ScorePlugin>> score_;
  std::vector<Hook<ReservePlugin>> reserve_;
  std::vector<Hook<PermitPlugin>> permit_;
  std::vector<Hook<PreBindPlugin>> pre_bind_;
  std::vector<Hook<BindPlugin>> bind_;
  std::vector<Hook<PostBindPlugin>> post_bind_;
};

}  // namespace scheduler
