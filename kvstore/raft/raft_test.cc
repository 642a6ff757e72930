// A small network of cores in one process: storage work is done at once or held back, messages go round by round.
#include "kvstore/raft/raft.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>

namespace kvstore::raft {
namespace {

std::shared_ptr<const std::string> Bytes(std::string s) { return std::make_shared<const std::string>(std::move(s)); }

struct Node {
  MemoryStorage storage;
  std::unique_ptr<Raft> raft;
  std::vector<std::string> applied;
  std::deque<Message> held_appends;
  bool hold_appends = false;
  std::vector<ReadState> reads;
};

class Cluster {
 public:
  explicit Cluster(std::vector<NodeId> voters, bool pre_vote = true) {
    for (NodeId id : voters) Add(id, voters, pre_vote);
  }
  void Add(NodeId id, const std::vector<NodeId>& voters, bool pre_vote = true, bool commit_in_passing = false) {
    Node& n = nodes[id] = {};
    ConfState cs;
    cs.voters = voters;
    n.storage.SetConfState(cs);
    Options o{.id = id, .storage = &n.storage, .pre_vote = pre_vote, .commit_in_passing = commit_in_passing};
    n.raft = std::make_unique<Raft>(o, base::Random(id));
  }
  Node& operator[](NodeId id) { return nodes.at(id); }

  void DoAppend(Node& n, Message m) {
    n.storage.Append(m.entries);
    if (m.snapshot) n.storage.Restore(m.snapshot);
    if (m.term != 0) n.storage.SetHardState({m.term, m.vote, m.commit});
    for (Message& r : m.responses) Route(n, std::move(r));
  }
  void Route(Node& n, Message m) {
    if (m.to == n.raft->id()) {
      (void)n.raft->Step(std::move(m));
    } else {
      wire.push_back(std::move(m));
    }
  }
  void Apply(Node& n, Message m) {
    for (const Entry& e : m.entries) {
      if (e.type == EntryType::kNormal && e.data) n.applied.push_back(*e.data);
      if (e.type != EntryType::kNormal) {
        ConfChange c = changes.count(e.index) ? changes[e.index] : ConfChange{};
        auto cs = n.raft->ApplyConfChange(c);
        ASSERT_TRUE(cs.has_value()) << cs.error().ToString();
      }
    }
    for (Message& r : m.responses) (void)n.raft->Step(std::move(r));
  }
  // Until nothing moves any more.
  void Settle() {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& [id, n] : nodes) {
        while (n.raft->HasReady()) {
          moved = true;
          Ready rd = n.raft->TakeReady();
          n.reads.insert(n.reads.end(), rd.read_states.begin(), rd.read_states.end());
          for (Message& m : rd.messages) {
            if (m.to == kLocalAppendThread) {
              if (n.hold_appends) {
                n.held_appends.push_back(std::move(m));
              } else {
                DoAppend(n, std::move(m));
              }
            } else if (m.to == kLocalApplyThread) {
              Apply(n, std::move(m));
            } else {
              wire.push_back(std::move(m));
            }
          }
        }
      }
      std::deque<Message> now = std::move(wire);
      wire.clear();
      for (Message& m : now) {
        if (cut.contains(m.from) || cut.contains(m.to) || !nodes.contains(m.to)) continue;
        moved = true;
        said.push_back(m.type);
        (void)nodes.at(m.to).raft->Step(std::move(m));
      }
    }
  }
  void Tick(int n) {
    for (int i = 0; i < n; ++i) {
      for (auto& [id, node] : nodes) node.raft->Tick();
      Settle();
    }
  }
  NodeId Leader() {
    NodeId leader = kNone;
    uint64_t term = 0;
    for (auto& [id, n] : nodes) {
      if (n.raft->role() == Role::kLeader && n.raft->term() > term) {
        leader = id;
        term = n.raft->term();
      }
    }
    return leader;
  }

  std::map<NodeId, Node> nodes;
  std::deque<Message> wire;
  std::vector<MessageType> said;  // by all
  std::set<NodeId> cut;
  std::map<uint64_t, ConfChange> changes;  // what the membership entry at an index says
};

TEST(Raft, OneMemberElectsItselfAndCommitsOnlyWhatIsOnItsDisk) {
  Cluster c({1});
  ASSERT_TRUE(c[1].raft->Campaign().ok());
  c.Settle();
  EXPECT_EQ(c[1].raft->role(), Role::kLeader);
  EXPECT_EQ(c[1].raft->term(), 1u);
  c[1].hold_appends = true;
  ASSERT_TRUE(c[1].raft->Propose(Bytes("a")).ok());
  c.Settle();
  EXPECT_TRUE(c[1].applied.empty());
  ASSERT_EQ(c[1].held_appends.size(), 1u);
  EXPECT_EQ(c[1].held_appends[0].entries.size(), 1u);
  c[1].hold_appends = false;
  c.DoAppend(c[1], std::move(c[1].held_appends[0]));
  c.Settle();
  EXPECT_EQ(c[1].applied, std::vector<std::string>{"a"});
}

TEST(Raft, ReadIndexOfOneMemberWaitsForItsTermsFirstCommit) {
  Cluster c({1});
  c[1].hold_appends = true;
  (void)c[1].raft->Campaign();
  c.Settle();
  while (!c[1].held_appends.empty() && c[1].raft->role() != Role::kLeader) {
    Message m = std::move(c[1].held_appends.front());
    c[1].held_appends.pop_front();
    c.DoAppend(c[1], std::move(m));
    c.Settle();
  }
  ASSERT_EQ(c[1].raft->role(), Role::kLeader);
  c[1].raft->ReadIndex("r1");
  c.Settle();
  EXPECT_TRUE(c[1].reads.empty());
  c[1].hold_appends = false;
  while (!c[1].held_appends.empty()) {
    Message m = std::move(c[1].held_appends.front());
    c[1].held_appends.pop_front();
    c.DoAppend(c[1], std::move(m));
  }
  c.Settle();
  ASSERT_EQ(c[1].reads.size(), 1u);
  EXPECT_EQ(c[1].reads[0].index, 1u);
}

TEST(Raft, ThreeMembersReplicateAndSurviveTheLossOfTheLeader) {
  Cluster c({1, 2, 3});
  (void)c[1].raft->Campaign();
  c.Settle();
  ASSERT_EQ(c.Leader(), 1u);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(c[1].raft->Propose(Bytes(std::to_string(i))).ok());
  c.Settle();
  for (NodeId id : {1, 2, 3}) EXPECT_EQ(c[id].applied.size(), 20u) << id;
  c.cut = {1};
  (void)c[1].raft->Propose(Bytes("lost"));
  c.Tick(40);
  NodeId second = c.Leader();
  ASSERT_NE(second, 1u);
  EXPECT_NE(c[1].raft->role(), Role::kLeader) << "check-quorum lets a cut-off leader step down";
  ASSERT_TRUE(c[second].raft->Propose(Bytes("kept")).ok());
  c.Settle();
  c.cut.clear();
  c.Tick(40);
  for (NodeId id : {1, 2, 3}) {
    ASSERT_EQ(c[id].applied.size(), 21u) << id;
    EXPECT_EQ(c[id].applied.back(), "kept");
  }
}

TEST(Raft, APreVoteOfACutOffMemberDisturbsNobody) {
  Cluster c({1, 2, 3});
  (void)c[1].raft->Campaign();
  c.Settle();
  uint64_t term = c[1].raft->term();
  c.cut = {3};
  c.Tick(60);
  c.cut.clear();
  c.Tick(5);
  EXPECT_EQ(c.Leader(), 1u);
  EXPECT_EQ(c[1].raft->term(), term);
}

TEST(Raft, QuorumReadsNeedAQuorum) {
  Cluster c({1, 2, 3});
  (void)c[1].raft->Campaign();
  c.Settle();
  c[1].raft->ReadIndex("a");
  c.Settle();
  ASSERT_EQ(c[1].reads.size(), 1u);
  c[2].raft->ReadIndex("from a follower");
  c.Settle();
  ASSERT_EQ(c[2].reads.size(), 1u);
  c.cut = {1};
  c[1].raft->ReadIndex("b");
  c.Settle();
  EXPECT_EQ(c[1].reads.size(), 1u);
}

// What `work` makes the members say to one another.
std::vector<MessageType> Said(Cluster& c, const std::function<void()>& work) {
  c.said.clear();
  work();
  c.Settle();
  return c.said;
}

TEST(Raft, AReadAsksNoMoreMembersThanNeeded) {
  Cluster c({1, 2, 3});
  (void)c[1].raft->Campaign();
  c.Settle();
  using enum MessageType;
  EXPECT_EQ(Said(c, [&] { c[1].raft->ReadIndex("a"); }), (std::vector{kHeartbeat, kHeartbeatResp}));
  EXPECT_EQ(Said(c, [&] { c[2].raft->ReadIndex("b"); }), (std::vector{kReadIndex, kReadIndexResp}));
  EXPECT_EQ(c[1].reads.size(), 1u);
  EXPECT_EQ(c[2].reads.size(), 1u);
}

TEST(Raft, AForwardedReadOfFiveMembersIsNotConfirmedByItsSenderAlone) {
  Cluster c({1, 2, 3, 4, 5});
  (void)c[1].raft->Campaign();
  c.Settle();
  c.cut = {3, 4, 5};
  c[2].raft->ReadIndex("a");
  c.Settle();
  EXPECT_TRUE(c[2].reads.empty());
  c.cut.clear();
  c.Tick(1);
  EXPECT_EQ(c[2].reads.size(), 1u);
}

TEST(Raft, AForwardedReadVouchesForNoEarlierOne) {
  Cluster c({1, 2, 3});
  (void)c[1].raft->Campaign();
  c.Settle();
  // 2 asks, its message takes its time, and 2 and 3 go on without 1.
  c[2].raft->ReadIndex("late");
  Message late = c[2].raft->TakeReady().messages.at(0);
  c.cut = {1};
  for (int i = 0; i < 40; ++i) {
    for (NodeId id : {2, 3}) c[id].raft->Tick();
    c.Settle();
  }
  ASSERT_NE(c.Leader(), 1u);
  // 1 has not noticed; what it reads now is not confirmed by what 2 said before.
  ASSERT_EQ(c[1].raft->role(), Role::kLeader);
  c[1].raft->ReadIndex("stale");
  (void)c[1].raft->Receive(std::move(late));
  c.Settle();
  EXPECT_TRUE(c[1].reads.empty());
}

TEST(Raft, AReadGoesOnWithoutTheMemberThatWasAsked) {
  Cluster c({1, 2, 3});
  (void)c[1].raft->Campaign();
  c.Settle();
  for (NodeId silent : {2, 3}) {
    c.cut = {silent};
    c[1].reads.clear();
    c[1].raft->ReadIndex("a");
    c.Tick(1);
    EXPECT_EQ(c[1].reads.size(), 1u) << silent;
  }
}

// Whoever cannot be reached makes the leader ask everybody for the reads that wait, those too who cannot be reached.
TEST(Raft, AReadDoesNotMultiplyTheMessagesToThoseWhoCannotBeReached) {
  Cluster c({1, 2, 3, 4, 5});
  (void)c[1].raft->Campaign();
  c.Settle();
  auto sent = [&] { return c[1].raft->TakeReady().messages.size(); };
  c[1].raft->ReadIndex("a");
  EXPECT_EQ(sent(), 2u);
  c[1].raft->ReportUnreachable(2);
  EXPECT_EQ(sent(), 4u);
  for (NodeId id : {2, 3, 2, 3}) {
    c[1].raft->ReportUnreachable(id);
    EXPECT_FALSE(c[1].raft->HasReady()) << id;
  }
  // A read that comes later asks again.
  c[1].raft->ReadIndex("b");
  EXPECT_EQ(sent(), 2u);
  c[1].raft->ReportUnreachable(3);
  EXPECT_EQ(sent(), 4u);
}

TEST(Raft, ACommitIsToldInPassing) {
  Cluster c({1, 2, 3});
  for (NodeId id : {1, 2, 3}) c.Add(id, {1, 2, 3}, true, /*commit_in_passing=*/true);
  (void)c[1].raft->Campaign();
  c.Settle();
  using enum MessageType;
  auto both = std::vector{kApp, kApp, kAppResp, kAppResp};
  EXPECT_EQ(Said(c, [&] { (void)c[1].raft->Propose(Bytes("a")); }), both);
  EXPECT_EQ(c[2].applied.size(), 0u);
  EXPECT_TRUE(c[1].raft->CommitUntold());
  EXPECT_EQ(Said(c, [&] { (void)c[1].raft->Propose(Bytes("b")); }), both);
  EXPECT_EQ(c[2].applied.size(), 1u);
  EXPECT_EQ(Said(c, [&] { c[1].raft->TellCommit(c[1].raft->log().committed()); }), (std::vector{kApp, kApp}));
  EXPECT_EQ(c[2].applied.size(), 2u);
  EXPECT_EQ(c[3].applied.size(), 2u);
  // Told twice, the leader may have missed the answer to the entries.
  auto twice = [&, last = c[1].raft->log().LastIndex()] {
    uint64_t term = c[1].raft->term();
    (void)c[2].raft->Receive(
        {.type = kApp, .to = 2, .from = 1, .term = term, .log_term = term, .index = last, .commit = last});
  };
  EXPECT_EQ(Said(c, twice), std::vector{kAppResp});
  EXPECT_FALSE(c[1].raft->CommitUntold());
  // Who waits for an entry of its own is told at once; a read brings the commit along.
  (void)c[2].raft->Propose(Bytes("c"));
  c.Settle();
  c[1].raft->TellCommit(0);
  c.Settle();
  EXPECT_EQ(c[2].applied.size(), 3u);
  EXPECT_EQ(c[3].applied.size(), 2u);
  c[3].raft->ReadIndex("r");
  c.Settle();
  ASSERT_EQ(c[3].reads.size(), 1u);
  EXPECT_EQ(c[3].applied.size(), 3u);
}

TEST(Raft, LeadershipIsHandedOver) {
  Cluster c({1, 2, 3});
  (void)c[1].raft->Campaign();
  c.Settle();
  c[1].raft->TransferLeader(3);
  c.Settle();
  EXPECT_EQ(c.Leader(), 3u);
}

TEST(Raft, AMemberIsAddedAndCatchesUpAndOneIsRemoved) {
  Cluster c({1});
  (void)c[1].raft->Campaign();
  c.Settle();
  for (int i = 0; i < 5; ++i) (void)c[1].raft->Propose(Bytes("x"));
  c.Settle();
  c.Add(2, {});
  ConfChange add{.changes = {{ConfChangeType::kAddNode, 2}}};
  c.changes[c[1].raft->log().LastIndex() + 1] = add;
  // The newcomer learns the first membership from the log too.
  ASSERT_TRUE(c[1].raft->ProposeConfChange(EntryType::kConfChange, Bytes("add 2"), add).ok());
  c.Settle();
  c.Tick(3);
  EXPECT_EQ(c[2].applied.size(), 5u);
  (void)c[1].raft->Propose(Bytes("y"));
  c.Settle();
  EXPECT_EQ(c[1].applied.size(), 6u);
}

// It leads on for a while, and the one voter that is left may already have been elected.
TEST(Raft, ALeaderThatHasLeftAnswersNoReadInTheNameOfTheOnlyVoter) {
  Cluster c({1, 2});
  (void)c[1].raft->Campaign();
  c.Settle();
  ConfChange leave{.changes = {{ConfChangeType::kRemoveNode, 1}}};
  c.changes[c[1].raft->log().LastIndex() + 1] = leave;
  ASSERT_TRUE(c[1].raft->ProposeConfChange(EntryType::kConfChange, Bytes("remove 1"), leave).ok());
  c.Settle();
  ASSERT_EQ(c[1].raft->role(), Role::kLeader);
  c.cut = {1};
  (void)c[2].raft->Campaign();
  c.Settle();
  ASSERT_EQ(c.Leader(), 2u);
  ASSERT_TRUE(c[2].raft->Propose(Bytes("newer")).ok());
  c.Settle();
  c[1].raft->ReadIndex("stale");
  c.Settle();
  EXPECT_TRUE(c[1].reads.empty());
}

TEST(Raft, JointConfigurationsNeedBothMajorities) {
  JointConfig j{{{1, 2, 3}}, {{3, 4, 5}}};
  std::map<NodeId, uint64_t> acked{{1, 10}, {2, 10}, {3, 7}, {4, 2}, {5, 7}};
  EXPECT_EQ(j.CommittedIndex([&](NodeId id) { return acked[id]; }), 7u);
  EXPECT_EQ(j.Vote({{1, true}, {2, true}}), VoteResult::kPending);
  EXPECT_EQ(j.Vote({{1, true}, {2, true}, {4, false}, {5, false}}), VoteResult::kLost);
  EXPECT_EQ(j.Vote({{1, true}, {3, true}, {4, true}}), VoteResult::kWon);
}

TEST(Raft, MembershipChangesFollowTheRules) {
  MembershipLimits limits;
  Membership m = *FromConfState({.voters = {1, 2, 3}}, 10, limits);
  EXPECT_FALSE(ApplyChange(m, {}, {10, limits}).has_value()) << "leaving what was never entered";
  auto joint = ApplyChange(m,
                           {.changes = {{ConfChangeType::kRemoveNode, 1},
                                        {ConfChangeType::kAddNode, 4},
                                        {ConfChangeType::kAddLearnerNode, 2}}},
                           {10, limits});
  ASSERT_TRUE(joint.has_value());
  ConfState cs = joint->ToConfState();
  EXPECT_EQ(cs.voters, (std::vector<NodeId>{3, 4}));
  EXPECT_EQ(cs.voters_outgoing, (std::vector<NodeId>{1, 2, 3}));
  EXPECT_EQ(cs.learners_next, (std::vector<NodeId>{2}));
  EXPECT_TRUE(cs.auto_leave);
  auto left = ApplyChange(*joint, {}, {10, limits});
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(left->ToConfState(), (ConfState{.voters = {3, 4}, .learners = {2}}));
  EXPECT_FALSE(left->progress.contains(1));
  EXPECT_FALSE(ApplyChange(*FromConfState({.voters = {1}}, 1, limits), {.changes = {{ConfChangeType::kRemoveNode, 1}}},
                           {1, limits})
                   .has_value());
}

TEST(Log, AnAnswerForAnOverwrittenTailIsIgnored) {
  MemoryStorage s;
  Tracer quiet;
  Log log(&s, 1 << 20, quiet);
  log.Append({{.term = 1, .index = 1}, {.term = 1, .index = 2}});
  log.AcceptUnstable();
  log.Append({{.term = 2, .index = 2}});  // a new leader's entry replaces index 2
  log.StableTo({1, 2});                   // the old write's answer arrives late
  EXPECT_TRUE(log.has_unstable());
  EXPECT_EQ(log.NextUnstable().size(), 1u);
  log.AcceptUnstable();
  log.StableTo({2, 2});
  EXPECT_FALSE(log.has_unstable());
}

TEST(Log, MemoryStorageCompactsFromTheFront) {
  MemoryStorage s;
  Entries es;
  for (uint64_t i = 1; i <= 3000; ++i) es.push_back({.term = 1, .index = i, .data = Bytes("d")});
  s.Append(es);
  s.Compact(2500);
  EXPECT_EQ(s.FirstIndex(), 2501u);
  EXPECT_EQ(s.LastIndex(), 3000u);
  EXPECT_EQ(*s.Term(2500), 1u);
  EXPECT_FALSE(s.Term(2499).has_value());
  EXPECT_EQ(s.Slice(2501, 3001, 1 << 20)->size(), 500u);
  EXPECT_FALSE(s.Slice(2500, 2600, 1 << 20).has_value());
}

}  // namespace
}  // namespace kvstore::raft
