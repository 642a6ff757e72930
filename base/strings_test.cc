#include "base/strings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace base {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Strings, PartsComeApartAndTogether) {
  EXPECT_THAT(Split("a,,b,", ','), ElementsAre("a", "", "b", ""));
  EXPECT_THAT(Split("", ','), ElementsAre(""));
  EXPECT_THAT(SplitNonEmpty(",a,,b,", ','), ElementsAre("a", "b"));
  EXPECT_THAT(SplitNonEmpty("", ','), IsEmpty());
  EXPECT_THAT(Words(" a\t\tbc \r\n\v\fd"), ElementsAre("a", "bc", "d"));
  EXPECT_THAT(Words(" "), IsEmpty());
  EXPECT_EQ(Join({"a", "", "b"}, ", "), "a, , b");
  EXPECT_EQ(Join({}, ", "), "");
  std::string_view inner = "a,b";
  EXPECT_THAT(Split(inner.substr(0, 2), ','), ElementsAre("a", ""));
}

TEST(Strings, EdgesAndCaseAreAscii) {
  EXPECT_EQ(Trim(" \t\r\na b\v\f "), "a b");
  EXPECT_EQ(Trim(" \n"), "");
  EXPECT_EQ(Trim("\xc2\xa0x"), "\xc2\xa0x");
  EXPECT_EQ(Lower("ABZ[ÄÖ9"), "abz[ÄÖ9");
  EXPECT_EQ(Upper("abz{äö9"), "ABZ{äö9");
}

}  // namespace
}  // namespace base
