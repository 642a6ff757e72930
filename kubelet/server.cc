#include "kubelet/server.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/net/client.h"
#include "kubelet/attributes.h"
#include "kubelet/logs.h"
#include "kubelet/manifests.h"
#include "machinery/object/time.h"
#include "proto/k8s/authentication/v1/authentication.pb.h"
#include "proto/k8s/authorization/v1/authorization.pb.h"

namespace kubelet {
namespace {

namespace net = base::net;
namespace authentication = ::k8s::io::api::authentication::v1;
namespace authorization = ::k8s::io::api::authorization::v1;

constexpr size_t kMostCached = 4096;

std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < path.size()) {
    size_t next = path.find('/', at);
    if (next == std::string_view::npos) next = path.size();
    if (next > at) out.push_back(net::PercentDecode(path.substr(at, next - at)));
    at = next + 1;
  }
  return out;
}

std::string Get(const std::vector<std::pair<std::string, std::string>>& query, std::string_view name) {
  for (const auto& [k, v] : query)
    if (k == name) return v;
  return "";
}

bool Truthy(const std::string& v) { return v == "1" || v == "true" || v == "True" || v == "t"; }

base::Task<base::Status> Text(net::Exchange& e, int code, std::string text) {
  net::Headers headers;
  headers.Add("content-type", "text/plain; charset=utf-8");
  if (!text.ends_with('\n')) text += '\n';
  return e.Respond(code, std::move(headers), std::move(text));
}

base::Task<base::Status> Json(net::Exchange& e, std::string text) {
  net::Headers headers;
  headers.Add("content-type", "application/json");
  return e.Respond(200, std::move(headers), std::move(text));
}

using Query = std::vector<std::pair<std::string, std::string>>;

// A whole number of the query; absent is fine.
base::Result<std::optional<int64_t>> NumberIn(const Query& query, std::string_view name) {
  std::string text = Get(query, name);
  if (text.empty()) return std::nullopt;
  int64_t out = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc() && end == text.data() + text.size()) return out;
  return base::Err(base::InvalidArgument("{\"message\": \"Unable to decode query.\"}"));
}

base::Result<lines::Options> LogOptionsOf(const Query& query, int64_t now_ns) {
  lines::Options o;
  const auto invalid = [] { return base::Err(base::OutOfRange("{\"message\": \"Invalid request.\"}")); };
  o.follow = Truthy(Get(query, "follow"));
  o.timestamps = Truthy(Get(query, "timestamps"));
  o.stream = Get(query, "stream");
  if (Get(query, "tailLines") != "all") {
    TRY_ASSIGN(o.tail_lines, NumberIn(query, "tailLines"));
  }
  TRY_ASSIGN(o.limit_bytes, NumberIn(query, "limitBytes"));
  TRY_ASSIGN(auto seconds, NumberIn(query, "sinceSeconds"));
  const std::string time = Get(query, "sinceTime");
  if (o.tail_lines.value_or(0) < 0 || o.limit_bytes.value_or(1) < 1 || seconds.value_or(1) < 1) return invalid();
  if (!o.stream.empty() && o.stream != "All" && o.stream != "Stdout" && o.stream != "Stderr") return invalid();
  if (seconds && !time.empty()) return invalid();
  constexpr int64_t kNanos = 1'000'000'000;
  if (seconds && *seconds < now_ns / kNanos) o.since_ns = now_ns - *seconds * kNanos;
  if (time.empty()) return o;
  auto since = machinery::object::ParseTime(time);
  if (!since) return base::Err(base::InvalidArgument("{\"message\": \"Unable to decode query.\"}"));
  o.since_ns = since->seconds * kNanos + since->nanos;
  return o;
}

}  // namespace

Server::Server(base::Loop& loop, Agent& agent, machinery::client::Client* client, net::HealthEndpoints& health,
               ServerOptions options)
    : loop_(loop), agent_(agent), client_(client), health_(health), options_(std::move(options)) {}

base::Task<void> Server::Handle(net::Exchange& e) {
  auto user = co_await Authenticate(e);
  if (!user) {
    if (user.error().code() != base::Code::kUnauthenticated)
      base::LogWarning("Unable to authenticate the request", {{"err", user.error()}});
    (void)co_await Text(e, 401, "Unauthorized");
    co_return;
  }
  if (!options_.webhook_authorization) co_return co_await Route(e);
  const std::string verb = VerbOf(e.method());
  std::vector<std::string> asked;
  bool allowed = false;
  for (const auto& part : SubresourcesOf(net::PercentDecode(e.path()))) {
    asked.push_back(part);
    auto answer = co_await Ask(e.context(), *user, verb, part);
    if (!answer) {
      base::LogError("Authorization error", answer.error(), {{"user", user->name}, {"subresource", part}});
      (void)co_await Text(e, 500,
                          fmt::format("Authorization error (user={}, verb={}, resource=nodes, subresource={})",
                                      user->name, verb, part));
      co_return;
    }
    allowed = *answer;
    if (allowed) break;
  }
  if (!allowed) {
    (void)co_await Text(e, 403,
                        fmt::format("Forbidden (user={}, verb={}, resource=nodes, subresource(s)=[{}])", user->name,
                                    verb, fmt::join(asked, " ")));
    co_return;
  }
  co_await Route(e);
}

base::Task<base::Result<Server::User>> Server::Authenticate(net::Exchange& e) {
  const auto& peer = e.peer();
  if (peer.verified_chain && !peer.common_name.empty()) {
    User user{peer.common_name, "", peer.organizations, {}};
    user.groups.push_back("system:authenticated");
    co_return user;
  }
  std::string_view header = e.headers().Get("authorization");
  if (options_.webhook_authentication && header.size() > 7 &&
      (header.starts_with("Bearer ") || header.starts_with("bearer "))) {
    std::string token(header.substr(7)), key = base::Sha256(token);
    auto it = tokens_.find(key);
    if (it != tokens_.end() && loop_.Now() < it->second.until) {
      if (it->second.value) co_return *it->second.value;
      co_return base::Err(base::Unauthenticated("the token is not valid"));
    }
    if (!client_) co_return base::Err(base::Unauthenticated("tokens cannot be checked without an API server"));
    authentication::TokenReview review;
    review.mutable_spec()->set_token(token);
    auto answer = co_await client_->Create<authentication::TokenReview>(
        e.context().WithTimeout(loop_, std::chrono::seconds(10)), std::move(review));
    if (!answer) co_return base::Err(std::move(answer.error()));
    if (tokens_.size() > kMostCached) tokens_.clear();
    if (!answer->status().authenticated()) {
      tokens_[key] = {std::nullopt, loop_.Now() + std::chrono::seconds(10)};
      co_return base::Err(base::Unauthenticated("the token is not valid"));
    }
    const auto& u = answer->status().user();
    User user{u.username(), u.uid(), {u.groups().begin(), u.groups().end()}, {}};
    for (const auto& [name, values] : u.extra()) user.extra[name] = {values.items().begin(), values.items().end()};
    tokens_[key] = {user, loop_.Now() + options_.token_ttl};
    co_return user;
  }
  if (options_.anonymous && header.empty()) co_return User{"system:anonymous", "", {"system:unauthenticated"}, {}};
  co_return base::Err(base::Unauthenticated("no credentials"));
}

base::Task<base::Result<bool>> Server::Ask(base::Context ctx, const User& user, std::string verb, std::string part) {
  std::string key = user.name + "\n" + verb + "\n" + part;
  for (const auto& g : user.groups) key += "\n" + g;
  for (const auto& [name, values] : user.extra)
    for (const auto& v : values) key += "\n" + name + "=" + v;
  auto it = decisions_.find(key);
  if (it != decisions_.end() && loop_.Now() < it->second.until) co_return it->second.value;
  if (!client_) co_return base::Err(base::Unavailable("nobody can be asked without an API server"));
  authorization::SubjectAccessReview review;
  auto* spec = review.mutable_spec();
  spec->set_user(user.name);
  spec->set_uid(user.uid);
  for (const auto& g : user.groups) spec->add_groups(g);
  for (const auto& [name, values] : user.extra)
    for (const auto& v : values) (*spec->mutable_extra())[name].add_items(v);
  auto* a = spec->mutable_resourceattributes();
  a->set_verb(verb);
  a->set_version("v1");
  a->set_resource("nodes");
  a->set_subresource(part);
  a->set_name(agent_.node().options().name);
  auto answer = co_await client_->Create<authorization::SubjectAccessReview>(
      ctx.WithTimeout(loop_, std::chrono::seconds(10)), std::move(review));
  if (!answer) co_return base::Err(std::move(answer.error()));
  if (decisions_.size() > kMostCached) decisions_.clear();
  bool yes = answer->status().allowed();
  decisions_[key] = {yes, loop_.Now() + (yes ? options_.allowed_ttl : options_.denied_ttl)};
  co_return yes;
}

base::Task<void> Server::Route(net::Exchange& e) {
  std::vector<std::string> path = SplitPath(e.path());
  const std::string first = path.empty() ? "" : path[0];
  if (first == "containerLogs") co_return co_await Logs(e, std::move(path));
  if (first == "exec") co_return co_await Exec(e, std::move(path), false);
  if (first == "attach") co_return co_await Exec(e, std::move(path), true);
  if (first == "portForward") co_return co_await PortForward(e, std::move(path));
  if (first == "pods" && path.size() == 1) {
    std::vector<PodPtr> pods;
    for (const auto& p : agent_.workers().All()) {
      auto copy = std::make_shared<api::Pod>(*p);
      if (const auto* status = agent_.statuses().Get(RuntimeUid(*p))) *copy->mutable_status() = *status;
      pods.push_back(std::move(copy));
    }
    (void)co_await Json(e, PodListJson(pods));
    co_return;
  }
  if (first == "configz") {
    (void)co_await Json(e, options_.configz);
    co_return;
  }
  if (first == "stats" && path.size() == 2 && path[1] == "summary") co_return co_await Summary(e);
  if (first == "run" || first == "logs" || first == "checkpoint" || first == "debug" ||
      (first == "metrics" && path.size() > 1)) {
    (void)co_await Text(e, 501, "/" + first + " is not supported yet by keelson");
    co_return;
  }
  if (health_.Owns(e.path())) co_return co_await health_.Serve(e);
  (void)co_await Text(e, 404, "404 page not found");
}

base::Result<Server::Target> Server::FindTarget(const std::vector<std::string>& path) const {
  // /verb/namespace/pod[/uid]/container
  if (path.size() < 4) return base::Err(base::InvalidArgument("missing namespace, pod or container"));
  Target t;
  t.pod = agent_.workers().FindByName(path[1], path[2]);
  if (!t.pod || (path.size() > 4 && RuntimeUid(*t.pod) != path[3]))
    return base::Err(base::NotFound("pod does not exist"));
  t.container = FindContainer(*t.pod, path.back());
  const auto* observed = agent_.workers().ObservedOf(RuntimeUid(*t.pod));
  if (const auto* c = observed ? observed->Find(path.back()) : nullptr) t.container_id = c->id;
  return t;
}

base::Result<std::string> Server::LogFile(const Target& t, const std::string& container, bool previous) const {
  const std::string quoted = base::GoQuote(container), pod = base::GoQuote(t.pod->metadata().name());
  if (!t.container) return base::Err(base::NotFound("container " + quoted + " not found in pod " + pod));
  const auto* observed = agent_.workers().ObservedOf(RuntimeUid(*t.pod));
  std::vector<const ObservedContainer*> all;
  if (observed)
    for (const auto& c : observed->containers)
      if (c.name == container) all.push_back(&c);
  if (previous) {
    // What ran before the one that runs, or the last that ended when a new one is not there yet.
    for (size_t i = 0; i < all.size(); ++i)
      if (all[i]->state == ContainerState::kExited && (i > 0 || all[i]->restart_count > 0)) {
        if (i == 0 && all.size() > 1) continue;
        return all[i]->log_path;
      }
    return base::Err(
        base::InvalidArgument("previous terminated container " + quoted + " in pod " + pod + " not found"));
  }
  for (const auto* c : all)
    if (c->state != ContainerState::kCreated && !c->log_path.empty()) return c->log_path;
  std::string why = "ContainerCreating";
  if (const auto* status = agent_.statuses().Get(RuntimeUid(*t.pod)))
    for (const auto* list :
         {&status->containerstatuses(), &status->initcontainerstatuses(), &status->ephemeralcontainerstatuses()})
      for (const auto& s : *list)
        if (s.name() == container && s.state().has_waiting()) why = s.state().waiting().reason();
  if (why == "ErrImagePull") why = "trying and failing to pull image";
  if (why == "ImagePullBackOff" || why == "ErrImageNeverPull") why = "image can't be pulled";
  return base::Err(base::InvalidArgument("container " + quoted + " in pod " + pod + " is waiting to start: " + why));
}

base::Task<void> Server::Logs(net::Exchange& e, std::vector<std::string> path) {
  auto query = net::ParseQuery(e.query());
  auto target = FindTarget(path);
  if (!target) {
    bool missing = target.error().code() == base::Code::kNotFound;
    (void)co_await Text(
        e, missing ? 404 : 400,
        missing ? "pod \"" + (path.size() > 2 ? path[2] : "") + "\" not found" : std::string(target.error().message()));
    co_return;
  }
  auto o = LogOptionsOf(query, WallNanos(loop_.clock()));
  if (!o) {
    bool undecoded = o.error().code() == base::Code::kInvalidArgument;
    (void)co_await Text(e, undecoded ? 400 : 422, std::string(o.error().message()));
    co_return;
  }
  bool previous = Truthy(Get(query, "previous"));
  auto file = LogFile(*target, path.back(), previous);
  if (!file) {
    (void)co_await Text(e, file.error().code() == base::Code::kNotFound ? 404 : 400,
                        std::string(file.error().message()));
    co_return;
  }
  net::Headers headers;
  headers.Add("content-type", "text/plain");
  if (!(co_await e.StartResponse(200, std::move(headers))).ok()) co_return;
  std::string uid = RuntimeUid(*target->pod), id = target->container_id;
  auto running = [this, uid, id, previous] {
    if (previous) return false;
    const auto* observed = agent_.workers().ObservedOf(uid);
    const auto* c = observed ? observed->FindId(id) : nullptr;
    return c && c->state == ContainerState::kRunning;
  };
  auto send = [&e](std::string piece) { return e.Write(base::Share(std::move(piece))); };
  base::Status s =
      co_await ReadLog(loop_, e.context(), agent_.settings().pod_logs_directory, *file, std::move(*o), send, running);
  if (!s.ok() && e.context().status().ok()) (void)co_await e.Write(base::Share(std::string(s.message()) + "\n"));
  (void)co_await e.Finish();
}

base::Task<void> Server::Exec(net::Exchange& e, std::vector<std::string> path, bool attach) {
  auto query = net::ParseQuery(e.query());
  auto target = FindTarget(path);
  if (!target) {
    (void)co_await Text(e, target.error().code() == base::Code::kNotFound ? 404 : 400,
                        std::string(target.error().message()));
    co_return;
  }
  if (target->container_id.empty()) {
    (void)co_await Text(e, 404, "container not found (\"" + path.back() + "\")");
    co_return;
  }
  bool tty = Truthy(Get(query, "tty")), in = Truthy(Get(query, "input")) || Truthy(Get(query, "stdin"));
  bool out = Truthy(Get(query, "output")) || Truthy(Get(query, "stdout"));
  // One terminal has one output.
  bool err = !tty && (Truthy(Get(query, "error")) || Truthy(Get(query, "stderr")));
  if (!in && !out && !err) {
    (void)co_await Text(e, 400, "you must specify at least 1 of stdin, stdout, stderr");
    co_return;
  }
  base::Result<std::string> url = base::Err(base::Unknown(""));
  if (attach) {
    cri::AttachRequest r;
    r.set_container_id(target->container_id);
    r.set_stdin(in);
    r.set_stdout(out);
    r.set_stderr(err);
    r.set_tty(target->container && target->container->tty());
    if (r.tty()) r.set_stderr(false);
    auto a = co_await agent_.runtime().Attach(e.context(), std::move(r));
    url = a ? base::Result<std::string>(a->url()) : base::Err(a.error());
  } else {
    cri::ExecRequest r;
    r.set_container_id(target->container_id);
    for (const auto& [k, v] : query)
      if (k == "command") r.add_cmd(v);
    r.set_stdin(in);
    r.set_stdout(out);
    r.set_stderr(err);
    r.set_tty(tty);
    auto a = co_await agent_.runtime().Exec(e.context(), std::move(r));
    url = a ? base::Result<std::string>(a->url()) : base::Err(a.error());
  }
  if (!url) {
    (void)co_await Text(e, 500, runtimes::RpcErrorText(url.error()));
    co_return;
  }
  co_await Stream(e, std::move(*url));
}

base::Task<void> Server::PortForward(net::Exchange& e, std::vector<std::string> path) {
  PodPtr pod = path.size() >= 3 ? agent_.workers().FindByName(path[1], path[2]) : nullptr;
  const auto* observed = pod ? agent_.workers().ObservedOf(RuntimeUid(*pod)) : nullptr;
  if (!observed || observed->sandboxes.empty()) {
    (void)co_await Text(e, 404, "pod does not exist");
    co_return;
  }
  cri::PortForwardRequest r;
  r.set_pod_sandbox_id(observed->sandboxes.front().id);
  for (const auto& [k, v] : net::ParseQuery(e.query())) {
    if (k != "port") continue;
    int port = 0;
    auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), port);
    if (error != std::errc() || end != v.data() + v.size() || port < 1 || port > 65535) {
      (void)co_await Text(e, 400, "invalid port " + base::GoQuote(v));
      co_return;
    }
    r.add_port(port);
  }
  auto a = co_await agent_.runtime().PortForward(e.context(), std::move(r));
  if (!a) {
    (void)co_await Text(e, 500, runtimes::RpcErrorText(a.error()));
    co_return;
  }
  co_await Stream(e, a->url());
}

base::Task<void> Server::Stream(net::Exchange& e, std::string url) {
  size_t scheme = url.find("://"), slash = url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  if (scheme == std::string::npos || slash == std::string::npos) {
    (void)co_await Text(e, 500, "the runtime's streaming address cannot be read: " + url);
    co_return;
  }
  net::ClientOptions options;
  options.endpoints = {url.substr(0, slash)};
  options.force_http1 = true;
  net::Client client(loop_, std::move(options));
  net::ClientRequest request{.method = std::string(e.method()), .path = url.substr(slash)};
  for (const auto& [name, value] : e.headers().fields())
    if (name != "host" && name != "authorization" && name != "content-length" && name != "transfer-encoding")
      request.headers.Add(name, value);
  auto upstream = co_await client.Upgrade(e.context(), std::move(request));
  if (!upstream) {
    (void)co_await Text(e, 500,
                        "error dialing the runtime's streaming server: " + std::string(upstream.error().message()));
    co_return;
  }
  if (!upstream->stream) {
    net::Headers headers;
    headers.Add("content-type", std::string(upstream->headers.Get("content-type")));
    (void)co_await e.Respond(upstream->status, std::move(headers), std::move(upstream->body));
    co_return;
  }
  auto down = co_await e.Upgrade(std::move(upstream->headers));
  if (!down) co_return;
  (void)co_await net::Splice(loop_, e.context(), std::move(*down), std::move(upstream->stream));
}

base::Task<void> Server::Summary(net::Exchange& e) {
  base::JsonWriter w;
  int64_t now_s = WallNanos(loop_.clock()) / 1'000'000'000;
  char stamp[32];
  time_t t = now_s;
  tm parts{};
  gmtime_r(&t, &parts);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &parts);
  auto usage = [&](const std::optional<cgroups::Manager::Usage>& u) {
    if (!u) return;
    w.Key("cpu").BeginObject().Key("time").String(stamp).Key("usageCoreNanoSeconds").Uint(u->cpu_ns).EndObject();
    w.Key("memory").BeginObject().Key("time").String(stamp).Key("usageBytes").Uint(u->memory_bytes);
    w.Key("workingSetBytes").Uint(u->working_set_bytes).EndObject();
  };
  w.BeginObject().Key("node").BeginObject().Key("nodeName").String(agent_.node().options().name);
  usage(agent_.cgroups().NodeUsage());
  w.EndObject().Key("pods").BeginArray();
  for (const auto& pod : agent_.workers().All()) {
    w.BeginObject().Key("podRef").BeginObject().Key("name").String(pod->metadata().name());
    w.Key("namespace").String(pod->metadata().namespace_()).Key("uid").String(pod->metadata().uid()).EndObject();
    usage(agent_.cgroups().PodUsage(*pod));
    w.EndObject();
  }
  w.EndArray().EndObject();
  (void)co_await Json(e, w.Take());
}

}  // namespace kubelet
