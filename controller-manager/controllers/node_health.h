// What the conditions of nodes mean: taints, the state of zones, and how fast nodes may be emptied. Pure: who calls it
// brings the time along. For the node lifecycle and taint eviction controllers.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "controller-manager/common/context.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace controller_manager {

namespace core = k8s::io::api::core::v1;

const core::NodeCondition* FindCondition(const core::Node& node, std::string_view type);

// The conditions that only a kubelet can know become Unknown; false when all were already.
bool MarkUnknown(core::Node& node, base::WallTime now);

// Makes the node's NoSchedule taints those that its conditions and spec.unschedulable ask for; other taints stay.
bool FixNoScheduleTaints(core::Node& node, base::WallTime now);

// The NoExecute taint of a node that is not ready ("" for one that is), and making it the only one of its kind.
std::string NoExecuteTaint(const core::Node& node);
bool FixNoExecuteTaint(core::Node& node, const std::string& wanted, base::WallTime now);
bool HasNoExecuteTaint(const core::Node& node, const std::string& key);
bool HasReadinessTaint(const core::Node& node);

// When a pod with these tolerations has to leave a node with these taints; nullopt: never. A taint without a time is as
// old as `noticed`.
std::optional<base::WallTime> EvictionTime(const core::PodSpec& pod, const core::NodeSpec& node,
                                           base::WallTime noticed);

// Region and zone as one word, as the metrics show it; "" without labels.
std::string ZoneOf(const core::Node& node);

// Whether the silence of nodes means anything: while the API server (or its store) does not answer us, it cannot have
// taken heartbeats either, and when it answers again the nodes must first have the time to be heard.
class Hearing {
 public:
  explicit Hearing(base::Duration period) : period_(period) {}
  enum class Verdict { kGood, kDeaf, kBack };  // kBack: count all silence from now
  // Before each look at the nodes: `answered`, whether a question asked just now was answered.
  Verdict Begin(bool answered, base::MonoTime now);
  // After it; `failed`: something could not be written, nor was it refused.
  void End(bool failed, base::MonoTime now);

 private:
  base::Duration period_;
  base::MonoTime last_{};
  bool deaf_ = false, begun_ = false;
};

enum class ZoneState { kInitial, kNormal, kPartialDisruption, kFullDisruption };
struct ZoneCounts {
  int ready = 0, not_ready = 0;
  int size() const { return ready + not_ready; }
};
ZoneState StateOf(const ZoneCounts& zone, double unhealthy_threshold);

// Decides which silent nodes may be emptied. When every node of every zone is silent the fault is more likely on our
// side: nothing is evicted then, and silence is counted anew once somebody is heard again.
class Disruption {
 public:
  explicit Disruption(EvictionRates rates) : rates_(rates) {}
  enum class Change { kNone, kEntered, kLeft };
  Change Update(const std::map<std::string, ZoneCounts>& zones, base::MonoTime now);
  // Takes one node's permission out of the zone's bucket.
  bool MayEmptyNode(const std::string& zone, base::MonoTime now);

 private:
  struct Zone {
    ZoneState state = ZoneState::kInitial;
    double rate = 0, tokens = 1;
    base::MonoTime filled{};
  };
  Zone& Of(const std::string& zone, base::MonoTime now);
  void SetRate(Zone& zone, double rate, base::MonoTime now);
  double RateFor(ZoneState state, int size) const;
  static void Fill(Zone& zone, base::MonoTime now);
  EvictionRates rates_;
  std::map<std::string, Zone> zones_;
};

}  // namespace controller_manager
