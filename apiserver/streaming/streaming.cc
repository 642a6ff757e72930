#include "apiserver/streaming/streaming.h"

#include <algorithm>
#include <charconv>

#include "apiserver/auth/question.h"
#include "apiserver/registry/validation/validation.h"
#include "apiserver/streaming/proxy_rules.h"
#include "apiserver/streaming/wire.h"
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
  TRY_ASSIGN(out->kubelet_tls_, base::net::ClientTls::FromFiles(files));
  files.ca_file.clear();
  files.skip_verify = true;
  TRY_ASSIGN(out->unchecked_kubelet_tls_, base::net::ClientTls::FromFiles(files));
  TRY_ASSIGN(out->anybody_tls_, base::net::ClientTls::FromFiles({.skip_verify = true}));
  out->name_pool_ = base::NewThreadPool("node-names", 1);
  return out;
}

void Streaming::MountOn(RestFront& front) {
  front.MountConnect({.version = "v1", .resource = "pods", .subresource = "log", .methods = {"GET"}},
                     [this](Exchange& e, Request r) { return Log(e, std::move(r)); });
  for (const char* name : {"exec", "attach", "portforward"})
    front.MountConnect({.version = "v1", .resource = "pods", .subresource = name, .methods = {"GET", "POST"}},
                       [this](Exchange& e, Request r) { return Stream(e, std::move(r)); });
  for (const char* resource : {"nodes", "pods", "services"})
    front.MountConnect({.version = "v1",
                        .resource = resource,
                        .subresource = "proxy",
                        .methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"},
                        .namespaced = std::string_view(resource) != "nodes",
                        .subpath = true},
                       [this](Exchange& e, Request r) { return Proxy(e, std::move(r)); });
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

base::Task<base::Result<Streaming::Kubelet>> Streaming::FindKubelet(base::Context ctx, std::string name) {
  CO_TRY_ASSIGN(Value node, co_await Find(ctx, "nodes", "", name));
  Kubelet out;
  out.port = node.At("status", "daemonEndpoints", "kubeletEndpoint", "Port").int_or();
  if (out.port <= 0) out.port = access_.default_port;
  const Value& addresses = node.At("status", "addresses");
  for (const auto& type : access_.preferred_address_types)
    if (addresses.is_list())
      for (const Value& a : addresses.list())
        if (a.At("type").string_or() == type) {
          out.host = a.At("address").string_or();
          co_return out;
        }
  co_return base::Err(object::InternalError("no preferred addresses found; known addresses: []"));
}

base::Task<base::Result<std::string>> Streaming::KubeletOrigin(base::Context ctx, std::string node) {
  auto kubelet = co_await FindKubelet(ctx, node);
  // The original looks the node up on behalf of the pod and names that resource.
  if (!kubelet && object::IsNotFound(kubelet.error())) co_return base::Err(object::NotFound({"", "pods"}, node));
  if (!kubelet) co_return base::Err(kubelet.error());
  co_return "https://" + HostPort(kubelet->host, kubelet->port);
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
  t.path = EscapePath("/containerLogs/" + r.namespace_name + "/" + r.name + "/" + container) +
           QueryOf(r, {"follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes",
                       "stream"});
  t.tls = True(Parameter(r, "insecureSkipTLSVerifyBackend")) ? unchecked_kubelet_tls_ : kubelet_tls_;
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

// A WebSocket is opened by GET, SPDY by POST: a rule for "get" alone must not open what the other needs "create" for.
base::Status Streaming::MayStream(const Exchange& e, const Request& r) const {
  if (e.method() == "POST") return base::Ok();
  auto verdict = auth::Ask(registry_.facilities().authorizer, auth::QuestionAbout(r, "create"));
  if (verdict.decision == auth::Decision::kAllow) return base::Ok();
  return object::Forbidden({r.group, r.resource}, r.name, verdict.reason);
}

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
  t.path = EscapePath(path) + query;
  t.tls = kubelet_tls_;
  co_return t;
}

base::Task<void> Streaming::Stream(Exchange& e, Request r) {
  if (auto s = MayStream(e, r); !s.ok()) {
    co_await RestFront::RespondError(e, s);
    co_return;
  }
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

}  // namespace apiserver::streaming
