#include "proxy/rules.h"

#include <algorithm>
#include <cctype>

#include "proto/k8s/core/v1/service.pb.h"
#include "proto/k8s/discovery/v1/endpointslice.pb.h"

namespace proxy {
namespace {

bool IsFamily(const std::string& ip, Family family) {
  bool six = ip.find(':') != std::string::npos;
  return six == (family == Family::kIPv6);
}

std::vector<std::string> OfFamily(const auto& ips, Family family) {
  std::vector<std::string> out;
  for (const auto& ip : ips)
    if (IsFamily(ip, family)) out.push_back(ip);
  return out;
}

std::string Lower(std::string s) {
  std::ranges::transform(s, s.begin(), [](unsigned char c) { return std::tolower(c); });
  return s;
}

bool HasRules(const Service& service) {
  const auto& spec = service.spec();
  if (spec.type() == "ExternalName" || spec.clusterip().empty() || spec.clusterip() == "None") return false;
  return !service.metadata().labels().contains("service.kubernetes.io/service-proxy-name");
}

std::string ClusterIpOf(const Service& service, Family family) {
  for (const auto& ip : service.spec().clusterips())
    if (IsFamily(ip, family)) return ip;
  return IsFamily(service.spec().clusterip(), family) ? service.spec().clusterip() : "";
}

// Endpoints of one named port, before the choice between ready and terminating ones.
struct Candidates {
  std::set<Backend> ready, terminating;
  std::vector<Backend> Usable() const {
    const auto& chosen = ready.empty() ? terminating : ready;
    return {chosen.begin(), chosen.end()};
  }
};

struct PortEndpoints {
  Candidates all, local;
};

// KEP-2086 and KEP-1669: `ready` unset counts as ready; serving && terminating endpoints are the fallback.
void Collect(const EndpointSlice& slice, const NodeView& node, std::map<std::string, PortEndpoints>& out) {
  for (const auto& port : slice.ports()) {
    if (!port.has_port() || port.port() <= 0) continue;
    std::string key = Lower(port.protocol().empty() ? "TCP" : port.protocol()) + "/" + port.name();
    PortEndpoints& endpoints = out[key];
    for (const auto& endpoint : slice.endpoints()) {
      if (endpoint.addresses().empty()) continue;
      const auto& conditions = endpoint.conditions();
      bool ready = !conditions.has_ready() || conditions.ready();
      bool serving = conditions.has_serving() ? conditions.serving() : ready;
      bool terminating = conditions.terminating();
      if (!ready && !(serving && terminating)) continue;
      Backend backend{endpoint.addresses(0), static_cast<uint16_t>(port.port())};
      auto add = [&](Candidates& c) { (ready ? c.ready : c.terminating).insert(backend); };
      add(endpoints.all);
      if (endpoint.nodename() == node.name) add(endpoints.local);
    }
  }
}

void EraseService(RuleTable& table, const std::string& namespace_name, const std::string& name) {
  auto it = table.lower_bound(ServicePortName{namespace_name, name, "", ""});
  while (it != table.end() && it->first.namespace_name == namespace_name && it->first.name == name)
    it = table.erase(it);
}

}  // namespace

std::string ServicePortName::ToString() const { return namespace_name + "/" + name + (port.empty() ? "" : ":" + port); }

std::string ServiceKeyOf(const EndpointSlice& slice) {
  const auto& labels = slice.metadata().labels();
  auto name = labels.find("kubernetes.io/service-name");
  if (name == labels.end() || name->second.empty() || labels.contains("service.kubernetes.io/headless")) return {};
  return slice.metadata().namespace_() + "/" + name->second;
}

void UpdateService(RuleTable& table, const std::string& namespace_name, const std::string& name, const Service* service,
                   const std::vector<std::shared_ptr<const EndpointSlice>>& slices, Family family,
                   const NodeView& node) {
  EraseService(table, namespace_name, name);
  if (!service || !HasRules(*service)) return;
  std::string cluster_ip = ClusterIpOf(*service, family);
  if (cluster_ip.empty()) return;

  std::map<std::string, PortEndpoints> endpoints;
  std::string_view wanted = family == Family::kIPv4 ? "IPv4" : "IPv6";
  for (const auto& slice : slices)
    if (slice->addresstype() == wanted) Collect(*slice, node, endpoints);

  const auto& spec = service->spec();
  for (const auto& port : spec.ports()) {
    ServiceRule rule;
    rule.protocol = Lower(port.protocol().empty() ? "TCP" : port.protocol());
    rule.port = static_cast<uint16_t>(port.port());
    rule.cluster_ip = cluster_ip;
    rule.external_ips = OfFamily(spec.externalips(), family);
    for (const auto& ingress : service->status().loadbalancer().ingress())
      if (!ingress.ip().empty() && IsFamily(ingress.ip(), family) &&
          (!ingress.has_ipmode() || ingress.ipmode() == "VIP"))
        rule.balancer_ips.push_back(ingress.ip());
    if (!rule.balancer_ips.empty()) rule.source_ranges = OfFamily(spec.loadbalancersourceranges(), family);
    rule.node_port = static_cast<uint16_t>(port.nodeport());
    if (spec.sessionaffinity() == "ClientIP") {
      const auto& client = spec.sessionaffinityconfig().clientip();
      rule.affinity_seconds = client.has_timeoutseconds() ? client.timeoutseconds() : 10800;
    }
    rule.external_local = spec.externaltrafficpolicy() == "Local" && rule.reachable_from_outside();
    rule.internal_local = spec.internaltrafficpolicy() == "Local";
    const PortEndpoints& found = endpoints[rule.protocol + "/" + port.name()];
    rule.cluster = found.all.Usable();
    if (rule.external_local || rule.internal_local) rule.local = found.local.Usable();
    table.emplace(ServicePortName{namespace_name, name, port.name(), rule.protocol}, std::move(rule));
  }
}

}  // namespace proxy
