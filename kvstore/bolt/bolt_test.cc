#include "kvstore/bolt/bolt.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/bytes.h"
#include "base/random.h"
#include "base/testing/sim_disk.h"

namespace kvstore::bolt {
namespace {

using base::testing::SimDisk;

TEST(Bolt, ReadsARealSnapshot) {
  const char* shared = std::getenv("KEELSON_SHARED");
  const char* source = std::getenv("KEELSON_SOURCE");
  std::string root = shared ? shared : std::string(source ? source : "../..") + "/../shared";
  std::string path = root + "/golden/etcd-files/snapshot.db";
  auto bytes = base::ReadFile(base::PosixFileSystem(), path);
  if (!bytes) GTEST_SKIP() << "no golden data at " << path;
  ASSERT_EQ(bytes->size() % 512, 32u);
  uint64_t size = bytes->size() - 32;
  EXPECT_EQ(base::Sha256(std::string_view(*bytes).substr(0, size)), bytes->substr(size));
  auto file = base::PosixFileSystem().Open(path, base::OpenMode::kRead);
  auto r = Reader::Open(**file, size);
  ASSERT_TRUE(r.has_value()) << r.error().ToString();
  auto s = Summarize(*r, size);
  ASSERT_TRUE(s.has_value()) << s.error().ToString();
  EXPECT_EQ(s->hash, 3872980362u);
  EXPECT_EQ(s->revision, 213);
  EXPECT_EQ(s->total_keys, 207);
  EXPECT_EQ(s->total_size, 69632);
  EXPECT_EQ(s->version, "3.7.0");
}

// Buckets "empty", "key" and "meta" with one key.
using Keys = std::map<std::string, std::string>;
base::Result<Extent> WriteAll(Writer& w, const Keys& keys, bool lengths) {
  for (const char* b : {"empty", "key", "meta"}) {
    TRY(w.BeginBucket(b));
    if (std::string_view(b) == "key") {
      for (const auto& [k, v] : keys) TRY(lengths ? w.AddLength(k, v.size()) : w.Add(k, v));
    }
    if (std::string_view(b) == "meta") TRY(w.Add("x", "y"));
    TRY(w.EndBucket());
  }
  return w.Finish();
}

Keys SomeKeys(size_t n) {
  base::Random random(n + 1);
  Keys keys;
  for (size_t i = 0; i < n; ++i) {
    keys[base::HexEncode(std::to_string(random.Next()))] = std::string(random.Below(i % 50 == 0 ? 20000 : 60), 'v');
  }
  return keys;
}

TEST(Bolt, FrontToBackItIsTheSameFile) {
  for (size_t n : {0u, 1u, 100u, 30000u}) {
    SimDisk disk(1);
    Keys keys = SomeKeys(n);
    auto file = disk.Open("db", base::OpenMode::kCreate);
    Writer into_file(**file), measuring;
    auto extent = WriteAll(into_file, keys, false);
    ASSERT_TRUE(extent.has_value());
    ASSERT_EQ(WriteAll(measuring, keys, true), extent);
    std::string bytes;
    Writer stream(*extent, bytes);
    ASSERT_TRUE(WriteAll(stream, keys, false).has_value());
    EXPECT_EQ(bytes.size(), extent->bytes());
    EXPECT_EQ(bytes, *(*file)->ReadAt(0, extent->bytes() + 1));
    keys["more"] = std::string(5000, 'x');
    Writer other(*extent, bytes);
    EXPECT_FALSE(WriteAll(other, keys, false).has_value());
  }
}

TEST(Bolt, WritesWhatItReads) {
  for (size_t n : {0u, 1u, 100u, 30000u}) {
    SimDisk disk(1);
    Keys keys = SomeKeys(n);
    auto file = disk.Open("db", base::OpenMode::kCreate);
    Writer w(**file);
    auto extent = WriteAll(w, keys, false);
    ASSERT_TRUE(extent.has_value());
    uint64_t size = extent->bytes();
    EXPECT_EQ(size, *(*file)->Size());
    auto r = Reader::Open(**file, size);
    ASSERT_TRUE(r.has_value()) << r.error().ToString();
    EXPECT_EQ(*r->Buckets(), (std::vector<std::string>{"empty", "key", "meta"}));
    std::map<std::string, std::string> back;
    std::string last;
    ASSERT_TRUE(r->ForEach("key", [&](std::string_view k, std::string_view v) {
                   EXPECT_LT(last, k);
                   last = k;
                   back.emplace(k, v);
                   return base::Ok();
                 }).ok());
    EXPECT_EQ(back, keys);
  }
}

TEST(Bolt, DamageIsAnErrorNotACrash) {
  SimDisk disk(1);
  auto file = disk.Open("db", base::OpenMode::kCreate);
  Writer w(**file);
  ASSERT_TRUE(w.BeginBucket("key").ok());
  for (int i = 1000; i < 3000; ++i) ASSERT_TRUE(w.Add(std::to_string(i), std::string(50, 'v')).ok());
  ASSERT_TRUE(w.EndBucket().ok());
  uint64_t size = w.Finish()->bytes();
  disk.SyncAll();
  base::Random random(5);
  for (int i = 0; i < 3000; ++i) {
    std::string good = *(*file)->ReadAt(0, size);
    for (int k = 0; k < 3; ++k) disk.FlipBit("db", random.Below(size * 8));
    auto r = Reader::Open(**file, size);
    if (r) (void)Summarize(*r, size);
    ASSERT_TRUE((*file)->WriteAt(0, good).ok());
  }
}

}  // namespace
}  // namespace kvstore::bolt
