// A server to measure the engine with and to point foreign clients at.
//
//   net_echo --listen=127.0.0.1:9000 [--threads=1] [--tls-cert-file= --tls-private-key-file= --client-ca-file=]
//   h2load -n 200000 -c 8 -m 32 -d body.bin -H 'content-type: application/grpc' -H 'te: trailers' \
//       http://127.0.0.1:9000/echo.Echo/Unary
//   net_echo --call=http://127.0.0.1:9000 --calls=100000 --concurrency=32      (the client half's cost)
//
// gRPC: /echo.Echo/Unary answers its request, /echo.Echo/Stream every message of it. HTTP: GET /hello, POST /echo,
// GET /big?n=BYTES, GET /drip?n=PIECES&ms=EACH, GET /quit; anything else is 404.
#include <sys/resource.h>

#include <cstdio>

#include "base/daemon.h"
#include "base/flags.h"
#include "base/net/grpc.h"
#include "base/net/server.h"

namespace {

using namespace base;
using namespace base::net;

uint64_t Number(const Exchange& e, std::string_view key, uint64_t otherwise) {
  for (const auto& [name, value] : ParseQuery(e.query()))
    if (name == key) return std::strtoull(value.c_str(), nullptr, 10);
  return otherwise;
}

Headers Text() {
  Headers h;
  h.Add("content-type", "text/plain");
  return h;
}

Task<Status> Big(Exchange& e) {
  static const SharedBytes block = Share(std::string(64 << 10, 'x'));
  uint64_t left = Number(e, "n", 1 << 20);
  CO_TRY(co_await e.StartResponse(200, Text()));
  for (; left >= block->size(); left -= block->size()) CO_TRY(co_await e.Write(block));
  if (left > 0) CO_TRY(co_await e.Write(Share(block->substr(0, left))));
  co_return co_await e.Finish();
}

Task<Status> Drip(Exchange& e) {
  uint64_t n = Number(e, "n", 10), ms = Number(e, "ms", 100);
  CO_TRY(co_await e.StartResponse(200, Text()));
  for (uint64_t i = 0; i < n; ++i) {
    CO_TRY(co_await e.Write(Share("drip " + std::to_string(i) + "\n")));
    CO_TRY(co_await Sleep(e.executor(), e.context(), std::chrono::milliseconds(ms)));
  }
  co_return co_await e.Finish();
}

Task<Status> Echo(Exchange& e) {
  auto body = co_await e.ReadAll(e.context(), 64 << 20);
  if (!body) co_return co_await e.Respond(413, Text(), std::string(body.error().message()));
  co_return co_await e.Respond(200, Text(), std::move(*body));
}

Task<void> Handle(GrpcService& grpc, Daemon& daemon, Exchange& e) {
  if (GrpcService::Accepts(e)) {
    co_await grpc.Serve(e);
  } else if (e.path() == "/hello") {
    (void)co_await e.Respond(200, Text(), std::string("hello\n"));
  } else if (e.path() == "/echo") {
    (void)co_await Echo(e);
  } else if (e.path() == "/big") {
    (void)co_await Big(e);
  } else if (e.path() == "/drip") {
    (void)co_await Drip(e);
  } else if (e.path() == "/peer") {
    (void)co_await e.Respond(200, Text(),
                             e.peer().address + " " + e.peer().common_name + " " +
                                 (e.peer().verified_chain ? "verified" : "unverified") + "\n");
  } else if (e.path() == "/quit") {
    (void)co_await e.Respond(200, Text(), std::string("bye\n"));
    daemon.loop().Post([&daemon] { daemon.Shutdown(); });
  } else {
    (void)co_await e.Respond(404, Text(), std::string("404 page not found\n"));
  }
}

struct Options {
  std::vector<std::string> listen = {"127.0.0.1:9000"};
  int32_t threads = 1;
  TlsFiles tls;
  std::string call;
  int64_t calls = 100000;
  int32_t concurrency = 32, size = 100;
};

Task<Status> Serve(Daemon& daemon, const Options& options) {
  GrpcService grpc({.max_receive_bytes = 16 << 20});
  grpc.Unary("/echo.Echo/Unary",
             [](const GrpcCall&, std::string request) -> Task<Result<std::string>> { co_return std::move(request); });
  grpc.Stream("/echo.Echo/Stream", [](GrpcServerStream& stream) -> Task<Status> {
    for (;;) {
      CO_TRY_ASSIGN(auto message, co_await stream.Read());
      if (!message) co_return Ok();
      CO_TRY(co_await stream.Write(Share(std::move(*message))));
    }
  });
  std::unique_ptr<LoopThreads> extra;
  std::vector<Loop*> loops = {&daemon.loop()};
  if (options.threads > 1) {
    extra = std::make_unique<LoopThreads>("echo", options.threads - 1);
    for (Loop* l : extra->loops()) loops.push_back(l);
  }
  std::shared_ptr<ServerTls> tls;
  if (!options.tls.cert_file.empty()) {
    CO_TRY_ASSIGN(tls, ServerTls::FromFiles(options.tls));
  }
  Server server(loops, [&](Exchange& e) { return Handle(grpc, daemon, e); });
  for (const auto& address : options.listen) {
    CO_TRY_ASSIGN(std::string bound, server.Listen(address, tls));
    std::printf("listening on %s\n", bound.c_str());
  }
  std::fflush(stdout);
  (void)co_await Sleep(daemon.loop(), daemon.context(), std::chrono::hours(24 * 365));
  co_await server.Stop(std::chrono::seconds(2));
  co_return Ok();
}

double CpuSeconds() {
  rusage u;
  ::getrusage(RUSAGE_SELF, &u);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(u.ru_utime) + seconds(u.ru_stime);
}

Task<void> CallMany(GrpcChannel& channel, SharedBytes body, int64_t& left, int64_t& failed) {
  while (left-- > 0) {
    auto answer = co_await channel.Unary(Context(), "/echo.Echo/Unary", body);
    failed += !answer || answer->size() != body->size();
  }
}

Task<Status> Load(Daemon& daemon, const Options& options) {
  ClientOptions client;
  client.endpoints = {options.call};
  if (!options.tls.ca_file.empty()) {
    CO_TRY_ASSIGN(client.tls, ClientTls::FromFiles(options.tls));
  }
  GrpcChannel channel(daemon.loop(), client);
  SharedBytes body = Share(std::string(static_cast<size_t>(options.size), 'x'));
  int64_t left = options.calls, failed = 0;
  MonoTime began = daemon.loop().Now();
  double cpu = CpuSeconds();
  TaskScope scope(daemon.loop(), Context());
  for (int i = 0; i < options.concurrency; ++i) scope.Spawn(CallMany(channel, body, left, failed));
  co_await scope.Join();
  double wall = std::chrono::duration<double>(daemon.loop().Now() - began).count();
  cpu = CpuSeconds() - cpu;
  auto n = static_cast<double>(options.calls);
  std::printf("%lld calls, %lld failed, %.0f/s, client CPU %.2f us per call\n", static_cast<long long>(options.calls),
              static_cast<long long>(failed), n / wall, cpu * 1e6 / n);
  co_return failed == 0 ? Ok() : Internal("calls failed");
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  FlagSet flags({.name = "net_echo"});
  flags.Add("listen", &options.listen, "Addresses.");
  flags.Add("threads", &options.threads, "Loops.");
  flags.Add("tls-cert-file", &options.tls.cert_file, "Certificate.");
  flags.Add("tls-private-key-file", &options.tls.key_file, "Key.");
  flags.Add("client-ca-file", &options.tls.ca_file, "Authorities for client certificates.");
  flags.Add("call", &options.call, "Call this endpoint instead of serving.");
  flags.Add("calls", &options.calls, "How often.");
  flags.Add("concurrency", &options.concurrency, "How many at once.");
  flags.Add("size", &options.size, "Bytes of each request.");
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) { return options.call.empty() ? Serve(d, options) : Load(d, options); });
}
