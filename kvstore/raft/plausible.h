// What a peer may say: the one door between other members' messages and the core, which trusts what it steps. Whatever
// breaks a rule that every correct member keeps (of terms, indexes, the continuity of entries, what is committed, who
// leads) is refused here; what is merely late or unknown is not, the core ignores that by itself. Pure; any thread.
#pragma once

#include "base/status.h"
#include "kvstore/raft/raft.h"

namespace kvstore::raft {

// Beyond these nothing is true, and additions could wrap.
inline constexpr uint64_t kMaxIndex = uint64_t{1} << 62;
inline constexpr uint64_t kMaxTerm = uint64_t{1} << 62;
// Elections that this member can have missed.
inline constexpr uint64_t kMaxTermJump = uint64_t{1} << 40;
inline constexpr size_t kMaxContextBytes = 1024;
inline constexpr size_t kMaxMembers = 1024;

// OK, or kDataLoss and why `m` cannot be true. `sender`: who the connection belongs to; `core`: this member's, as it is
// now.
base::Status CheckPeerMessage(const Message& m, NodeId sender, const Raft& core);

// OK, or why no cluster has such a membership.
base::Status CheckConfState(const ConfState& state);

}  // namespace kvstore::raft
