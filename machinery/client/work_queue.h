// Keys to work on: each at most once in the queue and never with two workers; failures come back after a growing delay
// (5 ms doubling to 1000 s, and 10 a second overall with a burst of 100, as client-go's default). One strand.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>

#include "base/sync.h"

namespace machinery::client {

struct BackoffLimits {
  base::Duration first = std::chrono::milliseconds(5);
  base::Duration longest = std::chrono::seconds(1000);
};

class WorkQueue {
 public:
  WorkQueue(base::Executor& executor, BackoffLimits limits = {});
  ~WorkQueue();
  void Add(std::string key);
  void AddAfter(std::string key, base::Duration delay);
  void AddRateLimited(std::string key);
  // Forgets the failures of a key.
  void Forget(const std::string& key);
  int Failures(const std::string& key) const;
  // The next key; it counts as processed until Done. kOutOfRange after Shutdown.
  base::Task<base::Result<std::string>> Get(base::Context ctx);
  void Done(const std::string& key);
  void Shutdown();
  size_t size() const { return queue_.size(); }

 private:
  base::Executor& executor_;
  BackoffLimits limits_;
  base::Duration OverallDelay();
  std::deque<std::string> queue_;
  std::set<std::string> dirty_, processing_;
  std::map<std::string, int> failures_;
  std::map<std::string, std::pair<base::MonoTime, base::TimerId>> waiting_;
  // The overall limit as a bucket that fills with time: when the next token is free.
  base::MonoTime bucket_ = base::MonoTime::min();
  bool shutdown_ = false;
  base::Event event_;
};

}  // namespace machinery::client
