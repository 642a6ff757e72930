#include "kubelet/plan/plan.h"

#include <algorithm>

namespace kubelet::plan {
namespace {

bool RestartOnFailure(const api::Pod& pod) { return pod.spec().restartpolicy() != "Never"; }

bool Succeeded(const ObservedContainer* c) { return c && c->state == ContainerState::kExited && c->exit_code == 0; }

// Looks at a running container; true when it may go on.
bool Healthy(const api::Container& spec, const ObservedContainer& c, const ProbeView& probes, bool restart, Kill& why) {
  why = {c.id, c.name, KillReason::kUnknown, ""};
  if (c.hash != 0 && c.hash != HashOf(spec)) {
    why.reason = KillReason::kSpecChanged;
    why.message = "Container " + c.name + " definition changed";
    restart = true;
  } else if (probes.liveness_failed.contains(c.id)) {
    why.reason = KillReason::kLiveness;
    why.message = "Container " + c.name + " failed liveness probe";
  } else if (probes.startup_failed.contains(c.id)) {
    why.reason = KillReason::kStartup;
    why.message = "Container " + c.name + " failed startup probe";
  } else {
    return true;
  }
  if (restart) why.message += ", will be restarted";
  return false;
}

Kill UnknownState(const ObservedContainer& c) {
  return {c.id, c.name, KillReason::kUnknown, "Container is in \"unknown\" state, try killing it before restarting"};
}

struct Initialization {
  const api::Pod& pod;
  const ObservedPod& observed;
  const ProbeView& probes;
  const std::string& sandbox;
  Actions& out;

  const ObservedContainer* Last(const api::Container& c) const {
    const ObservedContainer* s = observed.Find(c.name());
    // What ran in an earlier sandbox has to run again: its effects on the network are gone.
    return s && s->sandbox_id == sandbox ? s : nullptr;
  }

  void Start(const api::Container& c, const ObservedContainer* s) {
    if (s && s->state == ContainerState::kUnknown) out.kill.push_back(UnknownState(*s));
    out.start_init.push_back(c.name());
  }

  // Keeps a sidecar running; true when it has started.
  bool Sidecar(const api::Container& c) {
    const ObservedContainer* s = Last(c);
    if (!s || s->state != ContainerState::kRunning) {
      Start(c, s);
      return false;
    }
    Kill why;
    if (Healthy(c, *s, probes, true, why)) return probes.started.contains(s->id);
    out.kill.push_back(why);
    out.start_init.push_back(c.name());
    return false;
  }

  // True when everything before the ordinary containers is done.
  bool Step() {
    bool any_ordinary = std::ranges::any_of(pod.spec().containers(), [&](const auto& c) { return Last(c) != nullptr; });
    for (const auto& c : pod.spec().initcontainers()) {
      if (IsSidecar(c)) {
        // Once ordinary containers exist a sidecar that is down holds nobody up.
        if (!Sidecar(c) && !any_ordinary) return false;
        continue;
      }
      if (any_ordinary) continue;
      const ObservedContainer* s = Last(c);
      if (!s || s->state == ContainerState::kCreated || s->state == ContainerState::kUnknown) {
        Start(c, s);
        return false;
      }
      if (s->state == ContainerState::kRunning) return false;
      if (s->exit_code == 0) continue;
      if (!RestartOnFailure(pod)) {
        out.kill_pod = true;
        return false;
      }
      Start(c, s);
      return false;
    }
    return true;
  }
};

void PlanNewSandbox(const api::Pod& pod, const ObservedPod& observed, Actions& out) {
  if (!RestartOnFailure(pod) && out.attempt != 0 && !observed.containers.empty()) {
    out.create_sandbox = false;
    return;
  }
  std::vector<std::string> start;
  for (const auto& c : pod.spec().containers())
    if (!(pod.spec().restartpolicy() == "OnFailure" && Succeeded(observed.Find(c.name())))) start.push_back(c.name());
  if (start.empty()) {
    bool initialized = std::ranges::all_of(
        pod.spec().initcontainers(), [&](const auto& c) { return IsSidecar(c) || Succeeded(observed.Find(c.name())); });
    if (initialized) {
      out.create_sandbox = false;
      return;
    }
  }
  if (pod.spec().initcontainers_size() > 0) {
    out.start_init.push_back(pod.spec().initcontainers(0).name());
    return;
  }
  out.start = std::move(start);
}

}  // namespace

bool ShouldRestart(const api::Pod& pod, const ObservedContainer* last) {
  if (pod.metadata().has_deletiontimestamp()) return false;
  if (!last) return true;
  if (last->state == ContainerState::kRunning) return false;
  if (last->state != ContainerState::kExited) return true;
  if (pod.spec().restartpolicy() == "Never") return false;
  if (pod.spec().restartpolicy() == "OnFailure") return last->exit_code != 0;
  return true;
}

SandboxChange CheckSandbox(const api::Pod& pod, const ObservedPod& observed) {
  if (observed.sandboxes.empty()) return {true, 0, ""};
  size_t ready = std::ranges::count_if(observed.sandboxes, [](const auto& s) { return s.ready; });
  const ObservedSandbox& newest = observed.sandboxes.front();
  if (ready > 1 || !newest.ready) return {true, newest.attempt + 1, newest.id};
  if (newest.host_network != pod.spec().hostnetwork()) return {true, newest.attempt + 1, ""};
  if (!pod.spec().hostnetwork() && newest.ips.empty()) return {true, newest.attempt + 1, newest.id};
  return {false, newest.attempt, newest.id};
}

Actions Compute(const api::Pod& pod, const ObservedPod& observed, const ProbeView& probes) {
  Actions out;
  SandboxChange sandbox = CheckSandbox(pod, observed);
  out.kill_pod = out.create_sandbox = sandbox.changed;
  out.sandbox_id = sandbox.id;
  out.attempt = sandbox.attempt;
  if (sandbox.changed) {
    PlanNewSandbox(pod, observed, out);
    return out;
  }
  // They run once and are never restarted.
  for (const auto& c : pod.spec().ephemeralcontainers())
    if (const auto& name = c.ephemeralcontainercommon().name();
        !pod.metadata().has_deletiontimestamp() && !observed.Find(name))
      out.start_ephemeral.push_back(name);
  Initialization init{pod, observed, probes, sandbox.id, out};
  if (!init.Step()) return out;

  size_t keep = 0;
  for (const auto& c : pod.spec().containers()) {
    const ObservedContainer* s = observed.Find(c.name());
    if (!s || s->state != ContainerState::kRunning) {
      if (!ShouldRestart(pod, s)) continue;
      if (s && s->state == ContainerState::kUnknown) out.kill.push_back(UnknownState(*s));
      out.start.push_back(c.name());
      continue;
    }
    Kill why;
    if (Healthy(c, *s, probes, RestartOnFailure(pod), why)) {
      ++keep;
      continue;
    }
    if (RestartOnFailure(pod) || why.reason == KillReason::kSpecChanged) out.start.push_back(c.name());
    out.kill.push_back(std::move(why));
  }
  if (keep == 0 && out.start.empty()) {
    // Nothing is left to run: sidecars go, too.
    out.kill_pod = true;
    out.start_init.clear();
    out.start_ephemeral.clear();
    out.kill.clear();
  }
  return out;
}

}  // namespace kubelet::plan
