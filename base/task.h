// Coroutines. Task<T> is lazy: it starts when awaited (or spawned) and is awaited once. A task runs on the strand of
// whoever awaits it; nothing here is thread-safe, a task never migrates unless it awaits ResumeOn.
//
// Lifetime rules: a coroutine's parameters taken by reference must outlive it; prefer values and Context by value. A
// lambda with captures must outlive the coroutine it creates: pass state as parameters.
//
// An exception (a library's, bad_alloc) passes from a task to whoever awaits it. Where it leaves the last one,
// SpawnCaught hands it to its caller; under Spawn and SpawnNow it ends the process, because nobody could say what is
// half done.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/executor.h"
#include "base/status.h"

namespace base {

template <class T = void>
class Task;

namespace internal {

struct PromiseBase {
  std::coroutine_handle<> continuation = std::noop_coroutine();
  std::unique_ptr<std::exception_ptr>
      thrown;  // on the heap: one that is there is rare, one that is not must cost nothing
  struct Final {
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) const noexcept {
      return h.promise().continuation;
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  Final final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { thrown = std::make_unique<std::exception_ptr>(std::current_exception()); }
  void Rethrow() {
    if (thrown) [[unlikely]]
      std::rethrow_exception(*std::exchange(thrown, nullptr));
  }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
    requires std::is_convertible_v<U&&, T>
  void return_value(U&& v) {
    // Converts as `return` does. Constructing T from v directly would allow more: the error of a CO_TRY would become
    // the value of a Result whose type is an aggregate with a Status in front.
    T result = std::forward<U>(v);
    value.emplace(std::move(result));
  }
  T Take() {
    Rethrow();
    return std::move(*value);
  }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void Take() { Rethrow(); }
};

}  // namespace internal

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle h) : handle_(h) {}
  Task(Task&& o) noexcept : handle_(std::exchange(o.handle_, {})) {}
  Task& operator=(Task&& o) noexcept {
    if (this != &o) {
      Destroy();
      handle_ = std::exchange(o.handle_, {});
    }
    return *this;
  }
  ~Task() { Destroy(); }

  bool valid() const { return static_cast<bool>(handle_); }

  auto operator co_await() && noexcept {
    struct Awaiter {
      Handle handle;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> c) noexcept {
        handle.promise().continuation = c;
        return handle;
      }
      T await_resume() { return handle.promise().Take(); }
    };
    return Awaiter{handle_};
  }

 private:
  void Destroy() {
    if (handle_) handle_.destroy();
  }
  Handle handle_;
};

namespace internal {
template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// A self-destroying coroutine: the root of a spawned task.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
};
Detached RunDetached(Task<void> task, Closure done);
}  // namespace internal

// Starts `task` on `executor` in a later turn; `done` (may be empty) runs after it finished, on the same strand. A
// spawned task that never finishes leaks its frame: give it a Context and use TaskScope (base/sync.h) to wait for it.
void Spawn(Executor& executor, Task<void> task, Closure done = {});
// Starts `task` at once, inside the call, until its first suspension.
void SpawnNow(Task<void> task, Closure done = {});
// As SpawnNow, for work on behalf of others (requests): `make` makes the task, `done` always runs behind it and learns
// what ended it when that was an exception (null otherwise).
using CaughtClosure = std::move_only_function<void(const std::exception_ptr* thrown)>;
void SpawnCaught(const std::function<Task<void>()>& make, CaughtClosure done);
// What an exception says of itself.
std::string DescribeException(const std::exception_ptr& thrown);

// co_await ResumeOn(e): the rest runs on e's strand, in a later turn.
inline auto ResumeOn(Executor& executor) {
  struct Awaiter {
    Executor& executor;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
      executor.Post([h] { h.resume(); });
    }
    void await_resume() const noexcept {}
  };
  return Awaiter{executor};
}
// Lets others run: the rest continues in a later turn of the same executor.
inline auto Yield(Executor& executor) { return ResumeOn(executor); }

// co_await RunBlocking(pool, home, fn): fn() on a pool thread, its value back on home's strand.
template <class F>
auto RunBlocking(BlockingPool& pool, Executor& home, F fn) -> Task<std::invoke_result_t<F&>> {
  using T = std::invoke_result_t<F&>;
  struct Awaiter {
    BlockingPool& pool;
    Executor& home;
    F& fn;
    std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> out;
    std::exception_ptr thrown;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
      pool.Run(
          [this] {
            try {
              if constexpr (std::is_void_v<T>) {
                fn();
              } else {
                out.emplace(fn());
              }
            } catch (...) {
              thrown = std::current_exception();
            }
          },
          home, [h] { h.resume(); });
    }
    T await_resume() {
      if (thrown) std::rethrow_exception(thrown);
      if constexpr (!std::is_void_v<T>) return std::move(*out);
    }
  };
  Awaiter awaiter{pool, home, fn, {}, {}};
  co_return co_await awaiter;
}

}  // namespace base
