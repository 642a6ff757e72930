#include "kubelet/killer.h"

#include <algorithm>

#include "base/log.h"

namespace kubelet {

using std::chrono::seconds;

base::Task<void> Killer::KillContainer(WorkerPtr w, ObservedContainer c, Killing how) {
  PodPtr pod = w->pod;
  if (how.message.empty()) how.message = "Stopping container " + c.name;
  tools_.events.Pod(*pod, c.name, "Normal", "Killing", how.message);
  const base::MonoTime begun = tools_.executor.Now();
  ContainerPtr spec = FindContainer(*pod, c.name);
  if (spec && spec->lifecycle().has_prestop() && how.grace > 0)
    co_await hooks_.PreStop(w, spec->lifecycle().prestop(), c, how.grace);
  auto left = [&] { return seconds(how.grace) - (tools_.executor.Now() - begun); };
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

base::Task<base::Status> Killer::KillPod(WorkerPtr w, std::optional<int64_t> grace) {
  const int64_t period = grace.value_or(GracePeriodOf(*w->pod));
  w->killed_with_grace = period;
  w->kill_ctx = ctx_.WithCancel();
  std::vector<ObservedContainer> running;
  std::vector<std::string> names;
  for (const auto& c : w->observed.containers) {
    if (c.state != ContainerState::kRunning && c.state != ContainerState::kUnknown) continue;
    running.push_back(c);
    names.push_back(c.name);
  }
  TerminationOrder order(tools_.executor, *w->pod, names);
  base::TaskScope kills(tools_.executor, w->kill_ctx);
  for (const auto& c : running)
    kills.Spawn(KillContainer(w, c, {.grace = period, .message = "", .ctx = w->kill_ctx, .order = &order}));
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
    auto stopped = co_await tools_.runtime.StopPodSandbox(ctx_, std::move(request));
    if (!stopped && stopped.error().code() != base::Code::kNotFound) {
      out = stopped.error();
      tools_.events.Pod(*w->pod, "", "Warning", "FailedKillPod",
                        "error killing pod: " + runtimes::RpcErrorText(stopped.error()));
    }
  }
  co_return out;
}

base::Task<void> Killer::RemoveRecords(ObservedPod observed) {
  for (const auto& c : observed.containers) {
    cri::RemoveContainerRequest request;
    request.set_container_id(c.id);
    (void)co_await tools_.runtime.RemoveContainer(ctx_, std::move(request));
  }
  for (const auto& s : observed.sandboxes) {
    cri::RemovePodSandboxRequest request;
    request.set_pod_sandbox_id(s.id);
    (void)co_await tools_.runtime.RemovePodSandbox(ctx_, std::move(request));
  }
}

base::Task<void> Killer::KillOrphan(base::Context ctx, ObservedPod observed) {
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
