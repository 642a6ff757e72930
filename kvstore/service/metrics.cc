// The metrics of a member, under the original's names: one table, from which all is registered and read.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <variant>

#include "kvstore/mvcc/members.h"
#include "kvstore/service/api_impl.h"

namespace kvstore::service {

namespace {

enum Kind { kCounter, kGauge, kTimes };
struct Buckets {
  double first = 0;  // each bound twice the one before
  int count = 0;
};
// One line of a gauge whose labels say what is.
struct Cell {
  std::string label, second_label;
  double value = 1;
};

double OpenFilesLimit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  return static_cast<double>(files.rlim_cur);
}

double OpenFiles() {
  std::error_code error;
  return static_cast<double>(std::distance(std::filesystem::directory_iterator("/proc/self/fd", error), {}));
}

std::vector<Cell> One(std::string label) { return {{std::move(label), "", 1}}; }

std::vector<Cell> KnownPeers(const replica::Replica& replica) {
  std::vector<Cell> out;
  for (const mvcc::Member& m : replica.Members()) {
    out.push_back({mvcc::MemberKey(replica.member_id()), mvcc::MemberKey(m.id)});
  }
  return out;
}

std::vector<Cell> Gates(const Features& features) {
  std::vector<Cell> out;
  for (const auto& f : features.all()) out.push_back({std::string(f.name), std::string(f.stage), f.on ? 1.0 : 0.0});
  return out;
}

}  // namespace

struct Api::Metrics::Row {
  template <class M>
  using Fed = M* Metrics::*;
  Kind kind;
  const char *name, *help;
  // Where its value comes from: asked for at every scrape, or fed by who does the work through a member of Metrics.
  // Nothing: of a part that is not here (bbolt's commits, the v2 store, the gRPC proxy) or that this member does not
  // measure. Dashboards ask for the names; the values stay 0.
  std::variant<std::monostate, std::function<double(Api&)>, std::function<std::vector<Cell>(Api&)>, Fed<base::Counter>,
               Fed<base::Histogram>, Fed<base::Family<base::Counter>>, Fed<base::Family<base::Gauge>>,
               Fed<base::Family<base::Histogram>>>
      source;
  Buckets buckets = {};
  std::vector<std::string> labels = {};
  const char* label_value = nullptr;  // when there is only this one

  template <class M>
  base::Family<M>& FamilyIn(base::MetricsRegistry& r) const {
    if constexpr (std::is_same_v<M, base::Counter>) {
      return r.AddCounter(name, help, labels);
    } else if constexpr (std::is_same_v<M, base::Gauge>) {
      return r.AddGauge(name, help, labels);
    } else {
      return r.AddHistogram(name, help, base::ExponentialBuckets(buckets.first, 2, buckets.count), labels);
    }
  }
  template <class M>
  M& CellIn(base::MetricsRegistry& r) const {
    return label_value != nullptr ? FamilyIn<M>(r).With({label_value}) : FamilyIn<M>(r).Get();
  }
  void Register(base::MetricsRegistry& r, Metrics& to) const;
  void Refresh(base::MetricsRegistry& r, Api& api) const;
};

std::span<const Api::Metrics::Row> Api::Metrics::Rows() {
  static const Row kRows[] = {
      {kGauge,
       "etcd_cluster_version",
       "Which version is running. 1 for 'cluster_version' label with current cluster version",
       [](auto& a) { return One(a.replica_.ClusterVersion().substr(0, 3)); },
       {},
       {"cluster_version"}},
      {kGauge, "etcd_debugging_auth_revision", "The current revision of auth store.",
       [](auto& a) { return a.replica_.applier().auth().revision(); }},
      {kTimes,
       "etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
       "The latency distributions of commit.rebalance called by bboltdb backend.",
       {},
       {0.001, 14}},
      {kTimes,
       "etcd_debugging_disk_backend_commit_spill_duration_seconds",
       "The latency distributions of commit.spill called by bboltdb backend.",
       {},
       {0.001, 14}},
      {kTimes,
       "etcd_debugging_disk_backend_commit_write_duration_seconds",
       "The latency distributions of commit.write called by bboltdb backend.",
       {},
       {0.001, 14}},
      {kCounter, "etcd_debugging_lease_granted_total", "The total number of granted leases.",
       [](auto& a) { return a.replica_.store().counts().leases_granted; }},
      {kCounter, "etcd_debugging_lease_renewed_total", "The number of renewed leases seen by the leader.",
       &Metrics::lease_renewed},
      {kCounter, "etcd_debugging_lease_revoked_total", "The total number of revoked leases.",
       [](auto& a) { return a.replica_.store().counts().leases_revoked; }},
      {kTimes, "etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.", &Metrics::lease_ttl, {1, 24}},
      {kGauge, "etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.",
       [](auto& a) { return a.replica_.store().compact_revision(); }},
      {kGauge, "etcd_debugging_mvcc_current_revision", "The current revision of store.",
       [](auto& a) { return a.replica_.store().revision(); }},
      {kCounter, "etcd_debugging_mvcc_db_compaction_keys_total", "Total number of db keys compacted.",
       [](auto& a) { return a.replica_.store().compacted_versions(); }},
      {kGauge, "etcd_debugging_mvcc_db_compaction_last",
       "The unix time of the last db compaction. Resets to 0 on start.",
       [](auto& a) { return a.replica_.counters().last_compaction; }},
      {kTimes,
       "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
       "Bucketed histogram of db compaction pause duration.",
       &Metrics::compaction_pause,
       {1, 13}},
      {kTimes,
       "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
       "Bucketed histogram of db compaction total duration.",
       &Metrics::compaction,
       {100, 14}},
      {kCounter, "etcd_debugging_mvcc_events_total", "Total number of events sent by this member.", &Metrics::events},
      {kTimes,
       "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
       "Bucketed histogram of index compaction pause duration.",
       &Metrics::index_pause,
       {0.5, 14}},
      {kGauge, "etcd_debugging_mvcc_keys_total", "Total number of keys.",
       [](auto& a) { return a.replica_.store().Count({"\0", {"\0", 1}}, 0); }},
      {kGauge, "etcd_debugging_mvcc_pending_events_total", "Total number of pending events to be sent.",
       [](auto& a) { return a.replica_.store().watches().queued_events(); }},
      {kGauge, "etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.",
       [](auto& a) { return a.replica_.store().watches().unsynced(); }},
      {kGauge, "etcd_debugging_mvcc_total_put_size_in_bytes", "The total size of put kv pairs seen by this member.",
       [](auto& a) { return a.replica_.store().counts().put_bytes; }},
      {kGauge, "etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.",
       [](auto& a) { return a.watch_streams_; }},
      {kGauge, "etcd_debugging_mvcc_watcher_total", "Total number of watchers.",
       [](auto& a) { return a.replica_.store().watches().count(); }},
      {kCounter, "etcd_debugging_server_lease_expired_total", "The total number of expired leases.",
       [](auto& a) { return a.replica_.counters().leases_expired; }},
      {kTimes,
       "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
       "The total duration in seconds of running through the send loop control stream response.",
       &Metrics::watch_control,
       {0.001, 14}},
      {kTimes,
       "etcd_debugging_server_watch_send_loop_progress_duration_seconds",
       "The total duration in seconds of running through the progress loop control stream response.",
       &Metrics::watch_progress,
       {0.001, 14}},
      {kTimes,
       "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
       "The average duration in seconds of running through the send loop watch stream response, per event.",
       &Metrics::watch_per_event,
       {0.001, 14}},
      {kTimes,
       "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
       "The total duration in seconds of running through the send loop watch stream response all events.",
       &Metrics::watch_events,
       {0.001, 14}},
      {kTimes,
       "etcd_debugging_snap_save_marshalling_duration_seconds",
       "The marshalling cost distributions of save called by snapshot.",
       {},
       {0.001, 14}},
      {kTimes,
       "etcd_debugging_snap_save_total_duration_seconds",
       "The total latency distributions of save called by snapshot.",
       &Metrics::checkpoint,
       {0.001, 14}},
      {kCounter, "etcd_debugging_store_expires_total", "Total number of expired keys.", {}},
      {kCounter,
       "etcd_debugging_store_watch_requests_total",
       "Total number of incoming watch requests (new or reestablished).",
       {}},
      {kGauge, "etcd_debugging_store_watchers", "Count of currently active watchers.", {}},
      {kTimes,
       "etcd_disk_backend_commit_duration_seconds",
       "The latency distributions of commit called by backend.",
       &Metrics::disk_sync,
       {0.001, 14}},
      {kTimes,
       "etcd_disk_backend_defrag_duration_seconds",
       "The latency distribution of backend defragmentation.",
       &Metrics::defragment,
       {0.1, 13}},
      {kTimes,
       "etcd_disk_backend_snapshot_duration_seconds",
       "The latency distribution of backend snapshots.",
       &Metrics::snapshot_seconds,
       {0.01, 17}},
      {kGauge,
       "etcd_disk_defrag_inflight",
       "Whether or not defrag is active on the member. 1 means active, 0 means not.",
       {}},  // 0 at any scrape: with nothing to do it is over in the turn in which it is asked for
      {kTimes,
       "etcd_disk_wal_fsync_duration_seconds",
       "The latency distributions of fsync called by WAL.",
       &Metrics::fsync,
       {0.001, 14}},
      {kGauge, "etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.",
       [](auto& a) { return a.replica_.counters().log_bytes; }},
      {kTimes,
       "etcd_disk_wal_write_duration_seconds",
       "The latency distributions of write called by WAL.",
       &Metrics::log_write,
       {0.001, 14}},
      {kGauge, "etcd_grpc_proxy_cache_hits_total", "Total number of cache hits", {}},
      {kGauge, "etcd_grpc_proxy_cache_keys_total", "Total number of keys/ranges cached", {}},
      {kGauge, "etcd_grpc_proxy_cache_misses_total", "Total number of cache misses", {}},
      {kCounter, "etcd_grpc_proxy_events_coalescing_total", "Total number of events coalescing", {}},
      {kGauge, "etcd_grpc_proxy_watchers_coalescing_total", "Total number of current watchers coalescing", {}},
      {kGauge, "etcd_mvcc_db_open_read_transactions", "The number of currently open read transactions",
       [](auto& a) { return a.replica_.store().open_views(); }},
      {kGauge, "etcd_mvcc_db_total_size_in_bytes",
       "Total size of the underlying database physically allocated in bytes.",
       [](auto& a) { return a.replica_.store().size_bytes(); }},
      {kGauge, "etcd_mvcc_db_total_size_in_use_in_bytes",
       "Total size of the underlying database logically in use in bytes.",
       [](auto& a) { return a.replica_.store().size_in_use_bytes(); }},
      {kCounter, "etcd_mvcc_delete_total", "Total number of deletes seen by this member.",
       [](auto& a) { return a.replica_.store().counts().deletes; }},
      {kTimes,
       "etcd_mvcc_hash_duration_seconds",
       "The latency distribution of storage hash operation.",
       &Metrics::hash_seconds,
       {0.01, 15}},
      {kTimes,
       "etcd_mvcc_hash_rev_duration_seconds",
       "The latency distribution of storage hash by revision operation.",
       &Metrics::hash_kv_seconds,
       {0.01, 15}},
      {kCounter, "etcd_mvcc_put_total", "Total number of puts seen by this member.",
       [](auto& a) { return a.replica_.store().counts().puts; }},
      {kCounter, "etcd_mvcc_range_total", "Total number of ranges seen by this member.",
       [](auto& a) { return a.replica_.store().counts().ranges; }},
      {kCounter, "etcd_mvcc_txn_total", "Total number of txns seen by this member.",
       [](auto& a) { return a.replica_.store().counts().txns; }},
      {kCounter, "etcd_network_client_grpc_received_bytes_total",
       "The total number of bytes received from grpc clients.", &Metrics::bytes_in},
      {kCounter, "etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.",
       &Metrics::bytes_out},
      {kGauge,
       "etcd_network_known_peers",
       "The current number of known peers.",
       [](auto& a) { return KnownPeers(a.replica_); },
       {},
       {"Local", "Remote"}},
      {kTimes,
       "etcd_server_apply_duration_seconds",
       "The latency distributions of v2 apply called by backend.",
       &Metrics::apply,
       {0.0001, 20}},
      {kCounter,
       "etcd_server_client_requests_total",
       "The total number of client requests per client version.",
       &Metrics::requests,
       {},
       {"client_api_version", "type"}},
      {kGauge,
       "etcd_server_feature_enabled",
       "Whether or not a feature is enabled. 1 is enabled, 0 is not.",
       [](auto& a) { return Gates(a.options_.features); },
       {},
       {"name", "stage"}},
      {kGauge,
       "etcd_server_go_version",
       "Which Go version server is running with. 1 for 'server_go_version' label with current version.",
       [](auto&) { return One("none (C++)"); },
       {},
       {"server_go_version"}},
      {kGauge, "etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.",
       [](auto& a) { return a.replica_.leader() != 0; }},
      {kCounter, "etcd_server_health_failures", "The total number of failed health checks", &Metrics::health_failed},
      {kCounter, "etcd_server_health_success", "The total number of successful health checks", &Metrics::health_ok},
      {kGauge,
       "etcd_server_healthcheck",
       "The result of each kind of healthcheck.",
       &Metrics::check,
       {},
       {"name", "type"}},
      {kCounter,
       "etcd_server_healthchecks_total",
       "The total number of each kind of healthcheck.",
       &Metrics::checks,
       {},
       {"name", "status", "type"}},
      {kCounter, "etcd_server_heartbeat_send_failures_total",
       "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
       [](auto& a) { return a.replica_.counters().heartbeats_late; }},
      {kGauge,
       "etcd_server_id",
       "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
       [](auto& a) { return One(mvcc::MemberKey(a.replica_.member_id())); },
       {},
       {"server_id"}},
      {kGauge, "etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.",
       [](auto& a) { return a.replica_.is_leader(); }},
      {kGauge, "etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.",
       [](auto& a) { return a.replica_.is_learner(); }},
      {kCounter, "etcd_server_leader_changes_seen_total", "The number of leader changes seen.",
       [](auto& a) { return a.replica_.counters().leader_changes; }},
      {kCounter, "etcd_server_learner_promote_successes",
       "The total number of successful learner promotions while this member is leader.",
       [](auto& a) { return a.replica_.counters().promotions; }},
      {kGauge, "etcd_server_proposals_applied_total", "The total number of consensus proposals applied.",
       [](auto& a) { return a.replica_.applied_index(); }},
      {kGauge, "etcd_server_proposals_committed_total", "The total number of consensus proposals committed.",
       [](auto& a) { return a.replica_.committed_index(); }},
      {kCounter, "etcd_server_proposals_failed_total", "The total number of failed proposals seen.",
       [](auto& a) { return a.replica_.counters().proposals_failed; }},
      {kGauge, "etcd_server_proposals_pending", "The current number of pending proposals to commit.",
       [](auto& a) { return a.replica_.pending(); }},
      {kGauge, "etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.",
       [](auto& a) { return std::max<int64_t>(a.options_.quota_backend_bytes, 0); }},
      {kTimes,
       "etcd_server_range_duration_seconds",
       "The latency distributions of txn.Range",
       &Metrics::range_seconds,
       {0.0001, 20},
       {"success"},
       "true"},
      {kCounter, "etcd_server_read_indexes_failed_total", "The total number of failed read indexes seen.",
       [](auto& a) { return a.replica_.counters().reads_failed; }},
      {kTimes,
       "etcd_server_request_duration_seconds",
       "Response latency distribution in seconds for each type.",
       &Metrics::request_seconds,
       {0.001, 14},
       {"success", "type"}},
      {kCounter, "etcd_server_slow_apply_total",
       "The total number of slow apply requests (likely overloaded from slow disk).",
       [](auto& a) { return a.replica_.counters().slow_applies; }},
      {kCounter, "etcd_server_slow_read_indexes_total",
       "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
       [](auto& a) { return a.replica_.counters().reads_slow; }},
      {kGauge, "etcd_server_snapshot_apply_in_progress_total",
       "1 if the server is applying the incoming snapshot. 0 if none.",
       [](auto& a) { return a.replica_.installing(); }},
      {kGauge,
       "etcd_server_version",
       "Which version is running. 1 for 'server_version' label with current version.",
       [](auto&) { return One(std::string(replica::kServerVersion)); },
       {},
       {"server_version"}},
      {kTimes,
       "etcd_snap_db_fsync_duration_seconds",
       "The latency distributions of fsyncing .snap.db file",
       &Metrics::database_sync,
       {0.001, 14}},
      {kTimes,
       "etcd_snap_db_save_total_duration_seconds",
       "The total latency distributions of v3 snapshot save",
       &Metrics::database_save,
       {0.1, 10}},
      {kTimes,
       "etcd_snap_fsync_duration_seconds",
       "The latency distributions of fsync called by snap.",
       &Metrics::state_file,
       {0.001, 14}},
      {kCounter,
       "grpc_server_handled_total",
       "Total number of RPCs completed on the server, regardless of success or failure.",
       &Metrics::handled,
       {},
       {"grpc_code", "grpc_method", "grpc_service", "grpc_type"}},
      {kCounter,
       "grpc_server_msg_received_total",
       "Total number of RPC stream messages received on the server.",
       &Metrics::received,
       {},
       {"grpc_method", "grpc_service", "grpc_type"}},
      {kCounter,
       "grpc_server_msg_sent_total",
       "Total number of gRPC stream messages sent by the server.",
       &Metrics::sent,
       {},
       {"grpc_method", "grpc_service", "grpc_type"}},
      {kCounter,
       "grpc_server_started_total",
       "Total number of RPCs started on the server.",
       &Metrics::started,
       {},
       {"grpc_method", "grpc_service", "grpc_type"}},
      {kGauge, "os_fd_limit", "The file descriptor limit.", [](auto&) { return OpenFilesLimit(); }},
      {kGauge, "os_fd_used", "The number of used file descriptors.", [](auto&) { return OpenFiles(); }},
      {kGauge, "promhttp_metric_handler_requests_in_flight", "Current number of scrapes being served.",
       [](auto&) { return 1; }},
      {kCounter,
       "promhttp_metric_handler_requests_total",
       "Total number of scrapes by HTTP status code.",
       &Metrics::scrapes,
       {},
       {"code"},
       "200"},
  };
  return kRows;
}

void Api::Metrics::Row::Register(base::MetricsRegistry& r, Metrics& to) const {
  auto family = [&]<class M>(Fed<base::Family<M>> member) { to.*member = &FamilyIn<M>(r); };
  auto cell = [&]<class M>(Fed<M> member) { to.*member = &CellIn<M>(r); };
  if (auto* counters = std::get_if<Fed<base::Family<base::Counter>>>(&source)) return family(*counters);
  if (auto* gauges = std::get_if<Fed<base::Family<base::Gauge>>>(&source)) return family(*gauges);
  if (auto* times = std::get_if<Fed<base::Family<base::Histogram>>>(&source)) return family(*times);
  if (auto* counter = std::get_if<Fed<base::Counter>>(&source)) return cell(*counter);
  if (auto* times = std::get_if<Fed<base::Histogram>>(&source)) return cell(*times);
  if (!std::holds_alternative<std::monostate>(source)) return;  // see Refresh
  if (kind == kCounter) CellIn<base::Counter>(r);
  if (kind == kGauge) CellIn<base::Gauge>(r);
  if (kind == kTimes) CellIn<base::Histogram>(r);
}

void Api::Metrics::Row::Refresh(base::MetricsRegistry& r, Api& api) const {
  if (auto* read = std::get_if<std::function<double(Api&)>>(&source)) {
    double value = (*read)(api);
    if (kind == kGauge) return CellIn<base::Gauge>(r).Set(value);
    base::Counter& counter = CellIn<base::Counter>(r);
    counter.Add(std::max(0.0, value - counter.Value()));
  } else if (auto* cells = std::get_if<std::function<std::vector<Cell>(Api&)>>(&source)) {
    for (const Cell& c : (*cells)(api)) {
      auto& family = FamilyIn<base::Gauge>(r);
      (labels.size() == 1 ? family.With({c.label}) : family.With({c.label, c.second_label})).Set(c.value);
    }
  }
}

Api::Metrics::Metrics(base::MetricsRegistry& r) {
  for (const Row& row : Rows()) row.Register(r, *this);
}

std::string Api::MetricsText() {
  for (const Metrics::Row& row : Metrics::Rows()) row.Refresh(registry_, *this);
  return registry_.ToText();
}

}  // namespace kvstore::service
