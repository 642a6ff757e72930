#include "kvstore/replica/dying_files.h"

#include <gtest/gtest.h>

#include "base/testing/sim_disk.h"

namespace kvstore::replica {
namespace {

using base::testing::SimDisk;

std::shared_ptr<base::File> Nameless(SimDisk& disk, const std::string& name, size_t bytes) {
  std::shared_ptr<base::File> file = std::move(*disk.Open(name, base::OpenMode::kCreate));
  EXPECT_TRUE(file->Append(std::string(bytes, 'x')).ok());
  EXPECT_TRUE(disk.Remove(name).ok());
  return file;
}

TEST(DyingFiles, ShrinkInStepsOnceNobodyReads) {
  SimDisk disk(1);
  DyingFiles dying;
  EXPECT_FALSE(dying.Next());
  auto reader = Nameless(disk, "one", 10 << 20);
  dying.Add(reader);
  EXPECT_FALSE(dying.Next()) << "somebody reads it";
  EXPECT_EQ(*reader->Size(), 10u << 20);
  std::weak_ptr<base::File> watched = reader;
  reader.reset();
  for (uint64_t left : {6u << 20, 2u << 20}) {
    auto step = dying.Next();
    ASSERT_TRUE(step);
    step();
    EXPECT_EQ(*watched.lock()->Size(), left);
  }
  dying.Add(Nameless(disk, "two", 100));
  for (int i = 0; i < 2; ++i) {
    auto step = dying.Next();
    ASSERT_TRUE(step);
    step();
  }
  EXPECT_TRUE(watched.expired());
  EXPECT_FALSE(dying.Next());
}

}  // namespace
}  // namespace kvstore::replica
