#include "apiserver/chain/steps.h"

#include <re2/re2.h>

#include <algorithm>

#include "apiserver/auth/question.h"
#include "apiserver/chain/impersonation.h"
#include "base/go_duration.h"
#include "base/log.h"
#include "base/strings.h"
#include "machinery/object/api_error.h"
#include "machinery/object/go_text.h"

namespace apiserver::chain {

namespace object = machinery::object;
using base::Ok;
using base::Status;
using Passed = std::optional<Status>;

StepState::StepState(Services s, Limits l, const Manners& manners)
    : services(s),
      limits(l),
      goaway_chance(manners.goaway_chance),
      strict_transport_security(base::Join(manners.strict_transport_security_directives, "; ")),
      random(s.registry->random().Fork()),
      metrics(s.metrics, s.registry) {
  for (const auto& pattern : manners.cors_allowed_origins)
    cors_allowed_origins.push_back(std::make_unique<re2::RE2>(pattern, re2::RE2::Quiet));
}
StepState::~StepState() = default;

namespace {

// --- AuditInit ---

Passed NameTheRequest(StepState& state, Scope& s) {
  constexpr std::string_view kAuditId = "audit-id";
  constexpr size_t kMaxAuditId = 64;
  s.audit_id = s.in.headers->Get(kAuditId).substr(0, kMaxAuditId);
  if (s.audit_id.empty()) {
    std::string bytes;
    base::PutBigEndian64(bytes, state.random.Next());
    base::PutBigEndian64(bytes, state.random.Next());
    s.audit_id = base::UuidFromBytes(bytes);
  }
  s.answer_headers.Add(std::string(kAuditId), s.audit_id);
  return Ok();
}

// --- RequestReceivedTimestamp ---

Passed NoteTheTime(StepState& state, Scope& s) {
  s.received = state.services.executor->Now();
  return Ok();
}

// --- RequestInfo ---

Passed ReadThePath(StepState&, Scope& s) {
  s.query = ReadQuery(s.in.query);
  auto info = ReadRequestInfo(s.in.method, s.in.path, s.query);
  if (!info) return info.error();
  s.info = std::move(*info);
  return Ok();
}

Passed ReadTheMessage(StepState&, Scope& s) {
  if (auto sayable = CheckSayable(*s.request); !sayable.ok()) return sayable;
  s.info = InfoOf(*s.request);
  return Ok();
}

// --- LatencyTrackers ---

Passed Begin(StepState&, Scope&) { return Ok(); }

void CountAndLog(StepState& state, Scope& s) {
  constexpr int kVerbosity = 3;
  base::Duration took = state.services.executor->Now() - s.received;
  if (s.info && s.info->resource_request && s.code != 0) state.metrics.Count(s, took);
  if (s.in.wire != Wire::kRest || !base::LogEnabled(kVerbosity)) return;
  std::string uri = std::string(s.in.path) + (s.in.query.empty() ? "" : "?") + std::string(s.in.query);
  base::LogV(kVerbosity, "HTTP",
             {{"verb", s.info ? std::string_view(s.info->verb) : s.in.method},
              {"URI", uri},
              {"latency", base::FormatGoDuration(took)},
              {"userAgent", s.in.headers->Get("user-agent")},
              {"audit-ID", s.audit_id},
              {"srcIP", s.in.peer->address},
              {"resp", s.code}});
}

// --- RetryAfter ---

// Probes and scrapes go on to the end.
bool ServedToTheEnd(const Scope& s) {
  static constexpr std::string_view kPaths[] = {"/readyz", "/livez", "/healthz", "/metrics"};
  return s.in.headers->Get("user-agent").starts_with("kube-apiserver/") ||
         std::ranges::any_of(kPaths, [&](std::string_view p) { return s.in.path.starts_with(p); });
}

Passed SendElsewhere(StepState& state, Scope& s) {
  if (!state.shutting_down || ServedToTheEnd(s)) return Ok();
  s.answer_headers.Add("connection", "close");
  s.answer_headers.Add("retry-after", "5");
  s.early = {429, "The apiserver is shutting down, please try again later.\n"};
  return Ok();
}

// --- HSTS, CacheControl, ProbabilisticGoaway ---

Passed AskForHttps(StepState& state, Scope& s) {
  if (!state.strict_transport_security.empty())
    s.answer_headers.Add("strict-transport-security", state.strict_transport_security);
  return Ok();
}

Passed ForbidCaches(StepState&, Scope& s) {
  s.answer_headers.Add("cache-control", "no-cache, private");
  return Ok();
}

Passed SendAwayByChance(StepState& state, Scope& s) {
  if (state.goaway_chance > 0 && s.in.http_major == 2 && state.random.Unit() < state.goaway_chance)
    s.answer_headers.Set("connection", "close");
  return Ok();
}

// --- WatchTerminationDuringShutdown ---

Passed EnterAmongWatches(StepState& state, Scope& s) {
  if (s.info->verb != "watch") return Ok();
  s.context = s.in.context.WithCancel();
  state.watches.insert(&s);
  return Ok();
}

void LeaveWatches(StepState& state, Scope& s) { state.watches.erase(&s); }

// --- WaitGroup ---

Passed JoinTheGroup(StepState& state, Scope& s) {
  if (s.info->long_running() || (s.in.wire == Wire::kRest && ServedToTheEnd(s))) return Ok();
  ++state.under_way;
  s.waited_for = true;
  return Ok();
}

void LeaveTheGroup(StepState& state, Scope& s) {
  if (s.waited_for) --state.under_way;
}

// --- RequestDeadline ---

Passed SetDeadline(StepState& state, Scope& s) {
  if (s.info->long_running()) return Ok();
  base::Duration timeout = state.limits.request_timeout;
  auto wish = std::ranges::find(s.query, "timeout", &Query::value_type::first);
  if (wish != s.query.end() && !wish->second.empty()) {
    auto given = base::ParseGoDuration(wish->second);
    if (!given)
      return object::BadRequest("invalid timeout specified in the request URL - " +
                                std::string(given.error().message()));
    if (*given > base::Duration::zero()) timeout = std::min(timeout, *given);
  }
  s.context = s.in.context.WithTimeout(*state.services.executor, timeout);
  return Ok();
}

// --- CORS ---

Passed AnswerBrowsers(StepState& state, Scope& s) {
  std::string_view origin = s.in.headers->Get("origin");
  auto allowed = [&](const auto& pattern) { return re2::RE2::PartialMatch(origin, *pattern); };
  if (origin.empty() || std::ranges::none_of(state.cors_allowed_origins, allowed)) return Ok();
  auto say = [&](std::string what, std::string_view value) {
    s.answer_headers.Add("access-control-" + what, std::string(value));
  };
  say("allow-origin", origin);
  say("allow-methods", "POST, GET, OPTIONS, PUT, DELETE, PATCH");
  say("allow-headers",
      "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, "
      "If-Modified-Since");
  say("expose-headers", "Date");
  say("allow-credentials", "true");
  if (s.in.method == "OPTIONS") s.early = {204, ""};
  return Ok();
}

// --- Authentication ---

base::Task<Status> Authenticate(StepState& state, Scope& s) {
  auth::Credentials credentials{BearerTokenOf(*s.in.headers), s.in.peer, s.in.headers};
  auto known = co_await state.services.authenticator->Authenticate(s.context, credentials);
  if (!known || !*known || !IsText(**known)) co_return object::Unauthorized();
  s.identity = std::move(**known);
  co_return Ok();
}

Passed AuthenticateIfAsked(StepState& state, Scope&) { return state.services.authenticator ? Passed() : Passed(Ok()); }

// --- Impersonation ---

Passed ImpersonateIfWished(StepState& state, Scope& s) {
  Impersonation wish = ImpersonationOf(*s.in.headers);
  if (!wish.requested()) return Ok();
  auto other = Impersonate(state.services.authorizer, s.identity, std::move(wish));
  if (!other) return other.error();
  s.impersonator = std::exchange(s.identity, std::move(*other));
  return Ok();
}

// --- MaxInFlightLimit ---

bool Reads(std::string_view verb) { return verb == "get" || verb == "list" || verb == "watch"; }

Passed TakeSeat(StepState& state, Scope& s) {
  if (s.info->long_running()) return Ok();
  bool reads = Reads(s.info->verb);
  size_t& used = reads ? state.reading : state.mutating;
  bool full = used >= (reads ? state.limits.max_requests_inflight : state.limits.max_mutating_requests_inflight);
  // Administrators always get an answer.
  if (full && s.identity.InGroup("system:masters")) return Ok();
  if (full) return object::TooManyRequests("Too many requests, please try again later.", 1);
  ++used;
  s.seat = &used;
  return Ok();
}

void GiveSeatBack(StepState&, Scope& s) {
  if (s.seat) --*std::exchange(s.seat, nullptr);
}

// --- Authorization ---

Passed Authorize(StepState& state, Scope& s) {
  auth::Attributes question = AttributesOf(s.identity, *s.info);
  auto verdict = auth::Ask(state.services.authorizer, question);
  return verdict.decision == auth::Decision::kAllow ? Ok() : auth::Refusal(question, verdict);
}

constexpr uint8_t kRest = BitOf(Wire::kRest), kRpc = BitOf(Wire::kRpc), kInProcess = BitOf(Wire::kInProcess);
constexpr uint8_t kHttp = kRest | kRpc, kMessages = kRpc | kInProcess, kAll = kRest | kMessages;
constexpr Stage kHead = Stage::kHead, kMessage = Stage::kMessage;

// The original's order (apiserver/pkg/server/config.go, DefaultBuildHandlerChain). What it has and is not here: panics
// (an exception passes out of all steps; the engine answers 500) and warnings (they come with the Response).
constexpr Step kSteps[] = {
    {"AuditInit", kRest, kHead, "every answer below carries the Audit-ID, refusals too", NameTheRequest},
    {"RequestReceivedTimestamp", kAll, kHead, "deadlines and durations count from here", NoteTheTime},
    {"RequestInfo", kRest, kHead, "what is asked, by the path alone: all below depends on it", ReadThePath},
    {"LatencyTrackers", kAll, kHead, "counts and logs whatever the steps below answer", Begin, nullptr, CountAndLog},
    {"RetryAfter", kRest, kHead, "who is sent elsewhere costs nothing more", SendElsewhere},
    {"HSTS", kRest, kHead, "a header of every answer below", AskForHttps},
    {"CacheControl", kRest, kHead, "a header of every answer below", ForbidCaches},
    {"ProbabilisticGoaway", kRest, kHead, "before anything can be refused, so that all connections move alike",
     SendAwayByChance},
    {"WatchTerminationDuringShutdown", kRest, kHead, "before the group that shutdown waits for", EnterAmongWatches,
     nullptr, LeaveWatches},
    {"WaitGroup", kRest, kHead, "shutdown waits for whatever is acted on below", JoinTheGroup, nullptr, LeaveTheGroup},
    {"RequestDeadline", kRest, kHead, "all that may wait is below", SetDeadline},
    {"CORS", kRest, kHead, "a browser's preflight has no credentials yet", AnswerBrowsers},
    {"Authentication", kHttp, kHead, "nothing is read or looked up for strangers", AuthenticateIfAsked, Authenticate},
    {"Impersonation", kHttp, kHead, "all below is about who is meant", ImpersonateIfWished},
    {"RequestInfo", kMessages, kMessage, "a message is read for who was identified only", ReadTheMessage},
    {"WatchTerminationDuringShutdown", kRpc, kMessage, "depends on what is asked", EnterAmongWatches, nullptr,
     LeaveWatches},
    {"WaitGroup", kMessages, kMessage, "depends on what is asked", JoinTheGroup, nullptr, LeaveTheGroup},
    {"RequestDeadline", kMessages, kMessage, "depends on what is asked", SetDeadline},
    {"MaxInFlightLimit", kAll, kMessage, "a seat before a body is read and an authorizer is asked", TakeSeat, nullptr,
     GiveSeatBack},
    {"Authorization", kAll, kMessage, "last: who may not ask learns nothing, not even what exists", Authorize},
};
static_assert(std::size(kSteps) <= 32, "Scope::passed_ has a bit each");

}  // namespace

std::span<const Step> Steps() { return kSteps; }

}  // namespace apiserver::chain
