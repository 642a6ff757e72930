// A snapshot of another member on this member's disk, and the steps by which it takes the store's place. It comes as
// member/snap/<index>.snap.db; the log notes it; it is renamed to installing.db and from then on, whatever happens, the
// store is made anew from it. Blocks.
#pragma once

#include <memory>
#include <string>

#include "kvstore/mvcc/store.h"
#include "kvstore/raft/types.h"
#include "kvstore/replica/options.h"

namespace kvstore::replica {

// Where a database that came is put.
std::string IncomingSnapshotPath(const std::string& data_dir, uint64_t index);

// At start: a snapshot whose installation was cut short, or that the log notes and nothing more, is installed now. The
// store, if there was something to do; null: as it was left.
base::Result<std::unique_ptr<mvcc::Store>> FinishInstall(base::FileSystem& fs, const Options& options);

// A store that is made ready beside the one that is in use.
struct Installation {
  std::string data_dir;
  raft::SnapshotMeta meta;
  std::unique_ptr<mvcc::Store> store;    // empty before Run
  std::shared_ptr<base::File> database;  // once its name is gone: to be given back
  base::Status result;

  base::Status Run(base::FileSystem& fs);
};

}  // namespace kvstore::replica
