// What to do next for one pod: a pure function from the pod that is wanted and what the runtime holds to actions. Knows
// no clock, no runtime and no API; back-off between attempts is the executor's business (kubelet/model/backoff.h).
//
// Owned by nobody; thread-safe.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "kubelet/model/types.h"

namespace kubelet::plan {

// What probes have said, by container id.
struct ProbeView {
  std::set<std::string, std::less<>> liveness_failed, startup_failed;
  std::set<std::string, std::less<>> started;  // running and past the startup probe (or without one)
};

enum class KillReason { kUnknown, kSpecChanged, kLiveness, kStartup, kPodDone };
struct Kill {
  std::string id, name;
  KillReason reason;
  std::string message;  // the event's text
};

struct Actions {
  bool kill_pod = false;  // containers that run, then every sandbox
  bool create_sandbox = false;
  std::string sandbox_id;               // of the newest sandbox; "" when there is none (or a new one is made)
  uint32_t attempt = 0;                 // of the sandbox to make
  std::vector<std::string> start_init;  // names, to be started in this order
  std::vector<std::string> start;
  std::vector<std::string> start_ephemeral;  // whatever the others do: they are there to look at it
  std::vector<Kill> kill;

  bool nothing() const {
    return !kill_pod && !create_sandbox && start_init.empty() && start.empty() && start_ephemeral.empty() &&
           kill.empty();
  }
};

Actions Compute(const api::Pod& pod, const ObservedPod& observed, const ProbeView& probes);

// Whether a container with this last observation (nullptr: never made) is to be started (again) under the pod's policy.
bool ShouldRestart(const api::Pod& pod, const ObservedContainer* last);
// A new sandbox is needed; with the attempt and the id of the one to replace.
struct SandboxChange {
  bool changed;
  uint32_t attempt;
  std::string id;
};
SandboxChange CheckSandbox(const api::Pod& pod, const ObservedPod& observed);

}  // namespace kubelet::plan
