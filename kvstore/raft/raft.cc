#include "kvstore/raft/raft.h"

#include <algorithm>

namespace kvstore::raft {

using base::Err;
using base::Ok;
using base::Result;
using base::Status;

namespace {

constexpr std::string_view kTransferContext = "CampaignTransfer";

Status Dropped() { return base::Unavailable("raft proposal dropped"); }

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
    : options_(options), random_(random), log_(options.storage, options.max_applying_bytes) {
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
}

void Raft::BecomeCandidate() {
  CHECK(role_ != Role::kLeader);
  Reset(term_ + 1);
  vote_ = options_.id;
  role_ = Role::kCandidate;
}

void Raft::BecomePreCandidate() {
  CHECK(role_ != Role::kLeader);
  // Neither term nor vote change: a pre-vote disturbs nobody.
  votes_.clear();
  leader_ = kNone;
  role_ = Role::kPreCandidate;
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
}

bool Raft::Promotable() const {
  return membership_.progress.contains(options_.id) && !is_learner_ && !log_.pending_snapshot();
}

void Raft::RandomizeElectionTimeout() {
  randomized_election_ticks_ =
      options_.election_ticks + static_cast<int>(random_.Below(static_cast<uint64_t>(options_.election_ticks)));
}

void Raft::Tick() {
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
    if (options_.check_quorum) {
      bool active = membership_.QuorumActive(options_.id);
      for (auto& [id, p] : membership_.progress) {
        if (id != options_.id) p.recent_active = false;
      }
      if (!active) BecomeFollower(term_, kNone);
    }
    // A transfer that took an election timeout has failed.
    transferee_ = kNone;
  }
  if (role_ == Role::kLeader && heartbeat_elapsed_ >= options_.heartbeat_ticks) {
    heartbeat_elapsed_ = 0;
    BroadcastHeartbeat(reads_.empty() ? std::string() : reads_.back().request.context);
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
  // A committed but unapplied change may have taken this node's vote away.
  if (role_ == Role::kLeader || !Promotable() || HasUnappliedConfChange()) return;
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
      Send({.type = type == MessageType::kVote ? MessageType::kVoteResp : MessageType::kPreVoteResp,
            .to = id,
            .term = term});
      continue;
    }
    Message m{.type = type, .to = id, .term = term, .log_term = last.term, .index = last.index};
    if (kind == Campaigning::kTransfer) m.context = kTransferContext;
    Send(std::move(m));
  }
}

VoteResult Raft::Poll(NodeId id, bool granted, size_t*) {
  votes_.emplace(id, granted);
  return membership_.Vote(votes_);
}

void Raft::StepVote(const Message& m) {
  bool can_vote =
      vote_ == m.from || (vote_ == kNone && leader_ == kNone) || (m.type == MessageType::kPreVote && m.term > term_);
  bool pre = m.type == MessageType::kPreVote;
  Message answer{.type = pre ? MessageType::kPreVoteResp : MessageType::kVoteResp, .to = m.from};
  if (can_vote && log_.IsUpToDate({m.log_term, m.index})) {
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
      switch (Poll(m.from, !m.reject, nullptr)) {
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
      if (!force && in_lease) return false;
    }
    bool keeps_term = m.type == MessageType::kPreVote || (m.type == MessageType::kPreVoteResp && !m.reject);
    if (!keeps_term) {
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
    Send({.type = MessageType::kPreVoteResp, .to = m.from, .term = term_, .reject = true});
  } else if (m.type == MessageType::kStorageAppendResp && m.snapshot) {
    // Log positions of an older term may have been overwritten; a snapshot stays what it is.
    log_.StableSnapshotTo(m.snapshot->meta.index);
    AppliedTo(std::max(m.snapshot->meta.index, log_.applied()), 0);
  }
  return false;
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
    AppliedTo(std::max(m.snapshot->meta.index, log_.applied()), 0);
  }
}

void Raft::StepStorageApplyResp(const Message& m) {
  if (m.entries.empty()) return;
  uint64_t bytes = PayloadSize(m.entries);
  AppliedTo(m.entries.back().index, bytes);
  uncommitted_bytes_ -= std::min(uncommitted_bytes_, bytes);
}

void Raft::AppliedTo(uint64_t index, uint64_t bytes) {
  log_.AppliedTo(std::max(index, log_.applied()), bytes);
  if (membership_.auto_leave && index >= pending_conf_index_ && role_ == Role::kLeader) {
    // The joint configuration is in force: an empty change leaves it again.
    Entry e{.type = EntryType::kConfChangeV2};
    if (AppendEntries({e})) {
      pending_conf_index_ = log_.LastIndex();
      BroadcastAppend();
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
  if (role_ == Role::kLeader) {
    bool pending = pending_conf_index_ > log_.applied();
    bool joint = membership_.voters.joint();
    // Refused changes keep their place in the log as empty entries, so that proposals are answered in order.
    if (pending || (joint && !change.leaves_joint()) || (!joint && change.leaves_joint())) {
      Message m{.type = MessageType::kProp, .from = options_.id};
      m.entries.push_back({});
      return Step(std::move(m));
    }
  }
  Message m{.type = MessageType::kProp, .from = options_.id};
  m.entries.push_back({.type = type, .data = std::move(data)});
  return Step(std::move(m));
}

Status Raft::LeaderPropose(Message& m) {
  if (!membership_.progress.contains(options_.id) || transferee_ != kNone) return Dropped();
  for (size_t i = 0; i < m.entries.size(); ++i) {
    if (m.entries[i].type != EntryType::kNormal) pending_conf_index_ = log_.LastIndex() + i + 1;
  }
  if (!AppendEntries(std::move(m.entries))) return Dropped();
  BroadcastAppend();
  return Ok();
}

bool Raft::AppendEntries(Entries entries) {
  uint64_t last = log_.LastIndex();
  uint64_t bytes = 0;
  bool empty = true;
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].term = term_;
    entries[i].index = last + 1 + i;
    bytes += EntrySize(entries[i]);
    empty = empty && entries[i].bytes().empty();
  }
  // An empty entry (a new leader's first, leaving a joint configuration) is never refused.
  if (uncommitted_bytes_ > 0 && !empty && uncommitted_bytes_ + bytes > options_.max_uncommitted_bytes) return false;
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
    default:
      break;
  }
  auto it = membership_.progress.find(m.from);
  if (it == membership_.progress.end()) return Ok();
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
      // Wait for the follower's own word (or a heartbeat) before the next try.
      p.paused = true;
      break;
    case MessageType::kUnreachable:
      if (p.state == ProgressState::kReplicate) p.BecomeProbe();
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
  if (m.reject) {
    // The follower names the largest entry of its log that can agree with ours; skipping whole terms on our side too
    // finds the meeting point in a few rounds.
    uint64_t next_probe = m.reject_hint;
    if (m.log_term > 0) next_probe = log_.FindConflictByTerm(m.reject_hint, m.log_term).index;
    if (p.MaybeDecrease(m.index, next_probe)) {
      if (p.state == ProgressState::kReplicate) p.BecomeProbe();
      SendAppend(m.from);
    }
    return;
  }
  bool was_paused = p.IsPaused();
  bool at_hand = p.MaybeUpdate(m.index) || (p.match == m.index && p.state == ProgressState::kProbe);
  if (!at_hand) return;
  switch (p.state) {
    case ProgressState::kProbe:
      p.BecomeReplicate();
      break;
    case ProgressState::kSnapshot:
      if (p.match + 1 >= log_.FirstIndex()) {
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
    for (Message& r : waiting) AddRead(std::move(r), log_.committed());
    BroadcastAppend();
  } else if (was_paused && m.from != options_.id) {
    SendAppend(m.from);
  }
  if (m.from != options_.id) {
    while (MaybeSendAppend(m.from, false)) {
    }
    if (m.from == transferee_ && p.match == log_.LastIndex()) SendTimeoutNow(m.from);
  }
}

void Raft::LeaderHeartbeatResp(Progress& p, const Message& m) {
  p.recent_active = true;
  p.paused = p.state == ProgressState::kReplicate && p.inflights.full() ? true : false;
  // A full window is opened for one message, else a lost append could stall the follower for ever.
  if (p.state == ProgressState::kReplicate) p.paused = false;
  if (p.match < log_.LastIndex() || p.state == ProgressState::kProbe) SendAppend(m.from);
  if (!m.context.empty()) AckReads(m.from, m.context);
}

void Raft::TransferLeader(NodeId to) { (void)Step({.type = MessageType::kTransferLeader, .from = to}); }
void Raft::ReportUnreachable(NodeId id) { (void)Step({.type = MessageType::kUnreachable, .from = id}); }
void Raft::ReportSnapshot(NodeId id, bool failed) {
  (void)Step({.type = MessageType::kSnapStatus, .from = id, .reject = failed});
}

void Raft::LeaderTransfer(const Message& m) {
  Progress& p = membership_.progress.at(m.from);
  if (p.learner || m.from == options_.id || transferee_ == m.from) return;
  election_elapsed_ = 0;
  transferee_ = m.from;
  if (p.match == log_.LastIndex()) {
    SendTimeoutNow(m.from);
  } else {
    p.paused = false;
    SendAppend(m.from);
  }
}

void Raft::SendTimeoutNow(NodeId to) { Send({.type = MessageType::kTimeoutNow, .to = to}); }

void Raft::BroadcastAppend() {
  for (auto& [id, p] : membership_.progress) {
    if (id != options_.id) SendAppend(id);
  }
}

void Raft::BroadcastHeartbeat(const std::string& context) {
  for (auto& [id, p] : membership_.progress) {
    if (id != options_.id) SendHeartbeat(id, context);
  }
}

void Raft::SendHeartbeat(NodeId to, const std::string& context) {
  Progress& p = membership_.progress.at(to);
  // A follower must not commit what it does not have yet.
  uint64_t commit = std::min(p.match, log_.committed());
  Send({.type = MessageType::kHeartbeat, .to = to, .commit = commit, .context = context});
  p.sent_commit = std::max(p.sent_commit, commit);
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
  if (!p.recent_active) return false;
  auto s = log_.pending_snapshot() ? Result<std::shared_ptr<const Snapshot>>(log_.pending_snapshot())
                                   : log_.storage().LatestSnapshot();
  if (!s) return false;  // it is being made; a later heartbeat's answer asks again
  p.BecomeSnapshot((*s)->meta.index);
  Send({.type = MessageType::kSnap, .to = to, .snapshot = std::move(*s)});
  return true;
}

// ---- follower

Status Raft::StepFollower(Message& m) {
  switch (m.type) {
    case MessageType::kProp:
      if (leader_ == kNone) return Dropped();
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
      if (leader_ == kNone) break;
      m.to = leader_;
      Send(std::move(m));
      break;
    case MessageType::kForgetLeader:
      leader_ = kNone;
      break;
    case MessageType::kTimeoutNow:
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
  Send({.type = MessageType::kAppResp, .to = m.from, .index = restored ? log_.LastIndex() : log_.committed()});
}

bool Raft::RestoreSnapshot(const std::shared_ptr<const Snapshot>& s) {
  if (s->meta.index <= log_.committed() || role_ != Role::kFollower) return false;
  const ConfState& cs = s->meta.conf_state;
  auto has = [this](const std::vector<NodeId>& ids) {
    return std::find(ids.begin(), ids.end(), options_.id) != ids.end();
  };
  // A snapshot that does not know this node would leave it without a say and without a way to learn more.
  if (!has(cs.voters) && !has(cs.learners) && !has(cs.voters_outgoing)) return false;
  if (log_.Matches({s->meta.term, s->meta.index})) {
    log_.CommitTo(s->meta.index);
    return false;
  }
  auto membership = FromConfState(cs, log_.LastIndex(), options_.limits);
  if (!membership) return false;
  log_.Restore(s);
  SwitchTo(std::move(*membership));
  return true;
}

// ---- reads

void Raft::ReadIndex(std::string context) {
  Message m{.type = MessageType::kReadIndex, .from = options_.id};
  m.entries.push_back({.data = std::make_shared<const std::string>(std::move(context))});
  (void)Step(std::move(m));
}

void Raft::LeaderReadIndex(Message& m) {
  bool alone = !membership_.voters.joint() && membership_.voters.incoming.ids.size() == 1;
  // Until something of its own term is committed a leader does not know what is committed (dissertation 6.4).
  if (!CommittedInTerm()) {
    reads_before_commit_.push_back(std::move(m));
    return;
  }
  if (alone) {
    AnswerRead(m, log_.committed());
    return;
  }
  uint64_t index = log_.committed();
  AddRead(std::move(m), index);
}

void Raft::AddRead(Message request, uint64_t index) {
  bool alone = !membership_.voters.joint() && membership_.voters.incoming.ids.size() == 1;
  if (alone) {
    AnswerRead(request, index);
    return;
  }
  std::string context(request.entries.empty() ? std::string_view() : request.entries[0].bytes());
  request.context = context;
  reads_.push_back({std::move(request), index, {{options_.id, true}}});
  BroadcastHeartbeat(context);
}

void Raft::AnswerRead(const Message& request, uint64_t index) {
  std::string context(request.entries.empty() ? std::string_view() : request.entries[0].bytes());
  if (request.from == kNone || request.from == options_.id) {
    read_states_.push_back({index, std::move(context)});
  } else {
    Send({.type = MessageType::kReadIndexResp, .to = request.from, .index = index, .entries = request.entries});
  }
}

void Raft::AckReads(NodeId from, const std::string& context) {
  auto it =
      std::find_if(reads_.begin(), reads_.end(), [&](const PendingRead& r) { return r.request.context == context; });
  if (it == reads_.end()) return;
  it->acks[from] = true;
  if (membership_.Vote(it->acks) != VoteResult::kWon) return;
  // A quorum that confirms one read confirms all that came before it.
  auto end = std::next(it);
  for (auto r = reads_.begin(); r != end; ++r) AnswerRead(r->request, r->index);
  reads_.erase(reads_.begin(), end);
}

// ---- membership

void Raft::SwitchTo(Membership m) {
  membership_ = std::move(m);
  is_learner_ = membership_.IsLearner(options_.id);
}

Result<ConfState> Raft::ApplyConfChange(const ConfChange& change) {
  bool refused = !change.changes.empty() && std::all_of(change.changes.begin(), change.changes.end(),
                                                        [](const auto& c) { return c.node_id == kNone; });
  if (refused) return membership_.ToConfState();
  TRY_ASSIGN(Membership next, ApplyChange(membership_, change, log_.LastIndex(), options_.limits));
  SwitchTo(std::move(next));
  ConfState cs = membership_.ToConfState();
  bool removed = !membership_.progress.contains(options_.id);
  if ((removed || is_learner_) && role_ == Role::kLeader) return cs;  // steps down when it is told so or partitioned
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
  if (log_.has_next_unstable() || m.snapshot) {
    // The position is only vouched for while the tail is what it is now: the answer carries this term.
    EntryId last = log_.LastId();
    Message done{.type = MessageType::kStorageAppendResp, .to = options_.id, .from = kLocalAppendThread, .term = term_};
    if (log_.has_next_unstable()) {
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
