// Any bytes behind the preface: a server's HTTP/2 connection, from its socket to its handlers, ends or serves them.
#include <sys/socket.h>
#include <unistd.h>

#include "base/net/grpc.h"
#include "base/net/server_impl.h"

namespace {

using namespace base;
using namespace base::net;

Task<void> Serve(GrpcService& grpc, Exchange& e) {
  if (GrpcService::Accepts(e)) co_return co_await grpc.Serve(e);
  auto body = co_await e.ReadAll(e.context(), 4096);
  Headers headers;
  headers.Add("x-echo", std::string(e.path()));
  (void)co_await e.Respond(body ? 200 : 500, std::move(headers), body ? *body : std::string());
}

struct World {
  World() {
    grpc.Unary("/t.T/Echo", [](const GrpcCall&, std::string m) -> Task<Result<std::string>> { co_return m; });
    grpc.Stream("/t.T/Chat", [](GrpcServerStream& s) -> Task<Status> {
      for (;;) {
        CO_TRY_ASSIGN(auto m, co_await s.Read());
        if (!m) co_return Ok();
        CO_TRY(co_await s.Write(Share(std::move(*m))));
      }
    });
    core->handler = [this](Exchange& e) { return Serve(grpc, e); };
    core->limits.max_header_bytes = 4096;
    core->limits.max_resets_per_connection = 20;
    core->book = std::make_shared<ConnectionBook>(10, 10, 1);
  }
  Loop loop;
  GrpcService grpc{{.max_receive_bytes = 4096}};
  std::shared_ptr<ServerCore> core = std::make_shared<ServerCore>();
  std::shared_ptr<Shard> shard = std::make_shared<Shard>(loop, core);

  // Some turns of the loop: all that a socket without further input causes.
  void Turns(int left) {
    if (left == 0) return loop.Stop();
    loop.Post([this, left] { Turns(left - 1); });
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* world = new World;
  int fds[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
  constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  (void)!::write(fds[0], kPreface.data(), kPreface.size());
  world->shard->Adopt(fds[1], nullptr, "fuzz", {});
  // In two parts, so that frames are cut somewhere.
  size_t half = size == 0 ? 0 : data[0] * size / 256;
  (void)!::write(fds[0], data, half);
  world->Turns(6);
  world->loop.Run();
  (void)!::write(fds[0], data + half, size - half);
  ::shutdown(fds[0], SHUT_WR);
  world->Turns(12);
  world->loop.Run();
  char answer[4096];
  while (::read(fds[0], answer, sizeof answer) > 0) {
  }
  ::close(fds[0]);
  world->shard->AbortAll(Unavailable("over"));
  world->Turns(4);
  world->loop.Run();
  CHECK(world->core->unread == 0);
  return 0;
}
