#include "apiserver/chain/rest.h"

#include <algorithm>
#include <charconv>

#include "apiserver/chain/answer.h"
#include "apiserver/chain/encode.h"
#include "apiserver/chain/negotiate.h"
#include "apiserver/registry/body.h"
#include "base/log.h"
#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"
#include "machinery/object/names.h"

namespace apiserver::chain {

namespace object = machinery::object;
using base::net::Exchange;
using base::net::Headers;
using machinery::request::Options;
using machinery::request::PatchType;
using machinery::request::Verb;

namespace {

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

Headers TypedHeaders(std::string_view content_type) {
  Headers h;
  if (!content_type.empty()) h.Add("content-type", std::string(content_type));
  return h;
}

base::Status NotANumber(const std::string& text, std::string_view why) {
  return object::BadRequest("strconv.ParseInt: parsing " + object::GoQuote(text) + ": " + std::string(why));
}

base::Result<int64_t> Int(const std::string& text) {
  int64_t v = 0;
  const char* first = text.data() + (text.starts_with('+') ? 1 : 0);
  auto [end, error] = std::from_chars(first, text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size())
    return base::Err(
        NotANumber(text, error == std::errc::result_out_of_range ? "value out of range" : "invalid syntax"));
  return v;
}

bool Bool(const std::string& text) { return TrueParameter(text); }

base::Task<void> RespondEarly(Exchange& exchange, EarlyAnswer answer) {
  Headers headers;
  if (!answer.text.empty()) {
    headers.Add("content-type", "text/plain; charset=utf-8");
    headers.Add("x-content-type-options", "nosniff");
  }
  (void)co_await exchange.Respond(answer.code, std::move(headers), std::move(answer.text));
}

struct Wishes {
  Options options;
  bool pretty = false;
};

// The first value of a parameter counts, as in the original. Numbers matter to those verbs alone that know them.
base::Result<Wishes> ReadWishes(const Query& query, Verb verb) {
  bool lists = verb == Verb::kList || verb == Verb::kWatch || verb == Verb::kDeleteCollection;
  bool deletes = verb == Verb::kDelete || verb == Verb::kDeleteCollection;
  Wishes out;
  Options& o = out.options;
  std::vector<std::string_view> seen;
  for (const auto& [key, v] : query) {
    if (key != "dryRun" && std::ranges::find(seen, key) != seen.end()) continue;
    seen.push_back(key);
    if (key == "labelSelector")
      o.label_selector = v;
    else if (key == "fieldSelector")
      o.field_selector = v;
    else if (key == "resourceVersion")
      o.resource_version = v;
    else if (key == "resourceVersionMatch")
      o.resource_version_match = v;
    else if (key == "continue")
      o.continue_token = v;
    else if (key == "allowWatchBookmarks")
      o.allow_watch_bookmarks = Bool(v);
    else if (key == "sendInitialEvents")
      o.send_initial_events = Bool(v);
    else if (key == "dryRun")
      o.dry_run.push_back(v);
    else if (key == "fieldManager")
      o.field_manager = v;
    else if (key == "fieldValidation")
      o.field_validation = v;
    else if (key == "force")
      o.force = Bool(v);
    else if (key == "propagationPolicy")
      o.propagation_policy = v;
    else if (key == "orphanDependents")
      o.orphan_dependents = Bool(v);
    else if (key == "includeObject")
      o.include_object = v;
    else if (key == "pretty")
      out.pretty = Bool(v);
    else if (key == "limit" && lists) {
      TRY_ASSIGN(o.limit, Int(v));
    } else if (key == "timeoutSeconds" && lists) {
      TRY_ASSIGN(o.timeout_seconds, Int(v));
    } else if (key == "gracePeriodSeconds" && deletes) {
      TRY_ASSIGN(o.grace_period_seconds, Int(v));
    }
  }
  return out;
}

std::optional<PatchType> PatchTypeOf(std::string_view content_type) {
  std::string media = registry::MediaTypeOf(content_type);
  if (media == "application/json-patch+json") return PatchType::kJson;
  if (media == "application/merge-patch+json") return PatchType::kMerge;
  if (media == "application/strategic-merge-patch+json") return PatchType::kStrategicMerge;
  if (media == "application/apply-patch+yaml") return PatchType::kApplyYaml;
  return std::nullopt;
}

base::Status TimedOut() { return object::Timeout("request did not complete within the allotted timeout", 0); }

// Browsers and curl get indented answers.
bool LikesPretty(std::string_view user_agent) {
  return user_agent.starts_with("curl") || user_agent.starts_with("Wget") || user_agent.starts_with("Mozilla/5.0");
}

// What follows the subresource, as its path: "" or "/a/b", with the request's trailing slash.
std::string SubpathOf(const RequestInfo& info) {
  std::string out;
  for (size_t i = 3; i < info.parts.size(); ++i) out += "/" + info.parts[i];
  if (info.path.ends_with('/') && !out.ends_with('/')) out += '/';
  return out;
}

// Who asks for what; verb, options and body are the caller's to fill in.
Request Addressed(const Exchange& exchange, Identity identity, const RequestInfo& info) {
  Request r;
  r.identity = std::move(identity);
  r.group = info.group;
  r.version = info.version;
  r.resource = info.resource;
  if (info.in_namespace) r.namespace_name = info.namespace_name;
  r.name = info.path_name();
  r.subresource = info.subresource;
  r.user_agent = exchange.headers().Get("user-agent");
  r.source_address = exchange.peer().address;
  return r;
}

// No object has such a name: it would be another path. What else is wrong with a name is found out by looking for it.
base::Status CheckNames(const Request& r) {
  for (const auto& [what, text] : {std::pair("Namespace", &r.namespace_name), std::pair("Name", &r.name)})
    if (auto reasons = object::IsPathSegmentName(*text); !reasons.empty())
      return object::BadRequest(std::string(what) + " parameter invalid: " + object::GoQuote(*text) + ": " +
                                base::Join(reasons, ";"));
  return base::Ok();
}

std::string ConnectKey(std::string_view group, std::string_view version, std::string_view resource,
                       std::string_view subresource) {
  std::string out;
  for (std::string_view part : {group, version, resource, subresource}) (out += '/') += part;
  return out;
}

}  // namespace

struct RestFront::Impl {
  explicit Impl(Chain& chain) : chain(chain) {}
  Chain& chain;
  std::map<std::string, PathHandler, std::less<>> exact, prefixes;
  std::map<std::string, std::pair<Connect, ConnectHandler>, std::less<>> connects;
  PathHandler discovery;

  const PathHandler* Find(std::string_view path) const;
  base::Task<void> ServePath(Exchange& exchange, const Scope& scope);
  base::Task<void> NoSuchPage(Exchange& exchange);
  base::Task<void> ServeResource(Exchange& exchange, Scope& scope);
  base::Result<Request> BuildConnect(const Exchange& exchange, Scope& scope, const Connect& what);
  base::Result<Request> Build(const Exchange& exchange, Scope& scope);
  base::Task<base::Status> ReadBody(Exchange& exchange, Request& request);
  base::Task<void> Answer(Exchange& exchange, Scope& scope, Request request);
  base::Task<void> ServeWatch(Exchange& exchange, Scope& scope, const Request& request);
  base::Task<void> Refuse(Exchange& exchange, base::Status error, std::vector<std::string> warnings = {}) {
    return RespondError(exchange, std::move(error), &chain.services().registry->schema(), std::move(warnings));
  }
};

RestFront::RestFront(Chain& chain) : impl_(std::make_unique<Impl>(chain)) {}
RestFront::~RestFront() = default;

void RestFront::Mount(std::string path, PathHandler handler) {
  auto& into = path.ends_with('/') && path != "/" ? impl_->prefixes : impl_->exact;
  // unreachable from outside: mounted at start
  CHECK_MSG(into.emplace(path, std::move(handler)).second, path);
}
void RestFront::MountDiscovery(PathHandler handler) { impl_->discovery = std::move(handler); }
void RestFront::MountConnect(Connect what, ConnectHandler handler) {
  std::string key = ConnectKey(what.group, what.version, what.resource, what.subresource);
  // unreachable from outside: mounted at start
  CHECK_MSG(impl_->connects.emplace(key, std::pair(std::move(what), std::move(handler))).second, key);
}

std::string RestFront::Negotiate(std::string_view accept, const std::vector<std::string_view>& offered) {
  auto clauses = ParseAccept(accept);
  if (clauses.empty()) return std::string(offered.front());
  for (const auto& c : clauses) {
    for (auto offer : offered) {
      auto slash = offer.find('/');
      bool type = c.type == "*" || c.type == offer.substr(0, slash);
      bool subtype = c.subtype == "*" || c.subtype == offer.substr(slash + 1);
      if (type && subtype) return std::string(offer);
    }
  }
  return {};
}

base::Task<void> RestFront::RespondJson(Exchange& exchange, int code, std::string body) {
  Headers headers = TypedHeaders("application/json");
  (void)co_await exchange.Respond(code, std::move(headers), std::move(body));
}

base::Task<void> RestFront::RespondError(Exchange& exchange, base::Status error,
                                         const machinery::schema::Schema* schema, std::vector<std::string> warnings) {
  auto form = chain::Negotiate(exchange.headers().Get("accept"), {.list = true});
  bool negotiated = schema && form;
  Headers headers = TypedHeaders(negotiated ? form->content_type : "application/json");
  for (const auto& w : warnings) headers.Add("warning", "299 - " + Quoted(w));
  const auto* api = object::AsApiError(error);
  if (api && api->retry_after_seconds > 0) headers.Add("retry-after", std::to_string(api->retry_after_seconds));
  int code = object::HttpCodeOf(error);
  // The original's authorization filter adds this; other refusals do not have it.
  if ((code == 403 && error.message().find("forbidden: User \"") != std::string_view::npos) ||
      error.message().ends_with("without impersonating a user name"))
    headers.Add("x-content-type-options", "nosniff");
  std::string body = machinery::value::ToJson(object::ToStatusObject(error)) + "\n";
  if (negotiated && form->media != Media::kJson) body = EncodeStatus(*schema, form->media, error);
  if (exchange.method() == "HEAD") body.clear();
  (void)co_await exchange.Respond(code, std::move(headers), std::move(body));
}

// --- paths that are no resources ---

const PathHandler* RestFront::Impl::Find(std::string_view path) const {
  if (auto it = exact.find(path); it != exact.end()) return &it->second;
  bool whole = path == "/api/" || path == "/apis/" || path == "/version/";
  if (whole) path.remove_suffix(1);
  if (auto it = exact.find(path); whole && it != exact.end()) return &it->second;
  if (discovery && (path.starts_with("/api/") || path.starts_with("/apis/"))) return &discovery;
  for (auto it = prefixes.rbegin(); it != prefixes.rend(); ++it)
    if (path.starts_with(it->first)) return &it->second;
  return nullptr;
}

namespace {

// Paths that other methods than GET find, and find closed.
bool OnlyForGet(std::string_view path) {
  static constexpr std::string_view kExact[] = {"/api", "/version", "/version/", "/.well-known/openid-configuration",
                                                "/openid/v1/jwks"};
  size_t slash = path.starts_with("/apis/") ? path.find('/', 6) : path.npos;
  bool version = slash != path.npos && slash + 1 < path.size();  // a group alone answers to every method
  return std::ranges::find(kExact, path) != std::end(kExact) || path.starts_with("/api/") || version;
}

}  // namespace

base::Task<void> RestFront::Impl::ServePath(Exchange& exchange, const Scope& scope) {
  std::string_view path = scope.info->path;
  const auto* handler = Find(path);
  if (handler && OnlyForGet(path) && exchange.method() != "GET") {
    co_await Refuse(exchange, object::MethodNotAllowed());
    co_return;
  }
  if (handler) {
    co_await (*handler)(exchange, scope.identity);
    co_return;
  }
  co_await NoSuchPage(exchange);
}

base::Task<void> RestFront::Impl::NoSuchPage(Exchange& exchange) {
  return RespondEarly(exchange, {404, "404 page not found\n"});
}

// --- resources ---

base::Result<Request> RestFront::Impl::BuildConnect(const Exchange& exchange, Scope& scope, const Connect& what) {
  const RequestInfo& info = *scope.info;
  Request r = Addressed(exchange, scope.identity, info);
  bool fits = !info.by_prefix && !r.name.empty() && info.in_namespace == what.namespaced &&
              (what.subpath || info.parts.size() == 3) && !(what.namespaced && r.namespace_name.empty());
  if (!fits) return base::Err(object::UnknownPath());
  if (std::ranges::find(what.methods, exchange.method()) == what.methods.end())
    return base::Err(object::MethodNotAllowed());
  TRY(CheckNames(r));
  r.verb = Verb::kConnect;
  r.subpath = SubpathOf(info);
  r.parameters = std::move(scope.query);
  return r;
}

// The Request without its body: what is wrong with it beside that is said before the body is read.
base::Result<Request> RestFront::Impl::Build(const Exchange& exchange, Scope& scope) {
  const RequestInfo& info = *scope.info;
  Request r = Addressed(exchange, scope.identity, info);
  bool prefixed_watch = info.by_prefix && info.verb == "watch" && r.subresource.empty();
  bool path = info.parts.size() <= 3 && (prefixed_watch || !info.by_prefix);
  // An empty segment is no path of anything.
  if (!path || std::ranges::find(info.parts, "") != info.parts.end()) return base::Err(object::UnknownPath());
  TRY(chain.CheckPath(r));
  auto verb = machinery::request::ParseVerb(info.verb);
  bool reads = verb == Verb::kGet || verb == Verb::kList || verb == Verb::kWatch;
  if (!verb || (reads && exchange.method() != "GET")) return base::Err(object::MethodNotAllowed());
  r.verb = *verb;
  r.accept = exchange.headers().Get("accept");
  r.content_type = exchange.headers().Get("content-type");
  if (!CheckShape(r).ok()) return base::Err(object::MethodNotAllowed());
  TRY(chain.CheckServed(r));
  if (r.verb == Verb::kPatch) {
    auto type = PatchTypeOf(r.content_type);
    if (!type) return base::Err(object::GenericResponse(415, "415: Unsupported Media Type"));
    r.patch_type = *type;
  }
  TRY(CheckNames(r));
  TRY_ASSIGN(Wishes wishes, ReadWishes(scope.query, r.verb));
  r.options = std::move(wishes.options);
  r.parameters = std::move(scope.query);
  if ((wishes.pretty || (LikesPretty(r.user_agent) && !r.accept.starts_with("application/json;"))) &&
      r.verb != Verb::kWatch) {
    // Each clause may carry the wish; one that stands for JSON is enough.
    r.accept = (r.accept.empty() || r.accept == "*/*" ? std::string("application/json") : r.accept) + ";pretty=1";
  }
  return r;
}

base::Task<base::Status> RestFront::Impl::ReadBody(Exchange& exchange, Request& request) {
  if (exchange.method() == "GET") co_return base::Ok();
  size_t limit = chain.limits().max_body_bytes;
  auto body = co_await exchange.ReadAll(exchange.context(), limit);
  if (!body && body.error().code() == base::Code::kResourceExhausted)
    co_return object::RequestEntityTooLarge("limit is " + std::to_string(limit));
  if (!body) co_return body.error();
  request.body = base::Share(std::move(*body));
  co_return base::Ok();
}

base::Task<void> RestFront::Impl::ServeResource(Exchange& exchange, Scope& scope) {
  const RequestInfo& info = *scope.info;
  // Resources are served below their own beginning only: not below "//api", nor in an empty group.
  if (!info.path.starts_with(info.group.empty() ? "/api/" : "/apis/") ||
      !chain.services().registry->ServesGroup(info.group)) {
    co_await NoSuchPage(exchange);
    co_return;
  }
  auto connect = connects.find(ConnectKey(info.group, info.version, info.resource, info.subresource));
  bool connects_to = connect != connects.end() && !info.subresource.empty();
  auto request = connects_to ? BuildConnect(exchange, scope, connect->second.first) : Build(exchange, scope);
  if (!request) {
    co_await Refuse(exchange, request.error());
  } else if (connects_to) {
    co_await connect->second.second(exchange, std::move(*request));
  } else if (request->verb == Verb::kWatch) {
    co_await ServeWatch(exchange, scope, *request);
  } else {
    co_await Answer(exchange, scope, std::move(*request));
  }
}

base::Task<void> RestFront::Impl::Answer(Exchange& exchange, Scope& scope, Request request) {
  // A slow body holds its seat no longer than a slow store would.
  if (auto s = co_await ReadBody(exchange, request); !s.ok()) {
    co_await Refuse(exchange, s.code() == base::Code::kDeadlineExceeded ? TimedOut() : s);
    co_return;
  }
  auto response = co_await chain.Do(scope, request);
  if (!response) {
    co_await Refuse(exchange, response.error(), scope.warnings);
    co_return;
  }
  Headers headers = TypedHeaders(response->content_type);
  for (const auto& w : response->warnings) headers.Add("warning", "299 - " + Quoted(w));
  (void)co_await exchange.Respond(response->code, std::move(headers), std::move(response->body));
}

base::Task<void> RestFront::Impl::ServeWatch(Exchange& exchange, Scope& scope, const Request& request) {
  auto stream = co_await chain.Watch(scope, request);
  if (!stream) {
    co_await Refuse(exchange, stream.error());
    co_return;
  }
  auto started = co_await exchange.StartResponse(200, TypedHeaders((*stream)->content_type()));
  // Most events find this coroutine asleep and the client keeping up: they leave without waking it.
  if (started.ok())
    (*stream)->OfferTo(Framing::kStream, [&exchange](base::SharedBytes& frame) { return exchange.TryWrite(frame); });
  while (started.ok()) {
    auto frame = co_await (*stream)->NextFrame(exchange.context());
    if (!frame || !*frame) break;
    started = co_await exchange.Write(std::move(*frame));
  }
  if (started.ok()) (void)co_await exchange.Finish();
}

base::Task<void> RestFront::Serve(Exchange& inner) {
  Scope scope(impl_->chain.state(), {.wire = Wire::kRest,
                                     .method = inner.method(),
                                     .path = inner.path(),
                                     .query = inner.query(),
                                     .http_major = inner.http_major(),
                                     .headers = &inner.headers(),
                                     .peer = &inner.peer(),
                                     .context = inner.context()});
  chain::Answer exchange(inner, scope);
  auto passed = co_await impl_->chain.Pass(scope, Stage::kMessage);
  if (!passed.ok()) {
    co_await impl_->Refuse(exchange, std::move(passed));
  } else if (scope.early) {
    co_await RespondEarly(exchange, std::move(*scope.early));
  } else if (scope.info->resource_request) {
    co_await impl_->ServeResource(exchange, scope);
  } else {
    co_await impl_->ServePath(exchange, scope);
  }
}

}  // namespace apiserver::chain
