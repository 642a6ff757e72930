// Majorities, single and joint (Raft dissertation 4.3): who has committed what, who has won. Pure values.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "kvstore/raft/types.h"

namespace kvstore::raft {

enum class VoteResult : uint8_t { kPending, kLost, kWon };
inline constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

using AckedIndex = std::function<uint64_t(NodeId)>;  // 0 when unknown

struct MajorityConfig {
  std::set<NodeId> ids;

  // The largest index a majority has; kNoLimit for the empty configuration, so that it never holds a joint one back.
  uint64_t CommittedIndex(const AckedIndex& acked) const;
  VoteResult Vote(const std::map<NodeId, bool>& votes) const;
};

struct JointConfig {
  MajorityConfig incoming;
  MajorityConfig outgoing;  // empty unless joint

  bool joint() const { return !outgoing.ids.empty(); }
  bool Contains(NodeId id) const { return incoming.ids.contains(id) || outgoing.ids.contains(id); }
  std::set<NodeId> Ids() const;
  uint64_t CommittedIndex(const AckedIndex& acked) const;
  VoteResult Vote(const std::map<NodeId, bool>& votes) const;
};

}  // namespace kvstore::raft
