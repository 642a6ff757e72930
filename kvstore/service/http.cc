// What stands beside gRPC on the client port: health, readiness, version.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/json_writer.h"
#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/service/api_impl.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Task;
namespace pb = etcdserverpb;

std::string_view GrpcCodeLabel(base::Code code) {
  static constexpr std::string_view kLabels[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return kLabels[static_cast<size_t>(code)];
}

namespace {

using Excluded = std::vector<std::string>;

bool IsIn(const Excluded& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

}  // namespace

// The old question of one word: does this member serve? With `serializable`, without asking the others.
std::pair<int, std::string> Api::HealthText(std::string_view query) {
  bool serializable = false;
  Excluded excluded;
  for (const auto& [name, value] : base::net::ParseQuery(query)) {
    serializable |= name == "serializable" && value == "true";
    if (name == "exclude") excluded.push_back(value);
  }
  std::string reason;
  if (!serializable && replica_.leader() == 0) reason = "RAFT NO LEADER";
  if (!replica_.failure().ok()) reason = "RANGE ERROR:" + std::string(mvcc::ErrStopped().message());
  if (replica_.applier().no_space() && !IsIn(excluded, "NOSPACE")) reason = "ALARM NOSPACE";
  if (replica_.applier().corrupt() && !IsIn(excluded, "CORRUPT")) reason = "ALARM CORRUPT";
  (reason.empty() ? metrics_->health_ok : metrics_->health_failed)->Add();
  base::JsonWriter w;
  w.BeginObject().Key("health").String(reason.empty() ? "true" : "false").Key("reason").String(reason).EndObject();
  return {reason.empty() ? 200 : 503, reason.empty() ? w.Take() : w.Take() + "\n"};
}

// `one`: only the check of that name; nullopt when there is none.
std::optional<std::pair<int, std::string>> Api::Checks(std::string_view type, std::string_view one,
                                                       std::string_view query) {
  struct Check {
    const char* name;
    std::string failure;
    bool ready_only;
  };
  std::string stopped(replica_.failure().ok() ? std::string_view() : mvcc::ErrStopped().message());
  std::string_view no_leader = replica_.leader() == 0 ? mvcc::ErrNoLeader().message() : std::string_view();
  const Check checks[] = {{"data_corruption", replica_.applier().corrupt() ? "alarm activated: CORRUPT" : "", true},
                          {"serializable_read", stopped, false},
                          {"linearizable_read", stopped.empty() ? std::string(no_leader) : stopped, true},
                          {"non_learner", replica_.is_learner() ? "not supported for learner" : "", true}};
  bool verbose = false, found = one.empty();
  Excluded excluded;
  for (const auto& [name, value] : base::net::ParseQuery(query)) {
    verbose |= name == "verbose";
    if (name == "exclude" && one.empty()) excluded.push_back(value);
  }
  std::string lines;
  bool good = true;
  for (const Check& c : checks) {
    if ((c.ready_only && type != "readyz") || IsIn(excluded, c.name) || (!one.empty() && one != c.name)) continue;
    found = true;
    bool ok = c.failure.empty();
    good &= ok;
    lines += (ok ? "[+]" : "[-]") + std::string(c.name) + (ok ? " ok\n" : " failed: " + c.failure + "\n");
    metrics_->check->With({c.name, type}).Set(ok);
    metrics_->checks->With({c.name, ok ? "success" : "error", type}).Add();
  }
  if (!found) return std::nullopt;
  if (!good) return std::pair(503, lines + "\n");
  return std::pair(200, (verbose ? lines : std::string()) + "ok\n");
}

// As Go's expvar, what of it is a matter of the store.
std::string Api::Variables() const {
  auto hex = [](uint64_t id) { return mvcc::MemberKey(id); };
  base::JsonWriter w;
  w.BeginObject().Key("file_descriptor_limit").Int(::sysconf(_SC_OPEN_MAX)).Key("raft.status").BeginObject();
  w.Key("id").String(hex(replica_.member_id())).Key("term").Uint(replica_.term());
  w.Key("commit").Uint(replica_.committed_index()).Key("lead").String(hex(replica_.leader()));
  w.Key("raftState").String(raft::RoleName(replica_.role())).Key("applied").Uint(replica_.applied_index());
  w.EndObject().EndObject();
  return w.Take();
}

// False: the request was answered with why it is not served.
Task<bool> Api::Admit(base::net::Exchange& e) {
  int status = 0;
  std::string text;
  if (!e.peer().tls && !options_.access.HostAllowed(e.headers().Get("host"))) {
    base::LogWarning("rejecting HTTP request to prevent DNS rebinding attacks", {{"host", e.headers().Get("host")}});
    status = 421;
    text = UnknownHostText(e.headers().Get("host"));
  } else if (options_.client_cert_auth && options_.gateway && e.path().starts_with("/v3/") &&
             replica_.applier().auth().enabled() && e.peer().verified_chain && !e.peer().common_name.empty()) {
    status = 400;
    text = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
  } else if (e.method() == "OPTIONS") {
    status = 200;
  }
  if (status == 0) co_return true;
  (void)co_await e.ReadAll(e.context(), options_.max_request_bytes);
  base::net::Headers headers;
  if (status == 200) headers = options_.access.AnswerHeaders(e.headers());
  if (!text.empty()) headers.Set("content-type", "text/plain; charset=utf-8");
  (void)co_await e.Respond(status, std::move(headers), std::move(text));
  co_return false;
}

namespace {

constexpr const char* kText = "text/plain; charset=utf-8";
constexpr const char* kJson = "application/json";

Task<bool> AnswerWith(base::net::Exchange& e, base::net::Headers& headers, const char* type,
                      std::pair<int, std::string> answer) {
  headers.Set("content-type", type);
  (void)co_await e.Respond(answer.first, std::move(headers), std::move(answer.second));
  co_return true;
}

bool Reads(const base::net::Exchange& e) { return e.method() == "GET" || e.method() == "HEAD"; }

}  // namespace

Task<bool> Api::HandleHealth(base::net::Exchange& e, base::net::Headers& headers) {
  std::string_view path = e.path();
  size_t slash = std::min(path.find('/', 1), path.size());
  std::string_view kind = path.substr(0, slash);
  bool check = kind == "/livez" || kind == "/readyz";
  if (!check && path != "/health" && path != "/metrics") co_return false;
  if (!Reads(e)) {
    headers.Set("allow", "GET");
    co_return co_await AnswerWith(e, headers, kText, {405, "Method Not Allowed\n"});
  }
  if (path == "/health") {
    auto answer = HealthText(e.query());
    co_return co_await AnswerWith(e, headers, answer.first == 200 ? kJson : kText, std::move(answer));
  }
  if (path == "/metrics") {
    std::string text = MetricsText();
    metrics_->scrapes->Add();
    co_return co_await AnswerWith(e, headers, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
                                  {200, std::move(text)});
  }
  auto found = Checks(kind.substr(1), path.substr(std::min(slash + 1, path.size())), e.query());
  co_return found&& co_await AnswerWith(e, headers, kText, std::move(*found));
}

Task<void> Api::HandleHttp(base::net::Exchange& e) {
  if (!co_await Admit(e)) co_return;
  base::net::Headers headers = options_.access.AnswerHeaders(e.headers());
  std::string_view path = e.path();
  if (path.starts_with("/v3/") && options_.gateway) co_return co_await HandleGateway(e);
  if (co_await HandlePprof(e, headers)) co_return;
  // Clients take an answer that overtakes their body for a broken stream.
  if (!Reads(e)) (void)co_await e.ReadAll(e.context(), options_.max_request_bytes);
  if (co_await HandleHealth(e, headers)) co_return;
  if (path == "/debug/vars" && Reads(e)) {
    (void)co_await AnswerWith(e, headers, "application/json; charset=utf-8", {200, Variables()});
    co_return;
  }
  if (path == "/version") {
    if (!Reads(e)) {
      headers.Set("allow", "GET");
      (void)co_await AnswerWith(e, headers, kText, {405, "Method Not Allowed\n"});
      co_return;
    }
    base::JsonWriter w;
    w.BeginObject().Key("etcdserver").String(replica::kServerVersion);
    w.Key("etcdcluster").String(replica_.ClusterVersion()).Key("storage").String(replica::kClusterVersion).EndObject();
    (void)co_await AnswerWith(e, headers, kJson, {200, w.Take()});
    co_return;
  }
  (void)co_await AnswerWith(e, headers, kText, {404, "404 page not found\n"});
}

}  // namespace kvstore::service
