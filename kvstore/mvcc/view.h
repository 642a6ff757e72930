// A part of the history as it stands at one revision, for whoever takes long over it: gathered in steps on the strand,
// then read on any thread while the store goes on. Hashes, snapshots and long answers are made of it, so that nobody
// has to wait for them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kvstore/mvcc/index.h"
#include "kvstore/mvcc/segments.h"

namespace kvstore::mvcc {

class Store;

// Immutable; any thread. Keeps the files it needs open.
struct View {
  int64_t revision = 0;
  int64_t compact_revision = -1;
  std::deque<Version> versions;  // grows without being copied as a whole
  SegmentView segments;

  // Each version's place in etcd's database and its KeyValue bytes, in the order of `versions`.
  base::Status ForEach(const std::function<base::Status(std::string_view key, std::string_view value)>& each) const;
};

// Collects a View on the store's strand. As long as one is at work, compaction and rewriting wait (the view itself
// keeps nobody waiting). May outlive the store, but then only to be destroyed.
class Gather {
 public:
  // Every version that compaction leaves, up to the revision; Finish puts them in revision order.
  static Gather History(Store& store, int64_t revision) { return Gather(store, Kind::kHistory, revision, {}, {}); }
  // What the original hashes: all that is newer than the compaction, and of the older ones what the revision still sees
  // (everything that is kept where it sees nothing at all), without tombstones of the compaction's own revision.
  static Gather Hashed(Store& store, int64_t revision) { return Gather(store, Kind::kHashed, revision, {}, {}); }
  // What the original hashes while it compacts at the revision; to be made before the store is told to compact there.
  static Gather Compacted(Store& store, int64_t revision) { return Gather(store, Kind::kCompacted, revision, {}, {}); }
  // Of each key of [key, end) the version that a read at the revision sees; in key order.
  static Gather Range(Store& store, int64_t revision, std::string key, std::string end) {
    return Gather(store, Kind::kRange, revision, std::move(key), std::move(end));
  }
  Gather(Gather&&) = default;
  ~Gather();

  // Looks at up to `keys` more keys; true: there is more to do. kUnavailable once the store was cleared.
  base::Result<bool> Step(size_t keys);
  // What was found so far.
  const std::deque<Version>& versions() const { return found_; }
  uint64_t bytes() const { return bytes_; }  // of KeyValue bytes
  // After the last step. Sorting is left to the caller's thread: see Sort.
  base::Result<View> Finish();

 private:
  enum class Kind { kHistory, kHashed, kCompacted, kRange };
  Gather(Store& store, Kind kind, int64_t revision, std::string key, std::string end);
  void Keep(const Version& v);
  void KeepHistory(const KeyEntry& e);
  Store* store_;
  std::shared_ptr<int> at_work_;  // the store's count of gatherers
  uint64_t generation_;
  Kind kind_;
  int64_t revision_, compact_revision_;
  std::string cursor_, end_;
  std::deque<Version> found_;
  // Hashed: compacted versions that something kept; does a read at the revision see them?
  std::deque<std::pair<Version, bool>> old_;
  bool any_seen_ = false;
  uint64_t bytes_ = 0;
};

// Into revision order.
void Sort(View& view);
// etcd's HashKV of a view of the history.
base::Result<uint32_t> HashOf(const View& view);

}  // namespace kvstore::mvcc
