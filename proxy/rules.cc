#include "proxy/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <set>

#include "base/strings.h"
#include "proto/k8s/core/v1/service.pb.h"
#include "proto/k8s/discovery/v1/endpointslice.pb.h"

namespace proxy {
namespace {

bool HasRules(const Service& service) {
  const auto& spec = service.spec();
  if (spec.type() == "ExternalName" || spec.clusterip().empty() || spec.clusterip() == "None") return false;
  return !service.metadata().labels().contains("service.kubernetes.io/service-proxy-name");
}

constexpr size_t kMaxProblems = 16;         // of one Service; more tell nobody more
constexpr int kMaxAffinitySeconds = 86400;  // spec.sessionAffinityConfig.clientIP.timeoutSeconds

bool IsPort(int64_t port) { return port >= 1 && port <= 65535; }

bool IsProtocol(const std::string& lower) { return lower == "tcp" || lower == "udp" || lower == "sctp"; }

// Reads addresses of one family and remembers those that are none.
class Reader {
 public:
  Reader(Family family, std::vector<std::string>& problems) : family_(family), problems_(problems) {}

  // Canonical; "" for one of the other family or one that is no address packets can be sent to.
  std::string Address(std::string_view what, const std::string& text) const {
    auto ip = machinery::object::ParseIp(text);
    if (!ip) {
      Tell(fmt::format("{} {} is not an IP address", what, Shown(text)));
    } else if (FamilyOf(*ip) != family_) {
      return {};
    } else if (!IsRoutable(*ip)) {
      Tell(fmt::format("{} {} is not an address that can be used here", what, ip->ToString()));
    } else {
      return ip->ToString();
    }
    return {};
  }
  void Tell(std::string problem) const {
    if (problems_.size() < kMaxProblems && std::ranges::find(problems_, problem) == problems_.end())
      problems_.push_back(std::move(problem));
  }
  Family family() const { return family_; }

 private:
  Family family_;
  std::vector<std::string>& problems_;
};

void AddOnce(std::vector<std::string>& list, std::string address) {
  if (!address.empty() && std::ranges::find(list, address) == list.end()) list.push_back(std::move(address));
}

std::string ClusterIpOf(const Service& service, const Reader& reader) {
  for (const auto& text : service.spec().clusterips())
    if (std::string ip = reader.Address("cluster IP", text); !ip.empty()) return ip;
  return reader.Address("cluster IP", service.spec().clusterip());
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
void Collect(const EndpointSlice& slice, const NodeView& node, const Reader& reader,
             std::map<std::string, PortEndpoints>& out) {
  std::vector<std::string> addresses;
  for (const auto& endpoint : slice.endpoints())
    addresses.push_back(endpoint.addresses().empty() ? "" : reader.Address("endpoint", endpoint.addresses(0)));
  for (const auto& port : slice.ports()) {
    if (!port.has_port()) continue;
    if (!IsPort(port.port())) {
      reader.Tell(fmt::format("endpoint port {} is not a port", port.port()));
      continue;
    }
    std::string key = base::Lower(port.protocol().empty() ? "TCP" : port.protocol()) + "/" + port.name();
    PortEndpoints& endpoints = out[key];
    for (int i = 0; i < slice.endpoints_size(); ++i) {
      if (addresses[i].empty()) continue;
      const auto& endpoint = slice.endpoints(i);
      const auto& conditions = endpoint.conditions();
      bool ready = !conditions.has_ready() || conditions.ready();
      bool serving = conditions.has_serving() ? conditions.serving() : ready;
      bool terminating = conditions.terminating();
      if (!ready && !(serving && terminating)) continue;
      Backend backend{addresses[i], static_cast<uint16_t>(port.port())};
      auto add = [&](Candidates& c) { (ready ? c.ready : c.terminating).insert(backend); };
      add(endpoints.all);
      if (endpoint.nodename() == node.name) add(endpoints.local);
    }
  }
}

// What all ports of a Service have in common.
ServiceRule CommonRule(const Service& service, const Reader& reader) {
  ServiceRule rule;
  const auto& spec = service.spec();
  rule.cluster_ip = ClusterIpOf(service, reader);
  for (const auto& text : spec.externalips()) AddOnce(rule.external_ips, reader.Address("external IP", text));
  for (const auto& ingress : service.status().loadbalancer().ingress())
    if (!ingress.ip().empty() && (!ingress.has_ipmode() || ingress.ipmode() == "VIP"))
      AddOnce(rule.balancer_ips, reader.Address("load balancer IP", ingress.ip()));
  Ranges ranges =
      ParseRanges({spec.loadbalancersourceranges().begin(), spec.loadbalancersourceranges().end()}, reader.family());
  for (const auto& text : ranges.bad)
    reader.Tell(fmt::format("load balancer source range {} is not a range of addresses", Shown(text)));
  // A text that is no range was meant as a limit: without a good one beside it nobody is let in.
  rule.sources_limited =
      !rule.balancer_ips.empty() && !ranges.everything() && !(ranges.cidrs.empty() && ranges.bad.empty());
  if (rule.sources_limited) rule.source_ranges = std::move(ranges.cidrs);
  if (spec.sessionaffinity() == "ClientIP") {
    const auto& client = spec.sessionaffinityconfig().clientip();
    rule.affinity_seconds = client.has_timeoutseconds() ? client.timeoutseconds() : 10800;
    if (rule.affinity_seconds < 1 || rule.affinity_seconds > kMaxAffinitySeconds) {
      reader.Tell(fmt::format("session affinity of {} seconds is not possible", rule.affinity_seconds));
      rule.affinity_seconds = std::clamp(rule.affinity_seconds, 1, kMaxAffinitySeconds);
    }
  }
  rule.internal_local = spec.internaltrafficpolicy() == "Local";
  return rule;
}

// False where the port cannot be one.
bool SetPort(ServiceRule& rule, const k8s::io::api::core::v1::ServicePort& port, const Reader& reader) {
  rule.protocol = base::Lower(port.protocol().empty() ? "TCP" : port.protocol());
  if (!IsProtocol(rule.protocol)) {
    reader.Tell(fmt::format("protocol {} is not known", Shown(port.protocol())));
    return false;
  }
  if (!IsPort(port.port())) {
    reader.Tell(fmt::format("port {} is not a port", port.port()));
    return false;
  }
  rule.port = static_cast<uint16_t>(port.port());
  if (port.nodeport() != 0 && !IsPort(port.nodeport())) {
    reader.Tell(fmt::format("node port {} is not a port", port.nodeport()));
  } else {
    rule.node_port = static_cast<uint16_t>(port.nodeport());
  }
  return true;
}

}  // namespace

std::string ServicePortName::ToString() const { return namespace_name + "/" + name + (port.empty() ? "" : ":" + port); }

std::string ServiceKeyOf(const EndpointSlice& slice) {
  const auto& labels = slice.metadata().labels();
  auto name = labels.find("kubernetes.io/service-name");
  if (name == labels.end() || name->second.empty() || labels.contains("service.kubernetes.io/headless")) return {};
  return slice.metadata().namespace_() + "/" + name->second;
}

ServiceRules MakeRules(const ServiceName& name, const Service* service,
                       const std::vector<std::shared_ptr<const EndpointSlice>>& slices, Family family,
                       const NodeView& node) {
  ServiceRules out;
  if (!service || !HasRules(*service)) return out;
  Reader reader(family, out.problems);
  ServiceRule common = CommonRule(*service, reader);
  if (common.cluster_ip.empty()) return out;
  // One that nobody stamped comes after all that the server stamped.
  int64_t created = service->metadata().creationtimestamp().seconds();
  out.created_seconds = created > 0 ? created : std::numeric_limits<int64_t>::max();

  std::map<std::string, PortEndpoints> endpoints;
  std::string_view wanted = family == Family::kIPv4 ? "IPv4" : "IPv6";
  for (const auto& slice : slices)
    if (slice->addresstype() == wanted) Collect(*slice, node, reader, endpoints);

  for (const auto& port : service->spec().ports()) {
    ServiceRule rule = common;
    if (!SetPort(rule, port, reader)) continue;
    rule.external_local = service->spec().externaltrafficpolicy() == "Local" && rule.reachable_from_outside();
    const PortEndpoints& found = endpoints[rule.protocol + "/" + port.name()];
    rule.cluster = found.all.Usable();
    if (rule.external_local || rule.internal_local) rule.local = found.local.Usable();
    ServicePortName key{name.namespace_name, name.name, port.name(), rule.protocol};
    if (!out.ports.emplace(std::move(key), std::move(rule)).second)
      reader.Tell(fmt::format("port name {} is used twice", Shown(port.name())));
  }
  return out;
}

}  // namespace proxy
