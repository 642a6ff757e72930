// kube-scheduler.
#include "base/version.h"
#include "machinery/client/elected.h"
#include "machinery/client/event_recorder.h"
#include "scheduler/scheduler.h"

namespace {
namespace client = machinery::client;

base::Task<void> Work(base::Context ctx, client::Component& c, scheduler::SchedulerOptions options) {
  base::TaskScope scope(c.executor, ctx);
  client::EventRecorder events(c.executor, *c.client, options.scheduler_name, c.host, client::EventStyle::kSeries);
  scheduler::Scheduler scheduler(c.executor, *c.client, events, base::Random::System(), c.daemon.metrics(), options);
  scope.Spawn(events.Run(scope.context()));
  scope.Spawn(scheduler.Run(scope.context()));
  co_await scope.Join();
}
}  // namespace

int main(int argc, char** argv) {
  client::ElectedOptions common{.component = {.name = "kube-scheduler"}, .secure_port = 10259};
  scheduler::SchedulerOptions options;
  base::FlagSet flags({.name = "kube-scheduler",
                       .description = "The Kubernetes scheduler gives every pod a node that suits it: it filters the "
                                      "nodes by what the pod asks for, scores the rest, and binds the pod to one of "
                                      "the best.",
                       .version = std::string(base::version::kKubernetesProgram)});
  client::AddElectedFlags(flags, common);
  flags.Section("Deprecated");
  flags.Add("pod-max-in-unschedulable-pods-duration", &options.queue.max_unschedulable,
            "How long a pod that fits nowhere waits at most before it is tried again.");
  flags.Unsupported(client::UnsupportedElectedFlags());
  flags.Unsupported({"config", "write-config-to"});
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  client::StartLog(common.component);
  return client::RunElected(common,
                            [&](base::Context ctx, client::Component& c) { return Work(std::move(ctx), c, options); });
}
