#include "base/net/connect.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/sync.h"

namespace base::net {

namespace {

// Waits for one connection attempt to end, one way or the other.
class Connecting final : public TransportUser {
 public:
  explicit Connecting(Loop& loop) : event_(loop) {}
  Task<Status> Wait(Context ctx) {
    while (!done_) CO_TRY(co_await event_.Wait(ctx));
    co_return status_;
  }

 private:
  void Done(const Status& s) {
    done_ = true;
    status_ = s;
    event_.NotifyAll();
  }
  void OnConnected() override { Done(Ok()); }
  void OnReadable() override {}
  void OnFill() override {}
  void OnFailed(const Status& why) override { Done(why); }
  bool done_ = false;
  Status status_;
  Event event_;
};

Status BindTo(int fd, sa_family_t family, const std::string& local) {
  bool v6 = local.find(':') != std::string::npos;
  TRY_ASSIGN(SocketAddress from, ParseSocketAddress(v6 ? "[" + local + "]:0" : local + ":0"));
  if (from.storage.ss_family != family) return InvalidArgument("mismatched local address type " + local);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&from.storage), from.size) != 0) {
    return FromErrno(errno, "bind to " + local);
  }
  return Ok();
}

}  // namespace

Result<StartedSocket> StartConnecting(const SocketAddress& to, const std::string& local) {
  int fd = ::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Err(FromErrno(errno, "socket"));
  if (to.storage.ss_family != AF_UNIX) {
    TuneTcp(fd);
    if (Status s = local.empty() ? Ok() : BindTo(fd, to.storage.ss_family, local); !s.ok()) {
      ::close(fd);
      return Err(s);
    }
  }
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to.storage), to.size) == 0) return StartedSocket{fd, false};
  if (errno == EINPROGRESS) return StartedSocket{fd, true};
  Status failed = FromErrno(errno, "connect");
  ::close(fd);
  return Err(failed);
}

Task<Result<std::unique_ptr<Transport>>> FinishConnecting(Context ctx, Loop& loop, StartedSocket socket, SslPtr ssl) {
  Connecting connecting(loop);
  bool waits = socket.in_progress || ssl != nullptr;
  auto transport = std::make_unique<Transport>(loop, socket.fd, std::move(ssl), connecting);
  Status started = transport->Start(socket.in_progress);
  if (started.ok() && waits) started = co_await connecting.Wait(ctx);
  if (started.ok()) co_return transport;
  transport->Close();
  loop.Post([dying = std::move(transport)] {});
  co_return Err(started);
}

}  // namespace base::net
