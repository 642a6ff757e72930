// What the parts of a pod's life work with. Nothing in them reads the machine's clock, disk, network or entropy by
// itself: a simulation hands in its own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/sync.h"
#include "kubelet/cgroups/cgroups.h"
#include "kubelet/host/host.h"
#include "kubelet/images.h"
#include "kubelet/pod/config.h"
#include "kubelet/probes.h"
#include "kubelet/status_manager.h"
#include "kubelet/volumes/volume.h"
#include "proto/k8s/core/v1/service.pb.h"

namespace kubelet {

// Everything outlives those who hold it. One strand.
struct Tools {
  base::Executor& executor;
  base::Random random;
  Host& host;
  checks::Network& network;
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

  int64_t Now() const { return WallNanos(executor.clock()); }
};

}  // namespace kubelet
