#include "kvstore/replica/reads.h"

#include "base/bytes.h"
#include "kvstore/mvcc/errors.h"

namespace kvstore::replica {

using base::Context;
using base::Ok;
using base::Status;
using base::Task;

namespace {
constexpr base::Duration kRetryAfter = std::chrono::milliseconds(500);
}  // namespace

bool Reads::AreCurrent() const {
  const raft::Raft& raft = core_.raft();
  const raft::SnapshotMeta& applied = core_.applied();
  return !shared_.life.failed() && raft.role() == raft::Role::kLeader &&
         applied.conf_state.voters == std::vector<raft::NodeId>{shared_.member_id} &&
         applied.conf_state.voters_outgoing.empty() && applied.index == raft.log().committed() &&
         raft.log().TermOrZero(applied.index) == raft.term();
}

Task<Status> Reads::Barrier(Context ctx) {
  if (!shared_.life.usable()) co_return mvcc::ErrStopped();
  if (AreCurrent()) co_return Ok();
  auto reader = std::make_shared<Reader>(shared_.env.executor);
  waiting_.push_back(reader);
  core_.Schedule();  // everybody who asks in this turn shares a question
  auto alive = shared_.life.token();
  auto done = co_await reader->shot.Wait(ctx.WithTimeout(shared_.env.executor, shared_.options.RequestTimeout()));
  if (!done && !ctx.done() && *alive) ++shared_.counters.reads_slow;
  if (!done) co_return ctx.done() ? ctx.status() : mvcc::ErrTimeout();
  if (!done->status.ok() && *alive) ++shared_.counters.reads_failed;
  co_return done->status;
}

void Reads::Ask() {
  if (!asked_.empty() || waiting_.empty() || !core_.has_leader()) return;
  asked_ = std::exchange(waiting_, {});
  AskAgain();
}

// The question's key is never used twice, not even in an earlier life of this member: a late answer must not vouch for
// a later read.
void Reads::AskAgain() {
  if (asked_.empty() || !core_.has_leader()) return;
  key_.clear();
  base::PutBigEndian64(key_, core_.NextId());
  asked_at_ = shared_.env.executor.Now();
  core_.raft().ReadIndex(key_);
  core_.Schedule();
}

void Reads::Retry() {
  if (!asked_.empty() && shared_.env.executor.Now() - asked_at_ > kRetryAfter) AskAgain();
}

void Reads::Answered(const std::vector<raft::ReadState>& states) {
  bool answered = false;
  for (const raft::ReadState& s : states) {
    if (s.context != key_ || asked_.empty()) continue;
    confirmed_.emplace_back(s.index, std::exchange(asked_, {}));
    answered = true;
  }
  if (!answered) return;
  Release();
  Ask();
}

void Reads::Release() {
  while (!confirmed_.empty() && confirmed_.front().first <= core_.applied().index) {
    for (auto& reader : confirmed_.front().second) reader->shot.Set({});
    confirmed_.pop_front();
  }
}

void Reads::EndAll() {
  for (Readers* readers : {&waiting_, &asked_}) {
    for (auto& r : std::exchange(*readers, {})) r->shot.Set({.status = mvcc::ErrStopped()});
  }
  for (auto& [index, readers] : std::exchange(confirmed_, {})) {
    for (auto& r : readers) r->shot.Set({.status = mvcc::ErrStopped()});
  }
}

}  // namespace kvstore::replica
