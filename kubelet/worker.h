// One pod's worker: what is wanted, what was seen, where it stands. Workers (workers.h) owns them; sandboxes, starter,
// hooks and killer act for one at a time. One strand.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "kubelet/tools.h"

namespace kubelet {

enum class Phase { kSync, kTerminating, kTerminated };

struct Worker {
  explicit Worker(base::Executor& executor) : wake(executor) {}
  std::string uid;
  PodPtr pod;
  Phase phase = Phase::kSync;
  base::Event wake;
  bool dirty = true;           // something has happened since the last turn began
  bool observed_stale = true;  // ask the runtime before the next turn
  bool in_turn = false;
  base::MonoTime turn_ended{};  // what was asked of the runtime before may not know what the turn did
  bool removed = false;         // nobody wants it any more
  bool admitted = false;
  bool acted = false;  // the last turn changed something in the runtime
  int64_t seen_ns = 0;
  ObservedPod observed;
  std::map<std::string, pod::WaitReason> reasons;
  volumes::Mounted mounted;
  base::MonoTime mounted_at{};
  bool content_stale = true;  // its files may not be what they should
  int mount_failures = 0;
  std::map<std::string, std::string> mount_texts;  // last error told per volume
  std::optional<int64_t> grace;                    // given to Evict
  std::string end_reason, end_message;
  int64_t killed_with_grace = -1;  // of the kill under way
  base::Context kill_ctx;
  int kill_failures = 0, group_failures = 0;

  // Nobody wants it to run (any more).
  bool leaves() const { return removed || pod->metadata().has_deletiontimestamp(); }
};
using WorkerPtr = std::shared_ptr<Worker>;

// Asks the runtime what it holds of the pod.
base::Task<base::Status> Refresh(base::Context ctx, runtimes::Runtime& runtime, WorkerPtr w);
// Where the pod's containers are reached: its own address, the node's for pods on its network.
std::string PodIp(const ObservedPod& observed, const std::vector<std::string>& host_ips);

}  // namespace kubelet
