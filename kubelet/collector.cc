#include "kubelet/collector.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "kubelet/logs.h"

namespace kubelet {

Collector::Collector(base::Executor& executor, Host& host, runtimes::Runtime& runtime, Images& images,
                     CollectorOptions options)
    : executor_(executor), host_(host), runtime_(runtime), images_(images), options_(std::move(options)) {}

// Of every container the newest dead one stays for its logs and its reason; older ones and unused sandboxes go.
base::Task<void> Collector::CollectContainers(base::Context ctx, const Workers& workers) {
  for (const auto& pod : workers.All())
    if (const ObservedPod* observed = workers.ObservedOf(RuntimeUid(*pod)))
      co_await CollectContainersOf(ctx, *observed);
  if (!options_.log_links_directory.empty()) host_.RemoveDeadLinks(options_.log_links_directory);
}

base::Task<void> Collector::CollectContainersOf(base::Context ctx, ObservedPod observed) {
  std::vector<ObservedContainer> remove;
  std::map<std::string, int> dead;
  std::set<std::string> used;
  for (const auto& c : observed.containers) {
    if (c.state == ContainerState::kExited && ++dead[c.name] > std::max(1, options_.max_dead_per_container) &&
        &c != observed.Find(c.name))
      remove.push_back(c);
    else
      used.insert(c.sandbox_id);
  }
  for (const auto& c : remove) co_await RemoveContainer(ctx, c);
  for (size_t i = 1; i < observed.sandboxes.size(); ++i) {
    const ObservedSandbox& s = observed.sandboxes[i];
    if (s.ready || used.contains(s.id)) continue;
    cri::RemovePodSandboxRequest request;
    request.set_pod_sandbox_id(s.id);
    (void)co_await runtime_.RemovePodSandbox(ctx, std::move(request));
  }
}

base::Task<void> Collector::RemoveContainer(base::Context ctx, ObservedContainer c) {
  cri::RemoveContainerRequest request;
  request.set_container_id(c.id);
  auto removed = co_await runtime_.RemoveContainer(ctx, std::move(request));
  if (removed && IsLog(c.log_path)) (void)host_.files().Remove(c.log_path);
}

base::Task<void> Collector::CollectPodDirectories(volumes::Manager& volumes, cgroups::Manager& cgroups,
                                                  std::function<bool(const std::string& uid)> wanted) {
  for (const auto& uid : volumes.PodsOnDisk()) {
    if (wanted(uid)) continue;
    base::Status s = co_await volumes.TearDown(uid);
    if (!s.ok()) base::LogError("Failed to clean up volumes of an orphaned pod", s, {{"podUID", uid}});
    // Only groups of pods that were ours: several kubelets may share a machine's control groups.
    (void)cgroups.RemovePod(uid);
  }
}

// Since when each image is used by no container; false when the runtime does not say who uses what.
base::Task<bool> Collector::NoteUnused(base::Context ctx, const std::vector<cri::Image>& images) {
  auto containers = co_await runtime_.ListContainers(ctx, {});
  if (!containers) co_return false;
  std::set<std::string> in_use;
  for (const auto& c : containers->containers()) in_use.insert(c.image_ref());
  int64_t now = WallNanos(executor_.clock());
  std::map<std::string, int64_t> unused;
  for (const auto& i : images)
    if (!in_use.contains(i.id()) && !i.pinned())
      unused[i.id()] = unused_since_.contains(i.id()) ? unused_since_[i.id()] : now;
  unused_since_ = std::move(unused);
  co_return true;
}

base::Task<void> Collector::CollectImages(base::Context ctx) {
  auto info = co_await runtime_.ImageFsInfo(ctx, {});
  if (!info || info->image_filesystems().empty()) co_return;
  auto space = host_.SpaceAt(info->image_filesystems(0).fs_id().mountpoint());
  if (!space || space->bytes <= 0) co_return;
  auto images = co_await images_.List(ctx);
  if (!images || !co_await NoteUnused(ctx, *images)) co_return;
  if (space->used_percent < options_.image_gc_high) co_return;
  int64_t now = WallNanos(executor_.clock());
  auto to_free = static_cast<int64_t>((space->used_percent - options_.image_gc_low) / 100 * space->bytes);
  for (const auto& i : *images) {
    if (to_free <= 0) break;
    auto unused = unused_since_.find(i.id());
    if (unused == unused_since_.end() || now - unused->second < options_.image_min_age.count()) continue;
    cri::RemoveImageRequest request;
    request.mutable_image()->set_image(i.id());
    if (co_await runtime_.RemoveImage(ctx, std::move(request))) to_free -= static_cast<int64_t>(i.size());
  }
}

base::Task<void> Collector::RotateLogs(base::Context ctx, const Workers& workers) {
  std::vector<Log> logs;
  for (const auto& pod : workers.All())
    if (const auto* o = workers.ObservedOf(RuntimeUid(*pod)))
      for (const auto& c : o->containers)
        if (c.state == ContainerState::kRunning && IsLog(c.log_path)) logs.push_back({c.id, c.log_path});
  for (const auto& l : logs) {
    base::Status s = co_await RotateLog(ctx, host_, runtime_, l,
                                        {.max_bytes = options_.log_max_bytes,
                                         .max_files = options_.log_max_files,
                                         .now_ns = WallNanos(executor_.clock())});
    if (!s.ok()) base::LogError("Failed to rotate log for container", s, {{"path", l.path}});
  }
}

}  // namespace kubelet
