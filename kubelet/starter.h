// One container from its spec to a running process: back-off after crashes, image, environment, mounts, files of its
// own, creation, start, and the hook after it. What goes wrong becomes the reason why it waits. One strand.
#pragma once

#include "kubelet/killer.h"
#include "kubelet/model/backoff.h"
#include "kubelet/sandboxes.h"

namespace kubelet {

class Starter {
 public:
  // What the parts before it are; `ctx` ends whatever runs.
  Starter(Tools& tools, Sandboxes& sandboxes, Hooks& hooks, Killer& killer, base::Context ctx);

  base::Task<base::Status> Start(WorkerPtr w, std::string name, std::string sandbox_id);

 private:
  // What is to be started, as it was wanted when that began.
  struct Wanted {
    PodPtr pod;
    ContainerPtr container;  // inside *pod
  };
  // Where the container goes and what it is made of.
  struct Place {
    std::string sandbox_id;
    cri::PodSandboxConfig sandbox;
    cri::Image image;
    uint32_t restart_count = 0;
  };
  base::Task<base::Result<Place>> FindPlace(WorkerPtr w, const Wanted& wanted, std::string sandbox_id);
  base::Task<base::Status> Create(WorkerPtr w, const Wanted& wanted, Place place);
  base::Task<base::Result<cri::ContainerConfig>> Configure(WorkerPtr w, const Wanted& wanted, const Place& place);
  base::Task<base::Result<std::vector<cri::Mount>>> Mounts(WorkerPtr w, const api::Container& c,
                                                           const std::vector<pod::Env>& env);
  base::Status AddOwnFiles(const Wanted& wanted, const std::vector<std::string>& pod_ips,
                           std::vector<cri::Mount>& mounts);
  base::Task<base::Status> PostStart(WorkerPtr w, const Wanted& wanted, std::string id);
  bool InCrashBackoff(Worker& w, const Wanted& wanted);
  uint32_t CountByLogs(const std::string& directory) const;
  base::Status Fail(Worker& w, const std::string& name, std::string reason, std::string message);

  Tools& tools_;
  Sandboxes& sandboxes_;
  Hooks& hooks_;
  Killer& killer_;
  base::Context ctx_;
  Backoff crash_backoff_;
};

}  // namespace kubelet
