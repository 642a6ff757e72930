#include "apiserver/daemon/options.h"

#include "base/flags.h"
#include "base/version.h"

namespace apiserver {

namespace {

void AddStoreFlags(base::FlagSet& f, Options& o) {
  f.Section("Etcd");
  f.Add("etcd-servers", &o.etcd_servers, "Servers of the store: scheme://ip:port, comma separated.");
  f.Add("etcd-cafile", &o.etcd_cafile, "CA file that the store's certificate is checked with.");
  f.Add("etcd-certfile", &o.etcd_certfile, "Client certificate shown to the store.");
  f.Add("etcd-keyfile", &o.etcd_keyfile, "Key of the client certificate shown to the store.");
  f.Add("etcd-prefix", &o.etcd_prefix, "First part of every key in the store.");
  f.Add("etcd-compaction-interval", &o.etcd_compaction_interval,
        "How often old revisions are given up. 0 leaves that to the store.");
  f.Add("event-ttl", &o.event_ttl, "How long events are kept.");
  f.Add("storage-initialization-timeout", &o.storage_initialization_timeout,
        "How long to wait for the store at start; 0 waits for ever.");
}

void AddServingFlags(base::FlagSet& f, Options& o) {
  f.Section("Secure serving");
  f.Add("bind-address", &o.bind_address, "Address that --secure-port listens on.").Type("ip");
  f.Add("secure-port", &o.secure_port, "Port for HTTPS with authentication and authorization.").Type("int");
  f.Add("tls-cert-file", &o.tls_cert_file, "Server certificate, followed by its chain.");
  f.Add("tls-private-key-file", &o.tls_private_key_file, "Key of --tls-cert-file.");
  f.Add("tls-min-version", &o.tls_min_version, "Oldest TLS version: VersionTLS12 or VersionTLS13.");
  f.Add("tls-cipher-suites", &o.tls_cipher_suites, "Cipher suites by their IANA names; empty for a good default.");
  f.Add("http2-max-streams-per-connection", &o.http2_max_streams_per_connection,
        "Streams a client may have open on one HTTP/2 connection; 0 for the default of 250.");
  f.Section("Insecure serving");
  f.Add("insecure-bind-address", &o.insecure_bind_address, "Address that --insecure-port listens on.").Type("ip");
  f.Add("insecure-port", &o.insecure_port,
        "Port for plain HTTP without authentication or authorization; 0 switches it off.");
  f.Section("Generic");
  f.Add("advertise-address", &o.advertise_address, "Address at which the cluster reaches this server.").Type("ip");
  f.Add("external-hostname", &o.external_hostname, "Name for URLs that are shown to the outside.");
  f.Add("max-requests-inflight", &o.max_requests_inflight, "Reading requests served at one time.");
  f.Add("max-mutating-requests-inflight", &o.max_mutating_requests_inflight, "Writing requests served at one time.");
  f.Add("min-request-timeout", &o.min_request_timeout, "Shortest time, in seconds, that a watch is left open.");
  f.Add("request-timeout", &o.request_timeout, "How long a request may take.");
  f.Add("shutdown-delay-duration", &o.shutdown_delay_duration, "How long to go on serving after the signal to stop.");
  f.Add("shutdown-send-retry-after", &o.manners.shutdown_send_retry_after,
        "After --shutdown-delay-duration send new requests elsewhere with 429 while those under way end.");
  f.Add(
      "goaway-chance", &o.manners.goaway_chance,
      "Chance that a request moves its HTTP/2 client to another connection, 0 to 0.02: spreads clients over servers.");
  f.Add("cors-allowed-origins", &o.manners.cors_allowed_origins,
        "Regular expressions of the origins that browsers may call from, tied to both ends of the host: "
        "//example\\.com(:|$).");
  f.Add("strict-transport-security-directives", &o.manners.strict_transport_security_directives,
        "Directives of the header Strict-Transport-Security: max-age=expireTime, includeSubDomains, preload.");
  f.Add("feature-gates", &o.feature_gates, "Features to switch on or off.");
}

void AddIdentityFlags(base::FlagSet& f, Options& o) {
  f.Section("Authentication");
  f.Add("anonymous-auth", &o.anonymous_auth, "Let requests without credentials in as system:anonymous.");
  f.Add("client-ca-file", &o.client_ca_file, "CA whose client certificates say who a client is.");
  f.Add("token-auth-file", &o.token_auth_file, "CSV file of tokens.");
  f.Add("api-audiences", &o.api_audiences, "Audiences of service account tokens that are meant for this server.");
  f.Add("requestheader-client-ca-file", &o.requestheader_client_ca_file,
        "CA of front proxies whose identity headers are believed.");
  f.Add("requestheader-allowed-names", &o.requestheader_allowed_names, "Common names such proxies may have.");
  f.Add("requestheader-username-headers", &o.requestheader_username_headers, "Headers that carry the user.");
  f.Add("requestheader-uid-headers", &o.requestheader_uid_headers, "Headers that carry the user's uid.");
  f.Add("requestheader-group-headers", &o.requestheader_group_headers, "Headers that carry groups.");
  f.Add("requestheader-extra-headers-prefix", &o.requestheader_extra_headers_prefix,
        "Prefixes of headers that carry more about the user.");
  f.Add("service-account-issuer", &o.service_account_issuer, "Issuer of service account tokens; the first one signs.");
  f.Add("service-account-key-file", &o.service_account_key_file, "Keys that service account tokens are checked with.");
  f.Add("service-account-signing-key-file", &o.service_account_signing_key_file,
        "Key that signs service account tokens.");
  f.Add("service-account-jwks-uri", &o.service_account_jwks_uri, "Address of the keys as discovery shows it.");
  f.Add("service-account-extend-token-expiration", &o.service_account_extend_token_expiration,
        "Let injected tokens live longer than asked, for clients that do not reload them.");
  f.Add("service-account-max-token-expiration", &o.service_account_max_token_expiration,
        "Longest life of a service account token; 0 for no limit.");
  f.Section("Authorization");
  f.Add("authorization-mode", &o.authorization_mode, "Who decides, in order: AlwaysAllow, AlwaysDeny, Node, RBAC.");
}

void AddClusterFlags(base::FlagSet& f, Options& o) {
  f.Section("Admission");
  f.Add("enable-admission-plugins", &o.enable_admission_plugins, "Plug-ins to switch on beside the default ones.");
  f.Add("disable-admission-plugins", &o.disable_admission_plugins, "Default plug-ins to switch off.");
  f.Section("API enablement");
  f.Add("runtime-config", &o.runtime_config, "Versions to switch on or off: apps/v1=false, api/all=true.");
  f.Section("Misc");
  f.Add("allow-privileged", &o.allow_privileged, "Let containers ask for privileged mode.");
  f.Add("service-cluster-ip-range", &o.service_cluster_ip_range, "CIDRs of Service addresses, the primary first.");
  f.Add("service-node-port-range", &o.service_node_port_range, "Ports for Services of type NodePort.")
      .Type("portRange");
  f.Add("kubernetes-service-node-port", &o.kubernetes_service_node_port,
        "Node port of the Service kubernetes; 0 for none.");
  f.Add("kubelet-client-certificate", &o.kubelet_client_certificate, "Certificate shown to kubelets.");
  f.Add("kubelet-client-key", &o.kubelet_client_key, "Key of --kubelet-client-certificate.");
  f.Add("kubelet-certificate-authority", &o.kubelet_certificate_authority, "CA that kubelets are checked with.");
  f.Add("kubelet-preferred-address-types", &o.kubelet_preferred_address_types,
        "Which of a node's addresses to use, best first.");
  f.Add("kubelet-timeout", &o.kubelet_timeout, "How long to wait for a kubelet.");
  f.Section("Logs");
  f.Add("v", &o.verbosity, "Verbosity of the log.").Short('v').Type("Level");
  f.AddChoice("logging-format", &o.logging_format, {"text", "json"}, "Form of the log: text or json.");
}

// Flags of the original that change behaviour we do not have; asked for, they are errors.
void RefuseOthers(base::FlagSet& f) {
  f.Unsupported({"admission-control",
                 "admission-control-config-file",
                 "aggregator-reject-forwarding-redirect",
                 "allow-metric-labels",
                 "allow-metric-labels-manifest",
                 "audit-log-batch-buffer-size",
                 "audit-log-batch-max-size",
                 "audit-log-batch-max-wait",
                 "audit-log-batch-throttle-burst",
                 "audit-log-batch-throttle-enable",
                 "audit-log-batch-throttle-qps",
                 "audit-log-compress",
                 "audit-log-format",
                 "audit-log-maxage",
                 "audit-log-maxbackup",
                 "audit-log-maxsize",
                 "audit-log-mode",
                 "audit-log-path",
                 "audit-log-truncate-enabled",
                 "audit-log-truncate-max-batch-size",
                 "audit-log-truncate-max-event-size",
                 "audit-log-version",
                 "audit-policy-file",
                 "audit-webhook-batch-buffer-size",
                 "audit-webhook-batch-max-size",
                 "audit-webhook-batch-max-wait",
                 "audit-webhook-batch-throttle-burst",
                 "audit-webhook-batch-throttle-enable",
                 "audit-webhook-batch-throttle-qps",
                 "audit-webhook-config-file",
                 "audit-webhook-initial-backoff",
                 "audit-webhook-mode",
                 "audit-webhook-truncate-enabled",
                 "audit-webhook-truncate-max-batch-size",
                 "audit-webhook-truncate-max-event-size",
                 "audit-webhook-version",
                 "authentication-config",
                 "authentication-token-webhook-cache-ttl",
                 "authentication-token-webhook-config-file",
                 "authentication-token-webhook-version",
                 "authorization-config",
                 "authorization-policy-file",
                 "authorization-webhook-cache-authorized-ttl",
                 "authorization-webhook-cache-unauthorized-ttl",
                 "authorization-webhook-config-file",
                 "authorization-webhook-version",
                 "cert-dir",
                 "contention-profiling",
                 "coordinated-leadership-lease-duration",
                 "coordinated-leadership-renew-deadline",
                 "coordinated-leadership-retry-period",
                 "debug-socket-path",
                 "disable-http2-serving",
                 "disabled-metrics",
                 "egress-selector-config-file",
                 "emulated-version",
                 "emulation-forward-compatible",
                 "enable-aggregator-routing",
                 "enable-bootstrap-token-auth",
                 "enable-logs-handler",
                 "enable-priority-and-fairness",
                 "encryption-provider-config",
                 "encryption-provider-config-automatic-reload",
                 "endpoint-reconciler-type",
                 "etcd-count-metric-poll-period",
                 "etcd-db-metric-poll-interval",
                 "etcd-healthcheck-timeout",
                 "etcd-readycheck-timeout",
                 "etcd-servers-overrides",
                 "lease-reuse-duration-seconds",
                 "livez-grace-period",
                 "log-flush-frequency",
                 "log-json-info-buffer-size",
                 "log-json-split-stream",
                 "log-text-info-buffer-size",
                 "log-text-split-stream",
                 "max-connection-bytes-per-sec",
                 "min-compatibility-version",
                 "oidc-ca-file",
                 "oidc-client-id",
                 "oidc-groups-claim",
                 "oidc-groups-prefix",
                 "oidc-issuer-url",
                 "oidc-required-claim",
                 "oidc-signing-algs",
                 "oidc-username-claim",
                 "oidc-username-prefix",
                 "peer-advertise-ip",
                 "peer-advertise-port",
                 "peer-ca-file",
                 "permit-address-sharing",
                 "permit-port-sharing",
                 "profiling",
                 "runtime-config-emulation-forward-compatible",
                 "send-retry-after-while-not-ready-once",
                 "service-account-signing-endpoint",
                 "show-hidden-metrics-for-version",
                 "storage-backend",
                 "storage-media-type",
                 "tls-curve-preferences",
                 "tls-sni-cert-key",
                 "tracing-config-file",
                 "vmodule",
                 "watch-cache",
                 "watch-cache-sizes",
                 "proxy-client-key-file",
                 "proxy-client-cert-file",
                 "service-account-lookup",
                 "enable-garbage-collector",
                 "default-unreachable-toleration-seconds",
                 "default-not-ready-toleration-seconds",
                 "delete-collection-workers"});
}

}  // namespace

std::optional<int> ParseOptions(int argc, char** argv, Options& o) {
  base::FlagSet flags({.name = "kube-apiserver",
                       .description = "The Kubernetes API server: REST and gRPC in front of the store.",
                       .version = std::string(base::version::kKubernetesProgram)});
  AddStoreFlags(flags, o);
  AddServingFlags(flags, o);
  AddIdentityFlags(flags, o);
  AddClusterFlags(flags, o);
  RefuseOthers(flags);
  return flags.ParseOrExitCode(argc, argv);
}

}  // namespace apiserver
