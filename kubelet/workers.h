// The life of every pod on the node: one task per pod, from the first look at its spec to the removal of its last
// trace. Each turn looks at what is wanted and what the runtime holds, shows the status, and does what plan/ says; it
// runs again when the spec, a container, or a probe's result changes, and otherwise once a minute.
//
//      Update ──> [ sync ] ── done, deleted, evicted ──> [ terminating ] ── all stopped ──> [ terminated ] ──> gone
//
// A pod ends in that order whatever started its end. Another pod of the same name and namespace (a static pod with a
// new hash) waits for the first to be gone. One strand; owned by the agent.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kubelet/starter.h"

namespace kubelet {

class Workers {
 public:
  Workers(Tools tools, base::Context ctx);
  ~Workers();

  // A pod is wanted, or wanted differently.
  void Update(PodPtr pod);
  // A pod is not wanted any more (deleted from the API without a trace, its manifest removed).
  void Remove(const std::string& uid);
  // Ends a pod early, as an eviction does; the reason and message become its status.
  void Evict(const std::string& uid, std::string reason, std::string message, std::optional<int64_t> grace_seconds);
  // The runtime's state of a pod has changed; `asked` is when it was asked for it. What the pod's worker has done since
  // then is not in it, and what it is doing may not be: it will ask itself.
  void Observed(const std::string& uid, ObservedPod observed, base::MonoTime asked);
  void Wake(const std::string& uid);
  // Something the pod mounts or reads has changed: its files follow now, and what waited for it is tried again.
  void ContentChanged(const std::string& uid);

  PodPtr Find(const std::string& uid) const;
  PodPtr FindByName(const std::string& ns, const std::string& name) const;
  const ObservedPod* ObservedOf(const std::string& uid) const;
  // Every pod a worker still has to do with.
  std::vector<PodPtr> All() const;
  // Those that run or will run: neither ending nor ended.
  std::vector<PodPtr> Active() const;
  bool Knows(const std::string& uid) const { return workers_.contains(uid); }
  // True while any container of it may run.
  bool MayRun(const std::string& uid) const;
  // See Killer.
  base::Task<void> KillOrphan(base::Context ctx, ObservedPod observed) {
    return killer_.KillOrphan(std::move(ctx), std::move(observed));
  }
  // Asked by the agent when a pod's worker has ended.
  std::function<void(const std::string& uid)> on_gone;
  base::Task<void> Stop();

 private:
  struct Turn {
    base::Status status;
    bool ended = false;                   // go on to the next phase
    std::optional<base::Duration> again;  // instead of the usual wait
  };

  base::Task<void> Run(WorkerPtr w);
  base::Task<void> WaitForPredecessor(WorkerPtr w);
  base::Task<Turn> TakeTurn(WorkerPtr w);
  base::Task<void> WaitForNext(WorkerPtr w, const Turn& turn);
  base::Task<Turn> Sync(WorkerPtr w);
  // Why the pod ends by itself or must not begin; w->end_reason is set when it does.
  void Admit(Worker& w);
  bool PastDeadline(Worker& w, const api::PodStatus& status);
  base::Task<Turn> Act(WorkerPtr w, const api::PodStatus& status);
  base::Task<base::Status> Prepare(WorkerPtr w);
  base::Task<base::Status> SetUpVolumes(WorkerPtr w);
  base::Task<base::Status> Execute(WorkerPtr w, plan::Actions actions);
  base::Task<void> KillSome(WorkerPtr w, std::vector<plan::Kill> kills);
  base::Task<Turn> Terminate(WorkerPtr w);
  base::Task<Turn> CleanUp(WorkerPtr w);
  api::PodStatus MakeStatus(Worker& w, bool terminal);
  std::string LastWords(const std::string& uid, const api::Container& spec, const ObservedContainer& c) const;

  Tools tools_;
  base::TaskScope scope_;
  std::map<std::string, WorkerPtr> workers_;  // by uid
  Hooks hooks_;
  Killer killer_;
  Sandboxes sandboxes_;
  Starter starter_;
};

}  // namespace kubelet
