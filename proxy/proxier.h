// The proxy's shell: watches Services, EndpointSlices and its own Node, keeps the rule tables, and writes what changed
// through the back end. Level, not edge: any number of changes between two syncs costs one transaction. What a Service
// asks for and cannot have is told by an event on it.
//
// One strand; the back end's calls run on the blocking pool, one at a time.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/sync.h"
#include "machinery/client/event_recorder.h"
#include "machinery/client/informer.h"
#include "proxy/backends/backend.h"
#include "proxy/ruleset.h"

namespace k8s::io::api::core::v1 {
class Node;
}
namespace k8s::io::api::networking::v1 {
class ServiceCIDR;
}

namespace proxy {

struct ProxierOptions {
  std::string node_name;
  std::string mode = "nftables";
  std::vector<Family> families = {Family::kIPv4};
  std::vector<std::string> cluster_cidrs;        // canonical, at most one per family
  std::vector<std::string> node_port_addresses;  // addresses; empty = the node's own ("primary")
  bool masquerade_all = false;
  int masquerade_bit = 14;
  // The least time from one write to the next; zero: four times what the last write took, at most a second.
  base::Duration min_sync_period{};
  base::Duration sync_period = std::chrono::seconds(30);  // how often foreign changes are looked for
};

class Proxier {
 public:
  Proxier(base::Executor& executor, base::BlockingPool& pool, machinery::client::Client& client, ProxierOptions options,
          base::MetricsRegistry& metrics);
  ~Proxier();

  // Works until the context ends; what the kernel holds then stays.
  base::Task<void> Run(base::Context ctx);
  // OK while the last successful sync is not older than twice the sync period with changes waiting (what /healthz
  // says).
  base::Status Health() const;

 private:
  struct PerFamily;
  struct Metrics;
  void OnSlice(const machinery::client::Change<EndpointSlice>& change);
  void MarkDirty(const std::string& service_key);
  base::Task<bool> WaitForNode(base::Context ctx);
  void AddFamily(Family family, const std::vector<std::string>& node_addresses, uint16_t kubelet_port);
  void UseServiceCidrs();
  base::Task<void> Work(base::Context ctx);
  base::Task<void> VerifyAll();
  base::Task<void> SyncOnce();
  base::Task<bool> SyncFamily(PerFamily& f, const std::set<std::string>& services);
  void Rebuild(PerFamily& f, const std::set<std::string>& services);
  void ReserveApiServers(PerFamily& f);
  void Tell(const std::string& service, std::string_view reason, const std::string& text);
  void TellProblems();
  bool pending() const;

  base::Executor& executor_;
  base::BlockingPool& pool_;
  ProxierOptions options_;
  std::unique_ptr<Metrics> metrics_;
  machinery::client::Informer<Service> services_;
  machinery::client::Informer<EndpointSlice> slices_;
  machinery::client::Informer<k8s::io::api::core::v1::Node> node_;
  machinery::client::Informer<k8s::io::api::networking::v1::ServiceCIDR> cidrs_;
  machinery::client::EventRecorder events_;
  SlicesByService slices_by_service_;
  std::vector<std::unique_ptr<PerFamily>> families_;
  std::set<std::string> dirty_;              // "namespace/name" of services
  std::set<std::string> to_tell_;            // services whose problems may be others now
  std::map<std::string, std::string> told_;  // service -> the problems that its last event named
  bool cidrs_changed_ = false;
  base::Event work_;
  bool running_ = false;  // informers are synced and the node's addresses known
  base::MonoTime last_success_{};
  base::MonoTime dirty_since_{};
};

}  // namespace proxy
