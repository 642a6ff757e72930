// Who is in the cluster: members join, are promoted and removed here, the leadership is handed over, and this member
// tells the others its name and, as leader, the version that all of them speak.
//
// Invariant: what a membership entry does is decided by the entry and the membership before it alone, so that all
// members decide alike; the core, the store and the transport have heard of an entry's outcome before the next entry is
// applied. A removal of this member is told once. One publication is under way at most.
//
// Owned by the replica; its strand.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kvstore/replica/membership_rules.h"
#include "kvstore/replica/proposals.h"
#include "kvstore/replica/reads.h"

namespace kvstore::replica {

class MembershipDesk {
 public:
  MembershipDesk(Shared& shared, Core& core, Proposals& proposals, Reads& reads)
      : shared_(shared), core_(core), proposals_(proposals), reads_(reads) {}
  MembershipDesk(const MembershipDesk&) = delete;

  // As the store has them.
  std::vector<mvcc::Member> Members() const;
  bool IsRemoved(raft::NodeId id) const;
  bool is_learner() const;
  std::string ClusterVersion() const;

  // As Replica has them.
  base::Task<base::Result<std::vector<mvcc::Member>>> Change(base::Context ctx, MemberChange change);
  base::Task<base::Result<std::vector<mvcc::Member>>> Promote(base::Context ctx, raft::NodeId id, std::string token);
  base::Task<base::Status> MoveLeader(base::Context ctx, raft::NodeId to);
  std::optional<raft::NodeId> Successor() const;

  // A membership entry, from the apply lane. What cannot be done is refused, by every member alike.
  base::Status Apply(const raft::Entry& e);
  // Everybody else, to the transport.
  void TellPeers();
  // Proposes what the cluster does not know yet of this member, or, as leader, its version. Comes with the ticks too.
  void Publish();
  std::function<void()> on_removed;

 private:
  base::Status Refusal(const raft::ConfChange& change) const;
  base::Status MayPromote(raft::NodeId id) const;
  VoterHealth Health(raft::NodeId target) const;
  std::string CommonVersion() const;
  void Removed();

  Shared& shared_;
  Core& core_;
  Proposals& proposals_;
  Reads& reads_;
  bool publishing_ = false;
  bool removed_ = false;
};

}  // namespace kvstore::replica
