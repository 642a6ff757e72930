// kube-controller-manager.
#include <cstdio>

#include "base/file.h"
#include "base/version.h"
#include "controller-manager/credentials.h"
#include "controller-manager/manager.h"
#include "machinery/client/elected.h"

namespace {
namespace client = machinery::client;
using controller_manager::ManagerOptions;
using controller_manager::ServedResource;

base::Task<base::Result<std::vector<ServedResource>>> Discover(base::Context ctx, client::Connection& server) {
  CO_TRY_ASSIGN(auto found, co_await server.Discover(std::move(ctx)));
  std::vector<ServedResource> out;
  for (auto& r : found) out.push_back({std::move(r.resource), std::move(r.verbs)});
  co_return out;
}

base::Task<void> Work(base::Context ctx, client::Component& c, ManagerOptions options, bool own_accounts) {
  auto discover = [&](base::Context ask) { return Discover(std::move(ask), *c.connection); };
  if (!own_accounts) {
    controller_manager::Manager manager(c.executor, *c.client, base::Random::System(), c.daemon.metrics(), options,
                                        discover);
    co_await manager.Run(std::move(ctx));
    co_return;
  }
  controller_manager::ServiceAccountClients accounts(c.daemon.loop(), *c.client, c.anonymous_options);
  controller_manager::Manager manager(
      c.executor, *c.client, base::Random::System(), c.daemon.metrics(), options, discover,
      [&](const std::string& account) -> client::Client& { return accounts.Of(account); });
  if (!(co_await accounts.Prepare(ctx)).ok()) co_return;
  base::TaskScope scope(c.executor, ctx);
  scope.Spawn(accounts.Run(scope.context()));
  scope.Spawn(manager.Run(scope.context()));
  co_await scope.Join();
}

struct Extra {
  std::string root_ca_file;
  bool own_accounts = false;
  int32_t mask = 0, mask_v4 = 0, mask_v6 = 0;
  int32_t deployments = 5, endpoints = 5, slices = 5, sets = 5, namespaces = 10, gc = 20;
};

void AddFlags(base::FlagSet& flags, ManagerOptions& o, Extra& x) {
  flags.Section("Generic");
  flags.Add("controllers", &o.controllers,
            "Controllers to run: '*' is all that are on by default, 'name' runs one, '-name' leaves one out.");
  flags.Add("allocate-node-cidrs", &o.allocate_node_cidrs, "Give each node its range of pod addresses.");
  flags.Add("cluster-cidr", &o.cluster_cidr, "Range of pod addresses; needs --allocate-node-cidrs.");
  flags.Add("node-monitor-period", &o.node_monitor_period, "Time between two looks at the nodes.");
  flags.Add("use-service-account-credentials", &x.own_accounts,
            "Each controller acts as a service account of its own instead of the manager's user.");
  flags.Section("Authorization");
  flags.Add("service-cluster-ip-range", &o.service_cluster_ip_range, "Range of service addresses.");
  flags.Add("root-ca-file", &x.root_ca_file,
            "Certificate authority that every namespace is given in kube-root-ca.crt.");
  flags.Add("node-cidr-mask-size", &x.mask, "Mask size of a node's range; default 24 for IPv4, 64 for IPv6.");
  flags.Add("node-cidr-mask-size-ipv4", &x.mask_v4, "Mask size of a node's IPv4 range.");
  flags.Add("node-cidr-mask-size-ipv6", &x.mask_v6, "Mask size of a node's IPv6 range.");
  flags.Add("node-monitor-grace-period", &o.node_monitor_grace_period,
            "How long a node may be silent before it is unhealthy.");
  flags.Add("node-startup-grace-period", &o.node_startup_grace_period,
            "How long a new node may be silent before it is unhealthy.");
  flags.Add("node-eviction-rate", &o.eviction_rates.normal,
            "Nodes per second of a healthy zone whose pods are deleted when they fall silent.");
  flags.Add("secondary-node-eviction-rate", &o.eviction_rates.secondary,
            "The same for an unhealthy zone; none in zones up to --large-cluster-size-threshold.");
  flags.Add("unhealthy-zone-threshold", &o.eviction_rates.unhealthy_threshold,
            "Share of silent nodes (three at least) that makes a zone unhealthy.");
  flags.Add("large-cluster-size-threshold", &o.eviction_rates.large_zone,
            "Zones of more nodes than this are emptied at the secondary rate when unhealthy.");
  flags.Add("terminated-pod-gc-threshold", &o.terminated_pod_gc_threshold,
            "Ended pods that may exist before the oldest are deleted; 0 keeps all.");
  flags.Add("concurrent-deployment-syncs", &x.deployments, "Deployments worked on at once.");
  flags.Add("concurrent-replicaset-syncs", &x.sets, "Replica sets worked on at once.");
  flags.Add("concurrent-endpoint-syncs", &x.endpoints, "Endpoints worked on at once.");
  flags.Add("concurrent-service-endpoint-syncs", &x.slices, "Services whose slices are worked on at once.");
  flags.Add("concurrent-namespace-syncs", &x.namespaces, "Namespaces emptied at once.");
  flags.Add("concurrent-gc-syncs", &x.gc, "Objects the garbage collector works on at once.");
}

const std::vector<std::string>& Unsupported() {
  static const std::vector<std::string> names = {"attach-detach-reconcile-sync-period",
                                                 "cidr-allocator-type",
                                                 "cloud-config",
                                                 "cloud-provider",
                                                 "cluster-name",
                                                 "cluster-signing-cert-file",
                                                 "cluster-signing-duration",
                                                 "cluster-signing-key-file",
                                                 "cluster-signing-kube-apiserver-client-cert-file",
                                                 "cluster-signing-kube-apiserver-client-key-file",
                                                 "cluster-signing-kubelet-client-cert-file",
                                                 "cluster-signing-kubelet-client-key-file",
                                                 "cluster-signing-kubelet-serving-cert-file",
                                                 "cluster-signing-kubelet-serving-key-file",
                                                 "cluster-signing-legacy-unknown-cert-file",
                                                 "cluster-signing-legacy-unknown-key-file",
                                                 "concurrent-cron-job-syncs",
                                                 "concurrent-daemonset-syncs",
                                                 "concurrent-device-taint-eviction-syncs",
                                                 "concurrent-ephemeralvolume-syncs",
                                                 "concurrent-horizontal-pod-autoscaler-syncs",
                                                 "concurrent-job-syncs",
                                                 "concurrent-rc-syncs",
                                                 "concurrent-resource-quota-syncs",
                                                 "concurrent-resourceclaim-syncs",
                                                 "concurrent-service-syncs",
                                                 "concurrent-serviceaccount-token-syncs",
                                                 "concurrent-statefulset-syncs",
                                                 "concurrent-ttl-after-finished-syncs",
                                                 "concurrent-validating-admission-policy-status-syncs",
                                                 "configure-cloud-routes",
                                                 "controller-shutdown-timeout",
                                                 "controller-start-interval",
                                                 "disable-attach-detach-reconcile-sync",
                                                 "disable-force-detach-on-timeout",
                                                 "enable-dynamic-provisioning",
                                                 "enable-garbage-collector",
                                                 "enable-hostpath-provisioner",
                                                 "enable-leader-migration",
                                                 "endpoint-updates-batch-period",
                                                 "endpointslice-updates-batch-period",
                                                 "external-cloud-volume-plugin",
                                                 "flex-volume-plugin-dir",
                                                 "horizontal-pod-autoscaler-cpu-initialization-period",
                                                 "horizontal-pod-autoscaler-downscale-stabilization",
                                                 "horizontal-pod-autoscaler-initial-readiness-delay",
                                                 "horizontal-pod-autoscaler-sync-period",
                                                 "horizontal-pod-autoscaler-tolerance",
                                                 "leader-migration-config",
                                                 "legacy-service-account-token-clean-up-period",
                                                 "max-endpoints-per-slice",
                                                 "min-resync-period",
                                                 "mirroring-concurrent-service-endpoint-syncs",
                                                 "mirroring-endpointslice-updates-batch-period",
                                                 "mirroring-max-endpoints-per-subset",
                                                 "namespace-sync-period",
                                                 "pv-recycler-increment-timeout-nfs",
                                                 "pv-recycler-minimum-timeout-hostpath",
                                                 "pv-recycler-minimum-timeout-nfs",
                                                 "pv-recycler-pod-template-filepath-hostpath",
                                                 "pv-recycler-pod-template-filepath-nfs",
                                                 "pv-recycler-timeout-increment-hostpath",
                                                 "pvclaimbinder-sync-period",
                                                 "resource-quota-sync-period",
                                                 "route-reconciliation-period",
                                                 "service-account-private-key-file"};
  return names;
}

base::Status Finish(ManagerOptions& o, const Extra& x) {
  TRY(controller_manager::CheckControllers(o.controllers));
  if (!x.root_ca_file.empty()) {
    TRY_ASSIGN(o.root_ca, base::ReadFile(base::PosixFileSystem(), x.root_ca_file));
  }
  if (o.allocate_node_cidrs && o.cluster_cidr.empty())
    return base::InvalidArgument("--allocate-node-cidrs needs --cluster-cidr");
  if (x.mask) o.node_cidr_mask_size = o.node_cidr_mask_size_ipv6 = x.mask;
  if (x.mask_v4) o.node_cidr_mask_size = x.mask_v4;
  if (x.mask_v6) o.node_cidr_mask_size_ipv6 = x.mask_v6;
  o.concurrency = {{"deployment-controller", x.deployments}, {"replicaset-controller", x.sets},
                   {"endpoints-controller", x.endpoints},    {"endpointslice-controller", x.slices},
                   {"namespace-controller", x.namespaces},   {"garbage-collector-controller", x.gc}};
  return base::Ok();
}
}  // namespace

int main(int argc, char** argv) {
  client::ElectedOptions common{.component = {.name = "kube-controller-manager"}, .secure_port = 10257};
  ManagerOptions options;
  Extra extra;
  base::FlagSet flags({.name = "kube-controller-manager",
                       .description = "The Kubernetes controller manager runs the control loops that bring the "
                                      "cluster from the state it is in to the state that was asked for.",
                       .version = std::string(base::version::kKubernetesProgram)});
  client::AddElectedFlags(flags, common);
  AddFlags(flags, options, extra);
  flags.Unsupported(client::UnsupportedElectedFlags());
  flags.Unsupported(Unsupported());
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  if (auto status = Finish(options, extra); !status.ok()) {
    std::fprintf(stderr, "E kube-controller-manager: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  client::StartLog(common.component);
  return client::RunElected(common, [&](base::Context ctx, client::Component& c) {
    return Work(std::move(ctx), c, options, extra.own_accounts);
  });
}
