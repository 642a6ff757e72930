// A pod's status as the API shows it: a pure function of the pod, what the runtime holds, what probes said and what the
// last attempts to start containers failed with. Conditions, phases, reasons and their order are the original's.
//
// Nobody owns it; thread-safe.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "kubelet/model/types.h"

namespace kubelet::pod {

// Why a container waits: the last failed attempt ("ErrImagePull", its message).
struct WaitReason {
  std::string reason, message;
};

struct StatusInput {
  const api::Pod& pod;  // its status: what is known so far (times of transitions come from it)
  const ObservedPod& observed;
  const std::map<std::string, WaitReason>& reasons;  // by container name
  std::set<std::string> ready, started;              // container ids that probes (or their absence) call so
  bool terminal = false;     // the kubelet has stopped the pod for good (finished, evicted, deleted)
  std::string runtime_name;  // "containerd"
  std::string node_name;
  std::vector<std::string> host_ips;
  int64_t now_ns = 0;
  // The text a container left at its termination message path, bounded; may be empty.
  std::function<std::string(const api::Container&, const ObservedContainer&)> termination_message;
  // The pod's memory limit as its cgroup says, when it should be shown.
  std::optional<int64_t> cgroup_memory_limit;
  // Set when the pod is refused or evicted: phase Failed with these words.
  std::string failed_reason, failed_message;
};

api::PodStatus MakeStatus(const StatusInput& in);

// The phase alone, from container statuses that are already there.
std::string PhaseOf(const api::Pod& pod, const api::PodStatus& status, bool terminal);

// The condition of that type, or nullptr.
const api::PodCondition* FindCondition(const api::PodStatus& status, std::string_view type);
api::PodCondition* FindCondition(api::PodStatus& status, std::string_view type);
// Sets a condition; the transition time moves only when the status does.
void SetCondition(api::PodStatus& status, api::PodCondition condition, int64_t now_ns);

// Ready for traffic, by its condition.
bool IsReady(const api::PodStatus& status);
bool IsFinished(const api::Pod& pod);

}  // namespace kubelet::pod
