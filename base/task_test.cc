// Exceptions of libraries among coroutines: they reach whoever awaits, and the guard of work for others.
#include "base/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "base/loop.h"
#include "base/sync.h"

namespace base {
namespace {

Task<int> Throws(Loop& loop) {
  (void)co_await Sleep(loop, Context(), std::chrono::milliseconds(1));
  throw std::runtime_error("thrown");
  co_return 1;
}

Task<void> Awaits(Loop& loop, std::shared_ptr<int> alive, int* seen) { *seen = co_await Throws(loop); }

TEST(Exceptions, ReachTheGuardAndFreeWhatStoodBetween) {
  Loop loop;
  auto alive = std::make_shared<int>(0);
  int seen = 0;
  std::string what;
  SpawnCaught([&] { return Awaits(loop, alive, &seen); },
              [&](const std::exception_ptr* thrown) {
                what = DescribeException(*thrown);
                loop.Stop();
              });
  EXPECT_EQ(alive.use_count(), 2);
  loop.Run();
  EXPECT_EQ(what, "thrown");
  EXPECT_EQ(seen, 0);
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(Exceptions, CanBeCaughtOnTheWay) {
  Loop loop;
  std::string what;
  SpawnNow(
      [](Loop& loop, std::string& what) -> Task<void> {
        try {
          (void)co_await Throws(loop);
        } catch (const std::exception& e) {
          what = e.what();
        }
      }(loop, what),
      [&] { loop.Stop(); });
  loop.Run();
  EXPECT_EQ(what, "thrown");
}

TEST(Exceptions, OfTheMakerAndOfAPoolCountToo) {
  Loop loop;
  std::string what;
  SpawnCaught([]() -> Task<void> { throw std::bad_alloc(); },
              [&](const std::exception_ptr* thrown) { what = DescribeException(*thrown); });
  EXPECT_EQ(what, "std::bad_alloc");
  auto pool = NewThreadPool("pool", 1);
  SpawnCaught([&] { return RunBlocking(*pool, loop, [] { throw std::runtime_error("on the pool"); }); },
              [&](const std::exception_ptr* thrown) {
                what = DescribeException(*thrown);
                loop.Stop();
              });
  loop.Run();
  EXPECT_EQ(what, "on the pool");
}

TEST(Exceptions, TheGuardHearsOfAnOrdinaryEnd) {
  bool ended = false;
  SpawnCaught([]() -> Task<void> { co_return; }, [&](const std::exception_ptr* thrown) { ended = thrown == nullptr; });
  EXPECT_TRUE(ended);
}

TEST(ExceptionsDeathTest, OfNobodysTaskEndTheProcess) {
  EXPECT_DEATH(SpawnNow([]() -> Task<void> {
                 throw std::runtime_error("nobody");
                 co_return;
               }()),
               "nobody");
}

}  // namespace
}  // namespace base
