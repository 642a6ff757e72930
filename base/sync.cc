#include "base/sync.h"

namespace base {

struct Event::Waiter {
  std::coroutine_handle<> handle;  // null once the waiting coroutine is gone
  Status result;
  bool queued = false;  // in waiters_, at `position`
  std::list<std::shared_ptr<Waiter>>::iterator position;
  bool notified = false;  // by NotifyOne or NotifyAll, not by its context
  Context::Registration cancel;
};

struct EventAwaiter {
  Event& event;
  const Context& ctx;
  std::shared_ptr<Event::Waiter> waiter;

  EventAwaiter(Event& e, const Context& c) : event(e), ctx(c) {}
  EventAwaiter(const EventAwaiter&) = delete;
  // Reached without await_resume when the coroutine is destroyed while it waits.
  ~EventAwaiter() {
    if (!waiter || !waiter->handle) return;
    waiter->handle = {};
    waiter->cancel.Reset();
    if (waiter->queued) {
      event.waiters_.erase(waiter->position);
    } else if (waiter->notified) {
      event.NotifyOne();  // what it was woken for is still there for another
    }
  }
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> h) {
    waiter = std::make_shared<Event::Waiter>();
    if (ctx.done()) {
      waiter->result = ctx.status();
      return false;
    }
    waiter->handle = h;
    waiter->queued = true;
    waiter->position = event.waiters_.insert(event.waiters_.end(), waiter);
    waiter->cancel = ctx.OnDone([this] {
      if (!waiter->queued) return;  // a notification is already under way
      waiter->queued = false;
      event.waiters_.erase(waiter->position);
      waiter->result = ctx.status();
      event.Resume(waiter);
    });
    return true;
  }
  Status await_resume() {
    waiter->cancel.Reset();
    waiter->handle = {};
    return waiter->result;
  }
};

void Event::Resume(std::shared_ptr<Waiter> w) {
  executor_.Post([w = std::move(w)] {
    if (w->handle) w->handle.resume();
  });
}

Event::~Event() { CHECK_MSG(waiters_.empty(), "Event destroyed with waiters"); }

Task<Status> Event::Wait(Context ctx) { co_return co_await EventAwaiter(*this, ctx); }

void Event::NotifyOne() {
  if (waiters_.empty()) return;
  auto w = waiters_.front();
  waiters_.pop_front();
  w->queued = false;
  w->notified = true;
  Resume(std::move(w));
}

void Event::NotifyAll() {
  while (!waiters_.empty()) NotifyOne();
}

namespace {
struct SleepAwaiter {
  struct State {
    std::coroutine_handle<> handle;  // null once the sleeper is gone
    Status result;
    bool finished = false;
  };
  Executor& executor;
  const Context& ctx;
  Duration delay;
  TimerId timer = 0;
  Context::Registration cancel;
  std::shared_ptr<State> state = std::make_shared<State>();

  SleepAwaiter(Executor& e, const Context& c, Duration d) : executor(e), ctx(c), delay(d) {}
  SleepAwaiter(const SleepAwaiter&) = delete;
  ~SleepAwaiter() {
    if (!std::exchange(state->handle, {})) return;
    cancel.Reset();
    if (!state->finished) executor.CancelTimer(timer);
  }
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> h) {
    if (ctx.done()) {
      state->result = ctx.status();
      return false;
    }
    state->handle = h;
    timer = executor.After(delay, [s = state] {
      s->finished = true;
      s->handle.resume();
    });
    cancel = ctx.OnDone([this] {
      if (std::exchange(state->finished, true)) return;
      executor.CancelTimer(timer);
      state->result = ctx.status();
      executor.Post([s = state] {
        if (s->handle) s->handle.resume();
      });
    });
    return true;
  }
  Status await_resume() {
    cancel.Reset();
    state->handle = {};
    return state->result;
  }
};
}  // namespace

Task<Status> Sleep(Executor& executor, Context ctx, Duration delay) {
  co_return co_await SleepAwaiter(executor, ctx, delay);
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
