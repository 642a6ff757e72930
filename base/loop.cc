#include "base/loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>

#include "base/loop_impl.h"

namespace base {
namespace {

class RealClock final : public Clock {
 public:
  MonoTime Now() const override { return MonoTime(Read(CLOCK_MONOTONIC)); }
  WallTime WallNow() const override { return WallTime(Read(CLOCK_REALTIME)); }

 private:
  static Duration Read(clockid_t id) {
    timespec t;
    clock_gettime(id, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  }
};

constexpr size_t kMaxClosuresPerTurn = 4096;  // sockets and timers get their turn even while closures keep coming

}  // namespace

const Clock& SystemClock() {
  static const RealClock clock;
  return clock;
}

// How a wait ended; a type of its own because Result<Status> would not tell its two halves apart.
struct WaitEnd {
  Status status;
};

// One wait list per descriptor and direction, for Loop::Readable and Loop::Writable.
struct Loop::Impl::FdWaits final : FdHandler {
  FdWaits(Loop& loop, int fd) : loop(loop), fd(fd) {}
  void OnEvents(uint32_t events) override {
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) End(readers, Ok());
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) End(writers, Ok());
    Arm();
  }
  void Arm() {
    uint32_t wanted = (readers.empty() ? 0u : uint32_t{EPOLLIN}) | (writers.empty() ? 0u : uint32_t{EPOLLOUT});
    if (wanted == armed) return;
    // Level-triggered ERR and HUP cannot be masked, so an idle descriptor leaves the set altogether.
    if (wanted == 0) {
      loop.impl().Remove(fd, this);
    } else if (armed == 0) {
      status = loop.impl().Add(fd, wanted, this);
      if (!status.ok()) {
        wanted = 0;
        End(readers, status);
        End(writers, status);
      }
    } else {
      loop.impl().Modify(fd, wanted, this);
    }
    armed = wanted;
  }
  static void End(std::vector<std::shared_ptr<OneShot<WaitEnd>>>& list, const Status& why) {
    for (auto& waiter : std::exchange(list, {})) waiter->Set({why});
  }

  Loop& loop;
  int fd;
  uint32_t armed = 0;
  Status status;
  std::vector<std::shared_ptr<OneShot<WaitEnd>>> readers, writers;
};

Loop::Impl::Impl(Loop& owner) : owner_(owner) {
  epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
  CHECK_MSG(epoll_fd_ >= 0, "epoll_create1");
  event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK_MSG(event_fd_ >= 0, "eventfd");
  timer_fd_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  CHECK_MSG(timer_fd_ >= 0, "timerfd_create");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &event_fd_;
  CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, event_fd_, &event) == 0);
  // By edges: it fires once for each time it is set, and is never read.
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = &timer_fd_;
  CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, timer_fd_, &event) == 0);
}

Loop::Impl::~Impl() {
  // What a closure owned may post or cancel again while it dies.
  for (int round = 0; round < 100; ++round) {
    std::vector<Closure> dying;
    {
      std::lock_guard lock(mutex_);
      dying.swap(inbox_);
    }
    std::vector<Closure> local = std::exchange(local_, {});
    bool timers = false;
    for (Timer& t : timers_) {
      if (!t.fn) continue;
      Closure fn = std::exchange(t.fn, {});
      timers = true;
    }
    if (dying.empty() && local.empty() && !timers) break;
  }
  ::close(timer_fd_);
  ::close(event_fd_);
  ::close(epoll_fd_);
}

Status Loop::Impl::Add(int fd, uint32_t events, FdHandler* handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = handler;
  return ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0 ? Ok() : FromErrno(errno, "epoll_ctl");
}

void Loop::Impl::Modify(int fd, uint32_t events, FdHandler* handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = handler;
  CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event) == 0);
}

void Loop::Impl::Remove(int fd, FdHandler* handler) {
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  for (int i = event_next_; i < event_count_; ++i)
    if (events_[i].data.ptr == handler) events_[i].events = 0;
}

void Loop::Impl::AtTurnEnd(TurnEndHook* hook) {
  if (hook->hook_index_ != SIZE_MAX) return;
  hook->hook_index_ = hooks_.size();
  hooks_.push_back(hook);
}

void Loop::Impl::CancelTurnEnd(TurnEndHook* hook) {
  if (hook->hook_index_ == SIZE_MAX) return;
  for (auto* list : {&hooks_, &running_hooks_})
    if (hook->hook_index_ < list->size() && (*list)[hook->hook_index_] == hook) (*list)[hook->hook_index_] = nullptr;
  hook->hook_index_ = SIZE_MAX;
}

void Loop::Impl::RunHooks() {
  running_hooks_.swap(hooks_);
  for (size_t i = 0; i < running_hooks_.size(); ++i) {
    TurnEndHook* hook = running_hooks_[i];
    if (hook == nullptr) continue;
    running_hooks_[i] = nullptr;
    hook->hook_index_ = SIZE_MAX;
    hook->OnTurnEnd();
  }
  running_hooks_.clear();
}

void Loop::Impl::Wake() {
  uint64_t one = 1;
  while (::write(event_fd_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void Loop::Impl::Post(Closure fn) {
  if (OnThread()) {
    local_.push_back(std::move(fn));
    return;
  }
  {
    std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(fn));
  }
  if (mail_.exchange(Mail::kSome) == Mail::kAsleep) Wake();
}

void Loop::Impl::Stop() {
  stop_ = true;
  Wake();
}

void Loop::Impl::Run() {
  CHECK_MSG(thread_.load() == std::thread::id(), "Loop::Run while it runs");
  thread_ = std::this_thread::get_id();
  while (!stop_.load(std::memory_order_relaxed)) Turn();
  stop_ = false;
  thread_ = std::thread::id();
}

void Loop::Impl::Turn() {
  Poll();
  RunTimers();
  RunPosted();
  RunHooks();
}

// The kernel is told of an earlier time only, as most timers are deadlines that are cancelled long before. A time-out
// for each wait would be set and cancelled with each.
void Loop::Impl::ArmTimer() {
  if (heap_.empty()) return;
  // Rounded up, so that timers that are close to each other are one wake-up.
  constexpr Duration kGrain = std::chrono::milliseconds(1);
  MonoTime first = timers_[heap_[0]].at;
  if (first > armed_for_ - kGrain) return;
  Duration at = std::chrono::ceil<std::chrono::milliseconds>(first.time_since_epoch());
  itimerspec when{};
  when.it_value.tv_sec = std::chrono::floor<std::chrono::seconds>(at).count();
  when.it_value.tv_nsec = (at % std::chrono::seconds(1)).count();
  CHECK(::timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &when, nullptr) == 0);
  armed_for_ = MonoTime(at);
}

void Loop::Impl::Poll() {
  ArmTimer();
  auto mail = Mail::kNone;
  bool sleep = local_.empty() && hooks_.empty() && mail_.compare_exchange_strong(mail, Mail::kAsleep);
  int n = ::epoll_wait(epoll_fd_, events_, std::size(events_), sleep ? -1 : 0);
  turn_time_ = MonoTime();
  event_count_ = std::max(n, 0);
  for (event_next_ = 0; event_next_ < event_count_;) {
    epoll_event event = events_[event_next_++];
    if (event.data.ptr == &event_fd_) {
      uint64_t ignored;
      (void)!::read(event_fd_, &ignored, sizeof ignored);
    } else if (event.data.ptr == &timer_fd_) {
      timers_due_ = true;
      armed_for_ = MonoTime::max();
    } else if (event.events != 0) {
      static_cast<FdHandler*>(event.data.ptr)->OnEvents(event.events);
    }
  }
  event_count_ = event_next_ = 0;
}

void Loop::Impl::RunTimers() {
  if (!std::exchange(timers_due_, false)) return;
  MonoTime now = SystemClock().Now();
  // Timers set by the ones that run now wait for the next turn.
  uint64_t newest = timer_order_;
  while (!heap_.empty()) {
    uint32_t slot = heap_[0];
    if (timers_[slot].at > now || timers_[slot].order >= newest) break;
    Closure fn = std::move(timers_[slot].fn);
    RemoveFromHeap(0);
    fn();
  }
}

void Loop::Impl::RunPosted() {
  if (mail_.exchange(Mail::kNone) == Mail::kSome) {
    std::lock_guard lock(mutex_);
    running_.swap(inbox_);
  }
  for (size_t done = 0;;) {
    for (auto& fn : running_) {
      Closure once = std::move(fn);
      once();
    }
    done += running_.size();
    running_.clear();
    if (local_.empty() || done >= kMaxClosuresPerTurn) return;
    running_.swap(local_);
  }
}

bool Loop::Impl::Before(uint32_t a, uint32_t b) const {
  const Timer &x = timers_[a], &y = timers_[b];
  return x.at != y.at ? x.at < y.at : x.order < y.order;
}

void Loop::Impl::SiftUp(size_t i) {
  while (i > 0) {
    size_t parent = (i - 1) / 2;
    if (!Before(heap_[i], heap_[parent])) break;
    std::swap(heap_[i], heap_[parent]);
    timers_[heap_[i]].heap_index = static_cast<uint32_t>(i);
    i = parent;
  }
  timers_[heap_[i]].heap_index = static_cast<uint32_t>(i);
}

void Loop::Impl::SiftDown(size_t i) {
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && Before(heap_[child + 1], heap_[child])) ++child;
    if (!Before(heap_[child], heap_[i])) break;
    std::swap(heap_[i], heap_[child]);
    timers_[heap_[i]].heap_index = static_cast<uint32_t>(i);
    i = child;
  }
  timers_[heap_[i]].heap_index = static_cast<uint32_t>(i);
}

void Loop::Impl::RemoveFromHeap(size_t i) {
  uint32_t slot = heap_[i];
  heap_[i] = heap_.back();
  heap_.pop_back();
  if (i < heap_.size()) {
    timers_[heap_[i]].heap_index = static_cast<uint32_t>(i);
    SiftUp(i);
    SiftDown(timers_[heap_[i]].heap_index);
  }
  ++timers_[slot].generation;
  free_.push_back(slot);
}

TimerId Loop::Impl::AddTimer(Duration delay, Closure fn) {
  uint32_t slot;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(timers_.size());
    timers_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Timer& t = timers_[slot];
  MonoTime now = SystemClock().Now();
  // A delay of years must not overflow the clock.
  t.at = delay > MonoTime::max() - now ? MonoTime::max() : now + std::max(delay, Duration::zero());
  t.order = timer_order_++;
  t.fn = std::move(fn);
  heap_.push_back(slot);
  SiftUp(heap_.size() - 1);
  return static_cast<uint64_t>(t.generation) << 32 | slot;
}

bool Loop::Impl::CancelTimer(TimerId id) {
  auto slot = static_cast<uint32_t>(id);
  if (slot >= timers_.size() || timers_[slot].generation != id >> 32 || !timers_[slot].fn) return false;
  // Destroyed last: what it owns may set or cancel timers.
  Closure fn = std::exchange(timers_[slot].fn, {});
  RemoveFromHeap(timers_[slot].heap_index);
  return true;
}

Task<Status> Loop::Impl::Wait(int fd, bool write, Context ctx) {
  auto& slot = waits_[fd];
  if (!slot) slot = std::make_unique<FdWaits>(owner_, fd);
  FdWaits* waits = slot.get();
  auto shot = std::make_shared<OneShot<WaitEnd>>(owner_);
  (write ? waits->writers : waits->readers).push_back(shot);
  waits->Arm();
  Result<WaitEnd> outcome = co_await shot->Wait(ctx);
  if (outcome) co_return outcome->status;
  if (auto it = waits_.find(fd); it != waits_.end()) {
    std::erase(it->second->readers, shot);
    std::erase(it->second->writers, shot);
    it->second->Arm();
  }
  co_return outcome.error();
}

void Loop::Impl::Forget(int fd) {
  auto it = waits_.find(fd);
  if (it == waits_.end()) return;
  std::unique_ptr<FdWaits> waits = std::move(it->second);
  waits_.erase(it);
  FdWaits::End(waits->readers, Cancelled("descriptor closed"));
  FdWaits::End(waits->writers, Cancelled("descriptor closed"));
  waits->Arm();
}

Loop::Loop() : impl_(std::make_unique<Impl>(*this)) {}
Loop::~Loop() = default;
void Loop::Run() { impl_->Run(); }
void Loop::Stop() { impl_->Stop(); }
void Loop::Post(Closure fn) { impl_->Post(std::move(fn)); }
TimerId Loop::After(Duration delay, Closure fn) { return impl_->AddTimer(delay, std::move(fn)); }
bool Loop::CancelTimer(TimerId id) { return impl_->CancelTimer(id); }
const Clock& Loop::clock() const { return SystemClock(); }
Task<Status> Loop::Readable(int fd, Context ctx) { return impl_->Wait(fd, false, std::move(ctx)); }
Task<Status> Loop::Writable(int fd, Context ctx) { return impl_->Wait(fd, true, std::move(ctx)); }
void Loop::Forget(int fd) { impl_->Forget(fd); }

namespace {

class ThreadPool final : public BlockingPool {
 public:
  ThreadPool(const std::string& name, int threads) : name_(name.substr(0, 15)), count_(static_cast<size_t>(threads)) {}
  ~ThreadPool() override {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
  }
  void Run(Closure work, Executor& home, Closure done) override {
    {
      std::lock_guard lock(mutex_);
      queue_.push_back({std::move(work), &home, std::move(done)});
      // A thread that nobody needs yet would cost its stack and its heap.
      if (idle_ < queue_.size() && threads_.size() < count_) Start();
    }
    wake_.notify_one();
  }

 private:
  struct Item {
    Closure work;
    Executor* home;
    Closure done;
  };
  void Start() {
    threads_.emplace_back([this] { Work(); });
    pthread_setname_np(threads_.back().native_handle(), name_.c_str());
  }
  void Work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      wake_.wait(lock, [this] { return ending_ || !queue_.empty(); });
      --idle_;
      if (queue_.empty()) return;
      Item item = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      item.work();
      // The work's captures die here, before the waiter can go on and destroy what they refer to.
      item.work = {};
      item.home->Post(std::move(item.done));
      lock.lock();
    }
  }

  const std::string name_;
  const size_t count_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> queue_;
  size_t idle_ = 0;  // threads that wait for work
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

struct LoopThreads::One {
  Loop loop;
  std::thread thread;
};

LoopThreads::LoopThreads(std::string name, int count) {
  for (int i = 0; i < count; ++i) {
    auto one = std::make_unique<One>();
    one->thread = std::thread([loop = &one->loop] { loop->Run(); });
    pthread_setname_np(one->thread.native_handle(), (name.substr(0, 12) + "-" + std::to_string(i)).c_str());
    all_.push_back(std::move(one));
  }
}
LoopThreads::~LoopThreads() {
  for (auto& one : all_) one->loop.Stop();
  for (auto& one : all_) one->thread.join();
}
std::vector<Loop*> LoopThreads::loops() const {
  std::vector<Loop*> out;
  for (const auto& one : all_) out.push_back(&one->loop);
  return out;
}

std::unique_ptr<BlockingPool> NewThreadPool(std::string name, int threads) {
  return std::make_unique<ThreadPool>(name, threads);
}

}  // namespace base
