#include "proxy/routes.h"

#include <netlink/netlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <memory>

#include "base/log.h"
#include "proto/k8s/core/v1/node.pb.h"

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
    out.emplace_back(Text(rtnl_route_get_dst(route)), Text(rtnl_route_nh_get_gateway(rtnl_route_nexthop_n(route, 0))));
    nl_object_get(o);
    owned.emplace_back(route);
  }
  return out;
}

}  // namespace

RouteTable WantedRoutes(const std::vector<std::shared_ptr<const Node>>& nodes, const std::string& own_name) {
  RouteTable out;
  for (const auto& node : nodes) {
    if (node->metadata().name() == own_name) continue;
    for (const auto& cidr : node->spec().podcidrs()) {
      bool six = cidr.find(':') != std::string::npos;
      for (const auto& a : node->status().addresses()) {
        if (a.type() != "InternalIP" || (a.address().find(':') != std::string::npos) != six) continue;
        out.emplace(cidr, a.address());
        break;
      }
    }
  }
  return out;
}

base::Status ApplyRoutes(const RouteTable& wanted) {
  Socket socket(nl_socket_alloc());
  if (!socket) return base::ResourceExhausted("cannot open netlink");
  if (int e = nl_connect(socket.get(), NETLINK_ROUTE); e < 0) return NlError(e, "connecting to rtnetlink");
  std::vector<Route> owned;
  TRY_ASSIGN(auto present, Present(socket.get(), owned));
  RouteTable missing = wanted;
  for (size_t i = 0; i < present.size(); ++i) {
    auto want = missing.find(present[i].first);
    if (want != missing.end() && want->second == present[i].second) {
      missing.erase(want);
    } else if (int e = rtnl_route_delete(socket.get(), owned[i].get(), 0); e < 0 && e != -NLE_OBJ_NOTFOUND) {
      return NlError(e, "deleting the route to " + present[i].first);
    }
  }
  base::Status first_error;
  for (const auto& [cidr, gateway] : missing) {
    Route route = Make(cidr, gateway);
    if (!route) return base::InvalidArgument("not a pod CIDR and a gateway: " + cidr + " via " + gateway);
    int e = rtnl_route_add(socket.get(), route.get(), NLM_F_CREATE | NLM_F_REPLACE);
    // One node that is not reachable must not keep the others from being routed.
    if (e < 0 && first_error.ok()) first_error = NlError(e, "adding the route to " + cidr + " via " + gateway);
  }
  return first_error;
}

PodRoutes::PodRoutes(base::Executor& executor, base::BlockingPool& pool, machinery::client::Client& client,
                     std::string node_name)
    : executor_(executor), pool_(pool), node_name_(std::move(node_name)), nodes_(executor, client), changed_(executor) {
  nodes_.SetTransform([](Node& n) {
    n.mutable_metadata()->clear_managedfields();
    n.mutable_status()->clear_images();
  });
  nodes_.AddHandler([this](const auto&) { changed_.NotifyAll(); });
}

base::Task<void> PodRoutes::Run(base::Context ctx) {
  base::TaskScope scope(executor_, ctx);
  scope.Spawn(nodes_.Run(scope.context()));
  if ((co_await nodes_.WaitForSync(ctx)).ok()) {
    RouteTable applied;
    bool first = true;
    base::MonoTime next_check = executor_.Now();
    while (!ctx.done()) {
      RouteTable wanted = WantedRoutes(nodes_.List(), node_name_);
      // Node heartbeats change nothing here: netlink is asked only for a new table, or once a minute.
      if (first || wanted != applied || executor_.Now() >= next_check) {
        base::Status status = co_await base::RunBlocking(pool_, executor_, [&wanted] { return ApplyRoutes(wanted); });
        if (status.ok()) {
          if (wanted != applied) base::LogInfo("Pod routes are in place", {{"routes", wanted.size()}});
          applied = wanted;
          first = false;
          next_check = executor_.Now() + std::chrono::minutes(1);
        } else {
          base::LogError("Failed to write pod routes, trying again", status);
          first = true;
          if (!(co_await base::Sleep(executor_, ctx, std::chrono::seconds(2))).ok()) break;
          continue;
        }
      }
      (void)co_await changed_.Wait(ctx.WithTimeout(executor_, std::chrono::minutes(1)));
    }
  }
  co_await scope.CancelAndJoin();
}

}  // namespace proxy
