// Where code runs and what time it is. An Executor runs closures one after another on one strand: a real one is an
// event loop's thread (base/loop.h), a simulated one is driven by a seed (base/testing/sim_executor.h). Everything
// timed or concurrent takes an Executor& through its constructor, so the same code runs in both.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace base {

using Duration = std::chrono::nanoseconds;
// Monotonic; the origin is arbitrary.
struct MonoClockTag {
  using duration = Duration;
  using rep = Duration::rep;
  using period = Duration::period;
  using time_point = std::chrono::time_point<MonoClockTag, Duration>;
  static constexpr bool is_steady = true;
};
using MonoTime = MonoClockTag::time_point;
// Nanoseconds since the Unix epoch, UTC.
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonoTime Now() const = 0;
  virtual WallTime WallNow() const = 0;
};
// The machine's clocks. Thread-safe; for main() and edges only, everything else gets a Clock handed in.
const Clock& SystemClock();

using Closure = std::move_only_function<void()>;
using TimerId = uint64_t;  // 0 is never used

class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `fn` later on this strand, never inside the call. Thread-safe.
  virtual void Post(Closure fn) = 0;
  // Runs `fn` on this strand once `delay` has passed. From this strand only.
  virtual TimerId After(Duration delay, Closure fn) = 0;
  // True when the timer had not fired; its closure is then destroyed. From this strand only.
  virtual bool CancelTimer(TimerId id) = 0;
  virtual const Clock& clock() const = 0;
  MonoTime Now() const { return clock().Now(); }
  WallTime WallNow() const { return clock().WallNow(); }
};

// Runs work that blocks (fsync, bcrypt, netlink, big file reads) off the strand. See base/loop.h for the real pool; the
// simulator runs it in place.
class BlockingPool {
 public:
  virtual ~BlockingPool() = default;
  // Runs `work` on some thread, then posts `done` to `home`. Thread-safe. FIFO when the pool has one thread.
  virtual void Run(Closure work, Executor& home, Closure done) = 0;
};

}  // namespace base
