#include "base/net/tcp.h"

#include <unistd.h>

#include "base/net/acceptor.h"
#include "base/net/connect.h"
#include "base/net/transport_stream.h"

namespace base::net {

Task<Result<std::unique_ptr<ByteStream>>> DialStream(Context ctx, Loop& loop, BlockingPool& resolver,
                                                     std::string address) {
  CO_TRY_ASSIGN(std::vector<SocketAddress> found, co_await Resolve(resolver, loop, address));
  Status last = Unavailable("no addresses for " + address);
  for (const SocketAddress& a : found) {
    auto socket = StartConnecting(a);
    if (!socket) {
      last = socket.error().Annotate(AddressText(a.storage) + ": ");
      continue;
    }
    auto transport = co_await FinishConnecting(ctx, loop, *socket, nullptr);
    if (transport) co_return std::make_unique<TransportStream>(std::move(*transport), "");
    last = transport.error();
    if (ctx.done()) break;
  }
  co_return Err(last);
}

struct StreamListener::Impl {
  Impl(Loop& loop, Context ctx, Handler handler, size_t max)
      : loop(loop), tasks(loop, std::move(ctx)), handler(std::move(handler)), max_connections(max) {}

  void Adopt(int fd) {
    if (connections >= max_connections) {
      ::close(fd);
      return;
    }
    TuneTcp(fd);
    auto transport = std::make_unique<Transport>(loop, fd, nullptr, nobody);
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

  // Until the stream takes it over, in the same turn.
  struct Nobody final : TransportUser {
    void OnConnected() override {}
    void OnReadable() override {}
    void OnFill() override {}
    void OnFailed(const Status&) override {}
  };

  Loop& loop;
  TaskScope tasks;
  Handler handler;
  size_t max_connections, connections = 0;
  Nobody nobody;
  std::unique_ptr<Acceptor> acceptor;
};

StreamListener::StreamListener(Loop& loop, Context ctx, Handler handler, size_t max_connections)
    : impl_(std::make_unique<Impl>(loop, std::move(ctx), std::move(handler), max_connections)) {}
StreamListener::~StreamListener() = default;

Result<std::string> StreamListener::Listen(const std::string& address) {
  TRY_ASSIGN(SocketAddress where, ParseSocketAddress(address));
  TRY_ASSIGN(int fd, OpenListener(where));
  auto take = [impl = impl_.get()](int accepted, const sockaddr_storage&) { impl->Adopt(accepted); };
  impl_->acceptor = std::make_unique<Acceptor>(impl_->loop, fd, take);
  TRY(impl_->acceptor->Start());
  return BoundAddress(fd);
}

size_t StreamListener::connections() const { return impl_->connections; }

Task<void> StreamListener::Stop() {
  impl_->acceptor.reset();
  co_await impl_->tasks.CancelAndJoin();
}

}  // namespace base::net
