#include "apiserver/chain/chain.h"

#include <algorithm>

#include "apiserver/chain/warnings.h"
#include "machinery/object/api_error.h"

namespace apiserver::chain {

namespace object = machinery::object;
using machinery::request::Verb;
using machinery::schema::Kind;
using registry::Outcome;
using registry::Served;

namespace {

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

Chain::Chain(Services services, Limits limits, const Manners& manners) : state_(services, limits, manners) {}

// --- the steps ---

base::Task<base::Status> Chain::Pass(Scope& scope, Stage stage) {
  auto steps = Steps();
  while (scope.next_ < steps.size() && steps[scope.next_].stage <= stage) {
    const Step& step = steps[scope.next_];
    size_t i = scope.next_++;
    if (!(step.wires & BitOf(scope.in.wire))) continue;
    if (state_.observer) state_.observer(step.name, scope);
    scope.passed_ |= 1U << i;
    auto passed = step.pass(state_, scope);
    if (!passed) passed = co_await step.wait(state_, scope);
    if (!passed->ok()) {
      scope.code = object::HttpCodeOf(*passed);
      co_return std::move(*passed);
    }
    if (scope.early) co_return base::Ok();
  }
  co_return base::Ok();
}

// --- what is served ---

base::Result<Served> Chain::Resolve(const Request& r) const {
  auto served = services().registry->Find(r.group, r.version, r.resource);
  if (!served || !HasPath(*served->kind, r)) return base::Err(object::UnknownPath());
  if (!Serves(*served->kind, r)) return base::Err(object::MethodNotAllowed());
  bool everywhere = served->kind->namespaced && r.namespace_name.empty();
  if (everywhere && r.verb != Verb::kList && r.verb != Verb::kWatch) return base::Err(object::MethodNotAllowed());
  return *served;
}

base::Status Chain::CheckPath(const Request& request) const {
  auto served = services().registry->Find(request.group, request.version, request.resource);
  return served && HasPath(*served->kind, request) ? base::Ok() : object::UnknownPath();
}

base::Status Chain::CheckServed(const Request& request) const {
  auto served = Resolve(request);
  return served ? base::Ok() : served.error();
}

// --- act and answer ---

base::Task<base::Result<Response>> Chain::Do(Scope& scope, const Request& request) {
  scope.dry_run = !request.options.dry_run.empty();
  scope.apply = request.patch_type == machinery::request::PatchType::kApplyYaml;
  auto answer = co_await ActAndEncode(scope, request);
  scope.code = answer ? answer->code : object::HttpCodeOf(answer.error());
  co_return answer;
}

base::Task<base::Result<Response>> Chain::ActAndEncode(Scope& scope, const Request& request) {
  CO_TRY_ASSIGN(Served served, Resolve(request));
  std::string deprecation = DeprecationOf(*served.kind);
  if (!deprecation.empty()) scope.warnings.push_back(deprecation);
  Offer offer{.list = request.verb == Verb::kList || request.verb == Verb::kDeleteCollection};
  CO_TRY_ASSIGN(Negotiated form, Negotiate(request.accept, offer));
  auto outcome = co_await Act(scope.context, served, request);
  if (!outcome) co_return base::Err(ForClient(outcome.error()));
  EncodeContext c{&services().registry->schema(), served.kind, form, services().executor->WallNow(),
                  request.options.include_object};
  Response response{.code = outcome->code, .content_type = form.content_type};
  CO_TRY_ASSIGN(response.body, EncodeOutcome(c, *outcome));
  response.warnings = std::move(outcome->warnings);
  if (!deprecation.empty()) response.warnings.insert(response.warnings.begin(), std::move(deprecation));
  response.warnings = FitWarnings(std::move(response.warnings));
  co_return response;
}

// --- watch ---

base::Task<base::Result<std::unique_ptr<EventStream>>> Chain::Watch(Scope& scope, const Request& request) {
  auto stream = co_await Open(scope, request);
  scope.code = stream ? 200 : object::HttpCodeOf(stream.error());
  co_return stream;
}

base::Task<base::Result<std::unique_ptr<EventStream>>> Chain::Open(Scope& scope, const Request& request) {
  CO_TRY_ASSIGN(Served served, Resolve(request));
  CO_TRY_ASSIGN(Negotiated form, Negotiate(request.accept, {.list = true, .watch = true}));
  auto session = co_await served.store->Watch(scope.context, *served.kind, request);
  const auto& schema = services().registry->schema();
  if (!session) {
    if (!object::IsGone(session.error())) co_return base::Err(ForClient(session.error()));
    co_return StreamOfError(schema, std::move(form), session.error());
  }
  base::Duration limit;
  if (request.options.timeout_seconds.value_or(0) > 0) {
    limit = std::chrono::seconds(*request.options.timeout_seconds);
  } else {
    // Spread, so that watches that began together do not end together.
    double factor = 1 + services().registry->random().Unit();
    limit = std::chrono::duration_cast<base::Duration>(limits().min_request_timeout * factor);
  }
  EncodeContext c{&schema, served.kind, std::move(form), services().executor->WallNow(),
                  request.options.include_object};
  co_return StreamOf(std::move(*session), std::move(c), *services().executor, limit);
}

// --- callers in the process ---

base::Task<base::Result<Response>> Chain::Do(base::Context ctx, const Request& request) {
  Scope scope(state_, {.context = std::move(ctx)});
  scope.identity = request.identity;
  scope.request = &request;
  CO_TRY(co_await Pass(scope, Stage::kMessage));
  co_return co_await Do(scope, request);
}

base::Task<base::Result<std::unique_ptr<EventStream>>> Chain::Watch(base::Context ctx, const Request& request) {
  Scope scope(state_, {.context = std::move(ctx)});
  scope.identity = request.identity;
  scope.request = &request;
  CO_TRY(co_await Pass(scope, Stage::kMessage));
  co_return co_await Watch(scope, request);
}

}  // namespace apiserver::chain
