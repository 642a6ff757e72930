#include "kubelet/agent.h"

#include "base/log.h"
#include "kubelet/admission.h"
#include "kubelet/model/resources.h"

namespace kubelet {
namespace {

namespace client = machinery::client;
using std::chrono::seconds;

pod::NodeSettings SettingsOf(const AgentOptions& o, const MachineFacts& facts, base::FileSystem& files) {
  pod::NodeSettings out;
  out.pod_logs_directory = o.pod_logs_directory;
  out.cluster_dns = o.cluster_dns;
  out.cluster_domain = o.cluster_domain;
  out.resolv_conf = base::ReadFile(files, o.resolv_conf).value_or("");
  out.cpu_cfs_quota = o.cpu_cfs_quota;
  out.cpu_cfs_quota_period_us = o.cpu_cfs_quota_period.count() / 1000;
  out.seccomp_default = o.seccomp_default;
  out.seccomp_directory = o.root_directory + "/seccomp";
  out.memory_bytes = facts.memory_bytes;
  out.huge_page_sizes = facts.huge_page_sizes;
  return out;
}

// Links by container are of use where the logs are where collectors expect them.
std::string LogLinksOf(const AgentOptions& o) {
  return o.pod_logs_directory == "/var/log/pods" ? "/var/log/containers" : "";
}

CollectorOptions CollectorOptionsOf(const AgentOptions& o) {
  return {.logs_directory = o.pod_logs_directory,
          .log_links_directory = LogLinksOf(o),
          .log_max_bytes = o.log_max_bytes,
          .log_max_files = o.log_max_files,
          .max_dead_per_container = o.max_dead_per_container,
          .image_gc_high = o.image_gc_high,
          .image_gc_low = o.image_gc_low,
          .image_min_age = o.image_min_age};
}

// A pod of the API came from the API, whatever its annotations say.
PodPtr FromApi(PodPtr pod) {
  if (!IsStaticPod(*pod)) return pod;
  auto copy = std::make_shared<api::Pod>(*pod);
  (*copy->mutable_metadata()->mutable_annotations())[std::string(kConfigSource)] = "api";
  return copy;
}

}  // namespace

Agent::Agent(Platform platform, client::Client* api, AgentOptions options, MachineFacts facts)
    : platform_(std::move(platform)),
      client_(api),
      options_(std::move(options)),
      settings_(SettingsOf(options_, facts, platform_.host.files())),
      started_(platform_.executor.Now()),
      relist_(platform_.executor, platform_.runtime, platform_.metrics),
      static_pods_(platform_.executor, platform_.host,
                   {.directory = options_.manifest_directory,
                    .frequency = options_.manifest_frequency,
                    .node_name = options_.node.name,
                    .parse = options_.parse_manifest}) {
  base::Executor& executor = platform_.executor;
  if (client_) recorder_ = std::make_unique<client::EventRecorder>(executor, *client_, "kubelet", options_.node.name);
  events_ = std::make_unique<EventSink>(recorder_.get(), options_.node.name);
  source_ = std::make_unique<ApiSource>(executor, client_);
  volumes_ = std::make_unique<volumes::Manager>(executor, platform_.pool, platform_.mounter, *source_,
                                                options_.root_directory + "/pods");
  images_ = std::make_unique<Images>(executor, platform_.runtime, *events_, options_.serialize_image_pulls);
  statuses_ = std::make_unique<StatusManager>(executor, client_);
  node_ = std::make_unique<NodeKeeper>(executor, client_, *events_, *images_, options_.node, std::move(facts));
  runtime_watch_ = std::make_unique<RuntimeWatch>(executor, platform_.runtime, *node_);
  evictor_ = std::make_unique<Evictor>(platform_.host, platform_.cgroups, *events_, options_.eviction_hard,
                                       options_.root_directory);
  collector_ =
      std::make_unique<Collector>(executor, platform_.host, platform_.runtime, *images_, CollectorOptionsOf(options_));
  if (client_) MakeInformers();
  Wire();
}

Agent::~Agent() = default;

void Agent::MakeInformers() {
  base::Executor& executor = platform_.executor;
  const std::string& name = options_.node.name;
  pods_ = std::make_unique<client::Informer<api::Pod>>(executor, *client_,
                                                       client::ListOptions{.field_selector = "spec.nodeName=" + name});
  pods_->SetTransform([](api::Pod& p) { p.mutable_metadata()->clear_managedfields(); });
  pods_->AddHandler([this](const client::Change<api::Pod>& c) { OnApiPod(c); });
  services_ = std::make_unique<client::Informer<api::Service>>(executor, *client_);
  services_->SetTransform([](api::Service& s) {
    s.mutable_metadata()->clear_managedfields();
    s.mutable_metadata()->clear_annotations();
    s.clear_status();
  });
  nodes_ = std::make_unique<client::Informer<api::Node>>(
      executor, *client_, client::ListOptions{.field_selector = "metadata.name=" + name});
  nodes_->SetTransform([](api::Node& n) {
    n.mutable_metadata()->clear_managedfields();
    n.clear_status();
  });
  nodes_->AddHandler([this](const client::Change<api::Node>& c) { node_->current = c.current; });
  mirrors_ = std::make_unique<Mirrors>(executor, *client_, *pods_, static_pods_, *node_);
  mirrors_->sources_ready = [this] { return SourcesReady(); };
}

// Who asks whom, and who is told of what.
void Agent::Wire() {
  source_->facts = [this](const api::Pod& pod) { return FactsFor(pod); };
  source_->on_change = [this](const std::string& uid) { workers_->ContentChanged(uid); };
  statuses_->api_pod = [this](const std::string& uid) { return ApiPodOf(uid); };
  relist_.sources_ready = [this] { return SourcesReady(); };
  if (mirrors_) static_pods_.on_change = [this] { mirrors_->Look(); };
  runtime_watch_->on_change = [this] {
    node_->Poke();
    for (const auto& pod : workers_->All()) workers_->Wake(RuntimeUid(*pod));
  };
  node_->not_ready = [this] { return NotReady(); };
  node_->runtime_version = [this] { return platform_.runtime.name() + "://" + platform_.runtime.version(); };
  node_->memory_pressure = [this] { return evictor_->memory_pressure(); };
  node_->disk_pressure = [this] { return evictor_->disk_pressure(); };
}

std::vector<std::string> Agent::NotReady() const {
  std::vector<std::string> out;
  if (std::string error = runtime_watch_->error(); !error.empty()) out.push_back(std::move(error));
  if (base::Status s = Healthy(); !s.ok()) out.push_back("PLEG is not healthy: " + std::string(s.message()));
  if (const std::string& network = runtime_watch_->network_error(); !network.empty())
    out.push_back("container runtime network not ready: " + network);
  return out;
}

NodeFacts Agent::FactsFor(const api::Pod& pod) {
  NodeFacts f;
  f.node_name = options_.node.name;
  f.host_ips = options_.node.addresses;
  if (!f.host_ips.empty()) f.host_ip = f.host_ips.front();
  if (const auto* o = workers_->ObservedOf(RuntimeUid(pod)); o && !o->sandboxes.empty())
    f.pod_ips = o->sandboxes.front().ips;
  auto allocatable = node_->Allocatable();
  f.allocatable_milli_cpu = allocatable["cpu"];
  f.allocatable_memory = allocatable["memory"] / 1000;
  f.allocatable_storage = allocatable["ephemeral-storage"] / 1000;
  return f;
}

Tools Agent::MakeTools() {
  Tools tools{.executor = platform_.executor,
              .random = platform_.random.Fork(),
              .host = platform_.host,
              .network = platform_.network,
              .runtime = platform_.runtime,
              .cgroups = platform_.cgroups,
              .volumes = *volumes_,
              .source = *source_,
              .images = *images_,
              .probes = *probes_,
              .statuses = *statuses_,
              .events = *events_,
              .settings = settings_};
  tools.node_name = options_.node.name;
  tools.root_directory = options_.root_directory;
  tools.container_logs_directory = LogLinksOf(options_);
  tools.pids_limit = options_.pids_limit;
  tools.sync_frequency = options_.sync_frequency;
  tools.host_ips = options_.node.addresses;
  tools.services = [this]() -> std::optional<std::vector<std::shared_ptr<const api::Service>>> {
    if (!client_) return std::vector<std::shared_ptr<const api::Service>>();
    if (!services_->synced()) return std::nullopt;
    return services_->List();
  };
  tools.admit = [this](const api::Pod& pod) { return AdmitPod(pod); };
  tools.network_error = [this] { return runtime_watch_->network_error(); };
  tools.pull_credentials = [this](base::Context c, PodPtr pod) -> base::Task<std::vector<cri::AuthConfig>> {
    std::vector<std::shared_ptr<const api::Secret>> secrets;
    for (const auto& ref : pod->spec().imagepullsecrets()) {
      auto secret = co_await source_->Secret(c, pod->metadata().namespace_(), ref.name());
      if (secret) secrets.push_back(*secret);
    }
    co_return CredentialsFor(secrets);
  };
  return tools;
}

void Agent::StartWorkers(base::TaskScope& scope) {
  probes_ = std::make_unique<Probes>(Probes::Parts{.executor = platform_.executor,
                                                   .random = platform_.random.Fork(),
                                                   .runtime = platform_.runtime,
                                                   .network = platform_.network,
                                                   .events = *events_,
                                                   .metrics = &platform_.metrics},
                                     scope.context());
  workers_ = std::make_unique<Workers>(MakeTools(), scope.context());
  workers_->on_gone = [this](const std::string& uid) {
    statuses_->Forget(uid);
    source_->ForgetPod(uid);
    relist_.Forget(uid);
    // Its successor under the same manifest may be waiting.
    if (PodPtr pod = static_pods_.Find(uid)) workers_->Update(pod);
  };
  source_->StartWatching(scope);
}

void Agent::StartTasks(base::TaskScope& scope) {
  base::Context ctx = scope.context();
  scope.Spawn(runtime_watch_->Run(ctx));
  scope.Spawn(relist_.Run(scope, *workers_));
  scope.Spawn(RunCollector(ctx));
  scope.Spawn(static_pods_.Run(ctx, *workers_));
  if (!client_) return;
  events_->Node("Normal", "Starting", "Starting kubelet.");
  scope.Spawn(recorder_->Run(ctx));
  scope.Spawn(statuses_->Run(ctx));
  scope.Spawn(node_->Run(ctx));
  scope.Spawn(node_->RunLease(ctx));
  scope.Spawn(nodes_->Run(ctx));
  scope.Spawn(services_->Run(ctx));
  scope.Spawn(RunPods(ctx));
  scope.Spawn(mirrors_->Run(ctx));
}

base::Task<void> Agent::Run(base::Context ctx) {
  base::TaskScope scope(platform_.executor, ctx);
  StartWorkers(scope);
  EnsureGroups();
  StartTasks(scope);
  base::Event forever(platform_.executor);
  (void)co_await forever.Wait(ctx);
  scope.Cancel();
  co_await workers_->Stop();
  co_await probes_->Stop();
  co_await scope.Join();
}

void Agent::EnsureGroups() {
  cgroups::Limits limits;
  auto allocatable = node_->Allocatable();
  limits.cpu_shares = SharesOf(allocatable["cpu"]);
  if (options_.enforce_allocatable) limits.memory_bytes = allocatable["memory"] / 1000;
  if (base::Status s = platform_.cgroups.EnsureNode(limits); !s.ok())
    base::LogError("The control groups of pods could not be made", s);
}

std::optional<pod::WaitReason> Agent::AdmitPod(const api::Pod& pod) {
  auto allocatable = node_->Allocatable();
  return Admit({.pod = pod,
                .active = workers_->Active(),
                .allocatable = allocatable,
                .node = node_->current.get(),
                .sysctls = &options_.sysctls,
                .app_armor = options_.app_armor});
}

// --- Pods of the API ---

// Pods come once what their containers need to know of Services and the node is there.
base::Task<void> Agent::RunPods(base::Context ctx) {
  if (!(co_await services_->WaitForSync(ctx)).ok() || !(co_await nodes_->WaitForSync(ctx)).ok()) co_return;
  co_await pods_->Run(ctx);
}

void Agent::OnApiPod(const client::Change<api::Pod>& change) {
  const api::Pod& pod = change.any();
  if (IsMirrorPod(pod)) {
    // A mirror that was made anew knows nothing yet of how its pod does.
    if (change.current) statuses_->Recheck(RuntimeUid(pod));
    mirrors_->Look();
    return;
  }
  const std::string& uid = pod.metadata().uid();
  if (change.old && change.current && change.old->metadata().uid() != uid)
    workers_->Remove(change.old->metadata().uid());
  if (!change.current) {
    workers_->Remove(uid);
    return;
  }
  if (!CanBePaths(pod)) {
    base::LogError("A pod whose name cannot be a directory is left alone", base::InvalidArgument(uid));
    return;
  }
  source_->Reference(pod);
  workers_->Update(FromApi(change.current));
  statuses_->Recheck(uid);
}

PodPtr Agent::ApiPodOf(const std::string& uid) const {
  if (!pods_) return nullptr;
  if (PodPtr own = static_pods_.Find(uid)) return mirrors_->Of(*own);
  PodPtr pod = workers_->Find(uid);
  if (!pod) return nullptr;
  PodPtr current = pods_->Get(pod->metadata().namespace_(), pod->metadata().name());
  return current && current->metadata().uid() == uid ? current : nullptr;
}

// --- Housekeeping ---

base::Task<void> Agent::RunCollector(base::Context ctx) {
  for (int tick = 0; ctx.status().ok(); ++tick) {
    if (!(co_await base::Sleep(platform_.executor, ctx, seconds(10))).ok()) co_return;
    evictor_->Check(*node_, *workers_);
    UpdateBurstable();
    co_await collector_->RotateLogs(ctx, *workers_);
    if (!SourcesReady()) continue;
    if (tick % 6 == 1) co_await collector_->CollectContainers(ctx, *workers_);
    if (tick % 6 == 1)
      co_await collector_->CollectPodDirectories(*volumes_, platform_.cgroups, [this](const std::string& uid) {
        return workers_->Knows(uid) || relist_.Holds(uid);
      });
    if (tick % 30 == 29) co_await collector_->CollectImages(ctx);
  }
}

void Agent::UpdateBurstable() {
  int64_t milli = 0;
  for (const auto& pod : workers_->Active())
    if (QosOf(*pod) == QosClass::kBurstable) milli += Aggregate(*pod).cpu_request_milli.value_or(0);
  (void)platform_.cgroups.SetBurstableShares(milli);
}

}  // namespace kubelet
