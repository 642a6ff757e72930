#include "base/daemon.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/testing/temp_dir.h"

namespace base {
namespace {

TEST(Daemon, SignalEndsTheContext) {
  Daemon daemon;
  int code = daemon.Run([](Daemon& d) -> Task<Status> {
    ::kill(::getpid(), SIGPIPE);
    ::kill(::getpid(), SIGHUP);
    ::kill(::getpid(), SIGTERM);
    Status slept = co_await Sleep(d.loop(), d.context(), std::chrono::seconds(10));
    co_return slept.code() == Code::kCancelled ? Ok() : Internal("no signal came");
  });
  EXPECT_EQ(code, 0);
}

TEST(Daemon, ErrorIsExitCodeOne) {
  Daemon daemon;
  EXPECT_EQ(daemon.Run([](Daemon&) -> Task<Status> { co_return Internal("broken"); }), 1);
}

TEST(DaemonDeathTest, SecondSignalExitsAtOnce) {
  EXPECT_EXIT(
      {
        Daemon daemon;
        daemon.Run([](Daemon& d) -> Task<Status> {
          ::kill(::getpid(), SIGINT);
          (void)co_await Sleep(d.loop(), d.context(), std::chrono::seconds(10));
          ::kill(::getpid(), SIGINT);
          co_return co_await Sleep(d.loop(), Context(), std::chrono::seconds(10));
        });
      },
      ::testing::ExitedWithCode(1), "exiting at once");
}

TEST(NotifySupervisor, SendsADatagram) {
  testing::TempDir dir;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = dir.path() + "/notify";
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  int fd = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  NotifySupervisor("READY=1");
  ::unsetenv("NOTIFY_SOCKET");
  char buffer[64];
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT))), "READY=1");
  ::close(fd);
}

}  // namespace
}  // namespace base
