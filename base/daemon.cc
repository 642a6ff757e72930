#include "base/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/log.h"

namespace base {
namespace {

// Signal handlers reach nothing but globals.
std::atomic<int> signal_target{-1};
std::atomic<int> first_signal{0};

void OnTerminate(int signal) {
  int saved = errno, none = 0;
  first_signal.compare_exchange_strong(none, signal);
  uint64_t one = 1;
  (void)!::write(signal_target.load(), &one, sizeof one);
  errno = saved;
}
void OnNothing(int) {}

// Handlers, not SIG_IGN and not a blocked mask: both would be inherited by the programs a daemon starts.
void Install(int signal, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  CHECK(::sigaction(signal, &action, nullptr) == 0);
}

}  // namespace

Daemon::Daemon() : context_(Context().WithCancel()) {
  signal_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK_MSG(signal_fd_ >= 0, "eventfd");
  signal_target = signal_fd_;
  first_signal = 0;
  Install(SIGTERM, OnTerminate);
  Install(SIGINT, OnTerminate);
  Install(SIGHUP, OnNothing);
  Install(SIGPIPE, OnNothing);
  RaiseOpenFilesLimit();
}

Daemon::~Daemon() {
  Install(SIGTERM, SIG_DFL);
  Install(SIGINT, SIG_DFL);
  signal_target = -1;
  ::close(signal_fd_);
}

int Daemon::signal() const { return first_signal; }

void Daemon::Shutdown() {
  if (context_.done()) return;
  NotifySupervisor("STOPPING=1");
  context_.Cancel(Cancelled("shutting down"));
}

Task<void> Daemon::WatchSignals(Context ctx) {
  for (;;) {
    Status readable = co_await loop_.Readable(signal_fd_, ctx);
    if (!readable.ok()) break;
    uint64_t count = 0;
    if (::read(signal_fd_, &count, sizeof count) != sizeof count) continue;
    if (context_.done() || count > 1) {
      LogWarning("Second signal received, exiting at once");
      std::_Exit(1);
    }
    LogInfo("Signal received, shutting down");
    Shutdown();
  }
  loop_.Forget(signal_fd_);
}

int Daemon::Run(const std::function<Task<Status>(Daemon&)>& serve) {
  Status outcome;
  Context watching = Context().WithCancel();
  auto main = [](Daemon& self, const std::function<Task<Status>(Daemon&)>& serve, Context watching,
                 Status& outcome) -> Task<void> {
    TaskScope scope(self.loop_, watching);
    scope.Spawn(self.WatchSignals(scope.context()));
    outcome = co_await serve(self);
    co_await scope.CancelAndJoin();
  };
  Spawn(loop_, main(*this, serve, watching, outcome), [this] { loop_.Stop(); });
  loop_.Run();
  if (outcome.ok()) return 0;
  LogError("Command failed", outcome);
  return 1;
}

void NotifySupervisor(std::string_view message) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  (void)!::sendto(fd, message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), size);
  ::close(fd);
}

uint64_t RaiseOpenFilesLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit wanted{limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &wanted) == 0) return wanted.rlim_cur;
  }
  return limit.rlim_cur;
}

}  // namespace base
