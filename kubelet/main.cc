// kubelet: the node agent. Flags and configuration keys are the original's; those that wait for their feature say so.
#include <fmt/format.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/flags.h"
#include "base/host.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/net/health.h"
#include "base/net/self_signed.h"
#include "base/strings.h"
#include "base/version.h"
#include "kubelet/agent.h"
#include "kubelet/manifests.h"
#include "kubelet/model/resources.h"
#include "kubelet/server.h"
#include "machinery/client/component.h"

namespace {

using base::Duration;
using std::chrono::seconds;

struct Options {
  machinery::client::ComponentOptions component{.name = "kubelet"};
  std::string config, hostname_override, node_ip, provider_id;
  std::string root_dir = "/var/lib/kubelet", pod_logs_dir = "/var/log/pods";
  std::string endpoint = "unix:///run/containerd/containerd.sock", image_endpoint;
  Duration runtime_timeout = std::chrono::minutes(2);
  std::string manifest_path;
  Duration file_frequency = seconds(20), status_frequency = seconds(10), report_frequency = std::chrono::minutes(5);
  Duration sync_frequency = std::chrono::minutes(1);
  int32_t lease_seconds = 40;
  std::map<std::string, std::string> node_labels, kube_reserved, system_reserved, eviction_hard;
  std::vector<std::string> taints, unsafe_sysctls, cluster_dns, enforce = {"pods"};
  std::string cluster_domain, resolv_conf = "/etc/resolv.conf", pod_cidr;
  bool register_node = true;
  int32_t max_pods = 110, max_images = 50;
  int64_t pod_max_pids = -1;
  std::string cgroup_driver = "cgroupfs", cgroup_root;
  bool cgroups_per_qos = true, fail_cgroup_v1 = true, fail_swap_on = true, cpu_cfs_quota = true;
  Duration cpu_cfs_quota_period = std::chrono::milliseconds(100);
  int32_t oom_score_adj = -999;
  bool serialize_pulls = true, seccomp_default = false, protect_kernel = false;
  std::string log_max_size = "10Mi";
  int32_t log_max_files = 5, dead_per_container = 1;
  int32_t image_gc_high = 85, image_gc_low = 80;
  Duration image_min_age = std::chrono::minutes(2);
  std::string machine_id_file = "/etc/machine-id,/var/lib/dbus/machine-id";
  std::string boot_id_file = "/proc/sys/kernel/random/boot_id";
  bool enable_server = true, anonymous = true, webhook_tokens = false;
  std::string address = "0.0.0.0", healthz_address = "127.0.0.1", client_ca, tls_cert, tls_key, tls_min_version;
  std::string cert_dir = "/var/lib/kubelet/pki";
  std::string authorization_mode = "AlwaysAllow";
  int32_t port = 10250, healthz_port = 10248, read_only_port = 0;
  Duration token_ttl = std::chrono::minutes(2), allowed_ttl = std::chrono::minutes(5), denied_ttl = seconds(30);
};

// The original's flags that wait for their feature.
const std::initializer_list<std::string_view> kUnsupported = {"application-metrics-count-limit",
                                                              "bootstrap-kubeconfig",
                                                              "cloud-provider",
                                                              "config-dir",
                                                              "container-hints",
                                                              "containerd",
                                                              "containerd-namespace",
                                                              "contention-profiling",
                                                              "cpu-manager-policy",
                                                              "cpu-manager-policy-options",
                                                              "cpu-manager-reconcile-period",
                                                              "enable-controller-attach-detach",
                                                              "enable-debugging-handlers",
                                                              "enable-load-reader",
                                                              "event-burst",
                                                              "event-qps",
                                                              "event-storage-age-limit",
                                                              "event-storage-event-limit",
                                                              "eviction-max-pod-grace-period",
                                                              "eviction-minimum-reclaim",
                                                              "eviction-pressure-transition-period",
                                                              "eviction-soft",
                                                              "eviction-soft-grace-period",
                                                              "exit-on-lock-contention",
                                                              "experimental-allocatable-ignore-eviction",
                                                              "experimental-mounter-path",
                                                              "feature-gates",
                                                              "global-housekeeping-interval",
                                                              "hairpin-mode",
                                                              "housekeeping-interval",
                                                              "http-check-frequency",
                                                              "image-credential-provider-bin-dir",
                                                              "image-credential-provider-config",
                                                              "kernel-memcg-notification",
                                                              "kube-api-burst",
                                                              "kube-api-content-type",
                                                              "kube-api-qps",
                                                              "kube-reserved-cgroup",
                                                              "kubelet-cgroups",
                                                              "local-storage-capacity-isolation",
                                                              "lock-file",
                                                              "log-cadvisor-usage",
                                                              "log-flush-frequency",
                                                              "log-json-info-buffer-size",
                                                              "log-json-split-stream",
                                                              "log-text-info-buffer-size",
                                                              "log-text-split-stream",
                                                              "make-iptables-util-chains",
                                                              "manifest-url",
                                                              "manifest-url-header",
                                                              "max-housekeeping-interval",
                                                              "max-open-files",
                                                              "maximum-dead-containers",
                                                              "memory-manager-policy",
                                                              "minimum-container-ttl-duration",
                                                              "pods-per-core",

                                                              "qos-reserved",
                                                              "registry-burst",
                                                              "registry-qps",
                                                              "reserved-cpus",
                                                              "reserved-memory",
                                                              "rotate-certificates",
                                                              "rotate-server-certificates",
                                                              "runonce",
                                                              "runtime-cgroups",
                                                              "storage-driver-buffer-duration",
                                                              "storage-driver-db",
                                                              "storage-driver-host",
                                                              "storage-driver-password",
                                                              "storage-driver-secure",
                                                              "storage-driver-table",
                                                              "storage-driver-user",
                                                              "streaming-connection-idle-timeout",
                                                              "system-cgroups",
                                                              "system-reserved-cgroup",
                                                              "tls-cipher-suites",
                                                              "topology-manager-policy",
                                                              "topology-manager-policy-options",
                                                              "topology-manager-scope",
                                                              "vmodule",
                                                              "volume-plugin-dir",
                                                              "volume-stats-agg-period"};

void AddNodeFlags(base::FlagSet& flags, Options& o) {
  flags.Section("Node");
  flags.Add("config", &o.config, "File with a KubeletConfiguration; flags go before it.");
  flags.Add("kubeconfig", &o.component.kubeconfig,
            "Kubeconfig file of the cluster. Without it the kubelet runs by itself, with static pods only.");
  flags.Add("hostname-override", &o.hostname_override, "Name of this node, where it is not the hostname.");
  flags.Add("node-ip", &o.node_ip, "Addresses of this node, comma-separated; found out when empty.");
  flags.Add("node-labels", &o.node_labels, "Labels to give the node when it registers.");
  flags.Add("provider-id", &o.provider_id, "Identity of this machine at its cloud.").Config("providerID");
  flags.Add("register-node", &o.register_node, "Make the Node object.").Config("registerNode");
  flags.Add("register-with-taints", &o.taints, "Taints to register with (key=value:effect).");
  flags.Add("node-status-update-frequency", &o.status_frequency, "How often the node's status is worked out.")
      .Config("nodeStatusUpdateFrequency");
  flags.Add("node-status-report-frequency", &o.report_frequency, "How often an unchanged status is written.")
      .Config("nodeStatusReportFrequency")
      .Hidden();
  flags.Add("node-lease-duration-seconds", &o.lease_seconds, "How long the node's Lease is valid.")
      .Config("nodeLeaseDurationSeconds")
      .Hidden();
  flags.Add("node-status-max-images", &o.max_images, "Most images listed in the node's status.")
      .Config("nodeStatusMaxImages");
  flags.Add("max-pods", &o.max_pods, "Most pods that can run here.").Config("maxPods");
  flags.Add("kube-reserved", &o.kube_reserved, "Resources kept for Kubernetes' own daemons (cpu=200m,memory=500Mi).")
      .Config("kubeReserved");
  flags.Add("system-reserved", &o.system_reserved, "Resources kept for the system.").Config("systemReserved");
  flags
      .Add("eviction-hard", &o.eviction_hard,
           "Thresholds below which pods are evicted at once (memory.available=100Mi).")
      .Config("evictionHard");
  flags.Add("machine-id-file", &o.machine_id_file, "Files that may hold the machine's id, in this order.");
  flags.Add("boot-id-file", &o.boot_id_file, "File that holds the boot's id.");
  flags.Add("oom-score-adj", &o.oom_score_adj, "The kubelet's own score when memory runs out.").Config("oomScoreAdj");
  flags
      .Add("protect-kernel-defaults", &o.protect_kernel,
           "Refuse to start where the kernel's settings differ from those the kubelet wants.")
      .Config("protectKernelDefaults");
  flags.Add("fail-swap-on", &o.fail_swap_on, "Refuse to start while the machine swaps.").Config("failSwapOn");
}

void AddPodFlags(base::FlagSet& flags, Options& o) {
  flags.Section("Pods");
  flags.Add("root-dir", &o.root_dir, "Directory of volumes and other files of pods.");
  flags.Add("pod-logs-dir", &o.pod_logs_dir, "Directory of container logs.").Config("podLogsDir").Hidden();
  flags.Add("pod-manifest-path", &o.manifest_path, "Directory of static pods' manifests.").Config("staticPodPath");
  flags.Add("file-check-frequency", &o.file_frequency, "How often manifests are read again.")
      .Config("fileCheckFrequency");
  flags.Add("sync-frequency", &o.sync_frequency, "How often every pod is looked at again.").Config("syncFrequency");
  flags.Add("cluster-dns", &o.cluster_dns, "Addresses of the cluster's DNS.").Config("clusterDNS");
  flags.Add("cluster-domain", &o.cluster_domain, "Domain of the cluster.").Config("clusterDomain");
  flags.Add("resolv-conf", &o.resolv_conf, "The node's resolver configuration.").Config("resolvConf");
  flags.Add("pod-cidr", &o.pod_cidr, "Addresses for pods; in a cluster the Node object says them.").Config("podCIDR");
  flags.Add("pod-max-pids", &o.pod_max_pids, "Most processes in a pod; -1: no limit.").Config("podPidsLimit");
  flags
      .Add("seccomp-default", &o.seccomp_default, "RuntimeDefault is the seccomp profile of containers that name none.")
      .Config("seccompDefault");
  flags
      .Add("allowed-unsafe-sysctls", &o.unsafe_sysctls,
           "Kernel parameters, or patterns of them (ending in *), that pods may set beyond the safe ones.")
      .Config("allowedUnsafeSysctls");
  flags.Add("container-log-max-size", &o.log_max_size, "A container's log is rotated at this size.")
      .Config("containerLogMaxSize");
  flags.Add("container-log-max-files", &o.log_max_files, "Files kept of a container's log.")
      .Config("containerLogMaxFiles");
  flags.Add("maximum-dead-containers-per-container", &o.dead_per_container, "Ended instances kept of each container.");
  flags.Section("Control groups");
  flags
      .AddChoice("cgroup-driver", &o.cgroup_driver, {"cgroupfs"},
                 "Who makes control groups; systemd is not supported yet.")
      .Config("cgroupDriver");
  flags.Add("cgroup-root", &o.cgroup_root, "Control group below which those of pods are made.").Config("cgroupRoot");
  flags.Add("cgroups-per-qos", &o.cgroups_per_qos, "A control group per quality-of-service class and pod.")
      .Config("cgroupsPerQOS");
  flags.Add("enforce-node-allocatable", &o.enforce, "Where allocatable amounts are enforced: pods.")
      .Config("enforceNodeAllocatable");
  flags.Add("fail-cgroupv1", &o.fail_cgroup_v1, "Refuse to start on a host with cgroup v1.").Config("failCgroupV1");
  flags.Add("cpu-cfs-quota", &o.cpu_cfs_quota, "Enforce CPU limits.").Config("cpuCFSQuota");
  flags.Add("cpu-cfs-quota-period", &o.cpu_cfs_quota_period, "The period of CPU quotas.").Config("cpuCFSQuotaPeriod");
}

void AddRuntimeFlags(base::FlagSet& flags, Options& o) {
  flags.Section("Runtime and images");
  flags.Add("container-runtime-endpoint", &o.endpoint, "Socket of the container runtime.")
      .Config("containerRuntimeEndpoint");
  flags.Add("image-service-endpoint", &o.image_endpoint, "Socket of the image service, where it is another.")
      .Config("imageServiceEndpoint");
  flags.Add("runtime-request-timeout", &o.runtime_timeout, "Time for a request to the runtime.")
      .Config("runtimeRequestTimeout");
  flags.Add("serialize-image-pulls", &o.serialize_pulls, "Pull one image at a time.").Config("serializeImagePulls");
  flags.Add("image-gc-high-threshold", &o.image_gc_high, "Disk use in percent at which unused images are removed.")
      .Config("imageGCHighThresholdPercent");
  flags.Add("image-gc-low-threshold", &o.image_gc_low, "Disk use in percent down to which they are removed.")
      .Config("imageGCLowThresholdPercent");
  flags.Add("minimum-image-ttl-duration", &o.image_min_age, "How long an image stays unused before it may go.")
      .Config("imageMinimumGCAge");
}

void AddServerFlags(base::FlagSet& flags, Options& o) {
  flags.Section("Serving");
  flags.Add("enable-server", &o.enable_server, "Serve logs, exec and the rest.").Config("enableServer");
  flags.Add("address", &o.address, "Address to serve on.").Config("address");
  flags.Add("port", &o.port, "Port to serve on.").Config("port");
  flags.Add("read-only-port", &o.read_only_port, "Port without authentication; only 0 (none) is supported.")
      .Config("readOnlyPort");
  flags.Add("healthz-bind-address", &o.healthz_address, "Address of the health server.").Config("healthzBindAddress");
  flags.Add("healthz-port", &o.healthz_port, "Port of the health server; 0 turns it off.").Config("healthzPort");
  flags.Add("cert-dir", &o.cert_dir,
            "Directory of the certificate that is made where --tls-cert-file and --tls-private-key-file give none.");
  flags.Add("tls-cert-file", &o.tls_cert, "Certificate to serve with.").Config("tlsCertFile");
  flags.Add("tls-private-key-file", &o.tls_key, "Its private key.").Config("tlsPrivateKeyFile");
  flags.AddChoice("tls-min-version", &o.tls_min_version, {"", "VersionTLS12", "VersionTLS13"}, "Lowest TLS version.")
      .Config("tlsMinVersion");
  flags.Add("client-ca-file", &o.client_ca, "Authority of client certificates.")
      .Config("authentication.x509.clientCAFile");
  flags.Add("anonymous-auth", &o.anonymous, "Let requests without credentials through as system:anonymous.")
      .Config("authentication.anonymous.enabled");
  flags.Add("authentication-token-webhook", &o.webhook_tokens, "Ask the apiserver about bearer tokens.")
      .Config("authentication.webhook.enabled");
  flags.Add("authentication-token-webhook-cache-ttl", &o.token_ttl, "How long its answers hold.")
      .Config("authentication.webhook.cacheTTL");
  flags
      .AddChoice("authorization-mode", &o.authorization_mode, {"AlwaysAllow", "Webhook"},
                 "Who says what a caller may do.")
      .Config("authorization.mode");
  flags.Add("authorization-webhook-cache-authorized-ttl", &o.allowed_ttl, "How long a yes holds.")
      .Config("authorization.webhook.cacheAuthorizedTTL");
  flags.Add("authorization-webhook-cache-unauthorized-ttl", &o.denied_ttl, "How long a no holds.")
      .Config("authorization.webhook.cacheUnauthorizedTTL");
  machinery::client::AddLogFlags(flags, o.component).Unsupported(kUnsupported);
}

base::Result<std::vector<kubelet::api::Taint>> ParseTaints(const std::vector<std::string>& texts) {
  std::vector<kubelet::api::Taint> out;
  for (const auto& t : texts) {
    size_t colon = t.rfind(':');
    if (colon == std::string::npos)
      return base::Err(
          base::InvalidArgument("--register-with-taints: invalid taint \"" + t + "\", expected key=value:effect"));
    kubelet::api::Taint taint;
    std::string key = t.substr(0, colon);
    taint.set_effect(t.substr(colon + 1));
    size_t equals = key.find('=');
    taint.set_key(key.substr(0, equals));
    if (equals != std::string::npos) taint.set_value(key.substr(equals + 1));
    out.push_back(std::move(taint));
  }
  return out;
}

bool Swaps() {
  std::ifstream in("/proc/swaps");
  std::string line;
  std::getline(in, line);
  return static_cast<bool>(std::getline(in, line));
}

base::Status CheckHost(const Options& o) {
  if (o.read_only_port != 0)
    return base::Unimplemented("--read-only-port other than 0 is not supported yet by keelson");
  for (const auto& e : o.enforce)
    if (e != "pods" && e != "none" && !e.empty())
      return base::Unimplemented("--enforce-node-allocatable: " + e + " is not supported yet by keelson");
  for (const auto& [signal, amount] : o.eviction_hard)
    if (signal != "memory.available" && signal != "nodefs.available" && signal != "nodefs.inodesFree")
      return base::Unimplemented("--eviction-hard: " + signal + " is not supported yet by keelson");
  struct statfs st{};
  bool v2 = statfs("/sys/fs/cgroup", &st) == 0 && st.f_type == 0x63677270;
  if (!v2 && o.fail_cgroup_v1)
    return base::FailedPrecondition(
        "kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is in "
        "maintenance mode; set failCgroupV1 to false to run on it");
  if (o.fail_swap_on && Swaps())
    return base::FailedPrecondition(
        "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false");
  return base::Ok();
}

void SetOomScore(int score) {
  std::ofstream out("/proc/self/oom_score_adj");
  out << score << std::flush;
  if (!out) base::LogV(1, "The kubelet's own OOM score stays: lowering it is not permitted", {{"score", score}});
}

// A configuration file has defaults of its own, stricter than those of flags alone.
void DefaultByFile(const base::FlagSet& flags, Options& o) {
  if (o.config.empty()) return;
  if (!flags.Changed("anonymous-auth")) o.anonymous = false;
  if (!flags.Changed("authentication-token-webhook")) o.webhook_tokens = true;
  if (!flags.Changed("authorization-mode")) o.authorization_mode = "Webhook";
}

// What the kernel is to do when things go wrong, where its keeper wants it kept.
base::Status CheckKernel() {
  constexpr std::pair<const char*, long> kWanted[] = {{"vm/overcommit_memory", 1},
                                                      {"vm/panic_on_oom", 0},
                                                      {"kernel/panic", 10},
                                                      {"kernel/panic_on_oops", 1},
                                                      {"kernel/keys/root_maxkeys", 1000000},
                                                      {"kernel/keys/root_maxbytes", 25000000}};
  for (const auto& [name, wanted] : kWanted) {
    long value = -1;
    std::ifstream(std::string("/proc/sys/") + name) >> value;
    if (value != wanted)
      return base::FailedPrecondition(
          fmt::format("failed to start ContainerManager: invalid kernel flag: {}, expected value: {}, actual value: {}",
                      name, wanted, value));
  }
  return base::Ok();
}

std::string Configz(const base::FlagSet& flags) {
  base::JsonWriter w;
  w.BeginObject().Key("kubeletconfig").BeginObject();
  for (const auto& v : flags.Values()) {
    size_t equals = v.find('=');
    std::string name = v.substr(0, equals);
    while (name.starts_with('-')) name.erase(0, 1);
    w.Key(name).String(equals == std::string::npos ? "" : v.substr(equals + 1));
  }
  w.EndObject().EndObject();
  return w.Take();
}

// Certificate and key to serve with: those given, else a pair of our own that is made once and kept.
base::Result<std::pair<std::string, std::string>> ServingFiles(const Options& o) {
  if (!o.tls_cert.empty()) return std::pair(o.tls_cert, o.tls_key);
  auto& disk = base::PosixFileSystem();
  std::pair<std::string, std::string> files(o.cert_dir + "/kubelet.crt", o.cert_dir + "/kubelet.key");
  if (disk.Exists(files.first).value_or(false) && disk.Exists(files.second).value_or(false)) return files;
  std::string name = o.hostname_override.empty() ? base::HostName() : o.hostname_override;
  TRY(disk.MakeDirectories(o.cert_dir, 0755));
  TRY_ASSIGN(auto pair, base::net::MakeSelfSigned(name));
  TRY(base::WriteFileAtomically(disk, files.second, pair.key, 0600));
  TRY(base::WriteFileAtomically(disk, files.first, pair.certificate, 0644));
  base::LogInfo("Using self-signed cert", {{"certFile", files.first}, {"keyFile", files.second}});
  return files;
}

kubelet::AgentOptions AgentOptionsOf(const Options& o, const kubelet::MachineFacts& facts) {
  kubelet::AgentOptions a;
  std::string name = o.hostname_override.empty() ? facts.hostname : o.hostname_override;
  a.node.name = base::Lower(name);
  a.node.addresses =
      o.node_ip.empty() ? std::vector<std::string>{kubelet::DetectAddress()} : base::SplitNonEmpty(o.node_ip, ',');
  a.node.labels = o.node_labels;
  a.node.provider_id = o.provider_id;
  a.node.pod_cidr = o.pod_cidr;
  a.node.port = o.port;
  a.node.max_pods = o.max_pods;
  a.node.max_images = o.max_images;
  a.node.kube_reserved = o.kube_reserved;
  a.node.system_reserved = o.system_reserved;
  if (o.eviction_hard.contains("memory.available"))
    a.node.eviction_hard_memory = o.eviction_hard.at("memory.available");
  if (o.eviction_hard.contains("nodefs.available"))
    a.node.eviction_hard_storage = o.eviction_hard.at("nodefs.available");
  a.node.register_node = o.register_node;
  a.node.status_frequency = o.status_frequency;
  a.node.report_frequency = o.report_frequency;
  a.node.lease_seconds = o.lease_seconds;
  a.root_directory = o.root_dir;
  a.pod_logs_directory = o.pod_logs_dir;
  a.manifest_directory = o.manifest_path;
  a.manifest_frequency = o.file_frequency;
  a.cluster_dns = o.cluster_dns;
  a.cluster_domain = o.cluster_domain;
  a.resolv_conf = o.resolv_conf;
  a.cpu_cfs_quota = o.cpu_cfs_quota;
  a.cpu_cfs_quota_period = o.cpu_cfs_quota_period;
  a.seccomp_default = o.seccomp_default;
  a.serialize_image_pulls = o.serialize_pulls;
  a.pids_limit = o.pod_max_pids;
  a.sync_frequency = o.sync_frequency;
  a.enforce_allocatable = std::ranges::find(o.enforce, "pods") != o.enforce.end();
  a.log_max_bytes = kubelet::ParseWhole(o.log_max_size).value_or(10 << 20);
  a.log_max_files = o.log_max_files;
  a.max_dead_per_container = o.dead_per_container;
  a.image_gc_high = o.image_gc_high;
  a.image_gc_low = o.image_gc_low;
  a.image_min_age = o.image_min_age;
  a.eviction_hard = o.eviction_hard;
  a.parse_manifest = kubelet::ParseManifest;
  return a;
}

// Waits for the runtime: at boot it may come up after the kubelet.
base::Task<base::Status> WaitForRuntime(base::Loop& loop, base::Context ctx, kubelet::runtimes::Runtime& runtime) {
  base::Status last;
  for (int i = 0; i < 240; ++i) {
    last = co_await runtime.Handshake(ctx);
    if (last.ok() || last.code() == base::Code::kFailedPrecondition) break;
    if (i % 20 == 0) base::LogInfo("Waiting for the container runtime", {{"err", last}});
    CO_TRY(co_await base::Sleep(loop, ctx, std::chrono::milliseconds(250)));
  }
  if (!last.ok() && last.code() != base::Code::kFailedPrecondition)
    co_return last.Annotate("the container runtime does not answer");
  CO_TRY(last);
  base::LogInfo("Container runtime initialized",
                {{"containerRuntime", runtime.name()}, {"version", runtime.version()}, {"apiVersion", "v1"}});
  co_return base::Ok();
}

// What needs a cluster is refused without one.
base::Status CheckStandalone(const Options& o) {
  if (o.enable_server && o.webhook_tokens)
    return base::FailedPrecondition("no client provided, cannot use webhook authentication");
  if (o.enable_server && o.authorization_mode == "Webhook")
    return base::FailedPrecondition("no client provided, cannot use webhook authorization");
  base::LogInfo("Standalone mode, no API client");
  return base::Ok();
}

base::Result<std::unique_ptr<kubelet::runtimes::Runtime>> OpenRuntime(base::Daemon& daemon, const Options& o) {
  TRY_ASSIGN(auto channel, kubelet::runtimes::NewChannel(daemon.loop(), o.endpoint));
  std::unique_ptr<kubelet::runtimes::Channel> images;
  if (!o.image_endpoint.empty() && o.image_endpoint != o.endpoint) {
    TRY_ASSIGN(images, kubelet::runtimes::NewChannel(daemon.loop(), o.image_endpoint));
  }
  return std::make_unique<kubelet::runtimes::Runtime>(daemon.loop(), std::move(channel), std::move(images),
                                                      o.runtime_timeout, &daemon.metrics());
}

// Health for everybody on this machine; the kubelet's own API where it is wanted.
base::Status Listen(const Options& o, base::net::Server& health, base::net::Server& api) {
  if (o.healthz_port > 0) {
    auto bound = health.Listen(o.healthz_address + ":" + std::to_string(o.healthz_port));
    if (!bound) return bound.error().Annotate("the health server");
  }
  if (!o.enable_server) return base::Ok();
  TRY_ASSIGN(auto files, ServingFiles(o));
  TRY_ASSIGN(auto tls,
             base::net::ServerTls::FromFiles({.cert_file = files.first,
                                              .key_file = files.second,
                                              .ca_file = o.client_ca,
                                              .minimum_version = o.tls_min_version == "VersionTLS13" ? 13 : 12}));
  auto bound = api.Listen(o.address + ":" + std::to_string(o.port), tls);
  if (!bound) return bound.error().Annotate("the kubelet's server");
  base::LogInfo("Starting to listen", {{"address", *bound}});
  return base::Ok();
}

base::Task<base::Status> Work(base::Context ctx, machinery::client::Component& c, const Options& o,
                              std::string configz) {
  base::Loop& loop = c.daemon.loop();
  std::error_code ec;
  std::filesystem::create_directories(o.root_dir + "/pods", ec);
  if (ec) co_return base::Unknown("making " + o.root_dir + ": " + ec.message());
  auto facts = kubelet::ReadMachine(o.root_dir, o.machine_id_file, o.boot_id_file);
  kubelet::AgentOptions options = AgentOptionsOf(o, facts);
  CO_TRY_ASSIGN(options.node.taints, ParseTaints(o.taints));
  CO_TRY_ASSIGN(options.sysctls, kubelet::SysctlAllowList::Make(o.unsafe_sysctls, facts.kernel_version));
  CO_TRY_ASSIGN(auto runtime, OpenRuntime(c.daemon, o));
  CO_TRY_ASSIGN(auto cgroups,
                kubelet::cgroups::Manager::Open({.cgroup_root = o.cgroup_root, .per_qos = o.cgroups_per_qos}));
  if (c.client == nullptr) CO_TRY(CheckStandalone(o));
  auto pool = base::NewThreadPool("volumes", 2);
  auto network = kubelet::checks::NewNetwork(loop);
  options.app_armor = kubelet::pod::AppArmorEnabled();
  kubelet::Agent agent({.executor = loop,
                        .pool = *pool,
                        .random = base::Random::System(),
                        .host = kubelet::MachineHost(),
                        .mounter = kubelet::volumes::MachineMounter(),
                        .network = *network,
                        .cgroups = *cgroups,
                        .runtime = *runtime,
                        .metrics = c.daemon.metrics()},
                       c.client, std::move(options), std::move(facts));

  c.health.Add("syncloop", std::function<base::Status()>([&agent] { return agent.Healthy(); }));
  base::net::Server health_server({&loop}, [&c](base::net::Exchange& e) { return c.health.Serve(e); });
  kubelet::ServerOptions server_options{.anonymous = o.anonymous,
                                        .webhook_authentication = o.webhook_tokens,
                                        .webhook_authorization = o.authorization_mode == "Webhook",
                                        .token_ttl = o.token_ttl,
                                        .allowed_ttl = o.allowed_ttl,
                                        .denied_ttl = o.denied_ttl,
                                        .configz = std::move(configz)};
  kubelet::Server api(loop, agent, c.client, c.health, std::move(server_options));
  base::net::Server server({&loop}, [&api](base::net::Exchange& e) { return api.Handle(e); });
  CO_TRY(Listen(o, health_server, server));
  CO_TRY(co_await WaitForRuntime(loop, ctx, *runtime));
  base::NotifySupervisor("READY=1");
  co_await agent.Run(ctx);
  co_await server.Stop(seconds(2));
  co_await health_server.Stop(seconds(1));
  co_return base::Ok();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  base::FlagSet flags({.name = "kubelet",
                       .description =
                           "The node agent: runs the pods that are bound to this node, in containers of a CRI "
                           "runtime.\n\nExample:\n  kubelet --kubeconfig=/etc/kubernetes/kubelet.conf "
                           "--config=/etc/keelson/kubelet.yaml",
                       .version = std::string(base::version::kKubernetesProgram),
                       .env_prefix = "",
                       .config_flag = "config"});
  AddNodeFlags(flags, options);
  AddPodFlags(flags, options);
  AddRuntimeFlags(flags, options);
  AddServerFlags(flags, options);
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  DefaultByFile(flags, options);
  machinery::client::StartLog(options.component);
  if (auto status = CheckHost(options); !status.ok()) base::LogFatal("command failed", status);
  if (options.protect_kernel)
    if (auto status = CheckKernel(); !status.ok()) base::LogFatal("command failed", status);
  SetOomScore(options.oom_score_adj);
  return machinery::client::RunComponent(
      options.component, [&, configz = Configz(flags)](base::Context ctx, machinery::client::Component& c) {
        return Work(std::move(ctx), c, options, configz);
      });
}
