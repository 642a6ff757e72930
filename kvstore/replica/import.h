// etcd's database as a source of state: a data directory of etcd, or one that `snapshot restore` made, or what another
// member sent. The other way is export.h. Blocks.
#pragma once

#include <string>

#include "base/file.h"
#include "kvstore/mvcc/store.h"

namespace kvstore::replica {

// Fills an empty store from a bbolt database (with or without the SHA-256 a snapshot file ends in). The mark says which
// log index the database stands at.
base::Result<mvcc::AppliedMark> ImportDatabase(base::FileSystem& fs, const std::string& path, mvcc::Store& store);
// OK when ImportDatabase would take it and it stands at `index`; what another member sent is not believed.
base::Status CheckDatabase(base::FileSystem& fs, const std::string& path, uint64_t index);

}  // namespace kvstore::replica
