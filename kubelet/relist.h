// What the runtime holds, listed once a second: a pod whose sandboxes or containers have changed is looked at and its
// worker told; what belongs to no pod is stopped and removed once all sources of pods have been read. One strand.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/metrics.h"
#include "kubelet/workers.h"

namespace kubelet {

class Relist {
 public:
  Relist(base::Executor& executor, runtimes::Runtime& runtime, base::MetricsRegistry& metrics);

  // Every pod that should run is known: the others are orphans.
  std::function<bool()> sources_ready;

  // Until the context ends. An orphan's end may take its time: those are tasks of `scope`.
  base::Task<void> Run(base::TaskScope& scope, Workers& workers);

  // Healthy: it is not stuck.
  base::Status Healthy() const;
  // The runtime held something of the pod when it was last listed.
  bool Holds(const std::string& uid) const { return seen_.contains(uid); }
  void Forget(const std::string& uid) { seen_.erase(uid); }

 private:
  base::Task<base::Status> Once(base::TaskScope& scope, Workers& workers);
  base::Task<void> Observe(base::Context ctx, Workers& workers, std::string uid, bool orphan);
  void Count(const runtimes::Relist& list);

  base::Executor& executor_;
  runtimes::Runtime& runtime_;
  base::MetricsRegistry& metrics_;
  base::MonoTime started_, at_{};
  std::map<std::string, std::string> seen_;  // pod uid -> what was listed
  std::set<std::string> observing_, orphans_;
};

}  // namespace kubelet
