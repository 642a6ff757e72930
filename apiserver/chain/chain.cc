#include "apiserver/chain/chain.h"

#include <algorithm>

#include "apiserver/auth/question.h"
#include "apiserver/chain/encode.h"
#include "apiserver/chain/negotiate.h"
#include "apiserver/chain/warnings.h"
#include "base/log.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"

namespace apiserver::chain {

namespace object = machinery::object;
using machinery::request::EventType;
using machinery::request::Verb;
using machinery::request::WatchEvent;
using machinery::schema::Kind;
using registry::Outcome;
using registry::Served;

namespace {

bool Reads(std::string_view verb) { return verb == "get" || verb == "list" || verb == "watch"; }

// What authenticators and headers say of a caller ends up in objects (CSRs, bindings) and in answers.
bool IsText(const Identity& who) {
  auto valid = [](std::string_view s) { return machinery::value::IsValidUtf8(s); };
  bool good = valid(who.name) && valid(who.uid) && std::all_of(who.groups.begin(), who.groups.end(), valid);
  for (const auto& [key, values] : who.extra)
    good = good && valid(key) && std::all_of(values.begin(), values.end(), valid);
  return good;
}

// The original prints its own structure.
base::Status NobodyToImpersonate(const Impersonation& who) {
  auto strings = [](const std::vector<std::string>& list) {
    if (list.empty()) return std::string("[]string(nil)");
    std::vector<std::string> quoted;
    for (const auto& s : list) quoted.push_back(object::GoQuote(s));
    return "[]string{" + object::Join(quoted, ", ") + "}";
  };
  std::string extra = "map[string][]string(nil)";
  if (!who.extra.empty()) {
    std::vector<std::string> entries;
    for (const auto& [key, values] : who.extra) entries.push_back(object::GoQuote(key) + ":" + strings(values));
    extra = "map[string][]string{" + object::Join(entries, ", ") + "}";
  }
  return object::BadRequest("requested &user.DefaultInfo{Name:\"\", UID:" + object::GoQuote(who.uid) + ", Groups:" +
                            strings(who.groups) + ", Extra:" + extra + "} without impersonating a user name");
}

// Versions whose use the server advises against; "" for others.
std::string DeprecationOf(const Kind& kind) {
  if (!kind.group.empty()) return {};
  if (kind.kind == "Endpoints") return "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
  if (kind.kind == "ComponentStatus") return "v1 ComponentStatus is deprecated in v1.19+";
  return {};
}

const machinery::schema::Subresource* FindSubresource(const Kind& kind, std::string_view name) {
  auto it = std::ranges::find_if(kind.subresources, [&](const auto& s) { return s.name == name; });
  return it == kind.subresources.end() ? nullptr : &*it;
}

bool Serves(const Kind& kind, const Request& r) {
  std::string_view verb = machinery::request::VerbName(r.verb);
  auto has = [&](const std::vector<std::string>& verbs) {
    return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
  };
  if (r.subresource.empty()) return has(kind.verbs);
  const auto* sub = FindSubresource(kind, r.subresource);
  return sub && has(sub->verbs);
}

// Whether any method does something on the path of this request. Namespaced kinds are named in a namespace,
// cluster-scoped ones have none.
bool HasPath(const Kind& kind, const Request& r) {
  bool named = !r.name.empty(), in_namespace = !r.namespace_name.empty();
  if (kind.namespaced ? named && !in_namespace : in_namespace) return false;
  if (!r.subresource.empty()) return named && FindSubresource(kind, r.subresource);
  static constexpr std::string_view kOne[] = {"get", "update", "patch", "delete"};
  static constexpr std::string_view kMany[] = {"create", "list", "deletecollection"}, kEverywhere[] = {"list"};
  auto any = [&](const auto& verbs) {
    return std::ranges::any_of(kind.verbs,
                               [&](const auto& v) { return std::ranges::find(verbs, v) != std::end(verbs); });
  };
  if (kind.namespaced && !in_namespace) return any(kEverywhere);
  return named ? any(kOne) : any(kMany);
}

// What a series of apiserver_request_total tells apart.
struct Counted {
  std::string_view verb, group, version, resource, subresource, scope;
  bool dry_run = false;
};
template <class R>  // a RequestInfo or a Request
Counted CountedOf(const R& r, std::string_view verb, bool dry_run) {
  std::string_view scope = !r.name.empty() ? "resource" : !r.namespace_name.empty() ? "namespace" : "cluster";
  return {verb, r.group, r.version, r.resource, r.subresource, scope, dry_run};
}

}  // namespace

struct Chain::Impl {
  size_t reading = 0, mutating = 0;
  base::Family<base::Counter>* requests = nullptr;

  base::Result<Served> Resolve(const Services& services, const Request& r) const {
    auto served = services.registry->Find(r.group, r.version, r.resource);
    if (!served || !HasPath(*served->kind, r)) return base::Err(object::UnknownPath());
    if (!Serves(*served->kind, r)) return base::Err(object::MethodNotAllowed());
    bool everywhere = served->kind->namespaced && r.namespace_name.empty();
    if (everywhere && r.verb != Verb::kList && r.verb != Verb::kWatch) return base::Err(object::MethodNotAllowed());
    return *served;
  }

  // What is not served has no series of its own: anybody may make up names.
  void Count(const Services& services, const Counted& c, int code) const {
    if (!requests) return;
    auto served = services.registry->Find(c.group, c.version, c.resource);
    bool known = served && (c.subresource.empty() || FindSubresource(*served->kind, c.subresource));
    auto label = [&](std::string_view text) { return known ? text : std::string_view(); };
    std::string verb(c.verb);
    std::ranges::transform(verb, verb.begin(), [](unsigned char x) { return std::toupper(x); });
    requests
        ->With({std::to_string(code), "apiserver", c.dry_run ? "All" : "", label(c.group), label(c.resource), c.scope,
                label(c.subresource), verb, label(c.version)})
        .Add();
  }
};

Chain::Chain(Services services, Limits limits) : services_(services), limits_(limits), impl_(std::make_unique<Impl>()) {
  if (services_.metrics)
    impl_->requests = &services_.metrics->AddCounter(
        "apiserver_request_total",
        "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, "
        "component, and HTTP response code.",
        {"code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"});
}
Chain::~Chain() = default;

// --- identify ---

base::Task<base::Result<Identity>> Chain::Identify(base::Context ctx, const auth::Credentials& credentials,
                                                   const Impersonation& who) {
  Identity identity;
  if (services_.authenticator) {
    auto known = co_await services_.authenticator->Authenticate(ctx, credentials);
    if (!known || !*known) co_return base::Err(object::Unauthorized());
    identity = std::move(**known);
    if (!IsText(identity)) co_return base::Err(object::Unauthorized());
  }
  if (!who.requested()) co_return identity;
  if (who.user.empty()) co_return base::Err(NobodyToImpersonate(who));
  CO_TRY(AuthorizeImpersonation(identity, who));
  Identity other{.name = who.user, .uid = who.uid, .groups = who.groups, .extra = who.extra};
  if (!IsText(other)) co_return base::Err(object::BadRequest("impersonation headers must be valid UTF-8"));
  constexpr std::string_view kServiceAccount = "system:serviceaccount:";
  if (other.name.starts_with(kServiceAccount) && other.groups.empty()) {
    std::string rest = other.name.substr(kServiceAccount.size());
    other.groups = {"system:serviceaccounts", "system:serviceaccounts:" + rest.substr(0, rest.find(':'))};
  }
  bool anonymous = other.name == "system:anonymous";
  std::string_view crowd = anonymous ? "system:unauthenticated" : "system:authenticated";
  if (!other.InGroup(crowd)) other.groups.emplace_back(crowd);
  co_return other;
}

base::Status Chain::AuthorizeImpersonation(const Identity& identity, const Impersonation& who) {
  auto check = [&](std::string group, std::string resource, std::string ns, std::string name, std::string subresource) {
    auth::Attributes a{.identity = identity,
                       .verb = "impersonate",
                       .group = std::move(group),
                       .version = "v1",
                       .resource = std::move(resource),
                       .subresource = std::move(subresource),
                       .namespace_name = std::move(ns),
                       .name = std::move(name)};
    return Authorize(a);
  };
  constexpr std::string_view kServiceAccount = "system:serviceaccount:";
  if (who.user.starts_with(kServiceAccount)) {
    std::string rest = who.user.substr(kServiceAccount.size());
    auto colon = rest.find(':');
    TRY(check("", "serviceaccounts", rest.substr(0, colon), colon == rest.npos ? "" : rest.substr(colon + 1), ""));
  } else {
    TRY(check("", "users", "", who.user, ""));
  }
  for (const auto& g : who.groups) TRY(check("", "groups", "", g, ""));
  if (!who.uid.empty()) TRY(check("authentication.k8s.io", "uids", "", who.uid, ""));
  for (const auto& [key, values] : who.extra)
    for (const auto& v : values) TRY(check("authentication.k8s.io", "userextras", "", v, key));
  return base::Ok();
}

// --- authorize ---

base::Status Chain::Authorize(const auth::Attributes& a) {
  auto verdict = auth::Ask(services_.authorizer, a);
  return verdict.decision == auth::Decision::kAllow ? base::Ok() : auth::Refusal(a, verdict);
}

// --- admit ---

base::Result<Seat> Chain::Admit(const Identity& identity, const RequestInfo& info) {
  bool reads = Reads(info.verb);
  size_t& used = reads ? impl_->reading : impl_->mutating;
  bool full = used >= (reads ? limits_.max_requests_inflight : limits_.max_mutating_requests_inflight);
  auto refuse = [&](base::Status why) {
    if (info.resource_request) impl_->Count(services_, CountedOf(info, info.verb, false), object::HttpCodeOf(why));
    return base::Err(std::move(why));
  };
  // Administrators always get an answer.
  bool seated = !info.long_running() && !(full && identity.InGroup("system:masters"));
  if (seated && full) return refuse(object::TooManyRequests("Too many requests, please try again later.", 1));
  if (auto s = Authorize(AttributesOf(identity, info)); !s.ok()) return refuse(std::move(s));
  return seated ? Seat(used) : Seat();
}

base::Status Chain::CheckPath(const Request& request) const {
  auto served = services_.registry->Find(request.group, request.version, request.resource);
  return served && HasPath(*served->kind, request) ? base::Ok() : object::UnknownPath();
}

base::Status Chain::CheckServed(const Request& request) const {
  auto served = impl_->Resolve(services_, request);
  return served ? base::Ok() : served.error();
}

// --- act and answer ---

namespace {

base::Task<base::Result<Outcome>> Act(base::Context ctx, const Served& served, const Request& r) {
  auto& store = *served.store;
  const Kind& kind = *served.kind;
  switch (r.verb) {
    case Verb::kGet:
      co_return co_await store.Get(ctx, kind, r);
    case Verb::kList:
      co_return co_await store.List(ctx, kind, r);
    case Verb::kCreate:
      co_return co_await store.Create(ctx, kind, r);
    case Verb::kUpdate:
      co_return co_await store.Update(ctx, kind, r);
    case Verb::kPatch:
      co_return co_await store.Patch(ctx, kind, r);
    case Verb::kDelete:
      co_return co_await store.Delete(ctx, kind, r);
    case Verb::kDeleteCollection:
      co_return co_await store.DeleteCollection(ctx, kind, r);
    default:
      co_return base::Err(object::MethodNotAllowed());
  }
}

// An error of the layers below that carries no words for clients.
base::Status ForClient(base::Status s) {
  if (object::AsApiError(s)) return s;
  switch (s.code()) {
    case base::Code::kDeadlineExceeded:
      return object::Timeout("request did not complete within the allotted timeout", 0);
    case base::Code::kUnavailable:
      return object::InternalError(std::string(s.message()));
    case base::Code::kCancelled:
      return s;
    default:
      return object::Unclassified(std::string(s.message()));
  }
}

}  // namespace

base::Task<base::Result<Response>> Chain::Do(base::Context ctx, const Request& request) {
  CO_TRY(CheckSayable(request));
  CO_TRY_ASSIGN(Seat seat, Admit(request.identity, InfoOf(request)));
  co_return co_await DoAdmitted(ctx, request, nullptr);
}

base::Task<base::Result<Response>> Chain::DoAdmitted(base::Context ctx, const Request& request,
                                                     std::vector<std::string>* refusal_warnings) {
  auto answer = co_await ActAndEncode(ctx, request, refusal_warnings);
  impl_->Count(services_, CountedOf(request, VerbName(request.verb), !request.options.dry_run.empty()),
               answer ? answer->code : object::HttpCodeOf(answer.error()));
  co_return answer;
}

base::Task<base::Result<Response>> Chain::ActAndEncode(base::Context ctx, const Request& request,
                                                       std::vector<std::string>* refusal_warnings) {
  CO_TRY_ASSIGN(Served served, impl_->Resolve(services_, request));
  std::string deprecation = DeprecationOf(*served.kind);
  if (refusal_warnings && !deprecation.empty()) refusal_warnings->push_back(deprecation);
  Offer offer{.list = request.verb == Verb::kList || request.verb == Verb::kDeleteCollection};
  CO_TRY_ASSIGN(Negotiated form, Negotiate(request.accept, offer));
  auto limited = ctx.WithTimeout(*services_.executor, limits_.request_timeout);
  auto outcome = co_await Act(limited, served, request);
  if (!outcome) co_return base::Err(ForClient(outcome.error()));
  EncodeContext c{&services_.registry->schema(), served.kind, form, services_.executor->WallNow(),
                  request.options.include_object};
  Response response{.code = outcome->code, .content_type = form.content_type};
  CO_TRY_ASSIGN(response.body, EncodeOutcome(c, *outcome));
  response.warnings = std::move(outcome->warnings);
  if (!deprecation.empty()) response.warnings.insert(response.warnings.begin(), std::move(deprecation));
  response.warnings = FitWarnings(std::move(response.warnings));
  co_return response;
}

// --- watch ---

namespace {

// Different encodings of one event must not share a frame slot.
uint8_t FormCode(const Negotiated& n, Framing framing) {
  return static_cast<uint8_t>(static_cast<int>(n.media) | static_cast<int>(n.as) << 2 |
                              (n.as_version == "v1" ? 0 : 1) << 4 | static_cast<int>(framing) << 5);
}

base::SharedBytes FrameOf(Framing framing, Media media, EventType type, const std::string& object) {
  return framing == Framing::kMessage ? MessageFrame(type, object) : Frame(media, type, object);
}

class CacheStream final : public EventStream {
 public:
  CacheStream(registry::WatchSession session, EncodeContext context, base::Executor& executor, base::Context ctx)
      : session_(std::move(session)), context_(std::move(context)), executor_(executor), ctx_(std::move(ctx)) {}
  ~CacheStream() override { ctx_.Cancel(); }

  std::string_view content_type() const override { return context_.form.content_type; }

  base::Task<base::Result<std::optional<WatchEvent>>> Next(base::Context ctx) override {
    CO_TRY_ASSIGN(auto item, co_await NextItem(std::move(ctx)));
    if (!item) co_return std::nullopt;
    CO_TRY_ASSIGN(base::SharedBytes bytes, EncodeItem(*item));
    co_return WatchEvent{TypeOf(*item), std::move(bytes)};
  }

  base::Task<base::Result<base::SharedBytes>> NextFrame(base::Context ctx, Framing framing) override {
    CO_TRY_ASSIGN(auto item, co_await NextItem(std::move(ctx)));
    if (!item) co_return base::SharedBytes();
    co_return FrameOfItem(*item, framing);
  }

  void OfferTo(Framing framing, std::function<bool(base::SharedBytes&)> sink) override {
    session_.watcher->OfferTo([this, framing, sink = std::move(sink)](const Item& item) {
      if (context_.form.as == As::kTable && first_) return false;  // only the first is encoded with columns
      auto frame = FrameOfItem(item, framing);
      return frame && sink(*frame);  // NextFrame meets the error again, and ends the watch with it
    });
  }

 private:
  using Item = storage::CacheWatcher::Item;

  // nullopt: the watch is over (its time is up, or its client must start anew from what it saw last).
  base::Task<base::Result<std::optional<Item>>> NextItem(base::Context ctx) {
    if (auto item = session_.watcher->TryNext()) co_return item;
    // Whoever waits and the watch's own time limit both end the wait; the caller's context wins for the error.
    auto joined = ctx_.WithCancel();
    auto link = ctx.OnDone([joined] { joined.Cancel(); });
    auto item = co_await session_.watcher->Next(joined);
    if (item) co_return std::optional<Item>(std::move(*item));
    if (ctx.done()) co_return base::Err(ctx.status());
    co_return std::nullopt;
  }

  base::Result<base::SharedBytes> FrameOfItem(const Item& item, Framing framing) {
    EventType type = TypeOf(item);
    // A table's first event differs from the others.
    bool shared = item.change && !(context_.form.as == As::kTable && first_);
    uint8_t form = FormCode(context_.form, framing), code = static_cast<uint8_t>(type);
    if (shared)
      for (const auto& f : item.change->frames)
        if (f.version == context_.kind && f.media == form && f.type == code) return f.bytes;
    TRY_ASSIGN(base::SharedBytes bytes, EncodeItem(item));
    auto frame = FrameOf(framing, context_.form.media, type, *bytes);
    if (shared) item.change->frames.push_back({context_.kind, form, code, frame});
    return frame;
  }

  static EventType TypeOf(const Item& item) {
    switch (item.type) {
      case Item::Type::kAdded:
        return EventType::kAdded;
      case Item::Type::kModified:
        return EventType::kModified;
      case Item::Type::kDeleted:
        return EventType::kDeleted;
      case Item::Type::kBookmark:
        break;
    }
    return EventType::kBookmark;
  }

  base::Result<base::SharedBytes> EncodeItem(const Item& item) {
    if (item.type == Item::Type::kBookmark) return EncodeBookmark(context_, item.revision, item.initial_events_end);
    context_.now = executor_.WallNow();
    return EncodeEventObject(context_, *item.object, std::exchange(first_, false));
  }

  registry::WatchSession session_;
  EncodeContext context_;
  base::Executor& executor_;
  base::Context ctx_;
  bool first_ = true;
};

// One ERROR event, then the end: how a watch says that it cannot begin.
class ErrorStream final : public EventStream {
 public:
  ErrorStream(const machinery::schema::Schema& schema, Negotiated form, base::Status error)
      : form_(std::move(form)), object_(base::Share(EncodeStatus(schema, form_.media, error))) {}
  std::string_view content_type() const override { return form_.content_type; }
  base::Task<base::Result<std::optional<WatchEvent>>> Next(base::Context) override {
    if (std::exchange(done_, true)) co_return std::nullopt;
    co_return WatchEvent{EventType::kError, object_};
  }
  base::Task<base::Result<base::SharedBytes>> NextFrame(base::Context, Framing framing) override {
    if (std::exchange(done_, true)) co_return base::SharedBytes();
    co_return FrameOf(framing, form_.media, EventType::kError, *object_);
  }

 private:
  Negotiated form_;
  base::SharedBytes object_;
  bool done_ = false;
};

}  // namespace

base::Task<base::Result<std::unique_ptr<EventStream>>> Chain::Watch(base::Context ctx, const Request& request) {
  CO_TRY(CheckSayable(request));
  CO_TRY_ASSIGN(Seat seat, Admit(request.identity, InfoOf(request)));
  co_return co_await WatchAdmitted(ctx, request);
}

base::Task<base::Result<std::unique_ptr<EventStream>>> Chain::WatchAdmitted(base::Context ctx, const Request& request) {
  CO_TRY_ASSIGN(Served served, impl_->Resolve(services_, request));
  CO_TRY_ASSIGN(Negotiated form, Negotiate(request.accept, {.list = true, .watch = true}));
  auto session = co_await served.store->Watch(ctx, *served.kind, request);
  if (!session) {
    if (!object::IsGone(session.error())) co_return base::Err(ForClient(session.error()));
    std::unique_ptr<EventStream> stream =
        std::make_unique<ErrorStream>(services_.registry->schema(), std::move(form), session.error());
    co_return stream;
  }
  base::Duration limit;
  if (request.options.timeout_seconds.value_or(0) > 0) {
    limit = std::chrono::seconds(*request.options.timeout_seconds);
  } else {
    // Spread, so that watches that began together do not end together.
    double factor = 1 + services_.registry->random().Unit();
    limit = std::chrono::duration_cast<base::Duration>(limits_.min_request_timeout * factor);
  }
  EncodeContext c{&services_.registry->schema(), served.kind, std::move(form), services_.executor->WallNow(),
                  request.options.include_object};
  std::unique_ptr<EventStream> stream = std::make_unique<CacheStream>(
      std::move(*session), std::move(c), *services_.executor, base::Context().WithTimeout(*services_.executor, limit));
  co_return stream;
}

}  // namespace apiserver::chain
