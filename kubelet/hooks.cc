#include "kubelet/hooks.h"

namespace kubelet {

using std::chrono::seconds;

base::Task<base::Status> Hooks::Run(base::Context ctx, Call call) {
  const api::LifecycleHandler& handler = call.handler;
  checks::Outcome o;
  if (handler.has_exec()) {
    std::vector<std::string> command(handler.exec().command().begin(), handler.exec().command().end());
    o = co_await checks::Exec(ctx, tools_.runtime, call.id, std::move(command), call.timeout);
  } else if (handler.has_httpget()) {
    CO_TRY_ASSIGN(checks::HttpTarget target, checks::TargetOf(handler.httpget(), call.container, call.pod_ip));
    target.user_agent = "kube-lifecycle/1.36";
    o = co_await tools_.network.HttpGet(ctx, std::move(target), call.timeout, checks::Judge::kAnswer);
  } else if (handler.has_tcpsocket()) {
    CO_TRY_ASSIGN(int port, checks::PortOf(handler.tcpsocket().port(), call.container));
    o = co_await tools_.network.TcpConnect(ctx, call.pod_ip, port, call.timeout);
  } else if (handler.has_sleep()) {
    co_return co_await base::Sleep(tools_.executor, ctx, seconds(handler.sleep().seconds()));
  } else {
    co_return base::Ok();
  }
  if (o.verdict == checks::Verdict::kSuccess) co_return base::Ok();
  co_return base::Unknown(o.output);
}

base::Task<base::Status> Hooks::PostStart(WorkerPtr w, api::Container container, std::string id) {
  if (!container.lifecycle().has_poststart()) co_return base::Ok();
  co_return co_await Run(ctx_, {.handler = container.lifecycle().poststart(),
                                .container = container,
                                .id = std::move(id),
                                .pod_ip = PodIp(w->observed, tools_.host_ips),
                                .timeout = std::chrono::minutes(10)});
}

base::Task<void> Hooks::PreStop(WorkerPtr w, api::LifecycleHandler handler, ObservedContainer c, int64_t grace) {
  PodPtr pod = w->pod;
  api::Container container;
  if (auto spec = FindContainer(*pod, c.name)) container = *spec;
  base::Context bounded = ctx_.WithTimeout(tools_.executor, seconds(grace));
  base::Status s = co_await Run(bounded, {.handler = std::move(handler),
                                          .container = std::move(container),
                                          .id = c.id,
                                          .pod_ip = PodIp(w->observed, tools_.host_ips),
                                          .timeout = seconds(grace)});
  if (!s.ok() && ctx_.status().ok())
    tools_.events.Pod(*pod, c.name, "Warning", "FailedPreStopHook", "PreStopHook failed");
}

}  // namespace kubelet
