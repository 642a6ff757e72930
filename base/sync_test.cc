#include "base/sync.h"

#include <gtest/gtest.h>

#include "base/testing/sim_executor.h"

namespace base {
namespace {

using std::chrono::seconds;
using testing::SimExecutor;

Task<void> WaitInto(Event& event, Context ctx, std::vector<Status>& out) { out.push_back(co_await event.Wait(ctx)); }
Task<void> SleepInto(Executor& executor, Context ctx, Duration delay, std::vector<Status>& out) {
  out.push_back(co_await Sleep(executor, ctx, delay));
}

// An aggregate that could be built from a Status.
struct Verdict {
  Status status;
  int score = 0;
};
Task<Result<Verdict>> Judge(Status status) {
  CO_TRY(status);
  co_return Verdict{Aborted("judged"), 7};
}

TEST(Task, AnErrorOfCoTryIsNeverAValue) {
  std::vector<Result<Verdict>> out;
  auto judge = [](Status status, std::vector<Result<Verdict>>& out) -> Task<void> {
    out.push_back(co_await Judge(status));
  };
  SpawnNow(judge(NotFound("no case"), out));
  SpawnNow(judge(Ok(), out));
  ASSERT_EQ(out.size(), 2u);
  ASSERT_FALSE(out[0].has_value());
  EXPECT_EQ(out[0].error().code(), Code::kNotFound);
  ASSERT_TRUE(out[1].has_value());
  EXPECT_EQ(out[1]->score, 7);
}

TEST(Event, NotifiedWaitersRunLaterInOrder) {
  SimExecutor executor(1, SimExecutor::Order::kFifo);
  Event event(executor);
  std::vector<Status> out;
  SpawnNow(WaitInto(event, Context(), out));
  event.NotifyAll();
  EXPECT_TRUE(out.empty());
  executor.RunReady();
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(out[0].ok());
}

TEST(Event, NotifyThenCancelInOneTurnIsANotification) {
  SimExecutor executor(1);
  Event event(executor);
  std::vector<Status> out;
  Context ctx = Context().WithCancel();
  SpawnNow(WaitInto(event, ctx, out));
  event.NotifyOne();
  ctx.Cancel();
  executor.RunReady();
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(out[0].ok());
}

TEST(Event, CancelThenNotifyGoesToTheNextWaiter) {
  SimExecutor executor(1, SimExecutor::Order::kFifo);
  Event event(executor);
  std::vector<Status> first, second;
  Context ctx = Context().WithCancel();
  SpawnNow(WaitInto(event, ctx, first));
  SpawnNow(WaitInto(event, Context(), second));
  ctx.Cancel();
  event.NotifyOne();
  executor.RunReady();
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].code(), Code::kCancelled);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_TRUE(second[0].ok());
}

TEST(Event, WaitOnAnEndedContextReturnsAtOnce) {
  SimExecutor executor(1);
  Event event(executor);
  Context ctx = Context().WithCancel();
  ctx.Cancel(DeadlineExceeded("late"));
  std::vector<Status> out;
  SpawnNow(WaitInto(event, ctx, out));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].code(), Code::kDeadlineExceeded);
  EXPECT_FALSE(event.has_waiters());
}

TEST(EventDeathTest, DestroyedWithWaiters) {
  SimExecutor executor(1);
  EXPECT_DEATH(
      {
        std::vector<Status> out;
        Event event(executor);
        SpawnNow(WaitInto(event, Context(), out));
      },
      "Event destroyed with waiters");
}

// A coroutine that is destroyed while it waits, before and after it was notified.
struct Held {
  struct promise_type {
    Held get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};
Held HoldWait(Event& event, Context ctx, int& reached) {
  (void)co_await event.Wait(ctx);
  ++reached;
}
Held HoldSleep(Executor& executor, Context ctx, int& reached) {
  (void)co_await Sleep(executor, ctx, seconds(1));
  ++reached;
}

TEST(Event, DestroyedWaiterLeavesTheQueue) {
  SimExecutor executor(1);
  Event event(executor);
  int reached = 0;
  Held h = HoldWait(event, Context().WithCancel(), reached);
  EXPECT_TRUE(event.has_waiters());
  h.handle.destroy();
  EXPECT_FALSE(event.has_waiters());
  event.NotifyAll();
  executor.RunReady();
  EXPECT_EQ(reached, 0);
}

TEST(Event, DestroyedAfterNotifyOnePassesItOn) {
  SimExecutor executor(1);
  Event event(executor);
  int reached = 0;
  std::vector<Status> other;
  Held h = HoldWait(event, Context(), reached);
  SpawnNow(WaitInto(event, Context(), other));
  event.NotifyOne();
  h.handle.destroy();
  executor.RunReady();
  EXPECT_EQ(reached, 0);
  EXPECT_EQ(other.size(), 1u);
}

TEST(Sleep, EndsByTimeOrContext) {
  SimExecutor executor(1);
  std::vector<Status> out;
  Context ctx = Context().WithCancel();
  SpawnNow(SleepInto(executor, ctx, seconds(5), out));
  SpawnNow(SleepInto(executor, Context(), seconds(3), out));
  executor.RunFor(seconds(4));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(out[0].ok());
  ctx.Cancel();
  executor.RunReady();
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[1].code(), Code::kCancelled);
}

TEST(Sleep, DestroyedSleeperLeavesNoTimer) {
  SimExecutor executor(1);
  int reached = 0;
  Context ctx = Context().WithCancel();
  HoldSleep(executor, ctx, reached).handle.destroy();
  Held second = HoldSleep(executor, ctx, reached);
  ctx.Cancel();
  second.handle.destroy();
  executor.RunReady();
  EXPECT_FALSE(executor.Step());
  EXPECT_EQ(reached, 0);
}

TEST(Channel, BoundsAndDrains) {
  SimExecutor executor(7);
  Channel<int> channel(executor, 2);
  std::vector<int> got;
  bool ended = false;
  SpawnNow([](Channel<int>& c) -> Task<void> {
    for (int i = 0; i < 100; ++i) CHECK((co_await c.Push(Context(), i)).ok());
    c.Close();
  }(channel));
  EXPECT_EQ(channel.size(), 2u);
  SpawnNow([](Channel<int>& c, std::vector<int>& got, bool& ended) -> Task<void> {
    for (;;) {
      auto v = co_await c.Pop(Context());
      if (!v) break;
      got.push_back(*v);
    }
    ended = true;
  }(channel, got, ended));
  executor.RunReady();
  EXPECT_TRUE(ended);
  ASSERT_EQ(got.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(got[static_cast<size_t>(i)], i);
}

TEST(Mutex, ExcludesUnderEverySeed) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimExecutor executor(seed);
    Mutex mutex(executor);
    int inside = 0, done = 0;
    for (int i = 0; i < 10; ++i) {
      Spawn(executor, [](Executor& e, Mutex& m, int& inside, int& done) -> Task<void> {
        auto guard = co_await m.Lock(Context());
        CHECK(guard.has_value());
        CHECK(++inside == 1);
        co_await Yield(e);
        --inside;
        ++done;
      }(executor, mutex, inside, done));
    }
    executor.RunReady();
    EXPECT_EQ(done, 10);
  }
}

TEST(TaskScope, CancelAndJoin) {
  SimExecutor executor(3);
  std::vector<Status> out;
  bool joined = false;
  auto scope = std::make_unique<TaskScope>(executor, Context());
  for (int i = 0; i < 3; ++i) scope->Spawn(SleepInto(executor, scope->context(), seconds(100), out));
  executor.RunReady();
  EXPECT_EQ(scope->running(), 3u);
  SpawnNow([](TaskScope& s, bool& joined) -> Task<void> {
    co_await s.CancelAndJoin();
    joined = true;
  }(*scope, joined));
  executor.RunReady();
  EXPECT_TRUE(joined);
  EXPECT_EQ(out.size(), 3u);
}

TEST(Context, ChildrenEndWithTheParentAndTimersGo) {
  SimExecutor executor(1);
  Context root = Context().WithCancel();
  Context child = root.WithTimeout(executor, seconds(10));
  Context longer = child.WithTimeout(executor, seconds(20));
  EXPECT_EQ(longer.deadline(), child.deadline());
  int calls = 0;
  auto keep = child.OnDone([&] { ++calls; });
  {
    auto dropped = child.OnDone([&] { calls += 100; });
  }
  executor.RunFor(seconds(11));
  EXPECT_EQ(child.status().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(longer.done());
  EXPECT_FALSE(root.done());
  EXPECT_EQ(calls, 1);
  {
    Context temporary = root.WithTimeout(executor, seconds(5));
  }
  EXPECT_FALSE(executor.Step()) << "a dead context left its timer behind";
}

TEST(Context, CallbackMayDropItsOwnRegistration) {
  Context ctx = Context().WithCancel();
  Context::Registration registration;
  int calls = 0;
  registration = ctx.OnDone([&] {
    ++calls;
    registration.Reset();
  });
  ctx.Cancel();
  ctx.Cancel();
  EXPECT_EQ(calls, 1);
}

TEST(SimExecutor, SameSeedSameTrace) {
  auto run = [](uint64_t seed) {
    SimExecutor executor(seed);
    for (int i = 0; i < 100; ++i) executor.Post([&executor, i] { executor.Trace(static_cast<uint64_t>(i)); });
    executor.RunReady();
    return executor.trace_hash();
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

}  // namespace
}  // namespace base
