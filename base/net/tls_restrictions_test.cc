#include "base/net/tls_restrictions.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/file.h"
#include "base/log.h"
#include "base/net/self_signed.h"
#include "base/net/testing_peers.h"

namespace base::net {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// One handshake between a server and a client with these settings: "" when it worked, else what the server said of it.
std::string Shake(ServerTls& server_tls, const TlsFiles& client_files, int* version = nullptr) {
  auto client_tls = ClientTls::FromFiles(client_files);
  if (!client_tls) return client_tls.error().ToString();
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  SslPtr server = NewServerSsl(server_tls, ends[0]);
  SslPtr client = std::move(*NewClientSsl(**client_tls, ends[1], "localhost", {}));
  std::string failure;
  bool client_done = false, server_done = false;
  for (int round = 0; round < 10 && failure.empty() && !(client_done && server_done); ++round) {
    int r = SSL_do_handshake(client.get());
    client_done = r == 1;
    if (r != 1 && SSL_get_error(client.get(), r) != SSL_ERROR_WANT_READ)
      failure = "client: " + TlsErrorText(client.get());
    if (!failure.empty()) break;
    r = SSL_do_handshake(server.get());
    server_done = r == 1;
    if (r != 1 && SSL_get_error(server.get(), r) != SSL_ERROR_WANT_READ) {
      failure = TlsErrorText(server.get());
      LogRejection(server.get(), ends[0], failure);
    }
  }
  if (version != nullptr) *version = SSL_version(server.get());
  for (int end : ends) ::close(end);
  return failure;
}

class TlsRestrictionsTest : public ::testing::Test {
 protected:
  TlsRestrictionsTest() {
    pki_.Issue("server");
    pki_.Issue("alice", "", "DNS:alice.example.com,DNS:*.wild.example.com,IP:10.0.0.7");
    pki_.Issue("bob", "", "DNS:bob.example.com");
  }
  TlsFiles ServerFiles() {
    TlsFiles files = pki_.Files("server");
    files.client_auth = TlsFiles::ClientAuth::kRequireAndVerify;
    return files;
  }
  std::string Try(const TlsFiles& server, const std::string& who) {
    auto tls = ServerTls::FromFiles(server);
    return tls ? Shake(**tls, pki_.Files(who)) : tls.error().ToString();
  }
  TestPki pki_;
  static constexpr const char* kRefused = "client certificate authentication failed";
};

TEST_F(TlsRestrictionsTest, RevokedCertificatesAreRefusedAtOnce) {
  TlsFiles files = ServerFiles();
  files.crl_file = pki_.Path("crl");
  auto tls = *ServerTls::FromFiles(files);
  // No list, nobody: a file that is lost must not let everybody in.
  EXPECT_THAT(Shake(*tls, pki_.Files("bob")), HasSubstr("no such file"));
  pki_.Revoke({"alice"}, "crl");
  EXPECT_EQ(Shake(*tls, pki_.Files("bob")), "");
  EXPECT_THAT(Shake(*tls, pki_.Files("alice")),
              ::testing::MatchesRegex("transport: certificate serial [0-9a-f]+ revoked.*"));
  pki_.Revoke({"bob", "alice"}, "crl", /*pem=*/true);
  EXPECT_THAT(Shake(*tls, pki_.Files("bob")), HasSubstr(" revoked"));
  pki_.Revoke({}, "crl");
  EXPECT_EQ(Shake(*tls, pki_.Files("bob")), "");
  ASSERT_TRUE(WriteFileAtomically(PosixFileSystem(), pki_.Path("crl"), "rubbish").ok());
  EXPECT_THAT(Shake(*tls, pki_.Files("bob")), HasSubstr("x509: malformed crl"));
}

TEST_F(TlsRestrictionsTest, OnlyTheCommonNamesThatAreListed) {
  TlsFiles files = ServerFiles();
  files.allowed_common_names = {"carol", "alice"};
  EXPECT_EQ(Try(files, "alice"), "");
  EXPECT_THAT(Try(files, "bob"), StartsWith(kRefused));
}

TEST_F(TlsRestrictionsTest, OnlyTheHostNamesThatAreListed) {
  TlsFiles files = ServerFiles();
  for (const char* good : {"alice.example.com", "ALICE.example.com", "x.wild.example.com", "10.0.0.7"}) {
    files.allowed_hostnames = {"nobody", good};
    EXPECT_EQ(Try(files, "alice"), "") << good;
    EXPECT_THAT(Try(files, "bob"), StartsWith(kRefused)) << good;
  }
  // Neither the common name nor a part of a name will do.
  for (const char* bad : {"alice", ".example.com", "a.b.wild.example.com", "10.0.0.8"}) {
    files.allowed_hostnames = {bad};
    EXPECT_THAT(Try(files, "alice"), StartsWith(kRefused)) << bad;
  }
}

TEST_F(TlsRestrictionsTest, AnUnverifiedCertificateBearsNoName) {
  TlsFiles files = pki_.Files("server");
  files.client_auth = TlsFiles::ClientAuth::kRequest;
  files.allowed_common_names = {"alice"};
  TestPki others;
  others.Issue("alice");
  TlsFiles impostor = others.Files("alice");
  impostor.ca_file = pki_.Path("ca.crt");
  auto tls = *ServerTls::FromFiles(files);
  EXPECT_EQ(Shake(*tls, pki_.Files("alice")), "");
  EXPECT_THAT(Shake(*tls, impostor), StartsWith(kRefused));
}

TEST_F(TlsRestrictionsTest, AClientChoosesItsServers) {
  auto server = *ServerTls::FromFiles(ServerFiles());
  TlsFiles files = pki_.Files("alice");
  files.allowed_common_names = {"server"};
  EXPECT_EQ(Shake(*server, files), "");
  files.allowed_common_names = {"another"};
  EXPECT_THAT(Shake(*server, files), HasSubstr(kRefused));
}

TEST_F(TlsRestrictionsTest, WhoIsRefusedIsLogged) {
  std::string log = pki_.Path("log");
  ASSERT_TRUE(SetupLogging({.format = LogFormat::kEtcdJson, .outputs = {log}}).ok());
  TlsFiles files = ServerFiles();
  files.allowed_common_names = {"alice"};
  files.rejection_message = "rejected connection on peer endpoint";
  EXPECT_EQ(Try(files, "alice"), "");
  (void)Try(files, "bob");
  TestPki others;
  others.Issue("stranger", "", "IP:10.9.8.7");
  TlsFiles stranger = others.Files("stranger");
  stranger.ca_file = pki_.Path("ca.crt");
  (void)Shake(**ServerTls::FromFiles(files), stranger);
  ASSERT_TRUE(SetupLogging({}).ok());
  std::string text = *ReadFile(PosixFileSystem(), log);
  EXPECT_THAT(text, HasSubstr("\"msg\":\"rejected connection on peer endpoint\",\"remote-addr\":"));
  EXPECT_THAT(text, HasSubstr("\"server-name\":\"localhost\",\"ip-addresses\":[],\"dns-names\":[\"bob.example.com\"],"
                              "\"error\":\"client certificate authentication failed"));
  EXPECT_THAT(text, HasSubstr("\"ip-addresses\":[\"10.9.8.7\"]"));
}

TEST_F(TlsRestrictionsTest, VersionsHaveTwoEnds) {
  TlsFiles files = ServerFiles();
  int version = 0;
  EXPECT_EQ(Shake(**ServerTls::FromFiles(files), pki_.Files("bob"), &version), "");
  EXPECT_EQ(version, TLS1_3_VERSION);
  files.maximum_version = 12;
  EXPECT_EQ(Shake(**ServerTls::FromFiles(files), pki_.Files("bob"), &version), "");
  EXPECT_EQ(version, TLS1_2_VERSION);
  TlsFiles newest = pki_.Files("bob");
  newest.minimum_version = 13;
  EXPECT_NE(Shake(**ServerTls::FromFiles(files), newest), "");
}

TEST_F(TlsRestrictionsTest, ASelfSignedCertificateIsItsOwnAuthority) {
  auto pair = *MakeSelfSigned(
      SelfSigned{.common_name = "", .organization = "etcd", .hosts = {"localhost", "10.1.2.3"}, .years = 3});
  ASSERT_TRUE(WriteFileAtomically(PosixFileSystem(), pki_.Path("own.crt"), pair.certificate).ok());
  ASSERT_TRUE(WriteFileAtomically(PosixFileSystem(), pki_.Path("own.key"), pair.key).ok());
  auto server = *ServerTls::FromFiles({.cert_file = pki_.Path("own.crt"), .key_file = pki_.Path("own.key")});
  EXPECT_EQ(Shake(*server, {.ca_file = pki_.Path("own.crt")}), "");
  EXPECT_NE(Shake(*server, {.ca_file = pki_.Path("ca.crt")}), "");
  FILE* f = std::fopen(pki_.Path("own.crt").c_str(), "r");
  X509* cert = PEM_read_X509(f, nullptr, nullptr, nullptr);
  std::fclose(f);
  int days = 0, seconds = 0;
  ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), X509_get0_notAfter(cert));
  EXPECT_EQ(days, 3 * 365);
  X509_free(cert);
}

}  // namespace
}  // namespace base::net
