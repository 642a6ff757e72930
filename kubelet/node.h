// This machine as a Node: its facts, its registration, its status and its Lease. One strand.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/sync.h"
#include "kubelet/events.h"
#include "kubelet/images.h"
#include "machinery/client/client.h"
#include "proto/k8s/core/v1/node.pb.h"

namespace kubelet {

// Read once at start.
struct MachineFacts {
  std::string hostname, machine_id, system_uuid, boot_id, kernel_version, os_image;
  int cpus = 0;
  int64_t memory_bytes = 0, storage_bytes = 0;
  std::map<std::string, int64_t> huge_pages;  // "hugepages-2Mi": bytes
  std::vector<std::string> huge_page_sizes;   // "2MB"
};
MachineFacts ReadMachine(const std::string& root_directory, const std::string& machine_id_files,
                         const std::string& boot_id_file);
// The node's own address towards the cluster, when none was given.
std::string DetectAddress();

struct NodeOptions {
  std::string name;
  std::vector<std::string> addresses;
  std::map<std::string, std::string> labels;
  std::vector<api::Taint> taints;
  std::string provider_id, pod_cidr;
  int port = 10250;
  int max_pods = 110, max_images = 50;
  std::map<std::string, std::string> kube_reserved, system_reserved;
  std::string eviction_hard_memory, eviction_hard_storage;  // amounts, as in evictionHard
  bool register_node = true;
  base::Duration status_frequency = std::chrono::seconds(10), report_frequency = std::chrono::minutes(5);
  int lease_seconds = 40;
};

class NodeKeeper {
 public:
  NodeKeeper(base::Executor& executor, machinery::client::Client* client, Events& events, Images& images,
             NodeOptions options, MachineFacts facts);

  // What is wrong with the node's readiness, filled in by others: runtime, network, relist.
  std::function<std::vector<std::string>()> not_ready;
  std::function<std::string()> runtime_version;  // "containerd://1.6.20"
  std::function<bool()> memory_pressure, disk_pressure, pid_pressure;

  // Registers, then keeps the status current; ends with the context. Does nothing without a client.
  base::Task<void> Run(base::Context ctx);
  base::Task<void> RunLease(base::Context ctx);
  // Looks at the conditions now rather than at the next tick.
  void Poke() { poke_.NotifyAll(); }

  // Allocatable amounts (thousandths).
  std::map<std::string, int64_t> Allocatable() const;
  const MachineFacts& facts() const { return facts_; }
  const NodeOptions& options() const { return options_; }
  // The Node as the API has it; set by the agent's informer.
  std::shared_ptr<const api::Node> current;
  bool ready() const { return ready_; }

 private:
  api::Node Initial() const;
  base::Task<base::Status> Register(base::Context ctx);
  base::Task<base::Status> Report(base::Context ctx);
  base::Task<void> SetStatus(base::Context ctx, api::Node& node);
  void SetConditions(api::Node& node);
  void SetCondition(api::Node& node, const char* type, bool status, const char* reason, const std::string& message);

  base::Executor& executor_;
  machinery::client::Client* client_;
  Events& events_;
  Images& images_;
  NodeOptions options_;
  MachineFacts facts_;
  base::Event poke_;
  bool registered_ = false, ready_ = false;
  std::map<std::string, std::string> told_;  // condition -> status for which an event was sent
  std::string reported_;
  int64_t reported_ns_ = 0;
};

}  // namespace kubelet
