#include "base/net/tcp.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "base/net/address.h"
#include "base/net/transport_stream.h"

namespace base::net {

namespace {

// The first user of a connection, until a stream takes it over.
class Arriving final : public TransportUser {
 public:
  explicit Arriving(Loop& loop) : event_(loop) {}
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

Result<int> Connect(const SocketAddress& address, bool& in_progress) {
  int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Err(FromErrno(errno, "socket"));
  if (address.storage.ss_family != AF_UNIX) TuneTcp(fd);
  in_progress = false;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0) return fd;
  in_progress = errno == EINPROGRESS;
  if (in_progress) return fd;
  Status failed = FromErrno(errno, "connect " + AddressText(address.storage));
  ::close(fd);
  return Err(failed);
}

Task<Result<std::unique_ptr<ByteStream>>> DialOne(Context ctx, Loop& loop, const SocketAddress& address) {
  bool in_progress = false;
  CO_TRY_ASSIGN(int fd, Connect(address, in_progress));
  Arriving arriving(loop);
  auto transport = std::make_unique<Transport>(loop, fd, nullptr, arriving);
  Status started = transport->Start(in_progress);
  if (started.ok() && in_progress) started = co_await arriving.Wait(ctx);
  if (started.ok()) co_return std::make_unique<TransportStream>(std::move(transport), "");
  transport->Close();
  loop.Post([dying = std::move(transport)] {});
  co_return Err(started);
}

}  // namespace

Task<Result<std::unique_ptr<ByteStream>>> DialStream(Context ctx, Loop& loop, BlockingPool& resolver,
                                                     std::string address) {
  CO_TRY_ASSIGN(std::vector<SocketAddress> found, co_await Resolve(resolver, loop, address));
  Status last = Unavailable("no addresses for " + address);
  for (const SocketAddress& a : found) {
    auto stream = co_await DialOne(ctx, loop, a);
    if (stream) co_return stream;
    last = stream.error();
    if (ctx.done()) break;
  }
  co_return Err(last);
}

struct StreamListener::Impl final : FdHandler {
  Impl(Loop& loop, Context ctx, Handler handler, size_t max)
      : loop(loop), tasks(loop, std::move(ctx)), handler(std::move(handler)), max_connections(max) {}
  ~Impl() { Close(); }
  void Close() {
    if (fd < 0) return;
    loop.impl().Remove(fd, this);
    ::close(std::exchange(fd, -1));
  }
  void OnEvents(uint32_t) override {
    // A few at a time: level-triggered, the rest comes back.
    for (int i = 0; i < 64; ++i) {
      int accepted = ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (accepted < 0 && (errno == EMFILE || errno == ENFILE)) Pause();
      if (accepted < 0) return;
      if (connections >= max_connections) {
        ::close(accepted);
        continue;
      }
      Adopt(accepted);
    }
  }
  // Out of descriptors: accepting again at once would only spin.
  void Pause() {
    LogWarning("Out of file descriptors, not accepting for a while");
    loop.impl().Remove(fd, this);
    loop.After(std::chrono::milliseconds(200), [this, alive = std::weak_ptr<bool>(alive)] {
      if (!alive.expired() && fd >= 0) (void)loop.impl().Add(fd, EPOLLIN, this);
    });
  }
  void Adopt(int accepted) {
    TuneTcp(accepted);
    Arriving arriving(loop);
    auto transport = std::make_unique<Transport>(loop, accepted, nullptr, arriving);
    bool started = transport->Start(/*connecting=*/false).ok();
    auto stream = std::make_unique<TransportStream>(std::move(transport), "");
    if (!started) return;
    ++connections;
    tasks.Spawn(Serve(std::move(stream)));
  }
  Task<void> Serve(std::unique_ptr<ByteStream> stream) {
    co_await handler(tasks.context(), std::move(stream));
    --connections;
  }

  Loop& loop;
  TaskScope tasks;
  Handler handler;
  size_t max_connections, connections = 0;
  int fd = -1;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

StreamListener::StreamListener(Loop& loop, Context ctx, Handler handler, size_t max_connections)
    : impl_(std::make_unique<Impl>(loop, std::move(ctx), std::move(handler), max_connections)) {}
StreamListener::~StreamListener() = default;

Result<std::string> StreamListener::Listen(const std::string& address) {
  TRY_ASSIGN(SocketAddress where, ParseSocketAddress(address));
  int fd = ::socket(where.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Err(FromErrno(errno, "listen " + address));
  impl_->fd = fd;
  int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  bool listening = ::bind(fd, reinterpret_cast<const sockaddr*>(&where.storage), where.size) == 0 &&
                   ::listen(fd, 4096) == 0 && ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) == 0;
  if (!listening) return Err(FromErrno(errno, "listen tcp " + address));
  TRY(impl_->loop.impl().Add(fd, EPOLLIN, impl_.get()));
  return AddressText(bound);
}

size_t StreamListener::connections() const { return impl_->connections; }

Task<void> StreamListener::Stop() {
  impl_->Close();
  co_await impl_->tasks.CancelAndJoin();
}

}  // namespace base::net
