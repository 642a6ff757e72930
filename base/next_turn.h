// Long work in steps. Closures that post one another (base/task.h's Yield) may go on for many steps before an event
// loop looks at its sockets and timers again; what waits for the next turn lets the outside in between two steps.
#pragma once

#include <coroutine>

#include "base/executor.h"

namespace base {

inline auto NextTurn(Executor& executor) {
  struct Awaiter {
    Executor& executor;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
      executor.After(Duration::zero(), [h] { h.resume(); });
    }
    void await_resume() const noexcept {}
  };
  return Awaiter{executor};
}

}  // namespace base
