#include "proxy/ruleset.h"

#include <fmt/format.h>

#include <algorithm>

namespace proxy {
namespace {

constexpr size_t kEnoughProblems = 16;

bool Contains(const std::vector<std::string>& list, const std::string& text) {
  return std::ranges::find(list, text) != list.end();
}

// A ClusterIP is owned as a whole: its claims stand at this port as well.
Destination WholeAddress(const std::string& ip) { return {ip, "", 0}; }

bool SameService(const ServicePortName& a, const ServicePortName& b) {
  return a.namespace_name == b.namespace_name && a.name == b.name;
}

}  // namespace

Ruleset::Claims Ruleset::ClaimsOf(const ServiceRules& rules) const {
  Claims out;
  for (const auto& [name, rule] : rules.ports) {
    auto claim = [&](const std::string& ip, uint16_t port, Kind kind) {
      out.insert({Destination{ip, rule.protocol, port}, Claim{kind, rules.created_seconds, name}});
    };
    if (!Contains(node_.ips, rule.cluster_ip)) {  // else it is not to be had, and must not keep others away
      claim(rule.cluster_ip, rule.port, Kind::kClusterIp);
      out.insert({WholeAddress(rule.cluster_ip),
                  Claim{Kind::kClusterIp, rules.created_seconds, {name.namespace_name, name.name, "", ""}}});
    }
    for (const auto& ip : rule.balancer_ips) claim(ip, rule.port, Kind::kBalancer);
    for (const auto& ip : rule.external_ips) claim(ip, rule.port, Kind::kExternal);
    if (rule.node_port == 0) continue;
    claim("", rule.node_port, Kind::kNodePort);
    for (const auto& ip : node_.ips) claim(ip, rule.node_port, Kind::kNodePort);
  }
  return out;
}

// Everybody who has to do with a destination whose claims change is touched; for a whole address, whoever claims any
// port of it.
void Ruleset::Replace(const Claims& old, const Claims& next, std::set<ServicePortName>& touched) {
  std::vector<std::pair<Destination, Claim>> gone, come;
  std::ranges::set_difference(old, next, std::back_inserter(gone));
  std::ranges::set_difference(next, old, std::back_inserter(come));
  auto touch = [&](const Destination& at) {
    bool whole = at.protocol.empty();
    for (auto it = claims_.lower_bound(at); it != claims_.end() && (whole ? it->first.ip == at.ip : it->first == at);
         ++it)
      for (const auto& claim : it->second) touched.insert(claim.name);
  };
  for (const auto& [at, claim] : gone) {
    touch(at);
    auto found = claims_.find(at);
    found->second.erase(claim);
    if (found->second.empty()) claims_.erase(found);
  }
  for (const auto& [at, claim] : come) claims_[at].insert(claim);
  for (const auto& [at, claim] : come) touch(at);
}

std::set<ServicePortName> Ruleset::Settle(const std::set<ServicePortName>& touched) {
  std::set<ServicePortName> changed;
  for (const auto& name : touched) {
    ServiceRule next;
    if (auto service = services_.find({name.namespace_name, name.name}); service != services_.end())
      if (auto port = service->second.ports.find(name); port != service->second.ports.end())
        next = Resolve(name, port->second).rule;
    bool wanted = !next.cluster_ip.empty() || next.reachable_from_outside();
    auto present = table_.find(name);
    if (!wanted) {
      if (present == table_.end()) continue;
      table_.erase(present);
    } else if (present == table_.end()) {
      table_.emplace(name, std::move(next));
    } else if (present->second == next) {
      continue;
    } else {
      present->second = std::move(next);
    }
    changed.insert(name);
  }
  return changed;
}

std::set<ServicePortName> Ruleset::Update(const ServiceName& name, ServiceRules rules) {
  ServiceKey key{name.namespace_name, name.name};
  auto found = services_.find(key);
  if (found == services_.end()) found = services_.emplace(key, ServiceRules{}).first;
  if (found->second == rules) {
    if (rules == ServiceRules{}) services_.erase(found);
    return {};
  }
  std::set<ServicePortName> touched;
  for (const auto& [port, rule] : found->second.ports) touched.insert(port);
  for (const auto& [port, rule] : rules.ports) touched.insert(port);
  // A change of endpoints, the usual one, changes no claim.
  Claims before = ClaimsOf(found->second), after = ClaimsOf(rules);
  found->second = std::move(rules);
  if (found->second == ServiceRules{}) services_.erase(found);
  Replace(before, after, touched);
  return Settle(touched);
}

std::set<ServicePortName> Ruleset::Reserve(const std::string& owner, std::set<Destination> destinations) {
  Claims next;
  for (const auto& at : destinations) next.insert({at, Claim{Kind::kReserved, 0, {"", owner, "", ""}}});
  std::set<ServicePortName> touched;
  Replace(reserved_[owner], next, touched);
  reserved_[owner] = std::move(next);
  return Settle(touched);
}

bool Ruleset::Owns(const Destination& at, Kind kind, const ServicePortName& name) const {
  auto found = claims_.find(at);
  if (found == claims_.end()) return false;
  const Claim& first = *found->second.begin();
  return first.kind == kind && first.name == name;
}

// Why a load balancer or external address is not for this service port; "" when it is, " " when nothing is to be said.
std::string Ruleset::Refusal(const std::string& ip, Kind kind, const ServicePortName& name,
                             const ServiceRule& rule) const {
  if (ip == rule.cluster_ip) return " ";
  if (auto whole = claims_.find(WholeAddress(ip)); whole != claims_.end())
    for (const auto& claim : whole->second)
      if (!SameService(claim.name, name)) return "is the cluster IP of another Service";
  if (Covers(node_.pod_cidrs, ip)) return "is an address of pods";
  Destination at{ip, rule.protocol, rule.port};
  if (Owns(at, kind, name)) return {};
  const Claim& owner = *claims_.at(at).begin();
  if (SameService(owner.name, name)) return " ";
  switch (owner.kind) {
    case Kind::kReserved:
      return fmt::format("with port {} is served by the cluster itself", rule.port);
    case Kind::kNodePort:
      return fmt::format("with port {} is the node port of another Service", rule.port);
    default:
      return fmt::format("with port {} belongs to another Service", rule.port);
  }
}

Ruleset::Resolved Ruleset::Resolve(const ServicePortName& name, const ServiceRule& wanted) const {
  Resolved out{wanted, {}};
  ServiceRule& rule = out.rule;
  auto tell = [&](std::string_view what, const std::string& ip, const std::string& why) {
    if (why != " ") out.problems.push_back(fmt::format("{} {} {}", what, ip, why));
  };
  if (Contains(node_.ips, rule.cluster_ip)) {
    tell("cluster IP", rule.cluster_ip, "is an address of a node");
    rule.cluster_ip.clear();
  } else if (!Owns({rule.cluster_ip, rule.protocol, rule.port}, Kind::kClusterIp, name)) {
    tell("cluster IP", rule.cluster_ip, fmt::format("with port {} belongs to another Service", rule.port));
    rule.cluster_ip.clear();
  }
  auto keep = [&](std::vector<std::string>& ips, Kind kind, std::string_view what) {
    std::erase_if(ips, [&](const std::string& ip) {
      std::string why = Refusal(ip, kind, name, wanted);
      if (!why.empty()) tell(what, ip, why);
      return !why.empty();
    });
  };
  keep(rule.balancer_ips, Kind::kBalancer, "load balancer IP");
  keep(rule.external_ips, Kind::kExternal, "external IP");
  if (rule.node_port != 0 && !Owns({"", rule.protocol, rule.node_port}, Kind::kNodePort, name)) {
    out.problems.push_back(fmt::format("node port {} belongs to another Service", rule.node_port));
    rule.node_port = 0;
  }
  return out;
}

std::vector<std::string> Ruleset::Problems(const ServiceName& name) const {
  auto service = services_.find({name.namespace_name, name.name});
  if (service == services_.end()) return {};
  std::vector<std::string> out = service->second.problems;
  for (const auto& [port, rule] : service->second.ports) {
    if (out.size() >= kEnoughProblems) break;
    for (auto& problem : Resolve(port, rule).problems)
      if (!Contains(out, problem)) out.push_back(std::move(problem));
  }
  return out;
}

}  // namespace proxy
