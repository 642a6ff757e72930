// Where stored KeyValue bytes live: append-only files of checksummed records. Written without fsync, because the log
// can replay them; SyncPlan says what a checkpoint has to make durable, and SyncStep keeps what is left for it small.
// Values are read back through the page cache.
//
// Promises: a record read back is the record written, or an error (checksum). Owned by the Store; one strand, except
// that what SyncPlan and SyncStep do may be done on a blocking pool.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "kvstore/mvcc/key_value.h"

namespace kvstore::mvcc {

struct Location {
  uint32_t segment = 0;
  uint32_t offset = 0;
  uint32_t length = 0;  // of the KeyValue bytes
  bool operator==(const Location&) const = default;
};

struct SegmentRecord {
  Revision revision;
  bool tombstone = false;
  Location location;
  std::string_view bytes;  // valid during the callback
};

struct SegmentLimits {
  uint32_t segment_bytes = 64 << 20;
  uint32_t tail_bytes = 256 << 10;  // kept in memory before it is written out
  uint32_t sync_bytes = 1 << 20;    // written, and worth a SyncStep
};

// Where records are read from: the segments as they grow, or a view of them.
class RecordSource {
 public:
  virtual ~RecordSource() = default;
  // Up to `size` bytes of a segment.
  virtual base::Result<std::string> Raw(uint32_t segment, uint64_t offset, size_t size) const = 0;
};

// A reader for many records: nearby ones come out of one disk read. One thread; its source must outlive it and, if it
// is Segments, not change meanwhile.
class Cursor {
 public:
  explicit Cursor(const RecordSource& source) : source_(source) {}
  // The KeyValue bytes, checked; valid until the next call.
  base::Result<std::string_view> Read(const Location& at);
  // The same where the length is not known.
  base::Result<SegmentRecord> ReadAt(uint32_t segment, uint32_t offset);

 private:
  // At least `size` bytes, if there are so many.
  base::Result<std::string_view> Bytes(uint32_t segment, uint32_t offset, size_t size);
  const RecordSource& source_;
  uint32_t segment_ = 0;
  uint64_t start_ = 0;
  std::string chunk_;
  uint64_t last_end_ = 0;
};

// All records there were at one moment, readable from any thread for as long as it lives: files that are removed
// meanwhile stay open in it.
class SegmentView final : public RecordSource {
 public:
  base::Result<std::string> Raw(uint32_t segment, uint64_t offset, size_t size) const override;

 private:
  friend class Segments;
  std::map<uint32_t, std::shared_ptr<const base::File>> files_;
};

class Segments final : public RecordSource {
 public:
  // `existing`: (id, length) as the checkpoint lists them; what stands behind those lengths is not trusted.
  static base::Result<std::unique_ptr<Segments>> Open(base::FileSystem& fs, std::string directory,
                                                      const std::vector<std::pair<uint32_t, uint64_t>>& existing,
                                                      SegmentLimits limits = {});
  // Without records, in the same directory, under names that `other` does not use; `other` must make no new ones.
  static std::unique_ptr<Segments> Beside(const Segments& other);
  base::Result<Location> Append(const Revision& r, bool tombstone, std::string_view bytes);
  base::Result<std::string> Read(const Location& at) const;

  // Everything appended so far.
  base::Result<SegmentView> View();

  // Calls `each` for the records of a segment from `offset` on, about `max_bytes` of them; returns where to go on, or 0
  // at the end.
  base::Result<uint32_t> Scan(uint32_t segment, uint32_t offset, size_t max_bytes,
                              const std::function<base::Status(const SegmentRecord&)>& each) const;

  // What a checkpoint has to do with the files: Sync before its state is written, Clean once that is durable. Any
  // thread.
  struct SyncPlan {
    struct Part {
      uint32_t id;
      uint64_t length;
      std::string dead_offsets;  // of records, four little-endian bytes each, in the order in which they died
    };
    std::vector<Part> segments;  // all live ones
    std::vector<std::string> paths;
    struct Dropped {
      std::string path;
      std::shared_ptr<base::File> file;  // for whoever gives its space back, once nobody reads it
    };
    std::vector<Dropped> dropped;
    base::FileSystem* fs = nullptr;
    std::string directory;
    base::Status Sync() const;
    base::Status Clean() const;
  };
  base::Result<SyncPlan> PrepareSync();

  // About a MB of a segment to the disk. Someone else's fsync waits for all that the kernel has gathered by then, so
  // this is to be done all along, one step at a time: NextSync on the strand, Run on any thread, Synced on the strand.
  struct SyncStep {
    uint32_t id;
    uint64_t length;
    std::string path;
    base::FileSystem* fs;
    base::Status Run() const;
  };
  std::optional<SyncStep> NextSync() const;
  void Synced(const SyncStep& step);
  // Written, and not covered by a step or plan so far.
  uint64_t unsynced_bytes() const { return unsynced_bytes_; }

  // Bookkeeping of garbage: the store says which records it no longer needs.
  void MarkDead(const Location& at);
  // A sealed segment that is mostly garbage, or 0.
  uint32_t MostlyGarbage() const;
  // The first of those below `end` with any garbage at all, sealed, or 0.
  uint32_t WithGarbage(uint32_t end) const;
  // What dead records take in one of them.
  uint64_t garbage_bytes(uint32_t segment) const;
  // Seals the current segment when giving back its garbage is worth a rewrite.
  base::Status SealGarbage();
  // What the next segment will be called: all there are are below.
  uint32_t next_id() const { return next_id_; }
  bool Empty(uint32_t segment) const;
  // Leaves it out of the next checkpoint; the file goes once the checkpoint whose PrepareSync came after the Drop is
  // durable.
  void Drop(uint32_t segment);
  // Of the segments that wait for that checkpoint.
  uint64_t dropped_bytes() const { return dropped_bytes_; }
  // Drops everything at once and removes the files; nothing may be read from it afterwards. Any thread.
  std::vector<std::shared_ptr<base::File>> Abandon();
  // No more records go into the current segment.
  base::Status Seal();

  uint64_t total_bytes() const { return total_bytes_; }
  uint64_t live_bytes() const { return live_bytes_; }
  size_t count() const { return segments_.size(); }

 private:
  struct Segment {
    std::shared_ptr<base::File> file;
    uint64_t length = 0;   // including what is still in the tail
    uint64_t written = 0;  // in the file
    uint64_t dead = 0;
    uint64_t synced = 0;  // length that an earlier plan or step covered
    std::string dead_offsets;
  };
  Segments(base::FileSystem& fs, std::string directory, SegmentLimits limits)
      : fs_(fs), directory_(std::move(directory)), limits_(limits) {}
  std::string PathOf(uint32_t id) const;
  base::Status Start();
  base::Status FlushTail();
  base::Result<std::string> Raw(uint32_t segment, uint64_t offset, size_t size) const override;

  base::FileSystem& fs_;
  std::string directory_;
  SegmentLimits limits_;
  std::map<uint32_t, Segment> segments_;
  std::vector<SyncPlan::Dropped> dropped_;
  uint64_t dropped_bytes_ = 0;
  uint64_t unsynced_bytes_ = 0;
  uint32_t next_id_ = 1;
  uint32_t active_ = 0;  // 0 = none
  std::string tail_;
  uint64_t total_bytes_ = 0;
  uint64_t live_bytes_ = 0;
};

}  // namespace kvstore::mvcc
