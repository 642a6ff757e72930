// The Raft core of a member with what is about it alone: its log in memory, how far the store has come along that log,
// whoever waits for a leader. What puts something into the core calls Schedule, and a turn of the loop lane follows,
// which takes out what is Ready.
//
// Invariant: at most one turn is scheduled; applied() moves forward only, entry by entry or to the end of a snapshot,
// and not past what is committed; no number of NextId comes twice, also not in another life of this member.
//
// Owned by the replica; its strand.
#pragma once

#include <functional>
#include <memory>

#include "base/context.h"
#include "base/sync.h"
#include "base/task.h"
#include "kvstore/raft/raft.h"
#include "kvstore/replica/shared.h"
#include "kvstore/wal/wal.h"

namespace kvstore::replica {

class Core {
 public:
  // Where the store's checkpoint and the log behind it say that this member was.
  Core(Shared& shared, const wal::Contents& contents);
  ~Core() { *self_ = nullptr; }
  Core(const Core&) = delete;

  raft::Raft& raft() { return *raft_; }
  const raft::Raft& raft() const { return *raft_; }
  raft::MemoryStorage& storage() { return storage_; }
  bool is_leader() const { return raft_->role() == raft::Role::kLeader; }
  bool has_leader() const { return raft_->leader() != raft::kNone; }

  // A turn of the loop lane, soon.
  void Schedule();
  void ScheduleIfReady() {
    if (raft_->HasReady()) Schedule();
  }
  std::function<void()> on_turn;

  // The last entry that the store has, and the membership as of it.
  const raft::SnapshotMeta& applied() const { return applied_; }
  void Applied(const raft::Entry& e) {
    applied_.index = e.index;
    applied_.term = e.term;
  }
  void MembersAre(raft::ConfState members) { applied_.conf_state = std::move(members); }
  void Restored(const raft::SnapshotMeta& snapshot) { applied_ = snapshot; }
  mvcc::AppliedMark Mark() const;

  // OK once there is a leader or the member is not usable any more, also when it is gone; or the context's error.
  base::Task<base::Status> AwaitLeader(base::Context ctx);
  void LeaderChanged();
  // Wakes who waits for a leader, to look around.
  void WakeWaiters() { leader_event_.NotifyAll(); }
  void Transfer(raft::NodeId to);
  // From Transfer until the next change of the leader: proposals that are dropped meanwhile may be tried again.
  bool transferring() const { return transferring_; }

  // A follower learns with the next append how far the log is committed. One that waits for an entry of its own is told
  // at once, everybody when nothing is sent for a while.
  void TellCommit();
  void ReportUnreachable(raft::NodeId peer);
  void PeerLost(raft::NodeId peer);

  // For proposals and reads.
  uint64_t NextId();

 private:
  Shared& shared_;
  raft::MemoryStorage storage_;
  raft::SnapshotMeta applied_;
  std::unique_ptr<raft::Raft> raft_;
  // Fits into a closure as it is, unlike this and a token: a put schedules several.
  std::shared_ptr<Core*> self_ = std::make_shared<Core*>(this);
  bool scheduled_ = false;
  base::Event leader_event_;
  bool transferring_ = false;
  bool telling_ = false;  // a timer will tell the followers of the commit index
  uint64_t next_id_ = 0;
};

}  // namespace kvstore::replica
