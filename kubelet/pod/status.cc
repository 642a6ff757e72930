#include "kubelet/pod/status.h"

#include <algorithm>

#include "base/strings.h"
#include "kubelet/model/resources.h"

namespace kubelet::pod {
namespace {

using Statuses = google::protobuf::RepeatedPtrField<api::ContainerStatus>;

void ToState(const StatusInput& in, const api::Container& spec, const ObservedContainer& c, api::ContainerState& out) {
  switch (c.state) {
    case ContainerState::kRunning:
      *out.mutable_running()->mutable_startedat() = TimeOf(c.started_at);
      return;
    case ContainerState::kCreated:
    case ContainerState::kUnknown:
      // Made, but its start has not been seen: it looks as one that is being made.
      out.mutable_waiting()->set_reason("ContainerCreating");
      return;
    case ContainerState::kExited:
      break;
  }
  auto* t = out.mutable_terminated();
  t->set_exitcode(c.exit_code);
  std::string reason = c.reason;
  if (reason.empty()) reason = c.exit_code == 0 ? "Completed" : "Error";
  t->set_reason(reason);
  // What the runtime says of the end, then what the container does.
  std::string message = c.message, own = in.termination_message ? in.termination_message(spec, c) : "";
  if (!own.empty()) message += (message.empty() ? "" : ": ") + own;
  if (!message.empty()) t->set_message(message);
  *t->mutable_startedat() = TimeOf(c.started_at);
  *t->mutable_finishedat() = TimeOf(c.finished_at);
  t->set_containerid(in.runtime_name + "://" + c.id);
}

void AddMounts(const api::Container& spec, api::ContainerStatus& out) {
  for (const auto& m : spec.volumemounts()) {
    auto* s = out.add_volumemounts();
    s->set_name(m.name());
    s->set_mountpath(m.mountpath());
    if (!m.readonly()) continue;
    s->set_readonly(true);
    // Recursive read-only mounts are not offered here, so what was asked for as "if possible" is off.
    s->set_recursivereadonly("Disabled");
  }
}

// A container keeps what it was started with; `old` says what that was.
void AddResources(const api::Container& spec, const api::ContainerStatus* old, bool running_or_done,
                  api::ContainerStatus& out) {
  if (!running_or_done) return;
  if (old && old->has_resources() && old->containerid() == out.containerid()) {
    *out.mutable_allocatedresources() = old->allocatedresources();
    *out.mutable_resources() = old->resources();
    return;
  }
  *out.mutable_allocatedresources() = spec.resources().requests();
  *out.mutable_resources() = spec.resources();
  out.mutable_resources()->clear_claims();
}

const api::ContainerStatus* OldStatus(const Statuses& old, const std::string& name) {
  for (const auto& s : old)
    if (s.name() == name) return &s;
  return nullptr;
}

// The containers of one name, newest first.
std::vector<const ObservedContainer*> Instances(const ObservedPod& observed, const std::string& name) {
  std::vector<const ObservedContainer*> out;
  for (const auto& c : observed.containers)
    if (c.name == name) out.push_back(&c);
  return out;
}

bool WillRestart(const api::Pod& pod, const api::Container& spec, const ObservedContainer& c, bool init) {
  if (IsSidecar(spec)) return true;
  if (pod.spec().restartpolicy() == "Never") return false;
  if (init || pod.spec().restartpolicy() == "OnFailure") return c.exit_code != 0;
  return true;
}

struct Maker {
  const StatusInput& in;
  bool has_init;

  api::ContainerStatus Make(const api::Container& spec, bool init, const Statuses& old_list) const {
    api::ContainerStatus out;
    out.set_name(spec.name());
    out.set_image(spec.image());
    out.set_imageid("");
    out.mutable_laststate();
    out.set_ready(false);
    out.set_restartcount(0);
    out.set_started(false);
    const api::ContainerStatus* old = OldStatus(old_list, spec.name());
    auto instances = Instances(in.observed, spec.name());
    if (instances.empty()) {
      Missing(old, out);
    } else {
      Fill(spec, *instances[0], old, out);
      if (instances.size() > 1 && instances[1]->state == ContainerState::kExited)
        ToState(in, spec, *instances[1], *out.mutable_laststate());
      else if (old && old->laststate().has_terminated() && old->restartcount() == out.restartcount())
        *out.mutable_laststate() = old->laststate();
      Waiting(spec, *instances[0], init, out);
    }
    AddMounts(spec, out);
    SetReady(spec, init, instances.empty() ? nullptr : instances[0], out);
    return out;
  }

  void Fill(const api::Container& spec, const ObservedContainer& c, const api::ContainerStatus* old,
            api::ContainerStatus& out) const {
    if (!c.image.empty()) out.set_image(c.image);
    out.set_imageid(c.image_id);
    out.set_containerid(in.runtime_name + "://" + c.id);
    out.set_restartcount(c.restart_count);
    ToState(in, spec, c, *out.mutable_state());
    AddResources(spec, old, c.state == ContainerState::kRunning || c.state == ContainerState::kExited, out);
  }

  // Nothing in the runtime: not made yet, or lost.
  void Missing(const api::ContainerStatus* old, api::ContainerStatus& out) const {
    if (old && old->state().has_terminated()) {
      // Its container was collected; what it ended with is still true.
      *out.mutable_state() = old->state();
      *out.mutable_laststate() = old->laststate();
      out.set_restartcount(old->restartcount());
      out.set_imageid(old->imageid());
      out.set_containerid(old->containerid());
      return;
    }
    auto why = in.reasons.find(out.name());
    if (why != in.reasons.end()) {
      out.mutable_state()->mutable_waiting()->set_reason(why->second.reason);
      out.mutable_state()->mutable_waiting()->set_message(why->second.message);
    } else {
      out.mutable_state()->mutable_waiting()->set_reason(has_init ? "PodInitializing" : "ContainerCreating");
    }
    if (!old || !old->state().has_running()) {
      if (old) out.set_restartcount(old->restartcount());
      return;
    }
    // It ran, and it is gone without a trace.
    auto* lost = out.mutable_laststate()->mutable_terminated();
    lost->set_exitcode(137);
    lost->set_reason("ContainerStatusUnknown");
    lost->set_message("The container could not be located when the pod was deleted.  The container used to be Running");
    out.set_restartcount(old->restartcount());
  }

  // An ended container that will be started again, but not now, waits; how it ended becomes the last state.
  void Waiting(const api::Container& spec, const ObservedContainer& c, bool init, api::ContainerStatus& out) const {
    if (c.state == ContainerState::kCreated || c.state == ContainerState::kUnknown) {
      auto why = in.reasons.find(spec.name());
      if (why == in.reasons.end()) return;
      out.mutable_state()->mutable_waiting()->set_reason(why->second.reason);
      out.mutable_state()->mutable_waiting()->set_message(why->second.message);
      return;
    }
    if (c.state != ContainerState::kExited || in.terminal) return;
    auto why = in.reasons.find(spec.name());
    if (why == in.reasons.end() || !WillRestart(in.pod, spec, c, init)) return;
    *out.mutable_laststate() = out.state();
    out.mutable_state()->Clear();
    out.mutable_state()->mutable_waiting()->set_reason(why->second.reason);
    out.mutable_state()->mutable_waiting()->set_message(why->second.message);
  }

  void SetReady(const api::Container& spec, bool init, const ObservedContainer* c, api::ContainerStatus& out) const {
    bool running = out.state().has_running();
    if (init && !IsSidecar(spec)) {
      out.set_ready(out.state().has_terminated() && out.state().terminated().exitcode() == 0);
      out.set_started(running);
      return;
    }
    out.set_started(running && c && in.started.contains(c->id));
    out.set_ready(running && c && out.started() && in.ready.contains(c->id));
  }
};

api::PodCondition Condition(std::string type, bool status, std::string reason = {}, std::string message = {}) {
  api::PodCondition c;
  c.set_type(std::move(type));
  c.set_status(status ? "True" : "False");
  if (!reason.empty()) c.set_reason(std::move(reason));
  if (!message.empty()) c.set_message(std::move(message));
  return c;
}

api::PodCondition Initialized(const api::Pod& pod, const api::PodStatus& s, const std::string& phase) {
  if (pod.spec().initcontainers().empty()) {
    if (phase == "Succeeded") return Condition("Initialized", true, "PodCompleted");
    return Condition("Initialized", true);
  }
  std::vector<std::string> incomplete;
  for (int i = 0; i < pod.spec().initcontainers_size(); ++i) {
    const auto& c = pod.spec().initcontainers(i);
    const auto& status = s.initcontainerstatuses(i);
    bool done = IsSidecar(c) ? status.started() || status.state().has_terminated() : status.ready();
    if (!done) incomplete.push_back(c.name());
  }
  if (phase == "Succeeded" && incomplete.empty()) return Condition("Initialized", true, "PodCompleted");
  // An ordinary container that runs or has run shows that initialization was passed.
  for (const auto& status : s.containerstatuses())
    if (status.state().has_running() || status.state().has_terminated() || status.laststate().has_terminated())
      return Condition("Initialized", true);
  if (incomplete.empty()) return Condition("Initialized", true);
  return Condition("Initialized", false, "ContainersNotInitialized",
                   "containers with incomplete status: [" + base::Join(incomplete, " ") + "]");
}

api::PodCondition ContainersReady(const api::Pod& pod, const api::PodStatus& s, const std::string& phase) {
  if (phase == "Succeeded") return Condition("ContainersReady", false, "PodCompleted");
  if (phase == "Failed") return Condition("ContainersReady", false, "PodFailed");
  std::vector<std::string> unready;
  for (int i = 0; i < pod.spec().initcontainers_size(); ++i)
    if (IsSidecar(pod.spec().initcontainers(i)) && !s.initcontainerstatuses(i).ready())
      unready.push_back(pod.spec().initcontainers(i).name());
  for (const auto& c : s.containerstatuses())
    if (!c.ready()) unready.push_back(c.name());
  if (unready.empty()) return Condition("ContainersReady", true);
  return Condition("ContainersReady", false, "ContainersNotReady",
                   "containers with unready status: [" + base::Join(unready, " ") + "]");
}

api::PodCondition Ready(const api::Pod& pod, const api::PodStatus& s, const api::PodCondition& containers) {
  api::PodCondition out = containers;
  out.set_type("Ready");
  if (containers.status() != "True") return out;
  std::string missing;
  for (const auto& gate : pod.spec().readinessgates()) {
    const auto* c = FindCondition(s, gate.conditiontype());
    std::string text;
    if (!c)
      text = "corresponding condition of pod readiness gate \"" + gate.conditiontype() + "\" does not exist.";
    else if (c->status() != "True")
      text = "the status of pod readiness gate \"" + gate.conditiontype() + "\" is not \"True\", but " + c->status();
    if (!text.empty()) missing += (missing.empty() ? "" : ", ") + text;
  }
  if (missing.empty()) return out;
  return Condition("Ready", false, "ReadinessGatesNotReady", missing);
}

bool SameAmounts(const ResourceList& a, const ResourceList& b) {
  return a.size() == b.size() && std::ranges::all_of(a, [&](const auto& e) {
           return b.contains(e.first) && ParseMilli(b.at(e.first).string()) == ParseMilli(e.second.string());
         });
}

// A running container was asked to have other resources than it was started with.
bool AsksForResize(const StatusInput& in, const api::PodStatus& status) {
  for (const auto& s : status.containerstatuses()) {
    auto spec = FindContainer(in.pod, s.name());
    if (!spec || !s.state().has_running() || !s.has_resources()) continue;
    if (!SameAmounts(spec->resources().requests(), s.resources().requests()) ||
        !SameAmounts(spec->resources().limits(), s.resources().limits()))
      return true;
  }
  return false;
}

void AddConditions(const StatusInput& in, api::PodStatus& out) {
  const api::PodStatus& old = in.pod.status();
  std::vector<api::PodCondition> made;
  bool sandbox = !in.observed.sandboxes.empty() && in.observed.sandboxes.front().ready;
  bool addressed =
      sandbox && (in.observed.sandboxes.front().host_network || !in.observed.sandboxes.front().ips.empty());
  made.push_back(Condition("PodReadyToStartContainers", addressed));
  made.push_back(Initialized(in.pod, out, out.phase()));
  api::PodCondition containers = ContainersReady(in.pod, out, out.phase());
  for (const auto& c : old.conditions()) *out.add_conditions() = c;  // for the gates below
  made.push_back(Ready(in.pod, out, containers));
  made.push_back(containers);
  made.push_back(Condition("PodScheduled", true));
  if (AsksForResize(in, out))
    made.push_back(Condition("PodResizePending", true, "Infeasible",
                             "In-place resize is not supported yet by keelson: the container keeps what it has until "
                             "it is made anew"));
  google::protobuf::RepeatedPtrField<api::PodCondition> others;
  for (const auto& c : out.conditions())
    if (c.type() != "PodResizePending" &&
        std::ranges::none_of(made, [&](const auto& m) { return m.type() == c.type(); }))
      *others.Add() = c;
  out.clear_conditions();
  for (auto& c : made) {
    const auto* before = FindCondition(old, c.type());
    *c.mutable_lasttransitiontime() = before && before->status() == c.status() && before->has_lasttransitiontime()
                                          ? before->lasttransitiontime()
                                          : TimeOf(in.now_ns);
    c.mutable_lastprobetime();
    c.set_observedgeneration(in.pod.metadata().generation());
    *out.add_conditions() = c;
  }
  for (const auto& c : others) *out.add_conditions() = c;
}

void AddAddresses(const StatusInput& in, api::PodStatus& out) {
  const api::PodStatus& old = in.pod.status();
  if (!in.host_ips.empty()) {
    out.set_hostip(in.host_ips.front());
    for (const auto& ip : in.host_ips) out.add_hostips()->set_ip(ip);
  }
  std::vector<std::string> ips;
  if (!in.observed.sandboxes.empty() && in.observed.sandboxes.front().ready) ips = in.observed.sandboxes.front().ips;
  if (in.pod.spec().hostnetwork() && !in.observed.sandboxes.empty()) ips = in.host_ips;
  // A pod whose sandbox has been stopped keeps showing the address it had.
  if (ips.empty())
    for (const auto& ip : old.podips()) ips.push_back(ip.ip());
  if (ips.empty()) return;
  out.set_podip(ips.front());
  for (const auto& ip : ips) out.add_podips()->set_ip(ip);
}

void AddPodResources(const StatusInput& in, api::PodStatus& out) {
  PodResources r = Aggregate(in.pod);
  auto put = [](ResourceList& list, const char* name, std::string text) { list[name].set_string(std::move(text)); };
  auto* resources = out.mutable_resources();
  if (r.cpu_request_milli) put(*resources->mutable_requests(), "cpu", MilliText(*r.cpu_request_milli));
  if (r.memory_request) put(*resources->mutable_requests(), "memory", BytesText(*r.memory_request));
  if (r.cpu_request_milli) put(*out.mutable_allocatedresources(), "cpu", MilliText(*r.cpu_request_milli));
  if (r.memory_request) put(*out.mutable_allocatedresources(), "memory", BytesText(*r.memory_request));
  if (r.cpu_limit_milli) put(*resources->mutable_limits(), "cpu", MilliText(*r.cpu_limit_milli));
  if (in.cgroup_memory_limit)
    put(*resources->mutable_limits(), "memory", BytesText(*in.cgroup_memory_limit));
  else if (r.memory_limit)
    put(*resources->mutable_limits(), "memory", BytesText(*r.memory_limit));
}

}  // namespace

namespace {

// How many containers stand where, as the phase sees it.
struct Counts {
  int pending_init = 0, failed_init = 0, pending_sidecars = 0;
  int unknown = 0, waiting = 0, running = 0, stopped = 0, succeeded = 0;
};

void CountInit(const api::ContainerStatus& s, Counts& n) {
  const api::ContainerStateTerminated* end = s.state().has_terminated() ? &s.state().terminated() : nullptr;
  if (s.state().has_waiting() && s.laststate().has_terminated()) end = &s.laststate().terminated();
  if (!end)
    ++n.pending_init;
  else if (end->exitcode() != 0)
    ++n.failed_init;
}

// One that has ended counts neither way: it decides nothing about how the pod ends.
void CountSidecar(const api::ContainerStatus& s, Counts& n) {
  if (s.state().has_running()) {
    ++n.running;
    if (!s.started()) ++n.pending_sidecars;
  } else if (!s.state().has_terminated() && !s.laststate().has_terminated()) {
    ++n.pending_sidecars;
    ++n.waiting;
  }
}

void CountOrdinary(const api::ContainerStatus& s, Counts& n) {
  if (s.state().has_running()) {
    ++n.running;
  } else if (s.state().has_terminated()) {
    ++n.stopped;
    n.succeeded += s.state().terminated().exitcode() == 0;
  } else if (s.laststate().has_terminated()) {
    ++n.stopped;  // it failed and is waited for
  } else {
    ++n.waiting;
  }
}

Counts CountAll(const api::Pod& pod, const api::PodStatus& s) {
  Counts n;
  for (int i = 0; i < pod.spec().initcontainers_size(); ++i) {
    bool sidecar = IsSidecar(pod.spec().initcontainers(i));
    if (i >= s.initcontainerstatuses_size())
      ++(sidecar ? n.unknown : n.pending_init);
    else if (sidecar)
      CountSidecar(s.initcontainerstatuses(i), n);
    else
      CountInit(s.initcontainerstatuses(i), n);
  }
  for (const auto& status : s.containerstatuses()) CountOrdinary(status, n);
  return n;
}

}  // namespace

std::string PhaseOf(const api::Pod& pod, const api::PodStatus& s, bool terminal) {
  if (pod.status().phase() == "Failed" || pod.status().phase() == "Succeeded") return pod.status().phase();
  const Counts n = CountAll(pod, s);
  const std::string& policy = pod.spec().restartpolicy();
  if (n.failed_init > 0 && policy == "Never") return "Failed";
  if (terminal && n.running == 0 && n.stopped + n.waiting > 0) {
    if (n.stopped == 0) return "Failed";
    return n.succeeded == pod.spec().containers_size() ? "Succeeded" : "Failed";
  }
  // Sidecars that restart do not bring a pod back to where it was before its ordinary containers.
  bool initialized = std::ranges::any_of(s.containerstatuses(), [](const auto& c) {
    return c.state().has_running() || c.state().has_terminated() || c.laststate().has_terminated();
  });
  if (n.pending_init > 0 && !initialized) return "Pending";
  if (n.pending_sidecars > 0 && !initialized) return "Pending";
  if (n.waiting > 0) return "Pending";
  if (n.unknown > 0) return "Pending";
  if (n.running > 0) return "Running";
  if (n.stopped == 0) return "Pending";
  if (policy == "Always") return "Running";
  if (n.stopped == n.succeeded) return "Succeeded";
  return policy == "Never" ? "Failed" : "Running";
}

namespace {

// All last words of a pod together fit into its object; each container has its part of that.
void BoundMessages(api::PodStatus& out) {
  constexpr size_t kAll = 12 << 10;
  const int n = out.initcontainerstatuses_size() + out.containerstatuses_size() + out.ephemeralcontainerstatuses_size();
  auto cut = [most = kAll / static_cast<size_t>(std::max(1, n))](api::ContainerState& state) {
    if (!state.has_terminated() || state.terminated().message().size() <= most) return;
    std::string& text = *state.mutable_terminated()->mutable_message();
    size_t end = most;
    while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // not inside a character
    text.resize(end);
  };
  for (auto* list :
       {out.mutable_initcontainerstatuses(), out.mutable_containerstatuses(), out.mutable_ephemeralcontainerstatuses()})
    for (auto& s : *list) {
      cut(*s.mutable_state());
      cut(*s.mutable_laststate());
    }
}

}  // namespace

api::PodStatus MakeStatus(const StatusInput& in) {
  api::PodStatus out;
  const api::PodStatus& old = in.pod.status();
  Maker maker{in, !in.pod.spec().initcontainers().empty()};
  for (const auto& c : in.pod.spec().initcontainers())
    *out.add_initcontainerstatuses() = maker.Make(c, true, old.initcontainerstatuses());
  for (const auto& c : in.pod.spec().containers())
    *out.add_containerstatuses() = maker.Make(c, false, old.containerstatuses());
  for (const auto& e : in.pod.spec().ephemeralcontainers()) {
    auto* status = out.add_ephemeralcontainerstatuses();
    *status = maker.Make(AsContainer(e), false, old.ephemeralcontainerstatuses());
    // Nobody waits for it: it is neither ready nor started as others are.
    status->set_ready(false);
    status->clear_started();
  }
  BoundMessages(out);
  out.set_observedgeneration(in.pod.metadata().generation());
  if (!in.failed_reason.empty()) {
    out.set_phase("Failed");
    out.set_reason(in.failed_reason);
    out.set_message(in.failed_message);
  } else {
    out.set_phase(PhaseOf(in.pod, out, in.terminal));
    if (old.phase() == "Failed") {
      if (!old.reason().empty()) out.set_reason(old.reason());
      if (!old.message().empty()) out.set_message(old.message());
    }
  }
  AddAddresses(in, out);
  if (old.has_starttime())
    *out.mutable_starttime() = old.starttime();
  else
    *out.mutable_starttime() = TimeOf(in.now_ns);
  out.set_qosclass(std::string(QosName(QosOf(in.pod))));
  if (!old.nominatednodename().empty()) out.set_nominatednodename(old.nominatednodename());
  AddPodResources(in, out);
  AddConditions(in, out);
  return out;
}

const api::PodCondition* FindCondition(const api::PodStatus& status, std::string_view type) {
  for (const auto& c : status.conditions())
    if (c.type() == type) return &c;
  return nullptr;
}

api::PodCondition* FindCondition(api::PodStatus& status, std::string_view type) {
  for (auto& c : *status.mutable_conditions())
    if (c.type() == type) return &c;
  return nullptr;
}

void SetCondition(api::PodStatus& status, api::PodCondition condition, int64_t now_ns) {
  auto* have = FindCondition(status, condition.type());
  if (have && have->status() == condition.status())
    *condition.mutable_lasttransitiontime() = have->lasttransitiontime();
  else
    *condition.mutable_lasttransitiontime() = TimeOf(now_ns);
  condition.mutable_lastprobetime();
  if (have)
    *have = std::move(condition);
  else
    *status.add_conditions() = std::move(condition);
}

bool IsReady(const api::PodStatus& status) {
  const auto* c = FindCondition(status, "Ready");
  return c && c->status() == "True";
}

bool IsFinished(const api::Pod& pod) { return pod.status().phase() == "Failed" || pod.status().phase() == "Succeeded"; }

}  // namespace kubelet::pod
