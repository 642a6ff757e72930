// Who gets an address: the rules of all Services together. An address and port leads to one Service only, and which one
// follows from what is there, not from the order in which it was told: what the cluster itself serves on a node's
// address comes first, then ClusterIPs (whole addresses), node ports, load balancer addresses, external IPs; among
// equal claims the older Service, then the name. When the owner goes, the next one gets it. Pure; one strand; one per
// family.
#pragma once

#include <compare>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "proxy/rules.h"

namespace proxy {

// `ip` is "" for a node port on every address of the node.
struct Destination {
  std::string ip, protocol;
  uint16_t port = 0;
  auto operator<=>(const Destination&) const = default;
};

// What the node is, for the question whom its addresses belong to.
struct NodeAddresses {
  std::vector<std::string> ips;        // canonical, of the family
  std::vector<std::string> pod_cidrs;  // of the whole cluster: no Service has an address there
};

class Ruleset {
 public:
  explicit Ruleset(NodeAddresses node) : node_(std::move(node)) {}

  // Replaces what the Service asked for; gives the names of all service ports, of it and of others, whose rule is
  // another one now.
  std::set<ServicePortName> Update(const ServiceName& name, ServiceRules rules);
  // Destinations that `owner` (a word, not a Service) serves itself: the API servers, the kubelet.
  std::set<ServicePortName> Reserve(const std::string& owner, std::set<Destination> destinations);

  // The rules to write: only addresses that the Service may have.
  const RuleTable& table() const { return table_; }
  // Why something the Service asked for has no effect; what MakeRules told comes first.
  std::vector<std::string> Problems(const ServiceName& name) const;

 private:
  enum class Kind { kReserved, kClusterIp, kNodePort, kBalancer, kExternal };
  struct Claim {
    Kind kind;
    int64_t created_seconds = 0;
    ServicePortName name;
    auto operator<=>(const Claim&) const = default;
  };
  struct Resolved {
    ServiceRule rule;
    std::vector<std::string> problems;
  };
  using Claims = std::set<std::pair<Destination, Claim>>;
  using ServiceKey = std::pair<std::string, std::string>;

  Claims ClaimsOf(const ServiceRules& rules) const;
  void Replace(const Claims& old, const Claims& next, std::set<ServicePortName>& touched);
  std::set<ServicePortName> Settle(const std::set<ServicePortName>& touched);
  Resolved Resolve(const ServicePortName& name, const ServiceRule& rule) const;
  bool Owns(const Destination& at, Kind kind, const ServicePortName& name) const;
  std::string Refusal(const std::string& ip, Kind kind, const ServicePortName& name, const ServiceRule& rule) const;

  NodeAddresses node_;
  std::map<ServiceKey, ServiceRules> services_;
  std::map<std::string, Claims> reserved_;
  std::map<Destination, std::set<Claim>> claims_;
  RuleTable table_;
};

}  // namespace proxy
