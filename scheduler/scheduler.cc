#include "scheduler/scheduler.h"

#include "base/log.h"
#include "machinery/client/micro_time.h"
#include "machinery/object/api_error.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/pod.pb.h"

namespace scheduler {
namespace client = machinery::client;
namespace {
constexpr base::Duration kFlushEvery = std::chrono::seconds(30);
constexpr base::Duration kBindTimeout = std::chrono::seconds(30);
// Bindings under way at once; the queue waits beyond, so that a slow server is not flooded.
constexpr size_t kMaxBindings = 128;

bool Over(const Pod& pod) { return pod.status().phase() == "Succeeded" || pod.status().phase() == "Failed"; }

double Seconds(base::Duration d) { return std::chrono::duration<double>(d).count(); }
}  // namespace

struct Scheduler::Metrics {
  explicit Metrics(base::MetricsRegistry& r)
      : attempts(r.AddCounter("scheduler_schedule_attempts_total",
                              "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could "
                              "not be scheduled, while 'error' means an internal scheduler problem.",
                              {"profile", "result"})),
        duration(r.AddHistogram("scheduler_scheduling_attempt_duration_seconds",
                                "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
                                base::ExponentialBuckets(0.001, 2, 15), {"profile", "result"})),
        algorithm(r.AddHistogram("scheduler_scheduling_algorithm_duration_seconds",
                                 "Scheduling algorithm latency in seconds", base::ExponentialBuckets(0.001, 2, 15))
                      .Get()),
        pending(r.AddGauge("scheduler_pending_pods",
                           "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; "
                           "'backoff' means number of pods in backoffQ; 'unschedulable' means number of pods in "
                           "unschedulablePods that the scheduler attempted to schedule and failed; 'gated' is the "
                           "number of unschedulable pods that the scheduler never attempted to schedule because they "
                           "are gated.",
                           {"queue"})),
        cache(r.AddGauge("scheduler_cache_size",
                         "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", {"type"})) {}
  base::Family<base::Counter>& attempts;
  base::Family<base::Histogram>& duration;
  base::Histogram& algorithm;
  base::Family<base::Gauge>& pending;
  base::Family<base::Gauge>& cache;
};

void TrimPod(Pod& pod) {
  pod.mutable_metadata()->clear_managedfields();
  // A pod that still wants a node keeps its status: the condition is written into it.
  if (pod.spec().nodename().empty()) return;
  pod.mutable_metadata()->clear_annotations();
  std::string phase = pod.status().phase();
  pod.mutable_status()->Clear();
  pod.mutable_status()->set_phase(phase);
  auto* spec = pod.mutable_spec();
  spec->clear_volumes();
  spec->clear_tolerations();
  spec->clear_affinity();
  auto trim = [](auto* containers) {
    for (auto& c : *containers) {
      c.clear_image(), c.clear_command(), c.clear_args(), c.clear_env(), c.clear_envfrom(), c.clear_volumemounts();
      c.clear_livenessprobe(), c.clear_readinessprobe(), c.clear_startupprobe(), c.clear_lifecycle();
      c.clear_securitycontext(), c.clear_terminationmessagepath(), c.clear_terminationmessagepolicy();
    }
  };
  trim(spec->mutable_containers());
  trim(spec->mutable_initcontainers());
}

void TrimNode(Node& node) {
  node.mutable_metadata()->clear_managedfields();
  auto* status = node.mutable_status();
  status->clear_images(), status->clear_nodeinfo(), status->clear_conditions(), status->clear_capacity();
  status->clear_volumesinuse(), status->clear_volumesattached();
}

Scheduler::Scheduler(base::Executor& executor, client::Client& c, client::EventRecorder& events, base::Random random,
                     base::MetricsRegistry& metrics, SchedulerOptions options)
    : executor_(executor),
      client_(c),
      events_(events),
      random_(random),
      options_(std::move(options)),
      framework_(PluginContext{c}),
      queue_(executor, framework_, options_.queue),
      pod_informer_(executor, c, {.field_selector = "status.phase!=Succeeded,status.phase!=Failed"}),
      node_informer_(executor, c),
      metrics_(std::make_unique<Metrics>(metrics)) {
  pod_informer_.SetTransform(TrimPod);
  node_informer_.SetTransform(TrimNode);
  node_informer_.AddHandler([this](const NodeChange& change) { OnNode(change); });
  pod_informer_.AddHandler([this](const PodChange& change) { OnPod(change); });
}

Scheduler::~Scheduler() = default;

bool Scheduler::synced() const { return pod_informer_.synced() && node_informer_.synced(); }

bool Scheduler::Ours(const Pod& pod) const {
  return pod.spec().nodename().empty() && pod.spec().schedulername() == options_.scheduler_name && !Over(pod) &&
         !pod.metadata().has_deletiontimestamp();
}

void Scheduler::OnNode(const NodeChange& change) {
  if (!change.current) {
    nodes_.RemoveNode(change.old->metadata().name());
    return;
  }
  nodes_.SetNode(change.current);
  queue_.Move(
      {change.old ? EventKind::kNodeUpdated : EventKind::kNodeAdded, change.old.get(), change.current.get(), nullptr});
}

void Scheduler::OnPod(const PodChange& change) {
  const Pod& pod = change.any();
  const std::string& uid = pod.metadata().uid();
  if (!change.current || Over(pod)) {
    queue_.Remove(client::KeyOf(pod));
    if (!nodes_.has_pod(uid)) return;
    nodes_.RemovePod(uid);
    queue_.Move({EventKind::kAssignedPodGone, nullptr, nullptr, &pod});
    return;
  }
  if (!pod.spec().nodename().empty()) {
    queue_.Remove(client::KeyOf(pod));
    nodes_.SetPod(PodInfo(change.current), pod.spec().nodename());
    if (change.old && !change.old->spec().nodename().empty())
      queue_.Move({EventKind::kAssignedPodUpdated, nullptr, nullptr, &pod});
    return;
  }
  // Decided already, the watch is behind.
  if (nodes_.assumed(uid)) return;
  if (!Ours(pod)) return queue_.Remove(client::KeyOf(pod));
  queue_.Set(std::make_shared<PodInfo>(change.current));
}

void Scheduler::CountPending() {
  metrics_->pending.With({"active"}).Set(static_cast<double>(queue_.active()));
  metrics_->pending.With({"backoff"}).Set(static_cast<double>(queue_.backoff()));
  metrics_->pending.With({"unschedulable"}).Set(static_cast<double>(queue_.unschedulable()));
  metrics_->pending.With({"gated"}).Set(static_cast<double>(queue_.gated()));
  metrics_->cache.With({"nodes"}).Set(static_cast<double>(nodes_.live().size()));
  metrics_->cache.With({"pods"}).Set(static_cast<double>(nodes_.pods()));
}

base::Task<void> Scheduler::FlushLoop(base::Context ctx) {
  while ((co_await base::Sleep(executor_, ctx, kFlushEvery)).ok()) {
    queue_.FlushStale();
    CountPending();
  }
}

base::Task<void> Scheduler::Run(base::Context ctx) {
  base::TaskScope informers(executor_, ctx);
  // Bindings are not cancelled with the loop: a decision that is half told to the server is finished.
  base::TaskScope bindings(executor_, base::Context());
  informers.Spawn(node_informer_.Run(informers.context()));
  informers.Spawn(pod_informer_.Run(informers.context()));
  informers.Spawn(FlushLoop(informers.context()));
  bool ready = (co_await node_informer_.WaitForSync(ctx)).ok() && (co_await pod_informer_.WaitForSync(ctx)).ok();
  while (ready) {
    auto pod = co_await queue_.Pop(ctx);
    if (!pod) break;
    ScheduleOne(bindings, std::move(*pod));
    CountPending();
    // The watch and the bindings get their turn between two decisions.
    co_await base::Yield(executor_);
    while (bindings.running() > kMaxBindings && !ctx.done())
      (void)co_await base::Sleep(executor_, ctx, std::chrono::milliseconds(1));
  }
  co_await informers.CancelAndJoin();
  co_await bindings.Join();
}

void Scheduler::ScheduleOne(base::TaskScope& bindings, QueuedPod pod) {
  if (!Ours(*pod.pod->pod)) return queue_.Finish(pod);
  base::MonoTime start = executor_.Now();
  CycleState state;
  Decision decision = Decide(framework_, state, *pod.pod, nodes_, random_, start_);
  metrics_->algorithm.Observe(Seconds(executor_.Now() - start));
  if (!decision.node) return Fail(bindings, std::move(pod), decision);
  std::string node = nodes_.name(*decision.node);
  nodes_.Assume(*pod.pod, node);
  auto reserved = framework_.RunReserve(state, *pod.pod, node);
  auto permit = reserved.ok() ? framework_.RunPermit(state, *pod.pod, node) : PermitPlugin::Answer{reserved, {}};
  if (!permit.verdict.ok() && permit.verdict.code != Code::kWait) {
    framework_.RunUnreserve(state, *pod.pod, node);
    nodes_.Forget(pod.pod->uid);
    Decision refused;
    for (const auto& r : permit.verdict.reasons) refused.message += r;
    refused.error = permit.verdict.code == Code::kError;
    return Fail(bindings, std::move(pod), refused);
  }
  if (permit.verdict.code == Code::kWait) waiting_.emplace(pod.pod->uid, Waiting{permit.timeout, executor_});
  bindings.Spawn(BindPod(bindings.context(), std::move(pod), std::move(node), std::move(state)));
}

base::Task<base::Status> Scheduler::WaitForPermit(base::Context ctx, std::string uid) {
  auto it = waiting_.find(uid);
  if (it == waiting_.end()) co_return base::Ok();
  auto answer = co_await it->second.answer->Wait(ctx.WithTimeout(executor_, it->second.timeout));
  waiting_.erase(uid);
  if (!answer) co_return answer.error();
  co_return answer->empty() ? base::Ok() : base::Aborted(*answer);
}

void Scheduler::AnswerPermit(const std::string& uid, std::string refusal) {
  auto it = waiting_.find(uid);
  if (it != waiting_.end()) it->second.answer->Set(std::move(refusal));
}

base::Task<void> Scheduler::BindPod(base::Context ctx, QueuedPod pod, std::string node, CycleState state) {
  base::MonoTime start = executor_.Now();
  base::Status status = co_await WaitForPermit(ctx, pod.pod->uid);
  if (status.ok()) status = co_await framework_.RunBind(ctx.WithTimeout(executor_, kBindTimeout), *pod.pod, node);
  const std::string result = status.ok() ? "scheduled" : "error";
  metrics_->attempts.With({options_.scheduler_name, result}).Add();
  metrics_->duration.With({options_.scheduler_name, result}).Observe(Seconds(executor_.Now() - start));
  if (status.ok()) {
    queue_.Finish(pod);
    const auto& m = pod.pod->pod->metadata();
    base::LogV(2, "Successfully bound pod to node", {{"pod", pod.pod->key}, {"node", node}});
    events_.Event(client::ReferenceTo(*pod.pod->pod), "Normal", "Scheduled",
                  "Successfully assigned " + m.namespace_() + "/" + m.name() + " to " + node, "Binding");
    co_return;
  }
  framework_.RunUnreserve(state, *pod.pod, node);
  nodes_.Forget(pod.pod->uid);
  // Somebody else's decision, or the pod is gone: the watch tells. Otherwise the answer may be lost and the binding
  // done; a new attempt then gets a conflict and ends here.
  queue_.Move({EventKind::kAssignedPodGone, nullptr, nullptr, pod.pod->pod.get()});
  if (machinery::object::IsNotFound(status)) co_return queue_.Finish(pod);
  base::LogError("Failed to bind pod", status, {{"pod", pod.pod->key}, {"node", node}});
  if (!nodes_.has_pod(pod.pod->uid)) queue_.AddBackoff(std::move(pod));
}

void Scheduler::Fail(base::TaskScope& tasks, QueuedPod pod, const Decision& decision) {
  metrics_->attempts.With({options_.scheduler_name, decision.error ? "error" : "unschedulable"}).Add();
  base::LogV(2, "Unable to schedule pod", {{"pod", pod.pod->key}, {"err", decision.message}});
  events_.Event(client::ReferenceTo(*pod.pod->pod), "Warning", "FailedScheduling", decision.message, "Scheduling");
  tasks.Spawn(
      WriteCondition(tasks.context(), pod.pod, decision.error ? "SchedulerError" : "Unschedulable", decision.message));
  pod.rejected_by = decision.rejected_by;
  if (decision.error)
    queue_.AddBackoff(std::move(pod));
  else
    queue_.AddUnschedulable(std::move(pod));
}

base::Task<void> Scheduler::WriteCondition(base::Context ctx, std::shared_ptr<const PodInfo> pod, std::string reason,
                                           std::string message) {
  Pod object = *pod->pod;
  auto* conditions = object.mutable_status()->mutable_conditions();
  auto it =
      std::find_if(conditions->begin(), conditions->end(), [](const auto& c) { return c.type() == "PodScheduled"; });
  auto* condition = it == conditions->end() ? conditions->Add() : &*it;
  bool same = condition->status() == "False" && condition->reason() == reason && condition->message() == message &&
              condition->observedgeneration() == object.metadata().generation();
  if (same) co_return;
  if (condition->status() != "False") client::SetTime(*condition->mutable_lasttransitiontime(), executor_.WallNow());
  condition->set_type("PodScheduled");
  condition->set_status("False");
  condition->set_observedgeneration(object.metadata().generation());
  condition->set_reason(std::move(reason));
  condition->set_message(std::move(message));
  auto done = co_await client_.UpdateStatus<Pod>(ctx.WithTimeout(executor_, kBindTimeout), std::move(object));
  // A conflict means somebody else wrote; the pod comes round again and says it then.
  if (!done && !machinery::object::IsConflict(done.error()) && !machinery::object::IsNotFound(done.error()))
    base::LogError("Failed to update the pod's condition", done.error(), {{"pod", pod->key}});
}

}  // namespace scheduler
