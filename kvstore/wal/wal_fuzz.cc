// A log segment from anywhere: reading it gives records or an error, and what Open repaired reads the same again.
#include "base/testing/sim_disk.h"
#include "kvstore/wal/wal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvstore;
  base::testing::SimDisk disk(1);
  std::string name = "wal/" + wal::SegmentName(0, 0);
  (void)disk.MakeDirectories("wal");
  {
    auto file = disk.Open(name, base::OpenMode::kCreate);
    (void)(*file)->Append({reinterpret_cast<const char*>(data), size});
  }
  auto read = wal::Read(disk, "wal");
  auto opened = wal::Wal::Open(disk, "wal", 0, {.segment_bytes = 4096});
  CHECK(read.has_value() == opened.has_value());
  if (opened) {
    CHECK(opened->contents.entries == read->entries);
    auto again = wal::Read(disk, "wal");
    CHECK(again.has_value() && again->entries == read->entries);
    for (const auto& e : read->entries) (void)wal::DecodeConfChange(e);
  }
  return 0;
}
