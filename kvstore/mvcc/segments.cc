#include "kvstore/mvcc/segments.h"

#include <algorithm>
#include <cstdio>

#include "base/bytes.h"

namespace kvstore::mvcc {

using base::DataLoss;
using base::Err;
using base::Ok;
using base::Result;
using base::Status;

namespace {

// File: 16 bytes head, then records: crc32c of the rest (4) | length (4) | main (8) | sub, top bit tombstone (4) |
// bytes.
constexpr std::string_view kMagic = "KEELSEG\n";
constexpr uint32_t kFormat = 1;
constexpr uint64_t kFileHead = 16;
constexpr uint64_t kHead = 20;
constexpr uint32_t kTombstoneBit = 1u << 31;
constexpr size_t kChunk = 64 << 10;
constexpr size_t kManySegments = 48;
constexpr uint64_t kWorthRewriting = 1 << 20;

struct Head {
  uint32_t crc, length, sub;
  int64_t main;
};
Head ParseHead(const char* p) {
  return {base::GetLittleEndian32(p), base::GetLittleEndian32(p + 4), base::GetLittleEndian32(p + 16),
          static_cast<int64_t>(base::GetLittleEndian64(p + 8))};
}
SegmentRecord RecordOf(const Head& h, const Location& at, std::string_view bytes) {
  return {.revision = {h.main, static_cast<int64_t>(h.sub & ~kTombstoneBit)},
          .tombstone = (h.sub & kTombstoneBit) != 0,
          .location = at,
          .bytes = bytes};
}
bool ChecksumHolds(std::string_view record, uint32_t crc) { return base::Crc32c(0, record.substr(4)) == crc; }

std::string FileHead() {
  std::string h(kMagic);
  base::PutLittleEndian32(h, kFormat);
  base::PutLittleEndian32(h, base::Crc32c(0, h));
  return h;
}

Status CheckFileHead(std::string_view h, const std::string& path) {
  if (h.size() < kFileHead || !h.starts_with(kMagic) ||
      base::GetLittleEndian32(h.data() + 12) != base::Crc32c(0, h.substr(0, 12))) {
    return DataLoss("segment: damaged head in " + path);
  }
  if (base::GetLittleEndian32(h.data() + 8) > kFormat) {
    return base::FailedPrecondition("segment: " + path + " was written by a newer version");
  }
  return Ok();
}

}  // namespace

std::string Segments::PathOf(uint32_t id) const {
  char name[32];
  std::snprintf(name, sizeof name, "/%08x.seg", id);
  return directory_ + name;
}

Result<std::unique_ptr<Segments>> Segments::Open(base::FileSystem& fs, std::string directory,
                                                 const std::vector<std::pair<uint32_t, uint64_t>>& existing,
                                                 SegmentLimits limits) {
  TRY(fs.MakeDirectories(directory));
  std::unique_ptr<Segments> s(new Segments(fs, std::move(directory), limits));
  for (const auto& [id, length] : existing) {
    Segment seg;
    TRY_ASSIGN(seg.file, fs.Open(s->PathOf(id), base::OpenMode::kReadWrite));
    TRY_ASSIGN(uint64_t size, seg.file->Size());
    if (size < length) return Err(DataLoss("segment: " + s->PathOf(id) + " is shorter than its checkpoint says"));
    TRY_ASSIGN(std::string head, seg.file->ReadAt(0, kFileHead));
    TRY(CheckFileHead(head, s->PathOf(id)));
    seg.length = seg.written = seg.synced = length;
    s->total_bytes_ += length;
    s->live_bytes_ += length - kFileHead;
    s->next_id_ = std::max(s->next_id_, id + 1);
    s->segments_.emplace(id, std::move(seg));
  }
  // Files no checkpoint knows: what a crash left of segments that the log will write again.
  TRY_ASSIGN(std::vector<std::string> names, fs.List(s->directory_));
  for (const std::string& n : names) {
    unsigned id = 0;
    if (n.size() != 12 || std::sscanf(n.c_str(), "%8x.seg", &id) != 1) continue;
    s->next_id_ = std::max(s->next_id_, id + 1);
    if (!s->segments_.contains(id)) TRY(fs.Remove(s->PathOf(id)));
  }
  return s;
}

std::unique_ptr<Segments> Segments::Beside(const Segments& other) {
  std::unique_ptr<Segments> s(new Segments(other.fs_, other.directory_, other.limits_));
  s->next_id_ = other.next_id_;
  return s;
}

Status Segments::Start() {
  Segment seg;
  uint32_t id = next_id_++;
  TRY_ASSIGN(seg.file, fs_.Open(PathOf(id), base::OpenMode::kCreateExclusive));
  seg.length = kFileHead;
  tail_ = FileHead();
  total_bytes_ += kFileHead;
  active_ = id;
  segments_.emplace(id, std::move(seg));
  return Ok();
}

Status Segments::FlushTail() {
  if (active_ == 0 || tail_.empty()) return Ok();
  Segment& seg = segments_.at(active_);
  TRY(seg.file->WriteAt(seg.written, tail_));
  seg.written += tail_.size();
  unsynced_bytes_ += tail_.size();
  tail_.clear();
  return Ok();
}

Status Segments::Seal() {
  TRY(FlushTail());
  active_ = 0;
  return Ok();
}

Result<Location> Segments::Append(const Revision& r, bool tombstone, std::string_view bytes) {
  if (active_ == 0) TRY(Start());
  Segment* seg = &segments_.at(active_);
  if (seg->length + kHead + bytes.size() > limits_.segment_bytes && seg->length > kFileHead) {
    TRY(Seal());
    TRY(Start());
    seg = &segments_.at(active_);
  }
  size_t at = tail_.size();
  base::PutLittleEndian32(tail_, 0);
  base::PutLittleEndian32(tail_, static_cast<uint32_t>(bytes.size()));
  base::PutLittleEndian64(tail_, static_cast<uint64_t>(r.main));
  base::PutLittleEndian32(tail_, static_cast<uint32_t>(r.sub) | (tombstone ? kTombstoneBit : 0));
  tail_.append(bytes);
  std::string crc;
  base::PutLittleEndian32(crc, base::Crc32c(0, std::string_view(tail_).substr(at + 4)));
  tail_.replace(at, 4, crc);
  Location loc{active_, static_cast<uint32_t>(seg->length), static_cast<uint32_t>(bytes.size())};
  seg->length += kHead + bytes.size();
  total_bytes_ += kHead + bytes.size();
  live_bytes_ += kHead + bytes.size();
  if (tail_.size() >= limits_.tail_bytes) TRY(FlushTail());
  return loc;
}

Result<std::string> Segments::Raw(uint32_t segment, uint64_t offset, size_t size) const {
  auto it = segments_.find(segment);
  // unreachable from outside: locations are made by Append and moved before their segment is dropped.
  CHECK_MSG(it != segments_.end(), "a location in a segment that is gone");
  const Segment& seg = it->second;
  if (offset >= seg.written) {
    // Only the active segment has a tail.
    size_t at = offset - seg.written;
    return at < tail_.size() ? tail_.substr(at, size) : std::string();
  }
  return seg.file->ReadAt(offset, std::min<uint64_t>(size, seg.written - offset));
}

namespace {
// What is between the head and the end of a whole record.
Result<std::string_view> Checked(std::string_view record, const Location& at) {
  if (record.size() != kHead + at.length || !ChecksumHolds(record, base::GetLittleEndian32(record.data()))) {
    return Err(DataLoss("segment: damaged record in segment " + std::to_string(at.segment) + " at offset " +
                        std::to_string(at.offset)));
  }
  return record.substr(kHead);
}
}  // namespace

Result<std::string> Segments::Read(const Location& at) const {
  TRY_ASSIGN(std::string record, Raw(at.segment, at.offset, kHead + at.length));
  TRY(Checked(record, at));
  record.erase(0, kHead);
  return record;
}

Result<std::string_view> Cursor::Bytes(uint32_t segment, uint32_t offset, size_t size) {
  if (segment != segment_ || offset < start_ || offset + size > start_ + chunk_.size()) {
    // Reading ahead pays only where records are taken in the order they were written.
    bool in_order = segment == segment_ && offset >= last_end_ && offset - last_end_ < kChunk / 8;
    TRY_ASSIGN(chunk_, source_.Raw(segment, offset, in_order ? std::max(size, kChunk) : size));
    segment_ = segment;
    start_ = offset;
  }
  return std::string_view(chunk_).substr(offset - start_, size);
}

Result<std::string_view> Cursor::Read(const Location& at) {
  size_t size = kHead + at.length;
  TRY_ASSIGN(std::string_view record, Bytes(at.segment, at.offset, size));
  last_end_ = at.offset + size;
  return Checked(record, at);
}

Result<SegmentRecord> Cursor::ReadAt(uint32_t segment, uint32_t offset) {
  TRY_ASSIGN(std::string_view head, Bytes(segment, offset, kHead));
  if (head.size() < kHead) return Err(Checked(head, {segment, offset, 0}).error());
  Head h = ParseHead(head.data());
  Location at{segment, offset, h.length};
  TRY_ASSIGN(std::string_view bytes, Read(at));
  return RecordOf(h, at, bytes);
}

Result<SegmentView> Segments::View() {
  TRY(FlushTail());
  SegmentView view;
  for (const auto& [id, seg] : segments_) view.files_.emplace(id, seg.file);
  return view;
}

Result<std::string> SegmentView::Raw(uint32_t segment, uint64_t offset, size_t size) const {
  auto it = files_.find(segment);
  // unreachable from outside: a view is gathered and taken in one turn, with nothing dropped in between.
  CHECK_MSG(it != files_.end(), "a location in a segment that the view does not have");
  return it->second->ReadAt(offset, size);
}

Result<uint32_t> Segments::Scan(uint32_t segment, uint32_t offset, size_t max_bytes,
                                const std::function<Status(const SegmentRecord&)>& each) const {
  const Segment& seg = segments_.at(segment);
  uint64_t at = std::max<uint64_t>(offset, kFileHead);
  const uint64_t begin = at;
  const size_t ahead = std::min<size_t>(max_bytes, 1 << 20);
  std::string chunk;
  uint64_t start = 0;
  auto view = [&](uint64_t from, size_t n) -> Result<std::string_view> {
    if (from < start || from + n > start + chunk.size()) {
      TRY_ASSIGN(chunk, Raw(segment, from, std::max(n, ahead)));
      start = from;
    }
    if (chunk.size() - (from - start) < n) return std::string_view();
    return std::string_view(chunk).substr(from - start, n);
  };
  while (at < seg.length) {
    if (at - begin >= max_bytes) return static_cast<uint32_t>(at);
    TRY_ASSIGN(std::string_view head, view(at, kHead));
    auto damaged = [&] {
      return Err(DataLoss("segment: damaged record in " + PathOf(segment) + " at offset " + std::to_string(at)));
    };
    if (head.empty()) return damaged();
    Head h = ParseHead(head.data());
    if (at + kHead + h.length > seg.length) return damaged();
    TRY_ASSIGN(std::string_view record, view(at, kHead + h.length));
    if (record.empty() || !ChecksumHolds(record, h.crc)) return damaged();
    TRY(each(RecordOf(h, {segment, static_cast<uint32_t>(at), h.length}, record.substr(kHead))));
    at += kHead + h.length;
  }
  return 0;
}

Status Segments::SyncPlan::Sync() const {
  for (const std::string& path : paths) {
    // A handle of its own: the strand goes on appending through the other one.
    TRY_ASSIGN(auto file, fs->Open(path, base::OpenMode::kReadWrite));
    TRY(file->Sync());
  }
  return paths.empty() ? Ok() : fs->SyncDirectory(directory);
}

Status Segments::SyncPlan::Clean() const {
  for (const Dropped& d : dropped) TRY(fs->Remove(d.path));
  return Ok();
}

Result<Segments::SyncPlan> Segments::PrepareSync() {
  TRY(FlushTail());
  SyncPlan plan;
  plan.fs = &fs_;
  plan.directory = directory_;
  for (auto& [id, seg] : segments_) {
    plan.segments.push_back({id, seg.length, seg.dead_offsets});
    if (seg.synced < seg.length) plan.paths.push_back(PathOf(id));
    seg.synced = seg.length;
  }
  plan.dropped = std::exchange(dropped_, {});
  unsynced_bytes_ = dropped_bytes_ = 0;
  return plan;
}

std::optional<Segments::SyncStep> Segments::NextSync() const {
  if (unsynced_bytes_ < limits_.sync_bytes) return std::nullopt;
  auto unsynced = [](const auto& entry) {
    const Segment& seg = entry.second;
    return seg.written - std::min(seg.written, seg.synced);
  };
  const auto& [id, most] = *std::ranges::max_element(segments_, {}, unsynced);
  return SyncStep{id, most.written, PathOf(id), &fs_};
}

Status Segments::SyncStep::Run() const {
  auto file = fs->Open(path, base::OpenMode::kReadWrite);
  if (!file) return file.error().code() == base::Code::kNotFound ? Ok() : file.error();  // dropped meanwhile
  return (*file)->Sync();
}

void Segments::Synced(const SyncStep& step) {
  auto it = segments_.find(step.id);
  if (it == segments_.end() || it->second.synced >= step.length) return;
  unsynced_bytes_ -= step.length - it->second.synced;
  it->second.synced = step.length;
}

void Segments::MarkDead(const Location& at) {
  Segment& seg = segments_.at(at.segment);
  seg.dead += kHead + at.length;
  base::PutLittleEndian32(seg.dead_offsets, at.offset);
  live_bytes_ -= kHead + at.length;
}

bool Segments::Empty(uint32_t id) const {
  const Segment& seg = segments_.at(id);
  return seg.dead + kFileHead >= seg.length;
}

uint32_t Segments::MostlyGarbage() const {
  for (const auto& [id, seg] : segments_) {
    if (id != active_ && seg.dead * 2 >= seg.length - kFileHead) return id;
  }
  // Restarts leave small segments behind; too many of them are put together.
  if (segments_.size() < kManySegments) return 0;
  for (const auto& [id, seg] : segments_) {
    if (id != active_ && seg.length < limits_.segment_bytes / 16) return id;
  }
  return 0;
}

uint32_t Segments::WithGarbage(uint32_t end) const {
  for (const auto& [id, seg] : segments_) {
    if (id < end && id != active_ && seg.dead > 0) return id;
  }
  return 0;
}

uint64_t Segments::garbage_bytes(uint32_t segment) const {
  auto it = segments_.find(segment);
  return it == segments_.end() ? 0 : it->second.dead;
}

Status Segments::SealGarbage() {
  auto it = segments_.find(active_);
  if (it == segments_.end()) return Ok();
  const Segment& seg = it->second;
  return seg.dead >= kWorthRewriting && seg.dead * 2 >= seg.length - kFileHead ? Seal() : Ok();
}

void Segments::Drop(uint32_t id) {
  // unreachable from outside: only a sealed segment is rewritten, and dropped when its last record has moved.
  CHECK(id != active_ && Empty(id));
  Segment& seg = segments_.at(id);
  total_bytes_ -= seg.length;
  dropped_bytes_ += seg.length;
  if (seg.written > seg.synced) unsynced_bytes_ -= seg.written - seg.synced;
  dropped_.push_back({PathOf(id), std::move(seg.file)});
  segments_.erase(id);
}

std::vector<std::shared_ptr<base::File>> Segments::Abandon() {
  for (auto& [id, seg] : segments_) dropped_.push_back({PathOf(id), std::move(seg.file)});
  segments_.clear();
  std::vector<std::shared_ptr<base::File>> files;
  for (SyncPlan::Dropped& d : dropped_) {
    (void)fs_.Remove(d.path);  // if not now, then by the next Open
    files.push_back(std::move(d.file));
  }
  dropped_.clear();
  return files;
}

}  // namespace kvstore::mvcc
