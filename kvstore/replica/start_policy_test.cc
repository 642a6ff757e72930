#include "kvstore/replica/start_policy.h"

#include <gtest/gtest.h>

namespace kvstore::replica {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
constexpr base::Duration kQuick = microseconds(200), kSlow = milliseconds(4);

class StartPolicyTest : public testing::Test {
 protected:
  void Started(int times, base::Duration took) {
    for (int i = 0; i < times; ++i) policy_.StartedTook(now_ += took, took);
  }
  void Thread(int times, base::Duration took) {
    for (int i = 0; i < times; ++i) policy_.ThreadTook(now_ += took, took);
  }
  bool Allowed() const { return policy_.Allows(now_); }

  StartPolicy policy_;
  base::MonoTime now_{seconds(1000)};
};

TEST_F(StartPolicyTest, ASlowOneNowAndThenDoesNotMatter) {
  EXPECT_TRUE(Allowed());
  for (int i = 0; i < 100; ++i) {
    Started(1, kSlow);
    Started(20, kQuick);
    ASSERT_TRUE(Allowed());
  }
}

TEST_F(StartPolicyTest, SlowOnesPauseItForLongerAndLonger) {
  for (base::Duration pause : {seconds(1), seconds(2), seconds(4)}) {
    Started(3, kSlow);
    EXPECT_FALSE(Allowed());
    now_ += pause - milliseconds(1);
    EXPECT_FALSE(Allowed());
    now_ += milliseconds(1);
    EXPECT_TRUE(Allowed());
  }
  Started(10000, kQuick);
  Started(3, kSlow);
  now_ += seconds(1);
  EXPECT_TRUE(Allowed());
}

TEST_F(StartPolicyTest, AThreadThatIsQuickKeepsIt) {
  Started(3, kSlow);
  Thread(100, kQuick);
  EXPECT_FALSE(Allowed());
}

TEST_F(StartPolicyTest, AThreadThatIsAsSlowGivesItBack) {
  Started(3, kSlow);
  Started(3, kSlow);
  Thread(2, kSlow);
  EXPECT_FALSE(Allowed());
  Thread(1, kSlow);
  EXPECT_TRUE(Allowed());
  // And the next pause is short again.
  Started(3, kSlow);
  now_ += seconds(1);
  EXPECT_TRUE(Allowed());
}

}  // namespace
}  // namespace kvstore::replica
