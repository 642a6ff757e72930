// Terms, votes and who leads (Raft 5.2, dissertation 4.2.3, 9.6, and 3.10 for the transfer).
#include <utility>

#include "kvstore/raft/raft.h"

namespace kvstore::raft {

using base::Ok;
using base::Status;

namespace {

constexpr std::string_view kTransferContext = "CampaignTransfer";

MessageType VoteResponse(MessageType vote) {
  return vote == MessageType::kVote ? MessageType::kVoteResp : MessageType::kPreVoteResp;
}

}  // namespace

// ---- roles

void Raft::Reset(uint64_t term) {
  if (term_ != term) {
    term_ = term;
    vote_ = kNone;
  }
  leader_ = kNone;
  transferee_ = kNone;
  election_elapsed_ = 0;
  heartbeat_elapsed_ = 0;
  RandomizeElectionTimeout();
  votes_.clear();
  pending_conf_index_ = 0;
  acknowledged_ = 0;
  uncommitted_bytes_ = 0;
  reads_.clear();
  confirmed_reads_ = 0;
  asked_everybody_ = 0;
  read_acks_.clear();
  for (auto& [id, p] : membership_.progress) {
    p = Progress{.match = id == options_.id ? log_.LastIndex() : 0,
                 .next = log_.LastIndex() + 1,
                 .learner = p.learner,
                 .inflights = Inflights(options_.limits.max_inflight_messages, options_.limits.max_inflight_bytes)};
  }
}

void Raft::BecomeFollower(uint64_t term, NodeId leader) {
  Reset(term);
  role_ = Role::kFollower;
  leader_ = leader;
  options_.tracer.Info("%lx became follower at term %lu", options_.id, term_);
}

void Raft::BecomeCandidate() {
  // unreachable from outside: Hup turns a leader away.
  CHECK(role_ != Role::kLeader);
  Reset(term_ + 1);
  vote_ = options_.id;
  role_ = Role::kCandidate;
  options_.tracer.Info("%lx became candidate at term %lu", options_.id, term_);
}

void Raft::BecomePreCandidate() {
  // unreachable from outside: as above.
  CHECK(role_ != Role::kLeader);
  // Neither term nor vote change: a pre-vote disturbs nobody.
  votes_.clear();
  leader_ = kNone;
  role_ = Role::kPreCandidate;
  options_.tracer.Info("%lx became pre-candidate at term %lu", options_.id, term_);
}

void Raft::BecomeLeader() {
  // unreachable from outside: votes count for candidates only (StepCandidate).
  CHECK(role_ != Role::kFollower);
  Reset(term_);
  leader_ = options_.id;
  role_ = Role::kLeader;
  auto self = membership_.progress.find(options_.id);
  if (self != membership_.progress.end()) {
    self->second.BecomeReplicate();
    self->second.recent_active = true;
  }
  // There may be an uncommitted membership change in the log; assuming so is safe and cheap.
  pending_conf_index_ = log_.LastIndex();
  // unreachable from outside: an entry without bytes is never refused.
  CHECK(AppendEntries({Entry{}}));
  options_.tracer.Info("%lx became leader at term %lu", options_.id, term_);
}

bool Raft::Promotable() const {
  return membership_.progress.contains(options_.id) && !is_learner_ && !log_.pending_snapshot();
}

void Raft::RandomizeElectionTimeout() {
  randomized_election_ticks_ =
      options_.election_ticks + static_cast<int>(random_.Below(static_cast<uint64_t>(options_.election_ticks)));
}

void Raft::CheckQuorum() {
  if (!membership_.QuorumActive(options_.id)) {
    options_.tracer.Warning("%lx stepped down to follower since quorum is not active", options_.id);
    BecomeFollower(term_, kNone);
  }
  for (auto& [id, p] : membership_.progress) {
    if (id != options_.id) p.recent_active = false;
  }
}

void Raft::StepDown() {
  if (role_ == Role::kLeader) BecomeFollower(term_, kNone);
}

void Raft::ForgetLeader() { (void)Step({.type = MessageType::kForgetLeader}); }

// ---- the terms of messages

bool Raft::StepTerm(const Message& m) {
  if (m.term == 0) return true;  // local
  bool is_vote = m.type == MessageType::kVote || m.type == MessageType::kPreVote;
  if (m.term > term_) {
    if (is_vote) {
      bool force = m.context == kTransferContext;
      bool in_lease = options_.check_quorum && leader_ != kNone && election_elapsed_ < options_.election_ticks;
      // A node that hears from a leader does not help to depose it (dissertation 4.2.3).
      if (!force && in_lease) {
        EntryId last = log_.LastId();
        options_.tracer.Info(
            "%lx [logterm: %lu, index: %lu, vote: %lx] ignored %s from %lx [logterm: %lu, index: %lu] at term %lu: "
            "lease "
            "is not expired (remaining ticks: %d)",
            options_.id, last.term, last.index, vote_, MessageTypeName(m.type).data(), m.from, m.log_term, m.index,
            term_, options_.election_ticks - election_elapsed_);
        return false;
      }
    }
    bool keeps_term = m.type == MessageType::kPreVote || (m.type == MessageType::kPreVoteResp && !m.reject);
    if (!keeps_term) {
      options_.tracer.Info("%lx [term: %lu] received a %s message with higher term from %lx [term: %lu]", options_.id,
                           term_, MessageTypeName(m.type).data(), m.from, m.term);
      bool from_leader =
          m.type == MessageType::kApp || m.type == MessageType::kHeartbeat || m.type == MessageType::kSnap;
      BecomeFollower(m.term, from_leader ? m.from : kNone);
    }
    return true;
  }
  if (m.term == term_) return true;
  if ((options_.check_quorum || options_.pre_vote) &&
      (m.type == MessageType::kHeartbeat || m.type == MessageType::kApp)) {
    // A deposed leader that is cut off learns the new term from this answer; otherwise it and a node that does not
    // campaign could ignore each other for ever.
    Send({.type = MessageType::kAppResp, .to = m.from});
  } else if (m.type == MessageType::kPreVote) {
    EntryId last = log_.LastId();
    options_.tracer.Info(
        "%lx [logterm: %lu, index: %lu, vote: %lx] rejected %s from %lx [logterm: %lu, index: %lu] at term %lu",
        options_.id, last.term, last.index, vote_, MessageTypeName(m.type).data(), m.from, m.log_term, m.index, term_);
    Send({.type = MessageType::kPreVoteResp, .to = m.from, .term = term_, .reject = true});
  } else if (m.type == MessageType::kStorageAppendResp) {
    // Log positions of an older term may have been overwritten; a snapshot stays what it is.
    if (m.index != 0) {
      options_.tracer.Info("%lx [term: %lu] ignored entry appends from a %s message with lower term [term: %lu]",
                           options_.id, term_, MessageTypeName(m.type).data(), m.term);
    }
    if (m.snapshot) {
      log_.StableSnapshotTo(m.snapshot->meta.index);
      AppliedTo(m.snapshot->meta.index, 0);
    }
  } else {
    options_.tracer.Info("%lx [term: %lu] ignored a %s message with lower term from %lx [term: %lu]", options_.id,
                         term_, MessageTypeName(m.type).data(), m.from, m.term);
  }
  return false;
}

// ---- campaigns and votes

Status Raft::Campaign() {
  Hup(false);
  return Ok();
}

void Raft::Hup(bool transfer) {
  if (role_ == Role::kLeader) {
    options_.tracer.Debug("%lx ignoring MsgHup because already leader", options_.id);
    return;
  }
  if (!Promotable()) {
    options_.tracer.Warning("%lx is unpromotable and can not campaign", options_.id);
    return;
  }
  // A committed but unapplied change may have taken this node's vote away.
  if (HasUnappliedConfChange()) {
    options_.tracer.Warning(
        "%lx cannot campaign at term %lu since there are still pending configuration changes to apply", options_.id,
        term_);
    return;
  }
  options_.tracer.Info("%lx is starting a new election at term %lu", options_.id, term_);
  if (transfer) {
    StartCampaign(Campaigning::kTransfer);
  } else {
    StartCampaign(options_.pre_vote ? Campaigning::kPreElection : Campaigning::kElection);
  }
}

void Raft::StartCampaign(Campaigning kind) {
  MessageType type = MessageType::kVote;
  uint64_t term;
  if (kind == Campaigning::kPreElection) {
    BecomePreCandidate();
    type = MessageType::kPreVote;
    term = term_ + 1;
  } else {
    BecomeCandidate();
    term = term_;
  }
  EntryId last = log_.LastId();
  for (NodeId id : membership_.voters.Ids()) {
    if (id == options_.id) {
      // The own vote counts once it is on the disk, like anybody's.
      Send({.type = VoteResponse(type), .to = id, .term = term});
      continue;
    }
    options_.tracer.Info("%lx [logterm: %lu, index: %lu] sent %s request to %lx at term %lu", options_.id, last.term,
                         last.index, MessageTypeName(type).data(), id, term_);
    Message m{.type = type, .to = id, .term = term, .log_term = last.term, .index = last.index};
    if (kind == Campaigning::kTransfer) m.context = kTransferContext;
    Send(std::move(m));
  }
}

VoteResult Raft::Poll(const Message& m) {
  const char* type = MessageTypeName(m.type).data();
  options_.tracer.Info(
      m.reject ? "%lx received %s rejection from %lx at term %lu" : "%lx received %s from %lx at term %lu", options_.id,
      type, m.from, term_);
  votes_.emplace(m.from, !m.reject);
  size_t granted = 0, rejected = 0;
  for (const auto& [id, p] : membership_.progress) {
    auto vote = votes_.find(id);
    if (!p.learner && vote != votes_.end()) ++(vote->second ? granted : rejected);
  }
  options_.tracer.Info("%lx has received %zu %s votes and %zu vote rejections", options_.id, granted, type, rejected);
  return membership_.Vote(votes_);
}

void Raft::StepVote(const Message& m) {
  bool can_vote =
      vote_ == m.from || (vote_ == kNone && leader_ == kNone) || (m.type == MessageType::kPreVote && m.term > term_);
  bool pre = m.type == MessageType::kPreVote;
  bool granted = can_vote && log_.IsUpToDate({m.log_term, m.index});
  EntryId last = log_.LastId();
  options_.tracer.Info(
      granted ? "%lx [logterm: %lu, index: %lu, vote: %lx] cast %s for %lx [logterm: %lu, index: %lu] at term %lu"
              : "%lx [logterm: %lu, index: %lu, vote: %lx] rejected %s from %lx [logterm: %lu, index: %lu] at term %lu",
      options_.id, last.term, last.index, vote_, MessageTypeName(m.type).data(), m.from, m.log_term, m.index, term_);
  Message answer{.type = VoteResponse(m.type), .to = m.from};
  if (granted) {
    // A pre-vote is answered in the term that was asked for, not in ours: the asker has not raised its own.
    answer.term = m.term;
    Send(std::move(answer));
    if (!pre) {
      election_elapsed_ = 0;
      vote_ = m.from;
    }
  } else {
    answer.term = term_;
    answer.reject = true;
    Send(std::move(answer));
  }
}

Status Raft::StepCandidate(Message& m) {
  MessageType mine = role_ == Role::kPreCandidate ? MessageType::kPreVoteResp : MessageType::kVoteResp;
  switch (m.type) {
    case MessageType::kProp:
      options_.tracer.Info("%lx no leader at term %lu; dropping proposal", options_.id, term_);
      return Dropped();
    case MessageType::kApp:
      BecomeFollower(m.term, m.from);
      HandleAppend(m);
      break;
    case MessageType::kHeartbeat:
      BecomeFollower(m.term, m.from);
      HandleHeartbeat(m);
      break;
    case MessageType::kSnap:
      BecomeFollower(m.term, m.from);
      HandleSnapshot(m);
      break;
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp: {
      if (m.type != mine) break;
      switch (Poll(m)) {
        case VoteResult::kWon:
          if (role_ == Role::kPreCandidate) {
            StartCampaign(Campaigning::kElection);
          } else {
            BecomeLeader();
            BroadcastAppend();
          }
          break;
        case VoteResult::kLost:
          BecomeFollower(term_, kNone);
          break;
        case VoteResult::kPending:
          break;
      }
      break;
    }
    case MessageType::kTimeoutNow:
      options_.tracer.Debug("%lx [term %lu state %s] ignored MsgTimeoutNow from %lx", options_.id, term_,
                            RoleName(role_).data(), m.from);
      break;
    default:
      break;
  }
  return Ok();
}

// ---- leader transfer

void Raft::TransferLeader(NodeId to) { (void)Step({.type = MessageType::kTransferLeader, .from = to}); }

void Raft::LeaderTransfer(const Message& m) {
  // unreachable from outside: StepLeader knows the member.
  Progress& p = membership_.progress.at(m.from);
  if (p.learner) {
    options_.tracer.Debug("%lx is learner. Ignored transferring leadership", options_.id);
    return;
  }
  if (transferee_ == m.from) {
    options_.tracer.Info("%lx [term %lu] transfer leadership to %lx is in progress, ignores request to same node %lx",
                         options_.id, term_, m.from, m.from);
    return;
  }
  if (transferee_ != kNone) {
    options_.tracer.Info("%lx [term %lu] abort previous transferring leadership to %lx", options_.id, term_,
                         std::exchange(transferee_, kNone));
  }
  if (m.from == options_.id) {
    options_.tracer.Debug("%lx is already leader. Ignored transferring leadership to self", options_.id);
    return;
  }
  options_.tracer.Info("%lx [term %lu] starts to transfer leadership to %lx", options_.id, term_, m.from);
  election_elapsed_ = 0;
  transferee_ = m.from;
  if (p.match == log_.LastIndex()) {
    SendTimeoutNow(m.from);
    options_.tracer.Info("%lx sends MsgTimeoutNow to %lx immediately as %lx already has up-to-date log", options_.id,
                         m.from, m.from);
  } else {
    SendAppend(m.from);
  }
}

void Raft::SendTimeoutNow(NodeId to) { Send({.type = MessageType::kTimeoutNow, .to = to}); }

}  // namespace kvstore::raft
