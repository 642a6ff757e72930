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

#include "base/sync.h"
#include "kubelet/cgroups/cgroups.h"
#include "kubelet/images.h"
#include "kubelet/pod/config.h"
#include "kubelet/probes.h"
#include "kubelet/status_manager.h"
#include "kubelet/termination_order.h"
#include "kubelet/volumes/volume.h"
#include "proto/k8s/core/v1/service.pb.h"

namespace kubelet {

// What workers work with. Everything outlives them.
struct Tools {
  base::Loop& loop;
  base::BlockingPool& pool;
  runtimes::Runtime& runtime;
  cgroups::Manager& cgroups;
  volumes::Manager& volumes;
  volumes::Source& source;
  Images& images;
  Probes& probes;
  StatusManager& statuses;
  Events& events;
  const pod::NodeSettings& settings;
  std::string node_name, root_directory;
  std::string container_logs_directory;  // of links by pod and container, "" = none
  int64_t pids_limit = 0;
  base::Duration sync_frequency = std::chrono::minutes(1);
  std::vector<std::string> host_ips;
  // Services for environment variables; nullopt while they are not known yet.
  std::function<std::optional<std::vector<std::shared_ptr<const api::Service>>>()> services;
  // nullopt: the pod may run here; else why not (reason, message).
  std::function<std::optional<pod::WaitReason>(const api::Pod&)> admit;
  // "" while pods can have networks; else what the runtime says.
  std::function<std::string()> network_error;
  std::function<base::Task<std::vector<cri::AuthConfig>>(base::Context, PodPtr)> pull_credentials;
};

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
  // The runtime's state of a pod has changed.
  void Observed(const std::string& uid, ObservedPod observed);
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
  // Runs nobody wants: a sandbox or container left behind by pods that are unknown. Stops and removes it.
  base::Task<void> KillOrphan(base::Context ctx, ObservedPod observed);
  // Asked by the agent when a pod's worker has ended.
  std::function<void(const std::string& uid)> on_gone;
  base::Task<void> Stop();

 private:
  enum class Phase { kSync, kTerminating, kTerminated };
  struct Worker;
  using WorkerPtr = std::shared_ptr<Worker>;
  struct Turn {
    base::Status status;
    bool ended = false;                   // go on to terminating
    std::optional<base::Duration> again;  // instead of the usual wait
  };

  base::Task<void> Run(WorkerPtr w);
  base::Task<base::Status> Refresh(WorkerPtr w);
  base::Task<Turn> Sync(WorkerPtr w);
  base::Task<base::Status> Prepare(WorkerPtr w);
  base::Task<base::Status> Execute(WorkerPtr w, plan::Actions actions);
  base::Task<base::Result<std::string>> CreateSandbox(WorkerPtr w, uint32_t attempt);
  base::Task<void> ShowAddress(WorkerPtr w);
  base::Task<base::Status> StartContainer(WorkerPtr w, std::string name, std::string sandbox_id);
  base::Task<base::Result<cri::ContainerConfig>> Configure(WorkerPtr w, const api::Container& c,
                                                           const cri::Image& image, uint32_t restart_count);
  base::Task<base::Result<std::vector<cri::Mount>>> Mounts(WorkerPtr w, const api::Container& c,
                                                           const std::vector<pod::Env>& env);
  base::Task<base::Status> PostStart(WorkerPtr w, const api::Container& c, std::string id);
  base::Task<base::Status> KillPod(WorkerPtr w, std::optional<int64_t> grace, std::string why);
  struct Killing {
    int64_t grace = 0;
    std::string message;
    base::Context ctx;
    TerminationOrder* order = nullptr;  // null: at once
  };
  base::Task<void> KillContainer(WorkerPtr w, ObservedContainer c, Killing how);
  base::Task<void> PreStop(WorkerPtr w, api::LifecycleHandler handler, const ObservedContainer& c, int64_t grace);
  base::Task<Turn> Terminate(WorkerPtr w);
  base::Task<Turn> CleanUp(WorkerPtr w);
  api::PodStatus MakeStatus(Worker& w, bool terminal);
  bool InCrashBackoff(Worker& w, const api::Container& c);
  int64_t Now() const { return WallNanos(tools_.loop.clock()); }
  const pod::NodeSettings& settings() const { return tools_.settings; }

  Tools tools_;
  base::TaskScope scope_;
  std::map<std::string, WorkerPtr> workers_;  // by uid
  Backoff crash_backoff_;
};

}  // namespace kubelet
