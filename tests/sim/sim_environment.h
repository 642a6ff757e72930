// What surrounds a simulated member: threads whose work the power may cut short, and a clock of its own.
#pragma once

#include <cmath>
#include <memory>

#include "base/testing/sim_executor.h"

namespace tests::sim {

// Work and its completion are steps of their own, so that the power can fail between them. What was under way when it
// failed never happens.
class SimPool final : public base::BlockingPool {
 public:
  void Run(base::Closure work, base::Executor& home, base::Closure done) override {
    home.Post([this, &home, life = life_, w = std::move(work), d = std::move(done)]() mutable {
      if (life != life_) return;
      w();
      home.Post([this, life, d = std::move(d)]() mutable {
        if (life == life_) d();
      });
    });
  }
  void PowerFails() { ++life_; }
  uint64_t life() const { return life_; }

 private:
  uint64_t life_ = 0;
};

// The simulation's executor as a member sees it whose clock runs at `rate` times the true speed.
class SkewedExecutor final : public base::Executor {
 public:
  SkewedExecutor(base::testing::SimExecutor& real, double rate) : real_(real), clock_(real, rate), rate_(rate) {}
  void Post(base::Closure fn) override { real_.Post(std::move(fn)); }
  base::TimerId After(base::Duration delay, base::Closure fn) override {
    // Rounded up: when a timer rings its time has come by this clock too.
    auto real = static_cast<double>(delay.count()) / rate_;
    return real_.After(base::Duration(static_cast<int64_t>(std::ceil(real)) + (rate_ != 1)), std::move(fn));
  }
  bool CancelTimer(base::TimerId id) override { return real_.CancelTimer(id); }
  const base::Clock& clock() const override { return clock_; }

 private:
  class SkewedClock final : public base::Clock {
   public:
    SkewedClock(base::testing::SimExecutor& real, double rate) : real_(real), rate_(rate) {}
    base::MonoTime Now() const override {
      auto real = static_cast<double>(real_.Now().time_since_epoch().count());
      return base::MonoTime(base::Duration(static_cast<int64_t>(real * rate_)));
    }
    base::WallTime WallNow() const override { return real_.clock().WallNow() + (Now() - real_.Now()); }

   private:
    base::testing::SimExecutor& real_;
    double rate_;
  };
  base::testing::SimExecutor& real_;
  SkewedClock clock_;
  double rate_;
};

}  // namespace tests::sim
