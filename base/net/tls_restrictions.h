// Who may come besides holding a certificate that an authority vouches for: nobody whose certificate is revoked, and
// only the names that are listed (etcd's --client-crl-file, --peer-cert-allowed-cn and the like). For the engine's own
// .cc files; owned by a TLS context. Thread-safe.
#pragma once

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/net/tls_impl.h"

namespace base::net {

// The serial numbers of a list of revoked certificates, as bytes. `content` is DER, or PEM with any number of lists.
Result<std::set<std::string>> ParseRevoked(const std::string& content);

class TlsRestrictions {
 public:
  TlsRestrictions(const TlsFiles& files, bool server);
  bool any() const { return !crl_file_.empty() || names_; }
  // Of a chain that OpenSSL has let through. The list is read again when its file has changed; while it is unreadable
  // nobody with a certificate gets in. An unverified chain bears no allowed name.
  Status Check(X509_STORE_CTX* chain);

 private:
  Status CheckRevoked(X509_STORE_CTX* chain);
  bool NameAllowed(X509* leaf) const;

  const std::string crl_file_;
  const std::vector<std::string> common_names_, hostnames_;
  const bool names_;
  std::mutex mutex_;
  std::string fingerprint_;
  std::optional<Result<std::set<std::string>>> revoked_;
};

}  // namespace base::net
