// A member's files at its start: made, when this is a new member, taken over from etcd, or found as an earlier life
// left them. Blocks.
#pragma once

#include <memory>

#include "kvstore/mvcc/store.h"
#include "kvstore/replica/options.h"
#include "kvstore/wal/wal.h"

namespace kvstore::replica {

struct Opened {
  std::unique_ptr<mvcc::Store> store;  // as of its checkpoint
  std::unique_ptr<wal::Wal> wal;
  wal::Contents contents;  // behind that checkpoint
};
// kDataLoss, kFailedPrecondition: the files cannot be used; says why.
base::Result<Opened> OpenMember(base::FileSystem& fs, const Options& options);

}  // namespace kvstore::replica
