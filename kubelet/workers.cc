#include "kubelet/workers.h"

#include <algorithm>

#include "base/log.h"
#include "kubelet/model/resources.h"
#include "machinery/value/value.h"

namespace kubelet {

using std::chrono::seconds;

Workers::Workers(Tools tools, base::Context ctx)
    : tools_(std::move(tools)),
      scope_(tools_.executor, ctx),
      hooks_(tools_, scope_.context()),
      killer_(tools_, hooks_, scope_.context()),
      sandboxes_(tools_, scope_),
      starter_(tools_, sandboxes_, hooks_, killer_, scope_.context()) {
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
    w = std::make_shared<Worker>(tools_.executor);
    w->uid = uid;
    w->pod = std::move(pod);
    w->seen_ns = tools_.Now();
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

void Workers::Observed(const std::string& uid, ObservedPod observed, base::MonoTime asked) {
  auto it = workers_.find(uid);
  if (it == workers_.end()) return;
  Worker& w = *it->second;
  w.observed_stale = w.in_turn || asked < w.turn_ended;
  if (asked >= w.turn_ended) w.observed = std::move(observed);
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

// A predecessor of the same name has to be gone first.
base::Task<void> Workers::WaitForPredecessor(WorkerPtr w) {
  auto precedes = [&](const Worker& other) {
    const auto &m = w->pod->metadata(), &o = other.pod->metadata();
    return o.name() == m.name() && o.namespace_() == m.namespace_() && other.seen_ns < w->seen_ns &&
           other.phase != Phase::kTerminated;
  };
  while (!w->removed &&
         std::ranges::any_of(workers_, [&](const auto& e) { return e.second != w && precedes(*e.second); }))
    if (!(co_await base::Sleep(tools_.executor, scope_.context(), std::chrono::milliseconds(500))).ok()) co_return;
}

base::Task<Workers::Turn> Workers::TakeTurn(WorkerPtr w) {
  w->dirty = false;
  w->acted = false;
  if (w->observed_stale)
    if (base::Status seen = co_await Refresh(scope_.context(), tools_.runtime, w); !seen.ok())
      co_return Turn{.status = seen};
  switch (w->phase) {
    case Phase::kSync:
      co_return co_await Sync(w);
    case Phase::kTerminating:
      co_return co_await Terminate(w);
    case Phase::kTerminated:
      break;
  }
  co_return co_await CleanUp(w);
}

base::Task<void> Workers::WaitForNext(WorkerPtr w, const Turn& turn) {
  base::Duration wait = turn.status.ok() ? tools_.sync_frequency : base::Duration(seconds(10));
  if (turn.again)
    wait = *turn.again;
  else
    wait += base::Duration(static_cast<int64_t>(tools_.random.Unit() * 0.5 * static_cast<double>(wait.count())));
  if (w->dirty) co_return;
  (void)co_await w->wake.Wait(scope_.context().WithTimeout(tools_.executor, wait));
}

base::Task<void> Workers::Run(WorkerPtr w) {
  base::Context ctx = scope_.context();
  co_await WaitForPredecessor(w);
  while (ctx.status().ok()) {
    w->in_turn = true;
    Turn turn = co_await TakeTurn(w);
    w->in_turn = false;
    w->turn_ended = tools_.executor.Now();
    // A call that failed may have had its effect all the same.
    if (w->acted || !turn.status.ok()) w->observed_stale = true;
    if (!ctx.status().ok()) break;
    if (turn.ended) {
      if (w->phase == Phase::kTerminated) break;
      w->phase = w->phase == Phase::kSync ? Phase::kTerminating : Phase::kTerminated;
      continue;
    }
    if (!turn.status.ok())
      base::LogError("Error syncing pod, skipping", turn.status, {{"pod", FullName(*w->pod)}, {"podUID", w->uid}});
    // What was just done is looked at at once: a status step need not wait for the next relist.
    if (w->acted && turn.status.ok())
      if ((co_await Refresh(ctx, tools_.runtime, w)).ok()) continue;
    co_await WaitForNext(w, turn);
  }
  if (w->phase != Phase::kTerminated || !ctx.status().ok()) co_return;
  tools_.probes.Remove(w->uid);
  auto it = workers_.find(w->uid);
  if (it != workers_.end() && it->second == w) workers_.erase(it);
  if (on_gone) on_gone(w->uid);
}

// The last words of a container: its termination message file, else the end of its log where the pod asks for that. The
// pod may have made both what it likes: only plain files below its own directories count.
std::string Workers::LastWords(const std::string& uid, const api::Container& spec, const ObservedContainer& c) const {
  constexpr size_t kLongest = 4096;
  auto text = tools_.host.ReadPlain(tools_.volumes.PodDirectory(uid), c.termination_file, kLongest);
  if (text && !text->empty()) return machinery::value::ToValidUtf8(*text);
  bool fall_back = spec.terminationmessagepolicy() == "FallbackToLogsOnError" && c.exit_code != 0;
  if (!fall_back || c.reason == "ContainerCannotRun") return "";
  auto log = tools_.host.LastWords(tools_.settings.pod_logs_directory, c.log_path);
  return log ? machinery::value::ToValidUtf8(*log) : "";
}

api::PodStatus Workers::MakeStatus(Worker& w, bool terminal) {
  api::Pod known = *w.pod;
  bool ran_before = w.pod->status().phase() == "Running";
  if (const auto* last = tools_.statuses.Get(w.uid)) *known.mutable_status() = *last;
  pod::StatusInput in{.pod = known, .observed = w.observed, .reasons = w.reasons};
  in.terminal = terminal;
  in.runtime_name = tools_.runtime.name();
  in.node_name = tools_.node_name;
  in.host_ips = tools_.host_ips;
  in.now_ns = tools_.Now();
  plan::ProbeView view = tools_.probes.View(w.uid, *w.pod, w.observed);
  in.started.insert(view.started.begin(), view.started.end());
  in.ready = tools_.probes.Ready(*w.pod, w.observed);
  in.termination_message = [this, &w](const api::Container& spec, const ObservedContainer& c) {
    return LastWords(w.uid, spec, c);
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

void Workers::Admit(Worker& w) {
  if (w.admitted) return;
  // What runs already has been admitted by an earlier kubelet; it is not judged again.
  bool judged = !w.observed.empty() || pod::IsFinished(*w.pod);
  auto refused = judged ? std::nullopt : tools_.admit(*w.pod);
  w.admitted = true;  // not before: it would count among those that leave no room for it
  if (!refused) return;
  w.end_reason = refused->reason;
  w.end_message = "Pod was rejected: " + refused->message;
  tools_.events.Pod(*w.pod, "", "Warning", refused->reason, refused->message);
}

bool Workers::PastDeadline(Worker& w, const api::PodStatus& status) {
  const auto& spec = w.pod->spec();
  if (!spec.has_activedeadlineseconds() || !status.has_starttime() ||
      tools_.Now() - NanosOf(status.starttime()) < spec.activedeadlineseconds() * 1'000'000'000)
    return false;
  w.end_reason = "DeadlineExceeded";
  w.end_message = "Pod was active on the node longer than the specified deadline";
  tools_.events.Pod(*w.pod, "", "Normal", w.end_reason, w.end_message);
  return true;
}

base::Task<Workers::Turn> Workers::Sync(WorkerPtr w) {
  PodPtr pod = w->pod;
  if (w->leaves()) co_return Turn{.ended = true};
  Admit(*w);
  tools_.probes.Update(pod, w->observed);
  api::PodStatus status = MakeStatus(*w, false);
  if (!w->end_reason.empty() || PastDeadline(*w, status)) co_return Turn{.ended = true};
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
  if (w->leaves()) co_return Turn{.ended = true};
  co_return co_await Act(w, status);
}

base::Task<Workers::Turn> Workers::Act(WorkerPtr w, const api::PodStatus& status) {
  PodPtr pod = w->pod;
  plan::Actions actions = plan::Compute(*pod, w->observed, tools_.probes.View(w->uid, *pod, w->observed));
  Turn turn{.status = co_await Execute(w, std::move(actions))};
  // Why a container does not start is shown now, not when it is tried again.
  if (!turn.status.ok() && w->phase == Phase::kSync) tools_.statuses.Set(*w->pod, MakeStatus(*w, false));
  if (pod->spec().has_activedeadlineseconds()) {
    int64_t left = NanosOf(status.starttime()) + pod->spec().activedeadlineseconds() * 1'000'000'000 - tools_.Now();
    if (left < 60'000'000'000) turn.again = std::chrono::nanoseconds(std::max<int64_t>(left, 100'000'000));
  }
  co_return turn;
}

// Groups, directories and volumes: what must be there before a container is made.
base::Task<base::Status> Workers::Prepare(WorkerPtr w) {
  PodPtr pod = w->pod;
  CO_TRY(tools_.cgroups.EnsurePod(*pod, tools_.pids_limit));
  const std::string directory = tools_.volumes.PodDirectory(w->uid);
  for (const char* sub : {"", "/volumes", "/plugins", "/containers"})
    CO_TRY(tools_.host.MakeDirectory(directory + sub, 0750));
  // Set-up is repeated when something has changed and, for what no watch speaks of (tokens), about once a minute.
  bool fresh = !w->content_stale && tools_.executor.Now() - w->mounted_at < seconds(60) &&
               w->mounted.size() == static_cast<size_t>(pod->spec().volumes_size());
  if (fresh) co_return base::Ok();
  co_return co_await SetUpVolumes(w);
}

base::Task<base::Status> Workers::SetUpVolumes(WorkerPtr w) {
  PodPtr pod = w->pod;
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
      w->mounted_at = tools_.executor.Now();
      co_return base::Ok();
    }
    ++w->mount_failures;
    w->content_stale = true;
    co_return base::Unavailable("unmounted volumes=[" + outcome.errors.front().volume +
                                "]: " + std::string(outcome.errors.front().status.message()));
  }
  w->mount_failures = 0;
  w->mounted = std::move(outcome.mounted);
  w->mounted_at = tools_.executor.Now();
  co_return base::Ok();
}

base::Task<void> Workers::KillSome(WorkerPtr w, std::vector<plan::Kill> kills) {
  for (const auto& kill : kills) {
    const ObservedContainer* c = w->observed.FindId(kill.id);
    if (!c) continue;
    int64_t grace = GracePeriodOf(*w->pod);
    ContainerPtr spec = FindContainer(*w->pod, kill.name);
    if (spec && kill.reason == plan::KillReason::kLiveness && spec->livenessprobe().has_terminationgraceperiodseconds())
      grace = spec->livenessprobe().terminationgraceperiodseconds();
    if (spec && kill.reason == plan::KillReason::kStartup && spec->startupprobe().has_terminationgraceperiodseconds())
      grace = spec->startupprobe().terminationgraceperiodseconds();
    co_await killer_.KillContainer(w, *c, {.grace = grace, .message = kill.message, .ctx = scope_.context()});
    w->acted = true;
  }
}

base::Task<base::Status> Workers::Execute(WorkerPtr w, plan::Actions actions) {
  if (actions.kill_pod) {
    bool replace = actions.create_sandbox && !actions.sandbox_id.empty();
    if (replace)
      tools_.events.Pod(*w->pod, "", "Normal", "SandboxChanged",
                        "Pod sandbox changed, it will be killed and re-created.");
    bool any = !w->observed.empty();
    if (any) {
      CO_TRY(co_await killer_.KillPod(w, std::nullopt));
      w->acted = true;
    }
    if (!actions.create_sandbox) co_return base::Ok();
  }
  const int64_t kill_began = tools_.Now();
  co_await KillSome(w, actions.kill);
  std::string sandbox_id = actions.sandbox_id;
  if (actions.create_sandbox) {
    CO_TRY_ASSIGN(sandbox_id, co_await sandboxes_.Create(w, actions.attempt));
  } else if (!actions.kill.empty()) {
    CO_TRY(co_await Refresh(scope_.context(), tools_.runtime, w));  // how they ended decides on the back-off below
    // What ended by itself before it could be killed: whether it starts again is for the next turn to say.
    std::erase_if(actions.start, [&](const std::string& name) {
      const ObservedContainer* c = w->observed.Find(name);
      return c && c->state == ContainerState::kExited && c->finished_at < kill_began &&
             std::ranges::any_of(actions.kill, [&](const plan::Kill& kill) { return kill.id == c->id; });
    });
  }
  base::Status first;
  for (const auto& name : actions.start_ephemeral) {
    base::Status s = co_await starter_.Start(w, name, sandbox_id);
    if (!s.ok() && first.ok()) first = s;
  }
  for (const auto& name : actions.start_init) {
    base::Status s = co_await starter_.Start(w, name, sandbox_id);
    if (!s.ok() && first.ok()) first = s;
  }
  for (const auto& name : actions.start) {
    if (w->leaves()) co_return first;
    base::Status s = co_await starter_.Start(w, name, sandbox_id);
    if (!s.ok() && first.ok()) first = s;
  }
  co_return first;
}

base::Task<Workers::Turn> Workers::Terminate(WorkerPtr w) {
  tools_.probes.StopLiveness(w->uid);
  tools_.statuses.Set(*w->pod, MakeStatus(*w, false));
  std::optional<int64_t> grace = w->grace;
  if (w->pod->metadata().has_deletiongraceperiodseconds() &&
      (!grace || w->pod->metadata().deletiongraceperiodseconds() < *grace))
    grace = w->pod->metadata().deletiongraceperiodseconds();
  base::Status killed = co_await killer_.KillPod(w, grace);
  base::Status seen = co_await Refresh(scope_.context(), tools_.runtime, w);
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
  const bool leaves = w->leaves();
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
  co_await killer_.RemoveRecords(w->observed);
  base::Status logs = tools_.host.RemoveTree(pod::LogDirectory(*w->pod, tools_.settings));
  if (!logs.ok()) base::LogError("The logs of a pod could not be removed", logs, {{"pod", FullName(*w->pod)}});
  // Until the API has let go of it the pod is known here: it must not look new.
  if (!w->removed) co_return Turn{.again = seconds(5)};
  co_return Turn{.ended = true};
}

}  // namespace kubelet
