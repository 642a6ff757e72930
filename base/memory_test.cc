#include "base/memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace base {
namespace {

#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
TEST(Memory, AfterABurstItIsGivenBack) {
  std::vector<std::unique_ptr<std::string>> pieces;
  for (int i = 0; i < 300'000; ++i) pieces.push_back(std::make_unique<std::string>(200, 'x'));
  EXPECT_FALSE(ReturnFreedMemory(32 << 20)) << "in use";
  auto last = std::move(pieces.back());  // holds the heap's end down
  pieces.clear();
  EXPECT_TRUE(ReturnFreedMemory(32 << 20));
  EXPECT_FALSE(ReturnFreedMemory(32 << 20)) << "has been given back";
}
#endif

}  // namespace
}  // namespace base
