// The proxies to nodes, pods and services.
#include <algorithm>

#include "apiserver/streaming/proxy_rules.h"
#include "apiserver/streaming/streaming.h"
#include "apiserver/streaming/wire.h"
#include "base/net/address.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace apiserver::streaming {

namespace object = machinery::object;
using base::net::Exchange;
using base::net::Headers;
using chain::RestFront;
using machinery::request::Request;
using machinery::value::Value;

namespace {

base::Status NotAllowed() { return object::BadRequest("address not allowed"); }

std::string SchemeOf(const ProxyName& to) { return to.scheme.empty() ? "http" : to.scheme; }

base::Status BadName(const Request& r) {
  std::string_view kind = r.resource == "nodes" ? "node" : r.resource == "pods" ? "pod" : "service";
  return object::BadRequest("invalid " + std::string(kind) + " request " + object::GoQuote(r.name));
}

base::Status NoEndpoints(const std::string& name) {
  return object::ServiceUnavailable("no endpoints available for service " + object::GoQuote(name));
}

bool HasIp(const Value& pod, std::string_view ip) {
  const Value& ips = pod.At("status", "podIPs");
  return ips.is_list() &&
         std::ranges::any_of(ips.list(), [&](const Value& one) { return one.At("ip").string_or() == ip; });
}

}  // namespace

base::Task<base::Status> Streaming::MayProxyToHost(std::string host) {
  if (object::ParseIp(host)) co_return MayProxyTo(host) ? base::Ok() : NotAllowed();
  auto found = co_await base::net::Resolve(*name_pool_, loop_, HostPort(host, 1));
  if (!found) co_return object::BadRequest(std::string(found.error().message()));
  if (found->empty()) co_return object::BadRequest("no addresses for hostname");
  for (const auto& address : *found) {
    CO_TRY_ASSIGN(auto parts, base::net::SplitHostPort(base::net::AddressText(address.storage)));
    if (!MayProxyTo(parts.first)) co_return NotAllowed();
  }
  co_return base::Ok();
}

base::Task<base::Result<Streaming::Target>> Streaming::NodeTarget(base::Context ctx, const Request& r,
                                                                  const ProxyName& to) {
  CO_TRY_ASSIGN(Kubelet kubelet, co_await FindKubelet(ctx, to.name));
  CO_TRY(co_await MayProxyToHost(kubelet.host));
  // The kubelet alone sees our certificate; on another port of the node anything may listen.
  if (to.port.empty() || to.port == std::to_string(kubelet.port))
    co_return Target{"https://" + HostPort(kubelet.host, kubelet.port), "", kubelet_tls_};
  auto port = ParsePort(to.port);
  if (!port) co_return base::Err(BadName(r));
  co_return Target{SchemeOf(to) + "://" + HostPort(kubelet.host, *port), "", anybody_tls_};
}

base::Task<base::Result<Streaming::Target>> Streaming::PodTarget(base::Context ctx, const Request& r,
                                                                 const ProxyName& to) {
  CO_TRY_ASSIGN(Value pod, co_await Find(ctx, "pods", r.namespace_name, to.name));
  std::optional<int> port = SchemeOf(to) == "https" ? 443 : 80;
  const Value& containers = pod.At("spec", "containers");
  if (!to.port.empty()) {
    port = ParsePort(to.port);
  } else if (containers.is_list()) {
    auto opens = [](const Value& c) { return c.At("ports").is_list() && !c.At("ports").list().empty(); };
    auto first = std::ranges::find_if(containers.list(), opens);
    if (first != containers.list().end())
      port = static_cast<int>(first->At("ports").At(size_t{0}).At("containerPort").int_or());
  }
  std::string address(pod.At("status", "podIP").string_or());
  if (!MayProxyTo(address)) co_return base::Err(NotAllowed());
  if (!port) co_return base::Err(BadName(r));
  co_return Target{SchemeOf(to) + "://" + HostPort(address, *port), "", anybody_tls_};
}

// A port is given by its name, or by the number that the service declares.
base::Task<base::Result<std::string>> Streaming::NamedServicePort(base::Context ctx, const Request& r,
                                                                  const ProxyName& to) {
  bool number = !to.port.empty() && std::ranges::all_of(to.port, [](unsigned char c) { return std::isdigit(c); });
  if (!number) co_return to.port;
  CO_TRY_ASSIGN(Value service, co_await Find(ctx, "services", r.namespace_name, to.name));
  const Value& ports = service.At("spec", "ports");
  if (ports.is_list())
    for (const Value& p : ports.list())
      if (ParsePort(to.port) == static_cast<int>(p.At("port").int_or()))
        co_return std::string(p.At("name").string_or());
  co_return base::Err(
      object::ServiceUnavailable("no service port " + to.port + " found for service " + object::GoQuote(to.name)));
}

base::Task<base::Result<Streaming::Target>> Streaming::ServiceTarget(base::Context ctx, const Request& r,
                                                                     const ProxyName& to) {
  CO_TRY_ASSIGN(std::string port_name, co_await NamedServicePort(ctx, r, to));
  auto found = co_await Find(ctx, "endpoints", r.namespace_name, to.name);
  // The original asks for them on behalf of the service and names that.
  if (!found && object::IsNotFound(found.error())) co_return base::Err(object::NotFound({"", "services"}, to.name));
  CO_TRY_ASSIGN(Value endpoints, std::move(found));
  const Value& subsets = endpoints.At("subsets");
  std::vector<std::pair<Value, int64_t>> ready;
  if (subsets.is_list())
    for (const Value& s : subsets.list())
      if (s.At("ports").is_list() && s.At("addresses").is_list())
        for (const Value& p : s.At("ports").list())
          if (p.At("name").string_or() == port_name)
            for (const Value& a : s.At("addresses").list()) ready.emplace_back(a, p.At("port").int_or());
  // Endpoints may name any address: only what really is a pod of this namespace is gone to.
  for (size_t n = ready.size(), first = n ? registry_.random().Below(n) : 0, i = 0; i < n; ++i) {
    const auto& [address, port] = ready[(first + i) % n];
    std::string ip(address.At("ip").string_or()), pod_name(address.At("targetRef", "name").string_or());
    if (!MayProxyTo(ip) || pod_name.empty()) continue;
    if (address.At("targetRef", "namespace").string_or() != r.namespace_name) continue;
    auto pod = co_await Find(ctx, "pods", r.namespace_name, pod_name);
    if (pod && HasIp(*pod, ip)) co_return Target{SchemeOf(to) + "://" + HostPort(ip, port), "", anybody_tls_};
  }
  co_return base::Err(NoEndpoints(subsets.is_list() && !subsets.list().empty() ? r.name : to.name));
}

base::Task<base::Result<Streaming::Target>> Streaming::ProxyTarget(base::Context ctx, const Request& r) {
  auto to = ParseProxyName(r.name);
  if (!to) co_return base::Err(BadName(r));
  if (r.resource == "nodes") co_return co_await NodeTarget(ctx, r, *to);
  if (r.resource == "pods") co_return co_await PodTarget(ctx, r, *to);
  co_return co_await ServiceTarget(ctx, r, *to);
}

base::Task<void> Streaming::Proxy(Exchange& e, Request r) {
  auto target = co_await ProxyTarget(e.context(), r);
  std::string query = e.query().empty() ? "" : "?" + std::string(e.query());
  if (!target) {
    co_await RestFront::RespondError(e, target.error());
    co_return;
  }
  bool bare = r.subpath.empty();
  target->path = (bare ? "/" : EscapePath(r.subpath)) + query;
  if (Upgrades(e)) {
    co_await Splice(e, std::move(*target));
  } else if (bare && (e.method() == "GET" || e.method() == "HEAD")) {
    // Relative links of the page behind need the slash.
    Headers headers;
    headers.Add("location", std::string(e.path()) + "/" + query);
    (void)co_await e.Respond(301, std::move(headers), std::string());
  } else {
    co_await Forward(e, std::move(*target));
  }
}

base::Task<void> Streaming::Forward(Exchange& e, Target target) {
  constexpr size_t kMaxBody = 32 << 20;
  base::net::ClientRequest request{.method = std::string(e.method()), .path = target.path};
  for (const auto& [name, value] : e.headers().fields())
    if (!HopByHop(name) && !Secret(name)) request.headers.Add(name, value);
  if (e.method() != "GET" && e.method() != "HEAD") {
    auto body = co_await e.ReadAll(e.context(), kMaxBody);
    if (!body) {
      co_await RestFront::RespondError(e, object::RequestEntityTooLarge("limit is " + std::to_string(kMaxBody)));
      co_return;
    }
    request.body = base::Share(std::move(*body));
  }
  base::net::Client client(loop_, ClientFor(target, true));
  auto answer = co_await client.Do(e.context(), std::move(request));
  if (!answer) {
    co_await RestFront::RespondError(
        e, object::ServiceUnavailable("error trying to reach service: " + std::string(answer.error().message())));
    co_return;
  }
  base::net::ClientResponse& from = **answer;
  Headers headers;
  for (const auto& [name, value] : from.headers().fields())
    if (!HopByHop(name)) headers.Add(name, value);
  auto started = co_await e.StartResponse(from.status(), std::move(headers));
  while (started.ok()) {
    auto piece = co_await from.Read(e.context());
    if (!piece) co_return;
    if (piece->empty()) break;
    started = co_await e.Write(base::Share(std::move(*piece)));
  }
  if (started.ok()) (void)co_await e.Finish();
}

}  // namespace apiserver::streaming
