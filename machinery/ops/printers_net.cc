#include <set>

#include "base/strings.h"
#include "machinery/object/meta.h"
#include "machinery/ops/printers.h"

namespace machinery::ops::printers {
namespace {

using value::Value;

constexpr const char* kNone = "<none>";
constexpr size_t kShown = 3;

size_t Size(const Value& v) { return v.is_list() ? v.list().size() : 0; }

template <class F>
void ForEach(const Value& list, F f) {
  if (!list.is_list()) return;
  for (const Value& v : list.list()) f(v);
}

// Sorted, distinct addresses of a load balancer: the IP, else the host name.
std::vector<std::string> BalancerAddresses(const Value& o) {
  std::set<std::string> out;
  ForEach(o.At("status", "loadBalancer", "ingress"), [&](const Value& ingress) {
    std::string_view ip = ingress.At("ip").string_or();
    std::string_view address = ip.empty() ? ingress.At("hostname").string_or() : ip;
    if (!address.empty()) out.emplace(address);
  });
  return {out.begin(), out.end()};
}

std::string UnsetIfEmpty(std::string text) { return text.empty() ? "<unset>" : text; }

std::string HostPort(std::string_view ip, int64_t port) {
  bool v6 = ip.find(':') != std::string_view::npos;
  return (v6 ? "[" + std::string(ip) + "]" : std::string(ip)) + ":" + std::to_string(port);
}

}  // namespace

Value ServiceClusterIp(const Value& o, base::WallTime) {
  const Value& ips = o.At("spec", "clusterIPs");
  return Value(Size(ips) > 0 ? ips.At(size_t{0}).string_or() : std::string_view(kNone));
}

Value ServiceExternalIp(const Value& o, base::WallTime) {
  std::string_view type = o.At("spec", "type").string_or();
  std::vector<std::string> external = object::StringsOf(o.At("spec", "externalIPs"));
  if (type == "ExternalName") return Value(o.At("spec", "externalName").string_or());
  if (type == "ClusterIP" || type == "NodePort")
    return Value(external.empty() ? std::string(kNone) : base::Join(external, ","));
  if (type != "LoadBalancer") return Value("<unknown>");
  std::vector<std::string> all = BalancerAddresses(o);
  all.insert(all.end(), external.begin(), external.end());
  return Value(all.empty() ? "<pending>" : base::Join(all, ","));
}

Value ServicePorts(const Value& o, base::WallTime) {
  std::vector<std::string> out;
  ForEach(o.At("spec", "ports"), [&](const Value& p) {
    std::string text = std::to_string(p.At("port").int_or());
    if (int64_t node_port = p.At("nodePort").int_or(); node_port > 0) text += ":" + std::to_string(node_port);
    out.push_back(text + "/" + std::string(p.At("protocol").string_or()));
  });
  return Value(out.empty() ? std::string(kNone) : base::Join(out, ","));
}

Value EndpointsCell(const Value& o, base::WallTime) {
  if (Size(o.At("subsets")) == 0) return Value(kNone);
  std::vector<std::string> out;
  ForEach(o.At("subsets"), [&](const Value& subset) {
    if (Size(subset.At("ports")) == 0)
      ForEach(subset.At("addresses"), [&](const Value& a) { out.emplace_back(a.At("ip").string_or()); });
    ForEach(subset.At("ports"), [&](const Value& port) {
      ForEach(subset.At("addresses"),
              [&](const Value& a) { out.push_back(HostPort(a.At("ip").string_or(), port.At("port").int_or())); });
    });
  });
  return Value(ListWithMore(out, kShown));
}

Value EndpointSlicePorts(const Value& o, base::WallTime) {
  std::vector<std::string> out;
  ForEach(o.At("ports"), [&](const Value& p) {
    if (p.At("port").is_int()) {
      out.push_back(std::to_string(p.At("port").as_int()));
    } else {
      out.emplace_back(p.At("name").string_or("*"));
    }
  });
  return Value(UnsetIfEmpty(ListWithMore(out, kShown)));
}

Value EndpointSliceEndpoints(const Value& o, base::WallTime) {
  std::vector<std::string> out;
  ForEach(o.At("endpoints"), [&](const Value& e) {
    for (std::string& address : object::StringsOf(e.At("addresses"))) out.push_back(std::move(address));
  });
  return Value(UnsetIfEmpty(ListWithMore(out, kShown)));
}

Value IngressAddress(const Value& o, base::WallTime) { return Value(base::Join(BalancerAddresses(o), ",")); }

// Rules count towards "more" whether they have a host or not; hosts are looked for until three are shown.
Value IngressHosts(const Value& o, base::WallTime) {
  std::vector<std::string> hosts;
  bool more = false;
  ForEach(o.At("spec", "rules"), [&](const Value& rule) {
    more |= hosts.size() == kShown;
    if (std::string_view host = rule.At("host").string_or(); !more && !host.empty()) hosts.emplace_back(host);
  });
  if (hosts.empty()) return Value("*");
  std::string text = base::Join(hosts, ",");
  if (more) text += " + " + std::to_string(Size(o.At("spec", "rules")) - kShown) + " more...";
  return Value(std::move(text));
}

Value IngressPorts(const Value& o, base::WallTime) { return Value(Size(o.At("spec", "tls")) > 0 ? "80, 443" : "80"); }

Value IngressClassName(const Value& o, base::WallTime) {
  bool is_default = object::AnnotationOf(o, "ingressclass.kubernetes.io/is-default-class") == "true";
  return Value(std::string(object::NameOf(o)) + (is_default ? " (default)" : ""));
}

Value IngressClassParameters(const Value& o, base::WallTime) {
  const Value& p = o.At("spec", "parameters");
  if (!p.is_map()) return Value(kNone);
  std::string text(p.At("kind").string_or());
  if (p.At("apiGroup").is_string()) text += "." + p.At("apiGroup").as_string();
  return Value(text + "/" + std::string(p.At("name").string_or()));
}

Value IpAddressParentRef(const Value& o, base::WallTime) {
  const Value& ref = o.At("spec", "parentRef");
  if (!ref.is_map()) return Value(kNone);
  std::string text(ref.At("resource").string_or());
  if (std::string_view group = ref.At("group").string_or(); !group.empty()) text += "." + std::string(group);
  text = base::Lower(text);
  if (std::string_view ns = ref.At("namespace").string_or(); !ns.empty()) text += "/" + std::string(ns);
  return Value(text + "/" + std::string(ref.At("name").string_or()));
}

}  // namespace machinery::ops::printers
