#include "kvstore/replica/proposals.h"

#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/requests.h"

namespace kvstore::replica {

using base::Context;
using base::Err;
using base::Result;
using base::Status;
using base::Task;

namespace {
// Committed but not applied entries beyond which proposals are turned away.
constexpr uint64_t kMaxApplyLag = 5000;
}  // namespace

Task<Result<mvcc::Answer>> Proposals::Propose(Context ctx, std::string fields, mvcc::Identity who) {
  if (!shared_.life.usable()) co_return Err(mvcc::ErrStopped());
  if (core_.raft().log().committed() > core_.applied().index + kMaxApplyLag) {
    co_return Err(mvcc::ErrTooManyRequests());
  }
  uint64_t id = core_.NextId();
  auto data = std::make_shared<const std::string>(WithHeader(std::move(fields), id, who));
  co_return co_await ProposeEntry(ctx, id, [this, data = std::move(data)] { return core_.raft().Propose(data); });
}

Task<Result<mvcc::Answer>> Proposals::ProposeEntry(Context ctx, uint64_t id, std::function<Status()> propose) {
  auto alive = shared_.life.token();
  base::Executor& executor = shared_.env.executor;
  raft::Raft& raft = core_.raft();
  auto waiter = std::make_shared<Waiter>(executor, executor.Now() + shared_.options.RequestTimeout());
  auto limited = [&] { return ctx.WithTimeout(executor, waiter->until - executor.Now()); };
  auto why = [&](const Status& s) { return ctx.done() ? ctx.status() : s; };
  for (;;) {
    if (!core_.has_leader()) {
      if (Status s = co_await core_.AwaitLeader(limited()); !s.ok()) co_return Err(why(mvcc::ErrTimeout()));
      if (!*alive || !shared_.life.usable()) co_return Err(mvcc::ErrStopped());
      continue;
    }
    pending_[id] = waiter;
    if (propose().ok()) break;
    pending_.erase(id);
    ++shared_.counters.proposals_failed;
    if (raft.uncommitted_bytes() > 0 && raft.leader() == shared_.member_id && !core_.transferring()) {
      co_return Err(mvcc::ErrTooManyRequests());
    }
    // Leadership is on the move: the next leader will take it.
    if (!(co_await base::Sleep(executor, limited(), shared_.options.heartbeat / 4)).ok()) {
      co_return Err(why(mvcc::ErrTimeout()));
    }
    if (!*alive || !shared_.life.usable()) co_return Err(mvcc::ErrStopped());
  }
  core_.Schedule();
  uint64_t term = raft.term();
  auto answer = co_await waiter->shot.Wait(ctx);
  if (!answer || waiter->expired) {
    if (!*alive) co_return Err(mvcc::ErrStopped());
    pending_.erase(id);
    co_return Err(why(raft.term() == term ? mvcc::ErrTimeout() : mvcc::ErrTimeoutLeaderFail()));
  }
  if (!answer->error.ok() && answer->error == mvcc::ErrStopped()) co_return Err(answer->error);
  co_return std::move(*answer);
}

void Proposals::Answer(uint64_t id, mvcc::Answer answer) {
  auto waiting = pending_.find(id);
  if (waiting == pending_.end()) return;
  std::shared_ptr<Waiter> waiter = std::move(waiting->second);
  pending_.erase(waiting);
  waiter->shot.Set(std::move(answer));
}

void Proposals::Expire() {
  base::MonoTime now = shared_.env.executor.Now();
  while (!pending_.empty() && pending_.begin()->second->until <= now) {
    std::shared_ptr<Waiter> waiter = std::move(pending_.begin()->second);
    pending_.erase(pending_.begin());
    waiter->expired = true;
    waiter->shot.Set({});
  }
}

void Proposals::EndAll() {
  auto pending = std::move(pending_);
  pending_.clear();
  for (auto& [id, w] : pending) w->shot.Set(mvcc::Answer{.error = mvcc::ErrStopped()});
}

}  // namespace kvstore::replica
