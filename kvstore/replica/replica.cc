#include "kvstore/replica/replica.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/go_duration.h"
#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/view.h"
#include "kvstore/replica/identity.h"
#include "kvstore/replica/import.h"
#include "kvstore/wire/wire.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::replica {

using base::Context;
using base::Err;
using base::Ok;
using base::Result;
using base::Status;
using base::Task;
using mvcc::Answer;

namespace {

// Committed but not applied entries beyond which proposals are turned away.
constexpr uint64_t kMaxApplyLag = 5000;
// How much is applied before others on the strand have their turn.
constexpr size_t kApplyEntriesPerTurn = 128;
constexpr size_t kLeaseRevokesPerTick = 500;
constexpr base::Duration kRevokeRetry = std::chrono::seconds(5);
// Log segments behind the checkpoint that are too many to keep.
constexpr size_t kMaxLogSegments = 3;
constexpr base::Duration kReadRetry = std::chrono::milliseconds(500);
constexpr uint64_t kPublishEvery = 5;  // ticks
// How long followers may be left without word that the log is committed further, when nothing else is sent to them.
constexpr base::Duration kTellCommitAfter = std::chrono::milliseconds(1);
// Others' fsyncs have the disk in between.
constexpr base::Duration kDiskPause = std::chrono::milliseconds(3);
constexpr base::Duration kDefragmentPoll = std::chrono::milliseconds(5);
// Written by compaction and not on the disk yet: with more it waits.
constexpr uint64_t kMaxUnsynced = 4 << 20;
// Of segments that only a checkpoint gives back, while compaction goes on.
constexpr uint64_t kMaxDropped = 256 << 20;

std::string LeaseRevoke(int64_t id) {
  std::string inner, out;
  wire::PutUint(inner, 1, static_cast<uint64_t>(id));
  wire::PutBytes(out, 9, inner);
  return out;
}

}  // namespace

// Entries as messages, one after another in the same memory.
class Replica::EntryReader {
 public:
  // Good until the next call; null: unreadable.
  const etcdserverpb::InternalRaftRequest* Read(const std::string& bytes) {
    arena_.Reset();
    auto* r = google::protobuf::Arena::CreateMessage<etcdserverpb::InternalRaftRequest>(&arena_);
    // Into a message that is new: ParseFromString would first clear its forty fields.
    return r->MergeFromString(bytes) ? r : nullptr;
  }

 private:
  std::array<char, 2048> block_;
  google::protobuf::Arena arena_{block_.data(), block_.size()};
};

Replica::Replica(Environment env, Options options, base::Random random)
    : env_(env),
      options_(std::move(options)),
      random_(random),
      leader_event_(env.executor),
      idle_(env.executor),
      entry_reader_(std::make_unique<EntryReader>()) {
  if (options_.wal_dir.empty()) options_.wal_dir = options_.data_dir + "/member/wal";
  if (options_.unsafe_no_sync) options_.wal.blocks = nullptr;  // every write through them is a sync
}

Replica::~Replica() {
  *alive_ = nullptr;
  if (tick_timer_ != 0) env_.executor.CancelTimer(tick_timer_);
  FailWaiting();
}

void Replica::Post(base::Closure fn) {
  env_.executor.Post([alive = alive_, fn = std::move(fn)]() mutable {
    if (*alive) fn();
  });
}

// For work in steps: requests have their turn between two of them.
void Replica::InNextTurn(base::Closure fn) {
  env_.executor.After(base::Duration::zero(), [alive = alive_, fn = std::move(fn)]() mutable {
    if (*alive) fn();
  });
}

// ---- opening

Result<std::unique_ptr<Replica>> Replica::Open(Environment env, Options options, base::Random random) {
  std::unique_ptr<Replica> r(new Replica(env, std::move(options), random));
  TRY(r->OpenFiles());
  return r;
}

Status Replica::OpenFiles() {
  std::string member = options_.data_dir + "/member";
  TRY(env_.fs.MakeDirectories(member + "/snap"));
  TRY(FinishInstall());
  if (!store_) {
    TRY_ASSIGN(store_, mvcc::Store::Open(env_.fs, member + "/kv", options_.store));
  }
  if (store_->checkpointed().index == 0) TRY(ImportForeignState());
  applier_ = std::make_unique<mvcc::Applier>(*store_);
  store_->SetNow(env_.executor.Now());
  if (!wal::Exists(env_.fs, options_.wal_dir)) {
    if (store_->checkpointed().index != 0) {
      return base::DataLoss("the write-ahead log " + options_.wal_dir + " is missing, but there is a checkpoint");
    }
    TRY(CreateLog());
  }
  uint64_t after = store_->checkpointed().index;
  TRY_ASSIGN(wal::Wal::Opened opened, wal::Wal::Open(env_.fs, options_.wal_dir, after, options_.wal));
  wal_ = std::move(opened.wal);
  member_id_ = opened.contents.metadata.node_id;
  cluster_id_ = opened.contents.metadata.cluster_id;
  if (after == 0 && opened.contents.entries.empty() && !options_.existing) {
    TRY(Bootstrap());
    TRY_ASSIGN(opened, wal::Wal::Open(env_.fs, options_.wal_dir, after, options_.wal));
    wal_ = std::move(opened.wal);
  }
  if (options_.force_new_cluster) TRY(DropOthers(opened.contents));
  MakeRaft(std::move(opened.contents));
  return Ok();
}

// A data directory of etcd itself: its database becomes the first checkpoint, its log goes on.
Status Replica::ImportForeignState() {
  std::string db = options_.data_dir + "/member/snap/db";
  TRY_ASSIGN(bool exists, env_.fs.Exists(db));
  if (!exists) return Ok();
  TRY_ASSIGN(mvcc::AppliedMark mark, ImportDatabase(env_.fs, db, *store_));
  TRY_ASSIGN(mvcc::Store::Checkpoint c, store_->PrepareCheckpoint(mark));
  TRY(c.Run());
  store_->FinishCheckpoint(c);
  base::LogInfo("imported etcd database", {{"path", db}, {"consistent-index", mark.index}});
  return Ok();
}

void Replica::MakeRaft(wal::Contents contents) {
  const mvcc::AppliedMark& mark = store_->checkpointed();
  applied_ = checkpointed_ = mark.index;
  applied_term_ = mark.term;
  conf_state_ = wal::DecodeConfState(mark.conf_state).value_or(raft::ConfState());
  if (mark.index > 0) {
    auto base = std::make_shared<raft::Snapshot>();
    base->meta = {conf_state_, mark.index, mark.term};
    storage_.Restore(std::move(base));
  }
  storage_.Append(contents.entries);
  raft::HardState hs = contents.hard_state;
  saved_ = hs;
  // What was applied was committed, whether or not the commit index reached the log.
  hs.commit = std::clamp(hs.commit, mark.index, storage_.LastIndex());
  hs.term = std::max(hs.term, mark.term);
  storage_.SetHardState(hs);
  storage_.make_snapshot = [this] {
    auto s = std::make_shared<raft::Snapshot>();
    s->meta = {conf_state_, applied_, applied_term_};
    return s;
  };
  raft::Options o{.id = member_id_, .election_ticks = options_.election_ticks, .storage = &storage_};
  o.applied = mark.index;
  o.pre_vote = options_.pre_vote;
  o.commit_in_passing = true;
  o.tracer = raft::Tracer([](raft::TraceLevel level, const std::string& line) {
    // Ordinary with asynchronous writes, and as frequent.
    if (line.starts_with("entry at ")) return;
    if (level == raft::TraceLevel::kInfo) base::LogInfo(line, {{"logger", "raft"}});
    if (level > raft::TraceLevel::kInfo) base::LogWarning(line, {{"logger", "raft"}});
  });
  raft_ = std::make_unique<raft::Raft>(o, random_.Fork());
}

void Replica::Start() {
  // unreachable from outside: the program starts it once.
  CHECK(!started_);
  started_ = true;
  store_->watches().on_work = [this] { SyncWatchers(); };
  TellPeers();
  Schedule();
  // With nothing to apply either: a member that is alone leads at once, not after an election timeout.
  ScheduleApply();
  Tick();
}

// ---- loop lane

void Replica::Schedule() {
  if (std::exchange(scheduled_, true)) return;
  env_.executor.Post([alive = alive_] {
    if (Replica* r = *alive) r->ProcessScheduled();
  });
}

void Replica::ProcessScheduled() {
  scheduled_ = false;
  Process();
}

void Replica::Process() {
  if (!failure_.ok()) return;
  AskReads();
  TellCommit();
  raft::Ready rd = std::move(ready_);
  while (raft_->HasReady()) {
    raft_->TakeReady(rd);
    if (rd.soft_state) {
      if (rd.soft_state->leader != raft::kNone) ++counters_.leader_changes;
      LeaderChanged();
      bool leads = rd.soft_state->role == raft::Role::kLeader;
      if (leads && !was_leader_) BecameLeader();
      was_leader_ = leads;
      heartbeats_.clear();
    }
    AnswerReads(rd.read_states);
    for (raft::Message& m : rd.messages) RouteMessage(std::move(m));
  }
  ready_ = std::move(rd);
  PumpLog();
}

void Replica::RouteMessage(raft::Message&& m) {
  if (m.to == raft::kLocalAppendThread) {
    to_log_.push_back(std::move(m));
  } else if (m.to == raft::kLocalApplyThread) {
    to_apply_.push_back(std::move(m));
    ScheduleApply();
  } else if (m.to == member_id_) {
    (void)raft_->Step(std::move(m));
  } else if (transport_ != nullptr && !IsRemoved(m.to)) {
    if (m.type == raft::MessageType::kSnap) {
      base::SpawnNow(SendSnapshot(std::move(m)));
    } else {
      if (m.type == raft::MessageType::kHeartbeat) CountLate(m.to);
      transport_->Send(std::move(m));
    }
  }
}

// A leader whose followers wait twice as long as they should is told of: it or its disk is overloaded.
void Replica::CountLate(raft::NodeId heartbeat_to) {
  base::MonoTime now = env_.executor.Now();
  auto [last, first] = heartbeats_.try_emplace(heartbeat_to, now);
  base::Duration late = now - std::exchange(last->second, now) - 2 * options_.heartbeat;
  if (first || late <= base::Duration::zero()) return;
  ++counters_.heartbeats_late;
  base::LogWarning(
      "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk",
      {{"to", mvcc::MemberKey(heartbeat_to)},
       {"heartbeat-interval", base::FormatGoDuration(options_.heartbeat)},
       {"expected-duration", base::FormatGoDuration(2 * options_.heartbeat)},
       {"exceeded-duration", base::FormatGoDuration(late)}});
}

// A follower learns with the next append how far the log is committed. One that waits for an entry of its own is told
// at once, everybody when nothing is sent for a while.
void Replica::TellCommit() {
  raft_->TellCommit(0);
  if (telling_ || !raft_->CommitUntold()) return;
  telling_ = true;
  env_.executor.After(kTellCommitAfter, [this, alive = alive_, index = raft_->log().committed()] {
    if (!*alive) return;
    telling_ = false;
    if (!failure_.ok() || stopping_) return;
    raft_->TellCommit(index);
    if (raft_->HasReady()) Schedule();
  });
}

// ---- log lane

// A commit index alone is not written until something else is: nobody depends on it.
bool Replica::NothingToWrite(const raft::Message& m) const {
  return m.entries.empty() && !m.snapshot && (m.term == 0 || (m.term == saved_.term && m.vote == saved_.vote));
}

void Replica::PumpLog() {
  if (log_busy_ || !failure_.ok()) return;
  LogLight();
  if (to_log_.empty() && release_to_ == 0 && !(stopping_ && !unsaved_.empty())) return;
  log_busy_ = true;
  log_busy_since_ = env_.executor.Now();
  auto work = std::make_shared<LogWork>();
  work->before = std::exchange(unsaved_, {});
  work->batch = std::exchange(to_log_, std::move(spare_batch_));
  work->release_to = std::exchange(release_to_, 0);
  if (work->release_to != 0) work->release_meta = release_meta_;
  if (!StartLogWork(work)) RunLogWork(work);
}

// What stands in front and needs no writing is as good as written.
void Replica::LogLight() {
  auto rest = std::find_if(to_log_.begin(), to_log_.end(), [this](const auto& m) { return !NothingToWrite(m); });
  if (rest == to_log_.begin()) return;
  for (auto m = to_log_.begin(); m != rest; ++m) {
    if (m->term != 0) unsaved_ = {m->term, m->vote, m->commit};
    Logged(std::move(*m));
  }
  to_log_.erase(to_log_.begin(), rest);
  if (raft_->HasReady()) Schedule();
}

Status Replica::LogWork::Save(wal::Wal& wal) {
  if (std::exchange(saved, true)) return Ok();
  TRY(wal.Save(before, {}));
  for (const raft::Message& m : batch) {
    if (m.snapshot) TRY(wal.StartOver(m.snapshot->meta));
    TRY(wal.Save({m.term, m.vote, m.commit}, m.entries));
  }
  return release_to != 0 ? wal.SaveSnapshot(release_meta) : Ok();
}

size_t Replica::LogWork::Bytes() const {
  constexpr size_t kFrame = 128;  // around a record, at most
  size_t bytes = kFrame;
  for (const raft::Message& m : batch) bytes += kFrame * (1 + m.entries.size()) + raft::EncodedSize(m.entries);
  return bytes;
}

// Small work goes to the disk from here, where that can be done without waiting: waking a thread and being woken by it
// costs more than the write. False: it is the log lane's.
bool Replica::StartLogWork(const std::shared_ptr<LogWork>& work) {
  bool ordinary = work->release_to == 0 &&
                  std::none_of(work->batch.begin(), work->batch.end(), [](const auto& m) { return m.snapshot; });
  if (!ordinary || !start_policy_.Allows(log_busy_since_) || !wal_->MayStartSync(work->Bytes())) return false;
  work->begun = log_busy_since_;
  work->result = work->Save(*wal_);
  if (!work->result.ok()) {
    Post([this, work] { LogWorkEnded(*work); });
    return true;
  }
  work->from = env_.executor.Now();
  return wal_->StartSync([this, work, alive = alive_, wal = wal_](Status result) {
    if (!*alive) return;
    if (result.code() == base::Code::kUnavailable) return RunLogWork(work);
    work->result = std::move(result);
    work->to = env_.executor.Now();
    start_policy_.StartedTook(work->to, work->to - work->from);
    work->bytes = wal->bytes_written();
    work->segments = wal->segments();
    LogWorkEnded(*work);
  });
}

void Replica::RunLogWork(const std::shared_ptr<LogWork>& work) {
  env_.log_pool.Run(
      [work, wal = wal_, clock = &env_.executor.clock(), no_sync = options_.unsafe_no_sync] {
        auto run = [&]() -> Status {
          work->begun = clock->Now();
          TRY(work->Save(*wal));
          work->from = clock->Now();
          if (!no_sync) TRY(wal->Sync());
          work->to = clock->Now();
          work->bytes = wal->bytes_written();
          if (work->release_to != 0) work->released = wal->ReleaseTo(work->release_to);
          work->segments = wal->segments();
          return Ok();
        };
        work->result = run();
      },
      env_.executor,
      [this, work, alive = alive_] {
        if (!*alive) return;
        start_policy_.ThreadTook(work->to, work->to - work->from);
        LogWorkEnded(*work);
      });
}

void Replica::LogWorkEnded(LogWork& work) {
  if (work.result.ok()) log_segments_ = work.segments;
  if (!work.released.empty()) RemoveLogFiles(std::move(work.released));
  if (work.result.ok() && on_sync) on_sync(work.to - work.from, work.from - work.begun);
  counters_.log_bytes = std::max(counters_.log_bytes, work.bytes);
  LogDone(std::move(work.batch), work.result);
}

// Beside the log lane: puts would wait for it.
void Replica::RemoveLogFiles(std::vector<std::string> files) {
  struct Job {
    std::vector<std::shared_ptr<base::File>> gone;
    Status result;
  };
  auto job = std::make_shared<Job>();
  auto work = [&fs = env_.fs, directory = options_.wal_dir, files = std::move(files), job]() -> Status {
    for (const std::string& f : files) {
      TRY_ASSIGN(auto file, fs.Open(f, base::OpenMode::kReadWrite));
      TRY(fs.Remove(f));
      job->gone.push_back(std::move(file));
    }
    return fs.SyncDirectory(directory);
  };
  env_.other_pool.Run([job, work = std::move(work)] { job->result = work(); }, env_.executor,
                      [this, job, alive = alive_] {
                        if (!*alive) return;
                        if (!job->result.ok()) return Fail(job->result.Annotate("write-ahead log: "));
                        for (auto& file : job->gone) dying_.Add(std::move(file));
                        TendDisk();
                      });
}

void Replica::LogDone(std::vector<raft::Message> done, Status result) {
  log_busy_ = false;
  if (!result.ok()) {
    Fail(result.Annotate("write-ahead log: "));
    idle_.NotifyAll();
    return;
  }
  ++counters_.syncs;
  for (raft::Message& m : done) {
    if (m.term != 0) saved_ = {m.term, m.vote, m.commit};
    Logged(std::move(m));
  }
  done.clear();
  spare_batch_ = std::move(done);
  MaybeInstall();
  Process();
  if (!log_busy_) idle_.NotifyAll();
}

// What the log was to keep is kept.
void Replica::Logged(raft::Message&& m) {
  if (m.snapshot) storage_.Restore(m.snapshot);
  storage_.Append(m.entries);
  if (m.term != 0) storage_.SetHardState({m.term, m.vote, m.commit});
  if (m.snapshot) {
    // Its answers vouch for the state too.
    installing_.push_back(std::move(m));
    return;
  }
  for (raft::Message& r : m.responses) {
    (installing_.empty() ? RouteMessage(std::move(r)) : installing_.back().responses.push_back(std::move(r)));
  }
}

// ---- apply lane

void Replica::ScheduleApply() {
  if (std::exchange(apply_scheduled_, true)) return;
  env_.executor.Post([alive = alive_] {
    if (Replica* r = *alive) r->ApplySome();
  });
}

void Replica::ApplySome() {
  apply_scheduled_ = false;
  if (!failure_.ok()) return;
  base::MonoTime begun = env_.executor.Now();
  store_->SetNow(begun);
  size_t turns = kApplyEntriesPerTurn;
  while (!to_apply_.empty() && turns > 0) {
    raft::Message& m = to_apply_.front();
    while (apply_at_ < m.entries.size() && turns > 0) {
      const raft::Entry& e = m.entries[apply_at_];
      Status s = e.type == raft::EntryType::kNormal ? ApplyEntry(e) : ApplyConfChange(e);
      if (!s.ok()) return Fail(s.Annotate("apply of entry " + std::to_string(e.index) + ": "));
      applied_ = e.index;
      applied_term_ = e.term;
      ++apply_at_;
      --turns;
    }
    if (apply_at_ < m.entries.size()) break;
    std::vector<raft::Message> responses = std::move(m.responses);
    to_apply_.pop_front();
    apply_at_ = 0;
    for (raft::Message& r : responses) (void)raft_->Step(std::move(r));
    CompactLog();
  }
  if (size_t applied = kApplyEntriesPerTurn - turns; applied > 0) {
    base::Duration took = env_.executor.Now() - begun;
    if (took > options_.slow_apply) {
      ++counters_.slow_applies;
      base::LogWarning("apply request took too long",
                       {{"took", base::FormatGoDuration(took)},
                        {"expected-duration", base::FormatGoDuration(options_.slow_apply)},
                        {"entries", applied}});
    }
    if (on_apply) on_apply(took, applied);
  }
  MaybeInstall();
  ReleaseReads();
  MaybeCheckpoint();
  TendDisk();
  if (!to_apply_.empty()) ScheduleApply();
  if (raft_->HasReady()) Schedule();
  // A fresh start: whatever the log had committed is applied, now this member may lead.
  if (to_apply_.empty() && raft_->leader() == raft::kNone && raft_->role() == raft::Role::kFollower &&
      conf_state_.voters == std::vector<raft::NodeId>{member_id_}) {
    (void)raft_->Campaign();
    Schedule();
  }
  if (to_apply_.empty()) idle_.NotifyAll();
}

Status Replica::ApplyEntry(const raft::Entry& e) {
  if (e.bytes().empty()) return Ok();
  const etcdserverpb::InternalRaftRequest* request = entry_reader_->Read(*e.data);
  if (request == nullptr) {
    // The log's checksums hold: whoever proposed it meant this. Every member goes on without it.
    base::LogError("ignored an entry", base::DataLoss("unreadable request"), {{"index", e.index}});
    return Ok();
  }
  auto answer = applier_->Apply(*request, e.index);
  uint64_t id = request->header().id() != 0 ? request->header().id() : request->id();
  auto waiting = pending_.find(id);
  std::shared_ptr<Waiter> waiter;
  if (waiting != pending_.end()) {
    waiter = std::move(waiting->second);
    pending_.erase(waiting);
  }
  if (!answer) {
    if (waiter) waiter->shot.Set(Answer{.error = mvcc::ErrStopped()});
    return answer.error();
  }
  if (request->has_compaction() && answer->error.ok()) Maintain();
  if (waiter) waiter->shot.Set(std::move(*answer));
  return Ok();
}

// ---- proposals and reads

// Entries of an earlier life are still in the log: an id they may bear must not be given out again, even when the clock
// has not moved since.
uint64_t Replica::NextId() {
  while (next_id_ == 0) next_id_ = random_.Next();
  return next_id_++;
}

Task<Result<Answer>> Replica::Propose(Context ctx, std::string fields, mvcc::Identity who) {
  if (!failure_.ok() || stopping_) co_return Err(mvcc::ErrStopped());
  if (raft_->log().committed() > applied_ + kMaxApplyLag) co_return Err(mvcc::ErrTooManyRequests());
  uint64_t id = NextId();
  std::string header;
  wire::PutUint(header, 1, id);
  if (!who.user.empty()) wire::PutBytes(header, 2, who.user);
  wire::PutNonZero(header, 3, who.revision);
  wire::PutBytes(fields, 100, header);
  co_return co_await ProposeEntry(
      ctx, id, [this, data = std::make_shared<const std::string>(std::move(fields))] { return raft_->Propose(data); });
}

// Hands an entry to the core, as soon as there is a leader to take it, and waits until it is applied here.
Task<Result<Answer>> Replica::ProposeEntry(Context ctx, uint64_t id, std::function<Status()> propose) {
  auto alive = alive_;
  base::Executor& executor = env_.executor;
  auto waiter = std::make_shared<Waiter>(executor, executor.Now() + RequestTimeout());
  auto limited = [&] { return ctx.WithTimeout(executor, waiter->until - executor.Now()); };
  auto why = [&](const Status& s) { return ctx.done() ? ctx.status() : s; };
  for (;;) {
    if (raft_->leader() == raft::kNone) {
      if (Status s = co_await AwaitLeader(limited()); !s.ok()) co_return Err(why(mvcc::ErrTimeout()));
      if (!*alive || !failure_.ok() || stopping_) co_return Err(mvcc::ErrStopped());
      continue;
    }
    pending_[id] = waiter;
    if (propose().ok()) break;
    pending_.erase(id);
    ++counters_.proposals_failed;
    if (raft_->uncommitted_bytes() > 0 && raft_->leader() == member_id_ && !transferring_) {
      co_return Err(mvcc::ErrTooManyRequests());
    }
    // Leadership is on the move: the next leader will take it.
    if (!(co_await base::Sleep(executor, limited(), options_.heartbeat / 4)).ok()) {
      co_return Err(why(mvcc::ErrTimeout()));
    }
    if (!*alive || !failure_.ok() || stopping_) co_return Err(mvcc::ErrStopped());
  }
  Schedule();
  uint64_t term = raft_->term();
  auto answer = co_await waiter->shot.Wait(ctx);
  if (!answer || waiter->expired) {
    if (!*alive) co_return Err(mvcc::ErrStopped());
    pending_.erase(id);
    co_return Err(why(raft_->term() == term ? mvcc::ErrTimeout() : mvcc::ErrTimeoutLeaderFail()));
  }
  if (!answer->error.ok() && answer->error == mvcc::ErrStopped()) co_return Err(answer->error);
  co_return std::move(*answer);
}

bool Replica::ReadsAreCurrent() const {
  return failure_.ok() && raft_->role() == raft::Role::kLeader &&
         conf_state_.voters == std::vector<raft::NodeId>{member_id_} && conf_state_.voters_outgoing.empty() &&
         applied_ == raft_->log().committed() && raft_->log().TermOrZero(applied_) == raft_->term();
}

Task<Status> Replica::ReadBarrier(Context ctx) {
  if (!failure_.ok() || stopping_) co_return mvcc::ErrStopped();
  if (ReadsAreCurrent()) co_return Ok();
  auto reader = std::make_shared<Reader>(env_.executor);
  reads_waiting_.push_back(reader);
  Schedule();  // everybody who asks in this turn shares a question
  auto alive = alive_;
  auto done = co_await reader->shot.Wait(ctx.WithTimeout(env_.executor, RequestTimeout()));
  if (!done && !ctx.done() && *alive) ++counters_.reads_slow;
  if (!done) co_return ctx.done() ? ctx.status() : mvcc::ErrTimeout();
  if (!done->status.ok() && *alive) ++counters_.reads_failed;
  co_return done->status;
}

// One question to the leader at a time, for everybody who waits by then.
void Replica::AskReads() {
  if (!reads_asked_.empty() || reads_waiting_.empty() || raft_->leader() == raft::kNone) return;
  reads_asked_ = std::exchange(reads_waiting_, {});
  AskReadsAgain();
}

// The question's key is never used twice, not even in an earlier life of this member: a late answer must not vouch for
// a later read.
void Replica::AskReadsAgain() {
  if (reads_asked_.empty() || raft_->leader() == raft::kNone) return;
  reads_key_.clear();
  base::PutBigEndian64(reads_key_, NextId());
  reads_asked_at_ = env_.executor.Now();
  raft_->ReadIndex(reads_key_);
  Schedule();
}

void Replica::AnswerReads(const std::vector<raft::ReadState>& states) {
  bool answered = false;
  for (const raft::ReadState& s : states) {
    if (s.context != reads_key_ || reads_asked_.empty()) continue;
    reads_confirmed_.emplace_back(s.index, std::exchange(reads_asked_, {}));
    answered = true;
  }
  if (!answered) return;
  ReleaseReads();
  AskReads();
}

void Replica::ReleaseReads() {
  while (!reads_confirmed_.empty() && reads_confirmed_.front().first <= applied_) {
    for (auto& reader : reads_confirmed_.front().second) reader->shot.Set({});
    reads_confirmed_.pop_front();
  }
}

// ---- leadership

void Replica::BecameLeader() {
  store_->leases().ExtendAll(env_.executor.Now());
  base::LogInfo("elected leader", {{"local-member-id", mvcc::MemberKey(member_id_)}, {"term", raft_->term()}});
  Post([this] { Publish(); });
}

std::vector<mvcc::Member> Replica::Members() const {
  std::vector<mvcc::Member> out;
  auto bucket = store_->buckets().find("members");
  if (bucket == store_->buckets().end()) return out;
  for (const auto& [key, json] : bucket->second) {
    if (auto m = mvcc::MemberFromJson(json)) out.push_back(std::move(*m));
  }
  return out;
}

// Tells the cluster this member's name and client URLs and, as its leader, the cluster's version.
void Replica::Publish() {
  if (publishing_ || raft_->leader() == raft::kNone || stopping_ || !failure_.ok()) return;
  auto members = Members();
  auto self = std::find_if(members.begin(), members.end(), [&](const mvcc::Member& m) { return m.id == member_id_; });
  if (self == members.end()) return;  // not applied yet
  etcdserverpb::InternalRaftRequest r;
  if (self->name != options_.name || self->client_urls != options_.client_urls) {
    auto* set = r.mutable_cluster_member_attr_set();
    set->set_member_id(member_id_);
    set->mutable_member_attributes()->set_name(options_.name);
    for (const std::string& u : options_.client_urls) set->mutable_member_attributes()->add_client_urls(u);
  } else if (std::string version = CommonVersion(); is_leader() && !version.empty()) {
    r.mutable_cluster_version_set()->set_ver(std::move(version));
  } else {
    return;
  }
  publishing_ = true;
  base::SpawnNow([](Replica* self, std::shared_ptr<Replica*> alive, std::string fields) -> Task<void> {
    (void)co_await self->Propose(Context(), std::move(fields));
    if (!*alive) co_return;
    self->publishing_ = false;
    self->Publish();
  }(this, alive_, r.SerializeAsString()));
}

void Replica::Tick() {
  tick_timer_ = 0;
  if (!failure_.ok() || stopping_) return;
  base::MonoTime now = env_.executor.Now();
  // A leader whose disk hangs holds everybody up; a follower's cannot vouch for anything, so it does not stand either.
  bool stalled = log_busy_ && now - log_busy_since_ > ElectionTimeout() && conf_state_.voters.size() > 1;
  if (stalled && is_leader()) {
    base::LogWarning("leader steps down: its log is not getting to the disk",
                     {{"for", (now - log_busy_since_).count()}});
    raft_->StepDown();
  }
  if (!stalled) raft_->Tick();
  if (!reads_asked_.empty() && now - reads_asked_at_ > kReadRetry) AskReadsAgain();
  if (++ticks_ % kPublishEvery == 0) Publish();
  ExpireProposals();
  if (raft_->HasReady()) Schedule();
  ExpireLeases();
  TendDisk();  // someone may have stopped reading a file that is to go
  tick_timer_ = env_.executor.After(options_.heartbeat, [this, alive = alive_] {
    if (*alive) Tick();
  });
}

// With the ticks: a timer for each would be set and cancelled with every write.
void Replica::ExpireProposals() {
  base::MonoTime now = env_.executor.Now();
  while (!pending_.empty() && pending_.begin()->second->until <= now) {
    std::shared_ptr<Waiter> waiter = std::move(pending_.begin()->second);
    pending_.erase(pending_.begin());
    waiter->expired = true;
    waiter->shot.Set({});
  }
}

void Replica::ExpireLeases() {
  if (!is_leader()) return;
  base::MonoTime now = env_.executor.Now();
  for (int64_t id : store_->leases().Expired(now, kLeaseRevokesPerTick)) {
    store_->leases().Defer(id, now + kRevokeRetry);
    base::SpawnNow([](Replica* r, std::shared_ptr<Replica*> alive, int64_t lease) -> Task<void> {
      auto revoked = co_await r->Propose(Context(), LeaseRevoke(lease), r->applier_->auth().Root());
      if (*alive && revoked && revoked->error.ok()) ++r->counters_.leases_expired;
    }(this, alive_, id));
  }
}

// ---- work in the background of the strand

void Replica::Maintain() {
  if (std::exchange(maintaining_, true)) return;
  InNextTurn([this] {
    maintaining_ = false;
    if (!failure_.ok() || stopping_) return;
    if (store_->unsynced_bytes() > kMaxUnsynced || importing_) {
      maintenance_waits_ = true;
      return TendDisk();
    }
    if (store_->compacting() && compacting_since_ == base::MonoTime{}) compacting_since_ = env_.executor.Now();
    bool compacts = store_->compacting();
    base::MonoTime from = env_.executor.Now();
    auto more = store_->MaintenanceStep();
    if (compacts && on_work) on_work(Work::kCompactionStep, env_.executor.Now() - from);
    if (!store_->compacting() && compacting_since_ != base::MonoTime{}) Compacted();
    if (!more) return Fail(more.error().Annotate("compaction: "));
    if (auto view = store_->TakeViewToHash()) HashCompaction(std::move(view));
    if (*more) Maintain();
    MaybeCheckpoint();
    TendDisk();
  });
}

Task<Status> Replica::Defragment(Context ctx) {
  auto alive = alive_;
  auto usable = [&] { return *alive && failure_.ok() && !stopping_; };
  if (!usable()) co_return mvcc::ErrStopped();
  CO_TRY(store_->Defragment());
  Maintain();
  // The files go with a checkpoint, which comes by itself when nothing else is to be rewritten.
  while (store_->defragmenting() || store_->dropped_bytes() > 0 || checkpointing_) {
    CO_TRY(co_await base::Sleep(env_.executor, ctx, kDefragmentPoll));
    if (!usable()) co_return mvcc::ErrStopped();
    MaybeCheckpoint();
  }
  co_return Ok();
}

void Replica::HashCompaction(std::shared_ptr<mvcc::View> view) {
  auto hash = std::make_shared<Result<uint32_t>>(0);
  auto work = [view, hash] {
    mvcc::Sort(*view);
    *hash = mvcc::HashOf(*view);
  };
  env_.other_pool.Run(work, env_.executor, [this, view, hash, alive = alive_] {
    if (*alive) store_->RememberHash(*view, *hash);
  });
}

void Replica::Compacted() {
  base::Duration took = env_.executor.Now() - std::exchange(compacting_since_, {});
  ++counters_.compactions;
  counters_.last_compaction =
      std::chrono::duration_cast<std::chrono::seconds>(env_.executor.WallNow().time_since_epoch()).count();
  if (on_work) on_work(Work::kCompaction, took);
}

void Replica::ResumeMaintenance() {
  if (!maintenance_waits_ || importing_ || store_->unsynced_bytes() > kMaxUnsynced) return;
  maintenance_waits_ = false;
  Maintain();
}

// What was written goes to the disk, and what was removed goes from it, a little at a time: whatever is done at once,
// the log's next fsync waits for.
void Replica::TendDisk() {
  if (tending_ || !failure_.ok()) return;
  auto sync = store_->NextSync();
  auto shrink = dying_.Next();
  if (!sync && !shrink) return ResumeMaintenance();
  tending_ = true;
  struct Job {
    std::optional<mvcc::Segments::SyncStep> sync;
    std::function<void()> shrink;
    base::MonoTime from;
    Status result;
  };
  auto job =
      std::make_shared<Job>(Job{.sync = std::move(sync), .shrink = std::move(shrink), .from = env_.executor.Now()});
  auto work = [job] {
    if (job->sync) job->result = job->sync->Run();
    if (job->shrink) job->shrink();
  };
  env_.other_pool.Run(work, env_.executor, [this, job, alive = alive_] {
    if (!*alive) return;
    if (!job->result.ok()) {
      Fail(job->result.Annotate("segments: "));
      return idle_.NotifyAll();
    }
    if (job->sync) store_->Synced(*job->sync);
    if (job->sync && on_work) on_work(Work::kDiskSync, env_.executor.Now() - job->from);
    ResumeMaintenance();
    env_.executor.After(kDiskPause, [this, alive] {
      if (!*alive) return;
      tending_ = false;
      TendDisk();
    });
  });
}

void Replica::SyncWatchers() {
  if (std::exchange(syncing_watchers_, true)) return;
  InNextTurn([this] {
    syncing_watchers_ = false;
    if (!failure_.ok()) return;
    auto more = store_->watches().SyncStep();
    if (!more) return Fail(more.error().Annotate("history: "));
    if (*more) SyncWatchers();
  });
}

// ---- checkpoints

mvcc::AppliedMark Replica::Mark() const { return {applied_, applied_term_, wal::EncodeConfState(conf_state_)}; }

void Replica::MaybeCheckpoint() {
  if (checkpointing_ || !installing_.empty() || stopping_) return;
  // Space that compaction freed comes back with a checkpoint.
  bool reclaims = store_->dropped_bytes() > (maintaining_ || maintenance_waits_ ? kMaxDropped : 0);
  bool due = applied_ - checkpointed_ >= options_.snapshot_count || log_segments_ > kMaxLogSegments;
  if (!reclaims && (!due || applied_ == checkpointed_)) return;
  Status s = StartCheckpoint();
  if (!s.ok()) Fail(s.Annotate("checkpoint: "));
}

Status Replica::StartCheckpoint() {
  TRY_ASSIGN(mvcc::Store::Checkpoint prepared, store_->PrepareCheckpoint(Mark()));
  checkpointing_ = true;
  struct Job {
    mvcc::Store::Checkpoint checkpoint;
    base::Duration state_file{};
    Status result;
  };
  auto job = std::make_shared<Job>(Job{.checkpoint = std::move(prepared), .result = Ok()});
  auto work = [job, clock = &env_.executor.clock()]() -> Status {
    TRY(job->checkpoint.SyncKeys());
    base::MonoTime from = clock->Now();
    TRY(job->checkpoint.WriteState());
    job->state_file = clock->Now() - from;
    return Ok();
  };
  env_.other_pool.Run([job, work] { job->result = work(); }, env_.executor,
                      [this, job, alive = alive_, from = env_.executor.Now()] {
                        if (!*alive) return;
                        if (on_work) {
                          on_work(Work::kStateFile, job->state_file);
                          on_work(Work::kCheckpoint, env_.executor.Now() - from);
                        }
                        if (!job->result.ok()) {
                          CheckpointDone(Err(job->result));
                        } else {
                          CheckpointDone(std::move(job->checkpoint));
                        }
                      });
  return Ok();
}

void Replica::CheckpointDone(Result<mvcc::Store::Checkpoint> done) {
  checkpointing_ = false;
  if (!done) {
    Fail(done.error().Annotate("checkpoint: "));
    idle_.NotifyAll();
    return;
  }
  store_->FinishCheckpoint(*done);
  ++counters_.checkpoints;
  for (auto& dropped : done->files.dropped) dying_.Add(std::move(dropped.file));
  TendDisk();
  if (std::exchange(checkpointed_, done->mark.index) != done->mark.index) {
    auto conf = wal::DecodeConfState(done->mark.conf_state);
    release_meta_ = {conf.value_or(raft::ConfState()), done->mark.index, done->mark.term};
    release_to_ = done->mark.index;
  }
  MaybeInstall();
  PumpLog();
  if (!log_busy_) idle_.NotifyAll();
}

// ---- the end

void Replica::FailWaiting() {
  auto pending = std::move(pending_);
  pending_.clear();
  for (auto& [id, w] : pending) w->shot.Set(Answer{.error = mvcc::ErrStopped()});
  for (Readers* readers : {&reads_waiting_, &reads_asked_}) {
    for (auto& r : std::exchange(*readers, {})) r->shot.Set({.status = mvcc::ErrStopped()});
  }
  for (auto& [index, readers] : std::exchange(reads_confirmed_, {})) {
    for (auto& r : readers) r->shot.Set({.status = mvcc::ErrStopped()});
  }
  leader_event_.NotifyAll();
}

void Replica::Fail(Status why) {
  if (!failure_.ok()) return;
  failure_ = why;
  FailWaiting();
  if (on_failure) on_failure(why);
}

Task<void> Replica::Stop(bool checkpoint) {
  stopping_ = true;
  FailWaiting();
  if (tick_timer_ != 0) env_.executor.CancelTimer(std::exchange(tick_timer_, 0));
  while (failure_.ok() && (log_busy_ || checkpointing_ || !installing_.empty() || !to_apply_.empty())) {
    (void)co_await idle_.Wait(Context());
  }
  if (!failure_.ok()) co_return;
  if (checkpoint && applied_ != checkpointed_) {
    Status s = StartCheckpoint();
    if (!s.ok()) Fail(s);
    while (failure_.ok() && checkpointing_) (void)co_await idle_.Wait(Context());
  }
  PumpLog();
  while (failure_.ok() && log_busy_) (void)co_await idle_.Wait(Context());
}

}  // namespace kvstore::replica
