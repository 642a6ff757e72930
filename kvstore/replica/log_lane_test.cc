#include "kvstore/replica/log_lane.h"

#include <gtest/gtest.h>

#include "kvstore/replica/testing_parts.h"

namespace kvstore::replica {
namespace {

// Where the store stands, and the log begins.
constexpr uint64_t kBase = 1;

class LogLaneTest : public testing::Test {
 protected:
  void SetUp() override {
    auto fresh = wal::Wal::Create(g.disk, g.shared.options.wal_dir, {.node_id = 1}, g.shared.options.wal);
    ASSERT_TRUE(fresh.has_value());
    disk.on_tended = [] {};
    lane = std::make_unique<LogLane>(g.shared, *g.core, disk, std::move(*fresh), raft::HardState{.term = 1});
    lane->on_logged = [this](raft::Message&& m) { logged.push_back(m.entries.empty() ? 0 : m.entries[0].index); };
    lane->on_written = [this] { ++written; };
  }
  static raft::Message Append(uint64_t index) {
    return {.term = 1, .entries = {TestGround::Entry(index, "e" + std::to_string(index))}, .commit = 1};
  }
  // As the disk has it when the power fails now.
  std::vector<uint64_t> OnTheDisk() {
    g.disk.Crash();
    auto contents = wal::Read(g.disk, g.shared.options.wal_dir, kBase);
    std::vector<uint64_t> out;
    if (contents) {
      for (const raft::Entry& e : contents->entries) out.push_back(e.index);
    }
    return out;
  }

  TestGround g;
  DiskTender disk{g.shared};
  std::unique_ptr<LogLane> lane;
  std::vector<uint64_t> logged;  // the first entry of each message, 0: it had none
  int written = 0;
};

using Indexes = std::vector<uint64_t>;

TEST_F(LogLaneTest, OneWriteAtATimeForAllThatHasGathered) {
  g.log_pool.Hold();
  lane->Add(Append(2));
  lane->Pump();
  EXPECT_TRUE(lane->busy());
  for (uint64_t i : {3, 4, 5}) {
    lane->Add(Append(i));
    lane->Pump();
  }
  g.executor.RunReady();
  EXPECT_EQ(logged, Indexes{}) << "nothing is kept before the disk has it";
  g.log_pool.Release();
  g.executor.RunReady();
  EXPECT_EQ(logged, (Indexes{2}));
  EXPECT_FALSE(lane->busy());
  lane->Pump();
  g.executor.RunReady();
  EXPECT_EQ(logged, (Indexes{2, 3, 4, 5}));
  EXPECT_EQ(g.shared.counters.syncs, 2u);
  EXPECT_EQ(written, 2);
  EXPECT_EQ(g.core->storage().LastIndex(), 5u);
  EXPECT_EQ(OnTheDisk(), (Indexes{2, 3, 4, 5}));
}

TEST_F(LogLaneTest, WhatKeepsNothingWaitsForNothingButItsTurn) {
  raft::Message light{.term = 1, .commit = 3};
  lane->Add(raft::Message(light));
  lane->Pump();
  EXPECT_EQ(logged, (Indexes{0})) << "a commit index alone is not written";
  EXPECT_FALSE(lane->busy());
  lane->Add(Append(2));
  lane->Add(raft::Message(light));
  lane->Pump();
  EXPECT_EQ(logged, (Indexes{0})) << "what stands behind something to write waits with it";
  g.executor.RunReady();
  EXPECT_EQ(logged, (Indexes{0, 2, 0}));
  raft::Message vote{.term = 2, .commit = 3, .vote = 1};
  lane->Add(std::move(vote));
  lane->Pump();
  EXPECT_TRUE(lane->busy()) << "a term or a vote is";
  g.executor.RunReady();
  g.disk.Crash();
  auto contents = wal::Read(g.disk, g.shared.options.wal_dir, kBase);
  ASSERT_TRUE(contents.has_value());
  EXPECT_EQ(contents->hard_state, (raft::HardState{.term = 2, .vote = 1, .commit = 3}));
}

TEST_F(LogLaneTest, AnErrorIsTheEndOfIt) {
  g.disk.faults.sync_error_one_in = 1;
  lane->Add(Append(2));
  lane->Pump();
  g.executor.RunReady();
  EXPECT_TRUE(g.shared.life.failed());
  EXPECT_EQ(logged, Indexes{});
  g.disk.faults = {};
  lane->Add(Append(3));
  lane->Pump();
  g.executor.RunReady();
  EXPECT_EQ(logged, Indexes{});
}

TEST_F(LogLaneTest, ACheckpointIsNotedWithTheNextWrite) {
  lane->Add(Append(2));
  lane->Pump();
  g.executor.RunReady();
  lane->Release({{.voters = {1}}, 2, 1});
  lane->Pump();
  g.executor.RunReady();
  auto noted = wal::ReadSnapshots(g.disk, g.shared.options.wal_dir);
  ASSERT_TRUE(noted.has_value());
  ASSERT_FALSE(noted->empty());
  EXPECT_EQ(noted->back().index, 2u);
  EXPECT_FALSE(lane->busy());
  lane->Pump();
  EXPECT_FALSE(lane->busy()) << "and once only";
}

}  // namespace
}  // namespace kvstore::replica
