#include "kvstore/raft/quorum.h"

#include <algorithm>

namespace kvstore::raft {

uint64_t MajorityConfig::CommittedIndex(const AckedIndex& acked) const {
  if (ids.empty()) return kNoLimit;
  if (ids.size() == 1) return acked(*ids.begin());
  std::vector<uint64_t> indexes;
  indexes.reserve(ids.size());
  for (NodeId id : ids) indexes.push_back(acked(id));
  std::sort(indexes.begin(), indexes.end());
  return indexes[indexes.size() - (indexes.size() / 2 + 1)];
}

VoteResult MajorityConfig::Vote(const std::map<NodeId, bool>& votes) const {
  if (ids.empty()) return VoteResult::kWon;
  size_t yes = 0, missing = 0;
  for (NodeId id : ids) {
    auto it = votes.find(id);
    if (it == votes.end()) {
      ++missing;
    } else if (it->second) {
      ++yes;
    }
  }
  size_t quorum = ids.size() / 2 + 1;
  if (yes >= quorum) return VoteResult::kWon;
  return yes + missing >= quorum ? VoteResult::kPending : VoteResult::kLost;
}

std::set<NodeId> JointConfig::Ids() const {
  std::set<NodeId> all = incoming.ids;
  all.insert(outgoing.ids.begin(), outgoing.ids.end());
  return all;
}

uint64_t JointConfig::CommittedIndex(const AckedIndex& acked) const {
  return std::min(incoming.CommittedIndex(acked), outgoing.CommittedIndex(acked));
}

VoteResult JointConfig::Vote(const std::map<NodeId, bool>& votes) const {
  VoteResult a = incoming.Vote(votes), b = outgoing.Vote(votes);
  if (a == b) return a;
  return a == VoteResult::kLost || b == VoteResult::kLost ? VoteResult::kLost : VoteResult::kPending;
}

}  // namespace kvstore::raft
