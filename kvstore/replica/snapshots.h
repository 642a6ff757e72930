// Snapshots that come and go, and what the log in memory keeps for members that are behind.
//
//   in    on_logged with a snapshot -> its turn (everything before it is applied) -> a store beside this one, on
//   another
//         thread -> which takes its place
//   out   the core's MsgSnap -> an image of the store, taken in turns -> a database that is made as it is sent
//
// Invariant: while a snapshot that is in the log is not in the store, no response that vouches for the state behind it
// goes out; while one is being made ready the store does not change. To a member that gets a snapshot, or just got one,
// the entries behind it are kept (within a bound).
//
// Owned by the replica; its strand, but for the work beside it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "kvstore/replica/apply_lane.h"
#include "kvstore/replica/disk_tender.h"
#include "kvstore/replica/install.h"
#include "kvstore/replica/maintenance.h"

namespace kvstore::replica {

class Snapshots {
 public:
  Snapshots(Shared& shared, Core& core, DiskTender& disk, ApplyLane& apply, Maintenance& maintenance)
      : shared_(shared), core_(core), disk_(disk), apply_(apply), maintenance_(maintenance) {}
  Snapshots(const Snapshots&) = delete;

  // Some are in the log and not in the store yet; the first of them is being made ready.
  bool waiting() const { return !installing_.empty(); }
  bool importing() const { return importing_; }

  // From the log lane: the message's responses are routed, or wait for the snapshot in front of them.
  void Logged(raft::Message&& m);
  // Begins with the next that waits, if its turn has come.
  void MaybeInstall();
  // The state as it is now to who the core thinks is too far behind, whatever index it asked for.
  base::Task<void> Send(raft::Message m);
  // Replica::ReportSnapshot.
  void Report(raft::NodeId peer, bool failed);
  // Forgets entries, in memory, that nobody will need.
  void CompactLog();

  // Where responses go.
  std::function<void(raft::Message&&)> route;
  // The store is another one, its membership too; nothing has been answered yet. And once that is done.
  std::function<void()> on_replaced, on_installed;

 private:
  void Install(const raft::SnapshotMeta& meta);
  void Installed(Installation& done);
  void Bury(std::unique_ptr<mvcc::Store> replaced);

  Shared& shared_;
  Core& core_;
  DiskTender& disk_;
  ApplyLane& apply_;
  Maintenance& maintenance_;
  std::deque<raft::Message> installing_;  // with what waits for each
  bool importing_ = false;
  // Peers that get a snapshot or just got one, and the index from which on they need the log.
  std::map<raft::NodeId, uint64_t> catching_up_;
};

}  // namespace kvstore::replica
