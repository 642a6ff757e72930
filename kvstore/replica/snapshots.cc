#include "kvstore/replica/snapshots.h"

#include <algorithm>

#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/export.h"

namespace kvstore::replica {

using base::Err;
using base::Result;
using base::Task;
using raft::NodeId;

namespace {
constexpr uint64_t kMaxLogBytes = 64 << 20;  // beyond it fewer entries are kept for followers that lag
constexpr uint64_t kFewEntries = 500;
constexpr base::Duration kCatchUpTime = std::chrono::seconds(10);
}  // namespace

// ---- in

void Snapshots::Logged(raft::Message&& m) {
  if (m.snapshot) {
    // Its answers vouch for the state too.
    installing_.push_back(std::move(m));
    return;
  }
  for (raft::Message& r : m.responses) {
    if (installing_.empty()) {
      route(std::move(r));
    } else {
      installing_.back().responses.push_back(std::move(r));
    }
  }
}

void Snapshots::MaybeInstall() {
  if (installing_.empty() || importing_ || !apply_.empty()) return;
  if (maintenance_.checkpointing() || shared_.life.failed()) return;
  Install(installing_.front().snapshot->meta);
}

// Made beside the strand, so that this member goes on answering its leader and its clients meanwhile.
void Snapshots::Install(const raft::SnapshotMeta& meta) {
  importing_ = true;
  auto job = std::make_shared<Installation>();
  job->data_dir = shared_.options.data_dir;
  job->meta = meta;
  job->store = shared_.store->Beside();
  base::LogInfo("applying snapshot",
                {{"current-applied-index", core_.applied().index}, {"incoming-snapshot-index", job->meta.index}});
  shared_.env.other_pool.Run([job, &fs = shared_.env.fs] { job->result = job->Run(fs); }, shared_.env.executor,
                             [this, job, alive = shared_.life.token()] {
                               if (*alive) Installed(*job);
                             });
}

void Snapshots::Installed(Installation& done) {
  importing_ = false;
  if (shared_.life.failed()) return;
  if (!done.result.ok()) {
    shared_.life.Fail(done.result.Annotate("snapshot: "));
    return shared_.life.idle.NotifyAll();
  }
  raft::Message work = std::move(installing_.front());
  installing_.pop_front();
  mvcc::Store& store = *shared_.store;
  int64_t told = store.revision();
  store.Replace(*done.store);
  shared_.applier->Load();
  store.leases().ExtendAll(shared_.env.executor.Now());
  core_.Restored(done.meta);
  maintenance_.Replaced(done.meta.index);
  // What was proposed here and is inside the snapshot can no longer be answered: its proposers time out.
  store.RestartWatches(told);
  on_replaced();
  base::LogInfo("applied snapshot", {{"snapshot-index", done.meta.index}, {"revision", store.revision()}});
  for (raft::Message& r : work.responses) route(std::move(r));
  disk_.Add(std::move(done.database));
  Bury(std::move(done.store));
  MaybeInstall();
  on_installed();
  core_.Schedule();
  if (installing_.empty()) shared_.life.idle.NotifyAll();
}

// What a snapshot replaced takes long to free.
void Snapshots::Bury(std::unique_ptr<mvcc::Store> replaced) {
  struct Job {
    std::unique_ptr<mvcc::Store> store;
    std::vector<std::shared_ptr<base::File>> files;
  };
  auto job = std::make_shared<Job>(Job{std::move(replaced), {}});
  auto work = [job] {
    job->files = job->store->Abandon();
    job->store.reset();
  };
  shared_.env.other_pool.Run(work, shared_.env.executor, [this, job, alive = shared_.life.token()] {
    if (!*alive) return;
    for (auto& file : job->files) disk_.Add(std::move(file));
    disk_.Tend();
  });
}

// ---- out

Task<void> Snapshots::Send(raft::Message m) {
  auto alive = shared_.life.token();
  NodeId to = m.to;
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->meta = core_.applied();
  catching_up_[to] = core_.applied().index;
  auto image = co_await TakeImage(*shared_.store, core_.Mark(), shared_.env.executor,
                                  [this, alive] { return *alive && !shared_.life.stopping(); });
  if (!*alive) co_return;
  m.snapshot = std::move(snapshot);
  struct Job {
    Result<DatabaseImage> image;
    Result<std::unique_ptr<DatabaseStream>> database = Err(mvcc::ErrStopped());
  };
  auto job = std::make_shared<Job>(Job{std::move(image)});
  auto lay_out = [job] {
    job->database = job->image ? DatabaseStream::Make(std::move(*job->image)) : Err(job->image.error());
  };
  shared_.env.other_pool.Run(lay_out, shared_.env.executor, [this, job, alive, m = std::move(m)]() mutable {
    if (!*alive) return;
    if (job->database) return shared_.transport->SendSnapshot(std::move(m), std::move(*job->database));
    base::LogError("failed to make a database snapshot", job->database.error(),
                   {{"remote-peer-id", mvcc::MemberKey(m.to)}});
    Report(m.to, true);
  });
}

void Snapshots::Report(NodeId peer, bool failed) {
  if (shared_.life.failed() || !shared_.life.started()) return;
  core_.raft().ReportSnapshot(peer, failed);
  core_.ScheduleIfReady();
  auto from = catching_up_.find(peer);
  if (from == catching_up_.end()) return;
  // It has the state of some time ago: what came since must still be here when it asks.
  shared_.env.executor.After(failed ? base::Duration(0) : kCatchUpTime,
                             [this, alive = shared_.life.token(), peer, index = from->second] {
                               if (!*alive) return;
                               auto still = catching_up_.find(peer);
                               if (still != catching_up_.end() && still->second == index) catching_up_.erase(still);
                             });
}

void Snapshots::CompactLog() {
  const auto& [members, applied, term] = core_.applied();
  raft::MemoryStorage& log = core_.storage();
  bool alone = members.voters.size() <= 1 && members.learners.empty() && members.voters_outgoing.empty();
  if (alone) return log.Compact(applied);
  bool large = log.bytes() > kMaxLogBytes;
  uint64_t keep = large ? std::min(kFewEntries, shared_.options.catch_up_entries) : shared_.options.catch_up_entries;
  uint64_t to = applied > keep ? applied - keep : 0;
  for (const auto& [peer, index] : catching_up_) to = large ? to : std::min(to, index);
  if (to > 0) log.Compact(to);
}

}  // namespace kvstore::replica
