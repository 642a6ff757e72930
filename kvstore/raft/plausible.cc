#include "kvstore/raft/plausible.h"

#include <algorithm>
#include <set>

namespace kvstore::raft {

using base::Ok;
using base::Status;

namespace {

Status Impossible(const Message& m, std::string_view why) {
  std::string text = "raft: impossible ";
  text += MessageTypeName(m.type);
  text += ": ";
  text += why;
  return base::DataLoss(text);
}

bool IsReserved(NodeId id) { return id == kNone || id == kLocalAppendThread || id == kLocalApplyThread; }

// Handed on in the name of who asked first, perhaps by a member that led until a moment ago.
bool IsForwarded(MessageType t) {
  return t == MessageType::kProp || t == MessageType::kReadIndex || t == MessageType::kTransferLeader;
}

bool IsFromLeader(MessageType t) {
  return t == MessageType::kApp || t == MessageType::kHeartbeat || t == MessageType::kSnap ||
         t == MessageType::kTimeoutNow;
}

Status CheckWho(const Message& m, NodeId sender, const Raft& core) {
  if (IsLocalMessage(m.type) || m.type == MessageType::kForgetLeader)
    return Impossible(m, "a member tells itself this");
  if (IsReserved(sender) || sender == core.id()) return Impossible(m, "sent by nobody");
  if (m.to != core.id()) return Impossible(m, "for another member");
  if (IsReserved(m.from)) return Impossible(m, "from nobody");
  if (!IsForwarded(m.type) && m.from != sender) return Impossible(m, "from another member than its sender");
  return Ok();
}

Status CheckNumbers(const Message& m, const Raft& core) {
  if (std::max({m.index, m.commit, m.reject_hint}) > kMaxIndex) return Impossible(m, "an index out of range");
  if (m.context.size() > kMaxContextBytes) return Impossible(m, "a context too long");
  if (m.type == MessageType::kProp || m.type == MessageType::kReadIndex) {
    return m.term == 0 && m.log_term == 0 ? Ok() : Impossible(m, "what is handed on has no term");
  }
  if (m.term == 0 || m.term > kMaxTerm || m.term > core.term() + kMaxTermJump) {
    return Impossible(m, "a term out of range");
  }
  if (m.log_term > m.term) return Impossible(m, "the log is of a later term than the message");
  return Ok();
}

// Entries that follow one another, of terms that do not fall.
Status CheckAppended(const Message& m) {
  uint64_t index = m.index, term = std::max<uint64_t>(m.log_term, 1);
  for (const Entry& e : m.entries) {
    if (e.index != ++index) return Impossible(m, "entries do not follow one another");
    if (e.term < term || e.term > m.term) return Impossible(m, "an entry's term is out of order");
    term = e.term;
  }
  return index <= kMaxIndex ? Ok() : Impossible(m, "an index out of range");
}

Status CheckEntries(const Message& m) {
  size_t changes = 0;
  switch (m.type) {
    case MessageType::kApp:
      return CheckAppended(m);
    case MessageType::kProp:
      for (const Entry& e : m.entries) changes += e.type != EntryType::kNormal;
      if (m.entries.empty()) return Impossible(m, "it proposes nothing");
      return changes == 0 || m.entries.size() == 1 ? Ok() : Impossible(m, "a change of members goes by itself");
    case MessageType::kReadIndex:
    case MessageType::kReadIndexResp:
      if (m.entries.size() != 1) return Impossible(m, "it is of one read");
      return m.entries[0].bytes().size() <= kMaxContextBytes ? Ok() : Impossible(m, "a context too long");
    default:
      return m.entries.empty() ? Ok() : Impossible(m, "it has no entries");
  }
}

Status CheckSnapshot(const Message& m, const Log& log) {
  if (!m.snapshot) return m.type == MessageType::kSnap ? Impossible(m, "without a snapshot") : Ok();
  if (m.type != MessageType::kSnap) return Impossible(m, "with a snapshot");
  const SnapshotMeta& meta = m.snapshot->meta;
  if (meta.index == 0 || meta.index > kMaxIndex) return Impossible(m, "an index out of range");
  if (meta.term == 0 || meta.term > m.term) return Impossible(m, "a term out of range");
  if (Status s = CheckConfState(meta.conf_state); !s.ok()) return Impossible(m, s.message());
  if (meta.index > log.committed()) {
    bool older = meta.term < log.TermOrZero(log.committed());
    return older ? Impossible(m, "newer than what is committed, of an older term") : Ok();
  }
  uint64_t ours = log.TermOrZero(meta.index);
  return ours == 0 || ours == meta.term ? Ok() : Impossible(m, "it contradicts what is committed");
}

// A leader has everything that is committed (Raft 5.4).
Status CheckAgainstCommitted(const Message& m, const Log& log) {
  auto contradicts = [&log](uint64_t index, uint64_t term) {
    uint64_t ours = index <= log.committed() ? log.TermOrZero(index) : 0;
    return ours != 0 && term != 0 && ours != term;
  };
  bool bad = contradicts(m.index, m.log_term);
  // Entries that follow what is committed are new: an ordinary append ends here.
  for (size_t i = 0; i < m.entries.size() && m.entries[i].index <= log.committed(); ++i) {
    bad |= contradicts(m.entries[i].index, m.entries[i].term);
  }
  return bad ? Impossible(m, "it contradicts what is committed") : Ok();
}

Status CheckLeaders(const Message& m, const Raft& core) {
  if (m.term == core.term() && core.leader() != kNone && core.leader() != m.from) {
    return Impossible(m, "two leaders in one term");
  }
  // A leader tells no further than it has been told that this member has.
  if (m.type == MessageType::kHeartbeat && m.commit > core.log().LastIndex()) {
    return Impossible(m, "it commits what this member does not have");
  }
  return m.type == MessageType::kApp ? CheckAgainstCommitted(m, core.log()) : Ok();
}

// To the leader that this member is.
Status CheckAnswers(const Message& m, const Raft& core) {
  if (m.type == MessageType::kAppResp) {
    if (m.index > core.log().LastIndex()) return Impossible(m, "it has more than this leader");
    if (m.reject && m.reject_hint > m.index) return Impossible(m, "the hint is beyond what it refuses");
  }
  if (m.type == MessageType::kHeartbeatResp && core.ConfirmsTooMuch(m.context)) {
    return Impossible(m, "it confirms a read that was not asked");
  }
  return Ok();
}

}  // namespace

Status CheckConfState(const ConfState& s) {
  auto bad = [](std::string_view why) { return base::DataLoss("a membership " + std::string(why)); };
  size_t all = s.voters.size() + s.learners.size() + s.voters_outgoing.size() + s.learners_next.size();
  if (s.voters.empty()) return bad("without voters");
  if (all > kMaxMembers) return bad("too large");
  std::set<NodeId> voters(s.voters.begin(), s.voters.end()), learners(s.learners.begin(), s.learners.end());
  std::set<NodeId> outgoing(s.voters_outgoing.begin(), s.voters_outgoing.end());
  std::set<NodeId> next(s.learners_next.begin(), s.learners_next.end());
  if (voters.size() + learners.size() + outgoing.size() + next.size() != all) return bad("that names a member twice");
  for (const auto* ids : {&voters, &learners, &outgoing}) {
    if (std::ranges::any_of(*ids, IsReserved)) return bad("that names nobody");
  }
  auto votes = [&](NodeId id) { return voters.contains(id) || outgoing.contains(id); };
  if (std::ranges::any_of(learners, votes)) return bad("with a learner that votes");
  bool ends = std::ranges::all_of(next, [&](NodeId id) { return outgoing.contains(id) && !voters.contains(id); });
  if (!ends) return bad("with a learner to be that does not vote");
  if (outgoing.empty() && s.auto_leave) return bad("that leaves what it is not in");
  return Ok();
}

Status CheckPeerMessage(const Message& m, NodeId sender, const Raft& core) {
  TRY(CheckWho(m, sender, core));
  TRY(CheckNumbers(m, core));
  TRY(CheckEntries(m));
  if (m.index == 0 && m.log_term != 0 && (m.type == MessageType::kApp || m.type == MessageType::kVote)) {
    return Impossible(m, "a term before all entries");
  }
  if (m.term != 0 && m.term < core.term()) return Ok();  // of the past: whatever it says is ignored
  TRY(CheckSnapshot(m, core.log()));
  if (IsFromLeader(m.type)) return CheckLeaders(m, core);
  if (core.role() == Role::kLeader && m.term == core.term()) return CheckAnswers(m, core);
  return Ok();
}

}  // namespace kvstore::raft
