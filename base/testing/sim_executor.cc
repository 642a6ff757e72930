#include "base/testing/sim_executor.h"

#include "base/status.h"

namespace base::testing {

SimExecutor::SimExecutor(uint64_t seed, Order order) : random_(seed), order_(order) {}
SimExecutor::~SimExecutor() = default;

void SimExecutor::Post(Closure fn) { ready_.push_back(std::move(fn)); }

TimerId SimExecutor::After(Duration delay, Closure fn) {
  TimerId id = next_id_++;
  if (delay < Duration::zero()) delay = Duration::zero();
  by_id_[id] = timers_.emplace(clock_.now + delay, Timer{id, std::move(fn)});
  return id;
}

bool SimExecutor::CancelTimer(TimerId id) {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return false;
  timers_.erase(it->second);
  by_id_.erase(it);
  return true;
}

void SimExecutor::Trace(uint64_t word) { trace_ = (trace_ ^ word) * 0x100000001b3u; }

bool SimExecutor::Step() {
  if (ready_head_ == ready_.size()) {
    ready_.clear();
    ready_head_ = 0;
    if (timers_.empty()) return false;
    auto first = timers_.begin();
    if (first->first > clock_.now) clock_.now = first->first;
    Closure fn = std::move(first->second.fn);
    Trace(first->second.id);
    by_id_.erase(first->second.id);
    timers_.erase(first);
    ++steps_;
    fn();
    return true;
  }
  if (order_ == Order::kSeeded) {
    // Swapping the chosen one to the front keeps the step O(1); fairness comes from the seed.
    size_t pick = ready_head_ + random_.Below(ready_.size() - ready_head_);
    Trace(pick - ready_head_);
    std::swap(ready_[pick], ready_[ready_head_]);
  }
  Closure fn = std::move(ready_[ready_head_++]);
  if (ready_head_ > 1024 && ready_head_ * 2 > ready_.size()) {
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<long>(ready_head_));
    ready_head_ = 0;
  }
  ++steps_;
  fn();
  return true;
}

void SimExecutor::RunReady() {
  while (ready_head_ < ready_.size()) Step();
}

void SimExecutor::RunFor(Duration duration) {
  MonoTime end = clock_.now + duration;
  for (;;) {
    RunReady();
    if (timers_.empty() || timers_.begin()->first > end) break;
    Step();
  }
  clock_.now = end;
}

bool SimExecutor::RunUntil(const std::function<bool()>& done, Duration limit) {
  MonoTime end = clock_.now + limit;
  while (!done()) {
    if (clock_.now > end || !Step()) return false;
  }
  return true;
}

void SimBlockingPool::Run(Closure work, Executor& home, Closure done) {
  home.Post([w = std::move(work), d = std::move(done)]() mutable {
    w();
    d();
  });
}

}  // namespace base::testing
