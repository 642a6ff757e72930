#include "kvstore/replica/disk_tender.h"

#include <chrono>
#include <optional>

namespace kvstore::replica {

namespace {
// Others' fsyncs have the disk in between.
constexpr base::Duration kDiskPause = std::chrono::milliseconds(3);
}  // namespace

struct DiskTender::Step {
  std::optional<mvcc::Segments::SyncStep> sync;
  std::function<void()> shrink;
  base::MonoTime from;
  base::Status result;
};

void DiskTender::Tend() {
  if (tending_ || shared_.life.failed()) return;
  auto sync = shared_.store->NextSync();
  auto shrink = dying_.Next();
  if (!sync && !shrink) return on_tended();
  tending_ = true;
  base::Executor& executor = shared_.env.executor;
  auto step =
      std::make_shared<Step>(Step{.sync = std::move(sync), .shrink = std::move(shrink), .from = executor.Now()});
  auto work = [step] {
    if (step->sync) step->result = step->sync->Run();
    if (step->shrink) step->shrink();
  };
  shared_.env.other_pool.Run(work, executor, [this, step, alive = shared_.life.token()] {
    if (*alive) Ended(*step);
  });
}

void DiskTender::Ended(Step& step) {
  if (!step.result.ok()) {
    shared_.life.Fail(step.result.Annotate("segments: "));
    return shared_.life.idle.NotifyAll();
  }
  base::Executor& executor = shared_.env.executor;
  if (step.sync) shared_.store->Synced(*step.sync);
  if (step.sync && shared_.observers.on_work) shared_.observers.on_work(Work::kDiskSync, executor.Now() - step.from);
  on_tended();
  executor.After(kDiskPause, [this, alive = shared_.life.token()] {
    if (!*alive) return;
    tending_ = false;
    Tend();
  });
}

}  // namespace kvstore::replica
