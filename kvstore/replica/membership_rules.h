// Which changes of the membership are allowed: etcd's rules, in its order and words. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/raft/types.h"

namespace kvstore::replica {

// A change of who is in the cluster: what is proposed as an entry.
struct MemberChange {
  raft::ConfChangeType type = raft::ConfChangeType::kAddNode;
  raft::NodeId id = raft::kNone;
  std::string context;  // the member as JSON
};

// A learner becomes a voter by being added once more, with a context that says so.
MemberChange Promotion(raft::NodeId id);
bool IsPromotion(std::string_view context);

// What every member decides alike when it applies a change. `removed`: whether that member was one once.
base::Status CheckChange(const MemberChange& change, const std::vector<mvcc::Member>& members, bool removed,
                         uint32_t max_learners);

// What the member that is asked for a change sees of the others, now.
struct VoterHealth {
  size_t voters = 0;
  size_t active = 0;         // of them, heard of without a break for a while
  bool sees_target = false;  // whom the change is about is heard of, or is this member
};
// With strict_reconfig_check: whether the change leaves enough members that work; before it is proposed.
base::Status MayChange(const MemberChange& change, const std::vector<mvcc::Member>& members, const VoterHealth& health);
// Likewise whether a learner that is ready may become a voter.
base::Status MayGainVoter(const std::vector<mvcc::Member>& members);

}  // namespace kvstore::replica
