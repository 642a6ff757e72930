// What stands beside gRPC on the client port: health, readiness, version, metrics.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/json_writer.h"
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

Api::Metrics::Metrics(base::MetricsRegistry& r)
    : started(r.AddCounter("grpc_server_started_total", "Total number of RPCs started on the server.",
                           {"grpc_method", "grpc_service", "grpc_type"})),
      handled(r.AddCounter("grpc_server_handled_total",
                           "Total number of RPCs completed on the server, regardless of success or failure.",
                           {"grpc_code", "grpc_method", "grpc_service", "grpc_type"})),
      received(r.AddCounter("grpc_server_msg_received_total", "Total number of RPC stream messages received.",
                            {"grpc_method", "grpc_service", "grpc_type"})),
      sent(r.AddCounter("grpc_server_msg_sent_total", "Total number of RPC stream messages sent.",
                        {"grpc_method", "grpc_service", "grpc_type"})),
      put(r.AddCounter("etcd_mvcc_put_total", "Total number of puts seen by this member.").Get()),
      range(r.AddCounter("etcd_mvcc_range_total", "Total number of ranges seen by this member.").Get()),
      del(r.AddCounter("etcd_mvcc_delete_total", "Total number of deletes seen by this member.").Get()),
      txn(r.AddCounter("etcd_mvcc_txn_total", "Total number of txns seen by this member.").Get()),
      bytes_in(
          r.AddCounter("etcd_network_client_grpc_received_bytes_total", "Bytes received from grpc clients.").Get()),
      bytes_out(r.AddCounter("etcd_network_client_grpc_sent_bytes_total", "Bytes sent to grpc clients.").Get()),
      lease_granted(r.AddCounter("etcd_debugging_lease_granted_total", "Leases granted.").Get()),
      lease_renewed(r.AddCounter("etcd_debugging_lease_renewed_total", "Renewals of leases.").Get()),
      lease_revoked(r.AddCounter("etcd_debugging_lease_revoked_total", "Leases revoked.").Get()),
      health_ok(r.AddCounter("etcd_server_health_success", "Health checks that succeeded.").Get()),
      health_failed(r.AddCounter("etcd_server_health_failures", "Health checks that failed.").Get()),
      check(r.AddGauge("etcd_server_healthcheck", "The result of each kind of healthcheck.", {"name", "type"})),
      checks(r.AddCounter("etcd_server_healthchecks_total", "The total number of each kind of healthcheck.",
                          {"name", "status", "type"})),
      fsync(r.AddHistogram("etcd_disk_wal_fsync_duration_seconds", "Time of the log's fsync calls.",
                           base::ExponentialBuckets(0.001, 2, 14))
                .Get()) {}

std::string Api::MetricsText() {
  auto gauge = [&](const char* name, const char* help, double v) { registry_.AddGauge(name, help).Get().Set(v); };
  const mvcc::Store& store = replica_.store();
  gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.", replica_.leader() != 0);
  gauge("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.", replica_.is_leader());
  gauge("etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.",
        replica_.is_learner());
  gauge("etcd_server_leader_changes_seen_total", "The number of leader changes seen.",
        static_cast<double>(replica_.counters().leader_changes));
  gauge("etcd_server_proposals_committed_total", "Consensus proposals committed.",
        static_cast<double>(replica_.committed_index()));
  gauge("etcd_server_proposals_applied_total", "Consensus proposals applied.",
        static_cast<double>(replica_.applied_index()));
  gauge("etcd_server_proposals_pending", "Proposals waiting to be applied.", static_cast<double>(replica_.pending()));
  gauge("etcd_server_proposals_failed_total", "Proposals that were turned away.",
        static_cast<double>(replica_.counters().proposals_failed));
  gauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.",
        static_cast<double>(std::max<int64_t>(options_.quota_backend_bytes, 0)));
  gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of the store's files.", static_cast<double>(store.size_bytes()));
  gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of the store's files that are in use.",
        static_cast<double>(store.size_in_use_bytes()));
  gauge("etcd_debugging_mvcc_keys_total", "Keys in the index.", static_cast<double>(store.keys()));
  gauge("etcd_debugging_mvcc_current_revision", "The current revision.", static_cast<double>(store.revision()));
  gauge("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction.",
        static_cast<double>(store.compact_revision()));
  gauge("etcd_debugging_mvcc_watcher_total", "Watchers.", static_cast<double>(replica_.store().watches().count()));
  gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams.", static_cast<double>(watch_streams_));
  gauge("etcd_debugging_auth_revision", "The current revision of auth store.",
        static_cast<double>(replica_.applier().auth().revision()));
  gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "The total size of puts.",
        static_cast<double>(store.size_bytes()));
  gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that are not synced.",
        replica_.store().watches().has_unsynced() ? 1 : 0);
  gauge("etcd_disk_wal_syncs_total", "Syncs of the log.", static_cast<double>(replica_.counters().syncs));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  gauge("os_fd_limit", "The file descriptor limit.", static_cast<double>(files.rlim_cur));
  std::error_code error;
  gauge("os_fd_used", "The number of used file descriptors.",
        static_cast<double>(std::distance(std::filesystem::directory_iterator("/proc/self/fd", error), {})));
  auto labelled = [&](const char* name, const char* label, std::string value) {
    registry_.AddGauge(name, "Which of them this is.", {label}).With({value}).Set(1);
  };
  labelled("etcd_server_version", "server_version", std::string(replica::kServerVersion));
  labelled("etcd_cluster_version", "cluster_version", std::string(replica::kClusterVersion.substr(0, 3)));
  labelled("etcd_server_id", "server_id", mvcc::MemberKey(replica_.member_id()));
  return registry_.ToText();
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
  (reason.empty() ? metrics_->health_ok : metrics_->health_failed).Add();
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
    metrics_->check.With({c.name, type}).Set(ok);
    metrics_->checks.With({c.name, ok ? "success" : "error", type}).Add();
  }
  if (!found) return std::nullopt;
  if (!good) return std::pair(503, lines + "\n");
  return std::pair(200, (verbose ? lines : std::string()) + "ok\n");
}

Task<void> Api::HandleHttp(base::net::Exchange& e) {
  base::net::Headers headers;
  auto respond = [&](int status, const char* type, std::string body) {
    headers.Set("content-type", type);
    return e.Respond(status, std::move(headers), std::move(body));
  };
  constexpr const char* kText = "text/plain; charset=utf-8";
  constexpr const char* kJson = "application/json";
  std::string_view path = e.path();
  if (path.starts_with("/v3/") && options_.gateway) co_return co_await HandleGateway(e);
  // Clients take an answer that overtakes their body for a broken stream.
  if (e.method() != "GET" && e.method() != "HEAD") (void)co_await e.ReadAll(e.context(), options_.max_request_bytes);
  bool known = path == "/health" || path == "/version" || path == "/metrics" || path.starts_with("/livez") ||
               path.starts_with("/readyz");
  if (known && e.method() != "GET" && e.method() != "HEAD") {
    headers.Set("allow", "GET");
    (void)co_await respond(405, kText, "Method Not Allowed\n");
    co_return;
  }
  if (path == "/health") {
    auto [status, body] = HealthText(e.query());
    (void)co_await respond(status, status == 200 ? kJson : kText, std::move(body));
    co_return;
  }
  if (path.starts_with("/livez") || path.starts_with("/readyz")) {
    size_t slash = std::min(path.find('/', 1), path.size());
    std::string_view one = path.substr(std::min(slash + 1, path.size()));
    if (auto found = Checks(path.substr(1, slash - 1), one, e.query())) {
      (void)co_await respond(found->first, kText, std::move(found->second));
      co_return;
    }
  } else if (path == "/version") {
    base::JsonWriter w;
    w.BeginObject().Key("etcdserver").String(replica::kServerVersion);
    w.Key("etcdcluster").String(replica::kClusterVersion).Key("storage").String(replica::kClusterVersion).EndObject();
    (void)co_await respond(200, kJson, w.Take());
    co_return;
  } else if (path == "/metrics") {
    (void)co_await respond(200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", MetricsText());
    co_return;
  }
  (void)co_await respond(404, kText, "404 page not found\n");
}

}  // namespace kvstore::service
