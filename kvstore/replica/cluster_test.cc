// Members of one cluster in one process, wired to one another without loss or delay, except where a test says so: each
// case is one that the simulations met by chance.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/sync.h"
#include "base/testing/sim_disk.h"
#include "base/testing/sim_executor.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/identity.h"
#include "kvstore/replica/replica.h"
#include "kvstore/wire/wire.h"

namespace kvstore::replica {
namespace {

using base::Context;
using base::Result;
using base::Status;
using base::Task;
using raft::MessageType;
using std::chrono::seconds;

std::string PutRequest(std::string_view key, std::string_view value) {
  std::string inner, out;
  wire::PutBytes(inner, 1, key);
  wire::PutBytes(inner, 2, value);
  wire::PutBytes(out, 4, inner);
  return out;
}

// Threads whose work waits while they are held.
class HeldPool final : public base::BlockingPool {
 public:
  explicit HeldPool(base::Executor& executor) : executor_(executor) {}
  void Run(base::Closure work, base::Executor&, base::Closure done) override {
    waiting_.push_back([work = std::move(work), done = std::move(done)]() mutable {
      work();
      done();
    });
    if (!held_) Go();
  }
  void Hold() { held_ = true; }
  void Release() {
    held_ = false;
    Go();
  }
  size_t waiting() const { return waiting_.size(); }

 private:
  void Go() {
    for (auto& w : std::exchange(waiting_, {})) executor_.Post(std::move(w));
  }
  base::Executor& executor_;
  bool held_ = false;
  std::vector<base::Closure> waiting_;
};

class Cluster;

class Wire final : public Transport {
 public:
  Wire(Cluster& cluster, int self) : cluster_(cluster), self_(self) {}
  void Send(raft::Message m) override;
  void SendSnapshot(raft::Message m, std::unique_ptr<DatabaseStream> database) override;
  void SetPeers(std::vector<mvcc::Member>) override {}
  std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return base::MonoTime::min(); }
  Task<Result<PeerAnswer>> Ask(Context ctx, raft::NodeId, std::string path, std::string) override;

 private:
  Cluster& cluster_;
  int self_;
};

struct Node {
  Node(Cluster& cluster, base::Executor& executor, int number)
      : wire(cluster, number), disk(static_cast<uint64_t>(number)), pool(executor), log_pool(executor) {}
  Wire wire;
  base::testing::SimDisk disk;
  HeldPool pool, log_pool;
  Options options;
  std::unique_ptr<Replica> replica;
  Status failure;
  std::string arrived;  // the path of the last database that came
};

class Cluster {
 public:
  explicit Cluster(int size, std::function<void(Options&)> settings = {}) {
    std::map<std::string, std::vector<std::string>> initial;
    for (int n = 1; n <= size; ++n) initial["m" + std::to_string(n)] = {Url(n)};
    for (int n = 1; n <= size; ++n) {
      Node& node = *(nodes_[n] = std::make_unique<Node>(*this, executor, n));
      node.options = {.data_dir = "d", .name = "m" + std::to_string(n), .peer_urls = {Url(n)}};
      node.options.initial_cluster = initial;
      node.options.strict_reconfig_check = false;
      if (settings) settings(node.options);
      Start(n);
    }
    EXPECT_TRUE(Until([this] { return leader() != 0; }));
  }

  Replica& operator[](int n) { return *nodes_.at(n)->replica; }
  Node& node(int n) { return *nodes_.at(n); }
  void Start(int n) {
    Node& node = *nodes_.at(n);
    auto r = Replica::Open({executor, node.disk, node.log_pool, node.pool}, node.options,
                           base::Random(static_cast<uint64_t>(n) + 10));
    ASSERT_TRUE(r.has_value()) << r.error().ToString();
    node.replica = std::move(*r);
    node.replica->Attach(node.wire);
    node.replica->on_failure = [&node](const Status& s) { node.failure = s; };
    node.replica->Start();
  }
  void PowerFails(int n) {
    Node& node = *nodes_.at(n);
    node.replica.reset();
    executor.RunReady();
    node.disk.Crash();
  }

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

  // What `task` returns; nothing when it does not within a minute.
  template <class T>
  std::optional<T> Ask(Task<T> task) {
    auto out = std::make_shared<std::optional<T>>();
    base::Spawn(executor, [](Task<T> t, std::shared_ptr<std::optional<T>> o) -> Task<void> {
      *o = co_await std::move(t);
    }(std::move(task), out));
    Until([&] { return out->has_value(); });
    return *out;
  }
  bool Put(int n, const std::string& key, const std::string& value = "v") {
    auto a = Ask((*this)[n].Propose(Context(), PutRequest(key, value)));
    return a && *a && (*a)->error.ok();
  }

  void Carry(int from, raft::Message m, const std::string* database = nullptr) {
    for (auto& [n, node] : nodes_) {
      if (!node->replica || node->replica->member_id() != m.to || cut.contains(n) || cut.contains(from)) continue;
      if (database != nullptr) {
        node->arrived = node->replica->IncomingSnapshotPath(m.snapshot->meta.index);
        EXPECT_TRUE(base::WriteFileAtomically(node->disk, node->arrived, *database).ok());
      }
      executor.Post([node = node.get(), m = std::move(m)]() mutable {
        if (node->replica) (void)node->replica->Receive(std::move(m));
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

void Wire::Send(raft::Message m) { cluster_.Carry(self_, std::move(m)); }

void Wire::SendSnapshot(raft::Message m, std::unique_ptr<DatabaseStream> database) {
  ++cluster_.snapshots;
  raft::NodeId to = m.to;
  bool lost = cluster_.loses_snapshot && cluster_.loses_snapshot(self_, m);
  auto bytes = database->Rest();
  if (!lost && bytes) cluster_.Carry(self_, std::move(m), &*bytes);
  cluster_.executor.Post([this, to, lost] {
    if (Node& n = cluster_.node(self_); n.replica) n.replica->ReportSnapshot(to, lost);
  });
}

Task<Result<PeerAnswer>> Wire::Ask(Context ctx, raft::NodeId, std::string, std::string) {
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
  auto a = c.Ask(c[l].Propose(Context().WithTimeout(c.executor, seconds(1)), PutRequest("a", "2")));
  ASSERT_TRUE(a.has_value());
  ASSERT_FALSE(a->has_value());
  EXPECT_EQ(a->error().code(), base::Code::kDeadlineExceeded);
  EXPECT_EQ(c[l].pending(), 0u);
  auto read = c.Ask(c[l].ReadBarrier(Context().WithTimeout(c.executor, seconds(1))));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->code(), base::Code::kDeadlineExceeded);
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
  c.PowerFails(other);
  c.answer.NotifyAll();
  ASSERT_TRUE(c.Until([&] { return renewed && times && promoted; }));
  for (const auto& s : {renewed, times, promoted}) EXPECT_EQ(*s, mvcc::ErrStopped());
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
  EXPECT_FALSE(promoted->has_value());
  ASSERT_TRUE(c.Until([&] { return c[other].is_leader(); }));
  EXPECT_TRUE(c.Put(other, "a"));
}

TEST(ReplicaCluster, ASnapshotWithoutItsDatabaseIsRefused) {
  Cluster c(3);
  int other = c.Other(c.leader());
  raft::Message m{.type = MessageType::kSnap, .to = c[other].member_id(), .from = c[c.leader()].member_id()};
  m.term = c[other].term();
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->meta = {.index = 1000, .term = m.term};
  m.snapshot = std::move(snapshot);
  Status s = c[other].Receive(std::move(m));
  EXPECT_EQ(s.code(), base::Code::kInvalidArgument) << s.ToString();
  EXPECT_LT(c[other].committed_index(), 1000u);
}

class Snapshots : public testing::Test {
 protected:
  // A member that others have gone on without: more is missing than they still have as entries.
  void FallBehind() {
    leader = c.leader();
    behind = c.Other(leader);
    c.cut = {behind};
    for (int i = 0; i < 30; ++i) ASSERT_TRUE(c.Put(leader, "k" + std::to_string(i), std::string(200, 'x')));
  }
  void ExpectEqual() {
    auto a = c[leader].store().HashAt(0), b = c[behind].store().HashAt(0);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->hash, b->hash);
    EXPECT_TRUE(c.node(behind).failure.ok()) << c.node(behind).failure.ToString();
  }
  Cluster c{3, Forgetful};
  int leader = 0, behind = 0;
};

TEST_F(Snapshots, OneThatDoesNotArriveIsSentAgain) {
  FallBehind();
  int lost = 0;
  c.loses_snapshot = [&](int, const raft::Message&) { return ++lost <= 3; };
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] { return c.CaughtUp(behind); }));
  EXPECT_GE(c.snapshots, 4);
  ExpectEqual();
}

TEST_F(Snapshots, WhatIsLeftOfATransferThatWasCutOffIsCleanedUpAtTheNextStart) {
  FallBehind();
  std::string partial = c[behind].IncomingSnapshotPath(77) + ".3.tmp";
  ASSERT_TRUE(base::WriteFileAtomically(c.node(behind).disk, partial, "the first bytes of a database").ok());
  c.PowerFails(behind);
  c.Start(behind);
  EXPECT_FALSE(*c.node(behind).disk.Exists(partial));
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] { return c.CaughtUp(behind); }));
  ExpectEqual();
}

TEST_F(Snapshots, ASecondOneMayComeWhileTheFirstIsInstalled) {
  FallBehind();
  c.node(behind).pool.Hold();
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] { return c[behind].installing(); }));
  int first = c.snapshots;
  // It vouches for nothing yet, so the leader, once it has forgotten more, sends another.
  c.executor.RunReady();
  c.cut = {behind};
  c[leader].ReportSnapshot(c[behind].member_id(), true);
  c.executor.RunFor(seconds(1));
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(c.Put(leader, "more" + std::to_string(i)));
  c[leader].ReportUnreachable(c[behind].member_id());
  c.cut.clear();
  c.executor.RunFor(seconds(5));
  EXPECT_GT(c.snapshots, first);
  c.node(behind).pool.Release();
  ASSERT_TRUE(c.Until([&] { return !c[behind].installing() && c.CaughtUp(behind); }));
  ExpectEqual();
}

TEST_F(Snapshots, OneThatTheLogNotesIsInstalledAtTheNextStart) {
  FallBehind();
  c.node(behind).pool.Hold();
  c.cut.clear();
  ASSERT_TRUE(c.Until([&] { return c[behind].installing(); }));
  c.cut = {behind};
  EXPECT_LT(c[behind].applied_index(), c[leader].applied_index());
  std::string database = c.node(behind).arrived;
  ASSERT_TRUE(*c.node(behind).disk.Exists(database));
  c.PowerFails(behind);
  c.node(behind).pool.Release();
  c.Start(behind);
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
  (void)c.Ask(c[l].Propose(Context().WithTimeout(c.executor, base::Duration(1)), PutRequest("a", "1")));
  base::MonoTime begun = c.executor.Now();
  ASSERT_TRUE(c.Until([&] { return c.leader() != 0 && c.leader() != l; }));
  EXPECT_LT(c.executor.Now() - begun, 4 * c[l].ElectionTimeout());
  int next = c.leader();
  ASSERT_TRUE(c.Put(next, "b"));
  c.node(l).log_pool.Release();
  ASSERT_TRUE(c.Until([&] { return c.CaughtUp(l); }));
  EXPECT_EQ(c[l].store().HashAt(0)->hash, c[next].store().HashAt(0)->hash);
}

// The first to stand may be the one that must not win; whoever refuses it for its log does not wait for a turn of its
// own.
TEST(ReplicaCluster, WhoeverHasMoreOfTheLogStandsAtOnceWhenTheLeaderIsGone) {
  Cluster c(3);
  int l = c.leader(), behind = c.Other(l), ahead = 6 - l - behind;
  c.cut = {behind};
  ASSERT_TRUE(c.Put(l, "a"));
  c.cut = {l, behind};
  // By now both have heard nothing for an election timeout, and neither stands yet.
  raft::Message vote{.type = MessageType::kPreVote, .to = c[ahead].member_id(), .from = c[behind].member_id()};
  vote.term = c[ahead].term() + 1;
  vote.log_term = 1;
  vote.index = 1;
  EXPECT_TRUE(c.Until([&] { return c[ahead].LeaderIsSilent(); }));
  ASSERT_EQ(c[ahead].leader(), c[l].member_id());
  c.cut = {l};
  base::MonoTime begun = c.executor.Now();
  ASSERT_TRUE(c[ahead].Receive(std::move(vote)).ok());
  ASSERT_TRUE(c.Until([&] { return c[ahead].is_leader(); }));
  EXPECT_LT(c.executor.Now() - begun, c[l].ElectionTimeout() / 2);
}

}  // namespace
}  // namespace kvstore::replica
