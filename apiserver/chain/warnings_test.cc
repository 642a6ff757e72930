#include "apiserver/chain/warnings.h"

#include <gtest/gtest.h>

namespace apiserver::chain {
namespace {

TEST(Warnings, StandOnceAndAreBounded) {
  EXPECT_EQ(FitWarnings({"a", "", "b", "a"}), (std::vector<std::string>{"a", "b"}));
  std::string long_one(1000, 'x'), accents;
  for (int i = 0; i < 1000; ++i) accents += "é";
  EXPECT_EQ(FitWarnings({long_one, accents}), (std::vector<std::string>{long_one, accents})) << "2,000 characters";
  std::vector<std::string> many{accents};
  for (int i = 0; i < 5000; ++i) many.push_back(std::to_string(10000 + i) + long_one);
  auto cut = FitWarnings(many);
  EXPECT_EQ(cut.size(), 16u);
  EXPECT_EQ(cut[0].size(), 512u);
  EXPECT_EQ(cut[1], "10000" + std::string(251, 'x'));
}

}  // namespace
}  // namespace apiserver::chain
