#include "kvstore/service/config.h"

#include <algorithm>

#include "base/bcrypt.h"
#include "base/file.h"
#include "base/go_duration.h"

namespace kvstore::service {

using base::Err;
using base::InvalidArgument;
using base::Ok;
using base::Result;
using base::Status;

// Limits and timeouts of the original's inner parts that have no counterpart here.
struct Config::Accepted {
  bool initial_election_tick_advance = true;
  uint32_t max_snapshots = 5, max_wals = 5;
  base::Duration raft_read_timeout = std::chrono::seconds(5), raft_write_timeout = std::chrono::seconds(5);
  base::Duration grpc_keepalive_min_time = std::chrono::seconds(5);
  base::Duration grpc_keepalive_interval = std::chrono::hours(2);
  base::Duration grpc_keepalive_timeout = std::chrono::seconds(20);
  base::Duration warning_apply_duration = std::chrono::milliseconds(100);
  base::Duration warning_unary_request_duration = std::chrono::milliseconds(300);
  std::string metrics = "basic";
  base::Duration backend_batch_interval{};
  uint32_t backend_batch_limit = 0;
  std::string backend_freelist = "map";
  uint32_t compaction_batch_limit = 1000;
  base::Duration compaction_sleep_interval{};
  std::string v2_deprecation = "write-only";
  bool former = false, initial_corrupt_check = false, compact_hash_check = false;
  bool set_member_local_address = false;
  std::string discovery_fallback = "exit";
  std::string feature_gates;
  uint32_t bootstrap_defrag_threshold = 0;
  base::Duration downgrade_check_time = std::chrono::seconds(5), compact_hash_check_time = std::chrono::minutes(1),
                 corrupt_check_time{};
  base::Duration wait_cluster_ready_timeout = std::chrono::seconds(5);
  bool socket_reuse_address = false;
  // Flags whose other values need what is not built: the value, and the one that is right.
  using Text = std::pair<std::string, std::string>;
  std::map<std::string, Text> texts = {
      {"distributed-tracing-address", {"localhost:4317", "localhost:4317"}},
      {"distributed-tracing-instance-id", {}},
      {"distributed-tracing-sampling-rate", {"0", "0"}},
      {"distributed-tracing-service-name", {"etcd", "etcd"}},
  };
  std::map<std::string, std::pair<bool, bool>> switches = {
      {"enable-distributed-tracing", {false, false}},
  };
};

void Config::AddFlags(base::FlagSet& f) {
  accepted_ = std::make_shared<Accepted>();
  Accepted& a = *accepted_;
  f.Add("config-file", &config_file, "Path to the server configuration file; other flags go over it.");
  f.Section("Member");
  f.Add("name", &name, "Human-readable name for this member.");
  f.Add("data-dir", &data_dir, "Path to the data directory (${name}.etcd).");
  f.Add("wal-dir", &wal_dir, "Path to the dedicated wal directory.");
  f.Add("snapshot-count", &snapshot_count, "Number of committed transactions to trigger a snapshot to disk.");
  f.Add("heartbeat-interval", &heartbeat_interval_ms, "Time (in milliseconds) of a heartbeat interval.");
  f.Add("election-timeout", &election_timeout_ms, "Time (in milliseconds) for an election to timeout.");
  f.Add("listen-peer-urls", &listen_peer_urls, "List of URLs to listen on for peer traffic.");
  f.Add("listen-client-urls", &listen_client_urls, "List of URLs to listen on for client grpc traffic and http.");
  f.Add("quota-backend-bytes", &api.quota_backend_bytes,
        "Raise alarms when backend size exceeds the given quota. 0 means use the default quota.");
  f.Add("max-txn-ops", &api.max_txn_ops, "Maximum number of operations permitted in a transaction.");
  f.Add("max-request-bytes", &api.max_request_bytes, "Maximum client request size in bytes the server will accept.");
  f.Add("max-concurrent-streams", &max_concurrent_streams,
        "Maximum concurrent streams that each client can open at a time.");
  f.Add("max-snapshots", &a.max_snapshots, "Maximum number of snapshot files to retain.");
  f.Add("max-wals", &a.max_wals, "Maximum number of wal files to retain.");
  f.Add("snapshot-catchup-entries", &catch_up_entries, "Entries kept for a slow follower to catch up.");
  f.Add("initial-election-tick-advance", &a.initial_election_tick_advance, "Fast-forward election ticks on boot.");
  f.Add("grpc-keepalive-min-time", &a.grpc_keepalive_min_time, "Minimum interval between client pings.");
  f.Add("grpc-keepalive-interval", &a.grpc_keepalive_interval, "Interval of server-to-client pings.");
  f.Add("grpc-keepalive-timeout", &a.grpc_keepalive_timeout, "Wait before closing a non-responsive connection.");
  f.Add("raft-read-timeout", &a.raft_read_timeout, "Read timeout of raft connections.");
  f.Add("raft-write-timeout", &a.raft_write_timeout, "Write timeout of raft connections.");
  f.Add("backend-batch-interval", &a.backend_batch_interval, "Time before a backend transaction is committed.");
  f.Add("backend-batch-limit", &a.backend_batch_limit, "Operations before a backend transaction is committed.");
  f.Add("backend-bbolt-freelist-type", &a.backend_freelist, "Freelist type of a bbolt backend.");
  f.Section("Clustering");
  f.Add("initial-advertise-peer-urls", &initial_advertise_peer_urls, "This member's peer URLs to advertise.");
  f.Add("advertise-client-urls", &advertise_client_urls, "This member's client URLs to advertise to the public.");
  f.Add("initial-cluster", &initial_cluster, "Initial cluster configuration for bootstrapping.");
  f.AddChoice("initial-cluster-state", &initial_cluster_state, {"new", "existing"}, "Initial cluster state.");
  f.Add("initial-cluster-token", &initial_cluster_token, "Initial cluster token for the cluster during bootstrap.");
  f.Add("discovery-srv", &dns.domain, "DNS srv domain used to bootstrap the cluster.");
  f.Add("discovery-srv-name", &dns.service, "Suffix to the dns srv name queried when bootstrapping.");
  AddRegistryFlags(f);
  // The original's sample file still has the other choice; no field of its configuration is read for it.
  f.AddChoice("discovery-fallback", &a.discovery_fallback, {"exit", "proxy"}, "What follows a failed discovery: exit.")
      .Config("(flag only).discovery-fallback");
  f.Add("auto-compaction-mode", &compaction_mode, "Interpret 'auto-compaction-retention' one of: periodic|revision.");
  f.Add("auto-compaction-retention", &compaction_retention, "Auto compaction retention length. 0 means disable.");
  f.Add("pre-vote", &pre_vote, "Enable the raft Pre-Vote algorithm.");
  f.Add("strict-reconfig-check", &strict_reconfig_check, "Reject reconfigurations that would lose the quorum.");
  f.AddChoice("v2-deprecation", &a.v2_deprecation, {"not-yet", "write-only", "write-only-drop-data", "gone"},
              "Phase of v2store deprecation.");
  f.Section("Security");
  f.Add("cert-file", &tls.cert_file, "Path to the client server TLS cert file.")
      .Config("client-transport-security.cert-file");
  f.Add("key-file", &tls.key_file, "Path to the client server TLS key file.")
      .Config("client-transport-security.key-file");
  f.Add("client-cert-auth", &client_cert_auth, "Enable client cert authentication.")
      .Config("client-transport-security.client-cert-auth");
  f.Add("trusted-ca-file", &tls.ca_file, "Path to the client server TLS trusted CA cert file.")
      .Config("client-transport-security.trusted-ca-file");
  f.Add("client-cert-file", &client_cert_file, "Path to an explicit client TLS cert file.")
      .Config("client-transport-security.client-cert-file");
  f.Add("client-key-file", &client_key_file, "Path to an explicit client TLS key file.")
      .Config("client-transport-security.client-key-file");
  f.Add("client-crl-file", &tls.crl_file, "Path to the client certificate revocation list file.");
  f.Add("client-cert-allowed-hostname", &tls.allowed_hostnames,
        "Comma-separated list of SAN hostnames for client cert authentication.")
      .Config("client-transport-security.allowed-hostname");
  // The original has it in its configuration file only.
  f.Add("client-cert-allowed-cn", &tls.allowed_common_names, "")
      .Config("client-transport-security.allowed-cn")
      .Hidden();
  f.Add("cipher-suites", &tls.cipher_suites, "List of supported TLS cipher suites.");
  f.Add("peer-cert-file", &peer_tls.cert_file, "Path to the peer server TLS cert file.")
      .Config("peer-transport-security.cert-file");
  f.Add("peer-key-file", &peer_tls.key_file, "Path to the peer server TLS key file.")
      .Config("peer-transport-security.key-file");
  f.Add("peer-trusted-ca-file", &peer_tls.ca_file, "Path to the peer server TLS trusted CA file.")
      .Config("peer-transport-security.trusted-ca-file");
  f.Add("peer-client-cert-file", &peer_client_cert_file, "Path to an explicit peer client TLS cert file.")
      .Config("peer-transport-security.client-cert-file");
  f.Add("peer-client-key-file", &peer_client_key_file, "Path to an explicit peer client TLS key file.")
      .Config("peer-transport-security.client-key-file");
  f.Add("peer-crl-file", &peer_tls.crl_file, "Path to the peer certificate revocation list file.");
  f.Add("peer-cert-allowed-cn", &peer_tls.allowed_common_names,
        "Comma-separated list of allowed CNs for inter-peer TLS authentication.")
      .Config("peer-transport-security.allowed-cn");
  f.Add("peer-cert-allowed-hostname", &peer_tls.allowed_hostnames,
        "Comma-separated list of allowed SAN hostnames for inter-peer TLS authentication.")
      .Config("peer-transport-security.allowed-hostname");
  f.Add("peer-client-cert-auth", &peer_client_cert_auth, "Enable peer client cert authentication.")
      .Config("peer-transport-security.client-cert-auth");
  f.Add("peer-skip-client-san-verification", &peer_skip_names,
        "Skip verification of SAN field in client certificate for peer connections.")
      .Config("peer-transport-security.skip-client-san-verification");
  f.Add("auto-tls", &auto_tls, "Client TLS using generated certificates.").Config("client-transport-security.auto-tls");
  f.Add("peer-auto-tls", &peer_auto_tls, "Peer TLS using self-generated certificates.")
      .Config("peer-transport-security.auto-tls");
  f.Add("self-signed-cert-validity", &self_signed_years,
        "The validity period of the client and peer certificates that are generated, in years.");
  f.Add("tls-min-version", &tls_min_version, "Minimum TLS version supported. Possible values: TLS1.2, TLS1.3.");
  f.Add("tls-max-version", &tls_max_version,
        "Maximum TLS version supported. Possible values: TLS1.2, TLS1.3 (empty: the newest).");
  f.Add("cors", &api.access.origins,
        "Comma-separated whitelist of origins for CORS, or cross-origin resource sharing.");
  f.Add("host-whitelist", &api.access.hosts,
        "Acceptable hostnames from HTTP client requests, if server is not secure (empty means allow all).");
  f.Section("Auth");
  f.Add("auth-token", &auth_token, "Specify auth token specific options.");
  f.Add("auth-token-ttl", &auth_token_ttl_seconds, "Time (in seconds) of the auth-token-ttl.");
  f.Add("bcrypt-cost", &bcrypt_cost, "Specify the cost / strength of the bcrypt algorithm for hashing auth passwords.");
  f.Section("Profiling and Monitoring");
  f.AddChoice("metrics", &a.metrics, {"basic", "extensive"}, "Level of detail for exported metrics.");
  f.Add("enable-pprof", &api.pprof,
        "Serve the command line and CPU profiles at client URL + \"/debug/pprof/\" (on with --log-level=debug too).");
  f.Add("listen-metrics-urls", &listen_metrics_urls, "List of URLs to listen on for /metrics and /health.");
  f.Section("Logging");
  f.Add("logger", &logger, "Structured logging: zap.");
  f.Add("log-outputs", &log_outputs,
        "'default', 'stderr', 'stdout', 'systemd/journal' or a file; several, comma-separated, at once.");
  f.AddChoice("log-level", &log_level, {"debug", "info", "warn", "error", "dpanic", "panic", "fatal"},
              "Log level: debug, info, warn, error, panic or fatal.");
  f.Add("log-format", &log_format, "Log format: json or console.");
  f.Add("enable-log-rotation", &log_rotation, "Enable log rotation of a single log-outputs file target.");
  f.Add("log-rotation-config-json", &log_rotation_json,
        "Log rotation if enabled: MaxSize (MB), MaxAge (days, 0=no limit), MaxBackups (0=no limit), LocalTime "
        "(false=UTC), Compress (gzip).");
  f.Add("warning-apply-duration", &a.warning_apply_duration, "Apply time that is worth a warning.");
  f.Add("warning-unary-request-duration", &a.warning_unary_request_duration, "Request time that is worth a warning.");
  f.Section("Features");
  f.Add("watch-progress-notify-interval", &api.watch_progress_interval, "Interval of watch progress notifications.");
  f.Add("compaction-batch-limit", &a.compaction_batch_limit, "Revisions deleted in one compaction batch.");
  f.Add("compaction-sleep-interval", &a.compaction_sleep_interval, "Pause between compaction batches.");
  f.Add("max-learners", &max_learners, "Maximum number of learners in the cluster.");
  f.Add("listen-client-http-urls", &listen_client_http_urls, "List of URLs to listen on for http only client traffic.");
  f.Add("enable-grpc-gateway", &api.gateway, "Enable GRPC gateway.");
  f.Add("memory-mlock", &memory_mlock, "Keep the member's memory from being swapped out.");
  f.Add("bootstrap-defrag-threshold-megabytes", &a.bootstrap_defrag_threshold,
        "Garbage from which a start defragments; 0: none.");
  f.Add("downgrade-check-time", &a.downgrade_check_time, "Interval of downgrade checks.");
  f.Add("corrupt-check-time", &a.corrupt_check_time, "Duration of time between cluster corruption check passes.");
  f.Add("compact-hash-check-time", &a.compact_hash_check_time,
        "Duration of time between leader checks followers compaction hashes (feature gate CompactHashCheck).");
  f.Add("feature-gates", &a.feature_gates,
        "A set of key=value pairs that describe server level feature gates for alpha/experimental features: "
        "InitialCorruptCheck=true, CompactHashCheck=true, SetMemberLocalAddr=true.");
  f.Add("initial-corrupt-check", &a.initial_corrupt_check, "").Hidden();
  f.Add("compact-hash-check-enabled", &a.compact_hash_check, "").Hidden();
  f.Add("set-member-localaddr", &a.set_member_local_address, "").Hidden();
  f.Add("wait-cluster-ready-timeout", &a.wait_cluster_ready_timeout, "Time to wait for the cluster.").Hidden();
  f.Add("socket-reuse-port", &share_ports, "Let other sockets that say so too listen on the listeners' ports.");
  f.Add("socket-reuse-address", &a.socket_reuse_address, "Set by every listener here.");
  f.Section("Unsafe feature");
  f.Add("force-new-cluster", &force_new_cluster, "Force to create a new one-member cluster.");
  f.Add("unsafe-no-fsync", &unsafe_no_fsync, "Disables fsync, unsafe, will cause data loss.");
  for (auto& [name, only] : a.texts) f.Add(name, &only.first, "Only the default is supported yet.");
  for (auto& [name, only] : a.switches) f.Add(name, &only.first, "Only the default is supported yet.");
  // Names of former experiments: what they asked for is so anyway, or has nothing to act on here.
  for (const char* name : {"enable-lease-checkpoint", "enable-lease-checkpoint-persist",
                           "txn-mode-write-with-shared-buffer", "stop-grpc-service-on-defrag"}) {
    f.Add(name, &a.former, "").Hidden();
  }
}

void Config::AddRegistryFlags(base::FlagSet& f) {
  client::ClientFlags& c = registry.client;
  f.Add("discovery-endpoints", &c.endpoints, "V3 discovery: List of gRPC endpoints of the discovery service.")
      .Config("discovery-config.client.endpoints");
  f.Add("discovery-token", &registry.token, "V3 discovery: discovery token for the etcd cluster to be bootstrapped.")
      .Config("discovery-config.token");
  f.Add("discovery-dial-timeout", &c.dial_timeout, "V3 discovery: dial timeout for client connections.")
      .Config("discovery-config.client.dial-timeout");
  f.Add("discovery-request-timeout", &c.command_timeout, "V3 discovery: timeout for discovery requests.")
      .Config("discovery-config.client.request-timeout");
  f.Add("discovery-keepalive-time", &c.keepalive_time, "V3 discovery: keepalive time for client connections.")
      .Config("discovery-config.client.keepalive-time");
  f.Add("discovery-keepalive-timeout", &c.keepalive_timeout, "V3 discovery: keepalive timeout for client connections.")
      .Config("discovery-config.client.keepalive-timeout");
  // The original has these two in its configuration file only.
  f.Add("discovery-max-request-bytes", &c.max_request_bytes, "")
      .Config("discovery-config.client.max-request-bytes")
      .Hidden();
  f.Add("discovery-max-recv-bytes", &c.max_receive_bytes, "").Config("discovery-config.client.max-recv-bytes").Hidden();
  f.Add("discovery-insecure-transport", &c.insecure_transport,
        "V3 discovery: disable transport security for client connections.")
      .Config("discovery-config.client.secure.insecure-transport");
  f.Add("discovery-insecure-skip-tls-verify", &c.insecure_skip_tls_verify,
        "V3 discovery: skip server certificate verification (CAUTION: only for testing purposes).")
      .Config("discovery-config.client.secure.insecure-skip-tls-verify");
  f.Add("discovery-cert", &c.cert, "V3 discovery: identify secure client using this TLS certificate file.")
      .Config("discovery-config.client.secure.cert");
  f.Add("discovery-key", &c.key, "V3 discovery: identify secure client using this TLS key file.")
      .Config("discovery-config.client.secure.key");
  f.Add("discovery-cacert", &c.cacert, "V3 discovery: verify certificates of TLS-enabled servers using this CA bundle.")
      .Config("discovery-config.client.secure.cacert");
  f.Add("discovery-user", &c.user, "V3 discovery: username[:password] for authentication.")
      .Config("discovery-config.client.auth.username");
  f.Add("discovery-password", &c.password, "V3 discovery: password for authentication.")
      .Config("discovery-config.client.auth.password");
}

Status Config::CheckDiscovery() const {
  if (accepted_->discovery_fallback == "proxy") {
    return InvalidArgument("v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
  }
  const std::vector<std::string>& endpoints = registry.client.endpoints;
  if (int{!initial_cluster.empty()} + int{!dns.domain.empty()} + int{!endpoints.empty()} > 1) {
    return InvalidArgument(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" or "
        "\"discovery-srv\"");
  }
  if (registry.token.empty() != endpoints.empty()) {
    return InvalidArgument("both --discovery-token and --discovery-endpoints must be set");
  }
  if (std::ranges::any_of(endpoints, [](const std::string& e) { return e.find_first_not_of(" \t") == e.npos; })) {
    return InvalidArgument("--discovery-endpoints must not contain empty endpoints");
  }
  return Ok();
}

Status Config::SetInitialCluster(const std::string& text) {
  initial_cluster = text;
  auto initial = InitialCluster();
  if (!initial.contains(name)) {
    return InvalidArgument("couldn't find local name \"" + name + "\" in the initial cluster configuration");
  }
  initial_advertise_peer_urls = initial[name];
  return Ok();
}

Result<ListenUrl> ParseListenUrl(const std::string& url) {
  size_t scheme = url.find("://");
  if (scheme == std::string::npos) return Err(InvalidArgument("URL must have a scheme: " + url));
  std::string kind = url.substr(0, scheme), rest = url.substr(scheme + 3);
  while (!rest.empty() && rest.back() == '/') rest.pop_back();
  ListenUrl out;
  out.tls = kind == "https" || kind == "unixs";
  if (kind == "unix" || kind == "unixs") {
    out.address = "unix:" + rest;
    return out;
  }
  if (kind != "http" && kind != "https") {
    return Err(InvalidArgument("URL scheme must be http, https, unix, or unixs: " + url));
  }
  size_t colon = rest.rfind(':');
  if (colon == std::string::npos)
    return Err(InvalidArgument("URL address does not have the form \"host:port\": " + url));
  std::string host = rest.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  out.address = host + rest.substr(colon);
  return out;
}

std::map<std::string, std::vector<std::string>> Config::InitialCluster() const {
  std::map<std::string, std::vector<std::string>> out;
  for (size_t at = 0; at < initial_cluster.size();) {
    size_t comma = std::min(initial_cluster.find(',', at), initial_cluster.size());
    std::string item = initial_cluster.substr(at, comma - at);
    if (size_t eq = item.find('='); eq != std::string::npos) out[item.substr(0, eq)].push_back(item.substr(eq + 1));
    at = comma + 1;
  }
  return out;
}

Status Config::Check(const base::FlagSet& flags) {
  TRY(LogOptions());
  if (data_dir.empty()) data_dir = name + ".etcd";
  bool discovers = !dns.domain.empty() || !dns.service.empty() || !registry.client.endpoints.empty();
  // As the original: the default cluster follows the name and the advertised peer URLs.
  if (!flags.Changed("initial-cluster")) {
    initial_cluster.clear();
    for (const std::string& u : initial_advertise_peer_urls) {
      if (!discovers) initial_cluster += (initial_cluster.empty() ? "" : ",") + name + "=" + u;
    }
  }
  TRY(CheckDiscovery());
  if (!DiscoversByDns() && !DiscoversByRegistry()) TRY(SetInitialCluster(initial_cluster));
  peer_urls_given = discovers || flags.Changed("listen-peer-urls") || InitialCluster().size() > 1 ||
                    initial_cluster_state == "existing";
  if (flags.Changed("listen-client-urls") && !flags.Changed("advertise-client-urls")) {
    return InvalidArgument("--advertise-client-urls is required when --listen-client-urls is set explicitly");
  }
  if (heartbeat_interval_ms == 0 || election_timeout_ms < 5 * heartbeat_interval_ms) {
    return InvalidArgument("--election-timeout[" + std::to_string(election_timeout_ms) +
                           "ms] should be at least as 5 times as --heartbeat-interval[" +
                           std::to_string(heartbeat_interval_ms) + "ms]");
  }
  TRY(CheckTls());
  TRY(CheckDefaults());
  TRY(CheckCorruptionChecks());
  TRY(ParseCompactionPolicy(compaction_mode, compaction_retention));
  if (bcrypt_cost < base::kBcryptMinCost || bcrypt_cost > base::kBcryptMaxCost) bcrypt_cost = base::kBcryptDefaultCost;
  api.bcrypt_cost = static_cast<int>(bcrypt_cost);
  api.client_cert_auth = client_cert_auth;
  api.slow_request = accepted_->warning_unary_request_duration;
  api.pprof |= log_level == "debug";
  TRY_ASSIGN(api.tokens,
             ParseTokenPolicy(base::PosixFileSystem(), auth_token, std::chrono::seconds(auth_token_ttl_seconds)));
  return Ok();
}

Status Config::CheckCorruptionChecks() {
  const Accepted& a = *accepted_;
  TRY(api.features.Set(a.feature_gates));
  if (a.set_member_local_address) api.features.Set("SetMemberLocalAddr", true);
  if (a.initial_corrupt_check) api.features.Set("InitialCorruptCheck", true);
  if (a.compact_hash_check) api.features.Set("CompactHashCheck", true);
  if (a.corrupt_check_time < base::Duration::zero()) {
    return InvalidArgument("--corrupt-check-time must not be negative");
  }
  if (a.compact_hash_check_time <= base::Duration::zero()) {
    return InvalidArgument("--compact-hash-check-time must be >0 (set to " +
                           base::FormatGoDuration(a.compact_hash_check_time) + ")");
  }
  initial_corrupt_check = api.features.on("InitialCorruptCheck");
  corruption_check.every = a.corrupt_check_time;
  if (api.features.on("CompactHashCheck")) corruption_check.after_compaction = a.compact_hash_check_time;
  return Ok();
}

Status Config::CheckDefaults() const {
  auto refused = [](const std::string& name) {
    return base::Unimplemented("flag --" + name + " is not supported yet by keelson");
  };
  for (const auto& [name, only] : accepted_->texts) {
    if (only.first != only.second) return refused(name);
  }
  for (const auto& [name, only] : accepted_->switches) {
    if (only.first != only.second) return refused(name);
  }
  return Ok();
}

void Config::Announce() const {
  base::LogInfo("starting an etcd server", {{"etcd-version", replica::kServerVersion},
                                            {"name", name},
                                            {"data-dir", data_dir},
                                            {"wal-dir", wal_dir},
                                            {"snapshot-count", snapshot_count},
                                            {"snapshot-catchup-entries", catch_up_entries},
                                            {"heartbeat-interval-ms", heartbeat_interval_ms},
                                            {"election-timeout-ms", election_timeout_ms},
                                            {"initial-advertise-peer-urls", initial_advertise_peer_urls},
                                            {"listen-peer-urls", listen_peer_urls},
                                            {"advertise-client-urls", advertise_client_urls},
                                            {"listen-client-urls", listen_client_urls},
                                            {"listen-metrics-urls", listen_metrics_urls},
                                            {"initial-cluster", initial_cluster},
                                            {"initial-cluster-state", initial_cluster_state},
                                            {"initial-cluster-token", initial_cluster_token},
                                            {"quota-backend-bytes", api.quota_backend_bytes},
                                            {"pre-vote", pre_vote},
                                            {"auto-compaction-mode", compaction_mode},
                                            {"auto-compaction-retention", compaction_retention}});
}

uint64_t Config::DefragmentFrom() const { return uint64_t{accepted_->bootstrap_defrag_threshold} << 20; }

Result<replica::Options> Config::ReplicaOptions() const {
  replica::Options o;
  o.data_dir = data_dir;
  o.wal_dir = wal_dir;
  o.name = name;
  o.peer_urls = initial_advertise_peer_urls;
  o.client_urls = advertise_client_urls;
  o.cluster_token = initial_cluster_token;
  o.snapshot_count = snapshot_count;
  o.heartbeat = std::chrono::milliseconds(heartbeat_interval_ms);
  o.election_ticks = static_cast<int>(election_timeout_ms / heartbeat_interval_ms);
  // One and a half election timeouts, in whole seconds: a lease must outlive a change of leaders.
  int64_t ms = int64_t{3} * o.election_ticks / 2 * heartbeat_interval_ms;
  o.store.min_lease_ttl = (ms + 999) / 1000;
  o.unsafe_no_sync = unsafe_no_fsync;
  if (initial_cluster_state == "new") o.initial_cluster = InitialCluster();
  o.force_new_cluster = force_new_cluster;
  o.pre_vote = pre_vote;
  o.strict_reconfig_check = strict_reconfig_check;
  o.max_learners = max_learners;
  o.slow_apply = accepted_->warning_apply_duration;
  o.catch_up_entries = catch_up_entries;
  return o;
}

}  // namespace kvstore::service
