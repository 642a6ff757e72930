#include "kvstore/replica/hash.h"

#include "base/next_turn.h"
#include "kvstore/mvcc/view.h"

namespace kvstore::replica {

using base::Err;
using base::Result;
using base::Task;

namespace {
constexpr size_t kKeysPerTurn = 4096;
}

Task<Result<mvcc::Store::Hash>> HashKv(Replica& replica, base::BlockingPool& pool, base::Context ctx,
                                       int64_t revision) {
  mvcc::Store& store = replica.store();
  CO_TRY(store.CheckRevision(revision));
  if (revision <= 0) revision = store.revision();
  mvcc::Gather gather = mvcc::Gather::Hashed(store, revision);
  for (;;) {
    CO_TRY_ASSIGN(bool more, gather.Step(kKeysPerTurn));
    if (!more) break;
    co_await base::NextTurn(replica.executor());
    if (ctx.done()) co_return Err(ctx.status());
  }
  CO_TRY_ASSIGN(mvcc::View view, gather.Finish());
  auto work = [&view] {
    mvcc::Sort(view);
    return mvcc::HashOf(view);
  };
  CO_TRY_ASSIGN(uint32_t hash, co_await base::RunBlocking(pool, replica.executor(), work));
  co_return mvcc::Store::Hash{hash, view.compact_revision, revision};
}

}  // namespace kvstore::replica
