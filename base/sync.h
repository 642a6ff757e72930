// Waiting, for coroutines of one strand: Sleep, Event, Channel, Mutex, TaskScope. Waiters are resumed through the
// executor, in the order they came, never inside the call that wakes them. Every wait ends when its Context does.
#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "base/context.h"
#include "base/task.h"

namespace base {

// OK after `delay`, or the context's status when that ends first.
Task<Status> Sleep(Executor& executor, Context ctx, Duration delay);

// Waiters sleep until somebody notifies them. The event must outlive its waiters; destroying it under one aborts. A
// waiter whose coroutine is destroyed leaves the queue, and passes on a NotifyOne it had not acted on yet. Of a
// notification and the end of the context in the same turn, the first wins.
class Event {
 public:
  explicit Event(Executor& executor) : executor_(executor) {}
  Event(const Event&) = delete;
  ~Event();
  class Waiting;
  // co_await it: OK when notified after the call, or the context's status.
  Waiting Wait(Context ctx);
  void NotifyAll();
  void NotifyOne();
  bool has_waiters() const { return first_ != nullptr; }

 private:
  struct Waiter;
  void Enqueue(Waiter& w);
  void Dequeue(Waiter& w);
  void Resume(Waiter& w);
  Executor& executor_;
  Waiter *first_ = nullptr, *last_ = nullptr;
};

// One wait: an awaiter that lives in the coroutine that waits.
class [[nodiscard]] Event::Waiting {
 public:
  Waiting(Event& event, Context ctx) : event_(event), ctx_(std::move(ctx)) {}
  Waiting(const Waiting&) = delete;
  // Reached without await_resume when the coroutine is destroyed while it waits.
  ~Waiting();
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> h);
  Status await_resume();

 private:
  Event& event_;
  Context ctx_;
  std::shared_ptr<Waiter> waiter_;
};

inline Event::Waiting Event::Wait(Context ctx) { return Waiting(*this, std::move(ctx)); }

// A bounded queue between tasks. Push waits while it is full; Pop waits while it is empty; after Close, Pop drains what
// is there and then returns kOutOfRange ("closed"), Push fails with it.
template <class T>
class Channel {
 public:
  Channel(Executor& executor, size_t capacity) : capacity_(capacity), readable_(executor), writable_(executor) {}

  bool TryPush(T value) {
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    readable_.NotifyOne();
    return true;
  }
  Task<Status> Push(Context ctx, T value) {
    while (!closed_ && items_.size() >= capacity_) CO_TRY(co_await writable_.Wait(ctx));
    if (closed_) co_return OutOfRange("closed");
    items_.push_back(std::move(value));
    readable_.NotifyOne();
    co_return Ok();
  }
  Task<Result<T>> Pop(Context ctx) {
    while (items_.empty()) {
      if (closed_) co_return Err(OutOfRange("closed"));
      CO_TRY(co_await readable_.Wait(ctx));
    }
    T value = std::move(items_.front());
    items_.pop_front();
    writable_.NotifyOne();
    co_return value;
  }
  std::optional<T> TryPop() {
    if (items_.empty()) return std::nullopt;
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    writable_.NotifyOne();
    return value;
  }
  void Close() {
    closed_ = true;
    readable_.NotifyAll();
    writable_.NotifyAll();
  }
  bool closed() const { return closed_; }
  size_t size() const { return items_.size(); }

 private:
  size_t capacity_;
  bool closed_ = false;
  std::deque<T> items_;
  Event readable_, writable_;
};

// A value that arrives once, from any code of the strand, for one awaiting task.
template <class T>
class OneShot {
 public:
  explicit OneShot(Executor& executor) : event_(executor) {}
  void Set(T value) {
    if (value_) return;
    value_.emplace(std::move(value));
    event_.NotifyAll();
  }
  bool set() const { return value_.has_value(); }
  // co_await it: the value, or the context's status. Moves the value out.
  auto Wait(Context ctx) { return Waiting{*this, event_.Wait(std::move(ctx))}; }

 private:
  struct Waiting {
    OneShot& shot;
    Event::Waiting arrival;
    bool suspended = false;
    bool await_ready() const noexcept { return shot.set(); }
    bool await_suspend(std::coroutine_handle<> h) {
      suspended = true;
      return arrival.await_suspend(h);
    }
    Result<T> await_resume() {
      if (suspended) TRY(arrival.await_resume());
      return std::move(*shot.value_);
    }
  };
  std::optional<T> value_;
  Event event_;
};

// Mutual exclusion between coroutines that suspend while they hold it. Waiters are woken in the order they came; a
// newcomer may still take it between the wake-up and the waiter's turn.
class Mutex {
 public:
  explicit Mutex(Executor& executor) : event_(executor) {}
  class [[nodiscard]] Guard {
   public:
    Guard() = default;
    explicit Guard(Mutex* m) : mutex_(m) {}
    Guard(Guard&& o) noexcept : mutex_(std::exchange(o.mutex_, nullptr)) {}
    Guard& operator=(Guard&& o) noexcept {
      Release();
      mutex_ = std::exchange(o.mutex_, nullptr);
      return *this;
    }
    ~Guard() { Release(); }
    void Release() {
      if (auto* m = std::exchange(mutex_, nullptr)) m->Unlock();
    }

   private:
    Mutex* mutex_ = nullptr;
  };
  Task<Result<Guard>> Lock(Context ctx) {
    while (locked_) CO_TRY(co_await event_.Wait(ctx));
    locked_ = true;
    co_return Guard(this);
  }

 private:
  void Unlock() {
    locked_ = false;
    event_.NotifyOne();
  }
  bool locked_ = false;
  Event event_;
};

// Owns tasks: everything spawned through it is waited for by Join (a coroutine) before the owner dies. Its context ends
// them. Destroying a scope with running tasks is a bug and aborts.
class TaskScope {
 public:
  TaskScope(Executor& executor, const Context& parent)
      : executor_(executor), ctx_(parent.WithCancel()), idle_(executor) {}
  ~TaskScope() { CHECK_MSG(running_ == 0, "TaskScope destroyed with running tasks"); }
  void Spawn(Task<void> task);
  const Context& context() const { return ctx_; }
  size_t running() const { return running_; }
  void Cancel() { ctx_.Cancel(); }
  // Waits until every task has ended; does not cancel them.
  Task<void> Join();
  Task<void> CancelAndJoin() {
    Cancel();
    co_await Join();
  }

 private:
  Executor& executor_;
  Context ctx_;
  size_t running_ = 0;
  Event idle_;
};

}  // namespace base
