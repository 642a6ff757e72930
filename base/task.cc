#include "base/task.h"

namespace base {
namespace internal {
Detached RunDetached(Task<void> task, Closure done) {
  co_await std::move(task);
  if (done) done();
}

static Detached RunCaught(Task<void> task, CaughtClosure done) {
  std::unique_ptr<std::exception_ptr> thrown;
  try {
    co_await std::move(task);
  } catch (...) {
    thrown = std::make_unique<std::exception_ptr>(std::current_exception());
  }
  done(thrown.get());
}
}  // namespace internal

void Spawn(Executor& executor, Task<void> task, Closure done) {
  executor.Post(
      [t = std::move(task), d = std::move(done)]() mutable { internal::RunDetached(std::move(t), std::move(d)); });
}

void SpawnNow(Task<void> task, Closure done) { internal::RunDetached(std::move(task), std::move(done)); }

void SpawnCaught(const std::function<Task<void>()>& make, CaughtClosure done) {
  Task<void> task;
  try {
    task = make();
  } catch (...) {
    std::exception_ptr thrown = std::current_exception();
    return done(&thrown);
  }
  internal::RunCaught(std::move(task), std::move(done));
}

std::string DescribeException(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}
}  // namespace base
