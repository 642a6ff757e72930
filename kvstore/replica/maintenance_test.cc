#include "kvstore/replica/maintenance.h"

#include <gtest/gtest.h>

#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class MaintenanceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto fresh = wal::Wal::Create(g.disk, g.shared.options.wal_dir, {.node_id = 1}, g.shared.options.wal);
    ASSERT_TRUE(fresh.has_value());
    log = std::make_unique<LogLane>(g.shared, *g.core, disk, std::move(*fresh), raft::HardState{.term = 1});
    log->on_logged = [](raft::Message&&) {};
    log->on_written = [] {};
    m = std::make_unique<Maintenance>(g.shared, *g.core, disk, *log);
    disk.on_tended = [this] { m->Resume(); };
    m->snapshot_waits = [this] { return snapshot_waits; };
    m->snapshot_runs = [this] { return snapshot_runs; };
    m->on_checkpoint = [this] { ++checkpoints; };
  }
  void Put(int times) {
    mvcc::Store& store = *g.shared.store;
    for (int i = 0; i < times; ++i) {
      store.Begin();
      ASSERT_TRUE(store.Put("k" + std::to_string(i % 10), std::string(500, 'v'), 0, false).has_value());
      store.End();
    }
  }

  TestGround g;
  DiskTender disk{g.shared};
  std::unique_ptr<LogLane> log;
  std::unique_ptr<Maintenance> m;
  bool snapshot_waits = false, snapshot_runs = false;
  int checkpoints = 0;
};

TEST_F(MaintenanceTest, ACompactionGoesInStepsAndGivesItsSpaceBack) {
  g.executor.RunFor(seconds(1));  // away from the clock's zero
  Put(500);
  uint64_t before = g.shared.store->size_bytes();
  ASSERT_TRUE(g.shared.store->Compact(g.shared.store->revision()).ok());
  m->Begin();
  EXPECT_TRUE(g.shared.store->compacting()) << "not inside the call";
  g.executor.RunFor(seconds(2));
  EXPECT_FALSE(g.shared.store->compacting());
  EXPECT_EQ(g.shared.counters.compactions, 1u);
  EXPECT_LT(g.shared.store->size_bytes(), before / 4);
  EXPECT_GE(checkpoints, 1) << "files go with one";
  EXPECT_EQ(g.shared.store->dropped_bytes(), 0u);
}

TEST_F(MaintenanceTest, NothingChangesWhileASnapshotIsMadeReady) {
  Put(500);
  ASSERT_TRUE(g.shared.store->Compact(g.shared.store->revision()).ok());
  snapshot_runs = snapshot_waits = true;
  m->Begin();
  g.executor.RunFor(seconds(2));
  EXPECT_TRUE(g.shared.store->compacting());
  EXPECT_EQ(g.shared.store->compacted_versions(), 0u);
  m->MaybeCheckpoint();
  EXPECT_FALSE(m->checkpointing());
  snapshot_runs = snapshot_waits = false;
  disk.Tend();
  g.executor.RunFor(seconds(2));
  EXPECT_FALSE(g.shared.store->compacting());
}

TEST_F(MaintenanceTest, ACheckpointComesWithEnoughEntriesAndShortensTheLog) {
  g.core->Applied({.term = 1, .index = 100});
  m->MaybeCheckpoint();
  EXPECT_FALSE(m->checkpointing()) << "99 entries";
  g.core->Applied({.term = 1, .index = 101});
  g.pool.Hold();
  m->MaybeCheckpoint();
  EXPECT_TRUE(m->checkpointing());
  g.core->Applied({.term = 1, .index = 300});
  m->MaybeCheckpoint();
  g.executor.RunReady();
  EXPECT_EQ(checkpoints, 0);
  g.pool.Release();
  g.executor.RunFor(milliseconds(100));
  EXPECT_EQ(checkpoints, 1) << "one at a time";
  EXPECT_EQ(m->checkpointed(), 101u);
  auto noted = wal::ReadSnapshots(g.disk, g.shared.options.wal_dir);
  ASSERT_TRUE(noted.has_value() && !noted->empty());
  EXPECT_EQ(noted->back().index, 101u);
  auto again = mvcc::Store::Open(g.disk, "data/member/kv", g.shared.options.store);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ((*again)->checkpointed().index, 101u);
}

TEST_F(MaintenanceTest, ADiskThatFailsEndsTheMember) {
  g.disk.faults.sync_error_one_in = 1;
  Put(1);
  ASSERT_TRUE(m->StartCheckpoint().ok());
  g.executor.RunFor(milliseconds(100));
  EXPECT_TRUE(g.shared.life.failed());
  EXPECT_FALSE(m->checkpointing());
  EXPECT_EQ(checkpoints, 0);
}

// The log's fsync has the disk between two steps.
TEST(DiskTender, OneStepAtATimeAndAPause) {
  TestGround g;
  DiskTender disk(g.shared);
  int tended = 0;
  disk.on_tended = [&] { ++tended; };
  std::shared_ptr<base::File> file = std::move(*g.disk.Open("data/old", base::OpenMode::kCreate));
  ASSERT_TRUE(file->Append(std::string(10 << 20, 'x')).ok());
  std::weak_ptr<base::File> watched = file;
  disk.Add(std::move(file));
  base::MonoTime begun = g.executor.Now();
  disk.Tend();
  disk.Tend();
  g.executor.RunReady();
  EXPECT_EQ(tended, 1);
  EXPECT_EQ(*watched.lock()->Size(), 6u << 20);
  ASSERT_TRUE(g.executor.RunUntil([&] { return watched.expired(); }, seconds(1)));
  EXPECT_GE(g.executor.Now() - begun, milliseconds(6));
}

}  // namespace
}  // namespace kvstore::replica
