#include <gtest/gtest.h>

#include <cstdlib>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "base/testing/sim_disk.h"
#include "kvstore/mvcc/applier.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/mvcc/view.h"
#include "kvstore/wal/wal.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::mvcc {
namespace {

using base::testing::SimDisk;

struct Fixture {
  explicit Fixture(SegmentLimits limits = {}) : options{.segments = limits} { Reopen(); }
  void Reopen() {
    auto s = Store::Open(disk, "kv", options);
    ASSERT_TRUE(s.has_value()) << s.error().ToString();
    store = std::move(*s);
  }
  void Checkpoint() {
    auto c = store->PrepareCheckpoint({});
    ASSERT_TRUE(c.has_value()) << c.error().ToString();
    ASSERT_TRUE(c->Run().ok());
    store->FinishCheckpoint(*c);
  }
  int64_t Put(std::string_view k, std::string_view v, int64_t lease = 0) {
    store->Begin();
    EXPECT_TRUE(store->Put(k, v, lease, false).has_value());
    return store->End();
  }
  int64_t Delete(std::string_view k, std::string_view end = {}) {
    store->Begin();
    EXPECT_TRUE(store->DeleteRange({k, end}, false).has_value());
    return store->End();
  }
  // "k=v@mod/version ..." of a range at a revision.
  std::string Dump(std::string_view k, std::string_view end, int64_t rev = 0) {
    auto r = store->Range({.key = k, .end = end, .revision = rev});
    if (!r) return std::string(r.error().message());
    std::string out;
    for (const std::string& bytes : r->kvs) {
      auto kv = *DecodeKeyValue(bytes);
      out += std::string(kv.key) + "=" + std::string(kv.value) + "@" + std::to_string(kv.mod_revision) + "/" +
             std::to_string(kv.version) + " ";
    }
    return out;
  }
  void Settle() {
    for (auto more = store->MaintenanceStep(); more.has_value() && *more;) more = store->MaintenanceStep();
  }
  SimDisk disk{1};
  StoreOptions options;
  std::unique_ptr<Store> store;
};

const std::string_view kAll("\0", 1);

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

std::string Told(WatchStream& s) {
  std::string out;
  while (auto item = s.Next()) {
    out += "#" + std::to_string(item->watch_id);
    if (item->created) out += " created";
    if (item->canceled) out += " canceled@" + std::to_string(item->compact_revision);
    for (const EventPtr& e : item->events) {
      auto kv = *DecodeKeyValue(*e->kv);
      out += (e->is_delete ? " del " : " put ") + std::string(kv.key) + "@" + std::to_string(kv.mod_revision);
      if (item->prev_kv && e->prev_kv) out += "<" + std::to_string(DecodeKeyValue(*e->prev_kv)->mod_revision);
    }
    out += "\n";
  }
  return out;
}

TEST(Watch, TellsHistoryThenNews) {
  Fixture f;
  f.Put("a", "1");
  f.Put("b", "1");
  f.Put("a", "2");
  WatchHub& hub = f.store->watches();
  WatchStream s(hub, {});
  ASSERT_EQ(*s.Watch({.key = "a", .start_revision = 2, .prev_kv = true}), 0);
  ASSERT_EQ(*s.Watch({.key = "a", .end = "c", .no_put = true}), 1);
  f.Put("a", "3");  // before the first watcher has read its history
  while (*hub.SyncStep()) {
  }
  EXPECT_EQ(Told(s), "#0 created\n#1 created\n#0 put a@2 put a@4<2 put a@5<4\n");
  f.Delete("a", "c");
  EXPECT_EQ(Told(s), "#0 del a@6<5\n#1 del a@6 del b@6\n");
  s.RequestProgress();
  EXPECT_EQ(Told(s), "#-1\n");
  EXPECT_TRUE(s.Cancel(0));
  EXPECT_FALSE(s.Cancel(0));
  EXPECT_EQ(Told(s), "#0 canceled@0\n");
  ASSERT_TRUE(f.store->Compact(5).ok());
  ASSERT_EQ(*s.Watch({.key = "a", .start_revision = 3}), 2);
  while (*hub.SyncStep()) {
  }
  EXPECT_EQ(Told(s), "#2 created\n#2 canceled@5\n");
}

TEST(Watch, ASlowStreamFallsBackToHistoryAndMissesNothing) {
  Fixture f;
  WatchHub& hub = f.store->watches();
  WatchStream s(hub, {});
  ASSERT_TRUE(s.Watch({.key = "k", .end = "l"}).has_value());
  int64_t seen = 0, last = 0;
  std::string big(100'000, 'v');
  for (int i = 0; i < 100; ++i) f.Put("k" + std::to_string(i), big);
  EXPECT_EQ(hub.unsynced(), 1u);
  for (int round = 0; round < 100; ++round) {
    while (auto item = s.Next()) {
      for (const EventPtr& e : item->events) {
        EXPECT_GT(e->revision.main, last);
        last = e->revision.main;
        ++seen;
      }
    }
    if (!*hub.SyncStep()) break;
  }
  EXPECT_EQ(seen, 100);
  EXPECT_EQ(hub.unsynced(), 0u);
}

TEST(Watch, ManyThatDoNotReadShareWhatMayBeQueued) {
  Fixture f;
  WatchHub& hub = f.store->watches();
  std::vector<std::unique_ptr<WatchStream>> streams;
  std::string value(20'000, 'v');
  for (int i = 0; i < 200; ++i) f.Put("k" + std::to_string(i), value);
  for (int i = 0; i < 1000; ++i) {
    streams.push_back(std::make_unique<WatchStream>(hub, [] {}));
    ASSERT_TRUE(streams.back()->Watch({.key = "k", .end = "l", .start_revision = i % 2 == 0 ? 1 : 0}).has_value());
    while (*hub.SyncStep()) {
    }
  }
  for (int i = 0; i < 200; ++i) f.Put("k" + std::to_string(i), value);
  while (*hub.SyncStep()) {
  }
  EXPECT_LT(hub.queued_bytes(), 128u << 20) << "they want 6 GB";
  EXPECT_EQ(hub.unsynced(), 1000u);
  // Whoever reads now is told everything all the same, while the others go on not reading.
  for (size_t n : {0u, 1u, 998u, 999u}) {
    int64_t next = n % 2 == 0 ? 2 : 202;
    for (bool more = true; more; more = *hub.SyncStep() || next < 402) {
      while (auto item = streams[n]->Next()) {
        for (const EventPtr& e : item->events) EXPECT_EQ(e->revision.main, next++);
      }
    }
    EXPECT_EQ(next, 402);
  }
  EXPECT_EQ(hub.unsynced(), 996u);
  EXPECT_GT(hub.queued_events(), 0u);
  streams.clear();
  EXPECT_EQ(hub.queued_bytes(), 0u);
  EXPECT_EQ(hub.queued_events(), 0u);
  EXPECT_EQ(hub.unsynced(), 0u);
}

// More keys than are looked up one by one, so that the timeline is read: across compaction, rewriting and a restart.
TEST(Watch, CatchingUpGoesOnWhereItWas) {
  Fixture f({.segment_bytes = 64 << 10, .tail_bytes = 512});
  auto key = [](int i) { return "k" + std::to_string(10000 + i); };
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 1500; ++i) f.Put(key(i), std::string(30, 'x') + std::to_string(round));
    f.Put("other", "x");
  }
  f.Delete("k", "l");  // one revision, many changes
  int64_t last = f.store->revision(), from = 2500;
  auto hear = [&](bool prev_kv) {
    std::string told;
    int64_t slices = 0;
    for (int64_t next = from; next <= f.store->revision(); ++slices) {
      auto slice = f.store->EventsFrom({"k", "l"}, next, 20'000, prev_kv);
      EXPECT_TRUE(slice.has_value()) << slice.error().ToString();
      for (const EventPtr& e : slice->events) {
        EXPECT_LT(e->revision.main, slice->next);
        told += (e->is_delete ? " del " : " put ") + std::string(e->key) + "@" + std::to_string(e->revision.main);
        if (e->prev_kv) told += "<" + std::to_string(DecodeKeyValue(*e->prev_kv)->mod_revision);
      }
      next = slice->next;
    }
    EXPECT_GT(slices, 3);
    return told;
  };
  std::string all = hear(true), bare = hear(false);
  EXPECT_TRUE(all.ends_with(" del " + key(1499) + "@" + std::to_string(last) + "<" + std::to_string(last - 2)));
  // By keys, one by one, it is the same.
  std::map<int64_t, std::string> single;
  for (int i = 0; i < 1500; ++i) {
    std::string k = key(i);
    for (const EventPtr& e : f.store->EventsFrom({k, {}}, from, SIZE_MAX, true)->events) {
      std::string& line = single[e->revision.main];
      line += (e->is_delete ? " del " : " put ") + k + "@" + std::to_string(e->revision.main);
      if (e->prev_kv) line += "<" + std::to_string(DecodeKeyValue(*e->prev_kv)->mod_revision);
    }
  }
  std::string joined;
  for (const auto& [revision, line] : single) joined += line;
  EXPECT_EQ(joined, all);
  // What is still there after a compaction stays the same, whatever moves.
  ASSERT_TRUE(f.store->Compact(from).ok());
  bare = hear(false);
  uint64_t size = f.store->size_bytes();
  f.Settle();
  EXPECT_LT(f.store->size_bytes(), size);
  EXPECT_EQ(hear(false), bare);
  f.Checkpoint();
  f.Reopen();
  EXPECT_EQ(hear(false), bare);
  f.Put(key(1), "new");
  EXPECT_EQ(hear(false), bare + " put " + key(1) + "@" + std::to_string(last + 1));
}

TEST(Watch, OneThatWaitsForALaterRevisionIsNotToldEarlierOnesAfterASnapshot) {
  Fixture f;
  f.Put("a", "1");
  WatchHub& hub = f.store->watches();
  WatchStream s(hub, {});
  ASSERT_EQ(*s.Watch({.key = "a", .start_revision = 6}), 0);
  while (*hub.SyncStep()) {
  }
  int64_t told = f.store->revision();
  f.Put("a", "2");  // as if a snapshot of another member had brought these
  f.Put("a", "3");
  (void)Told(s);
  f.store->RestartWatches(told);
  while (*hub.SyncStep()) {
  }
  EXPECT_EQ(Told(s), "");
  for (int i = 4; i <= 6; ++i) f.Put("a", std::to_string(i));
  while (*hub.SyncStep()) {
  }
  EXPECT_EQ(Told(s), "#0 put a@6\n#0 put a@7\n");
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

// Users and roles: who may do what, and what every change is answered.
class AuthTest : public testing::Test {
 protected:
  using Request = etcdserverpb::InternalRaftRequest;
  base::Status Run(Request r, Identity who = {}, uint64_t index = 1) {
    r.mutable_header()->set_username(who.user);
    r.mutable_header()->set_auth_revision(who.revision);
    auto a = applier.Apply(r, index);
    body = a ? a->body : "";
    return a ? a->error : a.error();
  }
  base::Status AddUser(const std::string& name, const std::string& role) {
    Request user, grant;
    user.mutable_auth_user_add()->set_name(name);
    user.mutable_auth_user_add()->set_hashedpassword(base::Base64Encode("hash"));
    if (base::Status s = Run(user); !s.ok()) return s;
    grant.mutable_auth_user_grant_role()->set_user(name);
    grant.mutable_auth_user_grant_role()->set_role(role);
    return Run(grant);
  }
  base::Status AddRole(const std::string& name) {
    Request r;
    r.mutable_auth_role_add()->set_name(name);
    return Run(r);
  }
  base::Status Grant(authpb::Permission::Type type, const std::string& key, const std::string& end) {
    Request r;
    auto* g = r.mutable_auth_role_grant_permission();
    g->set_name("r");
    g->mutable_perm()->set_permtype(type);
    g->mutable_perm()->set_key(key);
    g->mutable_perm()->set_range_end(end);
    return Run(r);
  }
  Identity As(const std::string& user) { return {user, applier.auth().revision()}; }
  static Request PutOf(const std::string& key) {
    Request r;
    r.mutable_put()->set_key(key);
    return r;
  }

  Fixture f;
  Applier applier{*f.store};
  std::string body;
};

TEST_F(AuthTest, GuardsKeysOnceItIsOn) {
  Request enable;
  enable.mutable_auth_enable();
  EXPECT_EQ(Run(enable), ErrRootUserNotExist());
  ASSERT_TRUE(AddRole("r").ok());
  EXPECT_EQ(AddRole("r"), ErrRoleExists());
  ASSERT_TRUE(AddUser("root", "r").ok());
  EXPECT_EQ(Run(enable), ErrRootRoleNotExist());
  Request root;
  root.mutable_auth_user_grant_role()->set_user("root");
  root.mutable_auth_user_grant_role()->set_role("root");
  ASSERT_TRUE(Run(root).ok());
  ASSERT_TRUE(AddUser("alice", "r").ok());
  EXPECT_EQ(AddUser("bob", "none"), ErrRoleNotFound());
  // Adjacent ranges count as one.
  ASSERT_TRUE(Grant(authpb::Permission::READ, "a", "c").ok());
  ASSERT_TRUE(Grant(authpb::Permission::READ, "c", "e").ok());
  ASSERT_TRUE(Grant(authpb::Permission::WRITE, "k", "").ok());
  EXPECT_EQ(Grant(authpb::Permission::READ, "z", "y"), ErrInvalidAuthMgmt());
  EXPECT_TRUE(Run(PutOf("x")).ok()) << "nobody is asked while it is off";
  uint64_t before = applier.auth().revision();
  ASSERT_TRUE(Run(enable).ok());
  EXPECT_EQ(applier.auth().revision(), before);

  const Auth& auth = applier.auth();
  EXPECT_TRUE(auth.MayRead(As("alice"), "a", "e").ok());
  EXPECT_TRUE(auth.MayRead(As("alice"), "b", "").ok());
  EXPECT_EQ(auth.MayRead(As("alice"), "a", "f"), ErrPermissionDenied());
  EXPECT_EQ(auth.MayRead(As("alice"), "a", std::string(1, '\0')), ErrPermissionDenied());
  EXPECT_EQ(auth.MayRead(As("alice"), "k", ""), ErrPermissionDenied());
  EXPECT_TRUE(Run(PutOf("k"), As("alice")).ok());
  EXPECT_EQ(Run(PutOf("k1"), As("alice")), ErrPermissionDenied());
  EXPECT_EQ(Run(PutOf("k")), ErrUserEmpty());
  EXPECT_EQ(Run(PutOf("k"), {"alice", 1}), ErrAuthOldRevision());
  EXPECT_EQ(Run(PutOf("k"), As("nobody")), ErrPermissionDenied());
  EXPECT_TRUE(Run(PutOf("any"), As("root")).ok());
  EXPECT_EQ(Run(enable, As("alice")), ErrPermissionDenied());
  Request drop;
  drop.mutable_auth_user_delete()->set_name("root");
  EXPECT_EQ(Run(drop, As("root")), ErrInvalidAuthMgmt());
}

TEST_F(AuthTest, ATokenStandsForItsUserUntilItRunsOut) {
  Request login;
  login.mutable_authenticate()->set_name("root");
  login.mutable_authenticate()->set_simple_token("abc");
  EXPECT_EQ(Run(login), ErrAuthNotEnabled());
  ASSERT_TRUE(AddRole("root").ok() && AddUser("root", "root").ok());
  Request enable;
  enable.mutable_auth_enable();
  ASSERT_TRUE(Run(enable).ok());
  ASSERT_TRUE(Run(login, {}, 7).ok());
  etcdserverpb::AuthenticateResponse out;
  ASSERT_TRUE(out.ParseFromString(body));
  EXPECT_EQ(out.token(), "abc.7");
  base::MonoTime now = f.store->now();
  EXPECT_EQ(applier.auth().UserOfToken("abc.7", now), "root");
  EXPECT_EQ(applier.auth().UserOfToken("abc.7", now + std::chrono::seconds(200)), "root");
  EXPECT_EQ(applier.auth().UserOfToken("abc.7", now + std::chrono::seconds(450)), "root") << "being used, it lives on";
  EXPECT_EQ(applier.auth().UserOfToken("abc.7", now + std::chrono::seconds(900)), std::nullopt);
  ASSERT_TRUE(Run(login, {}, 9).ok());
  Request passwd;
  passwd.mutable_auth_user_change_password()->set_name("root");
  passwd.mutable_auth_user_change_password()->set_hashedpassword(base::Base64Encode("other"));
  ASSERT_TRUE(Run(passwd, applier.auth().Root()).ok());
  EXPECT_EQ(applier.auth().UserOfToken("abc.9", now), std::nullopt) << "a new password ends old tokens";
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
