// The log from the leader to the followers (Raft 5.3, 7 for snapshots), and how far it is committed (5.4.2).
#include <algorithm>

#include "kvstore/raft/raft.h"

namespace kvstore::raft {

using base::Ok;
using base::Result;
using base::Status;

namespace {

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

}  // namespace

// ---- leader

Status Raft::Propose(std::shared_ptr<const std::string> data) {
  Message m{.type = MessageType::kProp, .from = options_.id};
  m.entries.push_back({.data = std::move(data)});
  return Step(std::move(m));
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
      // It may be the one that the reads count on. Once: those who cannot be reached now are reported in their turn.
      if (asked_everybody_ < LatestRead()) BroadcastHeartbeat();
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

void Raft::ReportUnreachable(NodeId id) { (void)Step({.type = MessageType::kUnreachable, .from = id}); }
void Raft::ReportSnapshot(NodeId id, bool failed) {
  (void)Step({.type = MessageType::kSnapStatus, .from = id, .reject = failed});
}

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
  asked_everybody_ = LatestRead();
  std::string context = ReadContext();
  for (auto& [id, p] : membership_.progress) {
    if (id != options_.id) SendHeartbeat(id, context);
  }
}

void Raft::SendHeartbeat(NodeId to, const std::string& context) {
  // unreachable from outside: whoever calls takes `to` from the members.
  Progress& p = membership_.progress.at(to);
  // A follower must not commit what it does not have yet.
  uint64_t commit = std::min(p.match, log_.committed());
  Send({.type = MessageType::kHeartbeat, .to = to, .commit = commit, .context = context});
  p.sent_commit = commit;
}

bool Raft::MaybeSendAppend(NodeId to, bool send_if_empty) {
  // unreachable from outside: `to` is a member; of messages only those of members come here (StepLeader, AnswerRead).
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
  uint64_t committed = log_.committed();
  uint64_t last = log_.MaybeAppend({m.log_term, m.index}, m.commit, m.entries);
  if (last != 0 || (m.index == 0 && m.entries.empty())) {
    // It only told how far the log is committed, and the leader knows what there is of it here. Should that answer have
    // been lost, what comes after the next heartbeat is answered: the commit index does not move twice.
    if (options_.commit_in_passing && m.entries.empty() && last <= acknowledged_ && log_.committed() > committed)
      return;
    acknowledged_ = last;
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

}  // namespace kvstore::raft
