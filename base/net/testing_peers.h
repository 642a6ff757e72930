// For the tests of base/net: a server and coroutines on one loop, a TLS identity of the test's own, raw sockets.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

#include "base/loop.h"
#include "base/net/client.h"
#include "base/net/grpc.h"
#include "base/net/server.h"
#include "base/testing/temp_dir.h"

namespace base::net {

// Runs `task` on `loop` until it is done; fails the test after 20 s.
inline void RunTask(Loop& loop, Task<void> task) {
  bool timed_out = false;
  TimerId timer = loop.After(std::chrono::seconds(20), [&] {
    timed_out = true;
    loop.Stop();
  });
  Spawn(loop, std::move(task), [&] { loop.Stop(); });
  loop.Run();
  loop.CancelTimer(timer);
  ASSERT_FALSE(timed_out) << "the test hangs";
}

// A certificate authority and identities signed by it, as files.
class TestPki {
 public:
  TestPki() { ca_ = Make("ca", "", nullptr, "ca"); }
  ~TestPki() {
    X509_free(ca_.cert);
    EVP_PKEY_free(ca_.key);
  }
  // Writes NAME.crt and NAME.key.
  void Issue(const std::string& name, const std::string& organization = "",
             const std::string& alternatives = "DNS:localhost,IP:127.0.0.1") {
    Pair p = Make(name, organization, &ca_, name, alternatives);
    X509_free(p.cert);
    EVP_PKEY_free(p.key);
  }
  // Writes a list of what is revoked, to `file`, as DER or PEM.
  void Revoke(const std::vector<std::string>& names, const std::string& file, bool pem = false) {
    X509_CRL* list = X509_CRL_new();
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(ca_.cert));
    X509_CRL_set1_lastUpdate(list, X509_get0_notBefore(ca_.cert));
    X509_CRL_set1_nextUpdate(list, X509_get0_notAfter(ca_.cert));
    for (const std::string& name : names) {
      FILE* f = std::fopen(Path(name + ".crt").c_str(), "r");
      X509* cert = PEM_read_X509(f, nullptr, nullptr, nullptr);
      std::fclose(f);
      X509_REVOKED* entry = X509_REVOKED_new();
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert));
      X509_REVOKED_set_revocationDate(entry, const_cast<ASN1_TIME*>(X509_get0_notBefore(ca_.cert)));
      X509_CRL_add0_revoked(list, entry);
      X509_free(cert);
    }
    X509_CRL_sign(list, ca_.key, EVP_sha256());
    FILE* f = std::fopen(Path(file).c_str(), "w");
    pem ? PEM_write_X509_CRL(f, list) : i2d_X509_CRL_fp(f, list);
    std::fclose(f);
    X509_CRL_free(list);
  }
  std::string Path(const std::string& file) const { return dir_.path() + "/" + file; }
  TlsFiles Files(const std::string& name) const {
    TlsFiles files;
    if (!name.empty()) {
      files.cert_file = Path(name + ".crt");
      files.key_file = Path(name + ".key");
    }
    files.ca_file = Path("ca.crt");
    return files;
  }

 private:
  struct Pair {
    X509* cert;
    EVP_PKEY* key;
  };
  Pair Make(const std::string& cn, const std::string& organization, Pair* issuer, const std::string& file,
            const std::string& alternatives = "") {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* cert = X509_new();
    X509_set_version(cert, 2);
    static std::atomic<long> serial{1};
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_NAME* name = X509_get_subject_name(cert);
    auto add = [&](const char* field, const std::string& value) {
      X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.c_str()), -1,
                                 -1, 0);
    };
    if (!organization.empty()) add("O", organization);
    add("CN", cn);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer->cert) : name);
    X509_set_pubkey(cert, key);
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer ? issuer->cert : cert, cert, nullptr, nullptr, 0);
    int nid = issuer ? NID_subject_alt_name : NID_basic_constraints;
    X509_EXTENSION* ext = X509V3_EXT_conf_nid(nullptr, &ctx, nid, issuer ? alternatives.c_str() : "critical,CA:TRUE");
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    X509_sign(cert, issuer ? issuer->key : key, EVP_sha256());
    FILE* f = std::fopen(Path(file + ".crt").c_str(), "w");
    PEM_write_X509(f, cert);
    std::fclose(f);
    f = std::fopen(Path(file + ".key").c_str(), "w");
    PEM_write_PrivateKey(f, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(f);
    return {cert, key};
  }
  testing::TempDir dir_;
  Pair ca_;
};

// A blocking socket with time-outs, for peers that misbehave.
class RawPeer {
 public:
  explicit RawPeer(const std::string& address) {
    uint16_t port = static_cast<uint16_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str()));
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval limit{5, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  ~RawPeer() { ::close(fd_); }
  RawPeer(const RawPeer&) = delete;
  bool connected() const { return connected_; }
  // False when the peer has closed.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // "" at the end or after the time limit.
  std::string Receive(size_t max = 65536) {
    std::string out(max, '\0');
    ssize_t n = ::recv(fd_, out.data(), max, 0);
    last_error_ = n < 0 ? errno : 0;
    out.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return out;
  }
  std::string ReceiveAll(size_t limit = 1 << 20) {
    std::string out;
    while (out.size() < limit) {
      std::string piece = Receive();
      if (piece.empty()) break;
      out += piece;
    }
    return out;
  }
  // The server ended the connection (and did not just stay silent).
  bool Closed() {
    while (!Receive().empty()) {
    }
    return last_error_ == 0 || last_error_ == ECONNRESET;
  }
  void ShutdownWrite() { ::shutdown(fd_, SHUT_WR); }
  int fd() const { return fd_; }

 private:
  int fd_;
  bool connected_ = false;
  int last_error_ = 0;
};

inline size_t ResidentKiB() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VmRSS:")) return std::strtoull(line.c_str() + 6, nullptr, 10);
  return 0;
}

// ---- HTTP/2 as bytes ----

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
inline std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out;
  PutBigEndian32(out, static_cast<uint32_t>(payload.size()) << 8 | type);
  out.push_back(static_cast<char>(flags));
  PutBigEndian32(out, stream);
  return out.append(payload);
}
inline std::string Settings() { return Frame(4, 0, 0, ""); }

}  // namespace base::net
