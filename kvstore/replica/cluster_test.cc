// Members of one cluster in one process, wired to one another without loss or delay, except where a test says so: each
// case is one that the simulations met by chance.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/sync.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/testing_member.h"

namespace kvstore::replica {
namespace {

using base::Context;
using base::Result;
using base::Status;
using base::Task;
using raft::MessageType;
using std::chrono::seconds;

class Cluster;

class DirectTransport final : public Transport {
 public:
  DirectTransport(Cluster& cluster, int self) : cluster_(cluster), self_(self) {}
  void Send(raft::Message m) override;
  void SendSnapshot(raft::Message m, std::unique_ptr<DatabaseStream> database) override;
  void SetPeers(std::vector<mvcc::Member>) override {}
  std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return base::MonoTime::min(); }
  Task<Result<PeerAnswer>> Ask(Context ctx, raft::NodeId, std::string path, std::string, std::string) override;

 private:
  Cluster& cluster_;
  int self_;
};

struct Node : TestMember {
  Node(Cluster& cluster, base::testing::SimExecutor& executor, int number, uint64_t seed)
      : TestMember(executor, {}, seed * 16 + static_cast<uint64_t>(number)), transport_to_others(cluster, number) {
    transport = &transport_to_others;
  }
  DirectTransport transport_to_others;
  std::string arrived;  // the path of the last database that came
  int databases = 0;    // that came
};

class Cluster {
 public:
  explicit Cluster(int size, std::function<void(Options&)> settings = {}, uint64_t seed = 1) {
    std::map<std::string, std::vector<std::string>> initial;
    for (int n = 1; n <= size; ++n) initial["m" + std::to_string(n)] = {Url(n)};
    for (int n = 1; n <= size; ++n) {
      Node& node = *(nodes_[n] = std::make_unique<Node>(*this, executor, n, seed));
      node.options.name = "m" + std::to_string(n);
      node.options.peer_urls = {Url(n)};
      node.options.initial_cluster = initial;
      node.options.strict_reconfig_check = false;
      if (settings) settings(node.options);
      node.Start();
    }
    EXPECT_TRUE(Until([this] { return leader() != 0; }));
  }

  Replica& operator[](int n) { return *nodes_.at(n)->replica; }
  Node& node(int n) { return *nodes_.at(n); }

  // 0: none that all agree on.
  int leader() {
    for (auto& [n, node] : nodes_) {
      if (!node->replica || !node->replica->is_leader() || cut.contains(n)) continue;
      if (node->replica->applied_index() == node->replica->last_index()) return n;
    }
    return 0;
  }
  int Other(int than) {
    for (auto& [n, node] : nodes_) {
      if (n != than && node->replica) return n;
    }
    return 0;
  }
  bool Until(const std::function<bool()>& done) { return executor.RunUntil(done, seconds(60)); }
  bool CaughtUp(int n) {
    int l = leader();
    return l != 0 && (*this)[n].applied_index() == (*this)[l].last_index();
  }

  template <class T>
  std::optional<T> Ask(Task<T> task) {
    return Await(executor, std::move(task));
  }
  bool Put(int n, const std::string& key, const std::string& value = "v") { return node(n).Put(key, value) != 0; }

  void Carry(int from, raft::Message m, const std::string* database = nullptr) {
    for (auto& [n, node] : nodes_) {
      if (!node->replica || node->replica->member_id() != m.to || cut.contains(n) || cut.contains(from)) continue;
      if (database != nullptr) {
        ++node->databases;
        node->arrived = node->replica->IncomingSnapshotPath(m.snapshot->meta.index);
        EXPECT_TRUE(base::WriteFileAtomically(node->disk, node->arrived, *database).ok());
      }
      executor.Post([node = node.get(), m = std::move(m)]() mutable {
        if (!node->replica) return;
        raft::NodeId sender = m.from;
        Status s = node->replica->Receive(std::move(m), sender);
        EXPECT_NE(s.code(), base::Code::kDataLoss) << s.ToString();
      });
      return;
    }
  }

  base::testing::SimExecutor executor{1};
  std::set<int> cut;
  // True: this database does not arrive, and its sender is told so.
  std::function<bool(int from, const raft::Message& m)> loses_snapshot;
  int snapshots = 0;
  base::Event answer{executor};  // what Ask waits for
  int asked = 0;

 private:
  static std::string Url(int n) { return "http://m" + std::to_string(n) + ":2380"; }
  std::map<int, std::unique_ptr<Node>> nodes_;
};

void DirectTransport::Send(raft::Message m) { cluster_.Carry(self_, std::move(m)); }

void DirectTransport::SendSnapshot(raft::Message m, std::unique_ptr<DatabaseStream> database) {
  ++cluster_.snapshots;
  raft::NodeId to = m.to;
  bool lost = cluster_.loses_snapshot && cluster_.loses_snapshot(self_, m);
  auto bytes = database->Rest();
  if (!lost && bytes) cluster_.Carry(self_, std::move(m), &*bytes);
  cluster_.executor.Post([this, to, lost] {
    if (Node& n = cluster_.node(self_); n.replica) n.replica->ReportSnapshot(to, lost);
  });
}

Task<Result<PeerAnswer>> DirectTransport::Ask(Context ctx, raft::NodeId, std::string, std::string, std::string) {
  ++cluster_.asked;
  CO_TRY(co_await cluster_.answer.Wait(ctx));
  co_return PeerAnswer{.status = 200};
}

// Few entries kept, so that who was away needs a snapshot.
void Forgetful(Options& o) {
  o.snapshot_count = 5;
  o.catch_up_entries = 1;
}

TEST(ReplicaCluster, AProposalThatTimesOutIsNoAnswer) {
  Cluster c(3);
  int l = c.leader();
  ASSERT_TRUE(c.Put(l, "a"));
  c.cut = {1, 2, 3};
  auto begun = c.executor.Now();
  auto a = c.node(l).Propose(PutRequest("a", "2"), Context().WithTimeout(c.executor, seconds(1)));
  ASSERT_FALSE(a.has_value());
  EXPECT_EQ(a.error().code(), base::Code::kDeadlineExceeded);
  EXPECT_EQ(c[l].pending(), 0u);
  auto read = c.node(l).Barrier(Context().WithTimeout(c.executor, seconds(1)));
  EXPECT_EQ(read.code(), base::Code::kDeadlineExceeded);
  EXPECT_LE(c.executor.Now() - begun, seconds(3));
}

TEST(ReplicaCluster, WhatWasAskedOfTheLeaderMayEndAfterTheReplica) {
  Cluster c(3);
  int l = c.leader(), other = c.Other(l);
  std::optional<Status> renewed, times, promoted;
  auto spawn = [&](auto task, std::optional<Status>& out) {
    base::Spawn(c.executor, [](decltype(task) t, std::optional<Status>* o) -> Task<void> {
      auto r = co_await std::move(t);
      *o = r ? base::Ok() : r.error();
    }(std::move(task), &out));
  };
  spawn(c[other].RenewLease(Context(), 7), renewed);
  spawn(c[other].LeaseTimeToLive(Context(), 7, false), times);
  spawn(c[other].PromoteMember(Context(), 9), promoted);
  ASSERT_TRUE(c.Until([&] { return c.asked == 3; }));
  c.node(other).PowerFails();
  c.answer.NotifyAll();
  ASSERT_TRUE(c.Until([&] { return renewed && times && promoted; }));
  for (const auto& s : {renewed, times, promoted}) EXPECT_EQ(*s, mvcc::ErrStopped());
}

// For the address sanitizer: the replica ends first, or just when the read times out.
TEST(ReplicaCluster, AReadMayEndAfterTheReplica) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Cluster c(3, [](Options&) {}, seed);
    int l = c.leader();
    c.cut = {1, 2, 3};
    std::optional<Status> read;
    base::Spawn(c.executor, [](Replica& r, std::optional<Status>& out) -> Task<void> {
      out = co_await r.ReadBarrier(Context());
    }(c[l], read));
    // As ReadBarrier counts it.
    base::Duration timeout = seconds(5) + 2 * c[l].ElectionTimeout();
    c.executor.After(seed % 2 == 0 ? timeout : timeout / 2, [&] { c.node(l).replica.reset(); });
    ASSERT_TRUE(c.Until([&] { return read.has_value(); }));
    EXPECT_FALSE(read->ok());
  }
}

TEST(ReplicaCluster, ALeaderThatRemovedItselfVouchesForNothing) {
  Cluster c(2);
  int l = c.leader(), other = c.Other(l);
  auto left = c.Ask(c[l].ChangeMembers(Context(), {raft::ConfChangeType::kRemoveNode, c[l].member_id(), ""}));
  ASSERT_TRUE(left.has_value() && left->has_value());
  ASSERT_TRUE(c[l].is_leader()) << "until the other is elected";
  EXPECT_FALSE(c[l].ReadsAreCurrent());
  auto promoted = c.Ask(c[l].PromoteMember(Context(), c[other].member_id()));
  ASSERT_TRUE(promoted.has_value());
  ASSERT_FALSE(promoted->has_value());
  EXPECT_EQ(promoted->error(), mvcc::ErrNotLeader());
  ASSERT_TRUE(c.Until([&] { return c[other].is_leader(); }));
  EXPECT_TRUE(c.Put(other, "a"));
}

TEST(ReplicaCluster, ASnapshotWithoutItsDatabaseIsRefused) {
  Cluster c(3);
  int other = c.Other(c.leader());
  raft::Message m{.type = MessageType::kSnap, .to = c[other].member_id(), .from = c[c.leader()].member_id()};
  m.term = c[other].term();
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->meta = {.conf_state = {.voters = {m.from, m.to}}, .index = 1000, .term = m.term};
  m.snapshot = std::move(snapshot);
  raft::NodeId from = m.from;
  Status s = c[other].Receive(std::move(m), from);
  EXPECT_EQ(s.code(), base::Code::kInvalidArgument) << s.ToString();
  EXPECT_LT(c[other].committed_index(), 1000u);
}

class ClusterSnapshots : public testing::Test {
 protected:
  // A member that others have gone on without: more is missing than they still have as entries.
  void FallBehind() {
    leader = c.leader();
    behind = c.Other(leader);
    c.cut = {behind};
    for (int i = 0; i < 30; ++i) ASSERT_TRUE(c.Put(leader, "k" + std::to_string(i), std::string(200, 'x')));
  }
  // A snapshot has come, and what installs it does not get on until the pool is released.
  void OneIsHeldWhileItIsInstalled() {
    FallBehind();
    c.node(behind).pool.Hold();
    c.cut.clear();
    ASSERT_TRUE(c.Until([&] { return c[behind].installing(); }));
  }
  void ExpectEqual() { EXPECT_EQ(c.node(leader).Hash(), c.node(behind).Hash()); }
  Cluster c{3, Forgetful};
  int leader = 0, behind = 0;
};

TEST_F(ClusterSnapshots, OneThatDoesNotArriveIsSentAgain) {
  FallBehind();
  int lost = 0;
  c.loses_snapshot = [&](int, const raft::Message&) { return ++lost <= 3; };
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] { return c.CaughtUp(behind); }));
  EXPECT_GE(c.snapshots, 4);
  ExpectEqual();
}

TEST_F(ClusterSnapshots, WhatIsLeftOfATransferThatWasCutOffIsCleanedUpAtTheNextStart) {
  FallBehind();
  std::string partial = c[behind].IncomingSnapshotPath(77) + ".3.tmp";
  ASSERT_TRUE(base::WriteFileAtomically(c.node(behind).disk, partial, "the first bytes of a database").ok());
  c.node(behind).PowerFails();
  c.node(behind).Start();
  EXPECT_FALSE(*c.node(behind).disk.Exists(partial));
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] { return c.CaughtUp(behind); }));
  ExpectEqual();
}

TEST_F(ClusterSnapshots, ASecondOneMayComeWhileTheFirstIsInstalled) {
  OneIsHeldWhileItIsInstalled();
  ASSERT_EQ(c.node(behind).databases, 1);
  // It vouches for nothing yet, so the leader, once it has forgotten more, sends another.
  c.cut = {behind};
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(c.Put(leader, "more" + std::to_string(i)));
  c[leader].ReportSnapshot(c[behind].member_id(), true);
  c.executor.RunFor(seconds(1));
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] {
    c[leader].ReportSnapshot(c[behind].member_id(), true);  // what was sent into the void
    return c.node(behind).databases > 1;
  }));
  c.executor.RunFor(seconds(1));
  c.node(behind).pool.Release();
  ASSERT_TRUE(c.Until([&] { return !c[behind].installing() && c.CaughtUp(behind); }));
  ExpectEqual();
}

TEST_F(ClusterSnapshots, WhatIsWrittenWhileOneIsInstalledIsKeptForWhoInstallsIt) {
  OneIsHeldWhileItIsInstalled();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(c.Put(leader, "more" + std::to_string(i)));
  c.node(behind).pool.Release();
  ASSERT_TRUE(c.Until([&] { return !c[behind].installing() && c.CaughtUp(behind); }));
  EXPECT_EQ(c.snapshots, 1);
  ExpectEqual();
}

TEST_F(ClusterSnapshots, OneThatTheLogNotesIsInstalledAtTheNextStart) {
  OneIsHeldWhileItIsInstalled();
  c.cut = {behind};
  EXPECT_LT(c[behind].applied_index(), c[leader].applied_index());
  std::string database = c.node(behind).arrived;
  ASSERT_TRUE(*c.node(behind).disk.Exists(database));
  c.node(behind).PowerFails();
  c.node(behind).pool.Release();
  c.node(behind).Start();
  EXPECT_GT(c[behind].store().keys(), 0u) << "from the snapshot alone";
  EXPECT_FALSE(*c.node(behind).disk.Exists(database));
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] { return c.CaughtUp(behind); }));
  ExpectEqual();
}

// Its followers have to wait for nobody who cannot write.
TEST(ReplicaCluster, ALeaderWhoseDiskHangsLetsOthersLead) {
  Cluster c(3);
  int l = c.leader();
  c.node(l).log_pool.Hold();
  (void)c.node(l).Propose(PutRequest("a", "1"), Context().WithTimeout(c.executor, base::Duration(1)));
  base::MonoTime begun = c.executor.Now();
  // It does not wait until it hears of another.
  ASSERT_TRUE(c.Until([&] { return !c[l].is_leader(); }));
  EXPECT_LT(c.executor.Now() - begun, c[l].ElectionTimeout() * 3 / 2);
  ASSERT_TRUE(c.Until([&] { return c.leader() != 0 && c.leader() != l; }));
  EXPECT_LT(c.executor.Now() - begun, 4 * c[l].ElectionTimeout());
  int next = c.leader();
  ASSERT_TRUE(c.Put(next, "b"));
  c.node(l).log_pool.Release();
  ASSERT_TRUE(c.Until([&] { return c.CaughtUp(l); }));
  EXPECT_EQ(c.node(l).Hash(), c.node(next).Hash());
}

TEST(ReplicaCluster, WhoLosesTheConnectionToItsLeaderStandsSoon) {
  Cluster c(3);
  int l = c.leader();
  raft::NodeId gone = c[l].member_id();
  c.node(l).PowerFails();
  base::MonoTime begun = c.executor.Now();
  for (int n : {1, 2, 3}) {
    if (n != l) c[n].PeerLost(gone);
  }
  ASSERT_TRUE(c.Until([&] { return c.leader() != 0; }));
  EXPECT_LT(c.executor.Now() - begun, c[c.leader()].ElectionTimeout() / 2);
}

TEST(ReplicaCluster, AProposalThatNobodyAnswersEndsInTime) {
  Cluster c(3);
  int l = c.leader();
  for (int n : {1, 2, 3}) {
    if (n != l) c.cut.insert(n);
  }
  base::MonoTime begun = c.executor.Now();
  auto put = c.node(l).Propose(PutRequest("a", "1"));
  ASSERT_FALSE(put.has_value());
  EXPECT_EQ(put.error(), mvcc::ErrTimeout());
  EXPECT_GE(c.executor.Now() - begun, seconds(5));
  EXPECT_LT(c.executor.Now() - begun, seconds(10));
  EXPECT_EQ(c[l].pending(), 0u);
}

TEST(ReplicaCluster, AReadWhoseQuestionIsLostIsAskedAgain) {
  Cluster c(3);
  int other = c.Other(c.leader());
  std::optional<Status> read;
  base::MonoTime begun = c.executor.Now();
  c.cut = {other};
  base::Spawn(c.executor, [](Replica& r, std::optional<Status>& out) -> Task<void> {
    out = co_await r.ReadBarrier(Context());
  }(c[other], read));
  c.executor.RunReady();
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] { return read.has_value(); }));
  EXPECT_TRUE(read->ok()) << read->ToString();
  EXPECT_LT(c.executor.Now() - begun, seconds(1));
}

// What is checked when it is asked for may have changed when it is applied.
TEST(ReplicaCluster, AChangeThatIsRefusedWhenItIsAppliedChangesNothing) {
  Cluster c(3);
  int l = c.leader();
  mvcc::Member twin{.id = 99, .peer_urls = c[l].Members().front().peer_urls};
  auto added =
      c.Ask(c[l].ChangeMembers(Context(), {raft::ConfChangeType::kAddNode, twin.id, mvcc::MemberToJson(twin)}));
  ASSERT_TRUE(added.has_value());
  ASSERT_FALSE(added->has_value());
  EXPECT_EQ(added->error(), mvcc::ErrPeerUrlExists());
  EXPECT_EQ(c[l].Members().size(), 3u);
  // Nor does it count as a voter.
  c.cut = {c.Other(l)};
  EXPECT_TRUE(c.Put(l, "a"));
}

// The first to stand may be the one that must not win; whoever refuses it for its log does not wait for a turn of its
// own.
TEST(ReplicaCluster, WhoeverHasMoreOfTheLogStandsAtOnceWhenTheLeaderIsGone) {
  int tried = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Cluster c(3, [](Options&) {}, seed);
    int l = c.leader(), behind = c.Other(l), ahead = 6 - l - behind;
    c.cut = {behind};
    ASSERT_TRUE(c.Put(l, "a"));
    c.cut = {l, behind};
    // Who stands has given up its leader.
    auto hears_nothing = [&](int n) { return c[n].LeaderIsSilent() || c[n].leader() == 0; };
    ASSERT_TRUE(c.Until([&] { return hears_nothing(ahead) && hears_nothing(behind); }));
    if (c[ahead].leader() == 0) continue;
    ++tried;
    raft::Message vote{.type = MessageType::kPreVote, .to = c[ahead].member_id(), .from = c[behind].member_id()};
    vote.term = c[ahead].term() + 1;
    vote.log_term = 1;
    vote.index = 1;
    c.cut = {l};
    base::MonoTime begun = c.executor.Now();
    ASSERT_TRUE(c[ahead].Receive(std::move(vote), c[behind].member_id()).ok());
    ASSERT_TRUE(c.Until([&] { return c[ahead].is_leader(); }));
    EXPECT_LT(c.executor.Now() - begun, c[l].ElectionTimeout() / 20) << "seed " << seed;
  }
  EXPECT_GT(tried, 0);
}

}  // namespace
}  // namespace kvstore::replica
