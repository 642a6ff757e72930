#include "machinery/client/controller.h"

#include "base/log.h"
#include "machinery/object/api_error.h"

namespace machinery::client {

Controller::Controller(base::Executor& executor, std::string name, int workers, Reconciler reconcile,
                       BackoffLimits limits)
    : executor_(executor),
      name_(std::move(name)),
      workers_(workers),
      reconcile_(std::move(reconcile)),
      queue_(executor, limits) {}

base::Task<void> Controller::Run(base::Context ctx) {
  for (auto& wait : waits_)
    if (!(co_await wait(ctx)).ok()) co_return;
  base::TaskScope scope(executor_, ctx);
  for (int i = 0; i < workers_; ++i) scope.Spawn(Work(scope.context()));
  co_await scope.Join();
}

base::Task<void> Controller::Work(base::Context ctx) {
  for (;;) {
    auto key = co_await queue_.Get(ctx);
    if (!key) co_return;
    base::Result<Done> done;
    try {
      done = co_await reconcile_(ctx, *key);
    } catch (...) {
      // One object that is not as it was thought to be must not stop the work on all others.
      done = base::Err(base::Internal(base::DescribeException(std::current_exception())));
    }
    queue_.Done(*key);
    if (ctx.done()) co_return;
    if (!done) {
      // A conflict only says that the local copy was old; the next look will be at a newer one.
      if (object::IsConflict(done.error()))
        base::LogV(2, "Requeued after a conflict", {{"controller", name_}, {"key", *key}});
      else
        base::LogError("Reconciler failed", done.error(), {{"controller", name_}, {"key", *key}});
      queue_.AddRateLimited(*key);
      continue;
    }
    queue_.Forget(*key);
    if (done->requeue_after) queue_.AddAfter(*key, *done->requeue_after);
  }
}

}  // namespace machinery::client
