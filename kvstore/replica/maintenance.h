// What keeps the store small and its log short, in steps between requests: compaction and the rewriting of segments,
// checkpoints, and the catching up of watchers that lag.
//
// Invariant: of each kind one step is scheduled at most, and one checkpoint under way; no step of compaction comes
// while too much of what it wrote is not on the disk, or while a snapshot is being made ready beside the store; no
// checkpoint begins while a snapshot waits for its turn. checkpointed() names the entry that a restart begins behind.
//
// Owned by the replica; its strand, but for the work of checkpoints and hashes.
#pragma once

#include <functional>
#include <memory>

#include "kvstore/mvcc/view.h"
#include "kvstore/replica/core.h"
#include "kvstore/replica/disk_tender.h"
#include "kvstore/replica/log_lane.h"

namespace kvstore::replica {

class Maintenance {
 public:
  Maintenance(Shared& shared, Core& core, DiskTender& disk, LogLane& log);
  Maintenance(const Maintenance&) = delete;

  // There is something to compact or to rewrite.
  void Begin();
  // What waited for the disk goes on, if there is room.
  void Resume();
  // Replica::Defragment.
  base::Task<base::Status> Defragment(base::Context ctx);
  void SyncWatchers();

  // A checkpoint, if one is due: enough entries, too many log segments, or space to give back.
  void MaybeCheckpoint();
  base::Status StartCheckpoint();
  bool checkpointing() const { return checkpointing_; }
  uint64_t checkpointed() const { return checkpointed_; }
  // The store was replaced by one that has a checkpoint.
  void Replaced(uint64_t index) { checkpointed_ = index; }

  // Whether a snapshot waits to replace the store, and whether it is being made ready.
  std::function<bool()> snapshot_waits, snapshot_runs;
  // A checkpoint is done; the log has not been told yet.
  std::function<void()> on_checkpoint;

 private:
  void Step();
  void HashCompaction(std::shared_ptr<mvcc::View> view);
  void Compacted();
  void CheckpointDone(base::Result<mvcc::Store::Checkpoint> done);

  Shared& shared_;
  Core& core_;
  DiskTender& disk_;
  LogLane& log_;
  bool scheduled_ = false;
  bool waits_ = false;  // for the disk
  base::MonoTime compacting_since_{};
  bool syncing_watchers_ = false;
  bool checkpointing_ = false;
  uint64_t checkpointed_;
};

}  // namespace kvstore::replica
