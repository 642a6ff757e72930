#include "kvstore/raft/log.h"

#include <algorithm>

namespace kvstore::raft {

using base::Err;
using base::OutOfRange;
using base::Result;

// ---- MemoryStorage

Result<uint64_t> MemoryStorage::Term(uint64_t index) const {
  if (index < offset_.index) return Err(OutOfRange("compacted"));
  if (index == offset_.index) return offset_.term;
  if (index > LastIndex()) return Err(OutOfRange("unavailable"));
  return entries_[head_ + (index - FirstIndex())].term;
}

Result<Entries> MemoryStorage::Slice(uint64_t lo, uint64_t hi, uint64_t max_bytes) const {
  if (lo < FirstIndex()) return Err(OutOfRange("compacted"));
  if (hi > LastIndex() + 1) return Err(OutOfRange("unavailable"));
  Entries out;
  uint64_t bytes = 0;
  for (uint64_t i = lo; i < hi; ++i) {
    const Entry& e = entries_[head_ + (i - FirstIndex())];
    bytes += EntrySize(e);
    if (!out.empty() && bytes > max_bytes) break;
    out.push_back(e);
  }
  return out;
}

Result<std::shared_ptr<const Snapshot>> MemoryStorage::LatestSnapshot() const {
  if (make_snapshot) return make_snapshot();
  if (!snapshot_) return Err(base::Unavailable("no snapshot yet"));
  return snapshot_;
}

void MemoryStorage::Append(const Entries& entries) {
  if (entries.empty() || entries.back().index < FirstIndex()) return;
  size_t skip = 0;
  while (entries[skip].index < FirstIndex()) ++skip;
  // unreachable from outside: these are entries of the core, which follow one another (plausible.h).
  CHECK_MSG(entries[skip].index <= LastIndex() + 1, "a hole in the stable log");
  size_t keep = head_ + (entries[skip].index - FirstIndex());
  for (size_t i = keep; i < entries_.size(); ++i) bytes_ -= EntrySize(entries_[i]);
  entries_.resize(keep);
  for (size_t i = skip; i < entries.size(); ++i) {
    bytes_ += EntrySize(entries[i]);
    entries_.push_back(entries[i]);
  }
}

void MemoryStorage::Compact(uint64_t index) {
  if (index <= offset_.index) return;
  // unreachable from outside: it is applied, therefore in the log.
  CHECK(index <= LastIndex());
  uint64_t term = *Term(index);
  size_t end = head_ + (index - offset_.index);
  for (; head_ < end; ++head_) {
    bytes_ -= EntrySize(entries_[head_]);
    entries_[head_].data.reset();
  }
  offset_ = {term, index};
  if (head_ > 1024 || head_ == entries_.size()) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<long>(head_));
    head_ = 0;
  }
}

void MemoryStorage::Restore(std::shared_ptr<const Snapshot> snapshot) {
  offset_ = {snapshot->meta.term, snapshot->meta.index};
  conf_state_ = snapshot->meta.conf_state;
  entries_.clear();
  head_ = 0;
  bytes_ = 0;
  snapshot_ = std::move(snapshot);
}

// ---- Log

Log::Log(Storage* storage, uint64_t max_applying_bytes, const Tracer& tracer)
    : tracer_(tracer), storage_(storage), offset_(storage->LastIndex() + 1), max_applying_bytes_(max_applying_bytes) {
  committed_ = applying_ = applied_ = storage->FirstIndex() - 1;
}

uint64_t Log::FirstIndex() const { return snapshot_ ? snapshot_->meta.index + 1 : storage_->FirstIndex(); }

uint64_t Log::LastIndex() const {
  if (!unstable_.empty()) return unstable_.back().index;
  return snapshot_ ? snapshot_->meta.index : storage_->LastIndex();
}

Result<uint64_t> Log::Term(uint64_t index) const {
  if (index >= offset_) {
    if (index >= offset_ + unstable_.size()) return Err(OutOfRange("unavailable"));
    return unstable_[index - offset_].term;
  }
  if (snapshot_) {
    if (index == snapshot_->meta.index) return snapshot_->meta.term;
    return Err(OutOfRange("compacted"));
  }
  return storage_->Term(index);
}

uint64_t Log::TermOrZero(uint64_t index) const { return Term(index).value_or(0); }

bool Log::Matches(EntryId id) const {
  auto t = Term(id.index);
  return t && *t == id.term;
}

bool Log::IsUpToDate(EntryId candidate) const {
  EntryId last = LastId();
  return candidate.term > last.term || (candidate.term == last.term && candidate.index >= last.index);
}

Result<Entries> Log::Slice(uint64_t lo, uint64_t hi, uint64_t max_bytes) const {
  if (lo < FirstIndex()) return Err(OutOfRange("compacted"));
  // unreachable from outside: callers ask up to LastIndex or to what is committed.
  CHECK(hi <= LastIndex() + 1);
  Entries out;
  uint64_t bytes = 0;
  if (lo < offset_) {
    uint64_t stable_hi = std::min(hi, offset_);
    TRY_ASSIGN(out, storage_->Slice(lo, stable_hi, max_bytes));
    if (out.size() < stable_hi - lo) return out;  // the limit was reached
    bytes = EncodedSize(out);
  }
  for (uint64_t i = std::max(lo, offset_); i < hi; ++i) {
    const Entry& e = unstable_[i - offset_];
    bytes += EntrySize(e);
    if (!out.empty() && bytes > max_bytes) break;
    out.push_back(e);
  }
  return out;
}

uint64_t Log::FindConflict(const Entries& entries) const {
  for (const Entry& e : entries) {
    if (Matches({e.term, e.index})) continue;
    if (e.index <= LastIndex()) {
      tracer_.Info("found conflict at index %lu [existing term: %lu, conflicting term: %lu]", e.index,
                   TermOrZero(e.index), e.term);
    }
    return e.index;
  }
  return 0;
}

uint64_t Log::MaybeAppend(EntryId prev, uint64_t committed, const Entries& entries) {
  if (!Matches(prev)) return 0;
  uint64_t last_new = prev.index + entries.size();
  uint64_t conflict = FindConflict(entries);
  if (conflict != 0) {
    // unreachable from outside: HandleAppend has answered what begins below, and entries follow one another
    // (plausible.h).
    CHECK_MSG(conflict > committed_, "an append conflicts with a committed entry");
    Append(Entries(entries.begin() + static_cast<long>(conflict - prev.index - 1), entries.end()));
  }
  CommitTo(std::min(committed, last_new));
  return last_new;
}

void Log::Append(const Entries& entries) {
  if (entries.empty()) return;
  // unreachable from outside: as above; a leader appends behind its log.
  CHECK_MSG(entries.front().index > committed_, "an append would overwrite committed entries");
  TruncateAndAppend(entries);
}

void Log::TruncateAndAppend(const Entries& entries) {
  uint64_t from = entries.front().index;
  if (from == offset_ + unstable_.size()) {
    unstable_.insert(unstable_.end(), entries.begin(), entries.end());
    return;
  }
  if (from <= offset_) {
    tracer_.Info("replace the unstable entries from index %lu", from);
    // What the disk holds from here on will be overwritten.
    unstable_.clear();
    offset_ = from;
    in_progress_ = 0;
  } else {
    tracer_.Info("truncate the unstable entries before index %lu", from);
    size_t keep = from - offset_;
    // unreachable from outside: the append matched at an index of the log.
    CHECK(keep <= unstable_.size());
    unstable_.resize(keep);
    in_progress_ = std::min(in_progress_, keep);
  }
  unstable_.insert(unstable_.end(), entries.begin(), entries.end());
}

EntryId Log::FindConflictByTerm(uint64_t index, uint64_t term) const {
  for (; index > 0; --index) {
    auto ours = Term(index);
    if (!ours) return {0, index};
    if (*ours <= term) return {*ours, index};
  }
  return {0, 0};
}

void Log::CommitTo(uint64_t index) {
  if (index <= committed_) return;
  // unreachable from outside: appends commit no further than they reach, heartbeats are checked (plausible.h).
  CHECK_MSG(index <= LastIndex(), "commit index beyond the log: was it truncated or lost?");
  committed_ = index;
}

bool Log::MaybeCommit(EntryId at) {
  // Only an entry of the leader's own term may be committed by counting (paper 5.4.2).
  if (at.term == 0 || at.index <= committed_ || at.index > LastIndex() || !Matches(at)) return false;
  CommitTo(at.index);
  return true;
}

Entries Log::NextUnstable() const {
  return Entries(unstable_.begin() + static_cast<long>(in_progress_), unstable_.end());
}

void Log::AcceptUnstable() {
  in_progress_ = unstable_.size();
  if (snapshot_) snapshot_in_progress_ = true;
}

void Log::StableTo(EntryId id) {
  bool at_snapshot = snapshot_ && id.index == snapshot_->meta.index;
  if (!at_snapshot && (id.index < offset_ || id.index >= offset_ + unstable_.size())) {
    tracer_.Info("entry at index %lu missing from unstable log; ignoring", id.index);
    return;
  }
  if (id.index < offset_) {
    tracer_.Info("entry at index %lu matched unstable snapshot; ignoring", id.index);
    return;
  }
  if (uint64_t term = unstable_[id.index - offset_].term; term != id.term) {
    tracer_.Info("entry at (index,term)=(%lu,%lu) mismatched with entry at (%lu,%lu) in unstable log; ignoring",
                 id.index, id.term, id.index, term);
    return;
  }
  size_t n = id.index + 1 - offset_;
  unstable_.erase(unstable_.begin(), unstable_.begin() + static_cast<long>(n));
  offset_ += n;
  in_progress_ -= std::min(in_progress_, n);
}

void Log::StableSnapshotTo(uint64_t index) {
  if (!snapshot_ || snapshot_->meta.index != index) return;
  snapshot_.reset();
  snapshot_in_progress_ = false;
}

void Log::Restore(std::shared_ptr<const Snapshot> snapshot) {
  tracer_.Info(
      "log [committed=%lu, applied=%lu, applying=%lu, unstable.offset=%lu, unstable.offsetInProgress=%lu, "
      "len(unstable.Entries)=%zu] starts to restore snapshot [index: %lu, term: %lu]",
      committed_, applied_, applying_, offset_, offset_ + in_progress_, unstable_.size(), snapshot->meta.index,
      snapshot->meta.term);
  committed_ = snapshot->meta.index;
  offset_ = snapshot->meta.index + 1;
  unstable_.clear();
  in_progress_ = 0;
  snapshot_in_progress_ = false;
  snapshot_ = std::move(snapshot);
}

uint64_t Log::MaxAppliable(bool allow_unstable) const {
  return allow_unstable ? committed_ : std::min(committed_, offset_ - 1);
}

bool Log::HasNextCommitted(bool allow_unstable) const {
  if (applying_paused_ || snapshot_) return false;  // a snapshot replaces the state machine first
  return MaxAppliable(allow_unstable) > applying_;
}

Entries Log::NextCommitted(bool allow_unstable) const {
  if (!HasNextCommitted(allow_unstable)) return {};
  uint64_t room = max_applying_bytes_ - std::min(applying_bytes_, max_applying_bytes_);
  auto slice = Slice(applying_ + 1, MaxAppliable(allow_unstable) + 1, std::max<uint64_t>(room, 1));
  // unreachable from outside: the log is only compacted up to what is applied.
  CHECK_MSG(slice.has_value(), "committed entries that were not applied are gone");
  return std::move(*slice);
}

void Log::AcceptApplying(const Entries& entries, bool allow_unstable) {
  applying_ = entries.back().index;
  applying_bytes_ += EncodedSize(entries);
  applying_paused_ = applying_bytes_ >= max_applying_bytes_ || applying_ < MaxAppliable(allow_unstable);
}

void Log::AppliedTo(uint64_t index, uint64_t bytes) {
  // unreachable from outside: only this member says what it has applied (IsLocalMessage).
  CHECK(index <= committed_ && index >= applied_);
  applied_ = index;
  applying_ = std::max(applying_, index);
  applying_bytes_ -= std::min(applying_bytes_, bytes);
  applying_paused_ = applying_bytes_ >= max_applying_bytes_;
}

}  // namespace kvstore::raft
