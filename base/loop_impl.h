// The inside of Loop, for base's own .cc files: sockets that are called back by their loop, and work that waits for the
// end of a turn (so that everything written in one turn leaves in one system call).
//
// A turn is: ready descriptors, due timers, posted closures, end-of-turn hooks. Everything here is called from the
// loop's thread only, except Loop::Post and Loop::Stop.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/loop.h"

namespace base {

// A descriptor's owner. OnEvents gets EPOLL* bits; it may remove and destroy any handler, itself included.
class FdHandler {
 public:
  virtual void OnEvents(uint32_t events) = 0;

 protected:
  ~FdHandler() = default;
};

// Queued with Loop::Impl::AtTurnEnd, called once at the end of the turn.
class TurnEndHook {
 public:
  virtual void OnTurnEnd() = 0;

 protected:
  ~TurnEndHook() = default;
  bool queued() const { return hook_index_ != SIZE_MAX; }

 private:
  friend struct Loop::Impl;
  size_t hook_index_ = SIZE_MAX;  // where in the queue, SIZE_MAX = not queued
};

struct Loop::Impl {
  explicit Impl(Loop& owner);
  ~Impl();

  // `events` are EPOLLIN, EPOLLOUT, EPOLLET ...; fails with errno's Status.
  Status Add(int fd, uint32_t events, FdHandler* handler);
  void Modify(int fd, uint32_t events, FdHandler* handler);
  // Afterwards the handler is not called any more, also not for events that were already fetched.
  void Remove(int fd, FdHandler* handler);

  void AtTurnEnd(TurnEndHook* hook);
  void CancelTurnEnd(TurnEndHook* hook);

  void Run();
  void Stop();
  void Post(Closure fn);
  // True when another thread is in Run.
  bool RunsElsewhere() const { return thread_.load() != std::thread::id() && !OnThread(); }
  bool OnThread() const { return std::this_thread::get_id() == thread_.load(std::memory_order_relaxed); }

  // The clock when it was first asked in this turn: for what need not be exact, as the times of a connection's
  // progress.
  MonoTime TurnTime() {
    if (turn_time_ == MonoTime()) turn_time_ = SystemClock().Now();
    return turn_time_;
  }

  TimerId AddTimer(Duration delay, Closure fn);
  bool CancelTimer(TimerId id);

  struct FdWaits;
  Task<Status> Wait(int fd, bool write, Context ctx);
  void Forget(int fd);

 private:
  struct Timer {
    MonoTime at;
    uint64_t order = 0;  // equal times fire in the order they were set
    uint32_t generation = 1;
    uint32_t heap_index = 0;
    Closure fn;
  };

  void Turn();
  void Poll();
  void RunTimers();
  void RunPosted();
  void RunHooks();
  void ArmTimer();
  void Wake();
  bool Before(uint32_t a, uint32_t b) const;
  void SiftUp(size_t i);
  void SiftDown(size_t i);
  void RemoveFromHeap(size_t i);

  Loop& owner_;
  int epoll_fd_ = -1;
  int event_fd_ = -1;
  int timer_fd_ = -1;
  std::atomic<std::thread::id> thread_{};
  std::atomic<bool> stop_{false};

  // What other threads post. Whoever finds the loop asleep wakes it; the loop takes the lock only when there is mail.
  enum class Mail : uint8_t { kNone, kSome, kAsleep };
  std::atomic<Mail> mail_{Mail::kNone};
  std::mutex mutex_;
  std::vector<Closure> inbox_;  // guarded by mutex_
  std::vector<Closure> local_;  // posted from the loop's own thread
  std::vector<Closure> running_;

  std::vector<Timer> timers_;   // slots
  std::vector<uint32_t> free_;  // unused slots
  std::vector<uint32_t> heap_;  // slots by time
  uint64_t timer_order_ = 0;
  MonoTime armed_for_ = MonoTime::max();  // when timer_fd_ fires; max: it is not set
  bool timers_due_ = false;
  MonoTime turn_time_;

  std::vector<TurnEndHook*> hooks_;
  std::vector<TurnEndHook*> running_hooks_;
  epoll_event events_[256];
  int event_count_ = 0, event_next_ = 0;
  std::unordered_map<int, std::unique_ptr<FdWaits>> waits_;
};

}  // namespace base
