#include "kvstore/replica/replica.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/testing/sim_disk.h"
#include "base/testing/sim_executor.h"
#include "kvstore/bolt/bolt.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/identity.h"
#include "kvstore/replica/import.h"
#include "kvstore/wire/wire.h"

namespace kvstore::replica {
namespace {

using base::Task;
using base::testing::SimDisk;
using base::testing::SimExecutor;

constexpr uint32_t kClusterVersionSet = 1300;  // of InternalRaftRequest

std::string PutRequest(std::string_view key, std::string_view value) {
  std::string inner, out;
  wire::PutBytes(inner, 1, key);
  wire::PutBytes(inner, 2, value);
  wire::PutBytes(out, 4, inner);
  return out;
}

struct Member {
  explicit Member(Options o = {}) : options(std::move(o)) {
    options.data_dir = "data";
    options.wal.segment_bytes = 32 << 10;
    options.store.segments = {.segment_bytes = 32 << 10, .tail_bytes = 2 << 10};
  }
  void Start() {
    auto r = Replica::Open({executor, disk, pool, pool}, options, base::Random(1));
    ASSERT_TRUE(r.has_value()) << r.error().ToString();
    replica = std::move(*r);
    replica->on_failure = [](const base::Status& s) { ADD_FAILURE() << s.ToString(); };
    replica->Start();
  }
  bool Run(Task<void> task) {
    bool done = false;
    base::Spawn(executor, std::move(task), [&] { done = true; });
    return executor.RunUntil([&] { return done; }, std::chrono::seconds(30));
  }
  int64_t Put(std::string key, std::string value) {
    int64_t revision = 0;
    EXPECT_TRUE(Run([](Member& m, std::string k, std::string v, int64_t& out) -> Task<void> {
      auto a = co_await m.replica->Propose({}, PutRequest(k, v));
      EXPECT_TRUE(a.has_value() && a->error.ok());
      if (a) out = a->revision;
    }(*this, key, value, revision)));
    return revision;
  }
  void Barrier() {
    EXPECT_TRUE(Run([](Member& m) -> Task<void> {
      auto s = co_await m.replica->ReadBarrier({});
      EXPECT_TRUE(s.ok()) << s.ToString();
    }(*this)));
  }
  SimExecutor executor{1};
  base::testing::SimBlockingPool pool;
  SimDisk disk{1};
  Options options;
  std::unique_ptr<Replica> replica;
};

TEST(Identity, IdsAreEtcds) {
  uint64_t id = MemberId({"http://127.0.0.1:12380"}, "etcd-cluster");
  EXPECT_EQ(id, 15985099378392235387u);
  EXPECT_EQ(ClusterId({id}), 12101053776118486841u);
}

TEST(Replica, StartsServesAndStartsAgain) {
  Member m;
  m.Start();
  m.Barrier();
  EXPECT_EQ(m.Put("a", "1"), 2);
  EXPECT_EQ(m.Put("b", "1"), 3);
  EXPECT_EQ(m.replica->term(), 2u);
  ASSERT_EQ(m.replica->Members().size(), 1u);
  EXPECT_EQ(m.replica->Members()[0].name, "default");
  uint32_t hash = m.replica->store().HashAt(0)->hash;
  m.replica.reset();
  m.disk.Crash();
  m.Start();
  m.Barrier();
  EXPECT_EQ(m.replica->store().HashAt(0)->hash, hash);
  EXPECT_EQ(m.Put("c", "1"), 4);
  EXPECT_EQ(m.replica->term(), 3u);
}

TEST(Replica, CheckpointsLetTheLogGo) {
  Options o;
  o.snapshot_count = 50;
  Member m(o);
  m.Start();
  m.Barrier();
  for (int i = 0; i < 400; ++i) m.Put("k" + std::to_string(i % 20), std::string(500, 'v'));
  m.executor.RunFor(std::chrono::seconds(1));
  EXPECT_GE(m.replica->counters().checkpoints, 4u);
  EXPECT_LE(m.disk.List("data/member/wal")->size(), 3u);
  int64_t revision = m.replica->store().revision();
  uint32_t hash = m.replica->store().HashAt(0)->hash;
  m.replica.reset();
  m.disk.Crash();
  m.Start();
  m.Barrier();
  EXPECT_EQ(m.replica->store().revision(), revision);
  EXPECT_EQ(m.replica->store().HashAt(0)->hash, hash);
}

TEST(Replica, LeasesRunOutByTheClock) {
  Member m;
  m.Start();
  m.Barrier();
  std::string grant, inner;
  wire::PutUint(inner, 1, 5);
  wire::PutUint(inner, 2, 77);
  wire::PutBytes(grant, 8, inner);
  ASSERT_TRUE(m.Run([](Member& m, std::string g) -> Task<void> {
    auto a = co_await m.replica->Propose({}, g);
    EXPECT_TRUE(a.has_value() && a->error.ok());
  }(m, grant)));
  EXPECT_TRUE(m.replica->store().leases().Contains(77));
  m.executor.RunFor(std::chrono::seconds(3));
  EXPECT_TRUE(m.replica->store().leases().Contains(77));
  m.executor.RunFor(std::chrono::seconds(3));
  EXPECT_FALSE(m.replica->store().leases().Contains(77));
}

// A peer that says nothing but its version.
struct SilentPeer final : Transport {
  void Send(raft::Message) override {}
  void SendSnapshot(raft::Message, std::unique_ptr<DatabaseStream>) override {}
  void SetPeers(std::vector<mvcc::Member>) override {}
  std::optional<base::MonoTime> ActiveSince(raft::NodeId) const override { return base::MonoTime{}; }
  std::string ServerVersion(raft::NodeId) const override { return version; }
  Task<base::Result<PeerAnswer>> Ask(base::Context, raft::NodeId, std::string, std::string) override {
    co_return base::Err(base::Unavailable("silent"));
  }
  std::string version;
};

TEST(Replica, TheClusterVersionIsWhatAllMembersSpeak) {
  SilentPeer peer;
  Member m;
  m.Start();
  m.replica->Attach(peer);
  m.Barrier();
  m.executor.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(m.replica->ClusterVersion(), "3.7.0");
  // As it is where older members have agreed on theirs; one of them is still there.
  EXPECT_TRUE(m.Run([](Member& m) -> Task<void> {
    mvcc::Member learner{.id = 77, .peer_urls = {"http://127.0.0.1:1"}, .is_learner = true};
    auto added = co_await m.replica->ChangeMembers(
        {}, {raft::ConfChangeType::kAddLearnerNode, learner.id, mvcc::MemberToJson(learner)});
    EXPECT_TRUE(added.has_value()) << added.error().ToString();
    std::string version, request;
    wire::PutBytes(version, 1, "3.6.0");
    wire::PutBytes(request, kClusterVersionSet, version);
    auto set = co_await m.replica->Propose({}, request);
    EXPECT_TRUE(set.has_value() && set->error.ok());
  }(m)));
  for (const char* older : {"", "3.6.9"}) {
    peer.version = older;
    m.executor.RunFor(std::chrono::seconds(5));
    EXPECT_EQ(m.replica->ClusterVersion(), "3.6.0") << older;
  }
  peer.version = "3.8.0";
  m.executor.RunFor(std::chrono::seconds(5));
  EXPECT_EQ(m.replica->ClusterVersion(), "3.7.0");
}

TEST(Replica, AFailedSyncStopsIt) {
  Member m;
  m.Start();
  m.Barrier();
  m.disk.faults.sync_error_one_in = 1;
  bool failed = false;
  m.replica->on_failure = [&](const base::Status&) { failed = true; };
  ASSERT_TRUE(m.Run([](Member& m) -> Task<void> {
    auto a = co_await m.replica->Propose({}, PutRequest("a", "1"));
    EXPECT_FALSE(a.has_value());
  }(m)));
  EXPECT_TRUE(failed);
}

std::string SharedRoot() {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  return (shared ? shared : std::string(source ? source : "../..") + "/../shared") + "/golden/etcd-files/";
}

// A real member's log alone, put where the member had it: the replica starts on it and goes on from there.
TEST(Replica, StartsOnARealMembersLog) {
  auto segment = base::ReadFile(base::PosixFileSystem(), SharedRoot() + wal::SegmentName(0, 0));
  if (!segment) GTEST_SKIP() << "no golden data at " << SharedRoot();
  Member m;
  ASSERT_TRUE(m.disk.MakeDirectories("data/member/wal").ok());
  ASSERT_TRUE(base::WriteFileAtomically(m.disk, "data/member/wal/" + wal::SegmentName(0, 0), *segment).ok());
  m.Start();
  m.Barrier();
  EXPECT_EQ(m.replica->store().HashAt(213)->hash, 1424753234u);
  EXPECT_EQ(m.replica->term(), 3u);
  EXPECT_EQ(m.Put("x", "1"), 214);
}

// etcd's snapshot as the database of a member, exported again: the same keys, the same status.
TEST(Replica, DatabasesComeInAndGoOut) {
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
