#include "kvstore/wal/wal.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/testing/sim_block_files.h"
#include "base/testing/sim_disk.h"
#include "base/testing/sim_executor.h"

namespace kvstore::wal {
namespace {

using base::testing::SimDisk;

std::string Golden(const std::string& name) {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  std::string root = shared ? shared : std::string(source ? source : "../..") + "/../shared";
  return root + "/golden/etcd-files/" + name;
}

raft::Entry MakeEntry(uint64_t index, uint64_t term, std::string data) {
  return {.term = term, .index = index, .data = std::make_shared<const std::string>(std::move(data))};
}

constexpr Options kSmall{.segment_bytes = 16 << 10};

TEST(Wal, ReadsARealEtcdLog) {
  base::FileSystem& posix = base::PosixFileSystem();
  std::string segment = SegmentName(0, 0);
  auto bytes = base::ReadFile(posix, Golden(segment));
  if (!bytes) GTEST_SKIP() << "no golden data at " << Golden(segment);
  SimDisk disk(1);
  ASSERT_TRUE(disk.MakeDirectories("wal").ok());
  ASSERT_TRUE(base::WriteFileAtomically(disk, "wal/" + segment, *bytes).ok());
  auto c = Read(disk, "wal");
  ASSERT_TRUE(c.has_value()) << c.error().ToString();
  EXPECT_EQ(c->entries.size(), 223u);
  EXPECT_EQ(c->metadata.node_id, 10663220382011605510u);
  EXPECT_EQ(c->metadata.cluster_id, 12411183030721760150u);
  EXPECT_EQ(c->hard_state.term, 2u);
  EXPECT_EQ(c->hard_state.commit, 223u);
  // What we write of these records is what etcd wrote.
  SimDisk copy(1);
  auto w = Wal::Create(copy, "wal", c->metadata);
  ASSERT_TRUE(w.has_value());
  ASSERT_TRUE((*w)->Save({1, 0, 1}, {c->entries[0]}).ok());
  ASSERT_TRUE((*w)->Sync().ok());
  auto file = copy.Open("wal/" + segment, base::OpenMode::kRead);
  EXPECT_EQ((*file)->ReadAt(0, 0xd0 + 8 + 16 - 8), bytes->substr(0, 0xd0 + 8 + 16 - 8));
}

// The same bytes, whichever way they went to the disk.
TEST(Wal, BlocksHoldWhatPlainWritesHold) {
  base::testing::SimExecutor executor(3);
  SimDisk disk(3);
  base::testing::SimBlockFiles blocks(executor, disk, base::Random(3));
  Options with = kSmall;
  with.blocks = &blocks;
  for (const char* directory : {"plain", "blocks"})
    ASSERT_TRUE(Wal::Create(disk, directory, {1, 2}, kSmall).has_value());
  uint64_t index = 0;
  for (int life = 0; life < 4; ++life) {
    auto plain = Wal::Open(disk, "plain", 0, kSmall), direct = Wal::Open(disk, "blocks", 0, with);
    ASSERT_TRUE(plain.has_value() && direct.has_value());
    EXPECT_EQ(direct->contents.entries.size(), index);
    for (int i = 0; i < 60; ++i) {
      ++index;
      raft::Entries entries = {MakeEntry(index, 1, std::string(index % 700, 'x'))};
      ASSERT_TRUE(plain->wal->Save({1, 1, index}, entries).ok() && plain->wal->Sync().ok());
      ASSERT_TRUE(direct->wal->Save({1, 1, index}, entries).ok());
      base::Status synced = base::Unavailable("");
      bool ended = false;
      if (direct->wal->StartSync([&](base::Status s) {
            synced = std::move(s);
            ended = true;
          })) {
        ASSERT_TRUE(executor.RunUntil([&] { return ended; }, std::chrono::seconds(1)));
      }
      if (synced.code() == base::Code::kUnavailable) synced = direct->wal->Sync();
      ASSERT_TRUE(synced.ok());
    }
  }
  EXPECT_GT(blocks.started(), 100u);
  auto names = disk.List("plain");
  ASSERT_TRUE(names.has_value());
  EXPECT_GT(names->size(), 2u);
  EXPECT_EQ(*names, *disk.List("blocks"));
  for (const std::string& n : *names) {
    EXPECT_EQ(*base::ReadFile(disk, "plain/" + n), *base::ReadFile(disk, "blocks/" + n)) << n;
  }
}

TEST(Wal, WritesCutsAndReadsBack) {
  SimDisk disk(7);
  auto w = Wal::Create(disk, "d/wal", {1, 2}, kSmall);
  ASSERT_TRUE(w.has_value()) << w.error().ToString();
  for (uint64_t i = 1; i <= 200; ++i) {
    ASSERT_TRUE((*w)->Save({1, 1, i}, {MakeEntry(i, 1, std::string(500, 'x'))}).ok());
  }
  ASSERT_TRUE((*w)->Sync().ok());
  EXPECT_GT((*w)->segments(), 5u);
  auto opened = Wal::Open(disk, "d/wal", 0, kSmall);
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  EXPECT_EQ(opened->contents.entries.size(), 200u);
  EXPECT_EQ(opened->contents.hard_state, (raft::HardState{1, 1, 200}));
  ASSERT_TRUE(opened->wal->SaveSnapshot({.index = 150, .term = 1}).ok());
  for (const std::string& file : opened->wal->ReleaseTo(150)) ASSERT_TRUE(disk.Remove(file).ok());
  ASSERT_TRUE(opened->wal->Save({2, 1, 201}, {MakeEntry(201, 2, "after")}).ok());
  ASSERT_TRUE(opened->wal->Sync().ok());
  auto again = Read(disk, "d/wal", 150);
  ASSERT_TRUE(again.has_value()) << again.error().ToString();
  EXPECT_EQ(again->entries.size(), 51u);
  EXPECT_EQ(again->entries.back().bytes(), "after");
  ASSERT_EQ(again->snapshots.size(), 1u);
  EXPECT_EQ(again->snapshots[0].index, 150u);
}

TEST(Wal, ALaterTermReplacesTheTail) {
  SimDisk disk(7);
  auto w = Wal::Create(disk, "wal", {1, 2}, kSmall);
  ASSERT_TRUE((*w)->Save({1, 1, 1}, {MakeEntry(1, 1, "a"), MakeEntry(2, 1, "b"), MakeEntry(3, 1, "c")}).ok());
  ASSERT_TRUE((*w)->Save({2, 1, 1}, {MakeEntry(2, 2, "B")}).ok());
  ASSERT_TRUE((*w)->Sync().ok());
  auto c = Read(disk, "wal");
  ASSERT_EQ(c->entries.size(), 2u);
  EXPECT_EQ(c->entries[1].bytes(), "B");
}

// A member that was behind gets another's snapshot: what it had written behind that index is of no history that counts.
TEST(Wal, WhatASnapshotContradictsDoesNotComeBack) {
  SimDisk disk(7);
  auto w = Wal::Create(disk, "wal", {1, 2}, kSmall);
  ASSERT_TRUE((*w)->Save({1, 1, 1}, {MakeEntry(1, 1, "a"), MakeEntry(2, 1, "b")}).ok());
  ASSERT_TRUE((*w)->Save({1, 1, 1}, {MakeEntry(3, 1, "stale"), MakeEntry(4, 1, "stale")}).ok());
  ASSERT_TRUE((*w)->StartOver({.index = 3, .term = 5}).ok());
  ASSERT_TRUE((*w)->Save({5, 0, 3}, {}).ok());
  ASSERT_TRUE((*w)->Sync().ok());
  auto c = Read(disk, "wal", 3);
  ASSERT_TRUE(c.has_value()) << c.error().ToString();
  EXPECT_TRUE(c->entries.empty()) << c->entries[0].bytes();
  EXPECT_EQ(c->hard_state, (raft::HardState{5, 0, 3}));
  auto snapshots = ReadSnapshots(disk, "wal");
  ASSERT_TRUE(snapshots.has_value() && !snapshots->empty());
  EXPECT_EQ(snapshots->back().index, 3u);
  ASSERT_TRUE((*w)->Save({5, 0, 4}, {MakeEntry(4, 5, "good")}).ok());
  ASSERT_TRUE((*w)->Sync().ok());
  auto opened = Wal::Open(disk, "wal", 3, kSmall);
  ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
  ASSERT_EQ(opened->contents.entries.size(), 1u);
  EXPECT_EQ(opened->contents.entries[0].bytes(), "good");
}

TEST(Wal, DamageInTheMiddleIsRefusedWithItsPlace) {
  SimDisk disk(7);
  auto w = Wal::Create(disk, "wal", {1, 2}, kSmall);
  for (uint64_t i = 1; i <= 20; ++i) ASSERT_TRUE((*w)->Save({1, 1, i}, {MakeEntry(i, 1, "payload")}).ok());
  ASSERT_TRUE((*w)->Sync().ok());
  disk.FlipBit("wal/" + SegmentName(0, 0), 600 * 8 + 3);
  auto c = Read(disk, "wal");
  ASSERT_FALSE(c.has_value());
  EXPECT_EQ(c.error().code(), base::Code::kDataLoss);
  EXPECT_NE(c.error().message().find("at offset"), std::string::npos) << c.error().ToString();
}

// Whatever a crash leaves of un-synced writes: what was synced is there, and it is a prefix of what was written.
TEST(Wal, CrashesLoseOnlyWhatWasNotSynced) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SimDisk disk(seed);
    base::Random random(seed * 77);
    ASSERT_TRUE(disk.MakeDirectories("m").ok());
    auto w = Wal::Create(disk, "m/wal", {1, 2}, kSmall);
    ASSERT_TRUE(w.has_value());
    std::unique_ptr<Wal> wal = std::move(*w);
    uint64_t written = 0, synced = 0;
    for (int life = 0; life < 3; ++life) {
      uint64_t n = 1 + random.Below(40);
      for (uint64_t i = 0; i < n; ++i) {
        ++written;
        ASSERT_TRUE(wal->Save({1, 1, written}, {MakeEntry(written, 1, std::string(random.Below(2000), 'y'))}).ok());
        if (random.OneIn(3)) {
          ASSERT_TRUE(wal->Sync().ok());
          synced = written;
        }
      }
      disk.Crash();
      auto opened = Wal::Open(disk, "m/wal", 0, kSmall);
      ASSERT_TRUE(opened.has_value()) << opened.error().ToString();
      ASSERT_GE(opened->contents.entries.size(), synced);
      ASSERT_LE(opened->contents.entries.size(), written);
      written = synced = opened->contents.entries.size();
      for (uint64_t i = 0; i < written; ++i) ASSERT_EQ(opened->contents.entries[i].index, i + 1);
      wal = std::move(opened->wal);
    }
  }
}

TEST(Wal, SnapFilesRoundTrip) {
  SimDisk disk(1);
  ASSERT_TRUE(disk.MakeDirectories("snap").ok());
  raft::Snapshot s{.data = "{}", .meta = {.conf_state = {.voters = {7}}, .index = 9, .term = 2}};
  ASSERT_TRUE(WriteSnap(disk, "snap", s).ok());
  auto back = ReadSnap(disk, "snap/0000000000000002-0000000000000009.snap");
  ASSERT_TRUE(back.has_value()) << back.error().ToString();
  EXPECT_EQ(back->meta, s.meta);
  EXPECT_EQ(back->data, "{}");
  disk.FlipBit("snap/0000000000000002-0000000000000009.snap", 100);
  EXPECT_FALSE(ReadSnap(disk, "snap/0000000000000002-0000000000000009.snap").has_value());
}

}  // namespace
}  // namespace kvstore::wal
