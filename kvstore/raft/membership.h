// Who is in the cluster and how a change of that is worked out (dissertation 4.3): simple changes of one voter, and
// joint configurations that are entered and left. Pure: a change gives a new value or an error. Owned by the core.
#pragma once

#include <map>

#include "base/status.h"
#include "kvstore/raft/progress.h"
#include "kvstore/raft/quorum.h"

namespace kvstore::raft {

struct Membership {
  JointConfig voters;
  std::set<NodeId> learners;
  std::set<NodeId> learners_next;  // become learners when the joint configuration is left
  bool auto_leave = false;
  std::map<NodeId, Progress> progress;

  ConfState ToConfState() const;
  std::string ToString() const;  // "voters=(1 2)&&(1) learners=(3)"
  bool IsLearner(NodeId id) const;
  VoteResult Vote(const std::map<NodeId, bool>& votes) const { return voters.Vote(votes); }
  uint64_t CommittedIndex() const;
  // True when a quorum was heard from recently.
  bool QuorumActive(NodeId self) const;
};

struct MembershipLimits {
  size_t max_inflight_messages = 256;
  uint64_t max_inflight_bytes = 0;
};

struct Basis {
  uint64_t last_index;  // where replication to a new node begins to probe
  const MembershipLimits& limits;
};
using Changes = std::vector<ConfChangeSingle>;
base::Result<Membership> SimpleChange(const Membership& current, const Changes& changes, Basis basis);
base::Result<Membership> EnterJoint(const Membership& current, const Changes& changes, bool auto_leave, Basis basis);
base::Result<Membership> LeaveJoint(const Membership& current, const MembershipLimits& limits);
// Whichever of these the change asks for.
base::Result<Membership> ApplyChange(const Membership& current, const ConfChange& change, Basis basis);
base::Result<Membership> FromConfState(const ConfState& state, uint64_t last_index, const MembershipLimits& limits);

}  // namespace kvstore::raft
