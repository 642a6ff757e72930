#include "kubelet/workers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/go_duration.h"
#include "base/log.h"
#include "kubelet/lines/lines.h"
#include "kubelet/model/resources.h"
#include "kubelet/paths/paths.h"
#include "kubelet/pod/environment.h"
#include "machinery/value/value.h"

namespace kubelet {

namespace fs = std::filesystem;
namespace value = machinery::value;
using std::chrono::seconds;

// One pod's worker: what is wanted, what was seen, where it stands.
struct Workers::Worker {
  explicit Worker(base::Executor& executor) : wake(executor) {}
  std::string uid;
  PodPtr pod;
  Phase phase = Phase::kSync;
  base::Event wake;
  bool dirty = true;           // something has happened since the last turn began
  bool observed_stale = true;  // ask the runtime before the next turn
  bool removed = false;        // nobody wants it any more
  bool admitted = false;
  bool acted = false;  // the last turn changed something in the runtime
  int64_t seen_ns = 0;
  ObservedPod observed;
  std::map<std::string, pod::WaitReason> reasons;
  volumes::Mounted mounted;
  base::MonoTime mounted_at{};
  bool content_stale = true;  // its files may not be what they should
  int mount_failures = 0;
  std::map<std::string, std::string> mount_texts;  // last error told per volume
  std::optional<int64_t> grace;                    // given to Evict
  std::string end_reason, end_message;
  int64_t killed_with_grace = -1;  // of the kill under way
  base::Context kill_ctx;
  int kill_failures = 0, group_failures = 0;
};

Workers::Workers(Tools tools, base::Context ctx)
    : tools_(std::move(tools)), scope_(tools_.loop, ctx), crash_backoff_(seconds(10), seconds(300)) {
  tools_.probes.on_change = [this](const std::string& uid) { Wake(uid); };
}

Workers::~Workers() = default;

base::Task<void> Workers::Stop() { co_await scope_.CancelAndJoin(); }

namespace {

// What of a pod object is somebody's wish: everything but the status and the traces of writing it.
std::string Fingerprint(const api::Pod& pod) {
  meta::ObjectMeta m = pod.metadata();
  m.clear_resourceversion();
  m.clear_managedfields();
  return Canonical(pod.spec()) + Canonical(m);
}

}  // namespace

void Workers::Update(PodPtr pod) {
  const std::string& uid = pod->metadata().uid();
  auto& w = workers_[uid];
  if (!w) {
    w = std::make_shared<Worker>(tools_.loop);
    w->uid = uid;
    w->pod = std::move(pod);
    w->seen_ns = Now();
    scope_.Spawn(Run(w));
    return;
  }
  bool same = Fingerprint(*w->pod) == Fingerprint(*pod);
  w->pod = std::move(pod);
  if (same) return;         // only its status, which is our own word
  w->content_stale = true;  // labels, annotations and amounts may stand in its files
  // A shorter grace period ends the kill that is under way; a new one begins with it.
  if (w->killed_with_grace >= 0 && w->pod->metadata().has_deletiontimestamp() &&
      GracePeriodOf(*w->pod) < w->killed_with_grace)
    w->kill_ctx.Cancel();
  Wake(uid);
}

void Workers::Remove(const std::string& uid) {
  auto it = workers_.find(uid);
  if (it == workers_.end() || it->second->removed) return;
  it->second->removed = true;
  Wake(uid);
}

void Workers::Evict(const std::string& uid, std::string reason, std::string message, std::optional<int64_t> grace) {
  auto it = workers_.find(uid);
  if (it == workers_.end() || !it->second->end_reason.empty()) return;
  it->second->end_reason = std::move(reason);
  it->second->end_message = std::move(message);
  it->second->grace = grace;
  Wake(uid);
}

void Workers::Observed(const std::string& uid, ObservedPod observed) {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return;
  it->second->observed = std::move(observed);
  it->second->observed_stale = false;
  Wake(uid);
}

void Workers::Wake(const std::string& uid) {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return;
  it->second->dirty = true;
  it->second->wake.NotifyAll();
}

void Workers::ContentChanged(const std::string& uid) {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return;
  it->second->content_stale = true;
  Wake(uid);
}

PodPtr Workers::Find(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it == workers_.end() ? nullptr : it->second->pod;
}

PodPtr Workers::FindByName(const std::string& ns, const std::string& name) const {
  for (const auto& [uid, w] : workers_)
    if (w->pod->metadata().name() == name && w->pod->metadata().namespace_() == ns) return w->pod;
  return nullptr;
}

const ObservedPod* Workers::ObservedOf(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it == workers_.end() ? nullptr : &it->second->observed;
}

std::vector<PodPtr> Workers::All() const {
  std::vector<PodPtr> out;
  for (const auto& [uid, w] : workers_) out.push_back(w->pod);
  return out;
}

std::vector<PodPtr> Workers::Active() const {
  std::vector<PodPtr> out;
  for (const auto& [uid, w] : workers_)
    if (w->phase == Phase::kSync && w->admitted && !pod::IsFinished(*w->pod)) out.push_back(w->pod);
  return out;
}

bool Workers::MayRun(const std::string& uid) const {
  auto it = workers_.find(uid);
  return it != workers_.end() && it->second->phase != Phase::kTerminated;
}

base::Task<void> Workers::Run(WorkerPtr w) {
  base::Context ctx = scope_.context();
  // A predecessor of the same name has to be gone first.
  while (ctx.status().ok()) {
    bool waits = false;
    for (const auto& [uid, other] : workers_)
      if (other != w && other->pod->metadata().name() == w->pod->metadata().name() &&
          other->pod->metadata().namespace_() == w->pod->metadata().namespace_() && other->seen_ns < w->seen_ns &&
          other->phase != Phase::kTerminated)
        waits = true;
    if (!waits || w->removed) break;
    if (!(co_await base::Sleep(tools_.loop, ctx, std::chrono::milliseconds(500))).ok()) break;
  }
  base::Random random = base::Random::System();
  while (ctx.status().ok()) {
    w->dirty = false;
    w->acted = false;
    Turn turn;
    if (w->observed_stale) turn.status = co_await Refresh(w);
    if (turn.status.ok()) {
      switch (w->phase) {
        case Phase::kSync:
          turn = co_await Sync(w);
          break;
        case Phase::kTerminating:
          turn = co_await Terminate(w);
          break;
        case Phase::kTerminated:
          turn = co_await CleanUp(w);
          break;
      }
    }
    if (!ctx.status().ok()) break;
    if (turn.ended) {
      if (w->phase == Phase::kTerminated) break;
      w->phase = w->phase == Phase::kSync ? Phase::kTerminating : Phase::kTerminated;
      continue;
    }
    if (!turn.status.ok())
      base::LogError("Error syncing pod, skipping", turn.status, {{"pod", FullName(*w->pod)}, {"podUID", w->uid}});
    // What was just done is looked at at once: a status step need not wait for the next relist.
    if (w->acted && turn.status.ok()) {
      base::Status s = co_await Refresh(w);
      if (s.ok()) continue;
    }
    base::Duration wait = turn.status.ok() ? tools_.sync_frequency : base::Duration(seconds(10));
    if (turn.again) wait = *turn.again;
    if (!turn.again)
      wait += base::Duration(static_cast<int64_t>(random.Unit() * 0.5 * static_cast<double>(wait.count())));
    if (!w->dirty) {
      base::Context timer = ctx.WithTimeout(tools_.loop, wait);
      (void)co_await w->wake.Wait(timer);
    }
  }
  if (w->phase != Phase::kTerminated || !ctx.status().ok()) co_return;
  tools_.probes.Remove(w->uid);
  auto it = workers_.find(w->uid);
  if (it != workers_.end() && it->second == w) workers_.erase(it);
  if (on_gone) on_gone(w->uid);
}

base::Task<base::Status> Workers::Refresh(WorkerPtr w) {
  CO_TRY_ASSIGN(ObservedPod observed, co_await runtimes::Observe(scope_.context(), tools_.runtime, w->uid));
  w->observed = std::move(observed);
  w->observed_stale = false;
  co_return base::Ok();
}

namespace {

// The last words of a container: its termination message file, else the end of its log where the pod asks for that. The
// pod may have made both what it likes: only plain files below its own directories count.
std::string TerminationMessage(const std::string& pod_directory, const std::string& logs, const api::Container& spec,
                               const ObservedContainer& c) {
  constexpr size_t kLongest = 4096;
  auto text = paths::ReadPlainFile(pod_directory, c.termination_file, kLongest);
  if (text && !text->empty()) return value::ToValidUtf8(*text);
  bool fall_back = spec.terminationmessagepolicy() == "FallbackToLogsOnError" && c.exit_code != 0;
  if (!fall_back || c.reason == "ContainerCannotRun") return "";
  auto log = paths::OpenPlainFile(logs, c.log_path, O_RDONLY, paths::Links::kNever);
  return log ? value::ToValidUtf8(lines::LastWords(log->get())) : "";
}

}  // namespace

api::PodStatus Workers::MakeStatus(Worker& w, bool terminal) {
  api::Pod known = *w.pod;
  bool ran_before = w.pod->status().phase() == "Running";
  if (const auto* last = tools_.statuses.Get(w.uid)) *known.mutable_status() = *last;
  pod::StatusInput in{.pod = known, .observed = w.observed, .reasons = w.reasons};
  in.terminal = terminal;
  in.runtime_name = tools_.runtime.name();
  in.node_name = tools_.node_name;
  in.host_ips = tools_.host_ips;
  in.now_ns = Now();
  plan::ProbeView view = tools_.probes.View(w.uid, *w.pod, w.observed);
  in.started.insert(view.started.begin(), view.started.end());
  in.ready = tools_.probes.Ready(*w.pod, w.observed);
  in.termination_message = [this, &w](const api::Container& spec, const ObservedContainer& c) {
    return TerminationMessage(tools_.volumes.PodDirectory(w.uid), settings().pod_logs_directory, spec, c);
  };
  if (ran_before) in.cgroup_memory_limit = tools_.cgroups.PodMemoryLimit(*w.pod);
  if (terminal || pod::IsFinished(known)) {
    // The group is gone by then; what it said last stays.
    if (!in.cgroup_memory_limit && known.status().resources().limits().contains("memory"))
      in.cgroup_memory_limit = WholeIn(known.status().resources().limits(), "memory");
  }
  in.failed_reason = w.end_reason;
  in.failed_message = w.end_message;
  return pod::MakeStatus(in);
}

base::Task<Workers::Turn> Workers::Sync(WorkerPtr w) {
  PodPtr pod = w->pod;
  if (w->removed || pod->metadata().has_deletiontimestamp()) co_return Turn{.ended = true};
  if (!w->admitted) {
    // What runs already has been admitted by an earlier kubelet; it is not judged again.
    if (w->observed.empty() && !pod::IsFinished(*pod)) {
      if (auto refused = tools_.admit(*pod)) {
        w->end_reason = refused->reason;
        w->end_message = "Pod was rejected: " + refused->message;
        tools_.events.Pod(*pod, "", "Warning", refused->reason, refused->message);
      }
    }
    w->admitted = true;
  }
  tools_.probes.Update(pod, w->observed);
  api::PodStatus status = MakeStatus(*w, false);
  if (!w->end_reason.empty()) co_return Turn{.ended = true};
  if (pod->spec().has_activedeadlineseconds() && status.has_starttime() &&
      Now() - NanosOf(status.starttime()) >= pod->spec().activedeadlineseconds() * 1'000'000'000) {
    w->end_reason = "DeadlineExceeded";
    w->end_message = "Pod was active on the node longer than the specified deadline";
    tools_.events.Pod(*pod, "", "Normal", w->end_reason, w->end_message);
    co_return Turn{.ended = true};
  }
  bool finished = status.phase() == "Failed" || status.phase() == "Succeeded";
  tools_.statuses.Set(*pod, status);
  if (finished) co_return Turn{.ended = true};
  std::string network = tools_.network_error ? tools_.network_error() : "";
  if (!network.empty() && !pod->spec().hostnetwork()) {
    tools_.events.Pod(*pod, "", "Warning", "NetworkNotReady", "network is not ready: " + network);
    co_return Turn{.status = base::Unavailable("network is not ready: " + network), .again = seconds(2)};
  }
  base::Status prepared = co_await Prepare(w);
  if (!prepared.ok()) {
    base::Duration again =
        std::min<base::Duration>(std::chrono::milliseconds(500) * (1 << std::min(w->mount_failures, 8)), seconds(122));
    co_return Turn{.status = prepared, .again = again};
  }
  if (w->removed || w->pod->metadata().has_deletiontimestamp()) co_return Turn{.ended = true};
  plan::Actions actions = plan::Compute(*w->pod, w->observed, tools_.probes.View(w->uid, *w->pod, w->observed));
  Turn turn{.status = co_await Execute(w, std::move(actions))};
  // Why a container does not start is shown now, not when it is tried again.
  if (!turn.status.ok() && w->phase == Phase::kSync) tools_.statuses.Set(*w->pod, MakeStatus(*w, false));
  if (pod->spec().has_activedeadlineseconds()) {
    int64_t left = NanosOf(status.starttime()) + pod->spec().activedeadlineseconds() * 1'000'000'000 - Now();
    if (left < 60'000'000'000) turn.again = std::chrono::nanoseconds(std::max<int64_t>(left, 100'000'000));
  }
  co_return turn;
}

// Groups, directories and volumes: what must be there before a container is made.
base::Task<base::Status> Workers::Prepare(WorkerPtr w) {
  PodPtr pod = w->pod;
  CO_TRY(tools_.cgroups.EnsurePod(*pod, tools_.pids_limit));
  const std::string directory = tools_.volumes.PodDirectory(w->uid);
  std::error_code ec;
  for (const char* sub : {"", "/volumes", "/plugins", "/containers"}) {
    fs::create_directories(directory + sub, ec);
    if (ec) co_return base::Unknown("making " + directory + sub + ": " + ec.message());
    chmod((directory + sub).c_str(), 0750);
  }
  // Set-up is repeated when something has changed and, for what no watch speaks of (tokens), about once a minute.
  bool fresh = !w->content_stale && tools_.loop.Now() - w->mounted_at < seconds(60) &&
               w->mounted.size() == static_cast<size_t>(pod->spec().volumes_size());
  if (fresh) co_return base::Ok();
  w->content_stale = false;
  volumes::Manager::Outcome outcome = co_await tools_.volumes.SetUp(scope_.context(), pod);
  bool running = w->observed.AnyRunning();
  for (const auto& e : outcome.errors) {
    std::string text = "MountVolume.SetUp failed for volume \"" + e.volume + "\" : " + std::string(e.status.message());
    if (w->mount_texts[e.volume] != text || w->mount_failures % 5 == 0)
      tools_.events.Pod(*pod, "", "Warning", "FailedMount", text);
    w->mount_texts[e.volume] = text;
  }
  if (!outcome.errors.empty()) {
    // A refresh that fails leaves running containers with what they have.
    if (running && !w->mounted.empty()) {
      w->mounted_at = tools_.loop.Now();
      co_return base::Ok();
    }
    ++w->mount_failures;
    w->content_stale = true;
    co_return base::Unavailable("unmounted volumes=[" + outcome.errors.front().volume +
                                "]: " + std::string(outcome.errors.front().status.message()));
  }
  w->mount_failures = 0;
  w->mounted = std::move(outcome.mounted);
  w->mounted_at = tools_.loop.Now();
  co_return base::Ok();
}

base::Task<base::Status> Workers::Execute(WorkerPtr w, plan::Actions actions) {
  if (actions.kill_pod) {
    bool replace = actions.create_sandbox && !actions.sandbox_id.empty();
    if (replace)
      tools_.events.Pod(*w->pod, "", "Normal", "SandboxChanged",
                        "Pod sandbox changed, it will be killed and re-created.");
    bool any = !w->observed.empty();
    if (any) {
      CO_TRY(co_await KillPod(w, std::nullopt, ""));
      w->acted = true;
    }
    if (!actions.create_sandbox) co_return base::Ok();
  }
  for (const auto& kill : actions.kill) {
    const ObservedContainer* c = w->observed.FindId(kill.id);
    if (!c) continue;
    int64_t grace = GracePeriodOf(*w->pod);
    ContainerPtr spec = FindContainer(*w->pod, kill.name);
    if (spec && kill.reason == plan::KillReason::kLiveness && spec->livenessprobe().has_terminationgraceperiodseconds())
      grace = spec->livenessprobe().terminationgraceperiodseconds();
    if (spec && kill.reason == plan::KillReason::kStartup && spec->startupprobe().has_terminationgraceperiodseconds())
      grace = spec->startupprobe().terminationgraceperiodseconds();
    co_await KillContainer(w, *c, {.grace = grace, .message = kill.message, .ctx = scope_.context()});
    w->acted = true;
  }
  std::string sandbox_id = actions.sandbox_id;
  if (actions.create_sandbox) {
    CO_TRY_ASSIGN(sandbox_id, co_await CreateSandbox(w, actions.attempt));
  } else if (!actions.kill.empty()) {
    CO_TRY(co_await Refresh(w));  // how they ended decides on the back-off below
  }
  base::Status first;
  for (const auto& name : actions.start_ephemeral) {
    base::Status s = co_await StartContainer(w, name, sandbox_id);
    if (!s.ok() && first.ok()) first = s;
  }
  for (const auto& name : actions.start_init) {
    base::Status s = co_await StartContainer(w, name, sandbox_id);
    if (!s.ok() && first.ok()) first = s;
  }
  for (const auto& name : actions.start) {
    if (w->pod->metadata().has_deletiontimestamp() || w->removed) co_return first;
    base::Status s = co_await StartContainer(w, name, sandbox_id);
    if (!s.ok() && first.ok()) first = s;
  }
  co_return first;
}

base::Task<base::Result<std::string>> Workers::CreateSandbox(WorkerPtr w, uint32_t attempt) {
  PodPtr pod = w->pod;
  pod::SandboxInput in{.pod = *pod, .node = settings()};
  in.attempt = attempt;
  in.cgroup_parent = tools_.cgroups.PodPath(*pod);
  in.seen_ns = w->seen_ns;
  if (IsStaticPod(*pod)) in.config_source = "file";
  auto config = pod::MakeSandbox(in);
  if (!config) {
    tools_.events.Pod(*pod, "", "Warning", "FailedCreatePodSandBox",
                      "Failed to create pod sandbox: " + std::string(config.error().message()));
    co_return base::Err(std::move(config.error()));
  }
  std::error_code ec;
  fs::create_directories(config->log_directory(), ec);
  cri::RunPodSandboxRequest request;
  *request.mutable_config() = std::move(*config);
  auto made = co_await tools_.runtime.RunPodSandbox(scope_.context(), std::move(request), std::chrono::minutes(2));
  w->acted = true;
  if (!made) {
    tools_.events.Pod(*pod, "", "Warning", "FailedCreatePodSandBox",
                      "Failed to create pod sandbox: " + runtimes::RpcErrorText(made.error()));
    w->acted = false;
    co_return base::Err(std::move(made.error()));
  }
  CO_TRY(co_await Refresh(w));
  // Those who wait for the network of a pod see it before its first container runs.
  if (const auto* last = tools_.statuses.Get(w->uid)) {
    api::PodStatus status = *last;
    api::PodCondition ready;
    ready.set_type("PodReadyToStartContainers");
    ready.set_status("True");
    ready.set_observedgeneration(pod->metadata().generation());
    pod::SetCondition(status, std::move(ready), Now());
    tools_.statuses.Set(*pod, std::move(status));
    scope_.Spawn(ShowAddress(w));
  }
  co_return made->pod_sandbox_id();
}

// The turn that made the sandbox goes on with images. Where that takes long, what waits for the address need not.
base::Task<void> Workers::ShowAddress(WorkerPtr w) {
  if (!(co_await base::Sleep(tools_.loop, scope_.context(), seconds(2))).ok()) co_return;
  const auto* last = tools_.statuses.Get(w->uid);
  if (!last || !last->podip().empty() || w->phase != Phase::kSync || w->observed.sandboxes.empty()) co_return;
  const auto& ips = w->pod->spec().hostnetwork() ? tools_.host_ips : w->observed.sandboxes.front().ips;
  if (ips.empty()) co_return;
  api::PodStatus status = *last;
  status.set_podip(ips.front());
  for (const auto& ip : ips) status.add_podips()->set_ip(ip);
  tools_.statuses.Set(*w->pod, std::move(status));
}

namespace {

std::string BackoffKey(const api::Pod& pod, const api::Container& c) {
  return fmt::format("{}_{}_{}_{}_{:x}", pod.metadata().name(), pod.metadata().namespace_(), RuntimeUid(pod), c.name(),
                     HashOf(c));
}

// How often a container was started before, by its logs, where the runtime has forgotten it.
uint32_t CountByLogs(const std::string& directory) {
  std::error_code ec;
  int64_t last = -1;
  for (const auto& entry : fs::directory_iterator(directory, ec))
    last = std::max<int64_t>(last, atoll(entry.path().filename().c_str()));
  return static_cast<uint32_t>(last + 1);
}

}  // namespace

// True (with reason and event) while a crashed container has to wait.
bool Workers::InCrashBackoff(Worker& w, const api::Container& c) {
  const ObservedContainer* last = w.observed.Find(c.name());
  if (!last || last->state != ContainerState::kExited) return false;
  std::string key = BackoffKey(*w.pod, c);
  int64_t now = Now();
  if (!crash_backoff_.InBackoffSince(key, last->finished_at, now)) {
    crash_backoff_.Next(key, last->finished_at, now);
    crash_backoff_.Collect(now);
    return false;
  }
  tools_.events.Pod(*w.pod, c.name(), "Warning", "BackOff",
                    "Back-off restarting failed container " + c.name() + " in pod " + FormatPod(*w.pod));
  w.reasons[c.name()] = {"CrashLoopBackOff", "back-off " + base::FormatGoDuration(crash_backoff_.Get(key)) +
                                                 " restarting failed container=" + c.name() +
                                                 " pod=" + FormatPod(*w.pod)};
  return true;
}

base::Task<base::Status> Workers::StartContainer(WorkerPtr w, std::string name, std::string sandbox_id) {
  PodPtr pod = w->pod;
  ContainerPtr spec = FindContainer(*pod, name);
  if (!spec) co_return base::Ok();  // the pod has changed meanwhile
  const api::Container& c = *spec;
  if (InCrashBackoff(*w, c)) co_return base::Unavailable("CrashLoopBackOff: " + w->reasons[name].message);
  auto fail = [&](std::string reason, std::string message) {
    w->reasons[name] = {reason, message};
    return base::Unknown(reason + ": " + message);
  };
  pod::SandboxInput sandbox_in{.pod = *pod, .node = settings()};
  sandbox_in.cgroup_parent = tools_.cgroups.PodPath(*pod);
  sandbox_in.seen_ns = w->seen_ns;
  for (const auto& s : w->observed.sandboxes)
    if (s.id == sandbox_id) sandbox_in.attempt = s.attempt;
  auto sandbox = pod::MakeSandbox(sandbox_in);
  if (!sandbox) co_return fail("CreateContainerConfigError", std::string(sandbox.error().message()));

  std::vector<cri::AuthConfig> credentials;
  if (tools_.pull_credentials && !pod->spec().imagepullsecrets().empty())
    credentials = co_await tools_.pull_credentials(scope_.context(), pod);
  Images::Outcome image = co_await tools_.images.Ensure(scope_.context(), pod, c, *sandbox, std::move(credentials));
  if (!image.image) {
    tools_.events.Pod(*pod, name, "Warning", "Failed", "Error: " + image.wait.reason);
    co_return fail(image.wait.reason, image.wait.message);
  }
  const ObservedContainer* last = w->observed.Find(name);
  uint32_t restart_count = last ? static_cast<uint32_t>(last->restart_count) + 1
                                : CountByLogs(pod::LogDirectory(*pod, settings()) + "/" + name);
  auto config = co_await Configure(w, c, *image.image, restart_count);
  if (!config) {
    std::string text(config.error().message());
    tools_.events.Pod(*pod, name, "Warning", "Failed", "Error: " + text);
    co_return fail("CreateContainerConfigError", text);
  }
  cri::CreateContainerRequest create;
  create.set_pod_sandbox_id(sandbox_id);
  std::string log_path = sandbox->log_directory() + "/" + config->log_path();
  std::error_code ec;
  fs::create_directories(fs::path(log_path).parent_path(), ec);
  *create.mutable_config() = std::move(*config);
  *create.mutable_sandbox_config() = std::move(*sandbox);
  auto created = co_await tools_.runtime.CreateContainer(scope_.context(), std::move(create));
  w->acted = true;
  if (!created) {
    std::string text(created.error().message());
    tools_.events.Pod(*pod, name, "Warning", "Failed", "Error: " + text);
    w->acted = false;
    co_return fail("CreateContainerError", text);
  }
  tools_.events.Pod(*pod, name, "Normal", "Created", "Container created");
  const std::string id = created->container_id();
  cri::StartContainerRequest start;
  start.set_container_id(id);
  auto started = co_await tools_.runtime.StartContainer(scope_.context(), std::move(start));
  if (!started) {
    std::string text(started.error().message());
    tools_.events.Pod(*pod, name, "Warning", "Failed", "Error: " + text);
    co_return fail("RunContainerError", text);
  }
  tools_.events.Pod(*pod, name, "Normal", "Started", "Container started");
  w->reasons.erase(name);
  if (!tools_.container_logs_directory.empty()) {
    // Log collectors look for <pod>_<namespace>_<container>-<id>.log.
    fs::create_directories(tools_.container_logs_directory, ec);
    fs::create_symlink(log_path,
                       tools_.container_logs_directory + "/" + pod->metadata().name() + "_" +
                           pod->metadata().namespace_() + "_" + name + "-" + id + ".log",
                       ec);
  }
  co_return co_await PostStart(w, c, id);
}

base::Task<base::Result<cri::ContainerConfig>> Workers::Configure(WorkerPtr w, const api::Container& c,
                                                                  const cri::Image& image, uint32_t restart_count) {
  PodPtr pod = w->pod;
  auto services = tools_.services();
  if (!services)
    co_return base::Err(base::Unavailable("services have not yet been read at least once, cannot construct envvars"));
  bool links = !pod->spec().has_enableservicelinks() || pod->spec().enableservicelinks();
  NodeFacts facts = tools_.source.FactsFor(*pod);
  if (!w->observed.sandboxes.empty()) facts.pod_ips = w->observed.sandboxes.front().ips;
  if (pod->spec().hostnetwork()) facts.pod_ips = tools_.host_ips;
  auto env = co_await pod::MakeEnvironment(scope_.context(), pod, c.name(),
                                           pod::ServiceEnvironment(*services, pod->metadata().namespace_(), links),
                                           tools_.source, facts);
  if (!env) co_return base::Err(std::move(env.error()));
  CO_TRY_ASSIGN(auto mounts, co_await Mounts(w, c, *env));
  const std::string directory = tools_.volumes.PodDirectory(w->uid);
  std::string hosts;
  if (pod->spec().hostnetwork()) hosts = base::ReadFile(base::PosixFileSystem(), "/etc/hosts").value_or("");
  std::string hosts_file = directory + "/etc-hosts";
  CO_TRY(paths::WriteOwnFile(hosts_file, pod::HostsFile(*pod, facts.pod_ips, settings(), hosts), 0644));
  auto add = [&](const std::string& inside, const std::string& outside) {
    if (std::ranges::any_of(mounts, [&](const auto& m) { return m.container_path() == inside; })) return;
    cri::Mount m;
    m.set_container_path(inside);
    m.set_host_path(outside);
    mounts.push_back(std::move(m));
  };
  add("/etc/hosts", hosts_file);
  if (!c.terminationmessagepath().empty()) {
    const std::string own = directory + "/containers/" + c.name() + "/";
    std::error_code ec;
    fs::create_directories(own, ec);
    base::Random random = base::Random::System();
    std::string name = fmt::format("{:08x}", random.Below(1ull << 32));
    CO_TRY(paths::WriteOwnFile(own + name, "", 0666));
    add(c.terminationmessagepath(), own + name);
  }
  pod::ContainerInput in{.pod = *pod, .container = c, .node = settings()};
  for (const auto& e : pod->spec().ephemeralcontainers()) {
    if (e.ephemeralcontainercommon().name() != c.name() || e.targetcontainername().empty()) continue;
    const ObservedContainer* target = w->observed.Find(e.targetcontainername());
    if (!target) co_return base::Err(base::NotFound("unable to find target container " + e.targetcontainername()));
    in.target_container_id = target->id;
  }
  in.image_id = image.id();
  in.image = &image;
  in.restart_count = restart_count;
  in.env = std::move(*env);
  in.mounts = std::move(mounts);
  co_return pod::MakeContainer(in);
}

base::Task<base::Result<std::vector<cri::Mount>>> Workers::Mounts(WorkerPtr w, const api::Container& c,
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
    m.set_readonly(mount.readonly() || volume->second.read_only);
    if (mount.mountpropagation() == "HostToContainer") m.set_propagation(cri::PROPAGATION_HOST_TO_CONTAINER);
    if (mount.mountpropagation() == "Bidirectional") m.set_propagation(cri::PROPAGATION_BIDIRECTIONAL);
    out.push_back(std::move(m));
  }
  co_return out;
}

namespace {

// Runs one lifecycle handler; OK, or its failure in words.
base::Task<base::Status> RunHandler(base::Loop& loop, base::Context ctx, runtimes::Runtime& runtime,
                                    const api::LifecycleHandler handler, const api::Container container, std::string id,
                                    std::string pod_ip, base::Duration timeout) {
  checks::Outcome o;
  if (handler.has_exec()) {
    std::vector<std::string> command(handler.exec().command().begin(), handler.exec().command().end());
    o = co_await checks::Exec(ctx, runtime, id, std::move(command), timeout);
  } else if (handler.has_httpget()) {
    CO_TRY_ASSIGN(checks::HttpTarget target, checks::TargetOf(handler.httpget(), container, pod_ip));
    target.user_agent = "kube-lifecycle/1.36";
    o = co_await checks::HttpGet(loop, ctx, std::move(target), timeout, checks::Judge::kAnswer);
  } else if (handler.has_tcpsocket()) {
    CO_TRY_ASSIGN(int port, checks::PortOf(handler.tcpsocket().port(), container));
    o = co_await checks::TcpConnect(loop, ctx, pod_ip, port, timeout);
  } else if (handler.has_sleep()) {
    co_return co_await base::Sleep(loop, ctx, seconds(handler.sleep().seconds()));
  } else {
    co_return base::Ok();
  }
  if (o.verdict == checks::Verdict::kSuccess) co_return base::Ok();
  co_return base::Unknown(o.output);
}

std::string PodIp(const ObservedPod& observed, const std::vector<std::string>& host_ips) {
  if (!observed.sandboxes.empty() && !observed.sandboxes.front().ips.empty())
    return observed.sandboxes.front().ips.front();
  return host_ips.empty() ? "127.0.0.1" : host_ips.front();
}

}  // namespace

base::Task<base::Status> Workers::PostStart(WorkerPtr w, const api::Container& c, std::string id) {
  if (!c.lifecycle().has_poststart()) co_return base::Ok();
  PodPtr pod = w->pod;
  api::Container container = c;
  base::Status s = co_await RunHandler(tools_.loop, scope_.context(), tools_.runtime, container.lifecycle().poststart(),
                                       container, id, PodIp(w->observed, tools_.host_ips), std::chrono::minutes(10));
  if (s.ok()) co_return s;
  tools_.events.Pod(*pod, container.name(), "Warning", "FailedPostStartHook", "PostStartHook failed");
  ObservedContainer seen;
  seen.id = id;
  seen.name = container.name();
  co_await KillContainer(w, seen,
                         {.grace = GracePeriodOf(*pod), .message = "FailedPostStartHook", .ctx = scope_.context()});
  w->reasons[container.name()] = {"PostStartHookError", std::string(s.message())};
  co_return base::Unknown("PostStartHookError: " + std::string(s.message()));
}

base::Task<void> Workers::PreStop(WorkerPtr w, api::LifecycleHandler handler, const ObservedContainer& c,
                                  int64_t grace) {
  PodPtr pod = w->pod;
  api::Container container;
  if (auto spec = FindContainer(*pod, c.name)) container = *spec;
  base::Context bounded = scope_.context().WithTimeout(tools_.loop, seconds(grace));
  std::string id = c.id, name = c.name;
  base::Status s = co_await RunHandler(tools_.loop, bounded, tools_.runtime, std::move(handler), container, id,
                                       PodIp(w->observed, tools_.host_ips), seconds(grace));
  if (!s.ok() && scope_.context().status().ok())
    tools_.events.Pod(*pod, name, "Warning", "FailedPreStopHook", "PreStopHook failed");
}

base::Task<void> Workers::KillContainer(WorkerPtr w, ObservedContainer c, Killing how) {
  PodPtr pod = w->pod;
  if (how.message.empty()) how.message = "Stopping container " + c.name;
  tools_.events.Pod(*pod, c.name, "Normal", "Killing", how.message);
  const base::MonoTime begun = tools_.loop.Now();
  ContainerPtr spec = FindContainer(*pod, c.name);
  if (spec && spec->lifecycle().has_prestop() && how.grace > 0)
    co_await PreStop(w, spec->lifecycle().prestop(), c, how.grace);
  auto left = [&] { return seconds(how.grace) - (tools_.loop.Now() - begun); };
  if (how.order && left().count() > 0) co_await how.order->WaitForTurn(how.ctx, c.name, left());
  // The time of the hook and of the others counts, but a process always gets a moment to end by itself.
  bool forced = pod->metadata().has_deletiontimestamp() && GracePeriodOf(*pod) == 0;
  int64_t grace = std::max<int64_t>(std::chrono::ceil<seconds>(left()).count(), forced ? 0 : 2);
  cri::StopContainerRequest request;
  request.set_container_id(c.id);
  request.set_timeout(grace);
  auto stopped = co_await tools_.runtime.StopContainer(how.ctx, std::move(request), seconds(grace));
  if (how.order) how.order->Ended(c.name);
  if (!stopped && stopped.error().code() != base::Code::kNotFound && how.ctx.status().ok())
    base::LogError("Kill container failed", stopped.error(), {{"pod", FullName(*pod)}, {"containerName", c.name}});
}

base::Task<base::Status> Workers::KillPod(WorkerPtr w, std::optional<int64_t> grace, std::string why) {
  const int64_t period = grace.value_or(GracePeriodOf(*w->pod));
  w->killed_with_grace = period;
  w->kill_ctx = scope_.context().WithCancel();
  std::vector<ObservedContainer> running;
  std::vector<std::string> names;
  for (const auto& c : w->observed.containers) {
    if (c.state != ContainerState::kRunning && c.state != ContainerState::kUnknown) continue;
    running.push_back(c);
    names.push_back(c.name);
  }
  TerminationOrder order(tools_.loop, *w->pod, names);
  base::TaskScope kills(tools_.loop, w->kill_ctx);
  for (const auto& c : running)
    kills.Spawn(KillContainer(w, c, {.grace = period, .message = why, .ctx = w->kill_ctx, .order = &order}));
  co_await kills.Join();
  bool interrupted = !w->kill_ctx.status().ok();
  w->killed_with_grace = -1;
  w->kill_ctx = base::Context();
  if (interrupted) co_return base::Aborted("a shorter grace period was given");
  base::Status out;
  const auto sandboxes = w->observed.sandboxes;  // what is observed may change while we wait
  for (const auto& s : sandboxes) {
    cri::StopPodSandboxRequest request;
    request.set_pod_sandbox_id(s.id);
    auto stopped = co_await tools_.runtime.StopPodSandbox(scope_.context(), std::move(request));
    if (!stopped && stopped.error().code() != base::Code::kNotFound) {
      out = stopped.error();
      tools_.events.Pod(*w->pod, "", "Warning", "FailedKillPod",
                        "error killing pod: " + runtimes::RpcErrorText(stopped.error()));
    }
  }
  co_return out;
}

base::Task<Workers::Turn> Workers::Terminate(WorkerPtr w) {
  tools_.probes.StopLiveness(w->uid);
  tools_.statuses.Set(*w->pod, MakeStatus(*w, false));
  std::optional<int64_t> grace = w->grace;
  if (w->pod->metadata().has_deletiongraceperiodseconds() &&
      (!grace || w->pod->metadata().deletiongraceperiodseconds() < *grace))
    grace = w->pod->metadata().deletiongraceperiodseconds();
  base::Status killed = co_await KillPod(w, grace, "");
  base::Status seen = co_await Refresh(w);
  if (killed.code() == base::Code::kAborted) co_return Turn{.again = base::Duration(0)};
  if (!killed.ok() || !seen.ok() || w->observed.AnyRunning()) {
    base::Duration again = std::min<base::Duration>(seconds(1) * (1 << std::min(w->kill_failures++, 4)), seconds(10));
    co_return Turn{.status = !killed.ok() ? killed
                             : !seen.ok() ? seen
                                          : base::Unavailable("containers still run"),
                   .again = again};
  }
  tools_.probes.Remove(w->uid);
  tools_.statuses.Set(*w->pod, MakeStatus(*w, true));
  co_return Turn{.ended = true};
}

// Volumes, groups and, for pods that leave, the runtime's records.
base::Task<Workers::Turn> Workers::CleanUp(WorkerPtr w) {
  bool leaves = w->removed || w->pod->metadata().has_deletiontimestamp();
  base::Status volumes = co_await tools_.volumes.TearDown(w->uid);
  if (!volumes.ok()) co_return Turn{.status = volumes, .again = seconds(2)};
  base::Status groups = tools_.cgroups.RemovePod(w->uid);
  if (!groups.ok() && w->group_failures++ < 5) {
    base::LogV(2, "A pod's control group is still in use", {{"podUID", w->uid}, {"err", groups}});
    co_return Turn{.again = seconds(1)};
  }
  tools_.statuses.Finished(w->uid);
  // A finished pod keeps its containers (logs are read from them) until it is deleted.
  if (!leaves) co_return Turn{.again = std::chrono::minutes(10)};
  const ObservedPod last = w->observed;  // what is observed may change while we wait
  for (const auto& c : last.containers) {
    cri::RemoveContainerRequest request;
    request.set_container_id(c.id);
    (void)co_await tools_.runtime.RemoveContainer(scope_.context(), std::move(request));
  }
  for (const auto& s : last.sandboxes) {
    cri::RemovePodSandboxRequest request;
    request.set_pod_sandbox_id(s.id);
    (void)co_await tools_.runtime.RemovePodSandbox(scope_.context(), std::move(request));
  }
  base::Status logs = paths::RemoveTree(pod::LogDirectory(*w->pod, settings()));
  if (!logs.ok()) base::LogError("The logs of a pod could not be removed", logs, {{"pod", FullName(*w->pod)}});
  // Until the API has let go of it the pod is known here: it must not look new.
  if (!w->removed) co_return Turn{.again = seconds(5)};
  co_return Turn{.ended = true};
}

base::Task<void> Workers::KillOrphan(base::Context ctx, ObservedPod observed) {
  base::LogInfo("Stopping what no pod wants any more",
                {{"pod", observed.namespace_name + "/" + observed.name}, {"podUID", observed.uid}});
  for (const auto& c : observed.containers) {
    if (c.state == ContainerState::kRunning) {
      cri::StopContainerRequest request;
      request.set_container_id(c.id);
      request.set_timeout(30);
      (void)co_await tools_.runtime.StopContainer(ctx, std::move(request), seconds(30));
    }
    cri::RemoveContainerRequest remove;
    remove.set_container_id(c.id);
    (void)co_await tools_.runtime.RemoveContainer(ctx, std::move(remove));
  }
  for (const auto& s : observed.sandboxes) {
    cri::StopPodSandboxRequest stop;
    stop.set_pod_sandbox_id(s.id);
    (void)co_await tools_.runtime.StopPodSandbox(ctx, std::move(stop));
    cri::RemovePodSandboxRequest remove;
    remove.set_pod_sandbox_id(s.id);
    (void)co_await tools_.runtime.RemovePodSandbox(ctx, std::move(remove));
  }
}

}  // namespace kubelet
