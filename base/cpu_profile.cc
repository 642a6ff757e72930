#include "base/cpu_profile.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/sync.h"

namespace base {
namespace {

constexpr int kDepth = 64;
constexpr size_t kSamples = 16 << 10;

struct Sample {
  void* interrupted;
  void* frames[kDepth];    // the handler's first
  std::atomic<int> depth;  // 0 until the frames are whole
};

struct Buffer {
  std::unique_ptr<Sample[]> samples = std::make_unique<Sample[]>(kSamples);
  std::atomic<size_t> used = 0;
};

// What the handler writes into; null while nobody watches. A handler that has just taken the pointer may still write
// after that, so the buffer stays for the process's life once somebody has asked.
std::atomic<Buffer*> watching = nullptr;
std::atomic<bool> taken = false;

Buffer& TheBuffer() {
  static auto* buffer = new Buffer;
  return *buffer;
}

void* InterruptedAt(const void* context) {
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return reinterpret_cast<void*>(machine.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<void*>(machine.pc);
#else
#error "where this machine keeps the program counter"
#endif
}

void OnTick(int, siginfo_t*, void* context) {
  int saved = errno;
  if (Buffer* b = watching.load(std::memory_order_acquire)) {
    if (size_t at = b->used.fetch_add(1, std::memory_order_relaxed); at < kSamples) {
      Sample& s = b->samples[at];
      s.interrupted = InterruptedAt(context);
      s.depth.store(::backtrace(s.frames, kDepth), std::memory_order_release);
    }
  }
  errno = saved;
}

void SetTimer(long microseconds) {
  itimerval every{};
  every.it_interval.tv_usec = every.it_value.tv_usec = microseconds;
  ::setitimer(ITIMER_PROF, &every, nullptr);
}

void Begin() {
  // Its first call may allocate, which a signal handler must not.
  void* frame[1];
  (void)::backtrace(frame, 1);
  Buffer& b = TheBuffer();
  size_t used = std::min(b.used.exchange(0), kSamples);
  for (size_t i = 0; i < used; ++i) b.samples[i].depth = 0;
  struct sigaction action{};
  action.sa_sigaction = OnTick;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  ::sigaction(SIGPROF, &action, nullptr);  // for good: a last tick may be under way when the timer stops
  watching = &b;
  SetTimer(1000000 / CpuProfile::kHertz);
}

CpuProfile End(Duration duration) {
  SetTimer(0);
  watching = nullptr;
  Buffer& b = TheBuffer();
  CpuProfile out;
  out.duration = duration;
  size_t used = b.used;
  out.lost = used > kSamples ? used - kSamples : 0;
  for (size_t i = 0; i < std::min(used, kSamples); ++i) {
    const Sample& s = b.samples[i];
    int depth = s.depth.load(std::memory_order_acquire);
    if (depth == 0) continue;
    void* const* end = s.frames + depth;
    void* const* frame = std::find(s.frames, end, s.interrupted);
    std::vector<uint64_t> stack = {reinterpret_cast<uint64_t>(s.interrupted)};
    while (frame != end && ++frame != end) {
      stack.push_back(reinterpret_cast<uint64_t>(*frame) - 1);  // it returns behind its call
    }
    ++out.stacks[std::move(stack)];
  }
  return out;
}

}  // namespace

std::vector<CodeMapping> CodeMappings() {
  std::vector<CodeMapping> out;
  auto maps = ReadFile(PosixFileSystem(), "/proc/self/maps");
  if (!maps) return out;
  for (size_t at = 0; at < maps->size();) {
    size_t end = std::min(maps->find('\n', at), maps->size());
    std::string line = maps->substr(at, end - at);
    at = end + 1;
    unsigned long start = 0, limit = 0, offset = 0;
    char rights[5] = {};
    int path = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %4s %lx %*s %*s %n", &start, &limit, rights, &offset, &path) != 4) continue;
    if (rights[2] != 'x' || static_cast<size_t>(path) >= line.size()) continue;
    out.push_back({start, limit, offset, line.substr(static_cast<size_t>(path))});
  }
  return out;
}

Task<Result<CpuProfile>> TakeCpuProfile(Context ctx, Executor& executor, Duration duration) {
  if (taken.exchange(true)) co_return Err(FailedPrecondition("cpu profiling already in use"));
  MonoTime began = executor.Now();
  Begin();
  Status slept = co_await Sleep(executor, ctx, duration);
  CpuProfile profile = End(executor.Now() - began);
  taken = false;
  if (!slept.ok()) co_return Err(slept);
  co_return profile;
}

}  // namespace base
