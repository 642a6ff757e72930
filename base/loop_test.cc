#include "base/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/random.h"

namespace base {
namespace {

using std::chrono::milliseconds;

TEST(Loop, PostsFromThreadsKeepTheirOrder) {
  Loop loop;
  std::vector<int> last(4, -1);
  int left = 4 * 5000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5000; ++i)
        loop.Post([&, t, i] {
          EXPECT_EQ(last[static_cast<size_t>(t)], i - 1);
          last[static_cast<size_t>(t)] = i;
          if (--left == 0) loop.Stop();
        });
    });
  }
  loop.Run();
  for (auto& t : threads) t.join();
  EXPECT_EQ(left, 0);
}

TEST(Loop, TimersFireInOrderAndCancel) {
  Loop loop;
  Random random(3);
  std::vector<int> fired;
  std::vector<std::pair<TimerId, int>> ids;
  for (int i = 0; i < 500; ++i) {
    int ms = static_cast<int>(random.Below(50));
    ids.emplace_back(loop.After(milliseconds(ms), [&, ms] { fired.push_back(ms); }), ms);
  }
  size_t cancelled = 0;
  for (size_t i = 0; i < ids.size(); i += 3) cancelled += loop.CancelTimer(ids[i].first);
  EXPECT_FALSE(loop.CancelTimer(ids[0].first));
  loop.After(milliseconds(80), [&] { loop.Stop(); });
  loop.Run();
  EXPECT_EQ(fired.size(), 500 - cancelled);
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
}

// The kernel is told of one time only: it must learn of an earlier one, and of the next when that one was cancelled.
TEST(Loop, TimersThatAreSetLaterAndAreDueSooner) {
  Loop loop;
  std::string trace;
  loop.After(milliseconds(40), [&] { trace += "c"; });
  loop.After(std::chrono::hours(1), [&] { trace += "never"; });
  loop.After(Duration::max(), [&] { trace += "never"; });
  TimerId gone = loop.After(milliseconds(5), [&] { trace += "cancelled"; });
  loop.After(milliseconds(10), [&] {
    trace += "a";
    loop.After(milliseconds(0), [&] { trace += "b"; });
    loop.After(milliseconds(60), [&] {
      trace += "d";
      loop.Stop();
    });
  });
  EXPECT_TRUE(loop.CancelTimer(gone));
  loop.Run();
  EXPECT_EQ(trace, "abcd");
}

TEST(Loop, PostFromInsideRunsLater) {
  Loop loop;
  std::string trace;
  loop.Post([&] {
    loop.Post([&] {
      trace += "b";
      loop.Stop();
    });
    trace += "a";
  });
  loop.Run();
  EXPECT_EQ(trace, "ab");
}

TEST(Loop, ReadableWritableForget) {
  Loop loop;
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
  std::string trace;
  SpawnNow([](Loop& loop, int fd, std::string& trace) -> Task<void> {
    EXPECT_TRUE((co_await loop.Readable(fd, Context())).ok());
    char c;
    EXPECT_EQ(::read(fd, &c, 1), 1);
    trace.push_back(c);
    Status ended = co_await loop.Readable(fd, Context().WithTimeout(loop, milliseconds(5)));
    EXPECT_EQ(ended.code(), Code::kDeadlineExceeded);
    loop.After(milliseconds(5), [&loop, fd] { loop.Forget(fd); });
    EXPECT_EQ((co_await loop.Readable(fd, Context())).code(), Code::kCancelled);
    loop.Stop();
  }(loop, fds[0], trace));
  SpawnNow([](Loop& loop, int fd) -> Task<void> {
    EXPECT_TRUE((co_await loop.Writable(fd, Context())).ok());
    EXPECT_EQ(::write(fd, "x", 1), 1);
  }(loop, fds[1]));
  loop.Run();
  EXPECT_EQ(trace, "x");
  loop.Forget(fds[1]);
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST(ThreadPool, RunsAndReturnsToTheStrand) {
  Loop loop;
  auto pool = NewThreadPool("test-pool", 3);
  auto home = std::this_thread::get_id();
  int done = 0;
  for (int i = 0; i < 100; ++i) {
    SpawnNow([](Loop& loop, BlockingPool& pool, std::thread::id home, int i, int& done) -> Task<void> {
      auto doubled = co_await RunBlocking(pool, loop, [i, home] {
        EXPECT_NE(std::this_thread::get_id(), home);
        return 2 * i;
      });
      EXPECT_EQ(doubled, 2 * i);
      EXPECT_EQ(std::this_thread::get_id(), home);
      if (++done == 100) loop.Stop();
    }(loop, *pool, home, i, done));
  }
  loop.Run();
  EXPECT_EQ(done, 100);
}

TEST(ThreadPool, FinishesWhatWasQueued) {
  Loop loop;
  std::atomic<int> ran = 0;
  {
    auto pool = NewThreadPool("one", 1);
    for (int i = 0; i < 50; ++i) pool->Run([&] { ++ran; }, loop, [] {});
  }
  EXPECT_EQ(ran, 50);
}

}  // namespace
}  // namespace base
