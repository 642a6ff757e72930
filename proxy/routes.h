// Pod routes of a node (host-gw): to every other node's pod CIDRs by that node's address, so that pods reach one
// another across nodes of one network segment without an overlay. Asked for by --pod-routes=host-gw.
//
// The routes carry a protocol number of their own: what is no longer wanted is removed, also after a restart, and
// nobody else's route is touched.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/sync.h"
#include "machinery/client/event_recorder.h"
#include "machinery/client/informer.h"

namespace k8s::io::api::core::v1 {
class Node;
}
namespace k8s::io::api::networking::v1 {
class ServiceCIDR;
}

namespace proxy {

// pod CIDR -> the node address it is reached by, both canonical
using RouteTable = std::map<std::string, std::string>;

struct RoutePlan {
  RouteTable routes;
  std::map<std::string, std::string> problems;  // node -> why pod CIDRs or addresses of it are not used
};
struct RouteLimits {
  std::string own_name;
  std::vector<std::string> cluster_cidrs;  // pod CIDRs lie in them; empty = unknown
  std::vector<std::string> service_cidrs;  // and not in these
};

// Pure: the routes this node should have. What a node writes about itself moves no packet of others: a pod CIDR that
// overlaps one of this node or of an older node, holds the address of a node, lies in the service range, outside the
// cluster's range, or is no unicast range at all, gets no route; the other nodes' routes stand.
RoutePlan WantedRoutes(const std::vector<std::shared_ptr<const k8s::io::api::core::v1::Node>>& nodes,
                       const RouteLimits& limits);
// Makes the kernel's routes of our protocol number equal to `wanted`; gives what the kernel refused (a gateway that is
// not reachable yet), by pod CIDR: the caller tries again. Blocks on netlink.
base::Result<std::map<std::string, base::Status>> ApplyRoutes(const RouteTable& wanted);

class PodRoutes {
 public:
  // `cluster_cidrs`: canonical.
  PodRoutes(base::Executor& executor, base::BlockingPool& pool, machinery::client::Client& client,
            std::string node_name, std::vector<std::string> cluster_cidrs);
  // Keeps them until the context ends; checks them every minute against foreign changes. They stay when it ends. A node
  // whose routes cannot be is told so by an event.
  base::Task<void> Run(base::Context ctx);

 private:
  RoutePlan Plan() const;
  void Tell(const std::map<std::string, std::string>& problems);
  base::Task<bool> Apply(const RoutePlan& plan);

  base::Executor& executor_;
  base::BlockingPool& pool_;
  RouteLimits limits_;
  machinery::client::Informer<k8s::io::api::core::v1::Node> nodes_;
  machinery::client::Informer<k8s::io::api::networking::v1::ServiceCIDR> cidrs_;
  machinery::client::EventRecorder events_;
  base::Event changed_;
  bool dirty_ = true;
  std::map<std::string, std::string> told_;  // node -> problem
};

}  // namespace proxy
