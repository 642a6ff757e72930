// Peers that are slow, half-open, oversized, malformed or hasty: each gets an error or is dropped, and none makes the
// server grow.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <nghttp2/nghttp2.h>

#include <condition_variable>
#include <latch>

#include "base/net/testing_peers.h"
#include "base/random.h"

namespace base::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

ServerLimits ShortLimits() {
  ServerLimits l;
  l.max_header_bytes = 8 << 10;
  l.write_buffer = 64 << 10;
  l.max_connections = 400;
  l.max_resets_per_connection = 100;
  l.header_timeout = seconds(1);
  l.idle_timeout = seconds(1);
  l.ping_interval = seconds(1);
  l.write_stall_timeout = seconds(1);
  return l;
}

// A server on a thread of its own: /hello, /sink (reads all), /big (1 GiB), anything else 404.
class HostileTest : public ::testing::Test {
 protected:
  void SetUp() override { Begin(ShortLimits()); }
  void Begin(ServerLimits limits, std::shared_ptr<ServerTls> tls = nullptr) {
    thread_ = std::thread([this, limits, tls] {
      server_ = std::make_unique<Server>(std::vector<Loop*>{&loop_}, [this](Exchange& e) { return Handle(e); }, limits);
      address_ = *server_->Listen("127.0.0.1:0", tls);
      ready_.count_down();
      loop_.Run();
      server_.reset();
    });
    ready_.wait();
    malloc_trim(0);
    before_ = ResidentKiB();
  }
  void TearDown() override {
    // After all of it, the server still serves.
    RawPeer peer(address_);
    if (!tls_) {
      EXPECT_TRUE(peer.Send("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
      EXPECT_THAT(peer.ReceiveAll(), HasSubstr("hello"));
    }
    std::printf("  RSS grew by %ld KiB\n", static_cast<long>(ResidentKiB()) - static_cast<long>(before_));
    Spawn(loop_, server_->Stop(milliseconds(100)), [this] { loop_.Stop(); });
    thread_.join();
    EXPECT_EQ(running_, 0);
  }
  Task<void> Handle(Exchange& e) {
    ++running_;
    if (e.path() == "/hello") {
      (void)co_await e.Respond(200, {}, std::string("hello"));
    } else if (e.path() == "/sink") {
      for (;;) {
        auto piece = co_await e.ReadBody(e.context());
        if (!piece || piece->empty()) break;
      }
      (void)co_await e.Respond(200, {}, std::string("sunk"));
    } else if (e.path() == "/big") {
      static const SharedBytes block = Share(std::string(64 << 10, 'x'));
      (void)co_await e.StartResponse(200, {});
      for (int i = 0; i < 16384; ++i) {
        if (!(co_await e.Write(block)).ok()) break;
        max_unsent_ = std::max(max_unsent_.load(), e.unsent_bytes());
      }
      (void)co_await e.Finish();
    } else if (e.path() == "/ignore") {
      (void)co_await Sleep(e.executor(), e.context(), seconds(5));
    } else {
      (void)co_await e.Respond(404, {}, std::string("none"));
    }
    --running_;
  }
  // KiB; 0 under the address sanitizer, whose quarantine keeps what was freed.
  size_t Grown() const {
#if __has_feature(address_sanitizer)
    return 0;
#endif
    size_t now = ResidentKiB();
    return now > before_ ? now - before_ : 0;
  }

  Loop loop_;
  std::unique_ptr<Server> server_;
  std::string address_;
  std::latch ready_{1};
  std::thread thread_;
  size_t before_ = 0;
  bool tls_ = false;
  std::atomic<int> running_ = 0;
  std::atomic<size_t> max_unsent_ = 0;
};

std::string Ask(const std::string& address, std::string_view bytes) {
  RawPeer peer(address);
  peer.Send(bytes);
  peer.ShutdownWrite();
  return peer.ReceiveAll();
}

TEST_F(HostileTest, MalformedHttp1GetsAnError) {
  const std::pair<const char*, const char*> kCases[] = {
      {"GET / HTTP/1.1\r\n\r\n", "400"},                        // no Host
      {"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400"},  // two of them
      {"GET  / HTTP/1.1\r\nhost: a\r\n\r\n", "400"},            // two spaces
      {"GET / HTTP/3.1\r\nhost: a\r\n\r\n", "505"},             //
      {"G@T / HTTP/1.1\r\nhost: a\r\n\r\n", "400"},             //
      {"GET / HTTP/1.1\r\nhost : a\r\n\r\n", "400"},            // space before the colon
      {"GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", "400"},  //
      {"GET / HTTP/1.1\r\nhost: a\rb\r\n\r\n", "400"},          // bare CR
      {"GET / HTTP/1.1\r\nhost: a\x01\r\n\r\n", "400"},         //
      {"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", "400"},
      {"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
      {"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"hello\r\n\r\n", "400"},
      {"\x16\x03\x01\x02\r\n\r\n", "400"},  // a TLS hello to a plain port
  };
  for (auto [request, status] : kCases)
    EXPECT_THAT(Ask(address_, request), StartsWith(std::string("HTTP/1.1 ") + status)) << request;
}

TEST_F(HostileTest, OversizedHeads) {
  EXPECT_THAT(Ask(address_, "GET / HTTP/1.1\r\nhost: x\r\na: " + std::string(20000, 'a') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(Ask(address_, "GET /" + std::string(20000, 'a') + " HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 431"));
  std::string many = "GET / HTTP/1.1\r\nhost: x\r\n";
  for (int i = 0; i < 2000; ++i) many += "h" + std::to_string(i) + ": v\r\n";
  EXPECT_THAT(Ask(address_, many + "\r\n"), StartsWith("HTTP/1.1 431"));
  // Endless trailers and chunk lines.
  std::string trailers = "POST /sink HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
  for (int i = 0; i < 2000; ++i) trailers += "h" + std::to_string(i) + ": v\r\n";
  EXPECT_EQ(Ask(address_, trailers + "\r\n"), "") << "broken off";
  EXPECT_EQ(Ask(address_, "POST /sink HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5;" +
                              std::string(10000, 'e') + "\r\nhello\r\n0\r\n\r\n"),
            "");
  EXPECT_EQ(Ask(address_, "POST /sink HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), "");
  EXPECT_EQ(Ask(address_, "POST /sink HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n"), "");
}

TEST_F(HostileTest, SlowlorisIsCutOff) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 200; ++i) {
    peers.push_back(std::make_unique<RawPeer>(address_));
    peers.back()->Send("GET / HTTP/1.1\r\nhost: x\r\n");
  }
  auto began = std::chrono::steady_clock::now();
  while (server_->connections() > 0 && std::chrono::steady_clock::now() - began < seconds(10)) {
    for (auto& p : peers) p->Send("a: b\r\n");
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, seconds(6));
  EXPECT_LT(Grown(), 8u << 10);
}

TEST_F(HostileTest, SilentAndHalfOpenPeersAreDropped) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 100; ++i) peers.push_back(std::make_unique<RawPeer>(address_));
  for (int i = 0; i < 100; ++i) {
    peers.push_back(std::make_unique<RawPeer>(address_));
    peers.back()->Send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n");  // then idle
  }
  for (int i = 0; i < 100; ++i) {
    peers.push_back(std::make_unique<RawPeer>(address_));
    peers.back()->Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");  // no SETTINGS
  }
  auto began = std::chrono::steady_clock::now();
  while (server_->connections() > 0 && std::chrono::steady_clock::now() - began < seconds(10))
    std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(HostileTest, ReaderThatNeverReads) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 50; ++i) {
    peers.push_back(std::make_unique<RawPeer>(address_));
    peers.back()->Send("GET /big HTTP/1.1\r\nhost: x\r\n\r\n");
  }
  std::this_thread::sleep_for(milliseconds(500));
  // Blocks are shared, so what a stalled reader costs is their bookkeeping.
  EXPECT_LT(Grown(), 16u << 10);
  EXPECT_LE(max_unsent_, (64u << 10) + (64 << 10) + 100);
  auto began = std::chrono::steady_clock::now();
  while (running_ > 0 && std::chrono::steady_clock::now() - began < seconds(10))
    std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(running_, 0) << "the stall time-out ends them";
}

TEST_F(HostileTest, ConnectionLimit) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 600; ++i) peers.push_back(std::make_unique<RawPeer>(address_));
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_LE(server_->connections(), 400u);
  peers.clear();
  auto began = std::chrono::steady_clock::now();
  while (server_->connections() > 0 && std::chrono::steady_clock::now() - began < seconds(5))
    std::this_thread::sleep_for(milliseconds(20));
}

TEST_F(HostileTest, PipelinedRequestsAreAnsweredInOrder) {
  std::string requests;
  for (int i = 0; i < 1000; ++i)
    requests += i % 2 ? "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n"
                      : "POST /sink HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody";
  requests += "GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
  RawPeer peer(address_);
  ASSERT_TRUE(peer.Send(requests));
  std::string all = peer.ReceiveAll(10 << 20);
  size_t hellos = 0, sinks = 0;
  for (size_t at = 0; (at = all.find("\r\n\r\nhello", at)) != std::string::npos; ++at) ++hellos;
  for (size_t at = 0; (at = all.find("\r\n\r\nsunk", at)) != std::string::npos; ++at) ++sinks;
  EXPECT_EQ(hellos, 501u);
  EXPECT_EQ(sinks, 500u);
}

TEST_F(HostileTest, PipeliningFloodIsBounded) {
  // The first request is never answered: what follows must stay in the socket.
  RawPeer peer(address_);
  ASSERT_TRUE(peer.Send("GET /ignore HTTP/1.1\r\nhost: x\r\n\r\n"));
  timeval limit{0, 200000};
  ::setsockopt(peer.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  std::string flood;
  while (flood.size() < (32 << 20)) flood += "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n";
  size_t before = Grown();
  EXPECT_FALSE(peer.Send(flood));
  EXPECT_LT(Grown() - std::min(before, Grown()), 4u << 10);
}

TEST_F(HostileTest, ExpectContinueAndChunkedErrors) {
  RawPeer peer(address_);
  peer.Send("POST /sink HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n");
  EXPECT_EQ(peer.Receive(), "HTTP/1.1 100 Continue\r\n\r\n");
  peer.Send("abc");
  EXPECT_THAT(peer.Receive(), HasSubstr("sunk"));
  peer.Send("POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n");
  std::string refused = peer.Receive();
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(refused, HasSubstr("connection: close"));
}

// ---- HTTP/2 --------------------------------------------------------------------------------------------------------

// HPACK: indexed :method GET, :scheme http, literal :path, :authority.
std::string Head(std::string_view path) {
  std::string out = "\x82\x86\x04";
  out.push_back(static_cast<char>(path.size()));
  out.append(path).append("\x01\x01x");
  return out;
}

TEST_F(HostileTest, MalformedHttp2EndsTheConnection) {
  const std::string kCases[] = {
      Frame(0, 0, 1, "data on an idle stream"),
      Frame(4, 0, 0, "bad"),                                                        // SETTINGS of 3 bytes
      Settings() + Frame(8, 0, 0, std::string(4, '\0')),                            // WINDOW_UPDATE of 0
      Settings() + Frame(6, 0, 0, "short"),                                         // PING
      Settings() + Frame(9, 4, 1, Head("/hello")),                                  // CONTINUATION from nowhere
      Settings() + Frame(1, 5, 2, Head("/hello")),                                  // an even stream
      Settings() + Frame(1, 5, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),  // HPACK rubbish
      Settings() + Frame(0, 0, 0, std::string(16384 + 1, 'x')),                     // too long
      std::string(1000, '\xff'),
  };
  for (const std::string& bytes : kCases) {
    RawPeer peer(address_);
    peer.Send(kPreface);
    peer.Send(bytes);
    EXPECT_TRUE(peer.Closed());
  }
  RawPeer wrong(address_);
  wrong.Send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
  EXPECT_THAT(wrong.ReceiveAll(), StartsWith("HTTP/1.1 "));
}

// What the server sends on one request of these fields, until `wanted` is in it or nothing more comes.
std::string AskHttp2(const std::string& address, std::string_view wanted, std::string_view fields,
                     std::string_view body_frames = {}) {
  RawPeer peer(address);
  std::string request = std::string(kPreface) + Settings();
  request += Frame(1, body_frames.empty() ? 5 : 4, 1, fields);
  peer.Send(request.append(body_frames));
  std::string answer;
  for (int i = 0; i < 5 && answer.find(wanted) == std::string::npos; ++i) answer += peer.Receive();
  return answer;
}

TEST_F(HostileTest, MalformedRequestsAreResetOneByOne) {
  using namespace std::string_literals;
  // :method GET, :scheme http, :path /hello, then :authority.
  const std::string head = "\x82\x86\x04\x06/hello"s;
  const std::string reset = "\0\0\4\3\0\0\0\0\1\0\0\0\1"s;  // RST_STREAM of stream 1, PROTOCOL_ERROR
  EXPECT_THAT(AskHttp2(address_, "hello", head + "\x01\x01x"s), HasSubstr("hello"));
  EXPECT_THAT(AskHttp2(address_, "hello", head), HasSubstr("hello")) << "authority may be missing";
  EXPECT_THAT(AskHttp2(address_, "hello", head + "\x01\x0dhttp://a:1/b?"s), HasSubstr("hello"))
      << "old gRPC clients send URLs";
  for (const std::string& bad : {
           "\x82\x86\x01\x01x"s,   // no :path
           "\x86\x04\x06/hello"s,  // no :method
           head + "\x82"s,         // :method twice
           head + "\x00\x01"
                  "a\x01"
                  "b\x01\x01x"s,  // :authority behind a regular field
           head + "\x00\x01"
                  "A\x01"
                  "b"s,  // upper case
           head + "\x00\x01"
                  "a\x02"
                  "b\n"s,  // a line end in a value
           head + "\x00\x0a"
                  "connection\x05"
                  "close"s,  // a field of connections
           head + "\x00\x05:evil\x01"
                  "b"s,                   // unknown pseudo field
           head + "\x00\x02te\x04gzip"s,  // te
       }) {
    EXPECT_THAT(AskHttp2(address_, reset, bad), HasSubstr(reset)) << bad;
  }
  const std::string five = head +
                           "\x00\x0e"
                           "content-length\x01"
                           "5"s;
  EXPECT_THAT(AskHttp2(address_, reset, five, Frame(0, 1, 1, "123")), HasSubstr(reset))
      << "a body shorter than it said";
}

TEST_F(HostileTest, RapidResetIsStopped) {
  RawPeer peer(address_);
  peer.Send(std::string(kPreface) + Settings());
  bool open = true;
  uint32_t id = 1;
  // More than the sockets' buffers take while the server has not had its turn.
  constexpr int kBatches = 4000;
  for (int batch = 0; batch < kBatches && open; ++batch) {
    std::string frames;
    for (int i = 0; i < 100; ++i, id += 2)
      frames += Frame(1, 5, id, Head("/ignore")) + Frame(3, 0, id, std::string("\0\0\0\x08", 4));
    open = peer.Send(frames);
  }
  EXPECT_TRUE(peer.Closed());
  EXPECT_LT(id, kBatches * 200u);
  EXPECT_LT(Grown(), 8u << 10);
}

TEST_F(HostileTest, PingAndSettingsFloodsAreStopped) {
  for (const std::string& one : {Frame(6, 0, 0, "12345678"), Settings()}) {
    RawPeer peer(address_);
    peer.Send(std::string(kPreface) + Settings());
    std::string flood;
    for (int i = 0; i < 20000; ++i) flood += one;
    // Nothing is read, so the answers pile up at the server.
    timeval limit{3, 0};
    ::setsockopt(peer.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    bool open = true;
    for (int i = 0; i < 200 && open; ++i) open = peer.Send(flood);
    EXPECT_FALSE(open);
    EXPECT_LT(Grown(), 8u << 10);
  }
}

TEST_F(HostileTest, HeaderBombIsBounded) {
  // One HPACK entry of 4000 bytes, referred to over and over: a small frame with much meaning.
  RawPeer peer(address_);
  std::string block = Head("/hello") + std::string("\x40\x01z\x7f", 4);
  block.push_back(static_cast<char>(0x80 | ((3900 - 127) & 0x7f)));
  block.push_back(static_cast<char>((3900 - 127) >> 7));
  block += std::string(3900, 'a');
  block += std::string(10000, '\xbe');
  peer.Send(std::string(kPreface) + Settings() + Frame(1, 5, 1, block));
  // nghttp2 gives up on such a block before our own limit has to.
  EXPECT_TRUE(peer.Closed());
  EXPECT_LT(Grown(), 4u << 10);
}

TEST_F(HostileTest, LargeHeadersGet431) {
  RawPeer peer(address_);
  std::string block = Head("/hello");
  for (int i = 0; i < 100; ++i) {
    block += std::string("\x40\x01z\x7f", 4);  // a new field of 201 bytes
    block.push_back(static_cast<char>(201 - 127));
    block += std::string(201, 'a');
  }
  // HEADERS (no END_HEADERS) and CONTINUATION.
  peer.Send(std::string(kPreface) + Settings() + Frame(1, 1, 1, block.substr(0, 16000)) +
            Frame(9, 4, 1, block.substr(16000)));
  std::string answer;
  // :status 431 is a literal: name index 8, three characters (Huffman or plain); its HEADERS frame must end the stream.
  for (int i = 0; i < 5 && answer.find(std::string("\x01\x05\0\0\0\x01", 6)) == std::string::npos; ++i)
    answer += peer.Receive();
  EXPECT_NE(answer.find(std::string("\x01\x05\0\0\0\x01", 6)), std::string::npos);
}

TEST_F(HostileTest, StreamsBeyondTheLimitAreRefused) {
  RawPeer peer(address_);
  std::string frames = std::string(kPreface) + Settings() + Frame(4, 1, 0, "");
  for (uint32_t id = 1; id < 2000; id += 2) frames += Frame(1, 5, id, Head("/ignore"));
  peer.Send(frames);
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LE(running_, 250);
}

TEST_F(HostileTest, Http2ReaderWithoutWindow) {
  // The peer grants no window at all and asks for much.
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 20; ++i) {
    peers.push_back(std::make_unique<RawPeer>(address_));
    std::string frames = std::string(kPreface) + Frame(4, 0, 0, std::string("\0\4\0\0\0\0", 6));
    for (uint32_t id = 1; id < 100; id += 2) frames += Frame(1, 5, id, Head("/big"));
    peers.back()->Send(frames);
  }
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_GT(running_, 0);
  EXPECT_LT(Grown(), 32u << 10);
  auto began = std::chrono::steady_clock::now();
  while (running_ > 0 && std::chrono::steady_clock::now() - began < seconds(8)) {
    for (auto& p : peers) p->Send(Frame(6, 0, 0, "12345678"));  // alive all the while
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(running_, 0);
}

TEST_F(HostileTest, RandomBytesAfterAnyBeginning) {
  Random random(11);
  for (int i = 0; i < 300; ++i) {
    std::string bytes;
    switch (random.Below(4)) {
      case 0:
        bytes = kPreface;
        break;
      case 1:
        bytes = std::string(kPreface) + Settings() + Frame(1, 4, 1, Head("/sink"));
        break;
      case 2:
        bytes = "POST /sink HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        break;
      default:
        break;
    }
    size_t n = random.Below(2000);
    for (size_t k = 0; k < n; ++k) bytes.push_back(static_cast<char>(random.Next()));
    RawPeer peer(address_);
    peer.Send(bytes);
    peer.ShutdownWrite();
  }
  EXPECT_LT(Grown(), 8u << 10);
}

class HostileTlsTest : public HostileTest {
 protected:
  void SetUp() override {
    tls_ = true;
    pki_.Issue("server");
    Begin(ShortLimits(), *ServerTls::FromFiles(pki_.Files("server")));
  }
  TestPki pki_;
};

TEST_F(HostileTlsTest, GarbageAndSilenceDuringTheHandshake) {
  Random random(5);
  {
    RawPeer plain(address_);
    plain.Send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    EXPECT_TRUE(plain.Closed());
  }
  std::vector<std::unique_ptr<RawPeer>> silent;
  for (int i = 0; i < 100; ++i) {
    silent.push_back(std::make_unique<RawPeer>(address_));
    if (i % 2) silent.back()->Send(std::string("\x16\x03\x01\x02\x00\x01", 6));
  }
  for (int i = 0; i < 200; ++i) {
    RawPeer peer(address_);
    std::string bytes = i % 2 ? std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) : "";
    for (int k = 0; k < 500; ++k) bytes.push_back(static_cast<char>(random.Next()));
    peer.Send(bytes);
  }
  auto began = std::chrono::steady_clock::now();
  while (server_->connections() > 0 && std::chrono::steady_clock::now() - began < seconds(8))
    std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(server_->connections(), 0u);
}

}  // namespace
}  // namespace base::net
