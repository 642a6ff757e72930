// How a change of the cluster is proposed, applied and, from a joint configuration, left (dissertation 4.3).
#include <algorithm>

#include "kvstore/raft/raft.h"

namespace kvstore::raft {

using base::Result;
using base::Status;

Status Raft::ProposeConfChange(EntryType type, std::shared_ptr<const std::string> data, const ConfChange& change) {
  Message m{.type = MessageType::kProp, .from = options_.id};
  m.entries.push_back({.type = type, .data = std::move(data)});
  m.change = std::make_shared<const ConfChange>(change);
  return Step(std::move(m));
}

std::string Raft::WhyNotChange(const ConfChange& change) const {
  if (options_.disable_conf_change_validation) return "";
  bool joint = membership_.voters.joint();
  bool leaves = change.changes.empty();
  if (pending_conf_index_ > log_.applied()) {
    return "possible unapplied conf change at index " + std::to_string(pending_conf_index_) + " (applied to " +
           std::to_string(log_.applied()) + ")";
  }
  if (joint && !leaves) return "must transition out of joint config first";
  if (!joint && leaves) return "not in joint state; refusing empty conf change";
  return "";
}

bool Raft::HasUnappliedConfChange() const {
  for (uint64_t i = log_.applied() + 1; i <= log_.committed();) {
    auto slice = log_.Slice(i, log_.committed() + 1, options_.max_applying_bytes);
    if (!slice || slice->empty()) return false;
    for (const Entry& e : *slice) {
      if (e.type != EntryType::kNormal) return true;
    }
    i += slice->size();
  }
  return false;
}

void Raft::SwitchTo(Membership m) {
  membership_ = std::move(m);
  is_learner_ = membership_.IsLearner(options_.id);
  if (options_.tracer.on()) {
    options_.tracer.Info("%lx switched to configuration %s", options_.id, membership_.ToString().c_str());
  }
}

Result<ConfState> Raft::ApplyConfChange(const ConfChange& change) {
  bool refused = !change.changes.empty() && std::all_of(change.changes.begin(), change.changes.end(),
                                                        [](const auto& c) { return c.node_id == kNone; });
  if (refused) return membership_.ToConfState();
  TRY_ASSIGN(Membership next, ApplyChange(membership_, change, {log_.LastIndex(), options_.limits}));
  SwitchTo(std::move(next));
  ConfState cs = membership_.ToConfState();
  bool removed = !membership_.progress.contains(options_.id);
  if ((removed || is_learner_) && role_ == Role::kLeader) {
    // Else it leads on, without a vote of its own, until somebody else is elected.
    if (options_.step_down_on_removal) BecomeFollower(term_, kNone);
    return cs;
  }
  if (role_ != Role::kLeader || cs.voters.empty()) return cs;
  if (MaybeCommit()) {
    BroadcastAppend();
  } else {
    for (auto& [id, p] : membership_.progress) {
      if (id != options_.id) MaybeSendAppend(id, false);
    }
  }
  if (transferee_ != kNone && !membership_.voters.Contains(transferee_)) transferee_ = kNone;
  return cs;
}

void Raft::AppliedTo(uint64_t index, uint64_t bytes) {
  log_.AppliedTo(std::max(index, log_.applied()), bytes);
  if (membership_.auto_leave && index >= pending_conf_index_ && role_ == Role::kLeader) {
    // The joint configuration is in force: an empty change leaves it again.
    std::string config = options_.tracer.on() ? membership_.ToString() : std::string();
    Status proposed = ProposeConfChange(EntryType::kConfChangeV2, nullptr, ConfChange());
    if (proposed.ok()) {
      options_.tracer.Info("initiating automatic transition out of joint configuration %s", config.c_str());
    } else {
      options_.tracer.Debug("not initiating automatic transition out of joint configuration %s: %s", config.c_str(),
                            std::string(proposed.message()).c_str());
    }
  }
}

}  // namespace kvstore::raft
