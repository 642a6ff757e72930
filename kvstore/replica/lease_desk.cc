#include "kvstore/replica/lease_desk.h"

#include "kvstore/mvcc/errors.h"

namespace kvstore::replica {

using base::Context;
using base::Err;
using base::Result;
using base::Task;

namespace {
constexpr size_t kRevokesPerTick = 500;
constexpr base::Duration kRevokeRetry = std::chrono::seconds(5);
}  // namespace

void LeaseDesk::ExtendAll() { shared_.store->leases().ExtendAll(shared_.env.executor.Now()); }

void LeaseDesk::Expire() {
  if (!core_.is_leader()) return;
  base::MonoTime now = shared_.env.executor.Now();
  for (int64_t id : shared_.store->leases().Expired(now, kRevokesPerTick)) {
    shared_.store->leases().Defer(id, now + kRevokeRetry);
    base::SpawnNow([](LeaseDesk* desk, Life::Token alive, int64_t lease) -> Task<void> {
      auto revoked =
          co_await desk->proposals_.Propose(Context(), LeaseRevokeRequest(lease), desk->shared_.applier->auth().Root());
      if (*alive && revoked && revoked->error.ok()) ++desk->shared_.counters.leases_expired;
    }(this, shared_.life.token(), id));
  }
}

Result<int64_t> LeaseDesk::RenewHere(int64_t id) {
  if (!core_.is_leader()) return Err(mvcc::ErrNotLeader());
  auto ttl = shared_.store->leases().Renew(id, shared_.env.executor.Now());
  return ttl.value_or(0);
}

Result<LeaseTimes> LeaseDesk::TimesHere(int64_t id, bool keys) const {
  if (!core_.is_leader()) return Err(mvcc::ErrNotLeader());
  base::MonoTime now = shared_.env.executor.Now();
  LeaseTimes out;
  const mvcc::Lease* lease = shared_.store->leases().Find(id);
  if (lease == nullptr || lease->ending || lease->expiry <= now) return out;
  out.ttl = std::chrono::duration_cast<std::chrono::seconds>(lease->expiry - now).count();
  out.granted = lease->ttl;
  if (keys) out.keys.assign(lease->keys.begin(), lease->keys.end());
  return out;
}

Task<Result<int64_t>> LeaseDesk::Renew(Context ctx, int64_t id) {
  Context limited = ctx.WithTimeout(shared_.env.executor, shared_.options.RequestTimeout());
  auto alive = shared_.life.token();
  for (;;) {
    CO_TRY(co_await core_.AwaitLeader(limited));
    if (!*alive || !shared_.life.usable()) co_return Err(mvcc::ErrStopped());
    if (core_.is_leader()) {
      // A lease granted before this call must be known, even right after an election.
      CO_TRY(co_await reads_.Barrier(limited));
      if (core_.is_leader()) co_return RenewHere(id);
    }
    Transport* transport = shared_.transport;
    if (transport == nullptr) co_return Err(mvcc::ErrNoLeader());
    auto answer = co_await transport->Ask(limited, core_.raft().leader(), "/leases", LeaseKeepAliveQuestion(id), "");
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (answer && answer->status == 404) co_return 0;
    if (answer && answer->status == 200) co_return LeaseKeepAliveAnswer(answer->body);
    if (!(co_await base::Sleep(shared_.env.executor, limited, shared_.options.heartbeat / 2)).ok() || !*alive)
      co_return Err(mvcc::ErrTimeout());
  }
}

Task<Result<LeaseTimes>> LeaseDesk::TimeToLive(Context ctx, int64_t id, bool keys) {
  Context limited = ctx.WithTimeout(shared_.env.executor, shared_.options.RequestTimeout());
  auto alive = shared_.life.token();
  for (;;) {
    CO_TRY(co_await core_.AwaitLeader(limited));
    if (!*alive || !shared_.life.usable()) co_return Err(mvcc::ErrStopped());
    if (core_.is_leader()) {
      CO_TRY(co_await reads_.Barrier(limited));
      if (core_.is_leader()) co_return TimesHere(id, keys);
    }
    Transport* transport = shared_.transport;
    if (transport == nullptr) co_return Err(mvcc::ErrNoLeader());
    auto answer =
        co_await transport->Ask(limited, core_.raft().leader(), "/leases/internal", LeaseTimesQuestion(id, keys), "");
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (answer && answer->status == 404) co_return LeaseTimes();
    if (answer && answer->status == 200) co_return LeaseTimesAnswer(answer->body);
    if (!(co_await base::Sleep(shared_.env.executor, limited, shared_.options.heartbeat / 2)).ok() || !*alive)
      co_return Err(mvcc::ErrTimeout());
  }
}

}  // namespace kvstore::replica
