#include "proxy/conntrack.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netlink/addr.h>
#include <netlink/netfilter/ct.h>
#include <netlink/netlink.h>

#include <algorithm>
#include <memory>
#include <set>

namespace proxy {
namespace {

std::string Text(nl_addr* address) {
  if (!address) return {};
  char buffer[INET6_ADDRSTRLEN + 1] = {};
  if (!inet_ntop(nl_addr_get_family(address), nl_addr_get_binary_addr(address), buffer, sizeof buffer)) return {};
  return buffer;
}

}  // namespace

base::Status ForgetStaleFlows(const RuleTable& table, Family family) {
  // Where a flow may lead, by the address and port it was sent to.
  std::map<std::pair<std::string, uint16_t>, const ServiceRule*> services;
  std::map<uint16_t, const ServiceRule*> node_ports;
  for (const auto& [name, rule] : table) {
    if (rule.protocol != "udp") continue;
    if (!rule.cluster_ip.empty()) services[{rule.cluster_ip, rule.port}] = &rule;
    for (const auto* ips : {&rule.external_ips, &rule.balancer_ips})
      for (const auto& ip : *ips) services[{ip, rule.port}] = &rule;
    if (rule.node_port) node_ports[rule.node_port] = &rule;
  }
  if (services.empty()) return base::Ok();

  std::unique_ptr<nl_sock, decltype(&nl_socket_free)> socket(nl_socket_alloc(), nl_socket_free);
  if (!socket) return base::ResourceExhausted("cannot open netlink");
  if (nl_connect(socket.get(), NETLINK_NETFILTER) < 0) return base::Ok();
  nl_cache* raw = nullptr;
  if (nfnl_ct_alloc_cache(socket.get(), &raw) < 0) return base::Ok();
  std::unique_ptr<nl_cache, decltype(&nl_cache_free)> flows(raw, nl_cache_free);
  int wanted_family = family == Family::kIPv4 ? AF_INET : AF_INET6;
  for (nl_object* o = nl_cache_get_first(flows.get()); o; o = nl_cache_get_next(o)) {
    auto* flow = reinterpret_cast<nfnl_ct*>(o);
    if (nfnl_ct_get_family(flow) != wanted_family || nfnl_ct_get_proto(flow) != IPPROTO_UDP) continue;
    std::string destination = Text(nfnl_ct_get_dst(flow, 0));
    uint16_t port = nfnl_ct_get_dst_port(flow, 0);
    const ServiceRule* rule = nullptr;
    if (auto s = services.find({destination, port}); s != services.end()) {
      rule = s->second;
    } else if (auto n = node_ports.find(port); n != node_ports.end()) {
      // A reply from the very address it was sent to was never translated: some other program's port.
      if (Text(nfnl_ct_get_src(flow, 1)) != destination) rule = n->second;
    }
    if (!rule) continue;
    Backend leads_to{Text(nfnl_ct_get_src(flow, 1)), nfnl_ct_get_src_port(flow, 1)};
    auto has = [&](const std::vector<Backend>& list) { return std::ranges::find(list, leads_to) != list.end(); };
    if (has(rule->cluster) || has(rule->local)) continue;
    nfnl_ct_del(socket.get(), flow, 0);
  }
  return base::Ok();
}

}  // namespace proxy
