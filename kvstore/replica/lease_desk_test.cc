#include "kvstore/replica/lease_desk.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

using base::Result;
using base::Task;
using std::chrono::seconds;

// The leader, as far as it is asked.
struct Leader final : Transport {
  void Send(raft::Message) override {}
  void SendSnapshot(raft::Message, std::unique_ptr<DatabaseStream>) override {}
  void SetPeers(std::vector<mvcc::Member>) override {}
  std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return std::nullopt; }
  Task<Result<PeerAnswer>> Ask(base::Context, raft::NodeId peer, std::string path, std::string body,
                               std::string) override {
    asked.push_back(std::to_string(peer) + path);
    bodies.push_back(std::move(body));
    if (answers.empty()) co_return base::Err(base::Unavailable("it is gone"));
    PeerAnswer answer = std::move(answers.front());
    answers.erase(answers.begin());
    co_return answer;
  }
  std::vector<PeerAnswer> answers;
  std::vector<std::string> asked, bodies;
};

struct Desk {
  explicit Desk(std::vector<raft::NodeId> voters) : g(std::move(voters)) { g.shared.transport = &leader; }
  TestGround g;
  Leader leader;
  Proposals proposals{g.shared, *g.core};
  Reads reads{g.shared, *g.core};
  LeaseDesk desk{g.shared, *g.core, proposals, reads};
};

TEST(LeaseDesk, AFollowerAsksTheLeaderUntilItAnswers) {
  Desk d({1, 2});
  d.g.Follow(2);
  std::string ttl;
  wire::PutUint(ttl, 3, 60);
  d.leader.answers = {{.status = 503}, {.status = 200, .body = ttl}};
  auto renewed = d.g.Await(d.desk.Renew({}, 7));
  ASSERT_TRUE(renewed.has_value() && renewed->has_value());
  EXPECT_EQ(**renewed, 60);
  EXPECT_EQ(d.leader.asked, (std::vector<std::string>{"2/leases", "2/leases"}));
  EXPECT_EQ(d.leader.bodies[1], LeaseKeepAliveQuestion(7));
  d.leader.answers = {{.status = 404}, {.status = 404}};
  EXPECT_EQ(**d.g.Await(d.desk.Renew({}, 8)), 0);
  EXPECT_EQ((*d.g.Await(d.desk.TimeToLive({}, 8, false)))->ttl, -1);
  EXPECT_EQ(d.desk.RenewHere(7).error(), mvcc::ErrNotLeader());
  auto silent = d.g.Await(d.desk.Renew({}, 7));
  ASSERT_TRUE(silent.has_value() && !silent->has_value());
  EXPECT_EQ(silent->error(), mvcc::ErrTimeout());
}

TEST(LeaseDesk, TheLeaderKnowsAndRevokes) {
  Desk d({1});
  d.g.Lead();
  base::MonoTime now = d.g.executor.Now();
  ASSERT_TRUE(d.g.shared.store->leases().Grant(7, 5, now).has_value());
  EXPECT_EQ(d.desk.TimesHere(7, true)->ttl, 5);
  EXPECT_EQ(d.desk.TimesHere(8, true)->ttl, -1);
  d.g.executor.RunFor(seconds(4));
  EXPECT_EQ(*d.desk.RenewHere(7), 5);
  d.g.executor.RunFor(seconds(4));
  d.desk.Expire();
  EXPECT_EQ(d.proposals.size(), 0u) << "it was renewed";
  d.g.executor.RunFor(seconds(2));
  EXPECT_EQ(d.desk.TimesHere(7, true)->ttl, -1) << "its time is over, whether or not it is gone";
  d.desk.Expire();
  d.desk.Expire();
  EXPECT_EQ(d.proposals.size(), 1u) << "once";
  EXPECT_TRUE(d.leader.asked.empty());
  d.proposals.EndAll();
  d.g.executor.RunReady();
}

}  // namespace
}  // namespace kvstore::replica
