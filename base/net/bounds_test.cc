// What a server holds for whom, and what it does about peers that ask for too much of it.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <latch>
#include <stdexcept>

#include "base/net/connection_book.h"
#include "base/net/grpc.h"
#include "base/net/grpc_wire.h"
#include "base/net/testing_peers.h"

namespace base::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

sockaddr_storage From(const char* text) {
  sockaddr_storage out{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(out);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
  if (::inet_pton(AF_INET, text, &v4.sin_addr) == 1)
    out.ss_family = AF_INET;
  else if (::inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
    out.ss_family = AF_INET6;
  else
    out.ss_family = AF_UNIX;
  return out;
}

TEST(ConnectionBook, StrangersShareWhatIsNotKept) {
  auto book = std::make_shared<ConnectionBook>(10, 3, 4);
  std::vector<ConnectionBook::Place> places;
  auto enter = [&](const char* from, bool tls = false) {
    auto place = book->Enter(From(from), tls);
    if (place) places.push_back(std::move(*place));
    return place.has_value();
  };
  EXPECT_TRUE(enter("10.0.0.1") && enter("10.0.0.1") && enter("10.0.0.1"));
  EXPECT_FALSE(enter("10.0.0.1")) << "three from one address";
  EXPECT_FALSE(enter("::ffff:10.0.0.1")) << "which is the same address";
  EXPECT_TRUE(enter("2001:db8::1") && enter("2001:db8::2") && enter("2001:db8::3"));
  EXPECT_FALSE(enter("2001:db8::4")) << "three from one network";
  EXPECT_FALSE(enter("10.0.0.2")) << "six strangers in all";
  EXPECT_TRUE(enter("127.0.0.1") && enter("::1") && enter("unix")) << "the machine itself";
  EXPECT_TRUE(enter("10.0.0.3", true)) << "may still show who it is";
  EXPECT_TRUE(places.back().Unwelcome());
  places.back().Identified();
  EXPECT_FALSE(places.back().Unwelcome());
  EXPECT_FALSE(enter("127.0.0.1")) << "ten in all";
  places.erase(places.begin());
  EXPECT_TRUE(enter("10.0.0.1"));
  places.clear();
  EXPECT_EQ(book->size(), 0u);
}

TEST(Headers, FitCutsLongValuesThenDrops) {
  Headers h;
  h.Add("grpc-status", "3");
  h.Add("grpc-message", std::string(5000, 'm'));
  h.Add("grpc-status-details-bin", std::string(5000, 'd'));
  Headers short_enough = h;
  short_enough.Fit(20000);
  EXPECT_EQ(short_enough.Get("grpc-message").size(), 5000u);
  h.Fit(4000);
  EXPECT_EQ(h.Get("grpc-status"), "3");
  EXPECT_EQ(h.Get("grpc-message").size(), 1024u);
  EXPECT_FALSE(h.Has("grpc-status-details-bin")) << "half of it would be rubbish";
  Headers many;
  for (int i = 0; i < 100; ++i) many.Add("warning", std::string(500, 'w'));
  many.Fit(4000);
  EXPECT_EQ(many.fields().size(), 7u);
}

ServerLimits Narrow() {
  ServerLimits l;
  l.max_header_bytes = 8 << 10;
  l.unread_bytes = 1 << 20;
  l.max_resets_per_connection = 100;
  l.header_timeout = seconds(1);
  l.http2_idle_timeout = seconds(1);
  l.body_grace = seconds(1);
  l.min_body_rate = 1 << 20;
  l.write_stall_timeout = seconds(2);
  return l;
}

// /all reads the whole body, /throw throws, /head answers with a head too long; gRPC: /t.T/Echo, /t.T/Throw.
class BoundsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    thread_ = std::thread([this] {
      Grpc();
      server_ =
          std::make_unique<Server>(std::vector<Loop*>{&loop_}, [this](Exchange& e) { return Handle(e); }, Narrow());
      address_ = *server_->Listen("127.0.0.1:0");
      ready_.count_down();
      loop_.Run();
      server_.reset();
    });
    ready_.wait();
  }
  void TearDown() override {
    RawPeer peer(address_);
    EXPECT_TRUE(peer.Send("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    EXPECT_THAT(peer.ReceiveAll(), HasSubstr("hello"));
    Spawn(loop_, server_->Stop(milliseconds(100)), [this] { loop_.Stop(); });
    thread_.join();
  }
  void Grpc() {
    grpc_.Unary("/t.T/Echo", [](const GrpcCall&, std::string m) -> Task<Result<std::string>> { co_return m; });
    grpc_.Unary("/t.T/Throw", [](const GrpcCall&, std::string) -> Task<Result<std::string>> {
      throw std::runtime_error("a library's");
      co_return "";
    });
    grpc_.Unary("/t.T/Fail", [](const GrpcCall&, std::string) -> Task<Result<std::string>> {
      co_return Err(InvalidArgument(std::string(200'000, 'x')));
    });
    grpc_.encode_details = [](const Status&, size_t) { return std::string(200'000, 'd'); };
    grpc_.SetInterceptor([](const std::string&, GrpcCall& call) -> Task<Status> {
      if (call.headers.Has("stranger")) co_return Unauthenticated("who are you");
      co_return Ok();
    });
  }
  Task<void> Handle(Exchange& e) {
    if (GrpcService::Accepts(e)) co_return co_await grpc_.Serve(e);
    if (e.path() == "/throw") throw std::runtime_error("a library's");
    if (e.path() == "/late") {
      (void)co_await Sleep(e.executor(), e.context(), milliseconds(1));
      throw std::runtime_error("a library's");
    }
    if (e.path() == "/all") {
      auto body = co_await e.ReadAll(e.context(), 64 << 20);
      (void)co_await e.Respond(body ? 200 : HttpStatusOf(body.error().code()), {}, std::string("end"));
    } else if (e.path() == "/wait") {
      (void)co_await Sleep(e.executor(), e.context(), seconds(30));
    } else if (e.path() == "/head") {
      Headers headers;
      for (int i = 0; i < 100; ++i) headers.Add("warning", std::string(2000, 'w'));
      headers.Add("x-lines", "a\r\nx-smuggled: b");
      (void)co_await e.Respond(200, std::move(headers), std::string("end"));
    } else {
      (void)co_await e.Respond(200, {}, std::string("hello"));
    }
  }

  Loop loop_;
  GrpcService grpc_{{.max_receive_bytes = 32 << 20}};
  std::unique_ptr<Server> server_;
  std::string address_;
  std::latch ready_{1};
  std::thread thread_;
};

std::string Ask(const std::string& address, std::string_view bytes) {
  RawPeer peer(address);
  peer.Send(bytes);
  return peer.ReceiveAll();
}
std::string Get(const std::string& address, const std::string& path) {
  return Ask(address, "GET " + path + " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
}

TEST_F(BoundsTest, ARequestThatThrowsIsAnswered) {
  EXPECT_THAT(Get(address_, "/throw"), StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(Get(address_, "/late"), StartsWith("HTTP/1.1 500"));
}

TEST_F(BoundsTest, AHeadThatIsTooLongIsCut) {
  std::string answer = Get(address_, "/head");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_LT(answer.size(), 50u << 10);
  EXPECT_THAT(answer, Not(HasSubstr("\nx-smuggled")));
}

TEST_F(BoundsTest, UnreadBodiesHaveOneBound) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  std::string part(200 << 10, 'b');
  for (int i = 0; i < 8; ++i) {
    peers.push_back(std::make_unique<RawPeer>(address_));
    peers.back()->Send("POST /all HTTP/1.1\r\nhost: x\r\ncontent-length: 400000\r\n\r\n");
    peers.back()->Send(part);
    std::this_thread::sleep_for(milliseconds(20));
  }
  EXPECT_THAT(peers.back()->Receive(), StartsWith("HTTP/1.1 503")) << "1 MiB of them is enough";
  peers.clear();
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_THAT(Ask(address_, "POST /all HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 300000\r\n\r\n" +
                                std::string(300'000, 'b')),
              StartsWith("HTTP/1.1 200"))
      << "what they held is free again";
}

TEST_F(BoundsTest, ABodyThatTricklesIsGivenUp) {
  RawPeer peer(address_);
  peer.Send("POST /all HTTP/1.1\r\nhost: x\r\ncontent-length: 400000\r\n\r\n");
  auto began = std::chrono::steady_clock::now();
  std::thread trickle([&] {
    for (int i = 0; i < 60; ++i) {
      if (!peer.Send("b")) break;
      std::this_thread::sleep_for(milliseconds(50));
    }
  });
  EXPECT_THAT(peer.Receive(), StartsWith("HTTP/1.1 504"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, seconds(3));
  trickle.join();
}

// ---- HTTP/2 --------------------------------------------------------------------------------------------------------

std::string Literal(std::string_view name, std::string_view value) {
  std::string out(1, '\0');
  out.push_back(static_cast<char>(name.size()));
  out.append(name);
  out.push_back(static_cast<char>(value.size()));
  return out.append(value);
}
// HPACK: indexed :method POST, :scheme http, literal :path, :authority.
std::string Head(std::string_view path, bool grpc = false) {
  std::string out = "\x83\x86\x04";
  out.push_back(static_cast<char>(path.size()));
  out.append(path).append("\x01\x01x");
  if (grpc) out += Literal("content-type", "application/grpc") + Literal("te", "trailers");
  return out;
}
// GOAWAY with ENHANCE_YOUR_CALM stands in what came.
bool Calmed(const std::string& answer) {
  size_t at = answer.find(std::string("\0\0\x08\x07\0\0\0\0\0", 9));
  return at != std::string::npos && answer.substr(at + 13, 4) == std::string("\0\0\0\x0b", 4);
}

TEST_F(BoundsTest, FloodsAreCalmed) {
  std::string settings = std::string(kPreface) + Settings(), empty = settings, pings = settings, priorities = settings;
  empty += Frame(1, 4, 1, Head("/wait"));
  std::string mistakes = settings;
  for (uint32_t i = 0; i < 3000; ++i) {
    settings += Settings();
    empty += Frame(0, 0, 1, "");
    priorities += Frame(2, 0, 2 * i + 1, std::string("\0\0\0\0\x10", 5));
    mistakes += Frame(1, 5, 2 * i + 1, Head(""));  // an empty path: reset by us
  }
  for (const std::string& flood : {empty, priorities, mistakes}) {
    RawPeer peer(address_);
    peer.Send(flood);
    EXPECT_TRUE(Calmed(peer.ReceiveAll())) << flood.size();
  }
  RawPeer peer(address_);
  peer.Send(settings);
  EXPECT_TRUE(peer.Closed()) << "the library's own bound";
}

TEST_F(BoundsTest, WhoReadsNothingIsNotReadEither) {
  RawPeer peer(address_);
  peer.Send(std::string(kPreface) + Settings());
  timeval limit{0, 200000};
  ::setsockopt(peer.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  std::string pings;
  while (pings.size() < (64 << 20)) pings += Frame(6, 0, 0, "12345678");
  size_t before = ResidentKiB();
  (void)peer.Send(pings);
#if !__has_feature(address_sanitizer)
  EXPECT_LT(ResidentKiB() - std::min(before, ResidentKiB()), 16u << 10);
#endif
}

TEST_F(BoundsTest, AHeadWithoutEndIsNotWaitedFor) {
  RawPeer peer(address_);
  peer.Send(std::string(kPreface) + Settings() + Frame(1, 0, 1, Head("/hello")));
  auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(peer.Closed());
  EXPECT_LT(std::chrono::steady_clock::now() - began, seconds(4));
  // Continuations for ever, empty and not.
  for (const std::string& more : {std::string(), Literal("a", std::string(100, 'a'))}) {
    RawPeer endless(address_);
    std::string bytes = std::string(kPreface) + Settings() + Frame(1, 0, 1, Head("/hello"));
    for (int i = 0; i < 20'000; ++i) bytes += Frame(9, 0, 1, more);
    endless.Send(bytes);
    EXPECT_TRUE(endless.Closed());
  }
}

TEST_F(BoundsTest, IdlePeersAreLetGoAndBusyOnesAreNot) {
  RawPeer idle(address_), busy(address_);
  idle.Send(std::string(kPreface) + Settings());
  busy.Send(std::string(kPreface) + Settings() + Frame(1, 5, 1, Head("/wait")));
  std::string last = idle.ReceiveAll();
  EXPECT_THAT(last, HasSubstr(std::string("\0\0\x08\x07", 4))) << "GOAWAY, then the end";
  std::this_thread::sleep_for(seconds(2));
  busy.Send(Frame(6, 0, 0, "12345678"));
  EXPECT_THAT(busy.Receive() + busy.Receive(), HasSubstr("12345678")) << "a stream is open";
}

TEST_F(BoundsTest, NothingIsReadOfStrangersCalls) {
  RawPeer peer(address_);
  std::string bytes = std::string(kPreface) + Settings();
  bytes += Frame(1, 4, 1, Head("/t.T/Echo", true) + Literal("stranger", "1"));
  peer.Send(bytes);
  std::string answer;
  const std::string head("\x01\x05\0\0\0\x01", 6);  // HEADERS that end stream 1
  for (int i = 0; i < 5 && answer.find(head) == answer.npos; ++i) answer += peer.Receive();
  EXPECT_THAT(answer, HasSubstr(head)) << "answered while the body is still to come";
}

TEST_F(BoundsTest, GrpcCallsThatThrowOrFailAtLengthGetTheirStatus) {
  Loop loop;
  GrpcChannel channel(loop, {.endpoints = {"http://" + address_}, .http2_prior_knowledge = true});
  RunTask(loop, [](GrpcChannel& channel) -> Task<void> {
    auto thrown = co_await channel.Unary(Context(), "/t.T/Throw", Share("x"));
    EXPECT_EQ(thrown.error().code(), Code::kInternal);
    auto failed = co_await channel.Unary(Context(), "/t.T/Fail", Share("x"));
    EXPECT_EQ(failed.error().code(), Code::kInvalidArgument);
    EXPECT_EQ(failed.error().message().size(), 2048u);
    auto echo = co_await channel.Unary(Context(), "/t.T/Echo", Share("x"));
    EXPECT_EQ(echo.value_or("?"), "x");
    auto stranger = co_await channel.Unary(Context(), "/t.T/Echo", Share("x"), [] {
      Headers h;
      h.Add("stranger", "1");
      return h;
    }());
    EXPECT_EQ(stranger.error().code(), Code::kUnauthenticated);
  }(channel));
}

TEST_F(BoundsTest, UnaryMessagesAreBoundedWhileTheyGrow) {
  Loop loop;
  GrpcChannel channel(loop, {.endpoints = {"http://" + address_}, .http2_prior_knowledge = true});
  RunTask(loop, [](GrpcChannel& channel) -> Task<void> {
    auto large = co_await channel.Unary(Context(), "/t.T/Echo", Share(std::string(8 << 20, 'x')));
    EXPECT_EQ(large.error().code(), Code::kUnavailable) << "more than 1 MiB unread";
    auto good = co_await channel.Unary(Context(), "/t.T/Echo", Share(std::string(400'000, 'x')));
    EXPECT_TRUE(good.has_value());
  }(channel));
}

TEST(GrpcWire, WhatIsAnnouncedTakesNoMemoryAndMoreThanOneMessageIsSeen) {
  GrpcMessageReader reader(64 << 20);
  reader.Feed(GrpcPrefix(50 << 20));
  EXPECT_FALSE(reader.Next()->has_value());
  EXPECT_FALSE(reader.HasMore());
  GrpcMessageReader two(100);
  two.Feed(GrpcPrefix(2) + "ab");
  EXPECT_FALSE(two.HasMore());
  two.Feed("c");
  EXPECT_TRUE(two.HasMore());
}

}  // namespace
}  // namespace base::net
