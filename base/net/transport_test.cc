#include "base/net/transport.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>
#include <new>

#include "base/net/testing_peers.h"

namespace base::net {
namespace {

struct Reader final : TransportUser {
  Transport* transport = nullptr;
  std::string got;
  void OnConnected() override {}
  void OnReadable() override {
    Transport::ReadResult r;
    while ((r = transport->Read(ReadBuffer(), kReadBufferBytes)).end == Transport::ReadEnd::kData)
      got.append(ReadBuffer(), r.size);
  }
  void OnFill() override {}
  void OnFailed(const Status& why) override { ADD_FAILURE() << why.ToString(); }
};

// The client's last words of the handshake and its request arrive together, after the kernel has reported room to write
// and before the handshake reads: OpenSSL takes both, and the kernel has nothing left to report.
TEST(TransportTest, WhatCameWithTheEndOfTheHandshakeIsRead) {
  TestPki pki;
  pki.Issue("localhost");
  auto tls = ServerTls::FromFiles(pki.Files("localhost"));
  ASSERT_TRUE(tls.has_value()) << tls.error().ToString();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  for (int end : ends) ASSERT_EQ(::fcntl(end, F_SETFL, O_NONBLOCK), 0);
  Loop loop;
  Reader reader;
  Transport transport(loop, ends[0], NewServerSsl(**tls, ends[0]), reader);
  reader.transport = &transport;
  ASSERT_TRUE(transport.Start(false).ok());
  auto tell = [&](uint32_t events) { static_cast<FdHandler&>(transport).OnEvents(events); };

  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL* client = SSL_new(context);
  SSL_set_fd(client, ends[1]);
  EXPECT_EQ(SSL_get_error(client, SSL_connect(client)), SSL_ERROR_WANT_READ);  // its hello is out
  tell(EPOLLIN | EPOLLOUT);
  EXPECT_EQ(SSL_connect(client), 1);
  EXPECT_EQ(SSL_write(client, "hello", 5), 5);
  EXPECT_TRUE(transport.handshaking());
  tell(EPOLLOUT);
  EXPECT_FALSE(transport.handshaking());
  EXPECT_EQ(reader.got, "hello");
  SSL_free(client);
  SSL_CTX_free(context);
  ::close(ends[1]);
}

// A writer that has not heard of the failure yet ends its half, and goes.
TEST(TransportTest, DiesThoughItIsToHaveATurn) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  Loop loop;
  Reader reader;
  alignas(Transport) unsigned char place[sizeof(Transport)];
  auto* transport = new (place) Transport(loop, ends[0], nullptr, reader);
  ASSERT_TRUE(transport->Start(false).ok());
  loop.Post([&] {
    transport->Close();
    transport->ShutdownAfterFlush();
    transport->~Transport();
    std::memset(place, 0, sizeof place);  // a turn now would be a jump to nowhere
    loop.After(std::chrono::milliseconds(1), [&] { loop.Stop(); });
  });
  loop.Run();
  ::close(ends[1]);
}

}  // namespace
}  // namespace base::net
