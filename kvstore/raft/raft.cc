#include "kvstore/raft/raft.h"

#include <algorithm>
#include <cstdio>

namespace kvstore::raft {

using base::Err;
using base::Ok;
using base::Result;
using base::Status;

namespace {

constexpr std::string_view kTransferContext = "CampaignTransfer";

Status Dropped() { return base::Unavailable("raft proposal dropped"); }

std::string Hex(NodeId id) {
  char text[24];
  std::snprintf(text, sizeof text, "%lx", id);
  return text;
}

std::string Describe(const ConfChange& change) {
  static constexpr std::string_view kTransitions[] = {"ConfChangeTransitionAuto", "ConfChangeTransitionJointImplicit",
                                                      "ConfChangeTransitionJointExplicit"};
  static constexpr std::string_view kTypes[] = {"ConfChangeAddNode", "ConfChangeRemoveNode", "ConfChangeUpdateNode",
                                                "ConfChangeAddLearnerNode"};
  std::string out = "transition:";
  out += kTransitions[static_cast<size_t>(change.transition)];
  for (const ConfChangeSingle& c : change.changes) {
    out += " changes:{type:";
    out += kTypes[static_cast<size_t>(c.type)];
    out += " node_id:" + std::to_string(c.node_id) + "}";
  }
  return out;
}

MessageType VoteResponse(MessageType vote) {
  return vote == MessageType::kVote ? MessageType::kVoteResp : MessageType::kPreVoteResp;
}

}  // namespace

std::string_view RoleName(Role role) {
  static constexpr std::string_view kNames[] = {"StateFollower", "StateCandidate", "StateLeader", "StatePreCandidate"};
  return kNames[static_cast<size_t>(role)];
}

bool IsLocalMessage(MessageType t) {
  switch (t) {
    case MessageType::kHup:
    case MessageType::kBeat:
    case MessageType::kUnreachable:
    case MessageType::kSnapStatus:
    case MessageType::kCheckQuorum:
    case MessageType::kStorageAppend:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApply:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

bool IsResponseMessage(MessageType t) {
  switch (t) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kUnreachable:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVoteResp:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

Raft::Raft(Options options, base::Random random)
    : options_(std::move(options)),
      random_(random),
      log_(options_.storage, options_.max_applying_bytes, options_.tracer) {
  CHECK(options_.id != kNone && options_.election_ticks > options_.heartbeat_ticks);
  auto membership = FromConfState(options_.storage->InitialConfState(), log_.LastIndex(), options_.limits);
  CHECK_MSG(membership.has_value(), "stored membership is not valid");
  SwitchTo(std::move(*membership));
  HardState hs = options_.storage->InitialHardState();
  if (!hs.empty()) {
    CHECK_MSG(hs.commit >= log_.committed() && hs.commit <= log_.LastIndex(), "stored commit index is out of range");
    log_.CommitTo(hs.commit);
    term_ = hs.term;
    vote_ = hs.vote;
  }
  if (options_.applied > 0) log_.AppliedTo(options_.applied, 0);
  BecomeFollower(term_, kNone);
  if (options_.tracer.on()) {
    std::string peers;
    for (NodeId id : membership_.voters.Ids()) peers += (peers.empty() ? "" : ",") + Hex(id);
    EntryId last = log_.LastId();
    options_.tracer.Info(
        "newRaft %lx [peers: [%s], term: %lu, commit: %lu, applied: %lu, lastindex: %lu, lastterm: %lu]", options_.id,
        peers.c_str(), term_, log_.committed(), log_.applied(), last.index, last.term);
  }
  previous_soft_ = {leader_, role_};
  previous_hard_ = hard_state();
}

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
  uncommitted_bytes_ = 0;
  reads_.clear();
  confirmed_reads_ = 0;
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
  CHECK(role_ != Role::kLeader);
  Reset(term_ + 1);
  vote_ = options_.id;
  role_ = Role::kCandidate;
  options_.tracer.Info("%lx became candidate at term %lu", options_.id, term_);
}

void Raft::BecomePreCandidate() {
  CHECK(role_ != Role::kLeader);
  // Neither term nor vote change: a pre-vote disturbs nobody.
  votes_.clear();
  leader_ = kNone;
  role_ = Role::kPreCandidate;
  options_.tracer.Info("%lx became pre-candidate at term %lu", options_.id, term_);
}

void Raft::BecomeLeader() {
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

void Raft::Tick() {
  ++ticks_;
  ++election_elapsed_;
  if (role_ != Role::kLeader) {
    if (Promotable() && PastElectionTimeout()) {
      election_elapsed_ = 0;
      Hup(false);
    }
    return;
  }
  ++heartbeat_elapsed_;
  if (election_elapsed_ >= options_.election_ticks) {
    election_elapsed_ = 0;
    if (options_.check_quorum) CheckQuorum();
    // A transfer that took an election timeout has failed.
    transferee_ = kNone;
  }
  if (role_ == Role::kLeader && heartbeat_elapsed_ >= options_.heartbeat_ticks) {
    heartbeat_elapsed_ = 0;
    BroadcastHeartbeat();
  }
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

// ---- elections

Status Raft::Campaign() {
  Hup(false);
  return Ok();
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

// ---- stepping

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

Status Raft::Receive(Message m) {
  if (IsLocalMessage(m.type)) return base::InvalidArgument("raft: cannot step raft local message");
  if (IsResponseMessage(m.type) && !membership_.progress.contains(m.from)) {
    return base::InvalidArgument("raft: cannot step as peer not found");
  }
  return Step(std::move(m));
}

Status Raft::Step(Message m) {
  if (!StepTerm(m)) return Ok();
  switch (m.type) {
    case MessageType::kHup:
      Hup(false);
      return Ok();
    case MessageType::kStorageAppendResp:
      StepStorageAppendResp(m);
      return Ok();
    case MessageType::kStorageApplyResp:
      StepStorageApplyResp(m);
      return Ok();
    case MessageType::kVote:
    case MessageType::kPreVote:
      StepVote(m);
      return Ok();
    default:
      break;
  }
  switch (role_) {
    case Role::kLeader:
      return StepLeader(m);
    case Role::kCandidate:
    case Role::kPreCandidate:
      return StepCandidate(m);
    case Role::kFollower:
      return StepFollower(m);
  }
  return Ok();
}

void Raft::StepStorageAppendResp(const Message& m) {
  if (m.index != 0) log_.StableTo({m.log_term, m.index});
  if (m.snapshot) {
    log_.StableSnapshotTo(m.snapshot->meta.index);
    AppliedTo(m.snapshot->meta.index, 0);
  }
}

void Raft::StepStorageApplyResp(const Message& m) {
  if (m.entries.empty()) return;
  AppliedTo(m.entries.back().index, EncodedSize(m.entries));
  uncommitted_bytes_ -= std::min<uint64_t>(uncommitted_bytes_, PayloadSize(m.entries));
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

// ---- leader

Status Raft::Propose(std::shared_ptr<const std::string> data) {
  Message m{.type = MessageType::kProp, .from = options_.id};
  m.entries.push_back({.data = std::move(data)});
  return Step(std::move(m));
}

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

Status Raft::LeaderPropose(Message& m) {
  if (!membership_.progress.contains(options_.id)) return Dropped();
  if (transferee_ != kNone) {
    options_.tracer.Debug("%lx [term %lu] transfer leadership to %lx is in progress; dropping proposal", options_.id,
                          term_, transferee_);
    return Dropped();
  }
  for (size_t i = 0; i < m.entries.size(); ++i) {
    if (m.entries[i].type == EntryType::kNormal) continue;
    // Whoever forwards a change says what it is; only its bytes are replicated.
    std::string why = m.change ? WhyNotChange(*m.change) : std::string("its content is not known");
    if (why.empty()) {
      pending_conf_index_ = log_.LastIndex() + i + 1;
      continue;
    }
    options_.tracer.Info("%lx ignoring conf change %s at config %s: %s", options_.id,
                         m.change ? Describe(*m.change).c_str() : "", membership_.ToString().c_str(), why.c_str());
    // It keeps its place in the log as an empty entry, so that proposals are answered in order.
    m.entries[i] = {};
  }
  if (!AppendEntries(std::move(m.entries))) return Dropped();
  if (auto p = membership_.progress.find(m.from); p != membership_.progress.end()) p->second.awaits = log_.LastIndex();
  BroadcastAppend();
  return Ok();
}

bool Raft::AppendEntries(Entries entries) {
  uint64_t last = log_.LastIndex();
  uint64_t bytes = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].term = term_;
    entries[i].index = last + 1 + i;
    bytes += entries[i].bytes().size();
  }
  // Nothing without a payload (a new leader's first, leaving a joint configuration) is ever refused.
  if (uncommitted_bytes_ > 0 && bytes > 0 && uncommitted_bytes_ + bytes > options_.max_uncommitted_bytes) {
    options_.tracer.Warning(
        "%lx appending new entries to log would exceed uncommitted entry size limit; dropping proposal", options_.id);
    return false;
  }
  uncommitted_bytes_ += bytes;
  log_.Append(entries);
  Send({.type = MessageType::kAppResp, .to = options_.id, .index = log_.LastIndex()});
  return true;
}

bool Raft::MaybeCommit() { return log_.MaybeCommit({term_, membership_.CommittedIndex()}); }

Status Raft::StepLeader(Message& m) {
  switch (m.type) {
    case MessageType::kProp:
      return LeaderPropose(m);
    case MessageType::kReadIndex:
      LeaderReadIndex(m);
      return Ok();
    case MessageType::kForgetLeader:
      return Ok();
    default:
      break;
  }
  auto it = membership_.progress.find(m.from);
  if (it == membership_.progress.end()) {
    options_.tracer.Debug("%lx no progress available for %lx", options_.id, m.from);
    return Ok();
  }
  Progress& p = it->second;
  switch (m.type) {
    case MessageType::kAppResp:
      LeaderAppResp(p, m);
      break;
    case MessageType::kHeartbeatResp:
      LeaderHeartbeatResp(p, m);
      break;
    case MessageType::kSnapStatus:
      if (p.state != ProgressState::kSnapshot) break;
      if (m.reject) p.pending_snapshot = 0;
      p.BecomeProbe();
      if (options_.tracer.on()) {
        options_.tracer.Debug("%lx snapshot %s, resumed sending replication messages to %lx [%s]", options_.id,
                              m.reject ? "failed" : "succeeded", m.from, p.ToString().c_str());
      }
      // Wait for the follower's own word (or a heartbeat) before the next try.
      p.paused = true;
      break;
    case MessageType::kUnreachable:
      if (p.state == ProgressState::kReplicate) p.BecomeProbe();
      if (options_.tracer.on()) {
        options_.tracer.Debug("%lx failed to send message to %lx because it is unreachable [%s]", options_.id, m.from,
                              p.ToString().c_str());
      }
      // It may be the one that the reads count on.
      if (!reads_.empty()) BroadcastHeartbeat();
      break;
    case MessageType::kTransferLeader:
      LeaderTransfer(m);
      break;
    default:
      break;
  }
  return Ok();
}

void Raft::LeaderAppResp(Progress& p, const Message& m) {
  p.recent_active = true;
  p.heard_at = ticks_;
  if (m.reject) {
    // The follower names the largest entry of its log that can agree with ours; skipping whole terms on our side too
    // finds the meeting point in a few rounds.
    options_.tracer.Debug("%lx received MsgAppResp(rejected, hint: (index %lu, term %lu)) from %lx for index %lu",
                          options_.id, m.reject_hint, m.log_term, m.from, m.index);
    uint64_t next_probe = m.reject_hint;
    if (m.log_term > 0) next_probe = log_.FindConflictByTerm(m.reject_hint, m.log_term).index;
    if (p.MaybeDecrease(m.index, next_probe)) {
      if (options_.tracer.on()) {
        options_.tracer.Debug("%lx decreased progress of %lx to [%s]", options_.id, m.from, p.ToString().c_str());
      }
      if (p.state == ProgressState::kReplicate) p.BecomeProbe();
      SendAppend(m.from);
    }
    return;
  }
  bool at_hand = p.MaybeUpdate(m.index) || (p.match == m.index && p.state == ProgressState::kProbe);
  if (!at_hand) return;
  switch (p.state) {
    case ProgressState::kProbe:
      p.BecomeReplicate();
      break;
    case ProgressState::kSnapshot:
      if (p.match + 1 >= log_.FirstIndex()) {
        if (options_.tracer.on()) {
          options_.tracer.Debug("%lx recovered from needing snapshot, resumed sending replication messages to %lx [%s]",
                                options_.id, m.from, p.ToString().c_str());
        }
        p.BecomeProbe();
        p.BecomeReplicate();
      }
      break;
    case ProgressState::kReplicate:
      p.inflights.FreeTo(m.index);
      break;
  }
  if (MaybeCommit()) {
    std::vector<Message> waiting = std::move(reads_before_commit_);
    reads_before_commit_.clear();
    for (Message& r : waiting) AddRead(std::move(r));
    if (!options_.commit_in_passing) BroadcastAppend();
  } else if (!options_.commit_in_passing && m.from != options_.id && p.CanBumpCommit(log_.committed())) {
    SendAppend(m.from);
  }
  if (m.from != options_.id) {
    while (MaybeSendAppend(m.from, false)) {
    }
    if (m.from == transferee_ && p.match == log_.LastIndex()) {
      options_.tracer.Info("%lx sent MsgTimeoutNow to %lx after received MsgAppResp", options_.id, m.from);
      SendTimeoutNow(m.from);
    }
  }
}

void Raft::LeaderHeartbeatResp(Progress& p, const Message& m) {
  p.recent_active = true;
  p.heard_at = ticks_;
  // A full window is opened for one message, else a lost append could stall the follower for ever.
  p.paused = false;
  if (p.match < log_.LastIndex() || p.state == ProgressState::kProbe) SendAppend(m.from);
  if (!m.context.empty()) AckReads(m.from, m.context);
}

void Raft::TransferLeader(NodeId to) { (void)Step({.type = MessageType::kTransferLeader, .from = to}); }
void Raft::StepDown() {
  if (role_ == Role::kLeader) BecomeFollower(term_, kNone);
}
void Raft::ForgetLeader() { (void)Step({.type = MessageType::kForgetLeader}); }
void Raft::ReportUnreachable(NodeId id) { (void)Step({.type = MessageType::kUnreachable, .from = id}); }
void Raft::ReportSnapshot(NodeId id, bool failed) {
  (void)Step({.type = MessageType::kSnapStatus, .from = id, .reject = failed});
}

void Raft::LeaderTransfer(const Message& m) {
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

void Raft::BroadcastAppend() {
  for (auto& [id, p] : membership_.progress) {
    if (id != options_.id) SendAppend(id);
  }
}

bool Raft::CommitUntold() const {
  if (role_ != Role::kLeader) return false;
  return std::any_of(membership_.progress.begin(), membership_.progress.end(), [this](const auto& each) {
    return each.first != options_.id && each.second.CanBumpCommit(log_.committed());
  });
}

void Raft::TellCommit(uint64_t index) {
  if (role_ != Role::kLeader) return;
  for (auto& [id, p] : membership_.progress) {
    if (id == options_.id || !p.CanBumpCommit(log_.committed())) continue;
    if (p.sent_commit < index || p.sent_commit < p.awaits) SendAppend(id);
  }
}

void Raft::BroadcastHeartbeat() {
  std::string context = ReadContext();
  for (auto& [id, p] : membership_.progress) {
    if (id != options_.id) SendHeartbeat(id, context);
  }
}

void Raft::SendHeartbeat(NodeId to, const std::string& context) {
  Progress& p = membership_.progress.at(to);
  // A follower must not commit what it does not have yet.
  uint64_t commit = std::min(p.match, log_.committed());
  Send({.type = MessageType::kHeartbeat, .to = to, .commit = commit, .context = context});
  p.sent_commit = commit;
}

bool Raft::MaybeSendAppend(NodeId to, bool send_if_empty) {
  Progress& p = membership_.progress.at(to);
  if (p.IsPaused()) return false;
  auto prev_term = log_.Term(p.next - 1);
  if (!prev_term) return MaybeSendSnapshot(to, p);
  Entries entries;
  if (p.next <= log_.LastIndex() && !(p.state == ProgressState::kReplicate && p.inflights.full())) {
    auto slice = log_.Slice(p.next, log_.LastIndex() + 1, options_.max_message_bytes);
    if (!slice) return MaybeSendSnapshot(to, p);
    entries = std::move(*slice);
  }
  if (entries.empty() && !send_if_empty) return false;
  Message m{.type = MessageType::kApp, .to = to, .log_term = *prev_term, .index = p.next - 1};
  size_t count = entries.size();
  uint64_t bytes = PayloadSize(entries);
  m.entries = std::move(entries);
  m.commit = log_.committed();
  Send(std::move(m));
  p.SentEntries(count, bytes);
  p.sent_commit = log_.committed();
  return true;
}

bool Raft::MaybeSendSnapshot(NodeId to, Progress& p) {
  if (!p.recent_active) {
    options_.tracer.Debug("ignore sending snapshot to %lx since it is not recently active", to);
    return false;
  }
  auto s = log_.pending_snapshot() ? Result<std::shared_ptr<const Snapshot>>(log_.pending_snapshot())
                                   : log_.storage().LatestSnapshot();
  if (!s) {  // it is being made; a later heartbeat's answer asks again
    options_.tracer.Debug("%lx failed to send snapshot to %lx because snapshot is temporarily unavailable", options_.id,
                          to);
    return false;
  }
  if (options_.tracer.on()) {
    options_.tracer.Debug("%lx [firstindex: %lu, commit: %lu] sent snapshot[index: %lu, term: %lu] to %lx [%s]",
                          options_.id, log_.FirstIndex(), log_.committed(), (*s)->meta.index, (*s)->meta.term, to,
                          p.ToString().c_str());
  }
  p.BecomeSnapshot((*s)->meta.index);
  if (options_.tracer.on()) {
    options_.tracer.Debug("%lx paused sending replication messages to %lx [%s]", options_.id, to, p.ToString().c_str());
  }
  Send({.type = MessageType::kSnap, .to = to, .snapshot = std::move(*s)});
  return true;
}

// ---- follower

Status Raft::StepFollower(Message& m) {
  switch (m.type) {
    case MessageType::kProp:
      if (leader_ == kNone) {
        options_.tracer.Info("%lx no leader at term %lu; dropping proposal", options_.id, term_);
        return Dropped();
      }
      m.to = leader_;
      Send(std::move(m));
      break;
    case MessageType::kApp:
      election_elapsed_ = 0;
      leader_ = m.from;
      HandleAppend(m);
      break;
    case MessageType::kHeartbeat:
      election_elapsed_ = 0;
      leader_ = m.from;
      HandleHeartbeat(m);
      break;
    case MessageType::kSnap:
      election_elapsed_ = 0;
      leader_ = m.from;
      HandleSnapshot(m);
      break;
    case MessageType::kTransferLeader:
    case MessageType::kReadIndex:
      if (leader_ == kNone) {
        options_.tracer.Info("%lx no leader at term %lu; dropping %s msg", options_.id, term_,
                             m.type == MessageType::kReadIndex ? "index reading" : "leader transfer");
        break;
      }
      m.to = leader_;
      Send(std::move(m));
      break;
    case MessageType::kForgetLeader:
      if (options_.lease_reads) {
        options_.tracer.Error("ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
        break;
      }
      if (leader_ == kNone) break;
      options_.tracer.Info("%lx forgetting leader %lx at term %lu", options_.id, leader_, term_);
      leader_ = kNone;
      break;
    case MessageType::kTimeoutNow:
      options_.tracer.Info("%lx [term %lu] received MsgTimeoutNow from %lx and starts an election to get leadership.",
                           options_.id, term_, m.from);
      // The leader asked for it, so there is nobody to protect by a pre-vote.
      Hup(true);
      break;
    case MessageType::kReadIndexResp:
      if (!m.entries.empty()) read_states_.push_back({m.index, std::string(m.entries[0].bytes())});
      break;
    default:
      break;
  }
  return Ok();
}

void Raft::HandleAppend(const Message& m) {
  if (m.index < log_.committed()) {
    Send({.type = MessageType::kAppResp, .to = m.from, .index = log_.committed()});
    return;
  }
  uint64_t last = log_.MaybeAppend({m.log_term, m.index}, m.commit, m.entries);
  if (last != 0 || (m.index == 0 && m.entries.empty())) {
    Send({.type = MessageType::kAppResp, .to = m.from, .index = last});
    return;
  }
  options_.tracer.Debug("%lx [logterm: %lu, index: %lu] rejected MsgApp [logterm: %lu, index: %lu] from %lx",
                        options_.id, log_.TermOrZero(m.index), m.index, m.log_term, m.index, m.from);
  EntryId hint = log_.FindConflictByTerm(std::min(m.index, log_.LastIndex()), m.log_term);
  Send({.type = MessageType::kAppResp,
        .to = m.from,
        .log_term = hint.term,
        .index = m.index,
        .reject = true,
        .reject_hint = hint.index});
}

void Raft::HandleHeartbeat(const Message& m) {
  log_.CommitTo(m.commit);
  Send({.type = MessageType::kHeartbeatResp, .to = m.from, .context = m.context});
}

void Raft::HandleSnapshot(const Message& m) {
  if (!m.snapshot) return;
  bool restored = RestoreSnapshot(m.snapshot);
  options_.tracer.Info("%lx [commit: %lu] %s snapshot [index: %lu, term: %lu]", options_.id, log_.committed(),
                       restored ? "restored" : "ignored", m.snapshot->meta.index, m.snapshot->meta.term);
  Send({.type = MessageType::kAppResp, .to = m.from, .index = restored ? log_.LastIndex() : log_.committed()});
}

bool Raft::RestoreSnapshot(const std::shared_ptr<const Snapshot>& s) {
  if (s->meta.index <= log_.committed() || role_ != Role::kFollower) return false;
  const ConfState& cs = s->meta.conf_state;
  auto has = [this](const std::vector<NodeId>& ids) {
    return std::find(ids.begin(), ids.end(), options_.id) != ids.end();
  };
  // A snapshot that does not know this node would leave it without a say and without a way to learn more.
  if (!has(cs.voters) && !has(cs.learners) && !has(cs.voters_outgoing)) {
    options_.tracer.Warning("%lx attempted to restore snapshot but it is not in the ConfState; should never happen",
                            options_.id);
    return false;
  }
  if (log_.Matches({s->meta.term, s->meta.index})) {
    EntryId last = log_.LastId();
    options_.tracer.Info(
        "%lx [commit: %lu, lastindex: %lu, lastterm: %lu] fast-forwarded commit to snapshot [index: %lu, term: %lu]",
        options_.id, log_.committed(), last.index, last.term, s->meta.index, s->meta.term);
    log_.CommitTo(s->meta.index);
    return false;
  }
  auto membership = FromConfState(cs, s->meta.index, options_.limits);
  if (!membership) return false;
  log_.Restore(s);
  SwitchTo(std::move(*membership));
  EntryId last = log_.LastId();
  options_.tracer.Info("%lx [commit: %lu, lastindex: %lu, lastterm: %lu] restored snapshot [index: %lu, term: %lu]",
                       options_.id, log_.committed(), last.index, last.term, s->meta.index, s->meta.term);
  return true;
}

// ---- reads

void Raft::ReadIndex(std::string context) {
  Message m{.type = MessageType::kReadIndex, .from = options_.id};
  m.entries.push_back({.data = std::make_shared<const std::string>(std::move(context))});
  (void)Step(std::move(m));
}

// A leader that has removed itself and left one voter behind must not take itself for that one: the other may lead by
// now.
static bool IsOnlyVoter(const JointConfig& voters, NodeId id) {
  return !voters.joint() && voters.incoming.ids == std::set<NodeId>{id};
}

void Raft::LeaderReadIndex(Message& m) {
  bool alone = IsOnlyVoter(membership_.voters, options_.id);
  // Until something of its own term is committed a leader does not know what is committed (dissertation 6.4).
  if (!CommittedInTerm()) {
    reads_before_commit_.push_back(std::move(m));
  } else if (alone || options_.lease_reads) {
    AnswerRead(m, log_.committed());
  } else {
    AddRead(std::move(m));
  }
}

std::string Raft::ReadContext() const {
  std::string context;
  uint64_t latest = confirmed_reads_ + reads_.size();
  for (int shift = 0; !reads_.empty() && shift < 64; shift += 8) context.push_back(static_cast<char>(latest >> shift));
  return context;
}

bool Raft::IsQuorum(const std::set<NodeId>& ids) const {
  return membership_.voters.CommittedIndex([&](NodeId id) -> uint64_t { return ids.contains(id); }) == 1;
}

void Raft::AddRead(Message request) {
  // Who forwards a read to this leader had, after the read began, not yet voted for a later one: that is what an answer
  // to a heartbeat would say. It says so for this read alone; an earlier one may have begun after it was sent.
  bool alone = IsOnlyVoter(membership_.voters, options_.id);
  if (alone || (request.from != kNone && request.from != options_.id && IsQuorum({options_.id, request.from}))) {
    AnswerRead(request, log_.committed());
    return;
  }
  reads_.push_back({std::move(request), log_.committed()});
  read_acks_[options_.id] = confirmed_reads_ + reads_.size();
  AskAQuorum();
}

// Only as many as are needed, those first that were heard of last. Should one of them be silent, the next ordinary
// heartbeat asks everybody.
void Raft::AskAQuorum() {
  std::vector<std::pair<uint64_t, NodeId>> by_age;
  for (const auto& [id, p] : membership_.progress) {
    if (id != options_.id && membership_.voters.Contains(id)) by_age.emplace_back(ticks_ - p.heard_at, id);
  }
  std::sort(by_age.begin(), by_age.end());
  std::string context = ReadContext();
  std::set<NodeId> asked = {options_.id};
  for (const auto& [age, id] : by_age) {
    SendHeartbeat(id, context);
    asked.insert(id);
    if (IsQuorum(asked)) return;
  }
}

void Raft::AnswerRead(const Message& request, uint64_t index) {
  std::string context(request.entries.empty() ? std::string_view() : request.entries[0].bytes());
  if (request.from == kNone || request.from == options_.id) {
    read_states_.push_back({index, std::move(context)});
  } else {
    // The asker can only answer once it knows that `index` is committed.
    auto p = membership_.progress.find(request.from);
    if (options_.commit_in_passing && p != membership_.progress.end() && p->second.sent_commit < index &&
        p->second.CanBumpCommit(log_.committed())) {
      SendAppend(request.from);
    }
    Send({.type = MessageType::kReadIndexResp, .to = request.from, .index = index, .entries = request.entries});
  }
}

void Raft::AckReads(NodeId from, const std::string& context) {
  if (context.size() != 8) return;
  uint64_t& acked = read_acks_[from];
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) number |= static_cast<uint64_t>(static_cast<unsigned char>(context[i])) << (8 * i);
  acked = std::max(acked, number);
  uint64_t confirmed = membership_.voters.CommittedIndex([this](NodeId id) {
    auto it = read_acks_.find(id);
    return it == read_acks_.end() ? 0 : it->second;
  });
  for (; confirmed_reads_ < confirmed && !reads_.empty(); ++confirmed_reads_) {
    AnswerRead(reads_.front().request, reads_.front().index);
    reads_.pop_front();
  }
}

// ---- membership

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

// ---- output

void Raft::Send(Message m) {
  if (m.from == kNone) m.from = options_.id;
  bool vote_kind = m.type == MessageType::kVote || m.type == MessageType::kVoteResp ||
                   m.type == MessageType::kPreVote || m.type == MessageType::kPreVoteResp;
  // Votes carry the term they are about; proposals and reads are forwarded and carry none.
  if (!vote_kind && m.type != MessageType::kProp && m.type != MessageType::kReadIndex) m.term = term_;
  bool promise =
      m.type == MessageType::kAppResp || m.type == MessageType::kVoteResp || m.type == MessageType::kPreVoteResp;
  (promise ? messages_after_append_ : messages_).push_back(std::move(m));
}

bool Raft::NeedStorageAppend() const {
  return log_.has_next_unstable() || log_.next_snapshot() || hard_state() != previous_hard_ ||
         !messages_after_append_.empty();
}

bool Raft::HasReady() const {
  return SoftState{leader_, role_} != previous_soft_ || !messages_.empty() || !read_states_.empty() ||
         NeedStorageAppend() || log_.HasNextCommitted(options_.apply_unstable);
}

Message Raft::StorageAppendMessage() {
  Message m{.type = MessageType::kStorageAppend, .to = kLocalAppendThread, .from = options_.id};
  m.entries = log_.NextUnstable();
  m.snapshot = log_.next_snapshot();
  if (hard_state() != previous_hard_) {
    m.term = term_;
    m.vote = vote_;
    m.commit = log_.committed();
  }
  m.responses = std::move(messages_after_append_);
  messages_after_append_.clear();
  if (log_.has_unstable() || m.snapshot) {
    // The position is only vouched for while the tail is what it is now: the answer carries this term. Work without
    // entries vouches too, else a tail whose answers were all of an older term would never become stable.
    EntryId last = log_.LastId();
    Message done{.type = MessageType::kStorageAppendResp, .to = options_.id, .from = kLocalAppendThread, .term = term_};
    if (log_.has_unstable()) {
      done.index = last.index;
      done.log_term = last.term;
    }
    done.snapshot = m.snapshot;
    m.responses.push_back(std::move(done));
  }
  return m;
}

Message Raft::StorageApplyMessage(Entries entries) {
  Message m{.type = MessageType::kStorageApply, .to = kLocalApplyThread, .from = options_.id};
  Message done{.type = MessageType::kStorageApplyResp, .to = options_.id, .from = kLocalApplyThread};
  done.entries = entries;
  m.entries = std::move(entries);
  m.responses.push_back(std::move(done));
  return m;
}

Ready Raft::TakeReady() {
  Ready rd;
  SoftState soft{leader_, role_};
  if (soft != previous_soft_) rd.soft_state = soft;
  rd.read_states = std::move(read_states_);
  read_states_.clear();
  rd.messages = std::move(messages_);
  messages_.clear();
  if (NeedStorageAppend()) rd.messages.push_back(StorageAppendMessage());
  Entries committed = log_.NextCommitted(options_.apply_unstable);
  if (!committed.empty()) {
    log_.AcceptApplying(committed, options_.apply_unstable);
    rd.messages.push_back(StorageApplyMessage(std::move(committed)));
  }
  previous_soft_ = soft;
  previous_hard_ = hard_state();
  log_.AcceptUnstable();
  return rd;
}

}  // namespace kvstore::raft
