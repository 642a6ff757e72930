#include "tests/sim/history/linearizability.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace tests::history {
namespace {

using Text = std::optional<std::string>;

Operation Put(int64_t start, int64_t end, Text value, std::string key = "k") {
  return {.key = std::move(key), .kind = Kind::kPut, .value = std::move(value), .start = start, .end = end};
}
Operation Get(int64_t start, int64_t end, Text found, std::string key = "k") {
  return {.key = std::move(key), .kind = Kind::kGet, .found = std::move(found), .start = start, .end = end};
}
Operation Delete(int64_t start, int64_t end) { return {.key = "k", .kind = Kind::kDelete, .start = start, .end = end}; }
// tidy: parameters: one per field of the operation, so that a history reads as a table
Operation Swap(int64_t start, int64_t end, Text expect, Text value, bool ok, Text found = {}) {
  return {.key = "k",
          .kind = Kind::kCompareAndSwap,
          .value = std::move(value),
          .expect = std::move(expect),
          .found = std::move(found),
          .ok = ok,
          .start = start,
          .end = end};
}
Answer Judge(const std::vector<Operation>& history) { return CheckLinearizable(history, {}).answer; }

TEST(Linearizability, OneAfterTheOther) {
  EXPECT_EQ(Judge({}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Get(1, 2, {}), Put(3, 4, "a"), Get(5, 6, "a"), Delete(7, 8), Get(9, 10, {})}),
            Answer::kLinearizable);
  EXPECT_EQ(Judge({Put(3, 4, "a"), Get(5, 6, {})}), Answer::kNotLinearizable);
  EXPECT_EQ(Judge({Get(1, 2, "a"), Put(3, 4, "a")}), Answer::kNotLinearizable);  // from the future
  EXPECT_EQ(Judge({Put(1, 2, "a"), Get(3, 4, "never written")}), Answer::kNotLinearizable);
}

TEST(Linearizability, WhatOverlapsMayComeInAnyOrder) {
  EXPECT_EQ(Judge({Put(1, 10, "a"), Get(2, 3, {}), Get(4, 5, "a")}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Put(1, 10, "a"), Get(2, 3, "a"), Get(4, 5, {})}), Answer::kNotLinearizable);
  EXPECT_EQ(Judge({Put(1, 10, "a"), Put(1, 10, "b"), Get(11, 12, "a")}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Put(1, 10, "a"), Put(1, 10, "b"), Get(11, 12, "a"), Get(13, 14, "b")}), Answer::kNotLinearizable);
  EXPECT_EQ(Judge({Put(1, 5, "a"), Get(5, 6, {})}), Answer::kLinearizable);  // what touches overlaps
}

TEST(Linearizability, AStaleReadIsFoundWithItsWindow) {
  std::vector<Operation> history;
  for (int i = 0; i < 100; ++i) history.push_back(Put(10 * i, 10 * i + 5, std::to_string(i)));
  history.push_back(Get(1000, 1001, "98"));
  Verdict v = CheckLinearizable(history, {});
  EXPECT_EQ(v.answer, Answer::kNotLinearizable);
  EXPECT_EQ(v.key, "k");
  ASSERT_EQ(v.window.size(), 2u);  // the last put and the read that has not seen it
  EXPECT_EQ(v.window[0].value, "99");
  EXPECT_NE(v.text.find("get -> \"98\""), std::string::npos) << v.text;
}

TEST(Linearizability, UnknownOutcomesMayHappenOnceAnyTimeOrNever) {
  EXPECT_EQ(Judge({Put(1, -1, "a"), Get(2, 3, {}), Get(100, 101, "a")}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Put(1, -1, "a"), Get(2, 3, {}), Get(4, 5, {})}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Put(1, -1, "a"), Get(2, 3, "a"), Put(4, 5, "b"), Get(6, 7, "a")}), Answer::kNotLinearizable);
  EXPECT_EQ(Judge({Put(1, -1, "a"), Put(2, 3, "b"), Get(4, 5, "a"), Get(6, 7, "b")}), Answer::kNotLinearizable);
  EXPECT_EQ(Judge({Get(1, 2, "a"), Put(3, -1, "a")}), Answer::kNotLinearizable);
  // Two lost deletes explain two disappearances, not three.
  std::vector<Operation> three = {Delete(1, -1),  Delete(1, -1), Put(2, 3, "a"),   Get(4, 5, {}),
                                  Put(6, 7, "b"), Get(8, 9, {}), Put(10, 11, "c"), Get(12, 13, "c")};
  EXPECT_EQ(Judge(three), Answer::kLinearizable);
  three.push_back(Get(14, 15, {}));
  EXPECT_EQ(Judge(three), Answer::kNotLinearizable);
}

TEST(Linearizability, Swaps) {
  EXPECT_EQ(Judge({Swap(1, 2, {}, "a", true), Swap(3, 4, "a", "b", true), Get(5, 6, "b")}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Swap(1, 9, {}, "a", true), Swap(1, 9, {}, "b", true)}), Answer::kNotLinearizable);  // two winners
  EXPECT_EQ(Judge({Swap(1, 9, {}, "a", true), Swap(1, 9, {}, "b", false)}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Swap(1, 2, {}, "b", false)}), Answer::kNotLinearizable);  // refused without a reason
  EXPECT_EQ(Judge({Put(1, 2, "a"), Swap(3, 4, "x", "b", false, "a")}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Put(1, 2, "a"), Swap(3, 4, "x", "b", false, "c")}), Answer::kNotLinearizable);
  // A refusal may be the only trace of a write nobody has read.
  EXPECT_EQ(Judge({Put(1, 2, "a"), Put(3, -1, "b"), Swap(5, 6, "a", "c", false)}), Answer::kLinearizable);
  EXPECT_EQ(Judge({Put(1, 2, "a"), Swap(3, -1, "a", "b", false), Get(5, 6, "b")}), Answer::kLinearizable);
}

TEST(Linearizability, KeysAreJudgedAlone) {
  EXPECT_EQ(Judge({Put(1, 2, "a", "x"), Get(3, 4, {}, "y"), Get(3, 4, "a", "x")}), Answer::kLinearizable);
  Verdict v = CheckLinearizable({Put(1, 2, "a", "x"), Put(1, 2, "a", "y"), Get(3, 4, {}, "y")}, {});
  EXPECT_EQ(v.answer, Answer::kNotLinearizable);
  EXPECT_EQ(v.key, "y");
}

TEST(Linearizability, PastItsLimitsItIsUndecided) {
  std::vector<Operation> history;
  for (int i = 0; i < 40; ++i) history.push_back(Put(i, 1000, std::to_string(i)));
  history.push_back(Get(1001, 1002, {}));
  EXPECT_EQ(CheckLinearizable(history, {.time = std::chrono::seconds(20), .configurations = 1000}).answer,
            Answer::kUndecided);
}

// What a register really does, seen through delays, is linearizable; with one read made wrong it is not.
class Register {
 public:
  explicit Register(uint64_t seed) : random_(seed) {}
  std::vector<Operation> Live(int operations) {
    std::vector<int64_t> busy_until(8, 0);
    for (int i = 0; i < operations; ++i) {
      auto client = random_.Below(busy_until.size());
      int64_t start = std::max(busy_until[client], last_ - 20) + 1 + static_cast<int64_t>(random_.Below(10));
      int64_t point = std::max(last_, start) + 1;
      int64_t end = point + 1 + static_cast<int64_t>(random_.Below(30));
      last_ = point;
      busy_until[client] = end;
      out_.push_back(Act(static_cast<int>(client), start, end, i));
    }
    return out_;
  }

 private:
  Operation Act(int client, int64_t start, int64_t end, int i) {
    Operation op;
    switch (random_.Below(6)) {
      case 0:
        op = Delete(start, end);
        state_.reset();
        break;
      case 1: {
        Text expect = random_.OneIn(2) ? state_ : Text("v" + std::to_string(random_.Below(5)));
        bool ok = expect == state_;
        op = Swap(start, end, expect, "s" + std::to_string(i), ok);
        if (ok) state_ = op.value;
        break;
      }
      case 2:
      case 3:
        op = Put(start, end, "v" + std::to_string(i));
        state_ = op.value;
        break;
      default:
        op = Get(start, end, state_);
    }
    if (op.kind != Kind::kGet && random_.OneIn(10)) op.end = kUnknownEnd;
    op.client = client;
    return op;
  }

  base::Random random_;
  Text state_;
  int64_t last_ = 0;
  std::vector<Operation> out_;
};

TEST(Linearizability, ARegisterSeenThroughDelaysIsLinearizable) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    EXPECT_EQ(Judge(Register(seed).Live(200)), Answer::kLinearizable) << "seed " << seed;
  }
}

TEST(Linearizability, AWrongReadIsFound) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    auto history = Register(seed).Live(200);
    for (size_t i = 150; i < history.size(); ++i) {
      if (history[i].kind != Kind::kGet || !history[i].found) continue;
      // What the key held long ago.
      for (size_t j = 0; j < 100; ++j) {
        if (history[j].kind == Kind::kPut && history[j].end != kUnknownEnd) history[i].found = history[j].value;
      }
      break;
    }
    Verdict v = CheckLinearizable(history, {});
    found += v.answer == Answer::kNotLinearizable;
    EXPECT_LT(v.window.size(), 60u);
  }
  EXPECT_GT(found, 50);
}

}  // namespace
}  // namespace tests::history
