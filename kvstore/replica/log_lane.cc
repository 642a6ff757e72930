#include "kvstore/replica/log_lane.h"

#include <algorithm>

namespace kvstore::replica {

using base::Ok;
using base::Status;

// What goes to the log in one write and one sync.
struct LogLane::Work {
  raft::HardState before;
  std::vector<raft::Message> batch;
  raft::SnapshotMeta release;
  Status Save(wal::Wal& wal);  // once
  size_t Bytes() const;        // what it comes to, at most

  bool saved = false;
  Status result;
  base::MonoTime begun, from, to;
  uint64_t bytes = 0;
  size_t segments = 0;
  std::vector<std::string> released;
};

Status LogLane::Work::Save(wal::Wal& wal) {
  if (std::exchange(saved, true)) return Ok();
  TRY(wal.Save(before, {}));
  for (const raft::Message& m : batch) {
    if (m.snapshot) TRY(wal.StartOver(m.snapshot->meta));
    TRY(wal.Save({m.term, m.vote, m.commit}, m.entries));
  }
  return release.index != 0 ? wal.SaveSnapshot(release) : Ok();
}

size_t LogLane::Work::Bytes() const {
  constexpr size_t kFrame = 128;  // around a record, at most
  size_t bytes = kFrame;
  for (const raft::Message& m : batch) bytes += kFrame * (1 + m.entries.size()) + raft::EncodedSize(m.entries);
  return bytes;
}

LogLane::LogLane(Shared& shared, Core& core, DiskTender& disk, std::shared_ptr<wal::Wal> wal,
                 const raft::HardState& saved)
    : shared_(shared), core_(core), disk_(disk), wal_(std::move(wal)), saved_(saved) {}

void LogLane::Release(const raft::SnapshotMeta& upto) { release_ = upto; }

// A commit index alone is not written until something else is: nobody depends on it.
bool LogLane::NothingToWrite(const raft::Message& m) const {
  return m.entries.empty() && !m.snapshot && (m.term == 0 || (m.term == saved_.term && m.vote == saved_.vote));
}

void LogLane::Pump() {
  if (busy_ || shared_.life.failed()) return;
  LogLight();
  bool last_words = shared_.life.stopping() && !unsaved_.empty();
  if (waiting_.empty() && release_.index == 0 && !last_words) return;
  busy_ = true;
  busy_since_ = shared_.env.executor.Now();
  auto work = std::make_shared<Work>();
  work->before = std::exchange(unsaved_, {});
  work->batch = std::exchange(waiting_, std::move(spare_batch_));
  if (release_.index != 0) work->release = std::exchange(release_, {});
  if (!StartWork(work)) RunWork(work);
}

// What stands in front and needs no writing is as good as written.
void LogLane::LogLight() {
  auto rest = std::find_if(waiting_.begin(), waiting_.end(), [this](const auto& m) { return !NothingToWrite(m); });
  if (rest == waiting_.begin()) return;
  for (auto m = waiting_.begin(); m != rest; ++m) {
    if (m->term != 0) unsaved_ = {m->term, m->vote, m->commit};
    Logged(std::move(*m));
  }
  waiting_.erase(waiting_.begin(), rest);
  core_.ScheduleIfReady();
}

// Small work goes to the disk from here, where that can be done without waiting: waking a thread and being woken by it
// costs more than the write. False: it is the pool's.
bool LogLane::StartWork(const std::shared_ptr<Work>& work) {
  bool ordinary = work->release.index == 0 &&
                  std::none_of(work->batch.begin(), work->batch.end(), [](const auto& m) { return m.snapshot; });
  if (!ordinary || !start_policy_.Allows(busy_since_) || !wal_->MayStartSync(work->Bytes())) return false;
  work->begun = busy_since_;
  work->result = work->Save(*wal_);
  if (!work->result.ok()) {
    shared_.life.Post([this, work] { WorkEnded(*work); });
    return true;
  }
  work->from = shared_.env.executor.Now();
  return wal_->StartSync([this, work, alive = shared_.life.token(), wal = wal_](Status result) {
    if (!*alive) return;
    if (result.code() == base::Code::kUnavailable) return RunWork(work);
    work->result = std::move(result);
    work->to = shared_.env.executor.Now();
    start_policy_.StartedTook(work->to, work->to - work->from);
    work->bytes = wal->bytes_written();
    work->segments = wal->segments();
    WorkEnded(*work);
  });
}

void LogLane::RunWork(const std::shared_ptr<Work>& work) {
  shared_.env.log_pool.Run(
      [work, wal = wal_, clock = &shared_.env.executor.clock(), no_sync = shared_.options.unsafe_no_sync] {
        auto run = [&]() -> Status {
          work->begun = clock->Now();
          TRY(work->Save(*wal));
          work->from = clock->Now();
          if (!no_sync) TRY(wal->Sync());
          work->to = clock->Now();
          work->bytes = wal->bytes_written();
          if (work->release.index != 0) work->released = wal->ReleaseTo(work->release.index);
          work->segments = wal->segments();
          return Ok();
        };
        work->result = run();
      },
      shared_.env.executor,
      [this, work, alive = shared_.life.token()] {
        if (!*alive) return;
        start_policy_.ThreadTook(work->to, work->to - work->from);
        WorkEnded(*work);
      });
}

void LogLane::WorkEnded(Work& work) {
  if (work.result.ok()) segments_ = work.segments;
  if (!work.released.empty()) RemoveFiles(std::move(work.released));
  if (work.result.ok() && shared_.observers.on_sync) {
    shared_.observers.on_sync(work.to - work.from, work.from - work.begun);
  }
  shared_.counters.log_bytes = std::max(shared_.counters.log_bytes, work.bytes);
  Done(std::move(work.batch), work.result);
}

// Beside the log lane: puts would wait for it.
void LogLane::RemoveFiles(std::vector<std::string> files) {
  struct Job {
    std::vector<std::shared_ptr<base::File>> gone;
    Status result;
  };
  auto job = std::make_shared<Job>();
  auto work = [&fs = shared_.env.fs, directory = shared_.options.wal_dir, files = std::move(files), job]() -> Status {
    for (const std::string& f : files) {
      TRY_ASSIGN(auto file, fs.Open(f, base::OpenMode::kReadWrite));
      TRY(fs.Remove(f));
      job->gone.push_back(std::move(file));
    }
    return fs.SyncDirectory(directory);
  };
  shared_.env.other_pool.Run([job, work = std::move(work)] { job->result = work(); }, shared_.env.executor,
                             [this, job, alive = shared_.life.token()] {
                               if (!*alive) return;
                               if (!job->result.ok()) {
                                 return shared_.life.Fail(job->result.Annotate("write-ahead log: "));
                               }
                               for (auto& file : job->gone) disk_.Add(std::move(file));
                               disk_.Tend();
                             });
}

void LogLane::Done(std::vector<raft::Message> done, Status result) {
  busy_ = false;
  if (!result.ok()) {
    shared_.life.Fail(result.Annotate("write-ahead log: "));
    shared_.life.idle.NotifyAll();
    return;
  }
  ++shared_.counters.syncs;
  for (raft::Message& m : done) {
    if (m.term != 0) saved_ = {m.term, m.vote, m.commit};
    Logged(std::move(m));
  }
  done.clear();
  spare_batch_ = std::move(done);
  on_written();
  if (!busy_) shared_.life.idle.NotifyAll();
}

// What the log was to keep is kept.
void LogLane::Logged(raft::Message&& m) {
  raft::MemoryStorage& log = core_.storage();
  if (m.snapshot) log.Restore(m.snapshot);
  log.Append(m.entries);
  if (m.term != 0) log.SetHardState({m.term, m.vote, m.commit});
  on_logged(std::move(m));
}

}  // namespace kvstore::replica
