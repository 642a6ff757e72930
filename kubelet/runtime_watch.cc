#include "kubelet/runtime_watch.h"

#include "base/log.h"

namespace kubelet {

base::Task<void> RuntimeWatch::Run(base::Context ctx) {
  while (ctx.status().ok()) {
    std::string before = network_error_ + error();
    co_await Ask(ctx);
    co_await SetPodCidr(ctx);
    if (before != network_error_ + error() && on_change) on_change();
    // While it is not ready somebody waits.
    base::Duration wait =
        ready_ && network_error_.empty() ? std::chrono::seconds(5) : base::Duration(std::chrono::milliseconds(500));
    if (!(co_await base::Sleep(executor_, ctx, wait)).ok()) co_return;
  }
}

base::Task<void> RuntimeWatch::Ask(base::Context ctx) {
  auto status = co_await runtime_.Status(ctx, {});
  if (!status) {
    ready_ = false;
    error_ = "container runtime is down";
    co_return;
  }
  ready_ = true;
  network_error_ = "NetworkReady=false reason: message:";
  for (const auto& c : status->status().conditions()) {
    std::string text =
        c.type() + "=" + (c.status() ? "true" : "false") + " reason:" + c.reason() + " message:" + c.message();
    if (c.type() == "RuntimeReady" && !c.status()) {
      ready_ = false;
      error_ = "container runtime not ready: " + text;
    }
    if (c.type() == "NetworkReady") network_error_ = c.status() ? "" : text;
  }
  if (runtime_.version().empty()) (void)co_await runtime_.Handshake(ctx);
}

base::Task<void> RuntimeWatch::SetPodCidr(base::Context ctx) {
  std::string cidr = node_.options().pod_cidr;
  if (node_.current && !node_.current->spec().podcidr().empty()) {
    cidr.clear();
    for (const auto& c : node_.current->spec().podcidrs()) cidr += (cidr.empty() ? "" : ",") + c;
    if (cidr.empty()) cidr = node_.current->spec().podcidr();
  }
  if (cidr.empty() || cidr == pod_cidr_set_ || !ready_) co_return;
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

}  // namespace kubelet
