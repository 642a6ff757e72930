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
#include <string>
#include <vector>

#include "kubelet/api_source.h"
#include "kubelet/collector.h"
#include "kubelet/event_sink.h"
#include "kubelet/evictor.h"
#include "kubelet/mirrors.h"
#include "kubelet/node.h"
#include "kubelet/platform.h"
#include "kubelet/pod/app_armor.h"
#include "kubelet/relist.h"
#include "kubelet/runtime_watch.h"
#include "kubelet/static_pods.h"
#include "kubelet/sysctls.h"
#include "kubelet/workers.h"
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
  int64_t log_max_bytes = 10 << 20;
  int log_max_files = 5;
  int max_dead_per_container = 1;
  int image_gc_high = 85, image_gc_low = 80;
  base::Duration image_min_age = std::chrono::minutes(2);
  std::map<std::string, std::string> eviction_hard;
  SysctlAllowList sysctls;
  bool app_armor = false;  // the kernel enforces profiles
  // Reads a manifest; set by main (it knows the schema).
  std::function<base::Result<api::Pod>(const std::string& text)> parse_manifest;
};

class Agent {
 public:
  // `client` is null in standalone mode: there are only static pods, and nobody is told of them.
  Agent(Platform platform, machinery::client::Client* client, AgentOptions options, MachineFacts facts);
  ~Agent();

  // Until the context ends; pods go on running.
  base::Task<void> Run(base::Context ctx);

  // For the server.
  Workers& workers() { return *workers_; }
  runtimes::Runtime& runtime() { return platform_.runtime; }
  const pod::NodeSettings& settings() const { return settings_; }
  NodeKeeper& node() { return *node_; }
  StatusManager& statuses() { return *statuses_; }
  cgroups::Manager& cgroups() { return platform_.cgroups; }
  // Healthy: the relist is not stuck.
  base::Status Healthy() const { return relist_.Healthy(); }
  base::MonoTime started() const { return started_; }

 private:
  void MakeInformers();
  void Wire();
  Tools MakeTools();
  void StartWorkers(base::TaskScope& scope);
  void StartTasks(base::TaskScope& scope);

  void OnApiPod(const machinery::client::Change<api::Pod>& change);
  base::Task<void> RunPods(base::Context ctx);
  PodPtr ApiPodOf(const std::string& uid) const;
  bool SourcesReady() const { return static_pods_.ready() && (!pods_ || pods_->synced()); }

  base::Task<void> RunCollector(base::Context ctx);
  void EnsureGroups();
  void UpdateBurstable();
  std::optional<pod::WaitReason> AdmitPod(const api::Pod& pod);
  NodeFacts FactsFor(const api::Pod& pod);
  std::vector<std::string> NotReady() const;

  Platform platform_;
  machinery::client::Client* client_;
  AgentOptions options_;
  pod::NodeSettings settings_;
  base::MonoTime started_;
  Relist relist_;
  StaticPods static_pods_;
  std::unique_ptr<machinery::client::EventRecorder> recorder_;
  std::unique_ptr<EventSink> events_;
  std::unique_ptr<ApiSource> source_;
  std::unique_ptr<volumes::Manager> volumes_;
  std::unique_ptr<Images> images_;
  std::unique_ptr<StatusManager> statuses_;
  std::unique_ptr<NodeKeeper> node_;
  std::unique_ptr<RuntimeWatch> runtime_watch_;
  std::unique_ptr<Evictor> evictor_;
  std::unique_ptr<Collector> collector_;
  // Null without an API.
  std::unique_ptr<machinery::client::Informer<api::Pod>> pods_;
  std::unique_ptr<machinery::client::Informer<api::Service>> services_;
  std::unique_ptr<machinery::client::Informer<api::Node>> nodes_;
  std::unique_ptr<Mirrors> mirrors_;
  // Of Run.
  std::unique_ptr<Probes> probes_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace kubelet
