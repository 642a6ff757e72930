// The rule table: what the node's kernel should do with packets to Services, as plain values. Pure: made from Services
// and EndpointSlices alone; every back end (nftables, iptables, IPVS) is a renderer of it. One table per IP family.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/addresses.h"

namespace k8s::io::api::core::v1 {
class Service;
}
namespace k8s::io::api::discovery::v1 {
class EndpointSlice;
}

namespace proxy {

// One port of one Service: the unit of a rule.
struct ServicePortName {
  std::string namespace_name, name, port, protocol;  // protocol in lower case: "tcp", "udp", "sctp"
  auto operator<=>(const ServicePortName&) const = default;
  // "default/web:http", as logs and comments name it.
  std::string ToString() const;
  std::string Service() const { return namespace_name + "/" + name; }
};

struct Backend {
  std::string ip;
  uint16_t port = 0;
  auto operator<=>(const Backend&) const = default;
};

// Every address and range is canonical and of the table's family; ports, protocol and seconds are in their bounds.
struct ServiceRule {
  std::string protocol;  // "tcp", "udp" or "sctp"
  uint16_t port = 0;
  std::string cluster_ip;                  // "" where the Service may not have the one it names
  std::vector<std::string> external_ips;   // spec.externalIPs
  std::vector<std::string> balancer_ips;   // status.loadBalancer, ipMode VIP
  std::vector<std::string> source_ranges;  // spec.loadBalancerSourceRanges
  bool sources_limited = false;            // false: all may come; true without a range: nobody may
  uint16_t node_port = 0;
  int affinity_seconds = 0;     // 0 = no ClientIP affinity
  bool external_local = false;  // externalTrafficPolicy: Local
  bool internal_local = false;  // internalTrafficPolicy: Local
  // Usable endpoints, sorted: ready ones, or (when no ready one is left) serving ones that terminate.
  std::vector<Backend> cluster;  // anywhere; empty where no policy of the service uses it
  std::vector<Backend> local;    // on this node; filled where a policy is Local
  bool operator==(const ServiceRule&) const = default;

  const std::vector<Backend>& Internal() const { return internal_local ? local : cluster; }
  const std::vector<Backend>& External() const { return external_local ? local : cluster; }
  bool reachable_from_outside() const { return node_port != 0 || !external_ips.empty() || !balancer_ips.empty(); }
};

using RuleTable = std::map<ServicePortName, ServiceRule>;

struct NodeView {
  std::string name;  // of this node: endpoints with it are local
};

using Service = k8s::io::api::core::v1::Service;
using EndpointSlice = k8s::io::api::discovery::v1::EndpointSlice;

// The slices of one Service, any order.
using SlicesByService = std::map<std::string, std::vector<std::shared_ptr<const EndpointSlice>>, std::less<>>;

struct ServiceName {
  std::string namespace_name, name;
};

// What one Service asks for in one family, before it is known who else wants the same addresses (ruleset.h).
struct ServiceRules {
  int64_t created_seconds = 0;  // of the Service: the older one keeps what two want
  RuleTable ports;
  // Sentences about what was left out because it cannot be what it says it is.
  std::vector<std::string> problems;
  bool operator==(const ServiceRules&) const = default;
};

// Headless services, ExternalName and those proxied by another (label service.kubernetes.io/service-proxy-name) have no
// rules; null has none. Objects are taken as anybody could have written them into the store: what is no address, port,
// protocol or range is left out and told in `problems`, the rest is served.
ServiceRules MakeRules(const ServiceName& name, const Service* service,
                       const std::vector<std::shared_ptr<const EndpointSlice>>& slices, Family family,
                       const NodeView& node);

// The service's name in a slice's label kubernetes.io/service-name, as "namespace/name"; "" when it has none or is
// headless.
std::string ServiceKeyOf(const EndpointSlice& slice);

}  // namespace proxy
