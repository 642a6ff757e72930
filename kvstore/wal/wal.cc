#include "kvstore/wal/wal.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/bytes.h"
#include "base/protobuf_wire.h"

namespace kvstore::wal {

namespace wire = base::wire;

using base::DataLoss;
using base::Err;
using base::File;
using base::FileSystem;
using base::Ok;
using base::Result;
using base::Status;

namespace {

enum RecordType { kMetadata = 1, kEntry = 2, kState = 3, kCrc = 4, kSnapshot = 5 };
constexpr uint64_t kSectorBytes = 512;
// No record of an honest log comes near this; a longer length word is damage.
constexpr uint64_t kMaxRecordBytes = 512 << 20;
constexpr size_t kReadAhead = 1 << 20;
constexpr uint64_t kBlock = base::BlockFile::kBlock;
// A block's first write makes the file system note that it holds something now, which costs its journal a write. Zeros
// are written so far ahead of the log, so that the log's own writes only overwrite.
constexpr uint64_t kZeroAhead = 256 << 10;
alignas(kBlock) constinit char zeros[kZeroAhead] = {};
// More than this is not for a loop to encode and to hand to the kernel.
constexpr size_t kMaxStartedBytes = 64 << 10;
constexpr size_t kMaxImageKept = 1 << 20;

uint64_t BlockStart(uint64_t offset) { return offset / kBlock * kBlock; }
uint64_t BlockEnd(uint64_t offset) { return BlockStart(offset + kBlock - 1); }

struct Record {
  int type = 0;
  uint32_t crc = 0;
  std::string_view data;
};

std::optional<Record> DecodeRecord(std::string_view bytes) {
  Record rec;
  wire::Reader r(bytes);
  while (r.Next()) {
    if (r.field() == 1) rec.type = static_cast<int>(r.value());
    if (r.field() == 2) rec.crc = static_cast<uint32_t>(r.value());
    if (r.field() == 3) rec.data = r.bytes();
  }
  if (!r.ok()) return std::nullopt;
  return rec;
}

// True when a sector that the record covers is all zeros: it never reached the disk.
bool HasBlankSector(uint64_t file_offset, std::string_view bytes) {
  while (!bytes.empty()) {
    size_t n = std::min<uint64_t>(kSectorBytes - file_offset % kSectorBytes, bytes.size());
    if (bytes.substr(0, n).find_first_not_of('\0') == std::string_view::npos) return true;
    bytes.remove_prefix(n);
    file_offset += n;
  }
  return false;
}

// Frames of one segment, read ahead in pieces so that the preallocated rest is never read.
class Frames {
 public:
  Frames(const File& file, uint64_t size) : file_(file), size_(size) {}
  uint64_t offset() const { return offset_; }
  enum class Kind { kRecord, kEnd, kTorn, kBad };
  struct Frame {
    Kind kind;
    std::string_view record;  // without padding; valid until the next call
    std::string_view padded;
  };
  Result<Frame> Next() {
    if (offset_ + 8 > size_) return Frame{Kind::kEnd, {}, {}};
    TRY_ASSIGN(std::string_view head, View(offset_, 8));
    uint64_t word = base::GetLittleEndian64(head.data());
    if (word == 0) return Frame{Kind::kEnd, {}, {}};
    uint64_t length = word & 0x00ffffffffffffffu;
    uint64_t pad = word >> 63 ? (word >> 56) & 0x7 : 0;
    if (length > kMaxRecordBytes) return Frame{Kind::kBad, {}, {}};
    if (offset_ + 8 + length + pad > size_) return Frame{Kind::kTorn, {}, {}};
    TRY_ASSIGN(std::string_view body, View(offset_ + 8, length + pad));
    frame_ = 8 + length + pad;
    return Frame{Kind::kRecord, body.substr(0, length), body};
  }
  void Accept() { offset_ += frame_; }

 private:
  Result<std::string_view> View(uint64_t at, size_t n) {
    if (at < start_ || at + n > start_ + buffer_.size()) {
      TRY_ASSIGN(buffer_, file_.ReadAt(at, std::max(n, kReadAhead)));
      start_ = at;
      if (buffer_.size() < n) return Err(DataLoss("short read"));
    }
    return std::string_view(buffer_).substr(at - start_, n);
  }
  const File& file_;
  uint64_t size_;
  uint64_t offset_ = 0;
  uint64_t frame_ = 0;
  uint64_t start_ = 0;
  std::string buffer_;
};

struct Tail {
  uint64_t offset = 0;
  uint32_t crc = 0;
  bool torn = false;
  uint64_t last_index = 0;
};

// Puts record after record into `contents`.
class Replayer {
 public:
  Replayer(uint64_t after, Contents& out) : after_(after), out_(out) {}

  Result<Tail> Segment(const std::string& name, const File& file, bool last) {
    TRY_ASSIGN(uint64_t size, file.Size());
    Frames frames(file, size);
    Tail tail;
    for (;;) {
      TRY_ASSIGN(Frames::Frame f, frames.Next());
      if (f.kind == Frames::Kind::kEnd) break;
      auto damaged = [&](std::string_view what) {
        return Err(
            DataLoss("wal: " + std::string(what) + " in " + name + " at offset " + std::to_string(frames.offset())));
      };
      if (f.kind == Frames::Kind::kBad) return damaged("record length out of range");
      if (f.kind == Frames::Kind::kTorn) {
        if (!last) return damaged("truncated record");
        tail.torn = true;
        break;
      }
      auto rec = DecodeRecord(f.record);
      if (!rec || !CrcMatches(*rec)) {
        if (last && HasBlankSector(frames.offset() + 8, f.padded)) {
          tail.torn = true;
          break;
        }
        return damaged(rec ? "crc mismatch" : "unreadable record");
      }
      if (!Take(*rec)) return damaged("unreadable record");
      ++out_.records;
      frames.Accept();
    }
    tail.offset = frames.offset();
    tail.crc = crc_;
    tail.last_index = last_index_;
    return tail;
  }
  bool has_metadata() const { return has_metadata_; }

 private:
  bool CrcMatches(const Record& rec) {
    if (rec.type == kCrc) {
      // The chain may begin in the middle: the first segment read says where.
      if (crc_ != 0 && rec.crc != crc_) return false;
      crc_ = rec.crc;
      return true;
    }
    uint32_t next = base::Crc32c(crc_, rec.data);
    if (next != rec.crc) return false;
    crc_ = next;
    return true;
  }

  bool Take(const Record& rec) {
    switch (rec.type) {
      case kMetadata: {
        auto m = DecodeMetadata(rec.data);
        if (!m || (has_metadata_ && !(*m == out_.metadata))) return false;
        out_.metadata = *m;
        has_metadata_ = true;
        return true;
      }
      case kEntry: {
        auto e = DecodeEntry(rec.data);
        return e && TakeEntry(std::move(*e));
      }
      case kState: {
        auto s = DecodeHardState(rec.data);
        if (s) out_.hard_state = *s;
        return s.has_value();
      }
      case kSnapshot: {
        auto s = DecodeWalSnapshot(rec.data);
        if (s) {
          out_.snapshots.push_back(*s);
          last_index_ = std::max(last_index_, s->index);
        }
        return s.has_value();
      }
      case kCrc:
        return true;
      default:
        return false;
    }
  }

  bool TakeEntry(raft::Entry e) {
    last_index_ = e.index;
    if (e.index <= after_) return true;
    // A later entry at the same index replaces what a deposed leader had written.
    uint64_t at = e.index - after_ - 1;
    if (at > out_.entries.size()) return false;
    out_.entries.resize(at);
    out_.entries.push_back(std::move(e));
    return true;
  }

  uint64_t after_;
  Contents& out_;
  uint32_t crc_ = 0;
  uint64_t last_index_ = 0;
  bool has_metadata_ = false;
};

struct Name {
  uint64_t sequence, first_index;
  std::string name;
};

Result<std::vector<Name>> Segments(FileSystem& fs, const std::string& directory) {
  TRY_ASSIGN(std::vector<std::string> names, fs.List(directory));
  std::vector<Name> out;
  for (std::string& n : names) {
    Name s;
    if (!ParseSegmentName(n, s.sequence, s.first_index)) continue;
    if (!out.empty() && s.sequence != out.back().sequence + 1) {
      return Err(DataLoss("wal: segment missing before " + n));
    }
    s.name = std::move(n);
    out.push_back(std::move(s));
  }
  if (out.empty()) return Err(base::NotFound("wal: no segment in " + directory));
  return out;
}

// The newest segment that begins at or before the first wanted entry.
size_t FirstNeeded(const std::vector<Name>& segments, uint64_t after) {
  size_t i = segments.size() - 1;
  while (i > 0 && segments[i].first_index > after + 1) --i;
  return i;
}

struct ReadResult {
  Contents contents;
  Tail tail;
  std::vector<Name> segments;
};

Result<ReadResult> ReadAll(FileSystem& fs, const std::string& directory, uint64_t after, bool every_segment = false) {
  ReadResult r;
  TRY_ASSIGN(r.segments, Segments(fs, directory));
  Replayer replayer(after, r.contents);
  for (size_t i = every_segment ? 0 : FirstNeeded(r.segments, after); i < r.segments.size(); ++i) {
    TRY_ASSIGN(auto file, fs.Open(directory + "/" + r.segments[i].name, base::OpenMode::kRead));
    TRY_ASSIGN(r.tail, replayer.Segment(r.segments[i].name, *file, i + 1 == r.segments.size()));
  }
  if (!replayer.has_metadata()) return Err(DataLoss("wal: no metadata record in " + directory));
  return r;
}

}  // namespace

std::string SegmentName(uint64_t sequence, uint64_t first_index) {
  char buf[48];
  std::snprintf(buf, sizeof buf, "%016lx-%016lx.wal", static_cast<unsigned long>(sequence),
                static_cast<unsigned long>(first_index));
  return buf;
}

bool ParseSegmentName(std::string_view name, uint64_t& sequence, uint64_t& first_index) {
  unsigned long a = 0, b = 0;
  if (name.size() != 37 || !name.ends_with(".wal") ||
      std::sscanf(std::string(name).c_str(), "%16lx-%16lx.wal", &a, &b) != 2) {
    return false;
  }
  sequence = a;
  first_index = b;
  return true;
}

bool Exists(FileSystem& fs, const std::string& directory) {
  auto segments = Segments(fs, directory);
  return segments.has_value() || segments.error().code() == base::Code::kDataLoss;
}

Result<std::vector<raft::SnapshotMeta>> ReadSnapshots(FileSystem& fs, const std::string& directory) {
  TRY_ASSIGN(ReadResult r, ReadAll(fs, directory, UINT64_MAX - 1, true));
  return std::move(r.contents.snapshots);
}

Result<Contents> Read(FileSystem& fs, const std::string& directory, uint64_t after) {
  TRY_ASSIGN(ReadResult r, ReadAll(fs, directory, after));
  return std::move(r.contents);
}

Result<std::unique_ptr<File>> Wal::NewSegment(const std::string& path) {
  TRY_ASSIGN(auto file, fs_.Open(path, base::OpenMode::kCreate));
  TRY(file->Truncate(0));
  TRY(file->Allocate(options_.segment_bytes));
  return file;
}

Result<std::unique_ptr<Wal>> Wal::Create(FileSystem& fs, const std::string& directory, const Metadata& metadata,
                                         Options options) {
  std::string building = directory + ".tmp";
  TRY(fs.RemoveAll(building));
  TRY(fs.MakeDirectories(building));
  std::unique_ptr<Wal> w(new Wal(fs, directory, metadata, options));
  TRY_ASSIGN(w->file_, w->NewSegment(building + "/" + SegmentName(0, 0)));
  w->segments_.push_back({0, 0});
  w->Put(kCrc, {});
  w->Put(kMetadata, EncodeMetadata(metadata));
  w->Put(kSnapshot, EncodeWalSnapshot({}));
  TRY(w->Sync());
  TRY(fs.SyncDirectory(building));
  TRY(fs.Rename(building, directory));
  size_t slash = directory.rfind('/');
  TRY(fs.SyncDirectory(slash == std::string::npos ? "." : directory.substr(0, slash)));
  return w;
}

Result<Wal::Opened> Wal::Open(FileSystem& fs, const std::string& directory, uint64_t after, Options options) {
  TRY_ASSIGN(ReadResult r, ReadAll(fs, directory, after));
  std::unique_ptr<Wal> w(new Wal(fs, directory, r.contents.metadata, options));
  for (const Name& n : r.segments) w->segments_.push_back({n.sequence, n.first_index});
  TRY_ASSIGN(w->file_, fs.Open(directory + "/" + r.segments.back().name, base::OpenMode::kReadWrite));
  // Whatever stands behind the last good record must not be taken for a record later on.
  TRY(w->file_->Truncate(r.tail.offset));
  TRY(w->file_->Allocate(std::max(options.segment_bytes, r.tail.offset)));
  TRY(w->file_->Sync());
  w->offset_ = r.tail.offset;
  TRY(w->OpenBlocks(directory + "/" + r.segments.back().name));
  w->crc_ = r.tail.crc;
  w->state_ = r.contents.hard_state;
  w->last_index_ = r.tail.last_index;
  return Opened{std::move(w), std::move(r.contents)};
}

void Wal::Put(int type, std::string_view data) {
  if (type != kCrc) crc_ = base::Crc32c(crc_, data);
  scratch_.clear();
  wire::PutUint(scratch_, 1, static_cast<uint64_t>(type));
  wire::PutUint(scratch_, 2, crc_);
  if (type != kCrc) wire::PutBytes(scratch_, 3, data);
  uint64_t length = scratch_.size();
  uint64_t pad = (8 - length % 8) % 8;
  base::PutLittleEndian64(buffer_, pad == 0 ? length : length | (0x80 | pad) << 56);
  buffer_ += scratch_;
  buffer_.append(pad, '\0');
}

// The segment's second handle, where there is such a thing. The image then begins with the file's last block.
Status Wal::OpenBlocks(const std::string& path) {
  blocks_.reset();
  touched_ = BlockStart(offset_);
  if (options_.blocks == nullptr) return Ok();
  if (auto opened = options_.blocks->Open(path)) blocks_ = std::move(*opened);
  TRY_ASSIGN(std::string tail, file_->ReadAt(touched_, offset_ - touched_));
  if (tail.size() != offset_ - touched_) return DataLoss("short read");
  image_.Resize(kBlock, 0);
  image_used_ = kBlock;
  std::memcpy(image_.data(), tail.data(), tail.size());
  return Ok();
}

// The blocks to write: the last one so far, what was put behind it, zeros.
std::string_view Wal::Image() {
  size_t tail = offset_ - BlockStart(offset_), used = tail + buffer_.size(), size = BlockEnd(used);
  if (image_.size() < size) {
    image_.Resize(size, tail);
    image_used_ = image_.size();
  }
  std::memcpy(image_.data() + tail, buffer_.data(), buffer_.size());
  if (image_used_ > used) std::memset(image_.data() + used, 0, image_used_ - used);
  image_used_ = used;
  return {image_.data(), size};
}

void Wal::Written() {
  if (blocks_) {
    size_t begin = BlockStart(offset_), end = offset_ + buffer_.size();
    std::memmove(image_.data(), image_.data() + (BlockStart(end) - begin), end - BlockStart(end));
    if (image_.size() > kMaxImageKept) {
      image_.Resize(kBlock, end - BlockStart(end));
      image_used_ = kBlock;
    }
    touched_ = std::max(touched_, BlockEnd(end));
  }
  offset_ += buffer_.size();
  bytes_written_ += buffer_.size();
  buffer_.clear();
  if (buffer_.capacity() > (4 << 20)) buffer_.shrink_to_fit();
}

Status Wal::WriteBlocks() {
  std::string_view image = Image();
  uint64_t begin = BlockStart(offset_), end = begin + image.size();
  uint64_t to = std::min(end + kZeroAhead, BlockStart(options_.segment_bytes));
  if (end > touched_ && to > end) {
    TRY(blocks_->Write(end, {zeros, to - end}, /*durable=*/false));
    touched_ = to;
  }
  return blocks_->Write(begin, image, /*durable=*/true);
}

Status Wal::Flush() {
  if (buffer_.empty()) return Ok();
  TRY(blocks_ ? WriteBlocks() : file_->WriteAt(offset_, buffer_));
  Written();
  return Ok();
}

// Records were put. With blocks they are written once, by Sync.
Status Wal::Gathered() {
  if (!blocks_) TRY(Flush());
  return offset_ + buffer_.size() < options_.segment_bytes ? Ok() : Cut();
}

bool Wal::MayStartSync(size_t bytes) const {
  return blocks_ && buffer_.size() + bytes <= kMaxStartedBytes &&
         offset_ + buffer_.size() + bytes < options_.segment_bytes;
}

bool Wal::StartSync(std::move_only_function<void(Status)> done) {
  if (!blocks_ || buffer_.empty() || BlockEnd(offset_ + buffer_.size()) > touched_) return false;
  return blocks_->Start(BlockStart(offset_), Image(), [this, done = std::move(done)](Status s) mutable {
    if (s.ok()) Written();
    done(std::move(s));
  });
}

Status Wal::Save(const raft::HardState& state, const raft::Entries& entries) {
  std::string bytes;
  for (const raft::Entry& e : entries) {
    bytes.clear();
    EncodeEntry(bytes, e);
    Put(kEntry, bytes);
    last_index_ = e.index;
  }
  if (!state.empty() && !(state == state_)) {
    state_ = state;
    Put(kState, EncodeHardState(state));
  }
  return Gathered();
}

Status Wal::SaveSnapshot(const raft::SnapshotMeta& snapshot) {
  Put(kSnapshot, EncodeWalSnapshot(snapshot));
  last_index_ = std::max(last_index_, snapshot.index);
  return blocks_ ? Ok() : Flush();
}

Status Wal::StartOver(const raft::SnapshotMeta& snapshot) {
  TRY(SaveSnapshot(snapshot));
  last_index_ = snapshot.index;
  return Cut();
}

Status Wal::Sync() {
  TRY(Flush());
  return blocks_ ? Ok() : file_->Sync();
}

Status Wal::Cut() {
  TRY(Flush());
  TRY(file_->Truncate(offset_));
  TRY(file_->Sync());
  Segment next{segments_.back().sequence + 1, last_index_ + 1};
  std::string building = directory_ + "/next.tmp";
  TRY_ASSIGN(file_, NewSegment(building));
  offset_ = 0;
  TRY(OpenBlocks(building));
  Put(kCrc, {});
  Put(kMetadata, EncodeMetadata(metadata_));
  if (!state_.empty()) Put(kState, EncodeHardState(state_));
  TRY(Sync());
  TRY(fs_.Rename(building, directory_ + "/" + SegmentName(next.sequence, next.first_index)));
  TRY(fs_.SyncDirectory(directory_));
  segments_.push_back(next);
  return Ok();
}

std::vector<std::string> Wal::ReleaseTo(uint64_t index) {
  std::vector<std::string> gone;
  // A segment may go when the next one begins at or before the first entry that is still wanted.
  while (segments_.size() > 1 && segments_[1].first_index <= index + 1) {
    gone.push_back(directory_ + "/" + SegmentName(segments_[0].sequence, segments_[0].first_index));
    segments_.erase(segments_.begin());
  }
  return gone;
}

std::string SnapName(const raft::SnapshotMeta& meta) {
  char buf[48];
  std::snprintf(buf, sizeof buf, "%016lx-%016lx.snap", static_cast<unsigned long>(meta.term),
                static_cast<unsigned long>(meta.index));
  return buf;
}

Status WriteSnap(FileSystem& fs, const std::string& directory, const raft::Snapshot& snapshot) {
  std::string data = EncodeSnapshot(snapshot), out;
  wire::PutUint(out, 1, base::Crc32c(0, data));
  wire::PutBytes(out, 2, data);
  return base::WriteFileAtomically(fs, directory + "/" + SnapName(snapshot.meta), out);
}

Result<raft::Snapshot> ReadSnap(FileSystem& fs, const std::string& path) {
  TRY_ASSIGN(std::string bytes, base::ReadFile(fs, path));
  uint32_t crc = 0;
  std::string_view data;
  wire::Reader r(bytes);
  while (r.Next()) {
    if (r.field() == 1) crc = static_cast<uint32_t>(r.value());
    if (r.field() == 2) data = r.bytes();
  }
  if (!r.ok() || data.empty() || base::Crc32c(0, data) != crc) return Err(DataLoss("snap: crc mismatch in " + path));
  auto s = DecodeSnapshot(data);
  if (!s) return Err(DataLoss("snap: unreadable snapshot in " + path));
  return std::move(*s);
}

}  // namespace kvstore::wal
