#include "kvstore/replica/proposals.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

using base::Status;
using std::chrono::seconds;

class ProposalsTest : public testing::Test {
 protected:
  using Outcome = std::optional<base::Result<mvcc::Answer>>;
  // With an id of the test's own; `refused`: what the core says, each time.
  std::shared_ptr<Outcome> Start(uint64_t id, base::Context ctx = {}) {
    auto out = std::make_shared<Outcome>();
    auto propose = [this] {
      ++proposed;
      return refusal;
    };
    base::Spawn(g.executor,
                [](Proposals& p, base::Context ctx, uint64_t id, std::function<Status()> propose,
                   std::shared_ptr<Outcome> out) -> base::Task<void> {
                  *out = co_await p.ProposeEntry(ctx, id, propose);
                }(proposals, std::move(ctx), id, propose, out));
    g.executor.RunReady();
    return out;
  }
  Status ErrorOf(const std::shared_ptr<Outcome>& o) { return *o && !(*o)->has_value() ? (*o)->error() : Status(); }

  TestGround g{{1, 2}};
  Proposals proposals{g.shared, *g.core};
  Status refusal;
  int proposed = 0;
};

TEST_F(ProposalsTest, WaitForALeaderAndAreAnsweredOnce) {
  auto one = Start(7);
  EXPECT_EQ(proposed, 0);
  g.Follow(2);
  g.core->LeaderChanged();
  g.executor.RunReady();
  EXPECT_EQ(proposed, 1);
  proposals.Answer(8, {.revision = 1});
  g.executor.RunReady();
  EXPECT_FALSE(one->has_value()) << "somebody else's";
  proposals.Answer(7, {.revision = 12});
  proposals.Answer(7, {.revision = 13});
  g.executor.RunReady();
  ASSERT_TRUE(one->has_value() && (*one)->has_value());
  EXPECT_EQ((**one)->revision, 12);
}

TEST_F(ProposalsTest, ARefusedOneIsTriedAgainWhileLeadershipMoves) {
  g.Follow(2);
  refusal = base::Unavailable("dropped");
  auto one = Start(7);
  EXPECT_EQ(proposed, 1);
  EXPECT_EQ(proposals.size(), 0u) << "nobody stands in the list for what the core does not have";
  g.executor.RunFor(g.shared.options.heartbeat);
  EXPECT_GT(proposed, 2);
  refusal = base::Ok();
  g.executor.RunFor(g.shared.options.heartbeat);
  EXPECT_EQ(proposals.size(), 1u);
  proposals.Answer(7, {});
  g.executor.RunReady();
  EXPECT_TRUE(one->has_value() && (*one)->has_value());
}

TEST_F(ProposalsTest, EveryWaitEnds) {
  auto leaderless = Start(1);
  g.executor.RunFor(seconds(8));
  EXPECT_EQ(ErrorOf(leaderless), mvcc::ErrTimeout());
  g.Follow(2);
  auto slow = Start(2);
  g.executor.RunFor(seconds(8));
  EXPECT_FALSE(slow->has_value()) << "the ticks end it";
  proposals.Expire();
  g.executor.RunReady();
  EXPECT_EQ(ErrorOf(slow), mvcc::ErrTimeout());
  auto moved = Start(3);
  g.Follow(2);  // in a new term
  g.executor.RunFor(seconds(8));
  proposals.Expire();
  g.executor.RunReady();
  EXPECT_EQ(ErrorOf(moved), mvcc::ErrTimeoutLeaderFail());
  auto last = Start(4);
  proposals.EndAll();
  g.executor.RunReady();
  EXPECT_EQ(ErrorOf(last), mvcc::ErrStopped());
}

TEST_F(ProposalsTest, AreTurnedAwayWhileApplyingLags) {
  g.Follow(2);
  raft::Message m{.type = raft::MessageType::kApp, .to = 1, .from = 2, .term = g.term, .log_term = 1, .index = 1};
  for (uint64_t i = 2; i < 5100; ++i) m.entries.push_back(TestGround::Entry(i, "x"));
  m.commit = m.entries.back().index;
  ASSERT_TRUE(g.core->raft().Receive(std::move(m)).ok());
  g.Drain();
  auto refused = g.Await(proposals.Propose({}, "", {}));
  ASSERT_TRUE(refused.has_value() && !refused->has_value());
  EXPECT_EQ(refused->error(), mvcc::ErrTooManyRequests());
}

}  // namespace
}  // namespace kvstore::replica
