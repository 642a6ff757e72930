#include "kubelet/starter.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/go_duration.h"
#include "kubelet/pod/environment.h"

namespace kubelet {
namespace {

std::string BackoffKey(const api::Pod& pod, const api::Container& c) {
  return fmt::format("{}_{}_{}_{}_{:x}", pod.metadata().name(), pod.metadata().namespace_(), RuntimeUid(pod), c.name(),
                     HashOf(c));
}

}  // namespace

Starter::Starter(Tools& tools, Sandboxes& sandboxes, Hooks& hooks, Killer& killer, base::Context ctx)
    : tools_(tools),
      sandboxes_(sandboxes),
      hooks_(hooks),
      killer_(killer),
      ctx_(std::move(ctx)),
      crash_backoff_(std::chrono::seconds(10), std::chrono::seconds(300)) {}

base::Status Starter::Fail(Worker& w, const std::string& name, std::string reason, std::string message) {
  w.reasons[name] = {reason, message};
  return base::Unknown(reason + ": " + message);
}

// How often a container was started before, by its logs, where the runtime has forgotten it.
uint32_t Starter::CountByLogs(const std::string& directory) const {
  int64_t last = -1;
  if (auto names = tools_.host.files().List(directory))
    for (const auto& name : *names) last = std::max<int64_t>(last, atoll(name.c_str()));
  return static_cast<uint32_t>(last + 1);
}

// True (with reason and event) while a crashed container has to wait.
bool Starter::InCrashBackoff(Worker& w, const Wanted& wanted) {
  const api::Pod& pod = *wanted.pod;
  const api::Container& c = *wanted.container;
  // A newer one that could never be started does not hide the one that crashed.
  auto last = std::ranges::find_if(w.observed.containers, [&](const ObservedContainer& o) {
    return o.name == c.name() && o.state == ContainerState::kExited;
  });
  if (last == w.observed.containers.end()) return false;
  std::string key = BackoffKey(pod, c);
  int64_t now = tools_.Now();
  if (!crash_backoff_.InBackoffSince(key, last->finished_at, now)) {
    crash_backoff_.Next(key, last->finished_at, now);
    crash_backoff_.Collect(now);
    return false;
  }
  tools_.events.Pod(pod, c.name(), "Warning", "BackOff",
                    "Back-off restarting failed container " + c.name() + " in pod " + FormatPod(pod));
  w.reasons[c.name()] = {"CrashLoopBackOff", "back-off " + base::FormatGoDuration(crash_backoff_.Get(key)) +
                                                 " restarting failed container=" + c.name() + " pod=" + FormatPod(pod)};
  return true;
}

base::Task<base::Status> Starter::Start(WorkerPtr w, std::string name, std::string sandbox_id) {
  Wanted wanted{.pod = w->pod, .container = FindContainer(*w->pod, name)};
  if (!wanted.container) co_return base::Ok();  // the pod has changed meanwhile
  if (InCrashBackoff(*w, wanted)) co_return base::Unavailable("CrashLoopBackOff: " + w->reasons[name].message);
  CO_TRY_ASSIGN(Place place, co_await FindPlace(w, wanted, std::move(sandbox_id)));
  co_return co_await Create(w, wanted, std::move(place));
}

// The image is on the node afterwards.
base::Task<base::Result<Starter::Place>> Starter::FindPlace(WorkerPtr w, const Wanted& wanted, std::string sandbox_id) {
  const PodPtr& pod = wanted.pod;
  const api::Container& c = *wanted.container;
  uint32_t attempt = 0;
  for (const auto& s : w->observed.sandboxes)
    if (s.id == sandbox_id) attempt = s.attempt;
  auto sandbox = sandboxes_.ConfigOf(*w, attempt);
  if (!sandbox)
    co_return base::Err(Fail(*w, c.name(), "CreateContainerConfigError", std::string(sandbox.error().message())));
  std::vector<cri::AuthConfig> credentials;
  if (tools_.pull_credentials && !pod->spec().imagepullsecrets().empty())
    credentials = co_await tools_.pull_credentials(ctx_, pod);
  Images::Outcome image = co_await tools_.images.Ensure(ctx_, pod, c, *sandbox, std::move(credentials));
  if (!image.image) {
    tools_.events.Pod(*pod, c.name(), "Warning", "Failed", "Error: " + image.wait.reason);
    co_return base::Err(Fail(*w, c.name(), image.wait.reason, image.wait.message));
  }
  const ObservedContainer* last = w->observed.Find(c.name());
  uint32_t restarts = last ? static_cast<uint32_t>(last->restart_count) + 1
                           : CountByLogs(pod::LogDirectory(*pod, tools_.settings) + "/" + c.name());
  co_return Place{std::move(sandbox_id), std::move(*sandbox), std::move(*image.image), restarts};
}

base::Task<base::Status> Starter::Create(WorkerPtr w, const Wanted& wanted, Place place) {
  const PodPtr& pod = wanted.pod;
  const std::string& name = wanted.container->name();
  auto fail = [&](const char* reason, const base::Status& why) {
    std::string text(why.message());
    tools_.events.Pod(*pod, name, "Warning", "Failed", "Error: " + text);
    return Fail(*w, name, reason, text);
  };
  auto config = co_await Configure(w, wanted, place);
  if (!config) co_return fail("CreateContainerConfigError", config.error());
  base::FileSystem& files = tools_.host.files();
  const std::string log_path = place.sandbox.log_directory() + "/" + config->log_path();
  (void)files.MakeDirectories(log_path.substr(0, log_path.rfind('/')), 0755);
  cri::CreateContainerRequest create;
  create.set_pod_sandbox_id(place.sandbox_id);
  *create.mutable_config() = std::move(*config);
  *create.mutable_sandbox_config() = std::move(place.sandbox);
  auto created = co_await tools_.runtime.CreateContainer(ctx_, std::move(create));
  if (created) w->acted = true;
  if (!created) co_return fail("CreateContainerError", created.error());
  tools_.events.Pod(*pod, name, "Normal", "Created", "Container created");
  const std::string id = created->container_id();
  cri::StartContainerRequest start;
  start.set_container_id(id);
  auto started = co_await tools_.runtime.StartContainer(ctx_, std::move(start));
  if (!started) co_return fail("RunContainerError", started.error());
  tools_.events.Pod(*pod, name, "Normal", "Started", "Container started");
  w->reasons.erase(name);
  if (const std::string& links = tools_.container_logs_directory; !links.empty()) {
    // Log collectors look for <pod>_<namespace>_<container>-<id>.log.
    (void)files.MakeDirectories(links, 0755);
    tools_.host.Link(log_path, fmt::format("{}/{}_{}_{}-{}.log", links, pod->metadata().name(),
                                           pod->metadata().namespace_(), name, id));
  }
  co_return co_await PostStart(w, wanted, id);
}

base::Task<base::Result<cri::ContainerConfig>> Starter::Configure(WorkerPtr w, const Wanted& wanted,
                                                                  const Place& place) {
  const PodPtr& pod = wanted.pod;
  const api::Container& c = *wanted.container;
  auto services = tools_.services();
  if (!services)
    co_return base::Err(base::Unavailable("services have not yet been read at least once, cannot construct envvars"));
  bool links = !pod->spec().has_enableservicelinks() || pod->spec().enableservicelinks();
  NodeFacts facts = tools_.source.FactsFor(*pod);
  if (!w->observed.sandboxes.empty()) facts.pod_ips = w->observed.sandboxes.front().ips;
  if (pod->spec().hostnetwork()) facts.pod_ips = tools_.host_ips;
  auto env = co_await pod::MakeEnvironment(ctx_, pod, c.name(),
                                           pod::ServiceEnvironment(*services, pod->metadata().namespace_(), links),
                                           tools_.source, facts);
  if (!env) co_return base::Err(std::move(env.error()));
  CO_TRY_ASSIGN(auto mounts, co_await Mounts(w, c, *env));
  CO_TRY(AddOwnFiles(wanted, facts.pod_ips, mounts));
  pod::ContainerInput in{.pod = *pod, .container = c, .node = tools_.settings};
  for (const auto& e : pod->spec().ephemeralcontainers()) {
    if (e.ephemeralcontainercommon().name() != c.name() || e.targetcontainername().empty()) continue;
    const ObservedContainer* target = w->observed.Find(e.targetcontainername());
    if (!target) co_return base::Err(base::NotFound("unable to find target container " + e.targetcontainername()));
    in.target_container_id = target->id;
  }
  in.image_id = place.image.id();
  in.image = &place.image;
  in.restart_count = place.restart_count;
  in.env = std::move(*env);
  in.mounts = std::move(mounts);
  co_return pod::MakeContainer(in);
}

// What the kubelet itself puts into every container: /etc/hosts and the file for its last words.
base::Status Starter::AddOwnFiles(const Wanted& wanted, const std::vector<std::string>& pod_ips,
                                  std::vector<cri::Mount>& mounts) {
  const api::Pod& pod = *wanted.pod;
  const api::Container& c = *wanted.container;
  Host& host = tools_.host;
  const std::string directory = tools_.volumes.PodDirectory(RuntimeUid(pod));
  auto add = [&](const std::string& inside, const std::string& outside) {
    if (std::ranges::any_of(mounts, [&](const auto& m) { return m.container_path() == inside; })) return;
    cri::Mount m;
    m.set_container_path(inside);
    m.set_host_path(outside);
    mounts.push_back(std::move(m));
  };
  std::string hosts;
  if (pod.spec().hostnetwork()) hosts = base::ReadFile(host.files(), "/etc/hosts").value_or("");
  const std::string hosts_file = directory + "/etc-hosts";
  TRY(host.WriteFile(hosts_file, pod::HostsFile(pod, pod_ips, tools_.settings, hosts), 0644));
  add("/etc/hosts", hosts_file);
  if (c.terminationmessagepath().empty()) return base::Ok();
  const std::string own = directory + "/containers/" + c.name();
  (void)host.files().MakeDirectories(own, 0755);
  const std::string file = fmt::format("{}/{:08x}", own, tools_.random.Below(1ull << 32));
  TRY(host.WriteFile(file, "", 0666));
  add(c.terminationmessagepath(), file);
  return base::Ok();
}

base::Task<base::Result<std::vector<cri::Mount>>> Starter::Mounts(WorkerPtr w, const api::Container& c,
                                                                  const std::vector<pod::Env>& env) {
  std::vector<cri::Mount> out;
  for (int i = 0; i < c.volumemounts_size(); ++i) {
    const auto& mount = c.volumemounts(i);
    auto volume = w->mounted.find(mount.name());
    if (volume == w->mounted.end())
      co_return base::Err(
          base::NotFound("cannot find volume \"" + mount.name() + "\" to mount into container \"" + c.name() + "\""));
    if (mount.recursivereadonly() == "Enabled")
      co_return base::Err(base::Unimplemented("recursive read-only mounts are not supported by the runtime"));
    const bool read_only = mount.readonly() || volume->second.read_only;
    std::string path = volume->second.path;
    CO_TRY_ASSIGN(std::string sub, pod::SubPathOf(mount, env));
    if (!sub.empty()) {
      auto bound = co_await tools_.volumes.BindSubPath(w->uid, {mount.name(), path, c.name(), i, std::move(sub)});
      if (!bound) co_return base::Err(std::move(bound.error()));
      path = std::move(*bound);
    }
    cri::Mount m;
    m.set_container_path(mount.mountpath().starts_with('/') ? mount.mountpath() : "/" + mount.mountpath());
    m.set_host_path(path);
    m.set_readonly(read_only);
    if (mount.mountpropagation() == "HostToContainer") m.set_propagation(cri::PROPAGATION_HOST_TO_CONTAINER);
    if (mount.mountpropagation() == "Bidirectional") m.set_propagation(cri::PROPAGATION_BIDIRECTIONAL);
    out.push_back(std::move(m));
  }
  co_return out;
}

base::Task<base::Status> Starter::PostStart(WorkerPtr w, const Wanted& wanted, std::string id) {
  const PodPtr& pod = wanted.pod;
  const api::Container& c = *wanted.container;
  base::Status s = co_await hooks_.PostStart(w, c, id);
  if (s.ok()) co_return s;
  tools_.events.Pod(*pod, c.name(), "Warning", "FailedPostStartHook", "PostStartHook failed");
  ObservedContainer seen;
  seen.id = id;
  seen.name = c.name();
  co_await killer_.KillContainer(w, seen,
                                 {.grace = GracePeriodOf(*pod), .message = "FailedPostStartHook", .ctx = ctx_});
  co_return Fail(*w, c.name(), "PostStartHookError", std::string(s.message()));
}

}  // namespace kubelet
