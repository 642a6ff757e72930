#include "kubelet/sandboxes.h"

namespace kubelet {

base::Result<cri::PodSandboxConfig> Sandboxes::ConfigOf(const Worker& w, uint32_t attempt) const {
  pod::SandboxInput in{.pod = *w.pod, .node = tools_.settings};
  in.attempt = attempt;
  in.cgroup_parent = tools_.cgroups.PodPath(*w.pod);
  in.seen_ns = w.seen_ns;
  if (IsStaticPod(*w.pod)) in.config_source = "file";
  return pod::MakeSandbox(in);
}

base::Task<base::Result<std::string>> Sandboxes::Create(WorkerPtr w, uint32_t attempt) {
  PodPtr pod = w->pod;
  auto config = ConfigOf(*w, attempt);
  if (!config) {
    tools_.events.Pod(*pod, "", "Warning", "FailedCreatePodSandBox",
                      "Failed to create pod sandbox: " + std::string(config.error().message()));
    co_return base::Err(std::move(config.error()));
  }
  (void)tools_.host.files().MakeDirectories(config->log_directory(), 0755);
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
  CO_TRY(co_await Refresh(scope_.context(), tools_.runtime, w));
  ShowNetwork(w);
  co_return made->pod_sandbox_id();
}

// Those who wait for the network of a pod see it before its first container runs.
void Sandboxes::ShowNetwork(WorkerPtr w) {
  const auto* last = tools_.statuses.Get(w->uid);
  if (!last) return;
  api::PodStatus status = *last;
  api::PodCondition ready;
  ready.set_type("PodReadyToStartContainers");
  ready.set_status("True");
  ready.set_observedgeneration(w->pod->metadata().generation());
  pod::SetCondition(status, std::move(ready), tools_.Now());
  tools_.statuses.Set(*w->pod, std::move(status));
  scope_.Spawn(ShowAddress(w));
}

// The turn that made the sandbox goes on with images. Where that takes long, what waits for the address need not.
base::Task<void> Sandboxes::ShowAddress(WorkerPtr w) {
  if (!(co_await base::Sleep(tools_.executor, scope_.context(), std::chrono::seconds(2))).ok()) co_return;
  const auto* last = tools_.statuses.Get(w->uid);
  if (!last || !last->podip().empty() || w->phase != Phase::kSync || w->observed.sandboxes.empty()) co_return;
  const auto& ips = w->pod->spec().hostnetwork() ? tools_.host_ips : w->observed.sandboxes.front().ips;
  if (ips.empty()) co_return;
  api::PodStatus status = *last;
  status.set_podip(ips.front());
  for (const auto& ip : ips) status.add_podips()->set_ip(ip);
  tools_.statuses.Set(*w->pod, std::move(status));
}

}  // namespace kubelet
