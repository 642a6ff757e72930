// A database file from anywhere: read to its end or refused, in bounded work.
#include "base/testing/sim_disk.h"
#include "kvstore/bolt/bolt.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvstore;
  base::testing::SimDisk disk(1);
  auto file = disk.Open("db", base::OpenMode::kCreate);
  (void)(*file)->Append({reinterpret_cast<const char*>(data), size});
  auto reader = bolt::Reader::Open(**file, size);
  if (reader) (void)bolt::Summarize(*reader, size);
  return 0;
}
