// etcd's database as a source of state (a data directory of etcd, or one that `snapshot restore` made) and as what
// snapshots are sent as. Everything blocks but TakeImage.
#pragma once

#include <functional>
#include <string>

#include "base/file.h"
#include "base/task.h"
#include "kvstore/mvcc/store.h"
#include "kvstore/mvcc/view.h"

namespace kvstore::replica {

// Fills an empty store from a bbolt database (with or without the SHA-256 a snapshot file ends in). The mark says which
// log index the database stands at.
base::Result<mvcc::AppliedMark> ImportDatabase(base::FileSystem& fs, const std::string& path, mvcc::Store& store);

// The other way: what etcd's database is made of, at one moment.
struct DatabaseImage {
  mvcc::View keys;
  mvcc::Buckets buckets;  // with storage version and membership as etcd has them
};
// Strand, with a turn for others every few thousand keys; goes on only while `wanted` says so (kCancelled otherwise:
// the store may be gone).
base::Task<base::Result<DatabaseImage>> TakeImage(mvcc::Store& store, mvcc::AppliedMark mark, base::Executor& executor,
                                                  std::function<bool()> wanted);
// Any thread.
base::Status WriteDatabase(DatabaseImage image, base::File& out);
// etcd's Hash: of all that a database would hold. Any thread.
base::Result<uint32_t> HashDatabase(DatabaseImage image);

}  // namespace kvstore::replica
