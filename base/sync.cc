#include "base/sync.h"

namespace base {

struct Event::Waiter : std::enable_shared_from_this<Waiter> {
  std::coroutine_handle<> handle;  // null once the waiting coroutine is gone
  Status result;
  bool queued = false;  // between these two
  Waiter *previous = nullptr, *next = nullptr;
  bool notified = false;  // by NotifyOne or NotifyAll, not by its context
  Context::Registration cancel;
};

Event::Waiting::~Waiting() {
  if (!waiter_ || !waiter_->handle) return;
  waiter_->handle = {};
  waiter_->cancel.Reset();
  if (waiter_->queued) {
    event_.Dequeue(*waiter_);
  } else if (waiter_->notified) {
    event_.NotifyOne();  // what it was woken for is still there for another
  }
}

bool Event::Waiting::await_suspend(std::coroutine_handle<> h) {
  waiter_ = std::make_shared<Waiter>();
  if (ctx_.done()) {
    waiter_->result = ctx_.status();
    return false;
  }
  waiter_->handle = h;
  event_.Enqueue(*waiter_);
  waiter_->cancel = ctx_.OnDone([this] {
    if (!waiter_->queued) return;  // a notification is already under way
    event_.Dequeue(*waiter_);
    waiter_->result = ctx_.status();
    event_.Resume(*waiter_);
  });
  return true;
}

Status Event::Waiting::await_resume() {
  waiter_->cancel.Reset();
  waiter_->handle = {};
  return std::move(waiter_->result);
}

void Event::Enqueue(Waiter& w) {
  w.queued = true;
  w.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &w;
  last_ = &w;
}

void Event::Dequeue(Waiter& w) {
  w.queued = false;
  (w.previous != nullptr ? w.previous->next : first_) = w.next;
  (w.next != nullptr ? w.next->previous : last_) = w.previous;
  w.previous = w.next = nullptr;
}

void Event::Resume(Waiter& w) {
  executor_.Post([w = w.shared_from_this()] {
    if (w->handle) w->handle.resume();
  });
}

Event::~Event() { CHECK_MSG(!has_waiters(), "Event destroyed with waiters"); }

void Event::NotifyOne() {
  if (first_ == nullptr) return;
  Waiter& w = *first_;
  Dequeue(w);
  w.notified = true;
  Resume(w);
}

void Event::NotifyAll() {
  while (has_waiters()) NotifyOne();
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
