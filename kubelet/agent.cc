#include "kubelet/agent.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/log.h"
#include "kubelet/admission.h"
#include "kubelet/logs.h"
#include "kubelet/model/resources.h"
#include "kubelet/paths/paths.h"
#include "machinery/value/value.h"

namespace kubelet {

namespace fs = std::filesystem;
namespace client = machinery::client;
using std::chrono::seconds;

// Events to the API, or to the log where there is none.
class Agent::EventSink final : public Events {
 public:
  EventSink(client::EventRecorder* recorder, std::string node) : recorder_(recorder), node_(std::move(node)) {}

  void Pod(const api::Pod& pod, std::string_view container, std::string_view type, std::string reason,
           std::string message) override {
    // Much of it is a container's own output, and the API takes text only.
    message = machinery::value::ToValidUtf8(message);
    if (!recorder_ || IsStaticPod(pod)) {
      // A static pod's events belong to its mirror, which the API may not have.
      base::LogInfo("Event occurred", {{"object", FullName(pod)},
                                       {"fieldPath", container},
                                       {"type", type},
                                       {"reason", reason},
                                       {"message", message}});
      if (!recorder_) return;
    }
    std::string path;
    if (!container.empty())
      path = std::string(IsInitContainer(pod, container)        ? "spec.initContainers{"
                         : IsEphemeralContainer(pod, container) ? "spec.ephemeralContainers{"
                                                                : "spec.containers{") +
             std::string(container) + "}";
    recorder_->Event(client::ReferenceTo(pod, path), type, std::move(reason), std::move(message));
  }
  void Node(std::string_view type, std::string reason, std::string message) override {
    if (!recorder_) {
      base::LogInfo("Event occurred", {{"object", node_}, {"type", type}, {"reason", reason}, {"message", message}});
      return;
    }
    client::ObjectReference about{.api_version = "v1", .kind = "Node", .name = node_, .uid = node_};
    recorder_->Event(about, type, std::move(reason), std::move(message));
  }

 private:
  client::EventRecorder* recorder_;
  std::string node_;
};

Agent::Agent(base::Loop& loop, base::BlockingPool& pool, runtimes::Runtime& runtime, cgroups::Manager& cgroups,
             machinery::client::Client* api, AgentOptions options, MachineFacts facts, base::MetricsRegistry& metrics)
    : loop_(loop),
      pool_(pool),
      runtime_(runtime),
      cgroups_(cgroups),
      client_(api),
      options_(std::move(options)),
      started_(loop.Now()),
      metrics_(metrics),
      mirrors_(loop) {
  settings_.pod_logs_directory = options_.pod_logs_directory;
  settings_.cluster_dns = options_.cluster_dns;
  settings_.cluster_domain = options_.cluster_domain;
  settings_.resolv_conf = base::ReadFile(base::PosixFileSystem(), options_.resolv_conf).value_or("");
  settings_.cpu_cfs_quota = options_.cpu_cfs_quota;
  settings_.cpu_cfs_quota_period_us = options_.cpu_cfs_quota_period.count() / 1000;
  settings_.seccomp_default = options_.seccomp_default;
  settings_.seccomp_directory = options_.root_directory + "/seccomp";
  settings_.memory_bytes = facts.memory_bytes;
  settings_.huge_page_sizes = facts.huge_page_sizes;
  if (client_) recorder_ = std::make_unique<client::EventRecorder>(loop_, *client_, "kubelet", options_.node.name);
  events_ = std::make_unique<EventSink>(recorder_.get(), options_.node.name);
  source_ = std::make_unique<ApiSource>(loop_, client_);
  volumes_ = std::make_unique<volumes::Manager>(loop_, pool_, *source_, options_.root_directory + "/pods");
  images_ = std::make_unique<Images>(loop_, runtime_, *events_, options_.serialize_image_pulls);
  statuses_ = std::make_unique<StatusManager>(loop_, client_);
  node_ = std::make_unique<NodeKeeper>(loop_, client_, *events_, *images_, options_.node, std::move(facts));
}

Agent::~Agent() = default;

base::Status Agent::Healthy() const {
  if (relist_at_ != base::MonoTime{} && loop_.Now() - relist_at_ < std::chrono::minutes(3)) return base::Ok();
  if (loop_.Now() - started_ < std::chrono::minutes(3)) return base::Ok();
  return base::Unavailable("pleg was last seen active too long ago; threshold is 3m0s");
}

base::Task<void> Agent::Run(base::Context ctx) {
  ctx_ = ctx;
  base::TaskScope scope(loop_, ctx);
  scope_ = &scope;
  probes_ = std::make_unique<Probes>(loop_, scope.context(), runtime_, *events_, &metrics_);
  Tools tools{.loop = loop_,
              .pool = pool_,
              .runtime = runtime_,
              .cgroups = cgroups_,
              .volumes = *volumes_,
              .source = *source_,
              .images = *images_,
              .probes = *probes_,
              .statuses = *statuses_,
              .events = *events_,
              .settings = settings_};
  tools.node_name = options_.node.name;
  tools.root_directory = options_.root_directory;
  if (options_.pod_logs_directory == "/var/log/pods") tools.container_logs_directory = "/var/log/containers";
  tools.pids_limit = options_.pids_limit;
  tools.sync_frequency = options_.sync_frequency;
  tools.host_ips = options_.node.addresses;
  tools.services = [this]() -> std::optional<std::vector<std::shared_ptr<const api::Service>>> {
    if (!client_) return std::vector<std::shared_ptr<const api::Service>>();
    if (!services_->synced()) return std::nullopt;
    return services_->List();
  };
  tools.admit = [this](const api::Pod& pod) { return AdmitPod(pod); };
  tools.network_error = [this] { return network_error_; };
  tools.pull_credentials = [this](base::Context c, PodPtr pod) -> base::Task<std::vector<cri::AuthConfig>> {
    std::vector<std::shared_ptr<const api::Secret>> secrets;
    for (const auto& ref : pod->spec().imagepullsecrets()) {
      auto secret = co_await source_->Secret(c, pod->metadata().namespace_(), ref.name());
      if (secret) secrets.push_back(*secret);
    }
    co_return CredentialsFor(secrets);
  };
  workers_ = std::make_unique<Workers>(tools, scope.context());
  workers_->on_gone = [this](const std::string& uid) {
    statuses_->Forget(uid);
    source_->ForgetPod(uid);
    relist_seen_.erase(uid);
    // Its successor under the same manifest may be waiting.
    if (auto it = static_pods_.find(uid); it != static_pods_.end()) workers_->Update(it->second);
  };
  source_->facts = [this](const api::Pod& pod) {
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
  };
  source_->on_change = [this](const std::string& uid) { workers_->ContentChanged(uid); };
  source_->StartWatching(scope);
  statuses_->api_pod = [this](const std::string& uid) { return ApiPodOf(uid); };
  node_->not_ready = [this] {
    std::vector<std::string> out;
    if (!runtime_ready_) out.push_back(runtime_error_);
    if (base::Status s = Healthy(); !s.ok()) out.push_back("PLEG is not healthy: " + std::string(s.message()));
    if (!network_error_.empty()) out.push_back("container runtime network not ready: " + network_error_);
    return out;
  };
  node_->runtime_version = [this] { return runtime_.name() + "://" + runtime_.version(); };
  node_->memory_pressure = [this] { return memory_pressure_; };
  node_->disk_pressure = [this] { return disk_pressure_; };

  cgroups::Limits limits;
  auto allocatable = node_->Allocatable();
  limits.cpu_shares = SharesOf(allocatable["cpu"]);
  if (options_.enforce_allocatable) limits.memory_bytes = allocatable["memory"] / 1000;
  if (base::Status s = cgroups_.EnsureNode(limits); !s.ok())
    base::LogError("The control groups of pods could not be made", s);

  scope.Spawn(WatchRuntime(scope.context()));
  scope.Spawn(RunRelist(scope.context()));
  scope.Spawn(RunCollector(scope.context()));
  if (!options_.manifest_directory.empty()) scope.Spawn(WatchManifests(scope.context()));
  if (client_) {
    pods_ = std::make_unique<Pods>(loop_, *client_,
                                   client::ListOptions{.field_selector = "spec.nodeName=" + options_.node.name});
    pods_->SetTransform([](api::Pod& p) { p.mutable_metadata()->clear_managedfields(); });
    pods_->AddHandler([this](const client::Change<api::Pod>& c) { OnApiPod(c); });
    services_ = std::make_unique<client::Informer<api::Service>>(loop_, *client_);
    services_->SetTransform([](api::Service& s) {
      s.mutable_metadata()->clear_managedfields();
      s.mutable_metadata()->clear_annotations();
      s.clear_status();
    });
    nodes_ = std::make_unique<client::Informer<api::Node>>(
        loop_, *client_, client::ListOptions{.field_selector = "metadata.name=" + options_.node.name});
    nodes_->SetTransform([](api::Node& n) {
      n.mutable_metadata()->clear_managedfields();
      n.clear_status();
    });
    nodes_->AddHandler([this](const client::Change<api::Node>& c) { node_->current = c.current; });
    events_->Node("Normal", "Starting", "Starting kubelet.");
    scope.Spawn(recorder_->Run(scope.context()));
    scope.Spawn(statuses_->Run(scope.context()));
    scope.Spawn(node_->Run(scope.context()));
    scope.Spawn(node_->RunLease(scope.context()));
    scope.Spawn(nodes_->Run(scope.context()));
    scope.Spawn(services_->Run(scope.context()));
    scope.Spawn(RunPods(scope.context()));
    scope.Spawn(KeepMirrors(scope.context()));
  }
  base::Event forever(loop_);
  (void)co_await forever.Wait(ctx);
  scope.Cancel();
  co_await workers_->Stop();
  co_await probes_->Stop();
  co_await scope.Join();
  scope_ = nullptr;
}

std::optional<pod::WaitReason> Agent::AdmitPod(const api::Pod& pod) {
  auto allocatable = node_->Allocatable();
  return Admit({.pod = pod,
                .active = workers_->Active(),
                .allocatable = allocatable,
                .node = node_->current.get(),
                .sysctls = &options_.sysctls,
                .app_armor = app_armor_});
}

// --- The runtime ---

base::Task<void> Agent::WatchRuntime(base::Context ctx) {
  while (ctx.status().ok()) {
    cri::StatusRequest request;
    auto status = co_await runtime_.Status(ctx, std::move(request));
    std::string before = network_error_ + (runtime_ready_ ? "" : runtime_error_);
    if (!status) {
      runtime_ready_ = false;
      runtime_error_ = "container runtime is down";
    } else {
      runtime_ready_ = true;
      network_error_ = "NetworkReady=false reason: message:";
      for (const auto& c : status->status().conditions()) {
        std::string text =
            c.type() + "=" + (c.status() ? "true" : "false") + " reason:" + c.reason() + " message:" + c.message();
        if (c.type() == "RuntimeReady" && !c.status()) {
          runtime_ready_ = false;
          runtime_error_ = "container runtime not ready: " + text;
        }
        if (c.type() == "NetworkReady") network_error_ = c.status() ? "" : text;
      }
      if (runtime_.version().empty()) (void)co_await runtime_.Handshake(ctx);
    }
    co_await SetPodCidr(ctx);
    if (before != network_error_ + (runtime_ready_ ? "" : runtime_error_)) {
      node_->Poke();
      for (const auto& pod : workers_->All()) workers_->Wake(RuntimeUid(*pod));
    }
    // While it is not ready somebody waits.
    base::Duration wait =
        runtime_ready_ && network_error_.empty() ? seconds(5) : base::Duration(std::chrono::milliseconds(500));
    if (!(co_await base::Sleep(loop_, ctx, wait)).ok()) co_return;
  }
}

base::Task<void> Agent::SetPodCidr(base::Context ctx) {
  std::string cidr = options_.node.pod_cidr;
  if (node_->current && !node_->current->spec().podcidr().empty()) {
    cidr.clear();
    for (const auto& c : node_->current->spec().podcidrs()) cidr += (cidr.empty() ? "" : ",") + c;
    if (cidr.empty()) cidr = node_->current->spec().podcidr();
  }
  if (cidr.empty() || cidr == pod_cidr_set_ || !runtime_ready_) co_return;
  cri::UpdateRuntimeConfigRequest request;
  request.mutable_runtime_config()->mutable_network_config()->set_pod_cidr(cidr);
  auto answer = co_await runtime_.UpdateRuntimeConfig(ctx, std::move(request));
  if (!answer) {
    base::LogError("Failed to update pod CIDR", answer.error(), {{"podCIDR", cidr}});
    co_return;
  }
  base::LogInfo("Updating Pod CIDR", {{"originalPodCIDR", pod_cidr_set_}, {"newPodCIDR", cidr}});
  pod_cidr_set_ = cidr;
}

base::Task<void> Agent::RunRelist(base::Context ctx) {
  auto& duration =
      metrics_
          .AddHistogram("kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods in PLEG.",
                        {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10})
          .Get();
  auto& seen =
      metrics_.AddGauge("kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active.").Get();
  while (ctx.status().ok()) {
    base::MonoTime begun = loop_.Now();
    base::Status s = co_await RelistOnce(ctx);
    if (s.ok()) {
      relist_at_ = loop_.Now();
      duration.Observe(std::chrono::duration<double>(relist_at_ - begun).count());
      seen.Set(static_cast<double>(WallNanos(loop_.clock())) / 1e9);
    } else if (ctx.status().ok()) {
      base::LogV(1, "The runtime could not be listed", {{"err", s}});
    }
    if (!(co_await base::Sleep(loop_, ctx, seconds(1))).ok()) co_return;
  }
}

base::Task<base::Status> Agent::RelistOnce(base::Context ctx) {
  CO_TRY_ASSIGN(runtimes::Relist list, co_await runtimes::ListAll(ctx, runtime_));
  // Runtimes list in any order: sorted, so that only a change looks like one.
  std::map<std::string, std::set<std::string>> parts;
  for (const auto& s : list.sandboxes)
    parts[s.labels().at(std::string(kPodUidLabel))].insert(s.id() + ":" + std::to_string(s.state()));
  for (const auto& c : list.containers)
    parts[c.labels().at(std::string(kPodUidLabel))].insert(c.id() + ":" + std::to_string(c.state()));
  std::map<std::string, std::string> now;
  for (const auto& [uid, ids] : parts)
    for (const auto& id : ids) now[uid] += id + ";";
  size_t running = std::ranges::count_if(list.sandboxes, [](const auto& s) { return s.state() == cri::SANDBOX_READY; });
  metrics_.AddGauge("kubelet_running_pods", "Number of pods that have a running pod sandbox")
      .Get()
      .Set(static_cast<double>(running));
  auto& by_state =
      metrics_.AddGauge("kubelet_running_containers", "Number of containers currently running", {"container_state"});
  double counts[4] = {};
  for (const auto& c : list.containers)
    if (c.state() < 4) ++counts[c.state()];
  static constexpr const char* kStates[] = {"created", "running", "exited", "unknown"};
  for (int i = 0; i < 4; ++i) by_state.With({kStates[i]}).Set(counts[i]);

  bool ready = SourcesReady();
  for (const auto& [uid, text] : now) {
    bool known = workers_->Knows(uid);
    if (known && relist_seen_[uid] == text) continue;
    if (!known && (!ready || orphans_.contains(uid))) continue;
    if (!observing_.insert(uid).second) continue;  // the next relist sees that it differs
    relist_seen_[uid] = text;
    scope_->Spawn(ObserveOne(ctx, uid, !known));  // an orphan's end may take its time: the relist goes on
  }
  for (auto it = relist_seen_.begin(); it != relist_seen_.end();) {
    if (now.contains(it->first)) {
      ++it;
      continue;
    }
    if (workers_->Knows(it->first)) workers_->Observed(it->first, ObservedPod{.uid = it->first});
    it = relist_seen_.erase(it);
  }
  co_return base::Ok();
}

base::Task<void> Agent::ObserveOne(base::Context ctx, std::string uid, bool orphan) {
  auto observed = co_await runtimes::Observe(ctx, runtime_, uid);
  observing_.erase(uid);
  if (!observed) {
    relist_seen_.erase(uid);
    co_return;
  }
  if (!orphan || workers_->Knows(uid)) {
    workers_->Observed(uid, std::move(*observed));
    co_return;
  }
  // The manifests and the API have been read, and neither knows it.
  orphans_.insert(uid);
  co_await workers_->KillOrphan(ctx, std::move(*observed));
  orphans_.erase(uid);
  relist_seen_.erase(uid);
}

// --- Housekeeping ---

base::Task<void> Agent::RunCollector(base::Context ctx) {
  for (int tick = 0; ctx.status().ok(); ++tick) {
    if (!(co_await base::Sleep(loop_, ctx, seconds(10))).ok()) co_return;
    CheckPressure();
    UpdateBurstable();
    co_await RotateLogs(ctx);
    if (!SourcesReady()) continue;
    if (tick % 6 == 1) co_await CollectContainers(ctx);
    if (tick % 6 == 1) co_await CollectPodDirectories(ctx);
    if (tick % 30 == 29) co_await CollectImages(ctx);
  }
}

// A plain file below the directory of logs, reached through no link: a pod that can write there must not make us move
// or remove other files of the node.
bool Agent::IsLog(const std::string& path) const {
  return paths::OpenPlainFile(options_.pod_logs_directory, path, O_RDONLY, paths::Links::kNever).has_value();
}

// Of every container the newest dead one stays for its logs and its reason; older ones and unused sandboxes go.
base::Task<void> Agent::CollectContainers(base::Context ctx) {
  for (const auto& pod : workers_->All()) {
    const ObservedPod* observed = workers_->ObservedOf(RuntimeUid(*pod));
    if (!observed) continue;
    std::vector<ObservedContainer> remove;
    std::map<std::string, int> dead;
    std::set<std::string> used;
    for (const auto& c : observed->containers) {
      if (c.state == ContainerState::kExited && ++dead[c.name] > std::max(1, options_.max_dead_per_container) + 0 &&
          &c != observed->Find(c.name))
        remove.push_back(c);
      else
        used.insert(c.sandbox_id);
    }
    std::vector<std::string> sandboxes;
    for (size_t i = 1; i < observed->sandboxes.size(); ++i)
      if (!observed->sandboxes[i].ready && !used.contains(observed->sandboxes[i].id))
        sandboxes.push_back(observed->sandboxes[i].id);
    for (const auto& c : remove) {
      cri::RemoveContainerRequest request;
      request.set_container_id(c.id);
      std::error_code ec;
      if (co_await runtime_.RemoveContainer(ctx, std::move(request)))
        if (IsLog(c.log_path)) fs::remove(c.log_path, ec);
    }
    for (const auto& id : sandboxes) {
      cri::RemovePodSandboxRequest request;
      request.set_pod_sandbox_id(id);
      (void)co_await runtime_.RemovePodSandbox(ctx, std::move(request));
    }
  }
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/var/log/containers", ec)) {
    if (options_.pod_logs_directory != "/var/log/pods") break;
    if (entry.is_symlink(ec) && !fs::exists(entry.path(), ec)) fs::remove(entry.path(), ec);
  }
}

base::Task<void> Agent::CollectPodDirectories(base::Context ctx) {
  for (const auto& uid : volumes_->PodsOnDisk()) {
    if (workers_->Knows(uid) || relist_seen_.contains(uid)) continue;
    base::Status s = co_await volumes_->TearDown(uid);
    if (!s.ok()) base::LogError("Failed to clean up volumes of an orphaned pod", s, {{"podUID", uid}});
    // Only groups of pods that were ours: several kubelets may share a machine's control groups.
    (void)cgroups_.RemovePod(uid);
  }
}

base::Task<void> Agent::CollectImages(base::Context ctx) {
  auto info = co_await runtime_.ImageFsInfo(ctx, {});
  if (!info || info->image_filesystems().empty()) co_return;
  struct statvfs st{};
  if (statvfs(info->image_filesystems(0).fs_id().mountpoint().c_str(), &st) != 0 || st.f_blocks == 0) co_return;
  double used = 100.0 * static_cast<double>(st.f_blocks - st.f_bavail) / static_cast<double>(st.f_blocks);
  auto images = co_await images_->List(ctx);
  auto containers = co_await runtime_.ListContainers(ctx, {});
  if (!images || !containers) co_return;
  std::set<std::string> in_use;
  for (const auto& c : containers->containers()) in_use.insert(c.image_ref());
  int64_t now = WallNanos(loop_.clock());
  std::map<std::string, int64_t> seen;
  for (const auto& i : *images)
    if (!in_use.contains(i.id()) && !i.pinned())
      seen[i.id()] = image_seen_.contains(i.id()) ? image_seen_[i.id()] : now;
  image_seen_ = std::move(seen);
  if (used < options_.image_gc_high) co_return;
  auto to_free = static_cast<int64_t>((used - options_.image_gc_low) / 100 * static_cast<double>(st.f_blocks) *
                                      static_cast<double>(st.f_frsize));
  for (const auto& i : *images) {
    if (to_free <= 0) break;
    auto unused = image_seen_.find(i.id());
    if (unused == image_seen_.end() || now - unused->second < options_.image_min_age.count()) continue;
    cri::RemoveImageRequest request;
    request.mutable_image()->set_image(i.id());
    if (co_await runtime_.RemoveImage(ctx, std::move(request))) to_free -= static_cast<int64_t>(i.size());
  }
}

base::Task<void> Agent::RotateLogs(base::Context ctx) {
  struct Log {
    std::string id, path;
  };
  std::vector<Log> logs;
  for (const auto& pod : workers_->All())
    if (const auto* o = workers_->ObservedOf(RuntimeUid(*pod)))
      for (const auto& c : o->containers)
        if (c.state == ContainerState::kRunning && IsLog(c.log_path)) logs.push_back({c.id, c.log_path});
  for (const auto& l : logs) {
    base::Status s = co_await RotateLog(ctx, runtime_, l.id, l.path, options_.log_max_bytes, options_.log_max_files,
                                        WallNanos(loop_.clock()));
    if (!s.ok()) base::LogError("Failed to rotate log for container", s, {{"path", l.path}});
  }
}

namespace {

// True when what is available is less than a threshold says: "100Mi" or "10%".
bool Below(const std::map<std::string, std::string>& thresholds, const char* signal, double available, double all) {
  auto it = thresholds.find(signal);
  if (it == thresholds.end() || all <= 0) return false;
  double bound = it->second.ends_with('%') ? all * atof(it->second.c_str()) / 100
                                           : static_cast<double>(ParseWhole(it->second).value_or(0));
  return available < bound;
}

}  // namespace

void Agent::CheckPressure() {
  int64_t available = -1;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    int64_t kib = 0;
    meminfo >> kib;
    if (key == "MemAvailable:") {
      available = kib * 1024;
      break;
    }
    meminfo.ignore(64, '\n');
  }
  bool memory = available >= 0 && Below(options_.eviction_hard, "memory.available", static_cast<double>(available),
                                        static_cast<double>(node_->facts().memory_bytes));
  bool disk = false;
  struct statvfs st{};
  if (statvfs(options_.root_directory.c_str(), &st) == 0) {
    disk = Below(options_.eviction_hard, "nodefs.available",
                 static_cast<double>(st.f_bavail) * static_cast<double>(st.f_frsize),
                 static_cast<double>(st.f_blocks) * static_cast<double>(st.f_frsize)) ||
           Below(options_.eviction_hard, "nodefs.inodesFree", static_cast<double>(st.f_favail),
                 static_cast<double>(st.f_files));
  }
  if (memory != memory_pressure_ || disk != disk_pressure_) node_->Poke();
  memory_pressure_ = memory;
  disk_pressure_ = disk;
  if (!memory) return;
  // The pod that asked for the least and uses what nobody promised it goes first: best effort, then the greatest use
  // over its request.
  PodPtr worst;
  int64_t worst_over = 0;
  for (const auto& pod : workers_->Active()) {
    if (IsStaticPod(*pod) || pod->spec().priority() >= 2000000000) continue;
    auto usage = cgroups_.PodUsage(*pod);
    int64_t over =
        (usage ? static_cast<int64_t>(usage->working_set_bytes) : 0) - Aggregate(*pod).memory_request.value_or(0);
    if (!worst || pod->spec().priority() < worst->spec().priority() ||
        (pod->spec().priority() == worst->spec().priority() && over > worst_over)) {
      worst = pod;
      worst_over = over;
    }
  }
  if (!worst) return;
  std::string text =
      "The node was low on resource: memory. Threshold quantity: " + options_.eviction_hard.at("memory.available") +
      ", available: " + BytesText(available / 1024 * 1024) + ". ";
  events_->Pod(*worst, "", "Warning", "Evicted", text);
  workers_->Evict(worst->metadata().uid(), "Evicted", text, 0);
}

void Agent::UpdateBurstable() {
  int64_t milli = 0;
  for (const auto& pod : workers_->Active())
    if (QosOf(*pod) == QosClass::kBurstable) milli += Aggregate(*pod).cpu_request_milli.value_or(0);
  (void)cgroups_.SetBurstableShares(milli);
}

}  // namespace kubelet
