#include <gtest/gtest.h>

#include <cstdlib>

#include "kvstore/bolt/bolt.h"
#include "kvstore/mvcc/member_id.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/import.h"
#include "kvstore/replica/testing_member.h"

namespace kvstore::replica {
namespace {

using base::Task;
using base::testing::SimDisk;
using base::testing::SimExecutor;

constexpr uint32_t kClusterVersionSet = 1300;  // of InternalRaftRequest

// A peer that says nothing but its version.
struct SilentPeer final : Transport {
  void Send(raft::Message) override {}
  void SendSnapshot(raft::Message, std::unique_ptr<DatabaseStream>) override {}
  void SetPeers(std::vector<mvcc::Member>) override {}
  std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return base::MonoTime{}; }
  std::string ServerVersion(raft::NodeId) const override { return version; }
  Task<base::Result<PeerAnswer>> Ask(base::Context, raft::NodeId, std::string, std::string, std::string) override {
    co_return base::Err(base::Unavailable("silent"));
  }
  std::string version;
};

// A cluster of one.
class OneMember : public testing::Test {
 protected:
  void Start() {
    m.Start();
    EXPECT_TRUE(m.Barrier().ok());
  }
  SimExecutor executor{1};
  SilentPeer peer;  // for whom it concerns
  TestMember m{executor};
};

TEST(Identity, IdsAreEtcds) {
  uint64_t id = mvcc::MemberId({"http://127.0.0.1:12380"}, "etcd-cluster");
  EXPECT_EQ(id, 15985099378392235387u);
  EXPECT_EQ(mvcc::ClusterId({id}), 12101053776118486841u);
}

TEST_F(OneMember, StartsServesAndStartsAgain) {
  Start();
  EXPECT_EQ(m.Put("a", "1"), 2);
  EXPECT_EQ(m.Put("b", "1"), 3);
  EXPECT_EQ(m.replica->term(), 2u);
  ASSERT_EQ(m.replica->Members().size(), 1u);
  EXPECT_EQ(m.replica->Members()[0].name, "default");
  uint32_t hash = m.Hash();
  m.PowerFails();
  Start();
  EXPECT_EQ(m.Hash(), hash);
  EXPECT_EQ(m.Put("c", "1"), 4);
  EXPECT_EQ(m.replica->term(), 3u);
}

TEST_F(OneMember, CheckpointsLetTheLogGo) {
  m.options.snapshot_count = 50;
  Start();
  for (int i = 0; i < 400; ++i) m.Put("k" + std::to_string(i % 20), std::string(500, 'v'));
  executor.RunFor(std::chrono::seconds(1));
  EXPECT_GE(m.replica->counters().checkpoints, 4u);
  EXPECT_LE(m.disk.List("data/member/wal")->size(), 3u);
  int64_t revision = m.replica->store().revision();
  uint32_t hash = m.Hash();
  m.PowerFails();
  Start();
  EXPECT_EQ(m.replica->store().revision(), revision);
  EXPECT_EQ(m.Hash(), hash);
}

TEST_F(OneMember, LeasesRunOutByTheClock) {
  Start();
  std::string grant, inner;
  wire::PutUint(inner, 1, 5);
  wire::PutUint(inner, 2, 77);
  wire::PutBytes(grant, 8, inner);
  auto granted = m.Propose(grant);
  ASSERT_TRUE(granted.has_value() && granted->error.ok());
  EXPECT_TRUE(m.replica->store().leases().Contains(77));
  executor.RunFor(std::chrono::seconds(3));
  EXPECT_TRUE(m.replica->store().leases().Contains(77));
  executor.RunFor(std::chrono::seconds(3));
  EXPECT_FALSE(m.replica->store().leases().Contains(77));
}

TEST_F(OneMember, TheClusterVersionIsWhatAllMembersSpeak) {
  m.transport = &peer;
  Start();
  executor.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(m.replica->ClusterVersion(), "3.7.0");
  // As it is where older members have agreed on theirs; one of them is still there.
  mvcc::Member learner{.id = 77, .peer_urls = {"http://127.0.0.1:1"}, .is_learner = true};
  auto added = Await(executor, m.replica->ChangeMembers({}, {raft::ConfChangeType::kAddLearnerNode, learner.id,
                                                             mvcc::MemberToJson(learner)}));
  ASSERT_TRUE(added.has_value() && added->has_value());
  std::string version, request;
  wire::PutBytes(version, 1, "3.6.0");
  wire::PutBytes(request, kClusterVersionSet, version);
  auto set = m.Propose(request);
  ASSERT_TRUE(set.has_value() && set->error.ok());
  for (const char* older : {"", "3.6.9"}) {
    peer.version = older;
    executor.RunFor(std::chrono::seconds(5));
    EXPECT_EQ(m.replica->ClusterVersion(), "3.6.0") << older;
  }
  peer.version = "3.8.0";
  executor.RunFor(std::chrono::seconds(5));
  EXPECT_EQ(m.replica->ClusterVersion(), "3.7.0");
}

TEST_F(OneMember, AFailedSyncStopsIt) {
  Start();
  m.disk.faults.sync_error_one_in = 1;
  m.may_fail = true;
  EXPECT_EQ(m.Put("a", "1"), 0);
  EXPECT_FALSE(m.failure.ok());
}

// When the answer comes, the files are as small as they get, also on the disk.
TEST_F(OneMember, ADefragmentationIsOverWhenItIsAnswered) {
  m.options.store.segments = {.segment_bytes = 64 << 20, .tail_bytes = 4 << 10};
  Start();
  for (int i = 0; i < 50; ++i) ASSERT_NE(m.Put("k" + std::to_string(i % 10), std::string(2000, 'x')), 0);
  ASSERT_TRUE(m.replica->store().Compact(m.replica->store().revision()).ok());
  auto bytes = [&] {
    uint64_t sum = 0;
    for (const std::string& name : *m.disk.List("data/member/kv")) {
      if (name.ends_with(".seg")) sum += *(*m.disk.Open("data/member/kv/" + name, base::OpenMode::kRead))->Size();
    }
    return sum;
  };
  auto done = Await(m.executor, m.replica->Defragment({}));
  ASSERT_TRUE(done && done->ok());
  EXPECT_LT(m.replica->store().size_bytes(), 25'000u);
  EXPECT_LT(bytes(), 30'000u);
  EXPECT_NE(m.Put("k0", "after"), 0);
}

std::string SharedRoot() {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  return (shared ? shared : std::string(source ? source : "../..") + "/../shared") + "/golden/etcd-files/";
}

// A real member's log alone, put where the member had it: the replica starts on it and goes on from there.
TEST_F(OneMember, StartsOnARealMembersLog) {
  auto segment = base::ReadFile(base::PosixFileSystem(), SharedRoot() + wal::SegmentName(0, 0));
  if (!segment) GTEST_SKIP() << "no golden data at " << SharedRoot();
  ASSERT_TRUE(m.disk.MakeDirectories("data/member/wal").ok());
  ASSERT_TRUE(base::WriteFileAtomically(m.disk, "data/member/wal/" + wal::SegmentName(0, 0), *segment).ok());
  Start();
  EXPECT_EQ(m.Hash(213), 1424753234u);
  EXPECT_EQ(m.replica->term(), 3u);
  EXPECT_EQ(m.Put("x", "1"), 214);
}

// etcd's snapshot as the database of a member, exported again: the same keys, the same status.
TEST(Databases, ComeInAndGoOut) {
  auto db = base::ReadFile(base::PosixFileSystem(), SharedRoot() + "snapshot.db");
  if (!db) GTEST_SKIP() << "no golden data at " << SharedRoot();
  SimDisk disk(1);
  ASSERT_TRUE(disk.MakeDirectories("d").ok());
  ASSERT_TRUE(base::WriteFileAtomically(disk, "d/in.db", *db).ok());
  auto store = mvcc::Store::Open(disk, "d/kv");
  ASSERT_TRUE(store.has_value());
  auto mark = ImportDatabase(disk, "d/in.db", **store);
  ASSERT_TRUE(mark.has_value()) << mark.error().ToString();
  EXPECT_EQ(mark->index, 223u);
  EXPECT_EQ((*store)->revision(), 213);
  EXPECT_EQ((*store)->compact_revision(), 30);
  EXPECT_EQ((*store)->HashAt(213)->hash, 1424753234u);
  EXPECT_EQ((*store)->leases().Find(1234)->keys.size(), 1u);
  auto out = disk.Open("d/out.db", base::OpenMode::kCreate);
  SimExecutor executor(1);
  base::Status written;
  base::Spawn(executor,
              [](mvcc::Store& store, mvcc::AppliedMark mark, SimExecutor& executor, base::File& out,
                 base::Status& written) -> Task<void> {
                auto image = co_await TakeImage(store, mark, executor, [] { return true; });
                auto stream = image ? DatabaseStream::Make(std::move(*image)) : base::Err(image.error());
                auto bytes = stream ? (*stream)->Rest() : base::Err(stream.error());
                written = bytes ? out.Append(*bytes) : bytes.error();
                if (bytes) EXPECT_EQ((*stream)->size(), bytes->size());
              }(**store, *mark, executor, **out, written));
  executor.RunFor(std::chrono::seconds(1));
  ASSERT_TRUE(written.ok()) << written.ToString();
  auto reader = bolt::Reader::Open(**out, *(*out)->Size());
  ASSERT_TRUE(reader.has_value());
  auto s = bolt::Summarize(*reader, *(*out)->Size());
  ASSERT_TRUE(s.has_value());
  EXPECT_EQ(s->hash, 3872980362u) << "bit for bit what etcd had in it";
  EXPECT_EQ(s->total_keys, 207);
}

}  // namespace
}  // namespace kvstore::replica
