#include "kvstore/replica/life.h"

namespace kvstore::replica {

void Life::Fail(base::Status why) {
  if (failed()) return;
  failure_ = why;
  if (on_failure) on_failure(why);
}

void Life::Post(base::Closure fn) {
  executor_.Post([alive = token(), fn = std::move(fn)]() mutable {
    if (*alive) fn();
  });
}

void Life::InNextTurn(base::Closure fn) {
  executor_.After(base::Duration::zero(), [alive = token(), fn = std::move(fn)]() mutable {
    if (*alive) fn();
  });
}

}  // namespace kvstore::replica
