#include "kvstore/replica/reads.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A follower of member 2.
class ReadsTest : public testing::Test {
 protected:
  struct Read {
    std::optional<base::Status> done;
  };
  void SetUp() override {
    g.Follow(2);
    g.core->on_turn = [this] {
      reads.Ask();
      for (raft::Message& m : g.Drain()) {
        if (m.type == raft::MessageType::kReadIndex) questions.push_back(std::move(m));
      }
      reads.Answered(std::exchange(g.read_states, {}));
    };
  }
  std::shared_ptr<Read> Start() {
    auto read = std::make_shared<Read>();
    base::Spawn(g.executor, [](Reads& reads, std::shared_ptr<Read> read) -> base::Task<void> {
      read->done = co_await reads.Barrier({});
    }(reads, read));
    g.executor.RunReady();
    return read;
  }
  void LeaderAnswers(const raft::Message& question, uint64_t index) {
    raft::Message m{.type = raft::MessageType::kReadIndexResp, .to = 1, .from = 2, .term = g.term, .index = index};
    m.entries = question.entries;
    ASSERT_TRUE(g.core->raft().Receive(std::move(m)).ok());
    g.core->Schedule();
    g.executor.RunReady();
  }
  void Apply(uint64_t index) {
    g.core->Applied({.term = 1, .index = index});
    reads.Release();
    g.executor.RunReady();
  }

  TestGround g{{1, 2}};
  Reads reads{g.shared, *g.core};
  std::vector<raft::Message> questions;
};

TEST_F(ReadsTest, OneQuestionForAllWhoWaitThenTheNext) {
  auto first = Start();
  ASSERT_EQ(questions.size(), 1u);
  auto second = Start(), third = Start();
  EXPECT_EQ(questions.size(), 1u) << "one at a time";
  LeaderAnswers(questions[0], 5);
  ASSERT_EQ(questions.size(), 2u) << "who came meanwhile shares the next";
  EXPECT_NE(questions[0].entries, questions[1].entries);
  EXPECT_FALSE(first->done.has_value()) << "not applied so far";
  Apply(4);
  EXPECT_FALSE(first->done.has_value());
  Apply(5);
  EXPECT_TRUE(first->done.has_value() && first->done->ok());
  EXPECT_FALSE(second->done.has_value()) << "an answer to an earlier question vouches for nothing";
  LeaderAnswers(questions[1], 5);
  EXPECT_TRUE(second->done.has_value() && third->done.has_value());
}

TEST_F(ReadsTest, ALateAnswerToAnOlderKeyIsNone) {
  auto read = Start();
  reads.AskAgain();
  g.executor.RunReady();
  ASSERT_EQ(questions.size(), 2u);
  LeaderAnswers(questions[0], 1);
  EXPECT_FALSE(read->done.has_value());
  LeaderAnswers(questions[1], 1);
  EXPECT_TRUE(read->done.has_value());
}

TEST_F(ReadsTest, AQuestionThatIsOutTooLongIsAskedAgain) {
  auto read = Start();
  reads.Retry();
  g.executor.RunReady();
  EXPECT_EQ(questions.size(), 1u);
  g.executor.RunFor(milliseconds(600));
  reads.Retry();
  g.executor.RunReady();
  EXPECT_EQ(questions.size(), 2u);
}

TEST_F(ReadsTest, EveryWaitEnds) {
  auto asked = Start(), waiting = Start();
  g.executor.RunFor(seconds(30));
  EXPECT_EQ(*asked->done, mvcc::ErrTimeout());
  EXPECT_EQ(*waiting->done, mvcc::ErrTimeout());
  EXPECT_EQ(g.shared.counters.reads_slow, 2u);
  auto last = Start();
  reads.EndAll();
  g.executor.RunReady();
  EXPECT_EQ(*last->done, mvcc::ErrStopped());
}

TEST(Reads, AMemberThatIsAloneNeedNotAsk) {
  TestGround g;
  Reads reads(g.shared, *g.core);
  EXPECT_FALSE(reads.AreCurrent()) << "nobody leads";
  g.Lead();
  EXPECT_FALSE(reads.AreCurrent()) << "the term's first entry is not applied";
  g.core->Applied({.term = g.core->raft().term(), .index = g.core->raft().log().committed()});
  EXPECT_TRUE(reads.AreCurrent());
  auto done = g.Await(reads.Barrier({}));
  EXPECT_TRUE(done.has_value() && done->ok());
}

}  // namespace
}  // namespace kvstore::replica
