#include "kvstore/replica/core.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

using std::chrono::milliseconds;

TEST(Life, EndsOnceAndForAll) {
  base::testing::SimExecutor executor(1);
  std::vector<std::string> told;
  int ran = 0;
  Life life(executor);
  life.on_failure = [&](const base::Status& why) { told.emplace_back(why.message()); };
  EXPECT_TRUE(life.usable());
  life.Fail(base::DataLoss("first"));
  life.Fail(base::DataLoss("second"));
  EXPECT_EQ(told, (std::vector<std::string>{"first"}));
  EXPECT_TRUE(life.failed());
  EXPECT_FALSE(life.usable());
  life.Post([&] { ++ran; });
  life.InNextTurn([&] { ++ran; });
  executor.RunFor(milliseconds(1));
  EXPECT_EQ(ran, 2) << "a member that failed is still there";
  auto token = life.token();
  life.Post([&] { ++ran; });
  life.InNextTurn([&] { ++ran; });
  life.End();
  executor.RunFor(milliseconds(1));
  EXPECT_EQ(ran, 2);
  EXPECT_FALSE(*token);
}

TEST(Core, ATurnIsScheduledOnceAndNotBehindItsEnd) {
  TestGround g;
  g.core->Schedule();
  g.core->Schedule();
  EXPECT_EQ(g.turns, 0) << "not inside the call";
  g.executor.RunReady();
  EXPECT_EQ(g.turns, 1);
  g.core->Schedule();
  g.core.reset();
  g.executor.RunReady();
  EXPECT_EQ(g.turns, 1);
}

TEST(Core, BeginsWhereTheCheckpointStands) {
  TestGround g({1, 2, 3});
  EXPECT_EQ(g.core->applied().index, 1u);
  EXPECT_EQ(g.core->applied().conf_state.voters, (std::vector<raft::NodeId>{1, 2, 3}));
  EXPECT_EQ(g.core->raft().log().committed(), 1u);
  EXPECT_EQ(wal::DecodeConfState(g.core->Mark().conf_state)->voters.size(), 3u);
}

TEST(Core, WhoWaitsForALeaderIsWoken) {
  TestGround g({1, 2});
  std::optional<base::Status> done;
  base::Spawn(g.executor, g.executor.Store(g.core->AwaitLeader({}), done));
  g.executor.RunFor(milliseconds(10));
  EXPECT_FALSE(done.has_value());
  g.Follow(2);
  g.core->LeaderChanged();
  g.executor.RunFor(milliseconds(10));
  EXPECT_TRUE(done.has_value() && done->ok());
}

// The members do not all stand at once: the first to lose its leader asks the others before it takes a term.
TEST(Core, ALostLeaderIsForgottenAndFollowedByAPreVote) {
  TestGround g({1, 2, 3});
  g.Follow(2);
  g.core->PeerLost(3);
  EXPECT_TRUE(g.core->has_leader());
  g.core->PeerLost(2);
  EXPECT_FALSE(g.core->has_leader());
  EXPECT_EQ(g.core->raft().role(), raft::Role::kFollower);
  g.executor.RunFor(milliseconds(150));
  EXPECT_EQ(g.core->raft().role(), raft::Role::kPreCandidate);
  EXPECT_EQ(g.core->raft().term(), g.term);
}

}  // namespace
}  // namespace kvstore::replica
