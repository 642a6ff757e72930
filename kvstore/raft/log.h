// The replicated log as a core sees it: a stable part behind the Storage interface and an unstable tail that is still
// on its way to the disk, with the marks committed, applying and applied. Owned by the core; its strand only.
#pragma once

#include "base/status.h"
#include "kvstore/raft/trace.h"
#include "kvstore/raft/types.h"

namespace kvstore::raft {

// The stable log. Implementations keep recent entries in memory; all calls are cheap and never block.
class Storage {
 public:
  virtual ~Storage() = default;
  virtual HardState InitialHardState() const = 0;
  virtual ConfState InitialConfState() const = 0;
  virtual uint64_t FirstIndex() const = 0;
  virtual uint64_t LastIndex() const = 0;
  // The term of FirstIndex() - 1 .. LastIndex(); kOutOfRange when it was compacted or is not there yet.
  virtual base::Result<uint64_t> Term(uint64_t index) const = 0;
  // Entries [lo, hi), at least one, then as many as fit into `max_bytes`. kOutOfRange when compacted.
  virtual base::Result<Entries> Slice(uint64_t lo, uint64_t hi, uint64_t max_bytes) const = 0;
  // For followers that are behind FirstIndex(); kUnavailable: not now, ask again.
  virtual base::Result<std::shared_ptr<const Snapshot>> LatestSnapshot() const = 0;
};

// Storage over a vector: what the driver keeps of its log in memory, and all there is in tests.
class MemoryStorage final : public Storage {
 public:
  HardState InitialHardState() const override { return hard_state_; }
  ConfState InitialConfState() const override { return conf_state_; }
  uint64_t FirstIndex() const override { return offset_.index + 1; }
  uint64_t LastIndex() const override { return offset_.index + (entries_.size() - head_); }
  base::Result<uint64_t> Term(uint64_t index) const override;
  base::Result<Entries> Slice(uint64_t lo, uint64_t hi, uint64_t max_bytes) const override;
  base::Result<std::shared_ptr<const Snapshot>> LatestSnapshot() const override;

  void SetHardState(const HardState& s) { hard_state_ = s; }
  void SetConfState(const ConfState& s) { conf_state_ = s; }
  // Entries from entries[0].index on replace what was there.
  void Append(const Entries& entries);
  // Forgets entries up to `index`, which must be in the log.
  void Compact(uint64_t index);
  // Starts over at a snapshot.
  void Restore(std::shared_ptr<const Snapshot> snapshot);
  void SetSnapshot(std::shared_ptr<const Snapshot> snapshot) { snapshot_ = std::move(snapshot); }
  uint64_t bytes() const { return bytes_; }
  // Where LatestSnapshot comes from when snapshots are made on demand.
  std::function<std::shared_ptr<const Snapshot>()> make_snapshot;

 private:
  HardState hard_state_;
  ConfState conf_state_;
  EntryId offset_;   // the entry before the first one
  size_t head_ = 0;  // forgotten entries at the front of the vector, cut off in bulk
  Entries entries_;
  uint64_t bytes_ = 0;
  std::shared_ptr<const Snapshot> snapshot_;
};

class Log {
 public:
  Log(Storage* storage, uint64_t max_applying_bytes, const Tracer& tracer);

  uint64_t FirstIndex() const;
  uint64_t LastIndex() const;
  uint64_t LastTerm() const { return TermOrZero(LastIndex()); }
  EntryId LastId() const { return {LastTerm(), LastIndex()}; }
  base::Result<uint64_t> Term(uint64_t index) const;
  // 0 where the term is not known.
  uint64_t TermOrZero(uint64_t index) const;
  bool Matches(EntryId id) const;
  bool IsUpToDate(EntryId candidate) const;
  base::Result<Entries> Slice(uint64_t lo, uint64_t hi, uint64_t max_bytes) const;

  // Appends behind `prev` when the log matches there, dropping what conflicts; the last new index, or 0 when it does
  // not match.
  uint64_t MaybeAppend(EntryId prev, uint64_t committed, const Entries& entries);
  void Append(const Entries& entries);
  // The largest index <= `index` whose term is <= `term`, and its term: where two logs may meet.
  EntryId FindConflictByTerm(uint64_t index, uint64_t term) const;
  void CommitTo(uint64_t index);
  bool MaybeCommit(EntryId at);

  // Unstable tail -> storage.
  Entries NextUnstable() const;
  bool has_next_unstable() const { return in_progress_ < unstable_.size(); }
  bool has_unstable() const { return !unstable_.empty(); }
  std::shared_ptr<const Snapshot> next_snapshot() const { return snapshot_in_progress_ ? nullptr : snapshot_; }
  std::shared_ptr<const Snapshot> pending_snapshot() const { return snapshot_; }
  void AcceptUnstable();      // NextUnstable() and the snapshot were handed out
  void StableTo(EntryId id);  // ignored when the tail has moved on to another term (ABA)
  void StableSnapshotTo(uint64_t index);
  void Restore(std::shared_ptr<const Snapshot> snapshot);

  // Committed -> state machine. `allow_unstable`: entries may be applied before they are on this node's disk.
  Entries NextCommitted(bool allow_unstable) const;
  bool HasNextCommitted(bool allow_unstable) const;
  void AcceptApplying(const Entries& entries, bool allow_unstable);
  void AppliedTo(uint64_t index, uint64_t bytes);

  uint64_t committed() const { return committed_; }
  uint64_t applying() const { return applying_; }
  uint64_t applied() const { return applied_; }
  Storage& storage() const { return *storage_; }

 private:
  uint64_t MaxAppliable(bool allow_unstable) const;
  void TruncateAndAppend(const Entries& entries);
  uint64_t FindConflict(const Entries& entries) const;

  const Tracer& tracer_;
  Storage* storage_;
  // unstable_[i] has index offset_ + i; the first in_progress_ of them are being written.
  Entries unstable_;
  uint64_t offset_;
  size_t in_progress_ = 0;
  std::shared_ptr<const Snapshot> snapshot_;
  bool snapshot_in_progress_ = false;

  uint64_t committed_;
  uint64_t applying_;
  uint64_t applied_;
  uint64_t applying_bytes_ = 0;
  bool applying_paused_ = false;
  uint64_t max_applying_bytes_;
};

}  // namespace kvstore::raft
