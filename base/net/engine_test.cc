// Server and client halves against each other: one suite over every wire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/net/testing_peers.h"
#include "base/random.h"

namespace base::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

enum class Wire { kHttp1, kHttp2, kTls1, kTls2, kUnix1, kUnix2 };
std::string NameOf(const ::testing::TestParamInfo<Wire>& info) {
  static const char* const kNames[] = {"Http1", "Http2", "Tls1", "Tls2", "Unix1", "Unix2"};
  return kNames[static_cast<int>(info.param)];
}

Headers Text() {
  Headers h;
  h.Add("content-type", "text/plain");
  return h;
}

TestPki& Pki() {
  static auto* pki = [] {
    auto* p = new TestPki;
    p->Issue("server");
    p->Issue("client", "masters");
    return p;
  }();
  return *pki;
}

class EngineTest : public ::testing::TestWithParam<Wire> {
 protected:
  bool tls() const { return GetParam() == Wire::kTls1 || GetParam() == Wire::kTls2; }
  bool http2() const { return GetParam() == Wire::kHttp2 || GetParam() == Wire::kTls2 || GetParam() == Wire::kUnix2; }
  bool unix_socket() const { return GetParam() == Wire::kUnix1 || GetParam() == Wire::kUnix2; }

  void Serve(Handler handler, ServerLimits limits = {}) {
    server_ = std::make_unique<Server>(std::vector<Loop*>{&loop_}, std::move(handler), limits);
    std::shared_ptr<ServerTls> tls;
    if (this->tls()) tls = *ServerTls::FromFiles(Pki().Files("server"));
    auto bound = server_->Listen(unix_socket() ? "unix:" + dir_.path() + "/s.sock" : "127.0.0.1:0", tls);
    ASSERT_TRUE(bound.has_value()) << bound.error().ToString();
    address_ = *bound;
  }
  ClientOptions Options() {
    ClientOptions o;
    o.endpoints = {unix_socket() ? address_ : (tls() ? "https://" : "http://") + address_};
    if (tls()) o.tls = *ClientTls::FromFiles(Pki().Files("client"));
    o.http2_prior_knowledge = http2();
    o.force_http1 = !http2();
    return o;
  }
  void MakeClient() { client_ = std::make_unique<Client>(loop_, Options()); }
  void TearDown() override {
    if (!server_) return;
    RunTask(loop_, [](EngineTest* self) -> Task<void> {
      self->client_.reset();
      co_await self->server_->Stop(seconds(1));
    }(this));
    EXPECT_EQ(server_->connections(), 0u);
  }

  testing::TempDir dir_;
  Loop loop_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
  std::string address_;
};

INSTANTIATE_TEST_SUITE_P(Wires, EngineTest,
                         ::testing::Values(Wire::kHttp1, Wire::kHttp2, Wire::kTls1, Wire::kTls2, Wire::kUnix1,
                                           Wire::kUnix2),
                         NameOf);

Task<void> EchoHandler(Exchange& e) {
  auto body = co_await e.ReadAll(e.context(), 64 << 20);
  Headers h = Text();
  h.Add("x-method", std::string(e.method()));
  h.Add("x-path", std::string(e.path()));
  h.Add("x-query", std::string(e.query()));
  h.Add("x-host", std::string(e.headers().Get("host")));
  h.Add("x-mine", std::string(e.headers().Get("x-mine")));
  h.Add("x-cn", e.peer().common_name);
  h.Add("x-verified", e.peer().verified_chain ? "yes" : "no");
  (void)co_await e.Respond(200, std::move(h), body ? std::move(*body) : "error " + body.error().ToString());
}

TEST_P(EngineTest, RequestsAndAnswersOfAllSizes) {
  Serve(EchoHandler);
  MakeClient();
  RunTask(loop_, [](EngineTest* t, Client& client, bool tls) -> Task<void> {
    Random random(4);
    for (size_t size : {0, 1, 100, 16384, 65535, 65536, 300000, 5000000}) {
      std::string body(size, '\0');
      for (auto& c : body) c = static_cast<char>(random.Next());
      ClientRequest request{.method = "POST", .path = "/a/b?c=d&e", .body = Share(body)};
      request.headers.Add("x-mine", "value");
      auto response = co_await client.Do(Context(), std::move(request));
      EXPECT_TRUE(response.has_value()) << response.error().ToString();
      if (!response) co_return;
      EXPECT_EQ((*response)->status(), 200);
      EXPECT_EQ((*response)->headers().Get("x-method"), "POST");
      EXPECT_EQ((*response)->headers().Get("x-path"), "/a/b");
      EXPECT_EQ((*response)->headers().Get("x-query"), "c=d&e");
      EXPECT_EQ((*response)->headers().Get("x-mine"), "value");
      EXPECT_EQ((*response)->headers().Get("content-length"), std::to_string(size));
      if (tls) {
        EXPECT_EQ((*response)->headers().Get("x-cn"), "client");
        EXPECT_EQ((*response)->headers().Get("x-verified"), "yes");
      }
      auto back = co_await (*response)->ReadAll(Context(), 64 << 20);
      EXPECT_TRUE(back.has_value() && *back == body) << size;
    }
  }(this, *client_, tls()));
  EXPECT_EQ(server_->connections(), 1u) << "connections are kept";
}

TEST_P(EngineTest, HeadAndEmptyAnswers) {
  Serve([](Exchange& e) -> Task<void> {
    if (e.path() == "/none") co_return;
    if (e.path() == "/204") {
      (void)co_await e.Respond(204, {}, SharedBytes());
    } else {
      (void)co_await e.Respond(200, Text(), std::string("12345"));
    }
  });
  MakeClient();
  RunTask(loop_, [](Client& client) -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      auto head = co_await client.Do(Context(), {.method = "HEAD", .path = "/x"});
      EXPECT_EQ((*head)->headers().Get("content-length"), "5");
      EXPECT_EQ(*co_await (*head)->ReadAll(Context(), 100), "");
      auto none = co_await client.Do(Context(), {.path = "/none"});
      EXPECT_EQ((*none)->status(), 500);
      EXPECT_EQ(*co_await (*none)->ReadAll(Context(), 100), "");
      auto empty = co_await client.Do(Context(), {.path = "/204"});
      EXPECT_EQ((*empty)->status(), 204);
      EXPECT_EQ(*co_await (*empty)->ReadAll(Context(), 100), "");
    }
  }(*client_));
}

TEST_P(EngineTest, StreamsPiecesAndTrailers) {
  Serve([](Exchange& e) -> Task<void> {
    (void)co_await e.StartResponse(200, Text());
    for (int i = 0; i < 50; ++i) {
      (void)co_await e.Write("p" + std::to_string(i), Share(std::string(static_cast<size_t>(i) * 100, 'x')));
      if (i % 10 == 0) (void)co_await Sleep(e.executor(), e.context(), milliseconds(1));
    }
    Headers trailers;
    trailers.Add("x-trailer", "last");
    (void)co_await e.Finish(std::move(trailers));
  });
  MakeClient();
  RunTask(loop_, [](Client& client) -> Task<void> {
    std::string expected;
    for (int i = 0; i < 50; ++i) expected += "p" + std::to_string(i) + std::string(static_cast<size_t>(i) * 100, 'x');
    for (int round = 0; round < 2; ++round) {
      auto response = co_await client.Do(Context(), {.path = "/"});
      EXPECT_TRUE(response.has_value());
      if (!response) co_return;
      auto body = co_await (*response)->ReadAll(Context(), 1 << 20);
      EXPECT_EQ(body.value_or("error"), expected);
      EXPECT_EQ((*response)->trailers().Get("x-trailer"), "last");
    }
  }(*client_));
}

TEST_P(EngineTest, ClientStreamsItsBody) {
  Serve(EchoHandler);
  MakeClient();
  RunTask(loop_, [](Client& client) -> Task<void> {
    auto stream = co_await client.Open(Context(), {.method = "PUT", .path = "/"});
    EXPECT_TRUE(stream.has_value());
    if (!stream) co_return;
    std::string all;
    for (int i = 0; i < 100; ++i) {
      std::string piece(static_cast<size_t>(i) * 97, static_cast<char>('a' + i % 26));
      all += piece;
      EXPECT_TRUE((co_await (*stream)->Write(Context(), Share(piece))).ok());
    }
    EXPECT_TRUE((co_await (*stream)->CloseWrite(Context())).ok());
    auto response = co_await (*stream)->Response(Context());
    EXPECT_TRUE(response.has_value());
    if (!response) co_return;
    EXPECT_EQ(*co_await (*response)->ReadAll(Context(), 1 << 20), all);
  }(*client_));
}

// A slow reader blocks the writer at the named bound and not further.
TEST_P(EngineTest, BackPressureReachesTheHandler) {
  size_t written = 0;
  bool finished = false;
  ServerLimits limits;
  limits.write_buffer = 64 << 10;
  Serve(
      [&](Exchange& e) -> Task<void> {
        (void)co_await e.StartResponse(200, Text());
        SharedBytes block = Share(std::string(32 << 10, 'x'));
        for (int i = 0; i < 2000; ++i) {
          if (!(co_await e.Write(block)).ok()) break;
          written += block->size();
        }
        finished = (co_await e.Finish()).ok();
      },
      limits);
  auto options = Options();
  options.stream_window = 64 << 10;
  client_ = std::make_unique<Client>(loop_, options);
  RunTask(loop_, [](Loop& loop, Client& client, size_t& written) -> Task<void> {
    auto response = co_await client.Do(Context(), {.path = "/"});
    (void)co_await Sleep(loop, Context(), milliseconds(100));
    EXPECT_LT(written, 20u << 20);  // the kernel's socket buffers take some
    size_t at = written;
    (void)co_await Sleep(loop, Context(), milliseconds(50));
    EXPECT_EQ(written, at);
    size_t got = 0;
    for (;;) {
      auto piece = co_await (*response)->Read(Context());
      if (!piece || piece->empty()) break;
      got += piece->size();
    }
    EXPECT_EQ(got, 2000u * (32 << 10));
  }(loop_, *client_, written));
  EXPECT_TRUE(finished);
}

TEST_P(EngineTest, TryWriteTakesWhatThereIsRoomFor) {
  size_t taken = 0;
  bool early = true, late = true;
  Serve([&](Exchange& e) -> Task<void> {
    SharedBytes piece = Share(std::string(10000, 'p'));
    early = e.TryWrite(piece);
    (void)co_await e.StartResponse(200, Text());
    for (int i = 0; i < 1000; ++i) {
      SharedBytes next = piece;
      if (!e.TryWrite(next)) break;
      ++taken;
    }
    (void)co_await e.Finish();
    late = e.TryWrite(piece);
  });
  MakeClient();
  size_t got = 0;
  RunTask(loop_, [](Client& client, size_t& got) -> Task<void> {
    auto response = co_await client.Do(Context(), {.path = "/"});
    if (!response) co_return;
    if (auto text = co_await (*response)->ReadAll(Context(), 1 << 20)) got = text->size();
  }(*client_, got));
  EXPECT_FALSE(early);
  EXPECT_FALSE(late);
  EXPECT_GT(taken, 10u);
  EXPECT_LT(taken, 100u);
  EXPECT_EQ(got, taken * 10000);
}

TEST_P(EngineTest, DroppedResponseEndsTheHandlersContext) {
  Status seen;
  Serve([&](Exchange& e) -> Task<void> {
    (void)co_await e.StartResponse(200, Text());
    (void)co_await e.Write(Share("begin"));
    (void)co_await Sleep(e.executor(), e.context(), seconds(10));
    seen = e.context().status();
  });
  MakeClient();
  RunTask(loop_, [](Loop& loop, Client& client, Status& seen) -> Task<void> {
    {
      auto response = co_await client.Do(Context(), {.path = "/"});
      EXPECT_EQ(*co_await (*response)->Read(Context()), "begin");
    }
    for (int i = 0; i < 500 && seen.ok(); ++i) (void)co_await Sleep(loop, Context(), milliseconds(2));
    EXPECT_EQ(seen.code(), Code::kCancelled);
  }(loop_, *client_, seen));
}

TEST_P(EngineTest, DeadlineOfTheClient) {
  Serve([](Exchange& e) -> Task<void> { (void)co_await Sleep(e.executor(), e.context(), seconds(10)); });
  MakeClient();
  RunTask(loop_, [](Loop& loop, Client& client) -> Task<void> {
    auto response = co_await client.Do(Context().WithTimeout(loop, milliseconds(30)), {.path = "/"});
    EXPECT_FALSE(response.has_value());
    if (!response) EXPECT_EQ(response.error().code(), Code::kDeadlineExceeded);
  }(loop_, *client_));
}

TEST_P(EngineTest, ManyAtOnce) {
  Serve([](Exchange& e) -> Task<void> {
    auto body = co_await e.ReadAll(e.context(), 1 << 20);
    (void)co_await Sleep(e.executor(), e.context(), milliseconds(1));
    (void)co_await e.Respond(200, Text(), std::move(*body));
  });
  MakeClient();
  int good = 0;
  RunTask(loop_, [](Loop& loop, Client& client, int& good) -> Task<void> {
    TaskScope scope(loop, Context());
    for (int i = 0; i < 300; ++i) {
      scope.Spawn([](Client& client, int i, int& good) -> Task<void> {
        std::string body = "request " + std::to_string(i);
        auto response = co_await client.Do(Context(), {.method = "POST", .path = "/", .body = Share(body)});
        if (!response) co_return;
        auto text = co_await (*response)->ReadAll(Context(), 1 << 20);
        good += text.has_value() && *text == body;
      }(client, i, good));
    }
    co_await scope.Join();
  }(loop_, *client_, good));
  EXPECT_EQ(good, 300);
}

TEST_P(EngineTest, GracefulStopLetsRunningRequestsFinish) {
  Serve([](Exchange& e) -> Task<void> {
    (void)co_await Sleep(e.executor(), e.context(), milliseconds(50));
    (void)co_await e.Respond(200, Text(), std::string("done"));
  });
  MakeClient();
  RunTask(loop_, [](Loop& loop, Client& client, Server& server) -> Task<void> {
    TaskScope scope(loop, Context());
    scope.Spawn([](Client& client) -> Task<void> {
      auto response = co_await client.Do(Context(), {.path = "/"});
      EXPECT_TRUE(response.has_value());
      if (response) EXPECT_EQ(*co_await (*response)->ReadAll(Context(), 100), "done");
    }(client));
    (void)co_await Sleep(loop, Context(), milliseconds(20));
    co_await server.Stop(seconds(5));
    co_await scope.Join();
    auto refused = co_await client.Do(Context(), {.path = "/"});
    EXPECT_FALSE(refused.has_value());
    if (!refused) EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  }(loop_, *client_, *server_));
}

TEST_P(EngineTest, StopCancelsWhatOutlastsTheDrain) {
  Status seen;
  bool began = false;
  Serve([&](Exchange& e) -> Task<void> {
    began = true;
    (void)co_await Sleep(e.executor(), e.context(), seconds(100));
    seen = e.context().status();
  });
  MakeClient();
  RunTask(loop_, [](Loop& loop, Client& client, Server& server, bool& began) -> Task<void> {
    TaskScope scope(loop, Context());
    scope.Spawn([](Client& client) -> Task<void> {
      auto response = co_await client.Do(Context(), {.path = "/"});
      EXPECT_FALSE(response.has_value());
    }(client));
    while (!began) (void)co_await Sleep(loop, Context(), milliseconds(2));
    co_await server.Stop(milliseconds(30));
    co_await scope.Join();
  }(loop_, *client_, *server_, began));
  EXPECT_FALSE(seen.ok());
}

TEST_P(EngineTest, UpgradeHandsTheBytesOver) {
  if (http2()) GTEST_SKIP() << "upgrades are HTTP/1.1's";
  Serve([](Exchange& e) -> Task<void> {
    if (e.headers().Get("upgrade") != "SPDY/3.1") {
      (void)co_await e.Respond(400, Text(), std::string("no upgrade"));
      co_return;
    }
    Headers h;
    h.Add("connection", "Upgrade");
    h.Add("upgrade", "SPDY/3.1");
    auto stream = co_await e.Upgrade(std::move(h));
    EXPECT_TRUE(stream.has_value());
    for (;;) {
      auto piece = co_await (*stream)->Read(e.context(), 1000);
      if (!piece || piece->empty()) break;
      if (!(co_await (*stream)->Write(e.context(), std::move(*piece))).ok()) break;
    }
    (void)co_await (*stream)->CloseWrite(e.context());
  });
  MakeClient();
  RunTask(loop_, [](Loop& loop, Client& client) -> Task<void> {
    auto plain = co_await client.Upgrade(Context(), {.path = "/"});
    EXPECT_EQ(plain->status, 400);
    EXPECT_EQ(plain->body, "no upgrade");
    ClientRequest request{.method = "POST", .path = "/"};
    request.headers.Add("connection", "Upgrade");
    request.headers.Add("upgrade", "SPDY/3.1");
    auto upgraded = co_await client.Upgrade(Context(), std::move(request));
    EXPECT_TRUE(upgraded.has_value());
    if (!upgraded) co_return;
    EXPECT_EQ(upgraded->status, 101);
    std::string sent, got;
    TaskScope scope(loop, Context());
    scope.Spawn([](ByteStream& stream, std::string& sent) -> Task<void> {
      for (int i = 0; i < 200; ++i) {
        std::string piece(10000, static_cast<char>('a' + i % 26));
        sent += piece;
        (void)co_await stream.Write(Context(), piece);
      }
      (void)co_await stream.CloseWrite(Context());
    }(*upgraded->stream, sent));
    for (;;) {
      auto piece = co_await upgraded->stream->Read(Context(), 1 << 16);
      if (!piece || piece->empty()) break;
      got += *piece;
    }
    co_await scope.Join();
    EXPECT_TRUE(got == sent);
  }(loop_, *client_));
}

TEST_P(EngineTest, BodyLimit) {
  Serve([](Exchange& e) -> Task<void> {
    auto body = co_await e.ReadAll(e.context(), 1000);
    EXPECT_FALSE(body.has_value());
    (void)co_await e.Respond(413, Text(), std::string(body.error().message()));
  });
  MakeClient();
  RunTask(loop_, [](Client& client) -> Task<void> {
    for (int i = 0; i < 3; ++i) {
      auto response =
          co_await client.Do(Context(), {.method = "POST", .path = "/", .body = Share(std::string(3 << 20, 'x'))});
      EXPECT_TRUE(response.has_value()) << response.error().ToString();
      if (!response) co_return;
      EXPECT_EQ((*response)->status(), 413);
      EXPECT_THAT((co_await (*response)->ReadAll(Context(), 1000)).value_or("?"), HasSubstr("too large"));
    }
  }(*client_));
}

// ---- gRPC ----------------------------------------------------------------------------------------------------------

class GrpcTest : public EngineTest {
 protected:
  void ServeGrpc() {
    service_ = std::make_unique<GrpcService>(GrpcLimits{.max_receive_bytes = 1 << 20});
    service_->Unary("/t.T/Echo", [](const GrpcCall& call, std::string request) -> Task<Result<std::string>> {
      if (request == "fail") co_return Err(NotFound("no such thing: 100% \xc3\xa9\n"));
      if (request == "sleep") CO_TRY(co_await Sleep(call.executor, call.ctx, seconds(10)));
      co_return request + std::string(call.headers.Get("x-suffix"));
    });
    service_->Stream("/t.T/Chat", [this](GrpcServerStream& stream) -> Task<Status> {
      stream.AddTrailer("x-last", "trailer");
      for (;;) {
        auto message = co_await stream.Read();
        if (!message) {
          chat_end_ = message.error();
          co_return message.error();
        }
        if (!*message) co_return Ok();
        if (**message == "fail") co_return Aborted("asked to");
        CO_TRY(co_await stream.Write(Share(std::move(**message))));
      }
    });
    Serve([this](Exchange& e) -> Task<void> { return service_->Serve(e); });
    channel_ = std::make_unique<GrpcChannel>(loop_, Options(), GrpcLimits{.max_receive_bytes = 8 << 20});
  }
  void TearDown() override {
    RunTask(loop_, [](GrpcTest* t) -> Task<void> {
      t->channel_.reset();
      co_return;
    }(this));
    EngineTest::TearDown();
  }
  std::unique_ptr<GrpcService> service_;
  std::unique_ptr<GrpcChannel> channel_;
  Status chat_end_;
};

INSTANTIATE_TEST_SUITE_P(Wires, GrpcTest, ::testing::Values(Wire::kHttp2, Wire::kTls2, Wire::kUnix2), NameOf);

TEST_P(GrpcTest, Unary) {
  ServeGrpc();
  RunTask(loop_, [](Loop& loop, GrpcChannel& channel) -> Task<void> {
    Headers metadata;
    metadata.Add("x-suffix", "!");
    EXPECT_EQ((co_await channel.Unary(Context(), "/t.T/Echo", Share("hi"), metadata)).value_or("?"), "hi!");
    EXPECT_EQ((co_await channel.Unary(Context(), "/t.T/Echo", Share(""))).value_or("?"), "");
    std::string big(900000, 'b');
    EXPECT_EQ((co_await channel.Unary(Context(), "/t.T/Echo", Share(big))).value_or("?"), big);
    auto failed = co_await channel.Unary(Context(), "/t.T/Echo", Share("fail"));
    EXPECT_EQ(failed.error(), NotFound("no such thing: 100% \xc3\xa9\n"));
    auto unknown = co_await channel.Unary(Context(), "/t.T/Nope", Share("x"));
    EXPECT_EQ(unknown.error(), Unimplemented("unknown method Nope for service t.T"));
    unknown = co_await channel.Unary(Context(), "/u.U/Nope", Share("x"));
    EXPECT_EQ(unknown.error(), Unimplemented("unknown service u.U"));
    auto large = co_await channel.Unary(Context(), "/t.T/Echo", Share(std::string(2 << 20, 'x')));
    EXPECT_EQ(large.error(), ResourceExhausted("grpc: received message larger than max (2097152 vs. 1048576)"));
    auto late = co_await channel.Unary(Context().WithTimeout(loop, milliseconds(30)), "/t.T/Echo", Share("sleep"));
    EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
  }(loop_, *channel_));
}

TEST_P(GrpcTest, Streams) {
  ServeGrpc();
  RunTask(loop_, [](Loop& loop, GrpcChannel& channel, Status& chat_end) -> Task<void> {
    auto stream = co_await channel.Open(Context(), "/t.T/Chat");
    EXPECT_TRUE(stream.has_value());
    for (int i = 0; i < 100; ++i) {
      std::string text = "message " + std::to_string(i) + std::string(static_cast<size_t>(i) * 500, '.');
      EXPECT_TRUE((co_await (*stream)->Write(Context(), Share(text))).ok());
      auto back = co_await (*stream)->Read(Context());
      EXPECT_EQ(back->value_or("?"), text);
    }
    (void)co_await (*stream)->CloseWrite(Context());
    auto end = co_await (*stream)->Read(Context());
    EXPECT_TRUE(end.has_value() && !end->has_value());

    auto failing = co_await channel.Open(Context(), "/t.T/Chat");
    (void)co_await (*failing)->Write(Context(), Share("fail"));
    auto failed = co_await (*failing)->Read(Context());
    EXPECT_EQ(failed.error(), Aborted("asked to"));

    Context ctx = Context().WithCancel();
    auto cancelled = co_await channel.Open(ctx, "/t.T/Chat");
    (void)co_await (*cancelled)->Write(Context(), Share("x"));
    (void)co_await (*cancelled)->Read(Context());
    ctx.Cancel();
    auto after = co_await (*cancelled)->Read(Context());
    EXPECT_EQ(after.error().code(), Code::kCancelled);
    for (int i = 0; i < 500 && chat_end.ok(); ++i) (void)co_await Sleep(loop, Context(), milliseconds(2));
    EXPECT_EQ(chat_end.code(), Code::kCancelled);
  }(loop_, *channel_, chat_end_));
}

TEST_P(GrpcTest, InterceptorAndReconnect) {
  ServeGrpc();
  service_->SetInterceptor([](const std::string& method, const GrpcCall& call) -> Task<Status> {
    if (!call.headers.Has("authorization")) co_return Unauthenticated("who are you");
    co_return Ok();
  });
  RunTask(loop_, [](Loop& loop, GrpcTest* t, GrpcChannel& channel) -> Task<void> {
    auto refused = co_await channel.Unary(Context(), "/t.T/Echo", Share("x"));
    EXPECT_EQ(refused.error(), Unauthenticated("who are you"));
    Headers metadata;
    metadata.Add("authorization", "Bearer x");
    EXPECT_TRUE((co_await channel.Unary(Context(), "/t.T/Echo", Share("x"), metadata)).has_value());
  }(loop_, this, *channel_));
  // The server goes away and comes back at the same address.
  std::string address = address_;
  RunTask(loop_, [](Server& server) -> Task<void> { co_await server.Stop(milliseconds(10)); }(*server_));
  RunTask(loop_, [](GrpcChannel& channel) -> Task<void> {
    auto down = co_await channel.Unary(Context(), "/t.T/Echo", Share("x"));
    EXPECT_EQ(down.error().code(), Code::kUnavailable);
  }(*channel_));
  server_ = std::make_unique<Server>(std::vector<Loop*>{&loop_},
                                     [this](Exchange& e) -> Task<void> { return service_->Serve(e); });
  std::shared_ptr<ServerTls> tls;
  if (this->tls()) tls = *ServerTls::FromFiles(Pki().Files("server"));
  ASSERT_TRUE(server_->Listen(address, tls).has_value());
  RunTask(loop_, [](Loop& loop, GrpcChannel& channel) -> Task<void> {
    Headers metadata;
    metadata.Add("authorization", "Bearer x");
    Result<std::string> up = Err(Ok());
    for (int i = 0; i < 100 && !up; ++i) {
      up = co_await channel.Unary(Context(), "/t.T/Echo", Share("x"), metadata);
      if (!up) (void)co_await Sleep(loop, Context(), milliseconds(20));
    }
    EXPECT_TRUE(up.has_value());
  }(loop_, *channel_));
}

TEST(Tls, RefusesStrangersAndWrongNames) {
  TestPki other;
  other.Issue("client");
  Loop loop;
  TlsFiles files = Pki().Files("server");
  files.client_auth = TlsFiles::ClientAuth::kRequireAndVerify;
  Server server({&loop}, EchoHandler);
  std::string address = *server.Listen("127.0.0.1:0", *ServerTls::FromFiles(files));
  auto attempt = [&](TlsFiles client_files) {
    Status out;
    RunTask(loop, [](Loop& loop, std::string address, TlsFiles files, Status& out) -> Task<void> {
      ClientOptions o;
      o.endpoints = {"https://" + address};
      o.tls = *ClientTls::FromFiles(files);
      Client client(loop, o);
      auto response = co_await client.Do(Context(), {.path = "/"});
      out = response ? Ok() : response.error();
    }(loop, address, client_files, out));
    return out;
  };
  EXPECT_TRUE(attempt(Pki().Files("client")).ok());
  EXPECT_FALSE(attempt(Pki().Files("")).ok()) << "no certificate";
  TlsFiles stranger = Pki().Files("client");
  stranger.cert_file = other.Path("client.crt");
  stranger.key_file = other.Path("client.key");
  EXPECT_FALSE(attempt(stranger).ok()) << "another authority's certificate";
  TlsFiles wrong = Pki().Files("client");
  wrong.server_name = "elsewhere.example";
  EXPECT_THAT(attempt(wrong).ToString(), HasSubstr("hostname mismatch"));
  wrong.skip_verify = true;
  EXPECT_TRUE(attempt(wrong).ok());
  TlsFiles distrusting = Pki().Files("client");
  distrusting.ca_file = other.Path("ca.crt");
  EXPECT_THAT(attempt(distrusting).ToString(), HasSubstr("certificate verify failed"));
  RunTask(loop, server.Stop(seconds(1)));
}

TEST(Tls, CertificatesAreReadAgain) {
  TestPki pki;
  pki.Issue("server");
  Loop loop;
  Server server({&loop}, EchoHandler);
  std::string address = *server.Listen("127.0.0.1:0", *ServerTls::FromFiles(pki.Files("server")));
  TlsFiles files = pki.Files("");
  auto ask = [&] {
    bool good = false;
    RunTask(loop, [](Loop& loop, std::string address, TlsFiles files, bool& good) -> Task<void> {
      ClientOptions o;
      o.endpoints = {"https://" + address};
      o.tls = *ClientTls::FromFiles(files);
      Client client(loop, o);
      auto r = co_await client.Do(Context(), {.path = "/"});
      good = r.has_value();
    }(loop, address, files, good));
    return good;
  };
  EXPECT_TRUE(ask());
  TestPki fresh;
  fresh.Issue("server");
  for (auto file : {"server.crt", "server.key", "ca.crt"})
    std::filesystem::copy_file(fresh.Path(file), pki.Path(file), std::filesystem::copy_options::overwrite_existing);
  std::this_thread::sleep_for(milliseconds(1100));
  EXPECT_TRUE(ask()) << "the new authority verifies what the server shows now";
  EXPECT_FALSE(ServerTls::FromFiles(pki.Files("nobody")).has_value());
  RunTask(loop, server.Stop(seconds(1)));
}

TEST(Server, SpreadsConnectionsOverLoops) {
  LoopThreads threads("net-test", 3);
  std::mutex mutex;
  std::map<std::thread::id, int> by_thread;
  auto server = std::make_unique<Server>(threads.loops(), [&](Exchange& e) -> Task<void> {
    {
      std::lock_guard lock(mutex);
      ++by_thread[std::this_thread::get_id()];
    }
    return EchoHandler(e);
  });
  std::string address;
  Loop loop;
  RunTask(loop, [](Loop& home, Loop& first, Server& server, std::string& address) -> Task<void> {
    co_await ResumeOn(first);
    address = *server.Listen("127.0.0.1:0");
    co_await ResumeOn(home);
  }(loop, *threads.loops()[0], *server, address));
  RunTask(loop, [](Loop& loop, std::string address) -> Task<void> {
    for (int i = 0; i < 30; ++i) {
      ClientOptions o;
      o.endpoints = {"http://" + address};
      Client client(loop, o);
      auto r = co_await client.Do(Context(), {.path = "/"});
      EXPECT_TRUE(r.has_value());
    }
  }(loop, address));
  EXPECT_EQ(by_thread.size(), 3u);
  RunTask(loop, [](Loop& home, Loop& first, Server& server) -> Task<void> {
    co_await ResumeOn(first);
    co_await server.Stop(seconds(1));
    co_await ResumeOn(home);
  }(loop, *threads.loops()[0], *server));
}

}  // namespace
}  // namespace base::net
