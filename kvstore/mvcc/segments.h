// Where stored KeyValue bytes live: append-only files of checksummed records. Written without fsync, because the log
// can replay them; SyncPlan says what a checkpoint has to make durable. Values are read back through the page cache.
//
// Promises: a record read back is the record written, or an error (checksum). Owned by the Store; one strand, except
// that SyncPlan::Run may run on a blocking pool.
#pragma once

#include <functional>
#include <map>
#include <memory>
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
};

class Segments {
 public:
  // `existing`: (id, length) as the checkpoint lists them; what stands behind those lengths is not trusted.
  static base::Result<std::unique_ptr<Segments>> Open(base::FileSystem& fs, std::string directory,
                                                      const std::vector<std::pair<uint32_t, uint64_t>>& existing,
                                                      SegmentLimits limits = {});
  base::Result<Location> Append(const Revision& r, bool tombstone, std::string_view bytes);
  base::Result<std::string> Read(const Location& at) const;

  // A reader for many records: nearby ones come out of one disk read. Valid until the next Append.
  class Cursor {
   public:
    explicit Cursor(const Segments& s) : segments_(s) {}
    // Valid until the next call.
    base::Result<std::string_view> Read(const Location& at);

   private:
    const Segments& segments_;
    uint32_t segment_ = 0;
    uint64_t start_ = 0;
    std::string chunk_;
    uint64_t last_end_ = 0;
  };

  // Calls `each` for the records of a segment from `offset` on, at most `max_records`; returns where to go on, or 0 at
  // the end.
  base::Result<uint32_t> Scan(uint32_t segment, uint32_t offset, size_t max_records,
                              const std::function<base::Status(const SegmentRecord&)>& each) const;

  // What has to be synced for everything appended so far to be durable.
  struct SyncPlan {
    std::vector<std::pair<uint32_t, uint64_t>> segments;  // all live ones with their lengths
    std::vector<std::string> paths;
    base::FileSystem* fs = nullptr;
    std::string directory;
    base::Status Run() const;
  };
  base::Result<SyncPlan> PrepareSync();

  // Bookkeeping of garbage: the store says which records it no longer needs.
  void MarkDead(const Location& at);
  // The offsets of a segment's dead records, four little-endian bytes each, in the order in which they died.
  const std::string& DeadOffsets(uint32_t segment) const { return segments_.at(segment).dead_offsets; }
  // A sealed segment that is mostly garbage, or 0.
  uint32_t MostlyGarbage() const;
  bool Empty(uint32_t segment) const;
  // Leaves it out of the next checkpoint; the file goes with RemoveDropped, once the checkpoint whose PrepareSync came
  // after the Drop is durable.
  void Drop(uint32_t segment);
  base::Status RemoveDropped();
  // No more records go into the current segment.
  base::Status Seal();

  uint64_t total_bytes() const { return total_bytes_; }
  uint64_t live_bytes() const { return live_bytes_; }
  size_t count() const { return segments_.size(); }

 private:
  struct Segment {
    std::unique_ptr<base::File> file;
    uint64_t length = 0;   // including what is still in the tail
    uint64_t written = 0;  // in the file
    uint64_t dead = 0;
    uint64_t synced = 0;  // length that an earlier plan covered
    std::string dead_offsets;
  };
  Segments(base::FileSystem& fs, std::string directory, SegmentLimits limits)
      : fs_(fs), directory_(std::move(directory)), limits_(limits) {}
  std::string PathOf(uint32_t id) const;
  base::Status Start();
  base::Status FlushTail();
  base::Result<std::string> Raw(uint32_t segment, uint64_t offset, size_t size) const;
  friend class Cursor;

  base::FileSystem& fs_;
  std::string directory_;
  SegmentLimits limits_;
  std::map<uint32_t, Segment> segments_;
  std::vector<uint32_t> dropped_;
  std::vector<uint32_t> removable_;
  uint32_t next_id_ = 1;
  uint32_t active_ = 0;  // 0 = none
  std::string tail_;
  uint64_t total_bytes_ = 0;
  uint64_t live_bytes_ = 0;
};

}  // namespace kvstore::mvcc
