#include "tests/sim/raft_agreement.h"

#include <algorithm>
#include <optional>

#include "kvstore/wal/wal.h"

namespace tests::sim {

using namespace kvstore;

namespace {

std::string Name(const SimMembers& members, raft::NodeId id) { return "m" + std::to_string(members.Find(id)->number); }

std::string Describe(const SimMembers& members, const replica::Replica& r) {
  std::string out = " term " + std::to_string(r.term()) + " leader " + mvcc::MemberKey(r.leader()) + " applied " +
                    std::to_string(r.applied_index()) + " committed " + std::to_string(r.committed_index()) + " last " +
                    std::to_string(r.last_index()) + " members";
  for (const mvcc::Member& m : r.Members()) out += " " + Name(members, m.id) + (r.IsRemoved(m.id) ? "(removed)" : "");
  out += " voters";
  auto conf = wal::DecodeConfState(r.Mark().conf_state).value_or(raft::ConfState());
  for (raft::NodeId id : conf.voters) out += " " + Name(members, id);
  return out;
}

}  // namespace

bool Settled(const SimMembers& members) {
  const replica::Replica* leader = nullptr;
  for (auto& m : members.all()) {
    if (m->replica && m->replica->is_leader()) leader = m->replica.get();
  }
  if (leader == nullptr || leader->applied_index() != leader->last_index()) return false;
  for (const mvcc::Member& each : leader->Members()) {
    const SimMember& m = *members.Find(each.id);
    if (!m.replica || m.replica->applied_index() != leader->applied_index()) return false;
  }
  return true;
}

std::string CompareHashes(const SimMembers& members) {
  uint64_t applied = 0;
  for (auto& m : members.all()) {
    if (m->replica) applied = std::max(applied, m->replica->applied_index());
  }
  std::optional<uint32_t> first;
  for (auto& m : members.all()) {
    if (!m->replica || m->replica->applied_index() != applied) continue;
    auto hash = m->replica->store().HashAt(0);
    if (!hash) return "no hash";
    if (first && *first != hash->hash) return "members have different hashes";
    first = hash->hash;
  }
  return "";
}

int64_t CompactedEverywhere(const SimMembers& members) {
  int64_t least = INT64_MAX;
  for (auto& m : members.all()) {
    if (m->replica) least = std::min(least, m->replica->store().compact_revision());
  }
  return least;
}

std::string Describe(const SimMembers& members) {
  std::string out;
  for (auto& m : members.all()) {
    out += "\n  m" + std::to_string(m->number) + " " + mvcc::MemberKey(m->id) + (m->gone ? " gone" : "");
    if (m->replica) out += Describe(members, *m->replica);
  }
  return out;
}

}  // namespace tests::sim
