#include "kvstore/replica/membership_desk.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

using raft::ConfChangeType;
using std::chrono::seconds;

class MembershipDeskTest : public testing::Test {
 protected:
  void SetUp() override {
    for (uint64_t id : {1, 2}) {
      g.shared.store->buckets()["members"][mvcc::MemberKey(id)] = mvcc::MemberToJson(Member(id));
    }
    desk.on_removed = [this] { ++removed; };
  }
  static mvcc::Member Member(uint64_t id, bool learner = false) {
    std::string name = "m" + std::to_string(id);
    return {.id = id, .name = name, .peer_urls = {"http://" + name + ":2380"}, .is_learner = learner};
  }
  // Proposes it, and applies the entry as if the core had committed it; what the proposer is told.
  base::Status Change(ConfChangeType type, uint64_t member, const std::string& context = "") {
    uint64_t id = ++last_id;
    std::optional<base::Result<mvcc::Answer>> answer;
    base::Spawn(g.executor, g.executor.Store(proposals.ProposeEntry({}, id, [] { return base::Ok(); }), answer));
    g.executor.RunReady();
    raft::Entry e{.type = raft::EntryType::kConfChange, .term = 1, .index = g.core->applied().index + 1};
    e.data = std::make_shared<const std::string>(wal::EncodeConfChangeV1(id, type, member, context));
    EXPECT_TRUE(desk.Apply(e).ok());
    g.core->Applied(e);
    g.executor.RunReady();
    EXPECT_TRUE(answer.has_value() && answer->has_value());
    return answer && *answer ? (*answer)->error : base::Unavailable("no answer");
  }
  const raft::ConfState& conf() { return g.core->applied().conf_state; }

  TestGround g{{1, 2}};
  Proposals proposals{g.shared, *g.core};
  Reads reads{g.shared, *g.core};
  MembershipDesk desk{g.shared, *g.core, proposals, reads};
  uint64_t last_id = 100;
  int removed = 0;
};

TEST_F(MembershipDeskTest, AnEntryChangesCoreAndStoreOrNothing) {
  g.Follow(2);
  EXPECT_TRUE(Change(ConfChangeType::kAddLearnerNode, 3, mvcc::MemberToJson(Member(3, true))).ok());
  EXPECT_EQ(conf().learners, (std::vector<raft::NodeId>{3}));
  EXPECT_EQ(desk.Members().size(), 3u);
  EXPECT_EQ(Change(ConfChangeType::kAddLearnerNode, 3, mvcc::MemberToJson(Member(3, true))), mvcc::ErrMemberExists());
  EXPECT_EQ(Change(ConfChangeType::kRemoveNode, 9), mvcc::ErrMemberNotFound());
  EXPECT_EQ(conf().learners.size() + conf().voters.size(), 3u);
  MemberChange promotion = Promotion(3);
  EXPECT_TRUE(Change(promotion.type, 3, promotion.context).ok());
  EXPECT_EQ(conf().voters, (std::vector<raft::NodeId>{1, 2, 3}));
  EXPECT_TRUE(conf().learners.empty());
  EXPECT_TRUE(Change(ConfChangeType::kRemoveNode, 3).ok());
  EXPECT_TRUE(desk.IsRemoved(3));
  EXPECT_EQ(Change(ConfChangeType::kAddNode, 3, mvcc::MemberToJson(Member(3))), mvcc::ErrMemberNotFound());
  EXPECT_EQ(removed, 0);
}

TEST_F(MembershipDeskTest, ItsOwnRemovalIsToldOnceAndNotAtOnce) {
  g.Follow(2);
  EXPECT_TRUE(Change(ConfChangeType::kRemoveNode, 1).ok());
  EXPECT_EQ(removed, 0) << "the others hear of it first";
  g.executor.RunFor(seconds(2));
  EXPECT_EQ(removed, 1);
}

TEST_F(MembershipDeskTest, AnEntryThatMeansNothingChangesNothing) {
  raft::Entry e{.type = raft::EntryType::kConfChange, .term = 1, .index = 2};
  e.data = std::make_shared<const std::string>("\xff\xff");
  EXPECT_TRUE(desk.Apply(e).ok());
  EXPECT_EQ(conf().voters, (std::vector<raft::NodeId>{1, 2}));
}

TEST_F(MembershipDeskTest, OnlyTheLeaderHandsOverAndPromotes) {
  g.Follow(2);
  EXPECT_EQ(g.Await(desk.MoveLeader({}, 2)), mvcc::ErrNotLeader());
  auto promoted = g.Await(desk.Promote({}, 2, ""));
  ASSERT_TRUE(promoted.has_value() && !promoted->has_value());
  EXPECT_EQ(promoted->error(), mvcc::ErrStopped()) << "nobody to ask";
}

}  // namespace
}  // namespace kvstore::replica
