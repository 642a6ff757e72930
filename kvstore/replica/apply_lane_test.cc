#include "kvstore/replica/apply_lane.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/requests.h"
#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

class ApplyLaneTest : public testing::Test {
 protected:
  void SetUp() override {
    lane.on_change = [this](const raft::Entry& e) {
      changes.push_back(e.index);
      return changes_end;
    };
    lane.on_applied = [this] { ++messages; };
    lane.on_compaction = [this] { ++compactions; };
    lane.on_turn = [this] { after_turn.push_back(g.core->applied().index); };
  }
  raft::Message Puts(uint64_t first, uint64_t last) {
    raft::Message m;
    for (uint64_t i = first; i <= last; ++i) m.entries.push_back(TestGround::Entry(i, PutRequest("k", "v")));
    return m;
  }

  TestGround g{{1, 2}};
  Proposals proposals{g.shared, *g.core};
  ApplyLane lane{g.shared, *g.core, proposals};
  std::vector<uint64_t> changes, after_turn;
  base::Status changes_end;
  int messages = 0, compactions = 0;
};

TEST_F(ApplyLaneTest, GoesInBoundedTurnsInTheOrderOfTheLog) {
  lane.Add(Puts(2, 300));
  lane.Add(Puts(301, 310));
  EXPECT_EQ(g.core->applied().index, 1u) << "not inside the call";
  g.executor.RunReady();
  EXPECT_EQ(after_turn, (std::vector<uint64_t>{129, 257, 310}));
  EXPECT_EQ(messages, 2);
  EXPECT_TRUE(lane.empty());
  EXPECT_EQ(g.shared.store->revision(), 1 + 309) << "each once";
}

TEST_F(ApplyLaneTest, WhatMeansNothingIsPassedByEveryMemberAlike) {
  raft::Message m = Puts(2, 2);
  m.entries.push_back(TestGround::Entry(3, "\xff\xff no request"));
  m.entries.push_back(TestGround::Entry(4, ""));
  m.entries.push_back(TestGround::Entry(5, PutRequest("k", "v")));
  m.entries.push_back({.type = raft::EntryType::kConfChange, .term = 1, .index = 6});
  lane.Add(std::move(m));
  g.executor.RunReady();
  EXPECT_EQ(g.core->applied().index, 6u);
  EXPECT_EQ(changes, (std::vector<uint64_t>{6}));
  EXPECT_EQ(g.shared.store->revision(), 3);
  EXPECT_FALSE(g.shared.life.failed());
}

TEST_F(ApplyLaneTest, AnErrorOfTheStateEndsIt) {
  changes_end = base::DataLoss("broken");
  raft::Message m = Puts(2, 2);
  m.entries.push_back({.type = raft::EntryType::kConfChange, .term = 1, .index = 3});
  m.entries.push_back(TestGround::Entry(4, PutRequest("k", "v")));
  lane.Add(std::move(m));
  g.executor.RunReady();
  EXPECT_EQ(g.core->applied().index, 2u);
  EXPECT_EQ(g.shared.life.failure().message(), "apply of entry 3: broken");
  lane.Schedule();
  g.executor.RunReady();
  EXPECT_EQ(g.core->applied().index, 2u);
}

// A proposal of this member is answered by its application.
TEST_F(ApplyLaneTest, AnswersWhoProposed) {
  TestGround alone;
  alone.Lead();
  Proposals mine(alone.shared, *alone.core);
  ApplyLane applies(alone.shared, *alone.core, mine);
  int compacted = 0;
  applies.on_applied = applies.on_turn = [] {};
  applies.on_compaction = [&] { ++compacted; };
  std::optional<base::Result<mvcc::Answer>> answer;
  base::Spawn(alone.executor, alone.executor.Store(mine.Propose({}, PutRequest("a", "1"), {}), answer));
  alone.executor.RunReady();
  EXPECT_EQ(mine.size(), 1u);
  alone.Drain();
  uint64_t last = alone.core->raft().log().LastIndex();
  applies.Add({.entries = *alone.core->storage().Slice(2, last + 1, 1 << 20)});
  alone.executor.RunReady();
  ASSERT_TRUE(answer.has_value() && answer->has_value());
  EXPECT_EQ((*answer)->revision, 2);
  EXPECT_EQ(mine.size(), 0u);
  std::string inner, compact;
  wire::PutUint(inner, 1, 2);
  wire::PutBytes(compact, 7, inner);
  applies.Add({.entries = {TestGround::Entry(last + 1, compact)}});
  alone.executor.RunReady();
  EXPECT_EQ(compacted, 1);
}

}  // namespace
}  // namespace kvstore::replica
