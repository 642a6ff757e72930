#include "apiserver/chain/rest.h"

#include <algorithm>
#include <charconv>

#include "apiserver/chain/answer.h"
#include "apiserver/chain/encode.h"
#include "apiserver/chain/negotiate.h"
#include "apiserver/registry/body.h"
#include "base/log.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"

namespace apiserver::chain {

namespace object = machinery::object;
using base::net::Exchange;
using base::net::Headers;
using machinery::request::Options;
using machinery::request::PatchType;
using machinery::request::Verb;

namespace {

constexpr std::string_view kCacheControl = "no-cache, private";

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

Headers StandardHeaders(std::string_view content_type) {
  Headers h;
  h.Add("cache-control", std::string(kCacheControl));
  if (!content_type.empty()) h.Add("content-type", std::string(content_type));
  return h;
}

base::Status NotANumber(const std::string& text) {
  return object::BadRequest("strconv.ParseInt: parsing " + object::GoQuote(text) + ": invalid syntax");
}

base::Result<int64_t> Int(const std::string& text) {
  int64_t v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size()) return base::Err(NotANumber(text));
  return v;
}

// As the original reads booleans of queries: present and not "false" or "0" is true.
bool Bool(const std::string& text) { return text != "false" && text != "0"; }

using Query = std::vector<std::pair<std::string, std::string>>;

struct ReadQuery {
  Options options;
  bool watch = false, pretty = false;
};

base::Result<ReadQuery> Read(const Query& query) {
  ReadQuery out;
  Options& o = out.options;
  for (const auto& [key, v] : query) {
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
    else if (key == "watch")
      out.watch = Bool(v);
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
    else if (key == "limit" && !v.empty()) {
      TRY_ASSIGN(o.limit, Int(v));
    } else if (key == "timeoutSeconds" && !v.empty()) {
      TRY_ASSIGN(o.timeout_seconds, Int(v));
    } else if (key == "gracePeriodSeconds" && !v.empty()) {
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

// nullopt: this method does nothing on such a path.
std::optional<Verb> VerbOf(std::string_view method, const ParsedPath& p, bool watch) {
  bool named = !p.name.empty();
  if (method == "GET") {
    if (watch) return Verb::kWatch;
    return named ? Verb::kGet : Verb::kList;
  }
  if (method == "POST") return named && p.subresource.empty() ? std::nullopt : std::optional(Verb::kCreate);
  if (method == "PUT") return named ? std::optional(Verb::kUpdate) : std::nullopt;
  if (method == "PATCH") return named ? std::optional(Verb::kPatch) : std::nullopt;
  if (method == "DELETE") return named ? Verb::kDelete : Verb::kDeleteCollection;
  return std::nullopt;
}

// Browsers and curl get indented answers.
bool LikesPretty(std::string_view user_agent) {
  return user_agent.starts_with("curl") || user_agent.starts_with("Wget") || user_agent.starts_with("Mozilla/5.0");
}

// Who asks for what; verb, options and body are the caller's to fill in.
Request Addressed(const Exchange& exchange, Identity identity, const ParsedPath& path) {
  Request r;
  r.identity = std::move(identity);
  r.group = path.group;
  r.version = path.version;
  r.resource = path.resource_name;
  r.namespace_name = path.namespace_name;
  r.name = path.name;
  r.subresource = path.subresource;
  r.subpath = path.subpath;
  r.user_agent = exchange.headers().Get("user-agent");
  r.source_address = exchange.peer().address;
  return r;
}

}  // namespace

Impersonation ImpersonationOf(const Headers& headers) {
  constexpr std::string_view kExtra = "impersonate-extra-";
  Impersonation who;
  for (const auto& [name, value] : headers.fields()) {
    if (!name.starts_with("impersonate-")) continue;
    if (name == "impersonate-user") who.user = value;
    if (name == "impersonate-uid") who.uid = value;
    if (name == "impersonate-group") who.groups.push_back(value);
    if (name.starts_with(kExtra)) who.extra[base::net::PercentDecode(name.substr(kExtra.size()))].push_back(value);
  }
  return who;
}

std::string BearerTokenOf(const Headers& headers) {
  std::string_view value = headers.Get("authorization");
  constexpr std::string_view kBearer = "bearer ";
  if (value.size() <= kBearer.size()) return {};
  bool bearer = std::equal(kBearer.begin(), kBearer.end(), value.begin(),
                           [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
  if (!bearer) return {};
  value.remove_prefix(kBearer.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  return std::string(value);
}

struct RestFront::Impl {
  Impl(Chain& chain, base::Random& random) : chain(chain), random(random) {}
  Chain& chain;
  base::Random& random;
  std::map<std::string, PathHandler, std::less<>> exact, prefixes;
  std::map<std::string, ConnectHandler, std::less<>> connects;
  PathHandler discovery;

  const PathHandler* Find(std::string_view path) const;
  base::Task<void> ServePath(Exchange& exchange, Identity identity);
  base::Task<void> ServeResource(Exchange& exchange, Identity identity, ParsedPath path);
  base::Task<base::Result<Request>> Build(Exchange& exchange, Identity identity, const ParsedPath& path);
  base::Task<void> ServeWatch(Exchange& exchange, const Request& request);
  base::Task<base::Result<Identity>> Identify(Exchange& exchange);
  std::string NewAuditId() {
    std::string bytes;
    base::PutBigEndian64(bytes, random.Next());
    base::PutBigEndian64(bytes, random.Next());
    return base::UuidFromBytes(bytes);
  }
  base::Task<void> Refuse(Exchange& exchange, base::Status error, std::vector<std::string> warnings = {}) {
    return RespondError(exchange, std::move(error), &chain.services().registry->schema(), std::move(warnings));
  }
};

RestFront::RestFront(Chain& chain, base::Random& random) : impl_(std::make_unique<Impl>(chain, random)) {}
RestFront::~RestFront() = default;

void RestFront::Mount(std::string path, PathHandler handler) {
  auto& into = path.ends_with('/') && path != "/" ? impl_->prefixes : impl_->exact;
  // unreachable from outside: mounted at start
  CHECK_MSG(into.emplace(path, std::move(handler)).second, path);
}
void RestFront::MountDiscovery(PathHandler handler) { impl_->discovery = std::move(handler); }
void RestFront::MountConnect(std::string resource_and_subresource, ConnectHandler handler) {
  impl_->connects[std::move(resource_and_subresource)] = std::move(handler);
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
  Headers headers = StandardHeaders("application/json");
  (void)co_await exchange.Respond(code, std::move(headers), std::move(body));
}

base::Task<void> RestFront::RespondError(Exchange& exchange, base::Status error,
                                         const machinery::schema::Schema* schema, std::vector<std::string> warnings) {
  auto form = chain::Negotiate(exchange.headers().Get("accept"), {.list = true});
  bool negotiated = schema && form;
  Headers headers = StandardHeaders(negotiated ? form->content_type : "application/json");
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
  if (path.size() > 1 && path.ends_with('/'))
    if (auto it = exact.find(path.substr(0, path.size() - 1)); it != exact.end()) return &it->second;
  if (discovery && (path.starts_with("/api/") || path.starts_with("/apis/"))) return &discovery;
  for (auto it = prefixes.rbegin(); it != prefixes.rend(); ++it)
    if (path.starts_with(it->first)) return &it->second;
  return nullptr;
}

base::Task<void> RestFront::Impl::ServePath(Exchange& exchange, Identity identity) {
  std::string path(exchange.path());
  if (auto s = chain.AuthorizePath(identity, exchange.method(), path); !s.ok()) {
    co_await Refuse(exchange, s);
    co_return;
  }
  if (const auto* handler = Find(path)) {
    co_await (*handler)(exchange, identity);
    co_return;
  }
  Headers headers = StandardHeaders("text/plain; charset=utf-8");
  headers.Add("x-content-type-options", "nosniff");
  (void)co_await exchange.Respond(404, std::move(headers), std::string("404 page not found\n"));
}

// --- resources ---

base::Task<base::Result<Request>> RestFront::Impl::Build(Exchange& exchange, Identity identity,
                                                         const ParsedPath& path) {
  Request r = Addressed(exchange, std::move(identity), path);
  r.accept = exchange.headers().Get("accept");
  r.content_type = exchange.headers().Get("content-type");
  auto query = base::net::ParseQuery(exchange.query());
  CO_TRY_ASSIGN(ReadQuery read, Read(query));
  r.options = std::move(read.options);
  r.parameters = std::move(query);
  bool watch = (read.watch || path.watch_prefix) && (path.name.empty() || path.watch_prefix);
  auto verb = VerbOf(exchange.method(), path, watch);
  if (!verb) {
    // A path nobody serves is unknown before its method is wrong.
    auto served = chain.services().registry->Find(r.group, r.version, r.resource);
    co_return base::Err(served ? object::MethodNotAllowed() : object::UnknownPath());
  }
  r.verb = *verb;
  if ((read.pretty || (LikesPretty(r.user_agent) && !r.accept.starts_with("application/json;"))) && !watch) {
    // Each clause may carry the wish; one that stands for JSON is enough.
    r.accept = (r.accept.empty() || r.accept == "*/*" ? std::string("application/json") : r.accept) + ";pretty=1";
  }
  if (r.verb == Verb::kPatch) {
    auto type = PatchTypeOf(r.content_type);
    if (!type) co_return base::Err(object::GenericResponse(415, "415: Unsupported Media Type"));
    r.patch_type = *type;
  }
  if (exchange.method() != "GET") {
    size_t limit = chain.limits().max_body_bytes;
    auto body = co_await exchange.ReadAll(exchange.context(), limit);
    if (!body && body.error().code() == base::Code::kResourceExhausted)
      co_return base::Err(object::RequestEntityTooLarge("limit is " + std::to_string(limit)));
    if (!body) co_return base::Err(body.error());
    r.body = base::Share(std::move(*body));
  }
  co_return r;
}

base::Task<void> RestFront::Impl::ServeResource(Exchange& exchange, Identity identity, ParsedPath path) {
  if (!path.subresource.empty()) {
    auto connect = connects.find(path.resource_name + "/" + path.subresource);
    if (connect != connects.end()) {
      Request r = Addressed(exchange, std::move(identity), path);
      r.verb = Verb::kConnect;
      r.parameters = base::net::ParseQuery(exchange.query());
      // Authorized by the method's verb, as the original maps it (exec: create or get; log: get).
      Request check = r;
      ParsedPath named = path;
      check.verb = VerbOf(exchange.method(), named, false).value_or(Verb::kGet);
      if (auto s = chain.AuthorizeRequest(check); !s.ok()) {
        co_await Refuse(exchange, s);
        co_return;
      }
      co_await connect->second(exchange, std::move(r));
      co_return;
    }
  }
  auto request = co_await Build(exchange, std::move(identity), path);
  if (!request) {
    co_await Refuse(exchange, request.error());
    co_return;
  }
  if (request->verb == Verb::kWatch) {
    co_await ServeWatch(exchange, *request);
    co_return;
  }
  std::vector<std::string> warnings;
  auto response = co_await chain.Do(exchange.context(), *request, &warnings);
  if (!response) {
    co_await Refuse(exchange, response.error(), warnings);
    co_return;
  }
  Headers headers = StandardHeaders(response->content_type);
  for (const auto& w : response->warnings) headers.Add("warning", "299 - " + Quoted(w));
  (void)co_await exchange.Respond(response->code, std::move(headers), std::move(response->body));
}

base::Task<void> RestFront::Impl::ServeWatch(Exchange& exchange, const Request& request) {
  auto stream = co_await chain.Watch(exchange.context(), request);
  if (!stream) {
    co_await Refuse(exchange, stream.error());
    co_return;
  }
  auto started = co_await exchange.StartResponse(200, StandardHeaders((*stream)->content_type()));
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

base::Task<base::Result<Identity>> RestFront::Impl::Identify(Exchange& exchange) {
  auth::Credentials credentials{BearerTokenOf(exchange.headers()), &exchange.peer(), &exchange.headers()};
  co_return co_await chain.Identify(exchange.context(), credentials, ImpersonationOf(exchange.headers()));
}

base::Task<void> RestFront::Serve(Exchange& inner) {
  Answer exchange(inner, impl_->NewAuditId());
  auto identity = co_await impl_->Identify(exchange);
  if (!identity) {
    co_await impl_->Refuse(exchange, identity.error());
    co_return;
  }
  ParsedPath path = ParseResourcePath(exchange.path());
  if (path.resource) {
    co_await impl_->ServeResource(exchange, std::move(*identity), std::move(path));
  } else {
    co_await impl_->ServePath(exchange, std::move(*identity));
  }
}

}  // namespace apiserver::chain
