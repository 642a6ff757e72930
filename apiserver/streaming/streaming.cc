#include "apiserver/streaming/streaming.h"

#include <algorithm>
#include <charconv>

#include "apiserver/registry/validation/validation.h"
#include "machinery/object/meta.h"
#include "machinery/object/names.h"

namespace apiserver::streaming {

namespace object = machinery::object;
using base::net::Exchange;
using base::net::Headers;
using chain::RestFront;
using machinery::request::Request;
using machinery::value::Value;

namespace {

std::string Parameter(const Request& r, std::string_view name) {
  for (const auto& [key, value] : r.parameters)
    if (key == name) return value;
  return "";
}

bool True(const std::string& text) { return text == "true" || text == "1"; }

// "a=b&c=d" of those parameters that may pass on.
std::string QueryOf(const Request& r, std::initializer_list<std::string_view> names) {
  std::string out;
  for (const auto& [key, value] : r.parameters) {
    if (std::find(names.begin(), names.end(), key) == names.end()) continue;
    out += (out.empty() ? "?" : "&") + key + "=" + base::net::PercentEncode(value);
  }
  return out;
}

std::vector<std::string> NamesOf(const Value& list) {
  std::vector<std::string> out;
  if (list.is_list())
    for (const Value& c : list.list()) out.emplace_back(c.At("name").string_or());
  return out;
}

std::string Bracketed(const std::vector<std::string>& names) {
  std::string out = "[";
  for (const auto& n : names) out += (out.size() > 1 ? " " : "") + n;
  return out + "]";
}

std::string HostPort(const std::string& host, int64_t port) {
  bool v6 = host.find(':') != host.npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

bool Upgrades(const Exchange& e) { return e.headers().Has("upgrade"); }

bool IsWebSocket(const Exchange& e) {
  std::string upgrade(e.headers().Get("upgrade"));
  std::transform(upgrade.begin(), upgrade.end(), upgrade.begin(), [](unsigned char c) { return std::tolower(c); });
  return upgrade == "websocket";
}

// Headers of one hop only, which a proxy must not pass on.
bool HopByHop(std::string_view name) {
  static constexpr std::string_view kHop[] = {
      "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
      "upgrade",    "host",       "content-length",     "proxy-connection"};
  return std::find(std::begin(kHop), std::end(kHop), name) != std::end(kHop);
}

// Credentials for this server, which nobody behind it may see.
bool Secret(std::string_view name) {
  return name == "authorization" || name.starts_with("impersonate-") || name.starts_with("x-remote-");
}

// PodLogOptions as a tree, checked.
base::Status CheckLogOptions(const Request& r) {
  machinery::value::Map options;
  for (const char* name : {"tailLines", "limitBytes", "sinceSeconds"}) {
    std::string text = Parameter(r, name);
    int64_t n = 0;
    if (text.empty()) continue;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size())
      return object::BadRequest("strconv.ParseInt: parsing \"" + text + "\": invalid syntax");
    options.Set(name, Value(n));
  }
  if (auto time = Parameter(r, "sinceTime"); !time.empty()) options.Set("sinceTime", time);
  auto errors = registry::validation::ValidatePodLogOptions(Value(std::move(options)));
  return errors.empty() ? base::Ok() : object::InvalidObject({"", "PodLogOptions"}, r.name, errors);
}

base::Status Unreachable(const base::Status& why) {
  return object::InternalError("error dialing backend: " + std::string(why.message()));
}

// "http:name:8080" -> scheme, name, port.
struct ProxyName {
  std::string scheme, name, port;
};
ProxyName SplitName(const std::string& text) {
  size_t first = text.find(':');
  if (first == text.npos) return {"", text, ""};
  size_t second = text.find(':', first + 1);
  if (second == text.npos) return {"", text.substr(0, first), text.substr(first + 1)};
  return {text.substr(0, first), text.substr(first + 1, second - first - 1), text.substr(second + 1)};
}

}  // namespace

base::Result<std::string> ChooseContainer(const Value& pod, const std::string& wanted) {
  const Value& spec = pod.At("spec");
  auto containers = NamesOf(spec.At("containers")), init = NamesOf(spec.At("initContainers"));
  auto ephemeral = NamesOf(spec.At("ephemeralContainers"));
  std::string name(object::NameOf(pod));
  if (!wanted.empty()) {
    for (const auto* list : {&containers, &init, &ephemeral})
      if (std::find(list->begin(), list->end(), wanted) != list->end()) return wanted;
    return base::Err(object::BadRequest("container " + wanted + " is not valid for pod " + name));
  }
  if (containers.size() == 1) return containers[0];
  std::string marked(object::AnnotationOf(pod, "kubectl.kubernetes.io/default-container"));
  if (std::find(containers.begin(), containers.end(), marked) != containers.end()) return marked;
  if (containers.empty()) return base::Err(object::BadRequest("a container name must be specified for pod " + name));
  std::string text = "a container name must be specified for pod " + name + ", choose one of: " + Bracketed(containers);
  if (!init.empty()) text += " or one of the init containers: " + Bracketed(init);
  if (!ephemeral.empty()) text += " or one of the ephemeral containers: " + Bracketed(ephemeral);
  return base::Err(object::BadRequest(text));
}

base::Result<std::unique_ptr<Streaming>> Streaming::Make(base::Loop& loop, registry::Registry& registry,
                                                         KubeletAccess access) {
  std::unique_ptr<Streaming> out(new Streaming(loop, registry, std::move(access)));
  const KubeletAccess& a = out->access_;
  base::net::TlsFiles files{
      .cert_file = a.certificate_file, .key_file = a.key_file, .ca_file = a.ca_file, .skip_verify = a.ca_file.empty()};
  TRY_ASSIGN(out->tls_, base::net::ClientTls::FromFiles(files));
  files.ca_file.clear();
  files.skip_verify = true;
  TRY_ASSIGN(out->insecure_tls_, base::net::ClientTls::FromFiles(files));
  return out;
}

void Streaming::MountOn(RestFront& front) {
  front.MountConnect("pods/log", [this](Exchange& e, Request r) { return Log(e, std::move(r)); });
  for (const char* name : {"pods/exec", "pods/attach", "pods/portforward"})
    front.MountConnect(name, [this](Exchange& e, Request r) { return Stream(e, std::move(r)); });
  for (const char* name : {"nodes/proxy", "pods/proxy", "services/proxy"})
    front.MountConnect(name, [this](Exchange& e, Request r) { return Proxy(e, std::move(r)); });
}

base::Task<base::Result<Value>> Streaming::Find(base::Context ctx, std::string resource, std::string ns,
                                                std::string name) {
  auto* store = registry_.FindStore("", resource);
  if (!store) co_return base::Err(object::UnknownPath());
  auto found = store->Cached(ns, name);
  if (!found) {
    CO_TRY_ASSIGN(found, co_await store->Fresh(ctx, ns, name));
  }
  if (!found) co_return base::Err(object::NotFound({"", resource}, name));
  co_return found->Tree();
}

base::Task<base::Result<std::string>> Streaming::KubeletOrigin(base::Context ctx, std::string name, bool proxied) {
  auto found = co_await Find(ctx, "nodes", "", name);
  // The original looks the node up on behalf of the pod and names that resource.
  if (!found && object::IsNotFound(found.error()) && !proxied)
    co_return base::Err(object::NotFound({"", "pods"}, name));
  if (!found) co_return base::Err(found.error());
  const Value& node = *found;
  int64_t port = node.At("status", "daemonEndpoints", "kubeletEndpoint", "Port").int_or();
  if (port == 0) port = access_.default_port;
  const Value& addresses = node.At("status", "addresses");
  for (const auto& type : access_.preferred_address_types)
    if (addresses.is_list())
      for (const Value& a : addresses.list())
        if (a.At("type").string_or() == type)
          co_return "https://" + HostPort(std::string(a.At("address").string_or()), port);
  co_return base::Err(object::InternalError("no preferred addresses found; known addresses: []"));
}

base::net::ClientOptions Streaming::ClientFor(const Target& target, bool http1) const {
  base::net::ClientOptions o;
  o.endpoints = {target.origin};
  o.tls = target.tls;
  o.force_http1 = http1;
  o.connect_timeout = access_.timeout;
  return o;
}

// --- logs ---

base::Task<base::Result<Streaming::Target>> Streaming::LogTarget(base::Context ctx, const Request& r) {
  CO_TRY(CheckLogOptions(r));
  CO_TRY_ASSIGN(Value pod, co_await Find(ctx, "pods", r.namespace_name, r.name));
  CO_TRY_ASSIGN(std::string container, ChooseContainer(pod, Parameter(r, "container")));
  std::string node(pod.At("spec", "nodeName").string_or());
  if (node.empty()) co_return Target{};  // nothing has run yet: an empty log
  Target t;
  CO_TRY_ASSIGN(t.origin, co_await KubeletOrigin(ctx, node));
  t.path = "/containerLogs/" + r.namespace_name + "/" + r.name + "/" + container +
           QueryOf(r, {"follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes",
                       "stream"});
  t.tls = True(Parameter(r, "insecureSkipTLSVerifyBackend")) ? insecure_tls_ : tls_;
  co_return t;
}

base::Task<void> Streaming::Log(Exchange& e, Request r) {
  auto target = co_await LogTarget(e.context(), r);
  if (!target) {
    co_await RestFront::RespondError(e, target.error());
    co_return;
  }
  Headers headers;
  headers.Add("cache-control", "no-cache, private");
  headers.Add("content-type", "text/plain");
  if (target->origin.empty()) {
    (void)co_await e.Respond(200, std::move(headers), std::string());
    co_return;
  }
  base::net::Client client(loop_, ClientFor(*target, true));
  auto answer = co_await client.Do(e.context(), {.method = "GET", .path = target->path});
  if (!answer) {
    co_await RestFront::RespondError(e, Unreachable(answer.error()));
    co_return;
  }
  base::net::ClientResponse& from = **answer;
  if (from.status() >= 300) {
    constexpr size_t kMaxErrorText = 2048;
    auto text = co_await from.ReadAll(e.context(), kMaxErrorText);
    std::string why = text ? *text : "";
    while (why.ends_with('\n')) why.pop_back();
    base::Status error = from.status() == 500   ? object::InternalError(why)
                         : from.status() == 400 ? object::BadRequest(why)
                                                : object::GenericResponse(from.status());
    co_await RestFront::RespondError(e, error);
    co_return;
  }
  auto started = co_await e.StartResponse(200, std::move(headers));
  while (started.ok()) {
    auto piece = co_await from.Read(e.context());
    // A node that goes away in the middle ends the answer without its end mark, so that clients notice.
    if (!piece) co_return;
    if (piece->empty()) break;
    started = co_await e.Write(base::Share(std::move(*piece)));
  }
  if (started.ok()) (void)co_await e.Finish();
}

// --- exec, attach, portforward ---

base::Task<base::Result<Streaming::Target>> Streaming::StreamTarget(base::Context ctx, const Request& r) {
  CO_TRY_ASSIGN(Value pod, co_await Find(ctx, "pods", r.namespace_name, r.name));
  std::string path = r.namespace_name + "/" + r.name, query;
  if (r.subresource == "portforward") {
    path = "/portForward/" + path;
    query = QueryOf(r, {"ports"});
  } else {
    auto phase = pod.At("status", "phase").string_or();
    if (phase == "Succeeded" || phase == "Failed")
      co_return base::Err(object::BadRequest("cannot exec into a container in a completed pod; current phase is " +
                                             std::string(phase)));
    CO_TRY_ASSIGN(std::string container, ChooseContainer(pod, Parameter(r, "container")));
    path = "/" + r.subresource + "/" + path + "/" + container;
    // The kubelet's names of the streams are its own.
    auto add = [&](std::string_view name, const std::string& value) {
      query += (query.empty() ? "?" : "&") + std::string(name) + "=" + base::net::PercentEncode(value);
    };
    for (auto [ours, theirs] : {std::pair{"stdin", "input"}, std::pair{"stdout", "output"},
                                std::pair{"stderr", "error"}, std::pair{"tty", "tty"}})
      if (True(Parameter(r, ours))) add(theirs, "1");
    for (const auto& [key, value] : r.parameters)
      if (key == "command") add(key, value);
  }
  std::string node(pod.At("spec", "nodeName").string_or());
  if (node.empty()) co_return base::Err(object::BadRequest("pod " + r.name + " does not have a host assigned"));
  Target t;
  CO_TRY_ASSIGN(t.origin, co_await KubeletOrigin(ctx, node));
  t.path = path + query;
  t.tls = tls_;
  co_return t;
}

base::Task<void> Streaming::Stream(Exchange& e, Request r) {
  auto target = co_await StreamTarget(e.context(), r);
  if (!target) {
    co_await RestFront::RespondError(e, target.error());
  } else if (!Upgrades(e)) {
    co_await RestFront::RespondError(e, object::BadRequest("Upgrade request required"));
  } else if (IsWebSocket(e)) {
    co_await RestFront::RespondError(
        e, object::BadRequest("unable to upgrade: WebSocket is not supported yet by keelson, use SPDY/3.1"));
  } else {
    co_await Splice(e, std::move(*target));
  }
}

base::Task<void> Streaming::Splice(Exchange& e, Target target) {
  base::net::ClientRequest request{.method = std::string(e.method()), .path = target.path};
  for (const auto& [name, value] : e.headers().fields())
    if (name == "upgrade" || name == "connection" || (!HopByHop(name) && !Secret(name)))
      request.headers.Add(name, value);
  base::net::Client client(loop_, ClientFor(target, true));
  auto upgraded = co_await client.Upgrade(e.context(), std::move(request));
  if (!upgraded) {
    co_await RestFront::RespondError(e, Unreachable(upgraded.error()));
    co_return;
  }
  Headers headers;
  if (!upgraded->stream) {
    for (const auto& [name, value] : upgraded->headers.fields())
      if (!HopByHop(name)) headers.Add(name, value);
    (void)co_await e.Respond(upgraded->status, std::move(headers), std::move(upgraded->body));
    co_return;
  }
  for (const auto& [name, value] : upgraded->headers.fields())
    if (name != "content-length" && name != "transfer-encoding") headers.Add(name, value);
  auto ours = co_await e.Upgrade(std::move(headers));
  if (!ours) co_return;
  (void)co_await base::net::Splice(loop_, e.context(), std::move(*ours), std::move(upgraded->stream));
}

// --- proxies ---

base::Task<base::Result<Streaming::Target>> Streaming::ProxyTarget(base::Context ctx, const Request& r,
                                                                   std::string_view query) {
  ProxyName to = SplitName(r.name);
  Target t;
  t.path = "/" + r.subpath + (query.empty() ? "" : "?" + std::string(query));
  std::string scheme = to.scheme.empty() ? "http" : to.scheme;
  if (scheme != "http" && scheme != "https")
    co_return base::Err(object::BadRequest("invalid " + r.resource + " request \"" + r.name + "\""));
  if (r.resource == "nodes") {
    CO_TRY_ASSIGN(t.origin, co_await KubeletOrigin(ctx, to.name, true));
    if (!to.port.empty()) t.origin = t.origin.substr(0, t.origin.rfind(':') + 1) + to.port;
    t.tls = tls_;
    co_return t;
  }
  t.tls = insecure_tls_;
  std::string address;
  int64_t port = std::atoll(to.port.c_str());
  if (r.resource == "pods") {
    CO_TRY_ASSIGN(Value pod, co_await Find(ctx, "pods", r.namespace_name, to.name));
    address = pod.At("status", "podIP").string_or();
    const Value& containers = pod.At("spec", "containers");
    for (size_t i = 0; port == 0 && containers.is_list() && i < containers.list().size(); ++i)
      port = containers.At(i).At("ports").is_list()
                 ? containers.At(i).At("ports").At(size_t{0}).At("containerPort").int_or()
                 : 0;
    if (port == 0) port = scheme == "https" ? 443 : 80;
    if (address.empty()) co_return base::Err(object::BadRequest("address not allowed"));
  } else {
    CO_TRY_ASSIGN(Value service, co_await Find(ctx, "services", r.namespace_name, to.name));
    CO_TRY_ASSIGN(Value endpoints, co_await Find(ctx, "endpoints", r.namespace_name, to.name));
    std::string port_name;
    const Value& ports = service.At("spec", "ports");
    if (ports.is_list())
      for (const Value& p : ports.list()) {
        bool this_one = to.port.empty() ? ports.list().size() == 1
                                        : p.At("name").string_or() == to.port || p.At("port").int_or() == port;
        if (this_one) port_name = p.At("name").string_or();
      }
    port = 0;
    const Value& subsets = endpoints.At("subsets");
    std::vector<std::pair<std::string, int64_t>> ready;
    if (subsets.is_list())
      for (const Value& s : subsets.list())
        if (s.At("ports").is_list() && s.At("addresses").is_list())
          for (const Value& p : s.At("ports").list())
            if (p.At("name").string_or() == port_name)
              for (const Value& a : s.At("addresses").list())
                ready.emplace_back(a.At("ip").string_or(), p.At("port").int_or());
    if (ready.empty())
      co_return base::Err(object::ServiceUnavailable("no endpoints available for service \"" + r.name + "\""));
    std::tie(address, port) = ready[registry_.random().Below(ready.size())];
  }
  auto ip = object::ParseIp(address);
  // A proxy into the server's own host or link would be a way around every network rule.
  if (!ip || ip->IsLoopback() || ip->IsLinkLocalUnicast() || ip->IsUnspecified())
    co_return base::Err(object::BadRequest("address not allowed"));
  t.origin = scheme + "://" + HostPort(address, port);
  co_return t;
}

base::Task<void> Streaming::Proxy(Exchange& e, Request r) {
  auto target = co_await ProxyTarget(e.context(), r, e.query());
  if (!target) {
    co_await RestFront::RespondError(e, target.error());
  } else if (Upgrades(e)) {
    co_await Splice(e, std::move(*target));
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
