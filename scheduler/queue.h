// Pods that want a node: active (to be tried now, best first), in back-off (tried in vain and to be tried again soon),
// unschedulable (waiting for an event of the cluster that may help), gated (PreEnqueue says not yet).
//
// Back-off is 1 s doubling to 10 s by attempts; an unschedulable pod is tried again after 5 minutes whatever happens.
// One strand.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/sync.h"
#include "scheduler/framework.h"

namespace scheduler {

struct QueueOptions {
  base::Duration initial_backoff = std::chrono::seconds(1);
  base::Duration max_backoff = std::chrono::seconds(10);
  base::Duration max_unschedulable = std::chrono::minutes(5);
};

struct QueuedPod {
  std::shared_ptr<const PodInfo> pod;
  base::MonoTime added{};      // first seen
  base::MonoTime attempted{};  // last attempt's end
  uint64_t order = 0;          // breaks ties: who came first
  int attempts = 0;
  std::vector<std::string_view> rejected_by;
};

class SchedulingQueue {
 public:
  SchedulingQueue(base::Executor& executor, const Framework& framework, QueueOptions options = {});
  ~SchedulingQueue();

  // A new pod, or one that changed while it waits.
  void Set(std::shared_ptr<const PodInfo> pod);
  void Remove(const std::string& key);
  // The best active pod; waits. It is in nobody's list until it comes back.
  base::Task<base::Result<QueuedPod>> Pop(base::Context ctx);
  // The pod is placed, or is no longer to be.
  void Finish(const QueuedPod& pod);
  // The pod fits nowhere: waits for events that may help these plugins.
  void AddUnschedulable(QueuedPod pod);
  // The attempt failed for another reason (binding): tried again after its back-off.
  void AddBackoff(QueuedPod pod);
  // Puts back what `event` may help.
  void Move(const ClusterEvent& event);
  // Puts back what waited too long; call every half minute.
  void FlushStale();

  size_t active() const { return active_.size(); }
  size_t backoff() const { return backoff_.size(); }
  size_t unschedulable() const { return unschedulable_.size(); }
  size_t gated() const { return gated_.size(); }
  // The newest version of a waiting pod, or null.
  std::shared_ptr<const PodInfo> Find(const std::string& key) const;

 private:
  enum class Place : uint8_t { kActive, kBackoff, kUnschedulable, kGated, kInFlight };
  struct Better {
    const Framework* framework;
    bool operator()(const QueuedPod& a, const QueuedPod& b) const;
  };
  // Pods being tried: what is to be known of them when they come back.
  struct InFlight {
    uint64_t order = 0;
    std::shared_ptr<const PodInfo> updated;
    std::vector<EventKind> events;
  };
  void Activate(QueuedPod pod);
  void Requeue(QueuedPod pod);
  // Ends the attempt; nullopt when the pod was removed meanwhile (another of its name may be there).
  std::optional<InFlight> Land(const QueuedPod& pod);
  // Takes the pod out of wherever it waits.
  bool Take(const std::string& key, QueuedPod& out);
  base::Duration Backoff(int attempts) const;

  base::Executor& executor_;
  const Framework& framework_;
  QueueOptions options_;
  std::map<std::string, Place> places_;
  std::set<QueuedPod, Better> active_;
  struct Waiting {
    QueuedPod pod;
    base::TimerId timer;
  };
  std::map<std::string, Waiting> backoff_;
  std::map<std::string, QueuedPod> unschedulable_, gated_;
  std::map<std::string, InFlight> in_flight_;
  std::map<std::string, QueuedPod> active_index_;
  uint64_t next_order_ = 1;
  base::Event available_;
};

}  // namespace scheduler
