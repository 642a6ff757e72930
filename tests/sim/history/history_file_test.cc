#include "tests/sim/history/history_file.h"

#include <gtest/gtest.h>

namespace tests::history {
namespace {

TEST(HistoryFile, ReadsAllKinds) {
  std::vector<Operation> h;
  ASSERT_TRUE(
      ReadHistory(
          R"({"client":1,"key":"a","op":"put","value":"v","expect":null,"found":null,"ok":true,"start":1,"end":2}
{"client":2,"key":"a","op":"get","value":null,"expect":null,"found":"v","ok":true,"start":3,"end":4}

{"client":3,"key":"a","op":"cas","value":"w","expect":"v","found":null,"ok":false,"start":5,"end":-1}
{"client":3,"key":"b","op":"delete","value":null,"expect":null,"found":null,"ok":true,"start":1767225600000000000,"end":1767225600000000001})",
          h)
          .ok());
  ASSERT_EQ(h.size(), 4u);
  EXPECT_EQ(h[1].found, "v");
  EXPECT_EQ(h[2].end, kUnknownEnd);
  EXPECT_EQ(h[3].start, 1767225600000000000);
  EXPECT_EQ(CheckLinearizable(h, {}).answer, Answer::kLinearizable);
}

TEST(HistoryFile, NamesTheLineThatIsWrong) {
  std::vector<Operation> h;
  auto complaint = [&](std::string_view line) { return std::string(ReadHistory(line, h).message()); };
  EXPECT_EQ(complaint(R"({"key":"a","op":"pat","start":1,"end":2})"), "line 1: unknown op \"pat\"");
  EXPECT_EQ(complaint("\n"
                      R"({"key":"a","op":"get","start":3,"end":2})"),
            "line 2: it ends before it starts");
  EXPECT_EQ(complaint(R"({"key":"a","op":"put","start":1,"end":2})"), "line 1: a put of nothing");
  EXPECT_NE(complaint("{"), "");
}

}  // namespace
}  // namespace tests::history
