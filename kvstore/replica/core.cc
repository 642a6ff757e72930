#include "kvstore/replica/core.h"

#include <algorithm>

#include "base/log.h"

namespace kvstore::replica {

using base::Context;
using base::Ok;
using base::Status;
using base::Task;

namespace {
// How long followers may be left without word that the log is committed further, when nothing else is sent to them.
constexpr base::Duration kTellCommitAfter = std::chrono::milliseconds(1);

void LogTrace(raft::TraceLevel level, const std::string& line) {
  // Ordinary with asynchronous writes, and as frequent.
  if (line.starts_with("entry at ")) return;
  if (level == raft::TraceLevel::kInfo) base::LogInfo(line, {{"logger", "raft"}});
  if (level > raft::TraceLevel::kInfo) base::LogWarning(line, {{"logger", "raft"}});
}
}  // namespace

Core::Core(Shared& shared, const wal::Contents& contents) : shared_(shared), leader_event_(shared.env.executor) {
  const mvcc::AppliedMark& mark = shared_.store->checkpointed();
  applied_ = {wal::DecodeConfState(mark.conf_state).value_or(raft::ConfState()), mark.index, mark.term};
  if (mark.index > 0) {
    auto base = std::make_shared<raft::Snapshot>();
    base->meta = applied_;
    storage_.Restore(std::move(base));
  }
  storage_.Append(contents.entries);
  raft::HardState hs = contents.hard_state;
  // What was applied was committed, whether or not the commit index reached the log.
  hs.commit = std::clamp(hs.commit, mark.index, storage_.LastIndex());
  hs.term = std::max(hs.term, mark.term);
  storage_.SetHardState(hs);
  storage_.make_snapshot = [this] {
    auto s = std::make_shared<raft::Snapshot>();
    s->meta = applied_;
    return s;
  };
  raft::Options o{.id = shared_.member_id, .election_ticks = shared_.options.election_ticks, .storage = &storage_};
  o.applied = mark.index;
  o.pre_vote = shared_.options.pre_vote;
  o.commit_in_passing = true;
  o.tracer = raft::Tracer(LogTrace);
  raft_ = std::make_unique<raft::Raft>(o, shared_.random.Fork());
}

void Core::Schedule() {
  if (std::exchange(scheduled_, true)) return;
  shared_.env.executor.Post([self = self_] {
    Core* core = *self;
    if (core == nullptr) return;
    core->scheduled_ = false;
    core->on_turn();
  });
}

mvcc::AppliedMark Core::Mark() const {
  return {applied_.index, applied_.term, wal::EncodeConfState(applied_.conf_state)};
}

Task<Status> Core::AwaitLeader(Context ctx) {
  auto alive = shared_.life.token();
  while (*alive && shared_.life.usable() && !has_leader()) CO_TRY(co_await leader_event_.Wait(ctx));
  co_return Ok();
}

void Core::LeaderChanged() {
  transferring_ = false;
  leader_event_.NotifyAll();
}

void Core::Transfer(raft::NodeId to) {
  transferring_ = to != shared_.member_id;
  raft_->TransferLeader(to);
  Schedule();
}

void Core::TellCommit() {
  raft_->TellCommit(0);
  if (telling_ || !raft_->CommitUntold()) return;
  telling_ = true;
  shared_.env.executor.After(kTellCommitAfter, [this, alive = shared_.life.token(), index = raft_->log().committed()] {
    if (!*alive) return;
    telling_ = false;
    if (!shared_.life.usable()) return;
    raft_->TellCommit(index);
    ScheduleIfReady();
  });
}

void Core::ReportUnreachable(raft::NodeId peer) {
  if (shared_.life.failed() || !shared_.life.started()) return;
  raft_->ReportUnreachable(peer);
  ScheduleIfReady();
}

void Core::PeerLost(raft::NodeId peer) {
  ReportUnreachable(peer);
  if (!shared_.life.started() || !shared_.life.usable() || peer != raft_->leader() || is_leader()) return;
  // Forgetting is safe: a leader that lives is known again by its next heartbeat, and an election begins with a
  // pre-vote that followers who still hear it refuse. The members do not all stand at once.
  raft_->ForgetLeader();
  Schedule();
  auto delay = std::chrono::milliseconds(20 + shared_.random.Below(100));
  shared_.env.executor.After(delay, [this, alive = shared_.life.token()] {
    if (!*alive || !shared_.life.usable() || has_leader()) return;
    if (raft_->role() != raft::Role::kFollower) return;
    (void)raft_->Campaign();
    Schedule();
  });
}

// Entries of an earlier life are still in the log: an id they may bear must not be given out again, even when the clock
// has not moved since.
uint64_t Core::NextId() {
  while (next_id_ == 0) next_id_ = shared_.random.Next();
  return next_id_++;
}

}  // namespace kvstore::replica
