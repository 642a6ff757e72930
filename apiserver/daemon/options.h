// kube-apiserver's flags as values. Filled by ParseOptions, read once at start. A flag of the original that is not
// supported yet is an error that says so.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/chain/manners.h"
#include "base/executor.h"
#include "base/log.h"

namespace apiserver {

struct Options {
  // The store.
  std::vector<std::string> etcd_servers;
  std::string etcd_cafile, etcd_certfile, etcd_keyfile;
  std::string etcd_prefix = "/registry";
  base::Duration etcd_compaction_interval = std::chrono::minutes(5);
  base::Duration event_ttl = std::chrono::hours(1);
  base::Duration storage_initialization_timeout = std::chrono::minutes(1);

  // Serving.
  std::string bind_address = "0.0.0.0";
  int32_t secure_port = 6443;
  std::string tls_cert_file, tls_private_key_file, tls_min_version;
  std::vector<std::string> tls_cipher_suites;
  std::string insecure_bind_address = "127.0.0.1";
  int32_t insecure_port = 0;
  std::string advertise_address;
  std::string external_hostname;
  int32_t max_requests_inflight = 400, max_mutating_requests_inflight = 200;
  int32_t min_request_timeout = 1800;
  int32_t http2_max_streams_per_connection = 0;
  base::Duration request_timeout = std::chrono::minutes(1);
  base::Duration shutdown_delay_duration{}, shutdown_watch_termination_grace_period{};
  chain::Manners manners;

  // Who and what.
  bool anonymous_auth = true;
  std::string client_ca_file, token_auth_file;
  std::vector<std::string> api_audiences;
  std::vector<std::string> authorization_mode;
  std::string requestheader_client_ca_file;
  std::vector<std::string> requestheader_allowed_names, requestheader_username_headers, requestheader_uid_headers,
      requestheader_group_headers, requestheader_extra_headers_prefix;
  std::vector<std::string> service_account_issuer, service_account_key_file;
  std::string service_account_signing_key_file, service_account_jwks_uri;
  bool service_account_extend_token_expiration = true;
  base::Duration service_account_max_token_expiration{};

  // Admission and API.
  std::vector<std::string> enable_admission_plugins, disable_admission_plugins;
  std::map<std::string, std::string> runtime_config;
  std::map<std::string, std::string> feature_gates;
  bool allow_privileged = false;

  // The cluster.
  std::string service_cluster_ip_range;
  std::string service_node_port_range = "30000-32767";
  int32_t kubernetes_service_node_port = 0;
  std::string kubelet_client_certificate, kubelet_client_key, kubelet_certificate_authority;
  std::vector<std::string> kubelet_preferred_address_types = {"Hostname", "InternalDNS", "InternalIP", "ExternalDNS",
                                                              "ExternalIP"};
  base::Duration kubelet_timeout = std::chrono::seconds(5);

  // Logs.
  int32_t verbosity = 0;
  std::string logging_format = "text";
};

// The exit code when the program shall not run (help, version, errors), else nullopt.
std::optional<int> ParseOptions(int argc, char** argv, Options& options);

}  // namespace apiserver
