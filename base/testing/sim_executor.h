// A deterministic Executor: simulated time, and a seed that picks which of the runnable closures goes next. The same
// seed gives the same run; the trace hash shows it. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/executor.h"
#include "base/random.h"
#include "base/status.h"
#include "base/task.h"

namespace base::testing {

class SimExecutor final : public Executor {
 public:
  enum class Order { kFifo, kSeeded };
  explicit SimExecutor(uint64_t seed, Order order = Order::kSeeded);
  ~SimExecutor() override;

  void Post(Closure fn) override;
  TimerId After(Duration delay, Closure fn) override;
  bool CancelTimer(TimerId id) override;
  const Clock& clock() const override { return clock_; }

  // Runs one closure (jumping to the next timer when nothing is runnable); false when nothing is left.
  bool Step();
  // Runs what is runnable now without letting time pass.
  void RunReady();
  // Runs until `duration` of simulated time has passed or nothing is left.
  void RunFor(Duration duration);
  // Runs until `done()`; false when `limit` of simulated time passed or nothing was left first.
  bool RunUntil(const std::function<bool()>& done, Duration limit);

  // `task` with its value put into `out`, for several at a time.
  template <class T>
  static Task<void> Store(Task<T> task, std::optional<T>& out) {
    out.emplace(co_await std::move(task));
  }
  // Runs a task to its end, at most an hour of simulated time, and gives its value.
  template <class T>
  T Await(Task<T> task) {
    std::optional<T> out;
    Spawn(*this, Store(std::move(task), out));
    CHECK(RunUntil([&] { return out.has_value(); }, std::chrono::hours(1)));
    return std::move(*out);
  }

  Random& random() { return random_; }
  uint64_t steps() const { return steps_; }
  // Folds a word into the trace hash; every step folds its own choice in.
  void Trace(uint64_t word);
  uint64_t trace_hash() const { return trace_; }

 private:
  class SimClock final : public Clock {
   public:
    MonoTime Now() const override { return now; }
    WallTime WallNow() const override { return WallTime(std::chrono::seconds(1767225600) + now.time_since_epoch()); }
    MonoTime now{};
  };
  struct Timer {
    TimerId id;
    Closure fn;
  };
  SimClock clock_;
  Random random_;
  Order order_;
  std::vector<Closure> ready_;
  size_t ready_head_ = 0;
  std::multimap<MonoTime, Timer> timers_;
  std::map<TimerId, std::multimap<MonoTime, Timer>::iterator> by_id_;
  TimerId next_id_ = 1;
  uint64_t steps_ = 0;
  uint64_t trace_ = 0xcbf29ce484222325u;
};

// Runs blocking work in place, in a later step of the home executor.
class SimBlockingPool final : public BlockingPool {
 public:
  void Run(Closure work, Executor& home, Closure done) override;
};

}  // namespace base::testing
