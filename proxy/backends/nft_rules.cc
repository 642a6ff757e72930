// helper: the nftables back end's pure half.
#include "proxy/backends/nft_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"

namespace proxy::backends {
namespace {

// Base32 of the SHA-256, eight characters: keeps names apart whose readable part had to be cut.
std::string ShortHash(std::string_view text) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string digest = base::Sha256(text);
  std::string out;
  uint64_t bits = base::GetBigEndian64(digest.data());
  for (int i = 0; i < 8; ++i) out.push_back(kAlphabet[(bits >> (59 - 5 * i)) & 31]);
  return out;
}

// nft names: letters, digits, / \ _ . and -, at most 255 bytes; 240 leave room for the kind's prefix. The names of
// Services and ports come from users: what is no such character becomes _, the hash keeps the names apart.
std::string NftName(std::string_view kind, const std::string& id) {
  std::string out = fmt::format("{}-{}-{}", kind, ShortHash(id), id);
  for (char& c : out) {
    bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (c == ':') c = '.';
    if (!fine && std::string_view("/_.-").find(c) == std::string_view::npos) c = '_';
  }
  if (out.size() > 240) out.resize(240);
  return out;
}

std::string Id(const ServicePortName& n) {
  return fmt::format("{}/{}/{}/{}", n.namespace_name, n.name, n.protocol, n.port);
}

std::string EndpointText(const Backend& b) {
  return b.ip.find(':') == std::string::npos ? fmt::format("{}:{}", b.ip, b.port)
                                             : fmt::format("[{}]:{}", b.ip, b.port);
}

}  // namespace

std::string RuleMark(const std::string& rule) { return "r:" + ShortHash(rule); }

NftRules::NftRules(const BackendOptions& options) : options_(options) {
  ip_ = options.family == Family::kIPv4 ? "ip" : "ip6";
  table_name_ = ip_ + " kube-proxy";
  mark_ = fmt::format("{:#010x}", 1u << options.masquerade_bit);
  auto& c = base_chains_;
  c["mark-for-masquerade"] = {fmt::format("meta mark set meta mark | {}", mark_)};
  c["nodeport-endpoints-check"] = {
      fmt::format("{} daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports", ip_)};
  c["service-endpoints-check"] = {fmt::format("{} daddr . meta l4proto . th dport vmap @no-endpoint-services", ip_)};
  c["firewall-check"] = {fmt::format("{} daddr . meta l4proto . th dport vmap @firewall-ips", ip_)};
  auto& services = c["services"];
  if (options.masquerade_all) {
    services.push_back(fmt::format("{} daddr @cluster-ips jump mark-for-masquerade", ip_));
  } else if (!options.cluster_cidr.empty()) {
    services.push_back(
        fmt::format("{} daddr @cluster-ips {} saddr != {} jump mark-for-masquerade", ip_, ip_, options.cluster_cidr));
  }
  services.push_back(fmt::format("{} daddr . meta l4proto . th dport vmap @service-ips", ip_));
  services.push_back(fmt::format("{} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports", ip_));
  c["masquerading"] = {
      fmt::format("meta mark & {0} != 0 meta mark set meta mark ^ {0} masquerade fully-random", mark_),
      fmt::format("ct status dnat {0} saddr . {0} daddr . meta l4proto . th dport @hairpin-connections masquerade "
                  "fully-random",
                  ip_)};
  SetServiceCidrs({});
  c["reject-chain"] = {"reject"};
  c["filter-prerouting-pre-dnat"] = {"ct state new jump firewall-check"};
  c["filter-output-pre-dnat"] = {"ct state new jump firewall-check"};
  c["filter-input"] = {"ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"};
  c["filter-forward"] = {"ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"};
  c["filter-output"] = {"ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"};
  c["nat-prerouting"] = {"jump services"};
  c["nat-output"] = {"jump services"};
  c["nat-postrouting"] = {"jump masquerading"};
}

// Traffic to a ClusterIP that no rule took: a port the Service does not have is refused, an address nobody has silent.
void NftRules::SetServiceCidrs(const std::vector<std::string>& cidrs) {
  auto& unused = base_chains_["cluster-ips-check"];
  unused = {fmt::format("{} daddr @cluster-ips reject", ip_)};
  if (!cidrs.empty()) unused.push_back(fmt::format("{} daddr {{ {} }} drop", ip_, base::Join(cidrs, ", ")));
}

std::string NftRules::Skeleton() const {
  static const std::map<std::string, std::string> kHooks = {
      {"filter-prerouting-pre-dnat", "filter hook prerouting priority -110"},
      {"filter-output-pre-dnat", "filter hook output priority -110"},
      {"filter-input", "filter hook input priority 0"},
      {"filter-forward", "filter hook forward priority 0"},
      {"filter-output", "filter hook output priority 0"},
      {"nat-prerouting", "nat hook prerouting priority -100"},
      {"nat-output", "nat hook output priority -100"},
      {"nat-postrouting", "nat hook postrouting priority 100"}};
  const std::string& t = table_name_;
  std::string address = ip_ == "ip" ? "ipv4_addr" : "ipv6_addr";
  // Adding first makes the deletion safe when there is no table yet.
  std::string out =
      fmt::format("add table {0}\ndelete table {0}\nadd table {0} {{ comment \"rules for kube-proxy\"; }}\n", t);
  auto set = [&](std::string_view name, const std::string& type, std::string_view what) {
    out += fmt::format("add set {} {} {{ type {}; comment \"{}\"; }}\n", t, name, type, what);
  };
  auto map = [&](std::string_view name, const std::string& type, std::string_view what) {
    out += fmt::format("add map {} {} {{ type {} : verdict; comment \"{}\"; }}\n", t, name, type, what);
  };
  std::string destination = address + " . inet_proto . inet_service";
  set("cluster-ips", address, "Active ClusterIPs");
  set("nodeport-ips", address, "IPs that accept NodePort traffic");
  set("hairpin-connections", address + " . " + destination, "endpoints that reach themselves through a Service");
  map("no-endpoint-services", destination, "Services that have no endpoint to send to");
  map("no-endpoint-nodeports", "inet_proto . inet_service", "NodePorts that have no endpoint to send to");
  map("firewall-ips", destination, "load balancer addresses that admit some sources only");
  map("service-ips", destination, "addresses of Services");
  map("service-nodeports", "inet_proto . inet_service", "NodePorts of Services");
  for (const auto& [name, rules] : base_chains_) {
    auto hook = kHooks.find(name);
    out += fmt::format("add chain {} {}{}\n", t, name,
                       hook == kHooks.end() ? "" : fmt::format(" {{ type {}; }}", hook->second));
  }
  for (const auto& [name, rules] : base_chains_)
    for (const auto& rule : rules)
      out += fmt::format("add rule {} {} {} comment \"{}\"\n", t, name, rule, RuleMark(name + rule));
  if (!options_.node_port_ips.empty())
    out += fmt::format("add element {} nodeport-ips {{ {} }}\n", t, base::Join(options_.node_port_ips, ", "));
  return out;
}

// A chain that sends the packet to one of `backends`; kind "service" or "local".
void NftRules::AddPolicyChain(Fragment& f, const ServiceRule& rule, const std::string& kind, const std::string& id,
                              const std::vector<Backend>& backends) const {
  std::string chain = NftName(kind, id);
  auto& rules = f.chains[chain];
  if (!rules.empty()) return;
  if (rule.affinity_seconds == 0) {
    std::vector<std::string> targets;
    for (size_t i = 0; i < backends.size(); ++i)
      targets.push_back(fmt::format("{} : {} . {}", i, backends[i].ip, backends[i].port));
    rules.push_back(fmt::format("meta l4proto {} dnat {} to numgen random mod {} map {{ {} }}", rule.protocol,
                                ip_ == "ip" ? "ip addr . port" : "ip6 addr . port", backends.size(),
                                base::Join(targets, ", ")));
    return;
  }
  std::vector<std::string> targets;
  for (size_t i = 0; i < backends.size(); ++i) {
    std::string endpoint_id = fmt::format("{}__{}/{}", id, backends[i].ip, backends[i].port);
    std::string endpoint_chain = NftName("endpoint", endpoint_id);
    // The timeout is part of the name: sets cannot change theirs.
    std::string affinity = NftName("affinity", fmt::format("{}__{}s", endpoint_id, rule.affinity_seconds));
    f.sets[affinity] = fmt::format("{{ type {}; size 65535; flags dynamic,timeout; timeout {}s; }}",
                                   ip_ == "ip" ? "ipv4_addr" : "ipv6_addr", rule.affinity_seconds);
    f.chains[endpoint_chain] = {fmt::format("update @{} {{ {} saddr }}", affinity, ip_),
                                fmt::format("meta l4proto {} dnat to {}", rule.protocol, EndpointText(backends[i]))};
    rules.push_back(fmt::format("{} saddr @{} goto {}", ip_, affinity, endpoint_chain));
    targets.push_back(fmt::format("{} : goto {}", i, endpoint_chain));
  }
  rules.push_back(fmt::format("numgen random mod {} vmap {{ {} }}", backends.size(), base::Join(targets, ", ")));
}

// NodePort, external and load balancer addresses share one chain: it masquerades where the answer would otherwise take
// another way back, and keeps the client's address with externalTrafficPolicy Local.
void NftRules::AddExternal(Fragment& f, const ServiceRule& rule, const std::string& id) const {
  std::string external = NftName("external", id);
  std::string cluster = NftName("service", id);
  auto& rules = f.chains[external];
  if (rule.external_local) {
    // The node's own traffic and that of its pods counts as internal: any endpoint will do.
    if (!rule.cluster.empty()) {
      if (!options_.cluster_cidr.empty())
        rules.push_back(fmt::format("{} saddr {} goto {}", ip_, options_.cluster_cidr, cluster));
      rules.push_back("fib saddr type local jump mark-for-masquerade");
      rules.push_back(fmt::format("fib saddr type local goto {}", cluster));
    }
    rules.push_back(fmt::format("goto {}", NftName("local", id)));
  } else {
    rules.push_back("jump mark-for-masquerade");
    rules.push_back(fmt::format("goto {}", cluster));
  }
}

Fragment NftRules::Render(const ServicePortName& name, const ServiceRule& rule) const {
  Fragment f;
  std::string id = Id(name);
  auto destination = [&](const std::string& ip) { return fmt::format("{} . {} . {}", ip, rule.protocol, rule.port); };
  if (!rule.cluster_ip.empty()) f.elements["cluster-ips"][rule.cluster_ip] = "";

  const auto& internal = rule.Internal();
  if (rule.cluster_ip.empty()) {
    // Another Service has it; what is left are the addresses outside.
  } else if (internal.empty()) {
    bool drop = rule.internal_local && !rule.cluster.empty();
    f.elements["no-endpoint-services"][destination(rule.cluster_ip)] = drop ? "drop" : "goto reject-chain";
  } else {
    std::string kind = rule.internal_local ? "local" : "service";
    AddPolicyChain(f, rule, kind, id, internal);
    f.elements["service-ips"][destination(rule.cluster_ip)] = "goto " + NftName(kind, id);
  }

  std::vector<std::string> outside = rule.external_ips;
  outside.insert(outside.end(), rule.balancer_ips.begin(), rule.balancer_ips.end());
  std::string node_port = fmt::format("{} . {}", rule.protocol, rule.node_port);
  const auto& external = rule.External();
  if (rule.reachable_from_outside()) {
    if (external.empty()) {
      // Local without a local endpoint is silent, so that load balancers try another node.
      std::string verdict = rule.external_local && !rule.cluster.empty() ? "drop" : "goto reject-chain";
      for (const auto& ip : outside) f.elements["no-endpoint-services"][destination(ip)] = verdict;
      if (rule.node_port != 0) f.elements["no-endpoint-nodeports"][node_port] = verdict;
    } else {
      if (!rule.cluster.empty()) AddPolicyChain(f, rule, "service", id, rule.cluster);
      if (rule.external_local) AddPolicyChain(f, rule, "local", id, rule.local);
      AddExternal(f, rule, id);
      std::string verdict = "goto " + NftName("external", id);
      for (const auto& ip : outside) f.elements["service-ips"][destination(ip)] = verdict;
      if (rule.node_port != 0) f.elements["service-nodeports"][node_port] = verdict;
    }
  }
  if (rule.sources_limited && !rule.balancer_ips.empty()) {
    std::string firewall = NftName("firewall", id);
    f.chains[firewall] = {rule.source_ranges.empty()
                              ? "drop"
                              : fmt::format("{} saddr != {{ {} }} drop", ip_, base::Join(rule.source_ranges, ", "))};
    for (const auto& ip : rule.balancer_ips) f.elements["firewall-ips"][destination(ip)] = "goto " + firewall;
  }
  for (const auto* backends : {&rule.cluster, &rule.local})
    for (const auto& b : *backends)
      f.elements["hairpin-connections"][fmt::format("{0} . {0} . {1} . {2}", b.ip, rule.protocol, b.port)] = "";
  return f;
}

NftRules::Element& NftRules::Touch(const std::string& set, const std::string& key) {
  Element& e = elements_[{set, key}];
  if (!undo_.full) undo_.elements.try_emplace({set, key}, e);
  return e;
}

// Chains and dynamic sets of one service port.
void NftRules::WriteFragment(const Fragment& old, const Fragment& next, Text& text) {
  const std::string& t = table_name_;
  for (const auto& [set, declaration] : next.sets)
    if (!old.sets.contains(set)) text.new_sets += fmt::format("add set {} {} {}\n", t, set, declaration);
  for (const auto& [chain, lines] : next.chains) {
    auto o = old.chains.find(chain);
    if (o != old.chains.end() && o->second == lines) continue;
    text.new_chains += fmt::format("add chain {} {}\n", t, chain);
    if (o != old.chains.end()) text.flushes += fmt::format("flush chain {} {}\n", t, chain);
    for (const auto& line : lines)
      text.rules += fmt::format("add rule {} {} {} comment \"{}\"\n", t, chain, line, RuleMark(chain + line));
  }
  for (const auto& [chain, lines] : old.chains)
    if (!next.chains.contains(chain)) {
      text.flushes += fmt::format("flush chain {} {}\n", t, chain);
      text.stale_chains += fmt::format("delete chain {} {}\n", t, chain);
    }
  for (const auto& [set, declaration] : old.sets)
    if (!next.sets.contains(set)) text.stale_sets += fmt::format("delete set {} {}\n", t, set);
}

// Deletes, then adds, what became of the elements that were touched.
std::string NftRules::ElementLines() {
  std::map<std::string, std::vector<std::string>> removed, added;
  auto write = [](const ElementKey& key, const Element& e) {
    return e.value.empty() ? key.second : fmt::format("{} : {}", key.second, e.value);
  };
  if (undo_.full) {
    for (const auto& [key, element] : elements_) added[key.first].push_back(write(key, element));
  } else {
    for (const auto& [key, was] : undo_.elements) {
      auto it = elements_.find(key);
      const Element& now = it->second;
      bool existed = was.uses > 0, exists = now.uses > 0, differs = was.value != now.value;
      if (existed && (!exists || differs)) removed[key.first].push_back(key.second);
      if (exists && (!existed || differs)) added[key.first].push_back(write(key, now));
      if (!exists) elements_.erase(it);
    }
  }
  std::string text;
  for (const auto& [set, keys] : removed)
    text += fmt::format("delete element {} {} {{ {} }}\n", table_name_, set, base::Join(keys, ", "));
  for (const auto& [set, keys] : added)
    text += fmt::format("add element {} {} {{ {} }}\n", table_name_, set, base::Join(keys, ", "));
  return text;
}

std::string NftRules::Transaction(const SyncRequest& request) {
  std::string out;
  std::set<ServicePortName> all;
  const std::set<ServicePortName>* changed = request.changed;
  undo_ = {};
  if (!changed) {
    out = Skeleton();
    undo_.full = true;
    undo_.fragments.swap(current_);
    undo_.elements.swap(elements_);
    for (const auto& [name, rule] : request.table) all.insert(name);
    changed = &all;
  }

  // Elements of every changed service are counted down, then up, so that one that moves between services survives.
  for (const auto& name : *changed) {
    auto old = current_.find(name);
    if (old == current_.end()) continue;
    for (const auto& [set, keys] : old->second.elements)
      for (const auto& [key, value] : keys) --Touch(set, key).uses;
  }
  Text text;
  for (const auto& name : *changed) {
    auto wanted = request.table.find(name);
    bool absent = wanted == request.table.end() || (request.wanted && !request.wanted(name));
    Fragment next = absent ? Fragment{} : Render(name, wanted->second);
    for (const auto& [set, keys] : next.elements)
      for (const auto& [key, value] : keys) {
        Element& e = Touch(set, key);
        ++e.uses;
        e.value = value;
      }
    Fragment old;
    if (auto found = current_.find(name); found != current_.end()) old = std::move(found->second);
    WriteFragment(old, next, text);
    if (next == Fragment{}) {
      current_.erase(name);
    } else {
      current_[name] = std::move(next);
    }
    if (!undo_.full) undo_.fragments.emplace(name, std::move(old));
  }
  out += text.new_sets + text.new_chains + text.flushes + text.rules;
  return out + ElementLines() + text.stale_chains + text.stale_sets;
}

void NftRules::Rollback() {
  if (undo_.full) {
    current_ = std::move(undo_.fragments);
    elements_ = std::move(undo_.elements);
  } else {
    for (auto& [name, fragment] : undo_.fragments) {
      if (fragment == Fragment{}) {
        current_.erase(name);
      } else {
        current_[name] = std::move(fragment);
      }
    }
    for (const auto& [key, element] : undo_.elements) {
      if (element.uses > 0) {
        elements_[key] = element;
      } else {
        elements_.erase(key);
      }
    }
  }
  undo_ = {};
}

std::map<std::string, std::vector<std::string>> NftRules::ExpectedChains() const {
  std::map<std::string, std::vector<std::string>> out;
  auto add = [&](const std::string& chain, const std::vector<std::string>& rules) {
    auto& marks = out[chain];
    marks.clear();
    for (const auto& rule : rules) marks.push_back(RuleMark(chain + rule));
  };
  for (const auto& [chain, rules] : base_chains_) add(chain, rules);
  for (const auto& [name, fragment] : current_)
    for (const auto& [chain, rules] : fragment.chains) add(chain, rules);
  return out;
}

std::map<std::string, std::set<std::string>> NftRules::ExpectedElements() const {
  std::map<std::string, std::set<std::string>> out;
  for (std::string_view name : {"cluster-ips", "nodeport-ips", "hairpin-connections", "no-endpoint-services",
                                "no-endpoint-nodeports", "firewall-ips", "service-ips", "service-nodeports"})
    out[std::string(name)];
  for (const auto& [key, element] : elements_)
    out[key.first].insert(element.value.empty() ? key.second : key.second + " : " + element.value);
  for (const auto& ip : options_.node_port_ips) out["nodeport-ips"].insert(ip);
  return out;
}

}  // namespace proxy::backends
