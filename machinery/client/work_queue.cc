#include "machinery/client/work_queue.h"

#include <algorithm>

namespace machinery::client {
namespace {
constexpr base::Duration kTokenEvery = std::chrono::milliseconds(100);
constexpr int kBurst = 100;
}  // namespace

WorkQueue::WorkQueue(base::Executor& executor, BackoffLimits limits)
    : executor_(executor), limits_(limits), event_(executor) {}

WorkQueue::~WorkQueue() { Shutdown(); }

void WorkQueue::Add(std::string key) {
  if (shutdown_ || !dirty_.insert(key).second) return;
  if (processing_.contains(key)) return;  // Done puts it back
  queue_.push_back(std::move(key));
  event_.NotifyOne();
}

void WorkQueue::AddAfter(std::string key, base::Duration delay) {
  if (shutdown_) return;
  if (delay <= base::Duration::zero()) return Add(std::move(key));
  base::MonoTime due = executor_.Now() + delay;
  if (auto it = waiting_.find(key); it != waiting_.end()) {
    if (it->second.first <= due) return;
    executor_.CancelTimer(it->second.second);
    waiting_.erase(it);
  }
  base::TimerId id = executor_.After(delay, [this, key] {
    waiting_.erase(key);
    Add(key);
  });
  waiting_[std::move(key)] = {due, id};
}

base::Duration WorkQueue::OverallDelay() {
  base::MonoTime now = executor_.Now();
  bucket_ = std::max(bucket_, now - kTokenEvery * kBurst) + kTokenEvery;
  return std::max(bucket_ - now, base::Duration::zero());
}

void WorkQueue::AddRateLimited(std::string key) {
  int n = failures_[key]++;
  base::Duration delay = limits_.first;
  for (int i = 0; i < n && delay < limits_.longest; ++i) delay *= 2;
  AddAfter(std::move(key), std::max(std::min(delay, limits_.longest), OverallDelay()));
}

void WorkQueue::Forget(const std::string& key) { failures_.erase(key); }

int WorkQueue::Failures(const std::string& key) const {
  auto it = failures_.find(key);
  return it == failures_.end() ? 0 : it->second;
}

base::Task<base::Result<std::string>> WorkQueue::Get(base::Context ctx) {
  while (queue_.empty()) {
    if (shutdown_) co_return base::Err(base::OutOfRange("shut down"));
    CO_TRY(co_await event_.Wait(ctx));
  }
  std::string key = std::move(queue_.front());
  queue_.pop_front();
  dirty_.erase(key);
  processing_.insert(key);
  co_return key;
}

void WorkQueue::Done(const std::string& key) {
  processing_.erase(key);
  if (!dirty_.contains(key)) return;
  queue_.push_back(key);
  event_.NotifyOne();
}

void WorkQueue::Shutdown() {
  shutdown_ = true;
  for (auto& [key, timer] : waiting_) executor_.CancelTimer(timer.second);
  waiting_.clear();
  event_.NotifyAll();
}

}  // namespace machinery::client
