// A store's files from anywhere, with checksums that fit: a state file of anything over segments of anything. Refused,
// or opened; and then it reads, hashes, writes and checkpoints, and opens again with the same hash.
#include <fuzzer/FuzzedDataProvider.h>

#include "base/bytes.h"
#include "base/protobuf_wire.h"
#include "base/testing/sim_disk.h"
#include "kvstore/mvcc/store.h"

namespace {

using namespace kvstore;

std::string Value(FuzzedDataProvider& in, int64_t mod) {
  if (in.ConsumeIntegralInRange(0, 15) == 0) return in.ConsumeRandomLengthString(40);
  std::string key = in.ConsumeRandomLengthString(2), value = in.ConsumeRandomLengthString(20);
  return mvcc::EncodeKeyValue({.key = key,
                               .create_revision = in.ConsumeIntegralInRange<int64_t>(0, 30),
                               .mod_revision = mod,
                               .version = in.ConsumeIntegralInRange<int64_t>(0, 5),
                               .value = value,
                               .lease = in.ConsumeIntegralInRange<int64_t>(0, 3)});
}

// Segments with whole records, and what a state file says of them.
std::vector<std::string> MakeSegments(FuzzedDataProvider& in, base::FileSystem& fs) {
  auto segments = mvcc::Segments::Open(fs, "d", {}, {.segment_bytes = 512, .tail_bytes = 64});
  CHECK(segments.has_value());
  for (int n = in.ConsumeIntegralInRange(0, 12); n > 0; --n) {
    mvcc::Revision r{in.ConsumeIntegralInRange<int64_t>(0, 30), in.ConsumeIntegralInRange<int64_t>(0, 2)};
    CHECK((*segments)->Append(r, in.ConsumeBool(), Value(in, r.main)).has_value());
  }
  auto plan = (*segments)->PrepareSync();
  CHECK(plan.has_value() && plan->Sync().ok());
  std::vector<std::string> out;
  for (const auto& part : plan->segments) {
    std::string item;
    wire::PutUint(item, 1, part.id);
    wire::PutUint(item, 2, in.ConsumeIntegralInRange(0, 9) == 0 ? in.ConsumeIntegral<uint16_t>() : part.length);
    if (in.ConsumeBool()) wire::PutBytes(item, 3, in.ConsumeRandomLengthString(12));
    out.push_back(item);
  }
  return out;
}

std::string MakeState(FuzzedDataProvider& in, const std::vector<std::string>& segments) {
  std::string body;
  wire::PutUint(body, 1, in.ConsumeIntegral<uint8_t>());
  wire::PutUint(body, 4, in.ConsumeIntegralInRange<uint64_t>(1, 40));
  wire::PutUint(body, 5, in.ConsumeIntegralInRange<uint64_t>(0, 20));
  for (const std::string& s : segments) wire::PutBytes(body, 6, s);
  body += in.ConsumeRemainingBytesAsString();
  std::string out = "KEELKVS\n";
  base::PutLittleEndian32(out, 1);
  base::PutLittleEndian32(out, base::Crc32c(0, body));
  return out + body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  base::testing::SimDisk disk(1);
  CHECK(disk.MakeDirectories("d").ok());
  bool damaged = in.ConsumeIntegralInRange(0, 3) == 0;
  uint16_t where = in.ConsumeIntegral<uint16_t>();
  auto segments = MakeSegments(in, disk);
  if (damaged) disk.FlipBit("d/00000001.seg", where);
  CHECK(base::WriteFileAtomically(disk, "d/state", MakeState(in, segments)).ok());

  auto store = mvcc::Store::Open(disk, "d");
  if (!store) return 0;
  (void)(*store)->Range({.key = std::string_view("\0", 1), .end = std::string_view("\0", 1)});
  (void)(*store)->HashAt(0);
  (*store)->Begin();
  if (!(*store)->Put("new", "value", 0, false)) return 0;
  (*store)->End();
  (void)(*store)->Compact((*store)->revision());
  for (int i = 0; i < 100; ++i) {
    auto more = (*store)->MaintenanceStep();
    if (!more) return 0;
    if (!*more) break;
  }
  auto hash = (*store)->HashAt(0);
  if (!hash) return 0;
  auto checkpoint = (*store)->PrepareCheckpoint({});
  CHECK(checkpoint.has_value() && checkpoint->Run().ok());
  (*store)->FinishCheckpoint(*checkpoint);
  auto again = mvcc::Store::Open(disk, "d");
  CHECK_MSG(again.has_value(), again.error().ToString());
  auto same = (*again)->HashAt(0);
  CHECK(same.has_value() && same->hash == hash->hash);
  return 0;
}
