#include "base/cpu_profile.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/loop.h"
#include "base/sync.h"

namespace base {
namespace {

[[gnu::noinline]] uint64_t Burn(const std::atomic<bool>& stop) {
  uint64_t x = 1;
  while (!stop) x = x * 6364136223846793005u + 1442695040888963407u;
  return x;
}

TEST(CpuProfile, FindsWhoBurns) {
  Loop loop;
  std::atomic<bool> stop = false;
  std::thread burner([&] { (void)Burn(stop); });
  uint64_t inside = 0, all = 0;
  Status second;
  Spawn(loop, [](Loop& l, uint64_t& inside_, uint64_t& all_, Status& second_) -> Task<void> {
    Spawn(l, [](Loop& l2, Status& s) -> Task<void> {
      auto other = co_await TakeCpuProfile({}, l2, std::chrono::milliseconds(1));
      s = other ? Ok() : other.error();
    }(l, second_));
    auto profile = co_await TakeCpuProfile({}, l, std::chrono::milliseconds(600));
    EXPECT_TRUE(profile.has_value());
    auto burn = reinterpret_cast<uint64_t>(&Burn);
    for (const auto& [stack, count] : profile->stacks) {
      all_ += count;
      if (stack[0] >= burn && stack[0] < burn + 256) inside_ += count;
    }
    l.Stop();
  }(loop, inside, all, second));
  loop.Run();
  stop = true;
  burner.join();
  EXPECT_GT(inside, 5u);
  EXPECT_GT(inside * 10, all * 8);
  EXPECT_EQ(second.message(), "cpu profiling already in use");
  bool own = false;
  for (const CodeMapping& m : CodeMappings()) {
    auto burn = reinterpret_cast<uint64_t>(&Burn);
    own |= m.start <= burn && burn < m.limit && m.file.ends_with("base_test");
  }
  EXPECT_TRUE(own);
}

}  // namespace
}  // namespace base
