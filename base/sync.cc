#include "base/sync.h"

namespace base {

struct Event::Waiter {
  std::coroutine_handle<> handle;
  Status result;
  bool queued = false;  // in waiters_
  Context::Registration cancel;
};

struct EventAwaiter {
  Event& event;
  const Context& ctx;
  std::shared_ptr<Event::Waiter> waiter;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> h) {
    if (ctx.done()) {
      waiter = std::make_shared<Event::Waiter>();
      waiter->result = ctx.status();
      return false;
    }
    waiter = std::make_shared<Event::Waiter>();
    waiter->handle = h;
    waiter->queued = true;
    event.waiters_.push_back(waiter);
    waiter->cancel = ctx.OnDone([this] {
      if (!waiter->queued) return;  // a notification is already under way
      waiter->queued = false;
      event.waiters_.remove(waiter);
      waiter->result = ctx.status();
      event.executor_.Post([w = waiter] { w->handle.resume(); });
    });
    return true;
  }
  Status await_resume() {
    waiter->cancel.Reset();
    return waiter->result;
  }
};

Event::~Event() { CHECK_MSG(waiters_.empty(), "Event destroyed with waiters"); }

Task<Status> Event::Wait(Context ctx) { co_return co_await EventAwaiter{*this, ctx, nullptr}; }

void Event::NotifyOne() {
  if (waiters_.empty()) return;
  auto w = waiters_.front();
  waiters_.pop_front();
  w->queued = false;
  executor_.Post([w] { w->handle.resume(); });
}

void Event::NotifyAll() {
  while (!waiters_.empty()) NotifyOne();
}

namespace {
struct SleepAwaiter {
  Executor& executor;
  const Context& ctx;
  Duration delay;
  Status result;
  bool finished = false;
  TimerId timer = 0;
  Context::Registration cancel;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> h) {
    if (ctx.done()) {
      result = ctx.status();
      return false;
    }
    timer = executor.After(delay, [this, h] {
      if (std::exchange(finished, true)) return;
      h.resume();
    });
    cancel = ctx.OnDone([this, h] {
      if (std::exchange(finished, true)) return;
      executor.CancelTimer(timer);
      result = ctx.status();
      executor.Post([h] { h.resume(); });
    });
    return true;
  }
  Status await_resume() {
    cancel.Reset();
    return result;
  }
};
}  // namespace

Task<Status> Sleep(Executor& executor, Context ctx, Duration delay) {
  co_return co_await SleepAwaiter{executor, ctx, delay, {}, false, 0, {}};
}

void TaskScope::Spawn(Task<void> task) {
  ++running_;
  base::Spawn(executor_, std::move(task), [this] {
    if (--running_ == 0) idle_.NotifyAll();
  });
}

Task<void> TaskScope::Join() {
  while (running_ > 0) (void)co_await idle_.Wait(Context());
}

}  // namespace base
