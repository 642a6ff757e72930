// The metrics of a member, under the original's names.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>

#include "kvstore/mvcc/members.h"
#include "kvstore/service/api_impl.h"

namespace kvstore::service {

namespace {

// What the original counts of parts that are not here (bbolt's commits, the v2 store, the gRPC proxy, defragmentation)
// or that this member does not measure yet. Dashboards ask for the names; the values stay 0.
struct Idle {
  const char *name, *help;
  bool counter;
};
constexpr Idle kIdle[] = {
    {"etcd_debugging_mvcc_pending_events_total", "Total number of pending events to be sent.", false},
    {"etcd_debugging_store_expires_total", "Total number of expired keys.", true},
    {"etcd_debugging_store_watch_requests_total", "Total number of incoming watch requests (new or reestablished).",
     true},
    {"etcd_debugging_store_watchers", "Count of currently active watchers.", false},
    {"etcd_disk_defrag_inflight", "Whether or not defrag is active on the member. 1 means active, 0 means not.", false},
    {"etcd_grpc_proxy_cache_hits_total", "Total number of cache hits", false},
    {"etcd_grpc_proxy_cache_keys_total", "Total number of keys/ranges cached", false},
    {"etcd_grpc_proxy_cache_misses_total", "Total number of cache misses", false},
    {"etcd_grpc_proxy_events_coalescing_total", "Total number of events coalescing", true},
    {"etcd_grpc_proxy_watchers_coalescing_total", "Total number of current watchers coalescing", false},
    {"etcd_server_heartbeat_send_failures_total",
     "The total number of leader heartbeat send failures (likely overloaded from slow disk).", true},
    {"etcd_server_slow_read_indexes_total",
     "The total number of pending read indexes not in sync with leader's or timed out read index requests.", true},
    {"promhttp_metric_handler_requests_in_flight", "Current number of scrapes being served.", false},
};
struct IdleTimes {
  const char *name, *help;
  double first;
  int buckets;
};
constexpr IdleTimes kIdleTimes[] = {
    {"etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
     "The latency distributions of commit.rebalance called by bboltdb backend.", 0.001, 14},
    {"etcd_debugging_disk_backend_commit_spill_duration_seconds",
     "The latency distributions of commit.spill called by bboltdb backend.", 0.001, 14},
    {"etcd_debugging_disk_backend_commit_write_duration_seconds",
     "The latency distributions of commit.write called by bboltdb backend.", 0.001, 14},
    {"etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
     "Bucketed histogram of db compaction pause duration.", 1, 13},
    {"etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
     "Bucketed histogram of index compaction pause duration.", 0.5, 14},
    {"etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
     "The total duration in seconds of running through the send loop control stream response.", 0.001, 14},
    {"etcd_debugging_server_watch_send_loop_progress_duration_seconds",
     "The total duration in seconds of running through the progress loop control stream response.", 0.001, 14},
    {"etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
     "The average duration in seconds of running through the send loop watch stream response, per event.", 0.001, 14},
    {"etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
     "The total duration in seconds of running through the send loop watch stream response all events.", 0.001, 14},
    {"etcd_debugging_snap_save_marshalling_duration_seconds",
     "The marshalling cost distributions of save called by snapshot.", 0.001, 14},
    {"etcd_debugging_snap_save_total_duration_seconds", "The total latency distributions of save called by snapshot.",
     0.001, 14},
    {"etcd_disk_backend_commit_duration_seconds", "The latency distributions of commit called by backend.", 0.001, 14},
    {"etcd_disk_backend_defrag_duration_seconds", "The latency distribution of backend defragmentation.", 0.1, 13},
    {"etcd_snap_db_fsync_duration_seconds", "The latency distributions of fsyncing .snap.db file", 0.001, 14},
    {"etcd_snap_db_save_total_duration_seconds", "The total latency distributions of v3 snapshot save", 0.1, 10},
    {"etcd_snap_fsync_duration_seconds", "The latency distributions of fsync called by snap.", 0.001, 14},
};

void AddIdle(base::MetricsRegistry& r) {
  for (const Idle& m : kIdle) {
    if (m.counter) {
      r.AddCounter(m.name, m.help).Get();
    } else {
      r.AddGauge(m.name, m.help).Get();
    }
  }
  for (const IdleTimes& m : kIdleTimes) {
    r.AddHistogram(m.name, m.help, base::ExponentialBuckets(m.first, 2, m.buckets)).Get();
  }
}

}  // namespace

Api::Metrics::Metrics(base::MetricsRegistry& r, const ApiOptions& options)
    : started(r.AddCounter("grpc_server_started_total", "Total number of RPCs started on the server.",
                           {"grpc_method", "grpc_service", "grpc_type"})),
      handled(r.AddCounter("grpc_server_handled_total",
                           "Total number of RPCs completed on the server, regardless of success or failure.",
                           {"grpc_code", "grpc_method", "grpc_service", "grpc_type"})),
      received(r.AddCounter("grpc_server_msg_received_total",
                            "Total number of RPC stream messages received on the server.",
                            {"grpc_method", "grpc_service", "grpc_type"})),
      sent(r.AddCounter("grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server.",
                        {"grpc_method", "grpc_service", "grpc_type"})),
      put(r.AddCounter("etcd_mvcc_put_total", "Total number of puts seen by this member.").Get()),
      range(r.AddCounter("etcd_mvcc_range_total", "Total number of ranges seen by this member.").Get()),
      del(r.AddCounter("etcd_mvcc_delete_total", "Total number of deletes seen by this member.").Get()),
      txn(r.AddCounter("etcd_mvcc_txn_total", "Total number of txns seen by this member.").Get()),
      bytes_in(r.AddCounter("etcd_network_client_grpc_received_bytes_total",
                            "The total number of bytes received from grpc clients.")
                   .Get()),
      bytes_out(
          r.AddCounter("etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.")
              .Get()),
      lease_granted(r.AddCounter("etcd_debugging_lease_granted_total", "The total number of granted leases.").Get()),
      lease_renewed(
          r.AddCounter("etcd_debugging_lease_renewed_total", "The number of renewed leases seen by the leader.").Get()),
      lease_revoked(r.AddCounter("etcd_debugging_lease_revoked_total", "The total number of revoked leases.").Get()),
      health_ok(r.AddCounter("etcd_server_health_success", "The total number of successful health checks").Get()),
      health_failed(r.AddCounter("etcd_server_health_failures", "The total number of failed health checks").Get()),
      check(r.AddGauge("etcd_server_healthcheck", "The result of each kind of healthcheck.", {"name", "type"})),
      checks(r.AddCounter("etcd_server_healthchecks_total", "The total number of each kind of healthcheck.",
                          {"name", "status", "type"})),
      fsync(r.AddHistogram("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of fsync called by WAL.",
                           base::ExponentialBuckets(0.001, 2, 14))
                .Get()),
      log_write(r.AddHistogram("etcd_disk_wal_write_duration_seconds",
                               "The latency distributions of write called by WAL.",
                               base::ExponentialBuckets(0.001, 2, 14))
                    .Get()),
      apply(r.AddHistogram("etcd_server_apply_duration_seconds",
                           "The latency distributions of v2 apply called by backend.",
                           base::ExponentialBuckets(0.0001, 2, 20))
                .Get()),
      compaction(r.AddHistogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                                "Bucketed histogram of db compaction total duration.",
                                base::ExponentialBuckets(100, 2, 14))
                     .Get()),
      scrapes(r.AddCounter("promhttp_metric_handler_requests_total", "Total number of scrapes by HTTP status code.",
                           {"code"})
                  .With({"200"})),
      events(r.AddCounter("etcd_debugging_mvcc_events_total", "Total number of events sent by this member.").Get()),
      requests(r.AddCounter("etcd_server_client_requests_total",
                            "The total number of client requests per client version.", {"client_api_version", "type"})),
      request_seconds(r.AddHistogram("etcd_server_request_duration_seconds",
                                     "Response latency distribution in seconds for each type.",
                                     base::ExponentialBuckets(0.001, 2, 14), {"success", "type"})),
      range_seconds(r.AddHistogram("etcd_server_range_duration_seconds", "The latency distributions of txn.Range",
                                   base::ExponentialBuckets(0.0001, 2, 20), {"success"})
                        .With({"true"})),
      hash_seconds(r.AddHistogram("etcd_mvcc_hash_duration_seconds",
                                  "The latency distribution of storage hash operation.",
                                  base::ExponentialBuckets(0.01, 2, 15))
                       .Get()),
      hash_kv_seconds(r.AddHistogram("etcd_mvcc_hash_rev_duration_seconds",
                                     "The latency distribution of storage hash by revision operation.",
                                     base::ExponentialBuckets(0.01, 2, 15))
                          .Get()),
      snapshot_seconds(r.AddHistogram("etcd_disk_backend_snapshot_duration_seconds",
                                      "The latency distribution of backend snapshots.",
                                      base::ExponentialBuckets(0.01, 2, 17))
                           .Get()),
      lease_ttl(r.AddHistogram("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.",
                               base::ExponentialBuckets(1, 2, 24))
                    .Get()) {
  AddIdle(r);
  auto& gates = r.AddGauge("etcd_server_feature_enabled",
                           "Whether or not a feature is enabled. 1 is enabled, 0 is not.", {"name", "stage"});
  for (const auto& f : options.features.all()) gates.With({std::string(f.name), std::string(f.stage)}).Set(f.on);
}

std::string Api::MetricsText() {
  auto gauge = [&](const char* name, const char* help, double v) { registry_.AddGauge(name, help).Get().Set(v); };
  auto count = [&](const char* name, const char* help, double v) {
    base::Counter& c = registry_.AddCounter(name, help).Get();
    c.Add(std::max(0.0, v - c.Value()));
  };
  const mvcc::Store& store = replica_.store();
  gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.", replica_.leader() != 0);
  gauge("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.", replica_.is_leader());
  gauge("etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.",
        replica_.is_learner());
  count("etcd_server_leader_changes_seen_total", "The number of leader changes seen.",
        static_cast<double>(replica_.counters().leader_changes));
  gauge("etcd_server_proposals_committed_total", "The total number of consensus proposals committed.",
        static_cast<double>(replica_.committed_index()));
  gauge("etcd_server_proposals_applied_total", "The total number of consensus proposals applied.",
        static_cast<double>(replica_.applied_index()));
  gauge("etcd_server_proposals_pending", "The current number of pending proposals to commit.",
        static_cast<double>(replica_.pending()));
  count("etcd_server_proposals_failed_total", "The total number of failed proposals seen.",
        static_cast<double>(replica_.counters().proposals_failed));
  const replica::Replica::Counters& counters = replica_.counters();
  count("etcd_server_read_indexes_failed_total", "The total number of failed read indexes seen.",
        static_cast<double>(counters.reads_failed));
  count("etcd_server_slow_apply_total", "The total number of slow apply requests (likely overloaded from slow disk).",
        static_cast<double>(counters.slow_applies));
  count("etcd_server_learner_promote_successes",
        "The total number of successful learner promotions while this member is leader.",
        static_cast<double>(counters.promotions));
  gauge("etcd_server_snapshot_apply_in_progress_total", "1 if the server is applying the incoming snapshot. 0 if none.",
        replica_.installing());
  count("etcd_debugging_server_lease_expired_total", "The total number of expired leases.",
        static_cast<double>(counters.leases_expired));
  gauge("etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.",
        static_cast<double>(counters.log_bytes));
  count("etcd_debugging_mvcc_db_compaction_keys_total", "Total number of db keys compacted.",
        static_cast<double>(store.compacted_versions()));
  gauge("etcd_debugging_mvcc_db_compaction_last", "The unix time of the last db compaction. Resets to 0 on start.",
        static_cast<double>(counters.last_compaction));
  gauge("etcd_mvcc_db_open_read_transactions", "The number of currently open read transactions", store.open_views());
  gauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.",
        static_cast<double>(std::max<int64_t>(options_.quota_backend_bytes, 0)));
  gauge("etcd_mvcc_db_total_size_in_bytes", "Total size of the underlying database physically allocated in bytes.",
        static_cast<double>(store.size_bytes()));
  gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Total size of the underlying database logically in use in bytes.",
        static_cast<double>(store.size_in_use_bytes()));
  gauge("etcd_debugging_mvcc_keys_total", "Total number of keys.", static_cast<double>(store.keys()));
  gauge("etcd_debugging_mvcc_current_revision", "The current revision of store.",
        static_cast<double>(store.revision()));
  gauge("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.",
        static_cast<double>(store.compact_revision()));
  gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.",
        static_cast<double>(replica_.store().watches().count()));
  gauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.",
        static_cast<double>(watch_streams_));
  gauge("etcd_debugging_auth_revision", "The current revision of auth store.",
        static_cast<double>(replica_.applier().auth().revision()));
  gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "The total size of put kv pairs seen by this member.",
        static_cast<double>(store.size_bytes()));
  gauge("etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.",
        static_cast<double>(replica_.store().watches().unsynced()));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  gauge("os_fd_limit", "The file descriptor limit.", static_cast<double>(files.rlim_cur));
  std::error_code error;
  gauge("os_fd_used", "The number of used file descriptors.",
        static_cast<double>(std::distance(std::filesystem::directory_iterator("/proc/self/fd", error), {})));
  auto one = [&](const char* name, const char* help, const char* label, std::string value) {
    registry_.AddGauge(name, help, {label}).With({value}).Set(1);
  };
  one("etcd_server_version", "Which version is running. 1 for 'server_version' label with current version.",
      "server_version", std::string(replica::kServerVersion));
  one("etcd_server_go_version",
      "Which Go version server is running with. 1 for 'server_go_version' label with current version.",
      "server_go_version", "none (C++)");
  one("etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label with current cluster version",
      "cluster_version", replica_.ClusterVersion().substr(0, 3));
  std::string self = mvcc::MemberKey(replica_.member_id());
  one("etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
      "server_id", self);
  auto& peers =
      registry_.AddGauge("etcd_network_known_peers", "The current number of known peers.", {"Local", "Remote"});
  for (const mvcc::Member& m : replica_.Members()) peers.With({self, mvcc::MemberKey(m.id)}).Set(1);
  return registry_.ToText();
}

}  // namespace kvstore::service
