#include "controller-manager/controllers/node_ranges.h"

#include <gtest/gtest.h>

namespace controller_manager {
namespace {

TEST(NodeRanges, OneAfterTheOtherUntilNoneIsLeft) {
  auto v4 = *NodeRanges::Parse("10.244.0.0/22", 24, 64);
  for (const char* wanted : {"10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"})
    EXPECT_EQ(v4.Allocate(wanted), wanted);
  EXPECT_EQ(v4.Allocate("n5"), std::nullopt);
  v4.Release("10.244.1.0/24");
  EXPECT_EQ(v4.Allocate("n5"), "10.244.1.0/24");
  auto v6 = *NodeRanges::Parse("fd01::/56", 24, 64);
  EXPECT_EQ(v6.Allocate("a"), "fd01::/64");
  EXPECT_EQ(v6.Allocate("b"), "fd01:0:0:1::/64");
  for (int i = 2; i < 255; ++i) v6.Allocate("n");
  EXPECT_EQ(v6.Allocate("z"), "fd01:0:0:ff::/64");
  auto odd = *NodeRanges::Parse("10.0.0.0/20", 23, 64);
  odd.Allocate("a");
  EXPECT_EQ(odd.Allocate("b"), "10.0.2.0/23");
}

TEST(NodeRanges, WhateverANodeHasIsNotGivenToAnother) {
  struct Case {
    const char *has, *next;
  };
  for (const Case& c :
       {Case{"10.244.0.7/32", "10.244.1.0/24"}, Case{"10.244.0.0/23", "10.244.2.0/24"},
        Case{"10.244.000.0/24", "10.244.1.0/24"}, Case{"10.244.0.99/24", "10.244.1.0/24"}, Case{"0.0.0.0/0", nullptr},
        Case{"10.244.0.0/16", nullptr}, Case{"10.0.0.0/8", nullptr}, Case{"192.0.2.0/24", "10.244.0.0/24"},
        Case{"fd01::/64", "10.244.0.0/24"}, Case{"nonsense", "10.244.0.0/24"}, Case{"10.244.0.0/99", "10.244.0.0/24"},
        Case{"", "10.244.0.0/24"}}) {
    auto ranges = *NodeRanges::Parse("10.244.0.0/20", 24, 64);
    ranges.Use("n1", c.has);
    EXPECT_EQ(ranges.Allocate("n2"), c.next ? std::optional<std::string>(c.next) : std::nullopt) << c.has;
    ranges.Release("n1");
    ranges.Release("n2");
    EXPECT_TRUE(ranges.Allocate("n3")) << c.has;
  }
}

TEST(NodeRanges, ARangeThatTwoClaimIsFreeWhenBothAreGone) {
  auto ranges = *NodeRanges::Parse("10.244.0.0/24", 24, 64);
  ranges.Use("n1", "10.244.0.0/24");
  ranges.Use("n2", "10.244.0.0/25");
  ranges.Release("n1");
  EXPECT_FALSE(ranges.Allocate("n3"));
  ranges.Release("n2");
  EXPECT_TRUE(ranges.Allocate("n3"));
}

TEST(NodeRanges, BadClusterRanges) {
  for (const char* bad :
       {"", "10.244.0.0", "10.244.0.0/33", "x/16", "10.244.0.0/25", "10.0.0.0/7", "::ffff:10.0.0.0/104"})
    EXPECT_FALSE(NodeRanges::Parse(bad, 24, 64)) << bad;
}

}  // namespace
}  // namespace controller_manager
