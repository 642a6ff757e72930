// Linearizable reads: a read is answered when a quorum has confirmed, after it came, who leads (dissertation 6.4).
#include <algorithm>

#include "kvstore/raft/raft.h"

namespace kvstore::raft {

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
  uint64_t latest = LatestRead();
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
  read_acks_[options_.id] = LatestRead();
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

static uint64_t ReadNumber(const std::string& context) {
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) number |= static_cast<uint64_t>(static_cast<unsigned char>(context[i])) << (8 * i);
  return number;
}

bool Raft::ConfirmsTooMuch(const std::string& context) const {
  return context.size() == 8 && ReadNumber(context) > LatestRead();
}

void Raft::AckReads(NodeId from, const std::string& context) {
  if (context.size() != 8) return;
  uint64_t& acked = read_acks_[from];
  uint64_t number = ReadNumber(context);
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

}  // namespace kvstore::raft
