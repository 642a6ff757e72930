// The proxy's shell: watches Services, EndpointSlices and its own Node, keeps the rule tables, and writes what changed
// through the back end. Level, not edge: any number of changes between two syncs costs one transaction, and a failed
// one is followed by a full one.
//
// One strand; the back end's calls run on the blocking pool, one at a time.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/sync.h"
#include "machinery/client/informer.h"
#include "proxy/backends/backend.h"

namespace k8s::io::api::core::v1 {
class Node;
}

namespace proxy {

struct ProxierOptions {
  std::string node_name;
  std::string mode = "nftables";
  std::vector<Family> families = {Family::kIPv4};
  std::string cluster_cidr;                      // "v4,v6"
  std::vector<std::string> node_port_addresses;  // addresses; empty = the node's own ("primary")
  bool masquerade_all = false;
  int masquerade_bit = 14;
  base::Duration min_sync_period = std::chrono::seconds(1);
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
  base::Task<void> SyncOnce();
  base::Task<void> SyncFamily(PerFamily& f, const std::set<std::string>& services);
  std::set<ServicePortName> Rebuild(PerFamily& f, const std::set<std::string>& services);

  base::Executor& executor_;
  base::BlockingPool& pool_;
  ProxierOptions options_;
  std::unique_ptr<Metrics> metrics_;
  machinery::client::Informer<Service> services_;
  machinery::client::Informer<EndpointSlice> slices_;
  machinery::client::Informer<k8s::io::api::core::v1::Node> node_;
  SlicesByService slices_by_service_;
  std::vector<std::unique_ptr<PerFamily>> families_;
  std::set<std::string> dirty_;  // "namespace/name" of services
  base::Event work_;
  bool running_ = false;  // informers are synced and the node's addresses known
  base::MonoTime last_success_{};
  base::MonoTime dirty_since_{};
};

}  // namespace proxy
