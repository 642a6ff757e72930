// The scheduler's shell: follows pods and nodes, takes pods from the queue one at a time, asks the cycle for a node and
// binds in the background. Everything it knows comes from the watch; a restart loses nothing.
//
// One strand; owns no thread. Simulations run it whole.
#pragma once

#include <memory>
#include <string>

#include "base/metrics.h"
#include "base/random.h"
#include "machinery/client/event_recorder.h"
#include "machinery/client/informer.h"
#include "scheduler/cycle.h"
#include "scheduler/queue.h"

namespace scheduler {

struct SchedulerOptions {
  std::string scheduler_name = "default-scheduler";
  QueueOptions queue;
};

class Scheduler {
 public:
  // tidy: parameters: the world comes in by constructor
  Scheduler(base::Executor& executor, machinery::client::Client& client, machinery::client::EventRecorder& events,
            base::Random random, base::MetricsRegistry& metrics, SchedulerOptions options = {});
  ~Scheduler();
  // Until the context ends; bindings under way are finished.
  base::Task<void> Run(base::Context ctx);
  bool synced() const;

  // Ends the wait of a pod whose Permit said kWait: "" lets it be bound, words refuse it.
  // tidy: unused: the other end of kWait, for the first plug-in that waits
  void AnswerPermit(const std::string& uid, std::string refusal);

  const NodeTable& nodes() const { return nodes_; }
  const SchedulingQueue& queue() const { return queue_; }

 private:
  using PodChange = machinery::client::Change<Pod>;
  using NodeChange = machinery::client::Change<Node>;
  void OnPod(const PodChange& change);
  void OnNode(const NodeChange& change);
  bool Ours(const Pod& pod) const;
  void ScheduleOne(base::TaskScope& bindings, QueuedPod pod);
  void Fail(base::TaskScope& tasks, QueuedPod pod, const Decision& decision);
  base::Task<base::Status> WaitForPermit(base::Context ctx, std::string uid);
  base::Task<void> BindPod(base::Context ctx, QueuedPod pod, std::string node, CycleState state);
  base::Task<void> WriteCondition(base::Context ctx, std::shared_ptr<const PodInfo> pod, std::string reason,
                                  std::string message);
  base::Task<void> FlushLoop(base::Context ctx);
  void CountPending();

  base::Executor& executor_;
  machinery::client::Client& client_;
  machinery::client::EventRecorder& events_;
  base::Random random_;
  SchedulerOptions options_;
  Framework framework_;
  NodeTable nodes_;
  SchedulingQueue queue_;
  machinery::client::Informer<Pod> pod_informer_;
  machinery::client::Informer<Node> node_informer_;
  size_t start_ = 0;
  struct Waiting {
    Waiting(base::Duration t, base::Executor& e)
        : timeout(t), answer(std::make_unique<base::OneShot<std::string>>(e)) {}
    base::Duration timeout;
    std::unique_ptr<base::OneShot<std::string>> answer;
  };
  std::map<std::string, Waiting> waiting_;  // by uid
  struct Metrics;
  std::unique_ptr<Metrics> metrics_;
};

// What the scheduler never looks at is dropped from its copies, to save memory.
void TrimPod(Pod& pod);
void TrimNode(Node& node);

}  // namespace scheduler
