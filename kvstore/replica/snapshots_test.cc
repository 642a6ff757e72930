#include "kvstore/replica/snapshots.h"

#include <gtest/gtest.h>

#include "kvstore/replica/export.h"
#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

using std::chrono::seconds;

class SnapshotsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto fresh = wal::Wal::Create(g.disk, g.shared.options.wal_dir, {.node_id = 1}, g.shared.options.wal);
    ASSERT_TRUE(fresh.has_value());
    disk.on_tended = [] {};
    log = std::make_unique<LogLane>(g.shared, *g.core, disk, std::move(*fresh), raft::HardState{.term = 1});
    maintenance = std::make_unique<Maintenance>(g.shared, *g.core, disk, *log);
    maintenance->snapshot_waits = maintenance->snapshot_runs = [] { return false; };
    maintenance->on_checkpoint = [] {};
    log->on_written = apply.on_applied = apply.on_compaction = apply.on_turn = [] {};
    snapshots = std::make_unique<Snapshots>(g.shared, *g.core, disk, apply, *maintenance);
    snapshots->route = [this](raft::Message&& m) { routed.push_back(m.index); };
    snapshots->on_replaced = [this] { ++replaced; };
    snapshots->on_installed = [] {};
  }
  static raft::Message Logged(uint64_t response) {
    raft::Message m;
    m.responses.push_back({.type = raft::MessageType::kAppResp, .to = 2, .index = response});
    return m;
  }
  // One that came and is in the log, of a member whose store had this key.
  raft::Message Arrived(uint64_t index, const std::string& key) {
    TestGround other({1, 2});
    mvcc::Store& store = *other.shared.store;
    store.Begin();
    EXPECT_TRUE(store.Put(key, "v", 0, false).has_value());
    store.End();
    other.core->Applied({.term = 1, .index = index});
    auto image = other.Await(TakeImage(store, other.core->Mark(), other.executor, [] { return true; }));
    EXPECT_TRUE(image.has_value() && image->has_value());
    auto stream = DatabaseStream::Make(std::move(**image));
    auto bytes = stream ? (*stream)->Rest() : base::Err(stream.error());
    EXPECT_TRUE(bytes.has_value());
    EXPECT_TRUE(base::WriteFileAtomically(g.disk, IncomingSnapshotPath("data", index), *bytes).ok());
    auto snapshot = std::make_shared<raft::Snapshot>();
    snapshot->meta = {{.voters = {1, 2, 3}}, index, 1};
    raft::Message m = Logged(index);
    m.snapshot = std::move(snapshot);
    return m;
  }

  TestGround g{{1, 2}};
  DiskTender disk{g.shared};
  Proposals proposals{g.shared, *g.core};
  ApplyLane apply{g.shared, *g.core, proposals};
  std::unique_ptr<LogLane> log;
  std::unique_ptr<Maintenance> maintenance;
  std::unique_ptr<Snapshots> snapshots;
  std::vector<uint64_t> routed;
  int replaced = 0;
};

TEST_F(SnapshotsTest, NothingIsVouchedForBeforeTheStoreHasIt) {
  snapshots->Logged(Logged(10));
  EXPECT_EQ(routed, (std::vector<uint64_t>{10}));
  snapshots->Logged(Arrived(50, "theirs"));
  snapshots->Logged(Logged(51));
  apply.Add({.entries = {TestGround::Entry(2, PutRequest("ours", "v"))}});
  snapshots->MaybeInstall();
  EXPECT_FALSE(snapshots->importing()) << "what stands before it is applied first";
  g.executor.RunReady();
  snapshots->MaybeInstall();
  EXPECT_TRUE(snapshots->importing());
  EXPECT_EQ(routed, (std::vector<uint64_t>{10}));
  g.executor.RunFor(seconds(1));
  EXPECT_EQ(routed, (std::vector<uint64_t>{10, 50, 51}));
  EXPECT_FALSE(snapshots->waiting());
  EXPECT_EQ(replaced, 1);
  EXPECT_EQ(g.core->applied().index, 50u);
  EXPECT_EQ(g.core->applied().conf_state.voters.size(), 3u);
  EXPECT_EQ(maintenance->checkpointed(), 50u);
  EXPECT_EQ(g.shared.store->Count({"theirs", ""}, 0), 1);
  EXPECT_EQ(g.shared.store->Count({"ours", ""}, 0), 0);
  EXPECT_TRUE(*g.disk.Exists("data/member/kv/state"));
  EXPECT_FALSE(*g.disk.Exists("data/member/snap/installing.db"));
}

TEST_F(SnapshotsTest, ADatabaseThatTheLogDoesNotKnowEndsTheMember) {
  raft::Message m = Arrived(50, "theirs");
  auto other = std::make_shared<raft::Snapshot>(*m.snapshot);
  other->meta.index = 60;
  ASSERT_TRUE(g.disk.Rename(IncomingSnapshotPath("data", 50), IncomingSnapshotPath("data", 60)).ok());
  m.snapshot = other;
  snapshots->Logged(std::move(m));
  snapshots->MaybeInstall();
  g.executor.RunFor(seconds(1));
  EXPECT_EQ(g.shared.life.failure().code(), base::Code::kDataLoss);
  EXPECT_EQ(replaced, 0);
  EXPECT_EQ(routed, std::vector<uint64_t>{});
}

// The log in memory keeps what a member needs that has just got a snapshot, until it has had time to ask.
TEST_F(SnapshotsTest, EntriesBehindASnapshotThatGoesAreKept) {
  struct Nobody final : Transport {
    void Send(raft::Message) override {}
    void SendSnapshot(raft::Message m, std::unique_ptr<DatabaseStream>) override { sent = m.snapshot->meta.index; }
    void SetPeers(std::vector<mvcc::Member>) override {}
    std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return std::nullopt; }
    base::Task<base::Result<PeerAnswer>> Ask(base::Context, raft::NodeId, std::string, std::string,
                                             std::string) override {
      co_return base::Err(base::Unavailable("nobody"));
    }
    uint64_t sent = 0;
  } nobody;
  g.shared.transport = &nobody;
  raft::Entries entries;
  for (uint64_t i = 2; i <= 20000; ++i) entries.push_back(TestGround::Entry(i, "x"));
  g.core->storage().Append(entries);
  g.core->Applied({.term = 1, .index = 10});
  base::Spawn(g.executor, snapshots->Send({.type = raft::MessageType::kSnap, .to = 2}));
  g.executor.RunFor(seconds(1));
  EXPECT_EQ(nobody.sent, 10u);
  g.core->Applied({.term = 1, .index = 20000});
  snapshots->CompactLog();
  EXPECT_EQ(g.core->storage().FirstIndex(), 11u);
  snapshots->Report(2, false);
  g.executor.RunFor(seconds(11));
  snapshots->CompactLog();
  EXPECT_EQ(g.core->storage().FirstIndex(), 20001u - g.shared.options.catch_up_entries);
}

}  // namespace
}  // namespace kvstore::replica
