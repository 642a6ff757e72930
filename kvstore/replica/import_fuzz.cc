// Databases from anywhere as a snapshot's content: raw bytes, or a well-formed file with buckets of anything. Refused,
// or imported; and then a second copy, taken by way of an export, has the same hash.
#include <fuzzer/FuzzedDataProvider.h>

#include "base/testing/sim_disk.h"
#include "base/testing/sim_executor.h"
#include "kvstore/bolt/bolt.h"
#include "kvstore/mvcc/applier.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/import.h"

namespace {

using namespace kvstore;

constexpr const char* kBuckets[] = {"alarm", "auth",  "authRoles", "authUsers",       "cluster",
                                    "key",   "lease", "members",   "members_removed", "meta"};

std::string KeyFor(FuzzedDataProvider& in, std::string_view bucket) {
  if (bucket == "key" && in.ConsumeIntegralInRange(0, 7) != 0) {
    mvcc::Revision r{in.ConsumeIntegralInRange<int64_t>(0, 40), in.ConsumeIntegralInRange<int64_t>(0, 3)};
    return mvcc::RevisionKey(r, in.ConsumeBool());
  }
  static constexpr const char* kMeta[] = {"consistent_index", "term", "confState", "scheduledCompactRev",
                                          "finishedCompactRev"};
  if (bucket == "meta") return in.PickValueInArray(kMeta);
  return in.ConsumeBool() ? mvcc::MemberKey(in.ConsumeIntegral<uint8_t>()) : in.ConsumeRandomLengthString(20);
}

std::string ValueFor(FuzzedDataProvider& in, std::string_view bucket) {
  if (bucket != "key" || in.ConsumeIntegralInRange(0, 7) == 0) return in.ConsumeRandomLengthString(64);
  std::string key = in.ConsumeRandomLengthString(3), value = in.ConsumeRandomLengthString(30);
  return mvcc::EncodeKeyValue({.key = key,
                               .create_revision = in.ConsumeIntegralInRange<int64_t>(0, 40),
                               .mod_revision = in.ConsumeIntegralInRange<int64_t>(0, 40),
                               .version = in.ConsumeIntegralInRange<int64_t>(0, 5),
                               .value = value,
                               .lease = in.ConsumeIntegralInRange<int64_t>(0, 3)});
}

void WellFormed(FuzzedDataProvider& in, base::File& out) {
  bolt::Writer w(out);
  for (const char* bucket : kBuckets) {
    if (in.ConsumeIntegralInRange(0, 9) == 0) continue;
    std::map<std::string, std::string> entries;
    for (int n = in.ConsumeIntegralInRange(0, 6); n > 0; --n) {
      std::string key = KeyFor(in, bucket);
      if (!key.empty()) entries[key] = ValueFor(in, bucket);
    }
    CHECK(w.BeginBucket(bucket).ok());
    for (const auto& [k, v] : entries) CHECK(w.Add(k, v).ok());
    CHECK(w.EndBucket().ok());
  }
  CHECK(w.Finish().has_value());
}

base::Task<void> TakeAndWrite(mvcc::Store& store, mvcc::AppliedMark mark, base::Executor& executor, base::File& out,
                              base::Status& result) {
  auto image = co_await replica::TakeImage(store, mark, executor, [] { return true; });
  auto stream = image ? replica::DatabaseStream::Make(std::move(*image)) : base::Err(image.error());
  auto bytes = stream ? (*stream)->Rest() : base::Err(stream.error());
  result = bytes ? out.Append(*bytes) : bytes.error();
}
base::Status Export(mvcc::Store& store, const mvcc::AppliedMark& mark, base::File& out) {
  base::testing::SimExecutor executor(1);
  base::Status result = base::Internal("not finished");
  base::Spawn(executor, TakeAndWrite(store, mark, executor, out, result));
  while (executor.Step()) {
  }
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  base::testing::SimDisk disk(1);
  auto file = disk.Open("db", base::OpenMode::kCreate);
  if (in.ConsumeBool()) {
    std::string raw = in.ConsumeRemainingBytesAsString();
    CHECK((*file)->Append(raw).ok());
  } else {
    WellFormed(in, **file);
  }
  auto store = mvcc::Store::Open(disk, "one");
  auto mark = replica::ImportDatabase(disk, "db", **store);
  if (!mark) return 0;
  mvcc::Applier applier(**store);
  auto hash = (*store)->HashAt(0);
  CHECK_MSG(hash.has_value(), hash.error().ToString());
  (void)(*store)->Range({.key = std::string_view("\0", 1), .end = std::string_view("\0", 1)});

  auto copy = disk.Open("copy", base::OpenMode::kCreate);
  CHECK(Export(**store, *mark, **copy).ok());
  auto other = mvcc::Store::Open(disk, "two");
  auto again = replica::ImportDatabase(disk, "copy", **other);
  CHECK_MSG(again.has_value(), again.error().ToString());
  auto same = (*other)->HashAt(0);
  CHECK(same.has_value() && same->hash == hash->hash && same->revision == hash->revision);
  return 0;
}
