// The write-ahead log in etcd's format: a directory of preallocated segments of framed, CRC-chained records.
//
// Promises: what Save wrote is on the disk once Sync returned OK, and after any crash Open gives back every record that
// was synced, in order; a torn tail is cut, damage anywhere else is refused with its place. After any error the log
// must not be used again (a failed fsync says nothing about what is on the disk).
//
// Owned by the replica's log lane; its calls belong to one thread at a time and, but for StartSync, block.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/block_file.h"
#include "base/file.h"
#include "kvstore/wal/codec.h"

namespace kvstore::wal {

inline constexpr uint64_t kSegmentBytes = 64'000'000;

// What a log says, read from a starting point.
struct Contents {
  Metadata metadata;
  raft::HardState hard_state;
  raft::Entries entries;                      // those behind the starting point
  std::vector<raft::SnapshotMeta> snapshots;  // snapshot records, in order
  uint64_t records = 0;
};

struct Options {
  uint64_t segment_bytes = kSegmentBytes;
  base::BlockFiles* blocks = nullptr;  // not owned; null: all writes go through the page cache
};

std::string SegmentName(uint64_t sequence, uint64_t first_index);
// False when `name` is not a segment's.
bool ParseSegmentName(std::string_view name, uint64_t& sequence, uint64_t& first_index);

// Reads without touching anything; entries up to `after` are skipped. kDataLoss: damaged; kNotFound: no log there.
base::Result<Contents> Read(base::FileSystem& fs, const std::string& directory, uint64_t after = 0);
// The snapshot records of all segments, in order.
base::Result<std::vector<raft::SnapshotMeta>> ReadSnapshots(base::FileSystem& fs, const std::string& directory);
// True when the directory holds at least one segment.
bool Exists(base::FileSystem& fs, const std::string& directory);

class Wal {
 public:
  // Makes the directory with a first segment; it appears whole or not at all.
  static base::Result<std::unique_ptr<Wal>> Create(base::FileSystem& fs, const std::string& directory,
                                                   const Metadata& metadata, Options options = {});
  struct Opened {
    std::unique_ptr<Wal> wal;
    Contents contents;
  };
  // Reads and gets ready to append; a torn tail is gone afterwards, on the disk too.
  static base::Result<Opened> Open(base::FileSystem& fs, const std::string& directory, uint64_t after,
                                   Options options = {});

  // Appends; not durable before Sync. An unchanged or empty hard state is not written again.
  base::Status Save(const raft::HardState& state, const raft::Entries& entries);
  base::Status SaveSnapshot(const raft::SnapshotMeta& snapshot);
  // A snapshot of somebody else replaces the log: what stands behind its index so far does not belong to the history it
  // sums up, and must not come back. A segment of its own begins behind it, which is where reading after it begins.
  base::Status StartOver(const raft::SnapshotMeta& snapshot);
  base::Status Sync();
  // For a log lane that would rather not wait. True: so many bytes may be Saved without touching the disk, and
  // StartSync may be tried instead of Sync.
  bool MayStartSync(size_t bytes) const;
  // Sync without waiting: `done` comes on the loop of Options::blocks, and until then the log is not to be touched.
  // False, or kUnavailable in `done`: that was not possible, call Sync.
  bool StartSync(std::move_only_function<void(base::Status)> done);
  // Lets go of segments that hold nothing behind `index`. Their files are the caller's to remove, in this order and
  // synced, on whatever thread may wait for it: for files of this size that takes long enough to notice.
  std::vector<std::string> ReleaseTo(uint64_t index);

  uint64_t bytes_written() const { return bytes_written_; }
  size_t segments() const { return segments_.size(); }

 private:
  struct Segment {
    uint64_t sequence, first_index;
  };
  Wal(base::FileSystem& fs, std::string directory, Metadata metadata, Options options)
      : fs_(fs), directory_(std::move(directory)), metadata_(metadata), options_(options) {}
  void Put(int type, std::string_view data);
  base::Status Flush();
  base::Status Gathered();
  base::Status OpenBlocks(const std::string& path);
  base::Status WriteBlocks();
  std::string_view Image();
  void Written();
  base::Status Cut();
  base::Result<std::unique_ptr<base::File>> NewSegment(const std::string& path);

  base::FileSystem& fs_;
  std::string directory_;
  Metadata metadata_;
  Options options_;
  std::unique_ptr<base::File> file_;
  std::unique_ptr<base::BlockFile> blocks_;  // the same file; null: plain writes
  base::BlockBuffer image_;                  // begins with what the file's last block has so far
  size_t image_used_ = 0;                    // zeros behind it
  uint64_t touched_ = 0;                     // the blocks before it were written at least once
  std::vector<Segment> segments_;
  uint64_t offset_ = 0;
  uint32_t crc_ = 0;
  raft::HardState state_;
  uint64_t last_index_ = 0;
  uint64_t bytes_written_ = 0;
  std::string buffer_;  // framed records that are not in the file yet
  std::string scratch_;
};

// `.snap` files: "%016x-%016x.snap" of term and index.
std::string SnapName(const raft::SnapshotMeta& meta);
base::Status WriteSnap(base::FileSystem& fs, const std::string& directory, const raft::Snapshot& snapshot);
base::Result<raft::Snapshot> ReadSnap(base::FileSystem& fs, const std::string& path);

}  // namespace kvstore::wal
