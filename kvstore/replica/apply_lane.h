// The apply lane: committed entries into the store, in bounded turns, and the answers to whoever proposed them here.
//
// Invariant: entries are applied in the order of the log, each once, and applied() names the last of them at every
// moment that others can see; the responses of a MsgStorageApply go to the core behind its last entry. What is not one
// of the store's own errors (a request that cannot be read, a refused change of the membership) is the same on every
// member and stops nobody; after an error of the store nothing is applied any more.
//
// Owned by the replica; its strand.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "kvstore/replica/core.h"
#include "kvstore/replica/proposals.h"

namespace kvstore::replica {

class ApplyLane {
 public:
  ApplyLane(Shared& shared, Core& core, Proposals& proposals);
  ~ApplyLane();
  ApplyLane(const ApplyLane&) = delete;

  // A MsgStorageApply of the core.
  void Add(raft::Message&& m);
  // A turn, soon, also with nothing to apply.
  void Schedule();
  bool empty() const { return waiting_.empty(); }

  // A membership entry.
  std::function<base::Status(const raft::Entry&)> on_change;
  // The last entry of a message was applied: the log may be shortened in memory.
  std::function<void()> on_applied;
  // A compaction was applied; its work begins.
  std::function<void()> on_compaction;
  // The end of a turn, before the next is scheduled.
  std::function<void()> on_turn;

 private:
  class EntryReader;

  void Turn();
  base::Result<size_t> ApplySome();
  void Observe(base::Duration took, size_t entries);
  base::Status Apply(const raft::Entry& e);
  bool IsFreshAndAlone() const;

  Shared& shared_;
  Core& core_;
  Proposals& proposals_;
  std::deque<raft::Message> waiting_;
  size_t at_ = 0;  // in the front message
  bool scheduled_ = false;
  std::unique_ptr<EntryReader> reader_;
  // As Core's.
  std::shared_ptr<ApplyLane*> self_ = std::make_shared<ApplyLane*>(this);
};

}  // namespace kvstore::replica
