#include "kvstore/replica/log_lane.h"

#include <algorithm>

namespace kvstore::replica {

using base::Ok;
using base::Status;

// What goes to the log in one write and one sync.
struct LogLane::Write {
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

Status LogLane::Write::Save(wal::Wal& wal) {
  if (std::exchange(saved, true)) return Ok();
  TRY(wal.Save(before, {}));
  for (const raft::Message& m : batch) {
    if (m.snapshot) TRY(wal.StartOver(m.snapshot->meta));
    TRY(wal.Save({m.term, m.vote, m.commit}, m.entries));
  }
  return release.index != 0 ? wal.SaveSnapshot(release) : Ok();
}

size_t LogLane::Write::Bytes() const {
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
  auto write = std::make_shared<Write>();
  write->before = std::exchange(unsaved_, {});
  write->batch = std::exchange(waiting_, std::move(spare_batch_));
  if (release_.index != 0) write->release = std::exchange(release_, {});
  if (!StartWrite(write)) RunWrite(write);
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

// A small one goes to the disk from here, where that can be done without waiting: waking a thread and being woken by it
// costs more than the write. False: it is the pool's.
bool LogLane::StartWrite(const std::shared_ptr<Write>& write) {
  bool ordinary = write->release.index == 0 &&
                  std::none_of(write->batch.begin(), write->batch.end(), [](const auto& m) { return m.snapshot; });
  if (!ordinary || !start_policy_.Allows(busy_since_) || !wal_->MayStartSync(write->Bytes())) return false;
  write->begun = busy_since_;
  write->result = write->Save(*wal_);
  if (!write->result.ok()) {
    shared_.life.Post([this, write] { WriteEnded(*write); });
    return true;
  }
  write->from = shared_.env.executor.Now();
  return wal_->StartSync([this, write, alive = shared_.life.token(), wal = wal_](Status result) {
    if (!*alive) return;
    if (result.code() == base::Code::kUnavailable) return RunWrite(write);
    write->result = std::move(result);
    write->to = shared_.env.executor.Now();
    start_policy_.StartedTook(write->to, write->to - write->from);
    write->bytes = wal->bytes_written();
    write->segments = wal->segments();
    WriteEnded(*write);
  });
}

void LogLane::RunWrite(const std::shared_ptr<Write>& write) {
  shared_.env.log_pool.Run(
      [write, wal = wal_, clock = &shared_.env.executor.clock(), no_sync = shared_.options.unsafe_no_sync] {
        auto run = [&]() -> Status {
          write->begun = clock->Now();
          TRY(write->Save(*wal));
          write->from = clock->Now();
          if (!no_sync) TRY(wal->Sync());
          write->to = clock->Now();
          write->bytes = wal->bytes_written();
          if (write->release.index != 0) write->released = wal->ReleaseTo(write->release.index);
          write->segments = wal->segments();
          return Ok();
        };
        write->result = run();
      },
      shared_.env.executor,
      [this, write, alive = shared_.life.token()] {
        if (!*alive) return;
        start_policy_.ThreadTook(write->to, write->to - write->from);
        WriteEnded(*write);
      });
}

void LogLane::WriteEnded(Write& write) {
  if (write.result.ok()) segments_ = write.segments;
  if (!write.released.empty()) RemoveFiles(std::move(write.released));
  if (write.result.ok() && shared_.observers.on_sync) {
    shared_.observers.on_sync(write.to - write.from, write.from - write.begun);
  }
  shared_.counters.log_bytes = std::max(shared_.counters.log_bytes, write.bytes);
  Done(std::move(write.batch), write.result);
}

// Beside the log lane: puts would wait for it.
void LogLane::RemoveFiles(std::vector<std::string> files) {
  struct Job {
    std::vector<std::shared_ptr<base::File>> gone;
    Status result;
  };
  auto job = std::make_shared<Job>();
  auto remove = [&fs = shared_.env.fs, directory = shared_.options.wal_dir, files = std::move(files), job]() -> Status {
    for (const std::string& f : files) {
      TRY_ASSIGN(auto file, fs.Open(f, base::OpenMode::kReadWrite));
      TRY(fs.Remove(f));
      job->gone.push_back(std::move(file));
    }
    return fs.SyncDirectory(directory);
  };
  shared_.env.other_pool.Run([job, remove = std::move(remove)] { job->result = remove(); }, shared_.env.executor,
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
