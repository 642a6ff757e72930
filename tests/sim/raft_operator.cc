#include "tests/sim/raft_operator.h"

#include <algorithm>

#include "kvstore/mvcc/member_id.h"

namespace tests::sim {

using base::Context;
using base::Task;
using namespace kvstore;
using std::chrono::milliseconds;

namespace {

constexpr size_t kMostMembersEver = 9;

}  // namespace

Task<void> Operator::Live() {
  base::Random& random = world_.random;
  while (!world_.finishing && members_.all().size() < kMostMembersEver) {
    (void)co_await base::Sleep(world_.executor, Context(), milliseconds(1000 + random.Below(4000)));
    SimMember* m = members_.AnyOpen();
    if (m == nullptr || world_.finishing) continue;
    Context ctx = Context().WithTimeout(m->clock, kRequestTimeout);
    auto members = m->replica->Members();
    auto learner = std::find_if(members.begin(), members.end(), [](const auto& each) { return each.is_learner; });
    if (learner != members.end() && !random.OneIn(4)) {
      world_.figures["learners promoted"] += (co_await m->replica->PromoteMember(ctx, learner->id)).has_value();
      continue;
    }
    if (static_cast<int>(members.size()) > world_.options.members) {
      uint64_t victim = members[random.Below(members.size())].id;
      auto left = co_await m->replica->ChangeMembers(ctx, {raft::ConfChangeType::kRemoveNode, victim, ""});
      world_.figures["membership changes"] += left.has_value();
      continue;
    }
    co_await Grow(*m, ctx);
  }
}

Task<void> Operator::Grow(SimMember& through, Context ctx) {
  uint64_t cluster = through.replica->cluster_id();
  SimMember& fresh = members_.Add("later");
  fresh.gone = true;  // until it is in
  mvcc::Member m{.id = fresh.id, .peer_urls = fresh.options.peer_urls};
  m.is_learner = world_.random.OneIn(2);
  auto type = m.is_learner ? raft::ConfChangeType::kAddLearnerNode : raft::ConfChangeType::kAddNode;
  auto members = co_await through.replica->ChangeMembers(ctx, {type, m.id, mvcc::MemberToJson(m)});
  // An addition that seems to have failed may still come to pass (or have done so: a doubled proposal is refused the
  // second time), and then its vote is needed. Who is not in after all, waits in vain.
  world_.figures["membership changes"] += members.has_value();
  fresh.gone = false;
  fresh.options.existing = replica::Options::Existing{.cluster_id = cluster, .member_id = m.id, .members = {m}};
  members_.Open(fresh);
}

}  // namespace tests::sim
