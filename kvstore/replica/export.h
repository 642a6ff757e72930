// The store as etcd's database, for backups and for members that are far behind. It is made while it is read, front to
// back: nothing is written to this member's disk, and a slow reader costs the index of what it reads and the files it
// keeps open.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/task.h"
#include "kvstore/bolt/bolt.h"
#include "kvstore/mvcc/store.h"
#include "kvstore/mvcc/view.h"

namespace kvstore::replica {

// What the database is made of, at one moment.
struct DatabaseImage {
  mvcc::View keys;
  mvcc::Buckets buckets;  // with storage version and membership as etcd has them
};
// Strand, with a turn for others every few thousand keys; goes on only while `wanted` says so (kCancelled otherwise:
// the store may be gone).
base::Task<base::Result<DatabaseImage>> TakeImage(mvcc::Store& store, mvcc::AppliedMark mark, base::Executor& executor,
                                                  std::function<bool()> wanted);

// Any thread, one at a time. Blocks: it reads the disk.
class DatabaseStream {
 public:
  // Finds out how large it will be, from lengths alone.
  static base::Result<std::unique_ptr<DatabaseStream>> Make(DatabaseImage image);
  uint64_t size() const { return extent_.bytes(); }
  // Some hundred KB more; "" at the end.
  base::Result<std::string> Next();
  // All that is left, for who has room for it.
  base::Result<std::string> Rest();

 private:
  explicit DatabaseStream(DatabaseImage image);
  base::Result<bolt::Extent> LayOut() const;
  base::Status Step();

  DatabaseImage image_;
  mvcc::Cursor cursor_;
  bolt::Extent extent_;
  std::string out_;
  std::unique_ptr<bolt::Writer> writer_;
  // Where it is: a bucket, and what is next in it.
  mvcc::Buckets::const_iterator bucket_;
  bool begun_ = false, done_ = false;
  size_t version_ = 0;
  std::map<std::string, std::string>::const_iterator entry_;
};

// etcd's Hash: of all that a database would hold. Any thread.
base::Result<uint32_t> HashDatabase(DatabaseImage image);

}  // namespace kvstore::replica
