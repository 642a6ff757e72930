#include <gtest/gtest.h>

#include <cstdlib>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "kvstore/mvcc/applier.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/mvcc/testing_store.h"
#include "kvstore/mvcc/view.h"
#include "kvstore/wal/wal.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::mvcc {
namespace {

using base::testing::SimDisk;

TEST(Store, ServesEveryRevision) {
  Fixture f;
  EXPECT_EQ(f.store->revision(), 1);
  EXPECT_EQ(f.Put("a", "1"), 2);
  EXPECT_EQ(f.Put("b", "1"), 3);
  EXPECT_EQ(f.Put("a", "2"), 4);
  EXPECT_EQ(f.Delete("b"), 5);
  EXPECT_EQ(f.Delete("b"), 5) << "deleting nothing takes no revision";
  EXPECT_EQ(f.Put("b", "3"), 6);
  EXPECT_EQ(f.Dump("a", kAll), "a=2@4/2 b=3@6/1 ");
  EXPECT_EQ(f.Dump("a", kAll, 3), "a=1@2/1 b=1@3/1 ");
  EXPECT_EQ(f.Dump("a", kAll, 5), "a=2@4/2 ");
  EXPECT_EQ(f.Dump("a", kAll, 7), ErrFutureRev().message());
}

TEST(Store, CompactionForgetsAndARestartAgrees) {
  Fixture f({.segment_bytes = 4096, .tail_bytes = 512});
  for (int i = 0; i < 400; ++i) f.Put("k" + std::to_string(i % 7), std::string(40, 'x') + std::to_string(i));
  f.Delete("k3");
  int64_t rev = f.store->revision();
  auto before = f.store->HashAt(rev);
  ASSERT_TRUE(f.store->Compact(rev - 10).ok());
  auto hash = f.store->HashAt(rev);
  ASSERT_TRUE(hash.has_value());
  EXPECT_NE(before->hash, hash->hash);
  EXPECT_EQ(f.Dump("k0", {}, rev - 20), ErrCompacted().message());
  std::string now = f.Dump("k", "l");
  std::string then = f.Dump("k", "l", rev - 5);
  size_t segments_before = f.disk.List("kv")->size();
  f.Settle();
  EXPECT_EQ(f.store->HashAt(rev)->hash, hash->hash) << "cleaning up changes nothing that can be seen";
  EXPECT_EQ(f.Dump("k", "l"), now);
  f.Checkpoint();
  f.Checkpoint();
  EXPECT_LT(f.disk.List("kv")->size(), segments_before);
  f.Reopen();
  EXPECT_EQ(f.store->revision(), rev);
  EXPECT_EQ(f.store->compact_revision(), rev - 10);
  EXPECT_EQ(f.Dump("k", "l"), now);
  EXPECT_EQ(f.Dump("k", "l", rev - 5), then);
  EXPECT_EQ(f.store->HashAt(rev)->hash, hash->hash);
  EXPECT_EQ(f.Put("k3", "new"), rev + 1);
}

// One segment holds all there is, as under a small quota: nothing ever fills it.
TEST(Store, ASmallStoreGivesBackWhatItForgot) {
  Fixture f({.segment_bytes = 64 << 20, .tail_bytes = 64 << 10});
  const std::string value(100'000, 'x');
  for (int i = 0; i < 30; ++i) f.Put("big" + std::to_string(i), value);
  f.Put("stays", value);
  f.Delete("big", "bih");
  uint64_t full = f.store->size_bytes();
  EXPECT_GT(full, 31 * value.size());
  ASSERT_TRUE(f.store->Compact(f.store->revision()).ok());
  std::vector<uint64_t> sizes = {full};
  for (auto more = f.store->MaintenanceStep(); more.has_value() && *more; more = f.store->MaintenanceStep()) {
    sizes.push_back(f.store->size_bytes());
  }
  EXPECT_LT(f.store->size_bytes(), 2 * value.size());
  EXPECT_TRUE(std::ranges::is_sorted(sizes, std::greater())) << "a rewrite that is under way takes no quota";
  EXPECT_EQ(f.Dump("stays", {}), "stays=" + value + "@32/1 ");
}

TEST(Store, DefragmentationLeavesNoGarbage) {
  Fixture f({.segment_bytes = 64 << 20, .tail_bytes = 4 << 10});
  for (int i = 0; i < 100; ++i) f.Put("k" + std::to_string(i), std::string(1000, 'x'));
  for (int i = 0; i < 20; ++i) f.Put("k" + std::to_string(i), std::string(1000, 'y'));
  ASSERT_TRUE(f.store->Compact(f.store->revision()).ok());
  f.Settle();
  // A sixth of it is garbage, which is not worth a rewrite, unless somebody asks for that.
  EXPECT_GT(f.store->size_bytes(), f.store->size_in_use_bytes() + 20'000);
  ASSERT_TRUE(f.store->Defragment().ok());
  EXPECT_TRUE(f.store->defragmenting());
  f.Put("k0", "while it goes on");
  f.Settle();
  EXPECT_FALSE(f.store->defragmenting());
  EXPECT_LT(f.store->size_bytes(), f.store->size_in_use_bytes() + 100);
  EXPECT_GT(f.store->dropped_bytes(), 100'000u);
  f.Checkpoint();
  f.Put("k0", std::string(1000, 'y'));
  EXPECT_EQ(f.store->dropped_bytes(), 0u);
  f.Reopen();
  EXPECT_EQ(f.Dump("k1", {}).substr(0, 8), "k1=yyyyy");
  ASSERT_TRUE(f.store->Defragment().ok());
  f.Settle();
  EXPECT_FALSE(f.store->defragmenting()) << "without garbage there is nothing to do";
}

TEST(Store, ACompactionRemembersTheHashOfWhatItFound) {
  Fixture f;
  auto compact = [&f](int64_t revision) {
    EXPECT_TRUE(f.store->Compact(revision).ok());
    EXPECT_FALSE(f.store->CompactionHash(revision).has_value()) << "it is not known yet";
    f.Put("meanwhile", "1");  // does not count
    std::shared_ptr<View> view;
    while (!view && *f.store->MaintenanceStep()) view = f.store->TakeViewToHash();
    f.Settle();
    EXPECT_TRUE(f.store->hashing());
    Sort(*view);
    f.store->RememberHash(*view, HashOf(*view));
    EXPECT_FALSE(f.store->hashing());
  };
  f.Put("a", "1");
  f.Put("b", "1");
  f.Put("a", "2");
  f.Delete("b");
  for (int64_t revision : {3, 5}) {
    Store::Hash before = *f.store->HashAt(revision);
    compact(revision);
    Store::Hash kept = *f.store->CompactionHash(revision);
    EXPECT_EQ(kept.hash, before.hash);
    EXPECT_EQ(kept.compact_revision, before.compact_revision) << "of the compaction before";
    EXPECT_EQ(kept.revision, revision);
  }
  EXPECT_TRUE(f.store->CompactionHash(3).has_value()) << "also when that is compacted away";
  EXPECT_FALSE(f.store->CompactionHash(4).has_value());
  // One that comes while another is under way is not hashed.
  ASSERT_TRUE(f.store->Compact(6).ok());
  ASSERT_TRUE(f.store->Compact(7).ok());
  EXPECT_EQ(f.store->TakeViewToHash(), nullptr);
  f.Settle();
  EXPECT_EQ(f.store->TakeViewToHash()->revision, 6);
}

TEST(Store, WhatIsWrittenGoesToTheDiskALittleAtATime) {
  Fixture f({.segment_bytes = 4096, .tail_bytes = 512, .sync_bytes = 1024});
  EXPECT_FALSE(f.store->NextSync()) << "nothing is worth it";
  for (int i = 0; i < 300; ++i) f.Put("k" + std::to_string(i), std::string(40, 'x'));
  uint64_t unsynced = f.store->unsynced_bytes();
  EXPECT_GT(unsynced, 10'000u);
  while (auto step = f.store->NextSync()) {
    ASSERT_TRUE(step->Run().ok());
    f.store->Synced(*step);
    EXPECT_LT(f.store->unsynced_bytes(), unsynced);
    unsynced = f.store->unsynced_bytes();
  }
  EXPECT_LT(unsynced, 1024u);
  auto c = f.store->PrepareCheckpoint({});
  EXPECT_EQ(c->files.paths.size(), 1u) << "a checkpoint has only the end left to sync";
  f.Put("k", "after the checkpoint was prepared");
  EXPECT_LT(f.store->unsynced_bytes(), 512u);
}

TEST(Store, AnotherTakesItsPlace) {
  Fixture f({.segment_bytes = 4096, .tail_bytes = 512, .sync_bytes = 1024});
  for (int i = 0; i < 100; ++i) f.Put("old" + std::to_string(i), std::string(40, 'x'));
  Gather gather = Gather::History(*f.store, f.store->revision());
  std::unique_ptr<Store> fresh = f.store->Beside();
  ASSERT_TRUE(fresh->ImportBegin({}).ok());
  for (int64_t rev = 2; rev < 200; ++rev) {
    std::string kv = EncodeKeyValue({.key = "new", .create_revision = 2, .mod_revision = rev, .version = rev - 1});
    ASSERT_TRUE(fresh->ImportKey(RevisionKey({rev, 0}, false), kv).ok());
  }
  ASSERT_TRUE(fresh->ImportDone().ok());
  auto c = fresh->PrepareCheckpoint({.index = 7});
  ASSERT_TRUE(c->Run().ok());
  fresh->FinishCheckpoint(*c);
  EXPECT_EQ(f.Dump("old1", {}), "old1=" + std::string(40, 'x') + "@3/1 ") << "until then the old one serves";
  f.store->Replace(*fresh);
  EXPECT_EQ(gather.Step(1).error().code(), base::Code::kUnavailable);
  EXPECT_EQ(f.Dump("new", {}), "new=@199/198 ");
  EXPECT_EQ(f.store->keys(), 1u);
  EXPECT_EQ(f.store->checkpointed().index, 7u);
  auto files = fresh->Abandon();
  EXPECT_GT(files.size(), 1u);
  fresh.reset();
  EXPECT_EQ(f.Put("new", "next"), 200);
  f.Reopen();
  EXPECT_EQ(f.Dump("", kAll), "new=@199/198 ") << "the checkpoint is the new one's";
}

// The segment of a tombstone goes before the segment of what it deleted.
TEST(Store, DeletedKeysStayDeletedAfterARestart) {
  Fixture f({.segment_bytes = 4096, .tail_bytes = 512});
  const std::string value(200, 'x');
  f.Put("gone", "1");
  f.Put("back", "1");
  for (int i = 0; i < 30; ++i) f.Put("stays" + std::to_string(i), value);
  for (int i = 0; i < 30; ++i) f.Put("changes", value);
  f.Delete("gone");
  f.Delete("back");
  for (int i = 0; i < 30; ++i) f.Put("changes", value);
  int64_t compacted = f.store->revision();
  f.Put("back", "2");
  ASSERT_TRUE(f.store->Compact(compacted).ok());
  uint64_t before = f.store->size_bytes();
  f.Settle();
  ASSERT_LT(f.store->size_bytes() + 2 * 4096, before) << "segments are gone";
  auto hash = f.store->HashAt(0);
  ASSERT_TRUE(hash.has_value());
  for (int life = 0; life < 2; ++life) {
    f.Checkpoint();
    uint64_t in_use = f.store->size_in_use_bytes();
    f.Reopen();
    EXPECT_EQ(f.Dump("gone", {}), "");
    EXPECT_EQ(f.Dump("back", {}, compacted), "");
    EXPECT_EQ(f.Dump("back", {}), "back=2@" + std::to_string(compacted + 1) + "/1 ");
    EXPECT_EQ(f.store->keys(), 32u);
    EXPECT_EQ(f.store->size_in_use_bytes(), in_use);
    auto again = f.store->HashAt(0);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->hash, hash->hash);
  }
}

TEST(Store, LeasesTakeTheirKeysWithThem) {
  Fixture f;
  ASSERT_TRUE(f.store->leases().Grant(7, 60, {}).has_value());
  f.Put("a", "1", 7);
  f.Put("b", "1", 7);
  f.Put("b", "2");  // detaches
  f.Checkpoint();
  f.Reopen();
  ASSERT_NE(f.store->leases().Find(7), nullptr);
  EXPECT_EQ(f.store->leases().Find(7)->keys.size(), 1u);
  ASSERT_TRUE(f.store->RevokeLease(7).ok());
  EXPECT_EQ(f.Dump("a", kAll), "b=2@4/2 ");
  EXPECT_EQ(f.store->revision(), 5);
}

// Whoever renewed it then would be told of a time that it does not get.
TEST(Store, ALeaseWhoseRevocationIsUnderWayIsNotRenewed) {
  Leases leases(1);
  base::MonoTime now{};
  auto after = [&](int seconds) { return now + std::chrono::seconds(seconds); };
  ASSERT_TRUE(leases.Grant(7, 10, now).has_value());
  EXPECT_EQ(*leases.Renew(7, after(5)), 10);
  ASSERT_EQ(leases.Expired(after(16), 10), std::vector<int64_t>{7});
  leases.Defer(7, after(20));
  auto renewed = leases.Renew(7, after(17));
  ASSERT_FALSE(renewed.has_value());
  EXPECT_EQ(renewed.error(), ErrLeaseNotFound());
  EXPECT_TRUE(leases.Expired(after(17), 10).empty()) << "it is being revoked already";
  // The next leader knows of no revocation.
  leases.ExtendAll(after(18));
  EXPECT_EQ(*leases.Renew(7, after(19)), 10);
}

// ---- the golden member

std::string Golden(const std::string& name) {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  std::string root = shared ? shared : std::string(source ? source : "../..") + "/../shared";
  return root + "/golden/etcd-files/" + name;
}

uint64_t NumberAfter(const std::string& text, const std::string& name) {
  size_t at = text.find("\"" + name + "\":");
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + name.size() + 3, nullptr, 10);
}

std::string RangeJson(Store& store, int64_t revision) {
  auto all = store.Range({.key = std::string_view("\0", 1), .end = kAll});
  base::JsonWriter w;
  w.BeginObject().Key("header").BeginObject();
  w.Key("cluster_id").Uint(12411183030721760150u).Key("member_id").Uint(10663220382011605510u);
  w.Key("revision").Int(revision).Key("raft_term").Int(2).EndObject();
  w.Key("kvs").BeginArray();
  for (const std::string& bytes : all->kvs) {
    auto kv = *DecodeKeyValue(bytes);
    w.BeginObject().Key("key").String(base::Base64Encode(kv.key));
    w.Key("create_revision").Int(kv.create_revision).Key("mod_revision").Int(kv.mod_revision);
    w.Key("version").Int(kv.version);
    if (!kv.value.empty()) w.Key("value").String(base::Base64Encode(kv.value));
    if (kv.lease != 0) w.Key("lease").Int(kv.lease);
    w.EndObject();
  }
  w.EndArray().Key("count").Int(all->count).EndObject();
  return w.Take();
}

TEST(Store, AppliesRequestsOfEveryKind) {
  Fixture f;
  Applier applier(*f.store);
  etcdserverpb::InternalRaftRequest r;
  auto* t = r.mutable_txn();
  auto* c = t->add_compare();
  c->set_key("a");
  c->set_target(etcdserverpb::Compare::CREATE);
  c->set_result(etcdserverpb::Compare::EQUAL);
  t->add_success()->mutable_request_put()->set_key("a");
  t->add_success()->mutable_request_range()->set_key("a");
  t->add_success()->mutable_request_delete_range()->set_key("a");
  auto a = applier.Apply(r);
  ASSERT_TRUE(a.has_value() && a->error.ok());
  EXPECT_EQ(a->revision, 2);
  etcdserverpb::TxnResponse out;
  ASSERT_TRUE(out.ParseFromString(a->body));
  EXPECT_TRUE(out.succeeded());
  ASSERT_EQ(out.responses_size(), 3);
  EXPECT_EQ(out.responses(0).response_put().header().revision(), 2);
  EXPECT_EQ(out.responses(1).response_range().count(), 1);
  EXPECT_EQ(out.responses(2).response_delete_range().deleted(), 1);
  etcdserverpb::InternalRaftRequest lost;
  lost.mutable_put()->set_key("x");
  lost.mutable_put()->set_lease(99);
  EXPECT_EQ(applier.Apply(lost)->error, ErrLeaseNotFound());
  etcdserverpb::InternalRaftRequest alarm;
  alarm.mutable_alarm()->set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  alarm.mutable_alarm()->set_alarm(etcdserverpb::NOSPACE);
  ASSERT_TRUE(applier.Apply(alarm)->error.ok());
  lost.mutable_put()->set_lease(0);
  EXPECT_EQ(applier.Apply(lost)->error, ErrNoSpace());
  alarm.mutable_alarm()->set_action(etcdserverpb::AlarmRequest::DEACTIVATE);
  ASSERT_TRUE(applier.Apply(alarm)->error.ok());
  EXPECT_TRUE(applier.Apply(lost)->error.ok());
}

// Another member's disk may answer, and then the two would have different data.
TEST(Store, AComparisonThatTheDiskCannotAnswerIsFatal) {
  Fixture f({.segment_bytes = 1024, .tail_bytes = 64});
  for (int i = 0; i < 20; ++i) f.Put("a" + std::to_string(i), std::string(100, 'x'));
  int64_t revision = f.store->revision();
  Applier applier(*f.store);
  etcdserverpb::InternalRaftRequest r;
  auto* c = r.mutable_txn()->add_compare();
  c->set_key("a0");
  c->set_target(etcdserverpb::Compare::VALUE);
  c->set_result(etcdserverpb::Compare::EQUAL);
  c->set_value(std::string(100, 'x'));
  r.mutable_txn()->add_success()->mutable_request_put()->set_key("yes");
  r.mutable_txn()->add_failure()->mutable_request_put()->set_key("no");
  f.disk.faults.read_error_one_in = 1;
  auto a = applier.Apply(r);
  f.disk.faults.read_error_one_in = 0;
  EXPECT_FALSE(a.has_value());
  EXPECT_EQ(f.store->revision(), revision);
  EXPECT_EQ(f.Dump("no", {}), "");
}

TEST(Store, AMemberThatWasRemovedWhileItIntroducedItselfStaysRemoved) {
  Fixture f;
  Applier applier(*f.store);
  applier.ApplyMemberChange(7, false, true, R"({"id":7,"peerURLs":["http://a:1"]})");
  etcdserverpb::InternalRaftRequest hello;
  hello.mutable_cluster_member_attr_set()->set_member_id(7);
  hello.mutable_cluster_member_attr_set()->mutable_member_attributes()->set_name("seven");
  ASSERT_TRUE(applier.Apply(hello).has_value());
  EXPECT_NE(f.store->BucketValue("members", "7").find("seven"), std::string::npos);
  applier.ApplyMemberChange(7, true, false, "");
  ASSERT_TRUE(applier.Apply(hello).has_value());
  EXPECT_TRUE(f.store->buckets()["members"].empty());
}

TEST(Store, AMemberOfEtcdsIsFoundByItsId) {
  EXPECT_EQ(MemberKey(0x0e1db826a969ac68), "e1db826a969ac68");
  EXPECT_EQ(MemberKey(0x93fb5e70f781c206), "93fb5e70f781c206");
  Fixture f;
  Applier applier(*f.store);
  // As a snapshot of etcd's brings it.
  f.store->buckets()["members"]["e1db826a969ac68"] = R"({"id":1017101101203893352,"peerURLs":["http://a:1"]})";
  applier.ApplyMemberChange(0x0e1db826a969ac68, true, false, "");
  EXPECT_TRUE(f.store->buckets()["members"].empty());
  EXPECT_TRUE(f.store->buckets()["members_removed"].contains("e1db826a969ac68"));
}

// An empty value in the database stops an etcd that gets it as a snapshot.
TEST(Store, AskingForADowngradeLeavesNoTrace) {
  Fixture f;
  Applier applier(*f.store);
  EXPECT_EQ(applier.downgrade_target(), "");
  EXPECT_FALSE(f.store->buckets().contains("cluster"));
  etcdserverpb::InternalRaftRequest r;
  r.mutable_downgrade_info_set()->set_ver("3.6.0");
  r.mutable_downgrade_info_set()->set_enabled(true);
  ASSERT_TRUE(applier.Apply(r).has_value());
  EXPECT_EQ(applier.downgrade_target(), "3.6.0");
  EXPECT_EQ(f.store->BucketValue("cluster", "downgrade"), R"({"target-version":"3.6.0","enabled":true})");
}

// The requests of a real member's log, applied from nothing, give its state and its hashes.
TEST(Store, ReplaysARealMembersLog) {
  auto segment = base::ReadFile(base::PosixFileSystem(), Golden("0000000000000000-0000000000000000.wal"));
  if (!segment) GTEST_SKIP() << "no golden data at " << Golden("");
  Fixture f;
  ASSERT_TRUE(f.disk.MakeDirectories("wal").ok());
  ASSERT_TRUE(base::WriteFileAtomically(f.disk, "wal/" + wal::SegmentName(0, 0), *segment).ok());
  auto log = wal::Read(f.disk, "wal");
  ASSERT_TRUE(log.has_value()) << log.error().ToString();
  std::map<int64_t, uint64_t> want, before_compaction;
  std::string lines = *base::ReadFile(base::PosixFileSystem(), Golden("hashkv.jsonl"));
  for (size_t at = 0; at < lines.size(); at = lines.find('\n', at) + 1) {
    std::string line = lines.substr(at, lines.find('\n', at) - at);
    bool compacted = line.find("\"compact_revision\":-1") == std::string::npos;
    (compacted ? want : before_compaction)[static_cast<int64_t>(NumberAfter(line, "hash_revision"))] =
        NumberAfter(line, "hash");
  }
  Applier applier(*f.store);
  for (const raft::Entry& e : log->entries) {
    if (e.type != raft::EntryType::kNormal) {
      auto change = wal::DecodeConfChange(e);
      applier.ApplyMemberChange(change->changes[0].node_id, false, true, change->context);
      continue;
    }
    etcdserverpb::InternalRaftRequest r;
    ASSERT_TRUE(r.ParseFromString(std::string(e.bytes())));
    if (r.has_compaction()) {
      for (auto [rev, hash] : before_compaction) EXPECT_EQ(f.store->HashAt(rev)->hash, hash) << rev;
    }
    auto a = applier.Apply(r);
    ASSERT_TRUE(a.has_value()) << a.error().ToString();
    EXPECT_TRUE(a->error.ok()) << a->error.ToString();
  }
  EXPECT_EQ(f.store->revision(), 213);
  ASSERT_EQ(want.size(), 6u);
  for (auto [rev, hash] : want) EXPECT_EQ(f.store->HashAt(rev)->hash, hash) << rev;
  std::string range = *base::ReadFile(base::PosixFileSystem(), Golden("range.json"));
  while (!range.empty() && range.back() == '\n') range.pop_back();
  EXPECT_EQ(RangeJson(*f.store, 213), range);
  EXPECT_EQ(f.store->buckets()["members"]["93fb5e70f781c206"],
            R"({"id":10663220382011605510,"peerURLs":["http://127.0.0.1:12380"],"name":"m1",)"
            R"("clientURLs":["http://127.0.0.1:12379"]})");
  EXPECT_EQ(f.store->buckets()["authUsers"].size(), 2u);
  EXPECT_EQ(f.store->buckets()["authRoles"].size(), 1u);
  EXPECT_EQ(f.store->leases().Find(1234)->keys.size(), 1u);
}

}  // namespace
}  // namespace kvstore::mvcc
