// The kubelet's control groups: one above all pods, one per lower quality-of-service class, one per pod, made and sized
// here and handed to the runtime as the pods' parents. One interface over cgroup v1 and v2 with the cgroupfs driver.
//
// Missing rights (a container without the privilege, a controller that is not mounted) are reported once and lived
// with: pods then run without that limit. Calls touch files under /sys/fs/cgroup, which do not block for long. One
// strand.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "kubelet/model/types.h"

namespace kubelet::cgroups {

enum class Version { kV1, kV2 };

struct Options {
  std::string mount_root = "/sys/fs/cgroup";
  std::string cgroup_root;         // --cgroup-root, "" = the root
  bool per_qos = true;             // --cgroups-per-qos
  std::optional<Version> version;  // found out when absent
};

// How much a group may use; absent: unlimited.
struct Limits {
  std::optional<int64_t> cpu_shares;    // v1's scale, 2 to 262144
  std::optional<int64_t> cpu_quota_us;  // -1: none
  int64_t cpu_period_us = 100000;
  std::optional<int64_t> memory_bytes;
  std::optional<int64_t> pids;
};

class Manager {
 public:
  static base::Result<std::unique_ptr<Manager>> Open(Options options);
  virtual ~Manager() = default;
  virtual Version version() const = 0;
  // "/kubepods/burstable/pod<uid>" without the mount root.
  virtual std::string PodPath(const api::Pod& pod) const = 0;
  // "/kubepods" and its classes.
  virtual base::Status EnsureNode(const Limits& limits) = 0;
  virtual base::Status SetBurstableShares(int64_t milli_cpu) = 0;
  virtual base::Status EnsurePod(const api::Pod& pod, int64_t pids_limit) = 0;
  virtual base::Status RemovePod(const std::string& uid) = 0;
  // Uids that have a group.
  virtual std::vector<std::string> Pods() const = 0;
  // The memory limit as the kernel has it (v1 shows a huge number for none); nullopt when there is none to read.
  virtual std::optional<int64_t> PodMemoryLimit(const api::Pod& pod) const = 0;
  struct Usage {
    uint64_t cpu_ns = 0, memory_bytes = 0, working_set_bytes = 0;
  };
  virtual std::optional<Usage> PodUsage(const api::Pod& pod) const = 0;
  virtual std::optional<Usage> NodeUsage() const = 0;
};

// What a pod's own group gets.
Limits LimitsOf(const api::Pod& pod);
// cpu.weight (1 to 10000) for v1 shares, as runtimes translate it.
int64_t WeightOfShares(int64_t shares);

}  // namespace kubelet::cgroups
