// The kubelet: everything put together. Pods come from the API (those bound to this node) and from a directory; each
// gets a worker; the runtime is listed once a second and what has changed goes to the workers; the node reports itself;
// leftovers are collected.
//
//   API pods ─┐                     ┌─> status ──> API
//   manifests ┴─> workers ──> plan ─┼─> runtime (CRI)
//   relist, probes ──^              └─> volumes, control groups
//
// One strand: the daemon's loop. Files are written on a small pool.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kubelet/api_source.h"
#include "kubelet/node.h"
#include "kubelet/pod/app_armor.h"
#include "kubelet/sysctls.h"
#include "kubelet/workers.h"
#include "machinery/client/event_recorder.h"
#include "machinery/client/informer.h"

namespace kubelet {

struct AgentOptions {
  NodeOptions node;
  std::string root_directory = "/var/lib/kubelet";
  std::string pod_logs_directory = "/var/log/pods";
  std::string manifest_directory;  // static pods; "" = none
  base::Duration manifest_frequency = std::chrono::seconds(20);
  std::vector<std::string> cluster_dns;
  std::string cluster_domain;
  std::string resolv_conf = "/etc/resolv.conf";
  bool cpu_cfs_quota = true;
  base::Duration cpu_cfs_quota_period = std::chrono::milliseconds(100);
  bool seccomp_default = false;
  bool serialize_image_pulls = true;
  int64_t pids_limit = -1;
  base::Duration sync_frequency = std::chrono::minutes(1);
  bool enforce_allocatable = true;  // limit all pods together to what is allocatable
  std::string machine_id_files = "/etc/machine-id,/var/lib/dbus/machine-id";
  std::string boot_id_file = "/proc/sys/kernel/random/boot_id";
  int64_t log_max_bytes = 10 << 20;
  int log_max_files = 5;
  int max_dead_per_container = 1;
  int image_gc_high = 85, image_gc_low = 80;
  base::Duration image_min_age = std::chrono::minutes(2);
  std::map<std::string, std::string> eviction_hard;
  SysctlAllowList sysctls;
  // Reads a manifest; set by main (it knows the schema).
  std::function<base::Result<api::Pod>(const std::string& text)> parse_manifest;
};

class Agent {
 public:
  Agent(base::Loop& loop, base::BlockingPool& pool, runtimes::Runtime& runtime, cgroups::Manager& cgroups,
        machinery::client::Client* client, AgentOptions options, MachineFacts facts, base::MetricsRegistry& metrics);
  ~Agent();

  // Until the context ends; pods go on running.
  base::Task<void> Run(base::Context ctx);

  // For the server.
  Workers& workers() { return *workers_; }
  runtimes::Runtime& runtime() { return runtime_; }
  const pod::NodeSettings& settings() const { return settings_; }
  NodeKeeper& node() { return *node_; }
  StatusManager& statuses() { return *statuses_; }
  cgroups::Manager& cgroups() { return cgroups_; }
  // Healthy: the relist is not stuck.
  base::Status Healthy() const;
  base::MonoTime started() const { return started_; }

 private:
  class EventSink;
  using Pods = machinery::client::Informer<api::Pod>;

  // Pods from their sources.
  void OnApiPod(const machinery::client::Change<api::Pod>& change);
  base::Task<void> WatchManifests(base::Context ctx);
  void ReadManifests();
  base::Task<void> KeepMirrors(base::Context ctx);
  base::Task<void> Mirror(base::Context ctx, PodPtr pod);
  PodPtr ApiPodOf(const std::string& uid) const;
  bool SourcesReady() const;

  // The runtime.
  base::Task<void> RunRelist(base::Context ctx);
  base::Task<base::Status> RelistOnce(base::Context ctx);
  base::Task<void> ObserveOne(base::Context ctx, std::string uid, bool orphan);
  base::Task<void> RunPods(base::Context ctx);
  base::Task<void> WatchRuntime(base::Context ctx);
  base::Task<void> SetPodCidr(base::Context ctx);

  // Housekeeping.
  base::Task<void> RunCollector(base::Context ctx);
  base::Task<void> CollectContainers(base::Context ctx);
  base::Task<void> CollectImages(base::Context ctx);
  base::Task<void> CollectPodDirectories(base::Context ctx);
  base::Task<void> RotateLogs(base::Context ctx);
  bool IsLog(const std::string& path) const;
  void CheckPressure();
  std::optional<pod::WaitReason> AdmitPod(const api::Pod& pod);
  void UpdateBurstable();

  base::Loop& loop_;
  base::BlockingPool& pool_;
  runtimes::Runtime& runtime_;
  cgroups::Manager& cgroups_;
  machinery::client::Client* client_;
  AgentOptions options_;
  pod::NodeSettings settings_;
  base::MonoTime started_;
  std::unique_ptr<machinery::client::EventRecorder> recorder_;
  std::unique_ptr<EventSink> events_;
  std::unique_ptr<ApiSource> source_;
  std::unique_ptr<volumes::Manager> volumes_;
  std::unique_ptr<Images> images_;
  std::unique_ptr<Probes> probes_;
  std::unique_ptr<StatusManager> statuses_;
  std::unique_ptr<NodeKeeper> node_;
  std::unique_ptr<Workers> workers_;
  std::unique_ptr<Pods> pods_;
  std::unique_ptr<machinery::client::Informer<api::Service>> services_;
  std::unique_ptr<machinery::client::Informer<api::Node>> nodes_;

  std::map<std::string, PodPtr> static_pods_;          // by uid
  std::map<std::string, std::string> manifest_texts_;  // by path
  bool manifests_read_ = false;
  std::map<std::string, std::string> relist_seen_;  // pod uid -> what was listed
  std::set<std::string> observing_, orphans_;
  base::MonoTime relist_at_{};
  bool runtime_ready_ = false;
  std::string runtime_error_ = "container runtime status check may not have completed yet", network_error_;
  std::string pod_cidr_set_;
  std::map<std::string, int64_t> image_seen_;  // id -> when first seen unused
  const bool app_armor_ = pod::AppArmorEnabled();
  bool memory_pressure_ = false, disk_pressure_ = false;
  base::MetricsRegistry& metrics_;
  base::Context ctx_;
  base::TaskScope* scope_ = nullptr;  // of Run
  base::Event mirrors_;
};

}  // namespace kubelet
