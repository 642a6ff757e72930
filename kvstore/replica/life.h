// Whether a member still answers, and how closures that are under way find out.
//
// Invariant: a member starts once, and from the first failure or the beginning of its stop on it is not usable, for
// ever; of several failures the first is told, once. A closure that goes through here, or asks the token, does nothing
// once the member is gone.
//
// Owned by the replica, outlives its other parts; its strand.
#pragma once

#include <functional>
#include <memory>

#include "base/executor.h"
#include "base/status.h"
#include "base/sync.h"

namespace kvstore::replica {

class Life {
 public:
  using Token = std::shared_ptr<const bool>;

  explicit Life(base::Executor& executor) : idle(executor), executor_(executor) {}
  Life(const Life&) = delete;
  ~Life() { End(); }

  // False from End on, which comes before anything of the member goes.
  Token token() const { return alive_; }
  void End() { *alive_ = false; }

  void Start() { started_ = true; }
  bool started() const { return started_; }
  void BeginStop() { stopping_ = true; }
  bool stopping() const { return stopping_; }
  void Fail(base::Status why);
  bool failed() const { return !failure_.ok(); }
  const base::Status& failure() const { return failure_; }
  // Neither failed nor stopping.
  bool usable() const { return !failed() && !stopping_; }

  // Called in Fail; set by the owner.
  std::function<void(const base::Status&)> on_failure;
  // In a turn of its own.
  void Post(base::Closure fn);
  // For work in steps: requests have their turn between two of them.
  void InNextTurn(base::Closure fn);

  // Notified whenever a part may have come to rest; who stops the member waits for that.
  base::Event idle;

 private:
  base::Executor& executor_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool started_ = false;
  bool stopping_ = false;
  base::Status failure_;
};

}  // namespace kvstore::replica
