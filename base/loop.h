// The real Executor: one thread, one epoll loop. Sockets, pipes and timers of a daemon hang on it. Written on
// epoll itself: the engine in base/net needs the end of a turn, to send what a turn wrote in one system call.
//
// Owned by main() (or a test); the thread in Run is its strand. Before Run, the thread that made it is.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/sync.h"

namespace base {

class Loop final : public Executor {
 public:
  Loop();
  ~Loop() override;
  // Runs on the calling thread until Stop.
  void Run();
  // Thread-safe; Run returns soon after.
  void Stop();

  void Post(Closure fn) override;
  TimerId After(Duration delay, Closure fn) override;
  bool CancelTimer(TimerId id) override;
  const Clock& clock() const override;

  // Waits until `fd` (non-blocking, owned by the caller) is readable / writable; spurious wake-ups may happen.
  // Forget(fd) must be called before the fd is closed; it ends waits with kCancelled.
  Task<Status> Readable(int fd, Context ctx);
  Task<Status> Writable(int fd, Context ctx);
  void Forget(int fd);

  struct Impl;
  // For base's own .cc files only.
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// `count` loops, each on a thread of its own with a name for `ps -L`. The destructor stops and joins them; what still
// hangs on a loop then dies with it on the destroying thread.
class LoopThreads {
 public:
  LoopThreads(std::string name, int count);
  ~LoopThreads();
  LoopThreads(const LoopThreads&) = delete;
  std::vector<Loop*> loops() const;

 private:
  struct One;
  std::vector<std::unique_ptr<One>> all_;
};

// `threads` threads with a name for `ps -L`; joins in the destructor after finishing what was queued.
std::unique_ptr<BlockingPool> NewThreadPool(std::string name, int threads);

}  // namespace base
