// kvstore's flags, under etcd's names, checked and put into the options of its parts. Used by main() before anything
// runs; one thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/flags.h"
#include "base/log.h"
#include "base/net/tls.h"
#include "kvstore/service/api.h"
#include "kvstore/service/compactor.h"
#include "kvstore/service/corruption.h"
#include "kvstore/service/discovery.h"

namespace kvstore::service {

struct Config {
  // As given.
  std::string config_file;
  std::string name = "default";
  std::string data_dir;
  std::string wal_dir;
  std::vector<std::string> listen_client_urls = {"http://localhost:2379"};
  std::vector<std::string> advertise_client_urls = {"http://localhost:2379"};
  std::vector<std::string> listen_peer_urls = {"http://localhost:2380"};
  std::vector<std::string> initial_advertise_peer_urls = {"http://localhost:2380"};
  std::vector<std::string> listen_metrics_urls;
  std::vector<std::string> listen_client_http_urls;
  std::string initial_cluster = "default=http://localhost:2380";
  std::string initial_cluster_state = "new";
  std::string initial_cluster_token = "etcd-cluster";
  // In place of initial_cluster: who is asked for it.
  DnsDiscovery dns;
  RegistryDiscovery registry{.client = {.endpoints = {}}, .token = {}};
  uint64_t snapshot_count = 10000;
  uint32_t heartbeat_interval_ms = 100;
  uint32_t election_timeout_ms = 1000;
  std::string compaction_mode = "periodic";
  std::string compaction_retention = "0";
  std::string log_level = "info";
  std::vector<std::string> log_outputs = {"default"};
  std::string logger = "zap";
  std::string log_format = "json";
  bool log_rotation = false;
  std::string log_rotation_json =
      R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})";
  std::string auth_token = "simple";
  uint32_t auth_token_ttl_seconds = 300;
  uint32_t bcrypt_cost = 10;
  bool client_cert_auth = false;
  bool auto_tls = false, peer_auto_tls = false;  // certificates of one's own making
  uint32_t self_signed_years = 1;
  std::string tls_min_version = "TLS1.2";
  std::string tls_max_version;
  bool memory_mlock = false;
  bool unsafe_no_fsync = false;
  base::net::TlsFiles tls;
  std::string client_cert_file, client_key_file;  // the original's gateway shows them to itself; ours calls directly
  base::net::TlsFiles peer_tls;                   // of the peer listeners
  std::string peer_client_cert_file;              // "": the peer listeners' own
  std::string peer_client_key_file;
  bool peer_client_cert_auth = false;
  bool peer_skip_names = false;  // members may come from elsewhere than their certificates say
  bool share_ports = false;
  bool force_new_cluster = false;
  bool pre_vote = true;
  bool strict_reconfig_check = true;
  uint32_t max_learners = 1;
  uint64_t catch_up_entries = 5000;
  bool peer_urls_given = false;  // else a peer port that is taken does not keep a cluster of one from serving
  CorruptionCheckOptions corruption_check;
  bool initial_corrupt_check = false;
  ApiOptions api;
  uint32_t max_concurrent_streams = 4294967295u;

  void AddFlags(base::FlagSet& flags);
  // What cannot work together is refused here.
  base::Status Check(const base::FlagSet& flags);
  base::Result<replica::Options> ReplicaOptions() const;
  base::Result<base::LogOptions> LogOptions() const;
  // Into the log: what was given and changes nothing.
  void WarnOfWhatIsIgnored() const;
  // Into the log: what this member starts with.
  void Announce() const;
  // So much garbage makes a start defragment; 0: none does.
  uint64_t DefragmentFrom() const;
  bool DiscoversByDns() const { return initial_cluster.empty() && !dns.domain.empty(); }
  bool DiscoversByRegistry() const { return initial_cluster.empty() && !registry.client.endpoints.empty(); }
  // What was discovered, in place of --initial-cluster.
  base::Status SetInitialCluster(const std::string& text);
  // --initial-cluster: name -> peer URLs.
  std::map<std::string, std::vector<std::string>> InitialCluster() const;
  // Whether a listener with an https URL can be had, of its certificate's files or of one's own making; that is made
  // under the data directory when it is not there yet (auto_tls.h).
  bool ClientTlsOn() const { return !tls.cert_file.empty() || auto_tls; }
  bool PeerTlsOn() const { return !peer_tls.cert_file.empty() || peer_auto_tls; }
  base::Result<base::net::TlsFiles> ClientListenerTls() const;
  base::Result<base::net::TlsFiles> PeerListenerTls() const;
  base::net::TlsFiles PeerClientTls() const;
  // Where connections to peers come from: the first advertised address, where the feature SetMemberLocalAddr is on.
  std::string PeerLocalAddress() const;

 private:
  base::Status CheckTls();
  base::Status CheckTlsVersions();
  void AddRegistryFlags(base::FlagSet& flags);
  base::Status CheckDiscovery() const;
  base::Status CheckDefaults() const;
  base::Status CheckCorruptionChecks();
  struct Accepted;  // flags that change nothing for a cluster of one
  std::shared_ptr<Accepted> accepted_;
};

struct ListenUrl {
  std::string address;  // "127.0.0.1:2379", "unix:/x"
  bool tls = false;
};
base::Result<ListenUrl> ParseListenUrl(const std::string& url);

}  // namespace kvstore::service
