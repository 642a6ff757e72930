#include "base/testing/sim_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace base::testing {
namespace {

using Net = SimNetwork<int>;

TEST(SimNetwork, DeliversLaterAndReorders) {
  SimExecutor executor(1);
  Net net(executor, {});
  std::vector<int> got;
  net.Connect(2, [&](uint64_t from, int m) {
    EXPECT_EQ(from, 1u);
    got.push_back(m);
  });
  for (int i = 0; i < 100; ++i) net.Send(1, 2, i);
  EXPECT_TRUE(got.empty());
  executor.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(got.size(), 100u);
  EXPECT_FALSE(std::is_sorted(got.begin(), got.end()));
}

TEST(SimNetwork, FaultsHappenAtTheirRates) {
  SimExecutor executor(2);
  Net net(executor, {.loss = 0.1, .duplication = 0.2});
  int got = 0;
  net.Connect(2, [&](uint64_t, int) { ++got; });
  for (int i = 0; i < 10000; ++i) net.Send(1, 2, i);
  executor.RunFor(std::chrono::seconds(1));
  EXPECT_NEAR(static_cast<double>(net.counters().lost), 1000, 150);
  EXPECT_NEAR(static_cast<double>(net.counters().duplicated), 1800, 200);
  EXPECT_EQ(static_cast<uint64_t>(got), net.counters().delivered);
}

TEST(SimNetwork, PartitionsAndRestarts) {
  SimExecutor executor(3);
  Net net(executor, {});
  int one = 0, two = 0;
  net.Connect(1, [&](uint64_t, int) { ++one; });
  net.Connect(2, [&](uint64_t, int) { ++two; });
  net.Send(1, 2, 0);
  net.Partition({1}, {2});  // catches the one on its way
  net.Send(2, 1, 0);
  executor.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(one + two, 0);
  net.Heal();
  net.CutOneWay(1, 2);
  net.Send(1, 2, 0);
  net.Send(2, 1, 0);
  executor.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(one, 1);
  EXPECT_EQ(two, 0);
  net.Heal();
  net.Send(1, 2, 0);
  net.Disconnect(2);
  net.Connect(2, [&](uint64_t, int) { two += 100; });
  executor.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(two, 0) << "a message for the former incarnation";
}

TEST(SimNetwork, SameSeedSameTrace) {
  auto run = [](uint64_t seed) {
    SimExecutor executor(seed);
    Net net(executor, {.loss = 0.2, .duplication = 0.1, .straggler = 0.05});
    for (uint64_t m : {1, 2, 3})
      net.Connect(m, [&net, m](uint64_t from, int left) {
        if (left > 0) net.Send(m, from, left - 1);
      });
    for (uint64_t m : {1, 2, 3}) net.Send(m, m % 3 + 1, 50);
    executor.RunFor(std::chrono::seconds(10));
    return executor.trace_hash();
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

}  // namespace
}  // namespace base::testing
