// Pod routes of a node (host-gw): to every other node's pod CIDRs by that node's address, so that pods reach one
// another across nodes of one network segment without an overlay. Asked for by --pod-routes=host-gw.
//
// The routes carry a protocol number of their own: what is no longer wanted is removed, also after a restart, and
// nobody else's route is touched.
#pragma once

#include <map>
#include <string>

#include "base/sync.h"
#include "machinery/client/informer.h"

namespace k8s::io::api::core::v1 {
class Node;
}

namespace proxy {

// pod CIDR -> the node address it is reached by
using RouteTable = std::map<std::string, std::string>;

// Pure: the routes this node should have.
RouteTable WantedRoutes(const std::vector<std::shared_ptr<const k8s::io::api::core::v1::Node>>& nodes,
                        const std::string& own_name);
// Makes the kernel's routes of our protocol number equal to `wanted`; a route whose gateway is not reachable yet is
// reported and tried again by the caller. Blocks on netlink.
base::Status ApplyRoutes(const RouteTable& wanted);

class PodRoutes {
 public:
  PodRoutes(base::Executor& executor, base::BlockingPool& pool, machinery::client::Client& client,
            std::string node_name);
  // Keeps them until the context ends; checks them every minute against foreign changes. They stay when it ends.
  base::Task<void> Run(base::Context ctx);

 private:
  base::Executor& executor_;
  base::BlockingPool& pool_;
  std::string node_name_;
  machinery::client::Informer<k8s::io::api::core::v1::Node> nodes_;
  base::Event changed_;
};

}  // namespace proxy
