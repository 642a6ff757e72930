#include "kvstore/replica/membership_rules.h"

#include <algorithm>

#include "kvstore/mvcc/errors.h"

namespace kvstore::replica {

using base::Ok;
using base::Status;
using raft::ConfChangeType;

MemberChange Promotion(raft::NodeId id) {
  std::string context = mvcc::MemberToJson({.id = id});
  context.insert(context.size() - 1, ",\"isPromote\":true");
  return {ConfChangeType::kAddNode, id, std::move(context)};
}

bool IsPromotion(std::string_view context) { return context.find("\"isPromote\":true") != std::string_view::npos; }

Status CheckChange(const MemberChange& change, const std::vector<mvcc::Member>& members, bool removed,
                   uint32_t max_learners) {
  if (removed) return mvcc::ErrMemberNotFound();
  auto known = std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.id == change.id; });
  bool adds = change.type == ConfChangeType::kAddNode || change.type == ConfChangeType::kAddLearnerNode;
  if (adds && IsPromotion(change.context)) {
    if (known == members.end()) return mvcc::ErrMemberNotFound();
    return known->is_learner ? Ok() : mvcc::ErrMemberNotLearner();
  }
  if (adds && known != members.end()) return mvcc::ErrMemberExists();
  if (!adds && known == members.end()) return mvcc::ErrMemberNotFound();
  if (change.type == ConfChangeType::kRemoveNode) return Ok();
  auto wanted = mvcc::MemberFromJson(change.context).value_or(mvcc::Member());
  size_t learners = 1;
  for (const mvcc::Member& m : members) {
    learners += m.is_learner;
    if (m.id == change.id) continue;
    for (const std::string& u : m.peer_urls) {
      if (std::find(wanted.peer_urls.begin(), wanted.peer_urls.end(), u) != wanted.peer_urls.end()) {
        return mvcc::ErrPeerUrlExists();
      }
    }
  }
  bool learner = change.type == ConfChangeType::kAddLearnerNode && wanted.is_learner;
  return learner && learners > max_learners ? mvcc::ErrTooManyLearners() : Ok();
}

Status MayChange(const MemberChange& change, const std::vector<mvcc::Member>& members, const VoterHealth& health) {
  size_t voters = 0, started = 0;
  bool learner = change.type == ConfChangeType::kAddLearnerNode;
  for (const mvcc::Member& m : members) {
    if (m.id == change.id && m.is_learner && change.type == ConfChangeType::kRemoveNode) return Ok();
    if (m.is_learner || (m.id == change.id && change.type == ConfChangeType::kRemoveNode)) continue;
    ++voters;
    started += !m.name.empty();
  }
  if (change.type == ConfChangeType::kAddNode || learner) {
    bool second = started == 1 && voters == 1;  // one member grows to two: its data is being restored
    if (!learner && !second && started < (voters + 1) / 2 + 1) return mvcc::ErrNotEnoughStarted();
    return voters > 1 && health.active < (voters + 1) / 2 + 1 ? mvcc::ErrUnhealthy() : Ok();
  }
  if (change.type != ConfChangeType::kRemoveNode) return Ok();
  if (started < voters / 2 + 1) return mvcc::ErrNotEnoughStarted();
  if (!health.sees_target) return Ok();
  return health.active < 2 + (health.voters - 1) / 2 ? mvcc::ErrUnhealthy() : Ok();
}

Status MayGainVoter(const std::vector<mvcc::Member>& members) {
  size_t voters = 1, started = 1;
  for (const mvcc::Member& m : members) {
    voters += !m.is_learner;
    started += !m.is_learner && !m.name.empty();
  }
  return started < voters / 2 + 1 ? mvcc::ErrNotEnoughStarted() : Ok();
}

}  // namespace kvstore::replica
