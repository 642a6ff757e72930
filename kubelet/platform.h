// What a kubelet stands on: the machine's clock, disk, network, entropy, control groups and container runtime. The
// daemon hands in the real ones, the cluster simulation its own; nothing else tells the two apart.
#pragma once

#include "base/metrics.h"
#include "base/random.h"
#include "kubelet/cgroups/cgroups.h"
#include "kubelet/checks.h"
#include "kubelet/host/host.h"
#include "kubelet/runtimes/runtime.h"
#include "kubelet/volumes/mounter.h"

namespace kubelet {

// Everything outlives those who hold it.
struct Platform {
  base::Executor& executor;
  base::BlockingPool& pool;
  base::Random random;
  Host& host;
  volumes::Mounter& mounter;
  checks::Network& network;
  cgroups::Manager& cgroups;
  runtimes::Runtime& runtime;
  base::MetricsRegistry& metrics;
};

}  // namespace kubelet
