#include "controller-manager/common/writes.h"

#include <gtest/gtest.h>

#include "base/testing/sim_executor.h"

namespace controller_manager {
namespace {

using namespace std::chrono_literals;

TEST(Writes, ACopyFromBeforeTheCreationIsWaitedForFiveMinutesAtMost) {
  base::testing::SimExecutor sim(1);
  Writes writes(sim);
  EXPECT_TRUE(writes.SeenBy("a", "100"));
  writes.Created("a", "110");
  EXPECT_FALSE(writes.SeenBy("a", "109"));
  EXPECT_TRUE(writes.SeenBy("b", "109"));
  sim.RunFor(5min);
  EXPECT_FALSE(writes.SeenBy("a", "109"));
  sim.RunFor(1s);
  EXPECT_TRUE(writes.SeenBy("a", "109")) << "the informer may be stuck; the set must not be";
  writes.Created("a", "120");
  EXPECT_FALSE(writes.SeenBy("a", "119"));
  EXPECT_TRUE(writes.SeenBy("a", "120"));
}

TEST(Writes, WhatNeverHappenedIsForgottenWhenRevisionsGoBack) {
  base::testing::SimExecutor sim(1);
  Writes writes(sim);
  EXPECT_TRUE(writes.SeenBy("a", "1000"));
  writes.Created("a", "1010");
  writes.Deleted("a", "uid-7");
  EXPECT_FALSE(writes.SeenBy("a", "1005"));
  // The backup is from revision 500.
  EXPECT_TRUE(writes.SeenBy("a", "500"));
  EXPECT_FALSE(writes.IsDeleted("a", "uid-7")) << "the pod is back";
  writes.Created("a", "510");
  EXPECT_FALSE(writes.SeenBy("a", "505"));
  EXPECT_TRUE(writes.SeenBy("a", "510"));
}

TEST(Writes, ADeletionThatIsNotSeenCountsForFiveMinutes) {
  base::testing::SimExecutor sim(1);
  Writes writes(sim);
  writes.Deleted("a", "uid-7");
  EXPECT_TRUE(writes.IsDeleted("a", "uid-7"));
  sim.RunFor(5min + 1s);
  EXPECT_FALSE(writes.IsDeleted("a", "uid-7"));
  EXPECT_EQ(writes.Deletions("a").size(), 1u);
  writes.Settle("a", "uid-7");
  EXPECT_TRUE(writes.Deletions("a").empty());
}

}  // namespace
}  // namespace controller_manager
