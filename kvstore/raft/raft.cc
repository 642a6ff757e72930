#include "kvstore/raft/raft.h"

#include <algorithm>
#include <cstdio>

namespace kvstore::raft {

using base::Ok;
using base::Status;

namespace {

std::string Hex(NodeId id) {
  char text[24];
  std::snprintf(text, sizeof text, "%lx", id);
  return text;
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
  // unreachable from outside: settings, checked by the service (Config::Check).
  CHECK(options_.id != kNone && options_.election_ticks > options_.heartbeat_ticks);
  auto membership = FromConfState(options_.storage->InitialConfState(), log_.LastIndex(), options_.limits);
  // unreachable from outside: FromConfState takes any; what a peer sends is checked before it is stored (plausible.h).
  CHECK_MSG(membership.has_value(), "stored membership is not valid");
  SwitchTo(std::move(*membership));
  HardState hs = options_.storage->InitialHardState();
  if (!hs.empty()) {
    // unreachable from outside: the replica clamps what its own log says (Replica::MakeRaft).
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

Status Raft::Receive(Message&& m) {
  if (IsLocalMessage(m.type)) return base::InvalidArgument("raft: cannot step raft local message");
  if (IsResponseMessage(m.type) && !membership_.progress.contains(m.from)) {
    return base::InvalidArgument("raft: cannot step as peer not found");
  }
  return Step(std::move(m));
}

Status Raft::Step(Message&& m) {
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

// ---- output

void Raft::Send(Message&& m) {
  if (m.from == kNone) m.from = options_.id;
  bool vote_kind = m.type == MessageType::kVote || m.type == MessageType::kVoteResp ||
                   m.type == MessageType::kPreVote || m.type == MessageType::kPreVoteResp;
  // Votes carry the term they are about; proposals and reads are forwarded and carry none.
  if (!vote_kind && m.type != MessageType::kProp && m.type != MessageType::kReadIndex) m.term = term_;
  bool promise =
      m.type == MessageType::kAppResp || m.type == MessageType::kVoteResp || m.type == MessageType::kPreVoteResp;
  if (promise && messages_after_append_.empty()) messages_after_append_.reserve(2);  // with the append's own answer
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

void Raft::TakeReady(Ready& rd) {
  SoftState soft{leader_, role_};
  rd.soft_state.reset();
  if (soft != previous_soft_) rd.soft_state = soft;
  rd.read_states.clear();
  rd.read_states.swap(read_states_);
  rd.messages.clear();
  rd.messages.swap(messages_);
  if (NeedStorageAppend()) rd.messages.push_back(StorageAppendMessage());
  Entries committed = log_.NextCommitted(options_.apply_unstable);
  if (!committed.empty()) {
    log_.AcceptApplying(committed, options_.apply_unstable);
    rd.messages.push_back(StorageApplyMessage(std::move(committed)));
  }
  previous_soft_ = soft;
  previous_hard_ = hard_state();
  log_.AcceptUnstable();
}

}  // namespace kvstore::raft
