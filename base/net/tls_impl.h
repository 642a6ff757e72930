// TLS for base/net's own .cc files: settings that follow their files, and what a handshake told about the peer.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <mutex>
#include <string>

#include "base/executor.h"
#include "base/net/http.h"
#include "base/net/tls.h"

namespace base::net {

struct SslCtxFree {
  void operator()(SSL_CTX* c) const { SSL_CTX_free(c); }
};
struct SslFree {
  void operator()(SSL* s) const { SSL_free(s); }
};
using SslCtxPtr = std::shared_ptr<SSL_CTX>;
using SslPtr = std::unique_ptr<SSL, SslFree>;

// Builds an SSL_CTX from files or texts and builds it anew when a file has changed. A file that became unreadable or
// wrong leaves the last good settings in force.
class TlsSettings {
 public:
  struct Source {
    TlsFiles files;
    bool server = false;
    bool from_pem = false;
    std::string ca_pem, cert_pem, key_pem;
  };
  static Result<std::unique_ptr<TlsSettings>> Make(Source source);
  SslCtxPtr Current();
  const TlsFiles& files() const { return source_.files; }

 private:
  explicit TlsSettings(Source source) : source_(std::move(source)) {}
  std::string Fingerprint() const;

  const Source source_;
  std::mutex mutex_;
  SslCtxPtr current_;
  std::string fingerprint_;
  MonoTime next_check_{};
};

class ServerTlsImpl final : public ServerTls {
 public:
  explicit ServerTlsImpl(std::unique_ptr<TlsSettings> s) : settings(std::move(s)) {}
  std::unique_ptr<TlsSettings> settings;
};
class ClientTlsImpl final : public ClientTls {
 public:
  explicit ClientTlsImpl(std::unique_ptr<TlsSettings> s) : settings(std::move(s)) {}
  std::unique_ptr<TlsSettings> settings;
};

SslPtr NewServerSsl(ServerTls& tls, int fd);
// `host` is verified (name or address) and sent as SNI, unless the settings name another. `alpn` narrows what is
// offered; empty = as the settings say.
Result<SslPtr> NewClientSsl(ClientTls& tls, int fd, const std::string& host, const std::vector<std::string>& alpn);

// "h2", "http/1.1" or "".
std::string NegotiatedAlpn(const SSL* ssl);
void DescribePeer(const SSL* ssl, Peer& peer);
// The reason of the last OpenSSL error of this thread, and of the certificate's verification; clears the queue.
std::string TlsErrorText(const SSL* ssl);
// Changes when the file does; "" while it is not there.
std::string FileFingerprint(const std::string& path);
// A handshake with a client has failed: logged where the settings ask for it.
void LogRejection(const SSL* ssl, int fd, const std::string& why);

}  // namespace base::net
