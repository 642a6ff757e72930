#include "apiserver/chain/chain.h"

#include <algorithm>

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

bool Mutates(Verb v) {
  return v == Verb::kCreate || v == Verb::kUpdate || v == Verb::kPatch || v == Verb::kDelete ||
         v == Verb::kDeleteCollection;
}

// Counts a request in and out.
class Seat {
 public:
  explicit Seat(size_t& used) : used_(&used) { ++used; }
  Seat(Seat&& o) noexcept : used_(std::exchange(o.used_, nullptr)) {}
  ~Seat() {
    if (used_) --*used_;
  }

 private:
  size_t* used_;
};

auth::Attributes AttributesOf(const Request& r) {
  auth::Attributes a;
  a.identity = r.identity;
  a.verb = machinery::request::VerbName(r.verb);
  a.group = r.group;
  a.version = r.version;
  a.resource = r.resource;
  a.subresource = r.subresource;
  a.namespace_name = r.namespace_name;
  a.name = r.name;
  a.label_selector = r.options.label_selector;
  a.field_selector = r.options.field_selector;
  // A list or watch of one name is checked as such: the name stands in the field selector.
  constexpr std::string_view kByName = "metadata.name=";
  if (a.name.empty() && a.field_selector.starts_with(kByName) && a.field_selector.find(',') == std::string::npos)
    a.name = a.field_selector.substr(kByName.size());
  return a;
}

std::string ForbiddenText(const auth::Attributes& a) {
  std::string text = "User " + object::GoQuote(a.identity.name) + " cannot " + a.verb;
  if (!a.resource_request) return text + " path " + object::GoQuote(a.path);
  std::string resource = a.subresource.empty() ? a.resource : a.resource + "/" + a.subresource;
  text += " resource " + object::GoQuote(resource) + " in API group " + object::GoQuote(a.group);
  return a.namespace_name.empty() ? text + " at the cluster scope"
                                  : text + " in the namespace " + object::GoQuote(a.namespace_name);
}

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

bool Serves(const Kind& kind, const Request& r) {
  std::string_view verb = machinery::request::VerbName(r.verb);
  auto has = [&](const std::vector<std::string>& verbs) {
    return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
  };
  if (r.subresource.empty()) return has(kind.verbs);
  for (const auto& s : kind.subresources)
    if (s.name == r.subresource) return has(s.verbs);
  return false;
}

bool KnowsSubresource(const Kind& kind, const Request& r) {
  if (r.subresource.empty()) return true;
  return std::any_of(kind.subresources.begin(), kind.subresources.end(),
                     [&](const auto& s) { return s.name == r.subresource; });
}

}  // namespace

struct Chain::Impl {
  size_t reading = 0, mutating = 0;
  base::Family<base::Counter>* requests = nullptr;

  base::Result<Served> Resolve(const Services& services, const Request& r) const {
    auto served = services.registry->Find(r.group, r.version, r.resource);
    if (!served || !KnowsSubresource(*served->kind, r)) return base::Err(object::UnknownPath());
    if (!Serves(*served->kind, r)) return base::Err(object::MethodNotAllowed());
    // Namespaced kinds are written in a namespace, cluster-scoped ones have none.
    bool scoped = served->kind->namespaced, in_namespace = !r.namespace_name.empty();
    if (!scoped && in_namespace) return base::Err(object::UnknownPath());
    if (scoped && !in_namespace && r.verb != Verb::kList && r.verb != Verb::kWatch)
      return base::Err(object::MethodNotAllowed());
    return *served;
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
  if (!services_.authorizer) return base::Ok();
  auto verdict = services_.authorizer->Authorize(a);
  if (verdict.decision == auth::Decision::kAllow) return base::Ok();
  std::string why = ForbiddenText(a);
  if (!verdict.reason.empty()) why += ": " + verdict.reason;
  if (!a.resource_request) return object::Forbidden({}, "", why);
  return object::Forbidden({a.group, a.resource}, a.name, why);
}

base::Status Chain::AuthorizePath(const Identity& identity, std::string_view method, std::string_view path) {
  auth::Attributes a{.identity = identity, .resource_request = false, .path = std::string(path)};
  a.verb = method;
  std::transform(a.verb.begin(), a.verb.end(), a.verb.begin(), [](unsigned char c) { return std::tolower(c); });
  return Authorize(a);
}

base::Status Chain::AuthorizeRequest(const Request& request) { return Authorize(AttributesOf(request)); }

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

base::Task<base::Result<Response>> Chain::Do(base::Context ctx, const Request& request,
                                             std::vector<std::string>* refusal_warnings) {
  auto answer = co_await DoCounted(ctx, request, refusal_warnings);
  if (impl_->requests) {
    std::string code = std::to_string(answer ? answer->code : object::HttpCodeOf(answer.error()));
    std::string verb(machinery::request::VerbName(request.verb));
    std::transform(verb.begin(), verb.end(), verb.begin(), [](unsigned char c) { return std::toupper(c); });
    std::string_view scope = !request.name.empty()             ? "resource"
                             : !request.namespace_name.empty() ? "namespace"
                                                               : "cluster";
    // A series lives for ever: what is not served counts under one.
    auto served = services_.registry->Find(request.group, request.version, request.resource);
    static const Request nothing;
    const Request& known = served && KnowsSubresource(*served->kind, request) ? request : nothing;
    impl_->requests
        ->With({code, "apiserver", request.options.dry_run.empty() ? "" : "All", known.group, known.resource, scope,
                known.subresource, verb, known.version})
        .Add();
  }
  co_return answer;
}

base::Task<base::Result<Response>> Chain::DoCounted(base::Context ctx, const Request& request,
                                                    std::vector<std::string>* refusal_warnings) {
  bool mutates = Mutates(request.verb);
  size_t& used = mutates ? impl_->mutating : impl_->reading;
  if (used >= (mutates ? limits_.max_mutating_requests_inflight : limits_.max_requests_inflight))
    co_return base::Err(object::TooManyRequests("Too many requests, please try again later.", 1));
  Seat seat(used);
  CO_TRY(AuthorizeRequest(request));
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
  CO_TRY(AuthorizeRequest(request));
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
