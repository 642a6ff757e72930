#include "proxy/routes.h"

#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "base/log.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/networking/v1/networking.pb.h"
#include "proxy/addresses.h"

namespace proxy {
namespace {

using k8s::io::api::core::v1::Node;

// Above what <linux/rtnetlink.h> and the usual routing daemons take.
constexpr int kRouteProtocol = 211;

template <class T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* p) const { Free(p); }
};
using Socket = std::unique_ptr<nl_sock, Deleter<nl_sock, nl_socket_free>>;
using Cache = std::unique_ptr<nl_cache, Deleter<nl_cache, nl_cache_free>>;
using Route = std::unique_ptr<rtnl_route, Deleter<rtnl_route, rtnl_route_put>>;
using Address = std::unique_ptr<nl_addr, Deleter<nl_addr, nl_addr_put>>;

Address Parse(const std::string& text) {
  nl_addr* address = nullptr;
  return nl_addr_parse(text.c_str(), AF_UNSPEC, &address) == 0 ? Address(address) : nullptr;
}

Route Make(const std::string& cidr, const std::string& gateway) {
  Address destination = Parse(cidr), via = Parse(gateway);
  if (!destination || !via) return nullptr;
  Route route(rtnl_route_alloc());
  rtnl_route_set_family(route.get(), static_cast<uint8_t>(nl_addr_get_family(destination.get())));
  rtnl_route_set_dst(route.get(), destination.get());
  rtnl_route_set_protocol(route.get(), kRouteProtocol);
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  rtnl_route_nh_set_gateway(hop, via.get());
  rtnl_route_add_nexthop(route.get(), hop);
  return route;
}

std::string Text(nl_addr* address) {
  char buffer[128];
  return address ? nl_addr2str(address, buffer, sizeof buffer) : "";
}

// libnl leaves the length out where it is the address's own.
std::string CidrText(nl_addr* address) {
  std::string text = Text(address);
  return text.empty() || text.find('/') != text.npos ? text
                                                     : text + "/" + std::to_string(nl_addr_get_prefixlen(address));
}

base::Status NlError(int error, const std::string& what) { return base::Unavailable(what + ": " + nl_geterror(error)); }

// The routes of our protocol that the kernel has now.
base::Result<std::vector<std::pair<std::string, std::string>>> Present(nl_sock* socket, std::vector<Route>& owned) {
  nl_cache* raw = nullptr;
  if (int e = rtnl_route_alloc_cache(socket, AF_UNSPEC, 0, &raw); e < 0) return base::Err(NlError(e, "listing routes"));
  Cache cache(raw);
  std::vector<std::pair<std::string, std::string>> out;
  for (nl_object* o = nl_cache_get_first(cache.get()); o; o = nl_cache_get_next(o)) {
    auto* route = reinterpret_cast<rtnl_route*>(o);
    if (rtnl_route_get_protocol(route) != kRouteProtocol || rtnl_route_get_nnexthops(route) < 1) continue;
    out.emplace_back(CidrText(rtnl_route_get_dst(route)),
                     Text(rtnl_route_nh_get_gateway(rtnl_route_nexthop_n(route, 0))));
    nl_object_get(o);
    owned.emplace_back(route);
  }
  return out;
}

using Bytes = std::array<uint8_t, 16>;  // of an address; IPv4 within IPv6

Bytes BytesOf(const machinery::object::Ip& ip) {
  Bytes out;
  std::ranges::copy(ip.bytes, out.begin());
  return out;
}

struct Span {
  Bytes first, last;
};

Span SpanOf(const machinery::object::Cidr& c) {
  Span out{BytesOf(c.Masked()), {}};
  out.last = out.first;
  int length = c.address.v4 ? c.prefix + 96 : c.prefix;
  for (int bit = length; bit < 128; ++bit) out.last[bit / 8] |= static_cast<uint8_t>(0x80 >> (bit % 8));
  return out;
}

bool Overlap(const Span& a, const Span& b) { return a.first <= b.last && b.first <= a.last; }
bool Inside(const Span& inner, const Span& outer) { return outer.first <= inner.first && inner.last <= outer.last; }

std::vector<Span> SpansOf(const std::vector<std::string>& cidrs) {
  std::vector<Span> out;
  for (const auto& text : cidrs)
    if (auto c = machinery::object::ParseCidr(text); c && !c->address.mapped) out.push_back(SpanOf(*c));
  return out;
}

// Ranges that never are pods': unspecified, loopback, link-local, multicast and broadcast.
const std::vector<Span>& Special() {
  static const std::vector<Span> kSpans = SpansOf({"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4",
                                                   "255.255.255.255/32", "::/128", "::1/128", "fe80::/10", "ff00::/8"});
  return kSpans;
}

// Goes through the nodes by seniority and gives each its routes.
class Planner {
 public:
  explicit Planner(const RouteLimits& limits)
      : own_name_(limits.own_name), cluster_(SpansOf(limits.cluster_cidrs)), services_(SpansOf(limits.service_cidrs)) {}

  void KnowAddresses(const Node& node) {
    for (const auto& a : node.status().addresses())
      if (auto ip = machinery::object::ParseIp(a.address()); a.type() == "InternalIP" && ip)
        addresses_.insert(BytesOf(*ip));
  }

  void Add(const Node& node) {
    for (const auto& text : node.spec().podcidrs()) {
      std::string why = AddCidr(node, text);
      if (why.empty()) continue;
      std::string& told = plan_.problems[node.metadata().name()];
      if (told.size() < 500) told.append(told.empty() ? "" : "; ").append("pod CIDR " + Shown(text) + " " + why);
    }
  }

  RoutePlan Take() { return std::move(plan_); }

 private:
  std::string AddCidr(const Node& node, const std::string& text) {
    auto cidr = machinery::object::ParseCidr(text);
    if (!cidr || cidr->address.mapped) return "is not a range of addresses";
    Span span = SpanOf(*cidr);
    auto in = [&](const Span& s) { return Overlap(span, s); };
    if (cidr->prefix == 0) return "is everything";
    if (std::ranges::any_of(Special(), in)) return "holds addresses that are no pods'";
    if (std::ranges::any_of(services_, in)) return "overlaps the addresses of Services";
    if (!cluster_.empty() && std::ranges::none_of(cluster_, [&](const Span& s) { return Inside(span, s); }))
      return "is not in the cluster's range";
    auto address = addresses_.lower_bound(span.first);
    if (address != addresses_.end() && *address <= span.last) return "holds the address of a node";
    if (!Claim(span)) return "overlaps that of another node";
    if (node.metadata().name() == own_name_) return {};
    Family family = FamilyOf(cidr->address);
    for (const auto& a : node.status().addresses()) {
      if (a.type() != "InternalIP") continue;
      if (auto ip = RoutableAddress(a.address(), family)) {
        plan_.routes.emplace(cidr->ToString(), *ip);
        return {};
      }
    }
    return "has no node address to be reached by";
  }

  bool Claim(const Span& span) {
    auto after = claimed_.upper_bound(span.last);  // the first that begins behind
    if (after != claimed_.begin() && std::prev(after)->second >= span.first) return false;
    claimed_.emplace(span.first, span.last);
    return true;
  }

  std::string own_name_;
  std::vector<Span> cluster_, services_;
  std::set<Bytes> addresses_;       // of all nodes
  std::map<Bytes, Bytes> claimed_;  // first -> last, disjoint
  RoutePlan plan_;
};

}  // namespace

RoutePlan WantedRoutes(const std::vector<std::shared_ptr<const Node>>& nodes, const RouteLimits& limits) {
  auto order = nodes;
  std::ranges::sort(order, {}, [&](const auto& n) {
    const auto& m = n->metadata();
    return std::tuple(m.name() != limits.own_name, m.creationtimestamp().seconds(), m.name());
  });
  Planner planner(limits);
  for (const auto& node : order) planner.KnowAddresses(*node);
  for (const auto& node : order) planner.Add(*node);
  return planner.Take();
}

base::Result<std::map<std::string, base::Status>> ApplyRoutes(const RouteTable& wanted) {
  Socket socket(nl_socket_alloc());
  if (!socket) return base::Err(base::ResourceExhausted("cannot open netlink"));
  if (int e = nl_connect(socket.get(), NETLINK_ROUTE); e < 0) return base::Err(NlError(e, "connecting to rtnetlink"));
  std::vector<Route> owned;
  TRY_ASSIGN(auto present, Present(socket.get(), owned));
  std::map<std::string, base::Status> failed;
  RouteTable missing = wanted;
  for (size_t i = 0; i < present.size(); ++i) {
    auto want = missing.find(present[i].first);
    if (want != missing.end() && want->second == present[i].second) {
      missing.erase(want);
    } else if (int e = rtnl_route_delete(socket.get(), owned[i].get(), 0); e < 0 && e != -NLE_OBJ_NOTFOUND) {
      failed[present[i].first] = NlError(e, "deleting the route to " + present[i].first);
    }
  }
  for (const auto& [cidr, gateway] : missing) {
    Route route = Make(cidr, gateway);
    int e = route ? rtnl_route_add(socket.get(), route.get(), NLM_F_CREATE | NLM_F_REPLACE) : -NLE_INVAL;
    if (e < 0) failed[cidr] = NlError(e, "adding the route to " + cidr + " via " + gateway);
  }
  return failed;
}

PodRoutes::PodRoutes(base::Executor& executor, base::BlockingPool& pool, machinery::client::Client& client,
                     std::string node_name, std::vector<std::string> cluster_cidrs)
    : executor_(executor),
      pool_(pool),
      limits_{node_name, std::move(cluster_cidrs), {}},
      nodes_(executor, client),
      cidrs_(executor, client),
      events_(executor, client, "kube-proxy", node_name),
      changed_(executor) {
  nodes_.SetTransform([](Node& n) {
    n.mutable_metadata()->clear_managedfields();
    n.mutable_status()->clear_images();
  });
  // Heartbeats change nothing here.
  nodes_.AddHandler([this](const machinery::client::Change<Node>& c) {
    auto text = [](const Node& n) {
      std::string out;
      for (const auto& cidr : n.spec().podcidrs()) out += cidr + "\n";
      for (const auto& a : n.status().addresses()) out += a.type() + " " + a.address() + "\n";
      return out;
    };
    if (c.old && c.current && text(*c.old) == text(*c.current)) return;
    dirty_ = true;
    changed_.NotifyAll();
  });
  cidrs_.AddHandler([this](const auto&) {
    dirty_ = true;
    changed_.NotifyAll();
  });
}

RoutePlan PodRoutes::Plan() const {
  RouteLimits limits = limits_;
  for (const auto& object : cidrs_.List())
    limits.service_cidrs.insert(limits.service_cidrs.end(), object->spec().cidrs().begin(),
                                object->spec().cidrs().end());
  return WantedRoutes(nodes_.List(), limits);
}

// Once for each new problem of a node.
void PodRoutes::Tell(const std::map<std::string, std::string>& problems) {
  for (const auto& [name, problem] : problems) {
    auto told = told_.find(name);
    if (told != told_.end() && told->second == problem) continue;
    base::LogError("No route to pods of a node", base::InvalidArgument(problem), {{"node", name}});
    if (auto node = nodes_.Get(name))
      events_.Event(machinery::client::ReferenceTo(*node), "Warning", "PodRouteRefused", problem);
  }
  told_ = problems;
}

// False when something has to be tried again.
base::Task<bool> PodRoutes::Apply(const RoutePlan& plan) {
  auto failed = co_await base::RunBlocking(pool_, executor_, [&plan] { return ApplyRoutes(plan.routes); });
  if (!failed) {
    base::LogError("Failed to write pod routes, trying again", failed.error());
    co_return false;
  }
  for (const auto& [cidr, status] : *failed)
    base::LogError("Failed to write a pod route, trying again", status, {{"podCIDR", cidr}});
  co_return failed->empty();
}

base::Task<void> PodRoutes::Run(base::Context ctx) {
  base::TaskScope scope(executor_, ctx);
  scope.Spawn(nodes_.Run(scope.context()));
  scope.Spawn(cidrs_.Run(scope.context()));
  scope.Spawn(events_.Run(scope.context()));
  bool synced = (co_await nodes_.WaitForSync(ctx)).ok();
  (void)co_await cidrs_.WaitForSync(ctx.WithTimeout(executor_, std::chrono::seconds(2)));
  RoutePlan plan;
  base::Duration pause = std::chrono::seconds(2);
  while (synced && !ctx.done()) {
    if (dirty_) {
      dirty_ = false;
      RoutePlan next = Plan();
      if (next.routes != plan.routes) base::LogInfo("Pod routes are to be changed", {{"routes", next.routes.size()}});
      plan = std::move(next);
      pause = std::chrono::seconds(2);
      Tell(plan.problems);
    }
    base::Duration next = std::chrono::minutes(1);
    if (!co_await Apply(plan)) {
      next = pause;
      pause = std::min<base::Duration>(2 * pause, std::chrono::minutes(1));
    }
    // Netlink is asked for a new table, and once a minute.
    if (!dirty_) (void)co_await changed_.Wait(ctx.WithTimeout(executor_, next));
  }
  co_await scope.CancelAndJoin();
}

}  // namespace proxy
