// HashKV of a member at work, as clients and other members ask for it: versions are gathered on the strand in bounded
// turns, read and hashed beside it.
#pragma once

#include "base/context.h"
#include "base/task.h"
#include "kvstore/replica/replica.h"

namespace kvstore::replica {

// At `revision`, 0 = now. kOutOfRange: compacted or not reached yet; the context's error when it ends first.
base::Task<base::Result<mvcc::Store::Hash>> HashKv(Replica& replica, base::BlockingPool& pool, base::Context ctx,
                                                   int64_t revision);

}  // namespace kvstore::replica
