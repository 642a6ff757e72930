#include "machinery/client/elected.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/host.h"
#include "base/log.h"
#include "base/net/self_signed.h"
#include "machinery/client/leader_election.h"

namespace machinery::client {
namespace {
constexpr base::Duration kDrain = std::chrono::seconds(1);

base::Result<std::shared_ptr<base::net::ServerTls>> ServingTls(const ElectedOptions& o) {
  base::net::TlsFiles files;
  files.cert_file = o.tls_cert_file;
  files.key_file = o.tls_private_key_file;
  files.ca_file = o.client_ca_file;
  files.minimum_version = o.tls_min_version == "VersionTLS13" ? 13 : 12;
  files.cipher_suites = o.tls_cipher_suites;
  if (!o.tls_cert_file.empty()) return base::net::ServerTls::FromFiles(std::move(files));
  return base::net::SelfSignedServerTls(base::HostName(), std::move(files));
}

// Health is for everybody; everything else needs a certificate of the client CA that names a trusted group.
base::Task<void> ServeHealth(base::net::Exchange& exchange, base::net::HealthEndpoints& health) {
  auto path = exchange.path();
  bool open = path.starts_with("/healthz") || path.starts_with("/livez") || path.starts_with("/readyz");
  if (!open) {
    const auto& peer = exchange.peer();
    bool trusted = peer.verified_chain && std::ranges::any_of(peer.organizations, [](const auto& group) {
                     return group == "system:masters" || group == "system:monitoring";
                   });
    if (!trusted) {
      int code = peer.verified_chain ? 403 : 401;
      (void)co_await exchange.Respond(code, {}, std::string(code == 403 ? "Forbidden\n" : "Unauthorized\n"));
      co_return;
    }
  }
  co_await health.Serve(exchange);
}

base::Task<base::Status> Lead(base::Context ctx, const ElectedOptions& o, Component& component,
                              const ElectedWork& work) {
  if (!o.leader_elect) {
    co_await work(ctx, component);
    co_return base::Ok();
  }
  LeaderElectionOptions election;
  election.lease_namespace = o.lease_namespace;
  election.lease_name = o.lease_name.empty() ? o.component.name : o.lease_name;
  election.identity = component.host + "_" + base::UuidFromBytes(base::SecureRandomBytes(16));
  election.lease_duration = o.lease_duration;
  election.renew_deadline = o.renew_deadline;
  election.retry_period = o.retry_period;
  co_return co_await RunAsLeader(component.executor, ctx, *component.client, election,
                                 [&](base::Context leading) { return work(std::move(leading), component); });
}

base::Task<base::Status> Serve(base::Context ctx, const ElectedOptions& o, Component& c, const ElectedWork& work) {
  if (c.client == nullptr)
    co_return base::InvalidArgument(
        "no --kubeconfig or --master was given; in-cluster configuration is not supported yet");
  base::net::Server server({&c.daemon.loop()}, [&](base::net::Exchange& e) { return ServeHealth(e, c.health); });
  if (o.secure_port != 0) {
    CO_TRY_ASSIGN(auto tls, ServingTls(o));
    std::string host = o.bind_address.find(':') == std::string::npos ? o.bind_address : "[" + o.bind_address + "]";
    CO_TRY_ASSIGN(auto bound, server.Listen(host + ":" + std::to_string(o.secure_port), tls));
    base::LogInfo("Serving securely", {{"address", bound}});
  }
  base::NotifySupervisor("READY=1");
  base::Status status = co_await Lead(ctx, o, c, work);
  co_await server.Stop(kDrain);
  co_return status;
}

}  // namespace

void AddElectedFlags(base::FlagSet& flags, ElectedOptions& o) {
  flags.Section("Misc");
  flags.Add("kubeconfig", &o.component.kubeconfig,
            "Path to kubeconfig file with authorization and master location information.");
  flags.Add("master", &o.component.master,
            "The address of the Kubernetes API server (overrides any value in kubeconfig).");
  flags.Section("Secure serving");
  flags.Add("bind-address", &o.bind_address, "The IP address on which to listen for the --secure-port port.");
  flags.Add("secure-port", &o.secure_port, "The port on which to serve HTTPS; 0 serves none.");
  flags.Add("tls-cert-file", &o.tls_cert_file,
            "File with the HTTPS certificate (chain). Without one a certificate is made in memory.");
  flags.Add("tls-private-key-file", &o.tls_private_key_file, "File with the key of --tls-cert-file.");
  flags.AddChoice("tls-min-version", &o.tls_min_version, {"", "VersionTLS12", "VersionTLS13"}, "Lowest TLS version.");
  flags.Add("tls-cipher-suites", &o.tls_cipher_suites, "Cipher suites the server accepts; empty: a good default.");
  flags.Section("Authentication");
  flags.Add("client-ca-file", &o.client_ca_file,
            "Certificates of this authority identify who may read more than health.");
  flags.Section("Leader election");
  flags.Add("leader-elect", &o.leader_elect,
            "Work only while holding the lease, so that one of several replicas does.");
  flags.Add("leader-elect-lease-duration", &o.lease_duration,
            "How long others wait after the last renewal before they take the lease.");
  flags.Add("leader-elect-renew-deadline", &o.renew_deadline, "How long the leader tries to renew before it gives up.");
  flags.Add("leader-elect-retry-period", &o.retry_period, "Time between tries to take or renew the lease.");
  flags.AddChoice("leader-elect-resource-lock", &o.lease_lock, {"leases"}, "Kind of object that is the lock.");
  flags.Add("leader-elect-resource-name", &o.lease_name, "Name of the lease; empty: the program's.");
  flags.Add("leader-elect-resource-namespace", &o.lease_namespace, "Namespace of the lease.");
  AddLogFlags(flags, o.component);
}

const std::vector<std::string>& UnsupportedElectedFlags() {
  static const std::vector<std::string> names = {"allow-metric-labels",
                                                 "allow-metric-labels-manifest",
                                                 "authentication-kubeconfig",
                                                 "authentication-skip-lookup",
                                                 "authentication-token-webhook-cache-ttl",
                                                 "authentication-tolerate-lookup-failure",
                                                 "authorization-always-allow-paths",
                                                 "authorization-kubeconfig",
                                                 "authorization-webhook-cache-authorized-ttl",
                                                 "authorization-webhook-cache-unauthorized-ttl",
                                                 "cert-dir",
                                                 "contention-profiling",
                                                 "disable-http2-serving",
                                                 "disabled-metrics",
                                                 "emulated-version",
                                                 "feature-gates",
                                                 "http2-max-streams-per-connection",
                                                 "kube-api-burst",
                                                 "kube-api-content-type",
                                                 "kube-api-qps",
                                                 "log-flush-frequency",
                                                 "log-json-info-buffer-size",
                                                 "log-json-split-stream",
                                                 "log-text-info-buffer-size",
                                                 "log-text-split-stream",
                                                 "min-compatibility-version",
                                                 "permit-address-sharing",
                                                 "permit-port-sharing",
                                                 "profiling",
                                                 "requestheader-allowed-names",
                                                 "requestheader-client-ca-file",
                                                 "requestheader-extra-headers-prefix",
                                                 "requestheader-group-headers",
                                                 "requestheader-uid-headers",
                                                 "requestheader-username-headers",
                                                 "show-hidden-metrics-for-version",
                                                 "tls-curve-preferences",
                                                 "tls-sni-cert-key",
                                                 "unsupported-kube-api-over-localhost",
                                                 "vmodule"};
  return names;
}

int RunElected(const ElectedOptions& options, ElectedWork work) {
  return RunComponent(options.component,
                      [&](base::Context ctx, Component& c) { return Serve(std::move(ctx), options, c, work); });
}

}  // namespace machinery::client
