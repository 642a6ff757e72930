// The log lane: what the core wants kept, written to the log and synced, many messages with one fsync. What is
// small is started by the loop where the system writes without a thread that waits (start_policy.h), everything else
// goes to a blocking pool of one thread.
//
// Invariant: one write is under way at most, and only it touches the log; messages are handed to on_logged in the order
// in which they were added, each once the disk has what it asked to keep (at once when there is nothing to keep and
// nothing before it waits). After an error nothing more is written, and nothing handed on.
//
// Owned by the replica; its strand, but for the write under way.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kvstore/replica/core.h"
#include "kvstore/replica/disk_tender.h"
#include "kvstore/replica/start_policy.h"
#include "kvstore/wal/wal.h"

namespace kvstore::replica {

class LogLane {
 public:
  // `saved`: the hard state as the log has it.
  LogLane(Shared& shared, Core& core, DiskTender& disk, std::shared_ptr<wal::Wal> wal, const raft::HardState& saved);
  LogLane(const LogLane&) = delete;

  // A MsgStorageAppend of the core; Pump follows.
  void Add(raft::Message&& m) { waiting_.push_back(std::move(m)); }
  // Begins to write what waits, if nothing is being written.
  void Pump();
  // With the next write the log says that there is a checkpoint at `upto`, and lets go of what it needs no more.
  void Release(const raft::SnapshotMeta& upto);

  bool busy() const { return busy_; }
  // How long the write that is under way has taken so far.
  base::Duration BusyFor(base::MonoTime now) const { return busy_ ? now - busy_since_ : base::Duration::zero(); }
  // As of the last finished write.
  size_t segments() const { return segments_; }

  // A message is kept, in the core's log in memory too; its responses are good.
  std::function<void(raft::Message&&)> on_logged;
  // Behind the last on_logged of a write.
  std::function<void()> on_written;

 private:
  struct Write;

  bool NothingToWrite(const raft::Message& m) const;
  void LogLight();
  bool StartWrite(const std::shared_ptr<Write>& write);
  void RunWrite(const std::shared_ptr<Write>& write);
  void WriteEnded(Write& write);
  void Done(std::vector<raft::Message> done, base::Status result);
  void Logged(raft::Message&& m);
  void RemoveFiles(std::vector<std::string> files);

  Shared& shared_;
  Core& core_;
  DiskTender& disk_;
  std::shared_ptr<wal::Wal> wal_;  // shared with the write that is under way
  std::vector<raft::Message> waiting_;
  std::vector<raft::Message> spare_batch_;  // memory for the next
  bool busy_ = false;
  base::MonoTime busy_since_{};
  raft::HardState saved_;    // as the log on the disk has it
  raft::HardState unsaved_;  // differs from it in the commit index: goes with the next write
  StartPolicy start_policy_;
  size_t segments_ = 0;
  raft::SnapshotMeta release_;  // for the next write; index 0: nothing
};

}  // namespace kvstore::replica
