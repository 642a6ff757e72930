#include "base/task.h"

namespace base {
namespace internal {
Detached RunDetached(Task<void> task, Closure done) {
  co_await std::move(task);
  if (done) done();
}
}  // namespace internal

void Spawn(Executor& executor, Task<void> task, Closure done) {
  executor.Post(
      [t = std::move(task), d = std::move(done)]() mutable { internal::RunDetached(std::move(t), std::move(d)); });
}

void SpawnNow(Task<void> task, Closure done) { internal::RunDetached(std::move(task), std::move(done)); }
}  // namespace base
