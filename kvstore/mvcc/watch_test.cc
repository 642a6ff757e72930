#include "kvstore/mvcc/watch.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/testing_store.h"

namespace kvstore::mvcc {
namespace {

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

}  // namespace
}  // namespace kvstore::mvcc
