#include "kvstore/raft/membership.h"

#include <algorithm>
#include <cstdio>

namespace kvstore::raft {
namespace {

using base::FailedPrecondition;
using base::Result;
using base::Status;

// One change under construction. The invariants (a learner is no voter, at least one voter) are checked at the end.
struct Builder {
  Membership m;
  uint64_t last_index;
  const MembershipLimits& limits;

  void InitProgress(NodeId id, bool learner) {
    Progress p{.match = 0,
               .next = std::max<uint64_t>(last_index, 1),
               // A node just added is given the benefit of the doubt by check-quorum.
               .recent_active = true,
               .learner = learner,
               .inflights = Inflights(limits.max_inflight_messages, limits.max_inflight_bytes)};
    m.progress.emplace(id, std::move(p));
  }
  void MakeVoter(NodeId id) {
    auto it = m.progress.find(id);
    m.learners.erase(id);
    m.learners_next.erase(id);
    m.voters.incoming.ids.insert(id);
    if (it == m.progress.end()) {
      InitProgress(id, false);
    } else {
      it->second.learner = false;
    }
  }
  void MakeLearner(NodeId id) {
    auto it = m.progress.find(id);
    if (it == m.progress.end()) {
      InitProgress(id, true);
      m.learners.insert(id);
      return;
    }
    if (it->second.learner) return;
    Progress kept = it->second;
    Remove(id);
    m.progress.insert_or_assign(id, std::move(kept));
    // While the outgoing half still votes with it, it cannot be a learner yet.
    if (m.voters.outgoing.ids.contains(id)) {
      m.learners_next.insert(id);
    } else {
      // unreachable from outside: it was put there a few lines above.
      m.progress.at(id).learner = true;
      m.learners.insert(id);
    }
  }
  void Remove(NodeId id) {
    if (!m.progress.contains(id)) return;
    m.voters.incoming.ids.erase(id);
    m.learners.erase(id);
    m.learners_next.erase(id);
    if (!m.voters.outgoing.ids.contains(id)) m.progress.erase(id);
  }
  void Apply(const std::vector<ConfChangeSingle>& changes) {
    for (const ConfChangeSingle& c : changes) {
      if (c.node_id == kNone) continue;  // a change that was refused after it was proposed
      switch (c.type) {
        case ConfChangeType::kAddNode:
          MakeVoter(c.node_id);
          break;
        case ConfChangeType::kAddLearnerNode:
          MakeLearner(c.node_id);
          break;
        case ConfChangeType::kRemoveNode:
          Remove(c.node_id);
          break;
        case ConfChangeType::kUpdateNode:
          break;
      }
    }
  }
  void LeaveJoint() {
    for (NodeId id : m.learners_next) {
      m.learners.insert(id);
      // unreachable from outside: a learner to be is an outgoing voter, of whom there is progress (CheckConfState).
      m.progress.at(id).learner = true;
    }
    m.learners_next.clear();
    for (NodeId id : m.voters.outgoing.ids) {
      if (!m.voters.incoming.ids.contains(id) && !m.learners.contains(id)) m.progress.erase(id);
    }
    m.voters.outgoing.ids.clear();
    m.auto_leave = false;
  }
};

size_t SymmetricDifference(const std::set<NodeId>& a, const std::set<NodeId>& b) {
  size_t n = 0;
  for (NodeId id : a) n += !b.contains(id);
  for (NodeId id : b) n += !a.contains(id);
  return n;
}

}  // namespace

ConfState Membership::ToConfState() const {
  ConfState s;
  s.voters.assign(voters.incoming.ids.begin(), voters.incoming.ids.end());
  s.voters_outgoing.assign(voters.outgoing.ids.begin(), voters.outgoing.ids.end());
  s.learners.assign(learners.begin(), learners.end());
  s.learners_next.assign(learners_next.begin(), learners_next.end());
  s.auto_leave = auto_leave;
  return s;
}

std::string Membership::ToString() const {
  auto list = [](const std::set<NodeId>& ids) {
    std::string out = "(";
    for (NodeId id : ids) {
      char text[24];
      std::snprintf(text, sizeof text, "%lx", id);
      if (out.size() > 1) out += ' ';
      out += text;
    }
    return out + ")";
  };
  std::string out = "voters=" + list(voters.incoming.ids);
  if (voters.joint()) out += "&&" + list(voters.outgoing.ids);
  if (!learners.empty()) out += " learners=" + list(learners);
  if (!learners_next.empty()) out += " learners_next=" + list(learners_next);
  if (auto_leave) out += " autoleave";
  return out;
}

bool Membership::IsLearner(NodeId id) const {
  auto it = progress.find(id);
  return it != progress.end() && it->second.learner;
}

uint64_t Membership::CommittedIndex() const {
  return voters.CommittedIndex([this](NodeId id) {
    auto it = progress.find(id);
    return it == progress.end() ? 0 : it->second.match;
  });
}

bool Membership::QuorumActive(NodeId self) const {
  std::map<NodeId, bool> votes;
  for (const auto& [id, p] : progress) {
    if (!p.learner) votes[id] = p.recent_active || id == self;
  }
  return voters.Vote(votes) == VoteResult::kWon;
}

Result<Membership> LeaveJoint(const Membership& current, const MembershipLimits& limits) {
  if (!current.voters.joint()) return Err(FailedPrecondition("can't leave a non-joint config"));
  Builder b{current, 0, limits};
  b.LeaveJoint();
  return std::move(b.m);
}

Result<Membership> EnterJoint(const Membership& current, const Changes& changes, bool auto_leave, Basis basis) {
  if (current.voters.joint()) return Err(FailedPrecondition("config is already joint"));
  if (current.voters.incoming.ids.empty()) return Err(FailedPrecondition("can't make a zero-voter config joint"));
  Builder b{current, basis.last_index, basis.limits};
  b.m.voters.outgoing = b.m.voters.incoming;
  b.Apply(changes);
  b.m.auto_leave = auto_leave;
  if (b.m.voters.incoming.ids.empty()) return Err(FailedPrecondition("removed all voters"));
  return std::move(b.m);
}

Result<Membership> SimpleChange(const Membership& current, const Changes& changes, Basis basis) {
  if (current.voters.joint()) return Err(FailedPrecondition("can't apply simple config change in joint config"));
  Builder b{current, basis.last_index, basis.limits};
  b.Apply(changes);
  if (b.m.voters.incoming.ids.empty()) return Err(FailedPrecondition("removed all voters"));
  if (SymmetricDifference(current.voters.incoming.ids, b.m.voters.incoming.ids) > 1) {
    return Err(FailedPrecondition("more than one voter changed without entering joint config"));
  }
  return std::move(b.m);
}

Result<Membership> ApplyChange(const Membership& current, const ConfChange& change, Basis basis) {
  if (change.leaves_joint()) return LeaveJoint(current, basis.limits);
  if (!change.enters_joint()) return SimpleChange(current, change.changes, basis);
  return EnterJoint(current, change.changes, change.transition != ConfChangeTransition::kJointExplicit, basis);
}

Result<Membership> FromConfState(const ConfState& state, uint64_t last_index, const MembershipLimits& limits) {
  Membership empty;
  Builder b{empty, last_index, limits};
  b.m.voters.outgoing.ids.insert(state.voters_outgoing.begin(), state.voters_outgoing.end());
  for (NodeId id : state.voters_outgoing) {
    if (!b.m.progress.contains(id)) b.InitProgress(id, false);
  }
  for (NodeId id : state.voters) b.MakeVoter(id);
  for (NodeId id : state.learners) b.MakeLearner(id);
  b.m.learners_next.insert(state.learners_next.begin(), state.learners_next.end());
  b.m.auto_leave = state.auto_leave;
  return std::move(b.m);
}

}  // namespace kvstore::raft
