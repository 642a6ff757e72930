#include "kvstore/replica/maintenance.h"

#include "kvstore/mvcc/errors.h"

namespace kvstore::replica {

using base::Context;
using base::Err;
using base::Ok;
using base::Result;
using base::Status;
using base::Task;

namespace {
// Log segments behind the checkpoint that are too many to keep.
constexpr size_t kMaxLogSegments = 3;
constexpr base::Duration kDefragmentPoll = std::chrono::milliseconds(5);
// Written by compaction and not on the disk yet: with more it waits.
constexpr uint64_t kMaxUnsynced = 4 << 20;
// Of segments that only a checkpoint gives back, while compaction goes on.
constexpr uint64_t kMaxDropped = 256 << 20;
}  // namespace

Maintenance::Maintenance(Shared& shared, Core& core, DiskTender& disk, LogLane& log)
    : shared_(shared), core_(core), disk_(disk), log_(log), checkpointed_(core.applied().index) {}

// ---- compaction

void Maintenance::Begin() {
  if (std::exchange(scheduled_, true)) return;
  shared_.life.InNextTurn([this] {
    scheduled_ = false;
    if (shared_.life.usable()) Step();
  });
}

void Maintenance::Step() {
  mvcc::Store& store = *shared_.store;
  base::Executor& executor = shared_.env.executor;
  if (store.unsynced_bytes() > kMaxUnsynced || snapshot_runs()) {
    waits_ = true;
    return disk_.Tend();
  }
  bool compacts = store.compacting();
  if (compacts && compacting_since_ == base::MonoTime{}) compacting_since_ = executor.Now();
  base::MonoTime from = executor.Now();
  auto more = store.MaintenanceStep();
  if (compacts && shared_.observers.on_work) shared_.observers.on_work(Work::kCompactionStep, executor.Now() - from);
  if (!store.compacting() && compacting_since_ != base::MonoTime{}) Compacted();
  if (!more) return shared_.life.Fail(more.error().Annotate("compaction: "));
  if (auto view = store.TakeViewToHash()) HashCompaction(std::move(view));
  if (*more) Begin();
  MaybeCheckpoint();
  disk_.Tend();
}

void Maintenance::Resume() {
  if (!waits_ || snapshot_runs() || shared_.store->unsynced_bytes() > kMaxUnsynced) return;
  waits_ = false;
  Begin();
}

void Maintenance::HashCompaction(std::shared_ptr<mvcc::View> view) {
  auto hash = std::make_shared<Result<uint32_t>>(0);
  auto work = [view, hash] {
    mvcc::Sort(*view);
    *hash = mvcc::HashOf(*view);
  };
  shared_.env.other_pool.Run(work, shared_.env.executor, [this, view, hash, alive = shared_.life.token()] {
    if (*alive) shared_.store->RememberHash(*view, *hash);
  });
}

void Maintenance::Compacted() {
  base::Duration took = shared_.env.executor.Now() - std::exchange(compacting_since_, {});
  ++shared_.counters.compactions;
  shared_.counters.last_compaction =
      std::chrono::duration_cast<std::chrono::seconds>(shared_.env.executor.WallNow().time_since_epoch()).count();
  if (shared_.observers.on_work) shared_.observers.on_work(Work::kCompaction, took);
}

Task<Status> Maintenance::Defragment(Context ctx) {
  auto alive = shared_.life.token();
  auto usable = [&] { return *alive && shared_.life.usable(); };
  if (!usable()) co_return mvcc::ErrStopped();
  mvcc::Store& store = *shared_.store;
  CO_TRY(store.Defragment());
  Begin();
  // The files go with a checkpoint, which comes by itself when nothing else is to be rewritten.
  while (store.defragmenting() || store.dropped_bytes() > 0 || checkpointing_) {
    CO_TRY(co_await base::Sleep(shared_.env.executor, ctx, kDefragmentPoll));
    if (!usable()) co_return mvcc::ErrStopped();
    MaybeCheckpoint();
  }
  co_return Ok();
}

void Maintenance::SyncWatchers() {
  if (std::exchange(syncing_watchers_, true)) return;
  shared_.life.InNextTurn([this] {
    syncing_watchers_ = false;
    if (shared_.life.failed()) return;
    auto more = shared_.store->watches().SyncStep();
    if (!more) return shared_.life.Fail(more.error().Annotate("history: "));
    if (*more) SyncWatchers();
  });
}

// ---- checkpoints

void Maintenance::MaybeCheckpoint() {
  if (checkpointing_ || snapshot_waits() || shared_.life.stopping()) return;
  // Space that compaction freed comes back with a checkpoint.
  bool reclaims = shared_.store->dropped_bytes() > (scheduled_ || waits_ ? kMaxDropped : 0);
  uint64_t applied = core_.applied().index;
  bool due = applied - checkpointed_ >= shared_.options.snapshot_count || log_.segments() > kMaxLogSegments;
  if (!reclaims && (!due || applied == checkpointed_)) return;
  Status s = StartCheckpoint();
  if (!s.ok()) shared_.life.Fail(s.Annotate("checkpoint: "));
}

Status Maintenance::StartCheckpoint() {
  TRY_ASSIGN(mvcc::Store::Checkpoint prepared, shared_.store->PrepareCheckpoint(core_.Mark()));
  checkpointing_ = true;
  struct Job {
    mvcc::Store::Checkpoint checkpoint;
    base::Duration state_file{};
    Status result;
  };
  base::Executor& executor = shared_.env.executor;
  auto job = std::make_shared<Job>(Job{.checkpoint = std::move(prepared), .result = Ok()});
  auto work = [job, clock = &executor.clock()]() -> Status {
    TRY(job->checkpoint.SyncKeys());
    base::MonoTime from = clock->Now();
    TRY(job->checkpoint.WriteState());
    job->state_file = clock->Now() - from;
    return Ok();
  };
  shared_.env.other_pool.Run([job, work] { job->result = work(); }, executor,
                             [this, job, alive = shared_.life.token(), from = executor.Now()] {
                               if (!*alive) return;
                               if (const auto& on_work = shared_.observers.on_work) {
                                 on_work(Work::kStateFile, job->state_file);
                                 on_work(Work::kCheckpoint, shared_.env.executor.Now() - from);
                               }
                               if (!job->result.ok()) {
                                 CheckpointDone(Err(job->result));
                               } else {
                                 CheckpointDone(std::move(job->checkpoint));
                               }
                             });
  return Ok();
}

void Maintenance::CheckpointDone(Result<mvcc::Store::Checkpoint> done) {
  checkpointing_ = false;
  if (!done) {
    shared_.life.Fail(done.error().Annotate("checkpoint: "));
    shared_.life.idle.NotifyAll();
    return;
  }
  shared_.store->FinishCheckpoint(*done);
  ++shared_.counters.checkpoints;
  for (auto& dropped : done->files.dropped) disk_.Add(std::move(dropped.file));
  disk_.Tend();
  const mvcc::AppliedMark& mark = done->mark;
  if (std::exchange(checkpointed_, mark.index) != mark.index) {
    auto members = wal::DecodeConfState(mark.conf_state);
    log_.Release({members.value_or(raft::ConfState()), mark.index, mark.term});
  }
  on_checkpoint();
  log_.Pump();
  if (!log_.busy()) shared_.life.idle.NotifyAll();
}

}  // namespace kvstore::replica
