// kube-proxy: Service traffic on a node. Flags are the original's; the rest of its flags answer that they are not
// supported yet.
#include <unistd.h>

#include <sstream>

#include "base/flags.h"
#include "base/log.h"
#include "base/net/health.h"
#include "base/version.h"
#include "machinery/client/component.h"
#include "proxy/proxier.h"
#include "proxy/routes.h"

namespace {

struct Options {
  machinery::client::ComponentOptions component{.name = "kube-proxy"};
  std::string config, hostname_override, proxy_mode = "nftables", cluster_cidr, detect_local_mode;
  std::string healthz_address = "0.0.0.0:10256", metrics_address = "127.0.0.1:10249", pod_routes;
  std::string bind_address = "0.0.0.0";
  std::vector<std::string> node_port_addresses;
  base::Duration sync_period = std::chrono::seconds(30), min_sync_period{};
  bool masquerade_all = false, cleanup = false;
  int32_t masquerade_bit = 14;
};

// The original's flags that wait for their feature.
const std::initializer_list<std::string_view> kUnsupported = {"bind-address-hard-fail",
                                                              "boot-id-file",
                                                              "config-sync-period",
                                                              "conntrack-max-per-core",
                                                              "conntrack-min",
                                                              "conntrack-tcp-be-liberal",
                                                              "conntrack-tcp-timeout-close-wait",
                                                              "conntrack-tcp-timeout-established",
                                                              "conntrack-udp-timeout",
                                                              "conntrack-udp-timeout-stream",
                                                              "feature-gates",
                                                              "init-only",
                                                              "iptables-localhost-nodeports",
                                                              "iptables-masquerade-bit",
                                                              "iptables-min-sync-period",
                                                              "iptables-sync-period",
                                                              "ipvs-exclude-cidrs",
                                                              "ipvs-min-sync-period",
                                                              "ipvs-scheduler",
                                                              "ipvs-strict-arp",
                                                              "ipvs-sync-period",
                                                              "ipvs-tcp-timeout",
                                                              "ipvs-tcpfin-timeout",
                                                              "ipvs-udp-timeout",
                                                              "kube-api-burst",
                                                              "kube-api-content-type",
                                                              "kube-api-qps",
                                                              "log-flush-frequency",
                                                              "log-json-info-buffer-size",
                                                              "log-json-split-stream",
                                                              "log-text-info-buffer-size",
                                                              "log-text-split-stream",
                                                              "machine-id-file",
                                                              "oom-score-adj",
                                                              "pod-bridge-interface",
                                                              "pod-interface-name-prefix",
                                                              "profiling",
                                                              "show-hidden-metrics-for-version",
                                                              "vmodule",
                                                              "write-config-to"};

void AddFlags(base::FlagSet& flags, Options& o) {
  flags.Section("Serving");
  flags.Add("healthz-bind-address", &o.healthz_address, "Address of the health server; empty turns it off.")
      .Config("healthzBindAddress");
  flags.Add("metrics-bind-address", &o.metrics_address, "Address of the metrics server; empty turns it off.")
      .Config("metricsBindAddress");
  flags.Section("API server");
  flags.Add("kubeconfig", &o.component.kubeconfig, "Kubeconfig file of the cluster.")
      .Config("clientConnection.kubeconfig");
  flags.Add("master", &o.component.master, "Address of the API server; overrides the kubeconfig's.");
  flags.Add("hostname-override", &o.hostname_override, "Name of this node, where it is not the hostname.")
      .Config("hostnameOverride");
  flags.Section("Proxy");
  flags.Add("proxy-mode", &o.proxy_mode, "How rules are written: nftables.").Config("mode");
  flags
      .Add("cluster-cidr", &o.cluster_cidr,
           "Pod addresses of the cluster (one per IP family): traffic to Services from elsewhere is masqueraded.")
      .Config("clusterCIDR");
  flags
      .AddChoice("detect-local-mode", &o.detect_local_mode, {"", "ClusterCIDR"},
                 "How pods' traffic is told from other traffic; only ClusterCIDR is supported yet.")
      .Config("detectLocalMode");
  flags.Add("masquerade-all", &o.masquerade_all, "Masquerade all traffic to ClusterIPs.")
      .Config("nftables.masqueradeAll");
  flags.Add("masquerade-bit", &o.masquerade_bit, "Bit of the packet mark that asks for masquerading.")
      .Config("nftables.masqueradeBit")
      .Hidden();
  flags.Add("nftables-sync-period", &o.sync_period, "How often rules are checked against foreign changes.")
      .Config("nftables.syncPeriod");
  flags
      .Add("nftables-min-sync-period", &o.min_sync_period,
           "The least time between two writes of rules; 0: four times what the last one took, at most a second.")
      .Config("nftables.minSyncPeriod");
  flags
      .Add("nodeport-addresses", &o.node_port_addresses,
           "Addresses of this node that accept NodePort traffic; empty or \"primary\": the Node object's InternalIPs.")
      .Config("nodePortAddresses");
  flags.Add("bind-address", &o.bind_address, "Kept for configurations that set it; 0.0.0.0 or ::.").Hidden();
  flags.Add("cleanup", &o.cleanup, "Remove all rules and exit.");
  flags.Add("pod-routes", &o.pod_routes,
            "host-gw: keep a route to every other node's pod CIDR by that node's address. Empty: none.");
  flags.Add("config", &o.config, "KubeProxyConfiguration file; flags win over it.");
  machinery::client::AddLogFlags(flags, o.component).Unsupported(kUnsupported);
}

// The health server is for everybody, load balancers too: it says nothing but whether the proxy is well.
base::Task<void> ServeHealth(base::net::Exchange& exchange, base::net::HealthEndpoints& health) {
  if (exchange.path() == "/healthz" || exchange.path() == "/livez") {
    co_await health.Serve(exchange);
  } else {
    (void)co_await exchange.Respond(404, {}, std::string("404 page not found\n"));
  }
}

base::Task<void> ServeMetrics(base::net::Exchange& exchange, base::net::HealthEndpoints& health, std::string mode) {
  if (exchange.path() == "/proxyMode") {
    (void)co_await exchange.Respond(200, {}, mode);
  } else {
    co_await health.Serve(exchange);
  }
}

// Ranges of the flag, which go into rules as they are.
std::vector<std::string> CanonicalCidrs(const std::string& flag) {
  std::vector<std::string> texts;
  std::istringstream parts(flag);
  for (std::string part; std::getline(parts, part, ',');) texts.push_back(part);
  std::vector<std::string> out;
  for (auto family : {proxy::Family::kIPv4, proxy::Family::kIPv6}) {
    proxy::Ranges ranges = proxy::ParseRanges(texts, family);
    if (!ranges.bad.empty() || ranges.cidrs.size() > 1)
      base::LogFatal("Bad flag", base::InvalidArgument("--cluster-cidr: expected one range per IP family, got " +
                                                       proxy::Shown(flag)));
    out.insert(out.end(), ranges.cidrs.begin(), ranges.cidrs.end());
  }
  return out;
}

proxy::ProxierOptions ProxierOptionsOf(const Options& o, const std::string& host) {
  proxy::ProxierOptions options;
  options.node_name = o.hostname_override.empty() ? host : o.hostname_override;
  options.mode = o.proxy_mode;
  options.cluster_cidrs = CanonicalCidrs(o.cluster_cidr);
  if (o.node_port_addresses != std::vector<std::string>{"primary"}) options.node_port_addresses = o.node_port_addresses;
  options.masquerade_all = o.masquerade_all;
  options.masquerade_bit = o.masquerade_bit;
  options.min_sync_period = o.min_sync_period;
  options.sync_period = o.sync_period;
  if (access("/proc/net/if_inet6", F_OK) == 0) options.families.push_back(proxy::Family::kIPv6);
  return options;
}

base::Task<base::Status> Work(base::Context ctx, machinery::client::Component& c, Options o) {
  base::Loop& loop = c.daemon.loop();
  auto pool = base::NewThreadPool("netlink", 1);
  proxy::ProxierOptions options = ProxierOptionsOf(o, c.host);
  proxy::Proxier proxier(loop, *pool, *c.client, options, c.daemon.metrics());
  proxy::PodRoutes routes(loop, *pool, *c.client, options.node_name, options.cluster_cidrs);

  c.health.Add("proxy", [&proxier] { return proxier.Health(); });
  base::net::Server health_server({&loop}, [&](base::net::Exchange& e) { return ServeHealth(e, c.health); });
  base::net::Server metrics_server({&loop},
                                   [&](base::net::Exchange& e) { return ServeMetrics(e, c.health, o.proxy_mode); });
  if (!o.healthz_address.empty()) {
    CO_TRY_ASSIGN(auto bound, health_server.Listen(o.healthz_address));
    base::LogInfo("Serving health", {{"address", bound}});
  }
  if (!o.metrics_address.empty()) {
    CO_TRY_ASSIGN(auto bound, metrics_server.Listen(o.metrics_address));
    base::LogInfo("Serving metrics", {{"address", bound}});
  }

  base::TaskScope scope(loop, ctx);
  scope.Spawn(proxier.Run(scope.context()));
  if (!o.pod_routes.empty()) scope.Spawn(routes.Run(scope.context()));
  base::NotifySupervisor("READY=1");
  co_await scope.Join();
  co_await health_server.Stop(std::chrono::seconds(1));
  co_await metrics_server.Stop(std::chrono::seconds(1));
  co_return base::Ok();
}

int Cleanup(const Options& o) {
  for (auto family : {proxy::Family::kIPv4, proxy::Family::kIPv6}) {
    proxy::backends::BackendOptions options;
    options.family = family;
    auto backend = proxy::backends::NewBackend(o.proxy_mode, options);
    base::Status status = backend ? (*backend)->Cleanup() : backend.error();
    if (!status.ok()) base::LogFatal("Cannot remove proxy rules", status);
  }
  auto failed = proxy::ApplyRoutes({});
  if (!failed) base::LogFatal("Cannot remove pod routes", failed.error());
  if (!failed->empty()) base::LogFatal("Cannot remove pod routes", failed->begin()->second);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  base::FlagSet flags({.name = "kube-proxy",
                       .description =
                           "Makes Services work on this node: writes the rules that lead their traffic to "
                           "endpoints.\n\nExample:\n  kube-proxy --kubeconfig=/etc/kubernetes/kube-proxy.conf "
                           "--cluster-cidr=10.244.0.0/16",
                       .version = std::string(base::version::kKubernetesProgram),
                       .env_prefix = "",
                       .config_flag = "config"});
  AddFlags(flags, options);
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  machinery::client::StartLog(options.component);
  if (options.cleanup) return Cleanup(options);
  if (!options.pod_routes.empty() && options.pod_routes != "host-gw")
    base::LogFatal("Bad flag",
                   base::InvalidArgument("--pod-routes: expected host-gw or nothing, got " + options.pod_routes));
  if (options.component.kubeconfig.empty())
    base::LogFatal("Bad flag", base::InvalidArgument("--kubeconfig is required"));
  return machinery::client::RunComponent(options.component, [&](base::Context ctx, machinery::client::Component& c) {
    return Work(std::move(ctx), c, options);
  });
}
