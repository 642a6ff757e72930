// etcd's database as a source of state: a data directory of etcd, or one that `snapshot restore` made. Blocks.
#pragma once

#include <string>

#include "base/context.h"
#include "base/file.h"
#include "base/task.h"
#include "kvstore/mvcc/store.h"

namespace kvstore::replica {

// Fills an empty store from a bbolt database (with or without the SHA-256 a snapshot file ends in). The mark says which
// log index the database stands at.
base::Result<mvcc::AppliedMark> ImportDatabase(base::FileSystem& fs, const std::string& path, mvcc::Store& store);

// The other way: the store as etcd's database, for snapshots. `storage_version` and the membership as etcd has them.
base::Status ExportDatabase(const mvcc::Store& store, const mvcc::AppliedMark& mark, base::File& out);

// The same without holding up the strand: with a turn for others every few hundred keys.
base::Task<base::Status> ExportDatabaseInTurns(mvcc::Store& store, mvcc::AppliedMark mark, base::File& out,
                                               base::Context ctx, base::Executor& executor);

}  // namespace kvstore::replica
