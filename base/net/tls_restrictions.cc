#include "base/net/tls_restrictions.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/deleter.h"
#include "base/file.h"
#include "base/net/certificate.h"

namespace base::net {
namespace {

using Crl = std::unique_ptr<X509_CRL, Deleter<X509_CRL_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Number = std::unique_ptr<BIGNUM, Deleter<BN_free>>;

std::string SerialBytes(const ASN1_INTEGER* serial) {
  Number n(ASN1_INTEGER_to_BN(serial, nullptr));
  if (!n) return {};
  std::string out(static_cast<size_t>(BN_num_bytes(n.get())), '\0');
  BN_bn2bin(n.get(), reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

void Collect(X509_CRL* list, std::set<std::string>& out) {
  STACK_OF(X509_REVOKED)* all = X509_CRL_get_REVOKED(list);
  for (int i = 0; i < sk_X509_REVOKED_num(all); ++i) {
    out.insert(SerialBytes(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(all, i))));
  }
}

// By the alternative names alone; a wildcard stands for one whole label.
bool BearsName(X509* leaf, const std::string& name) {
  if (IsAddressText(name)) return X509_check_ip_asc(leaf, name.c_str(), 0) == 1;
  if (name.starts_with('.')) return false;  // OpenSSL would take every name below it
  return X509_check_host(leaf, name.data(), name.size(),
                         X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1;
}

}  // namespace

Result<std::set<std::string>> ParseRevoked(const std::string& content) {
  std::set<std::string> out;
  const auto* der = reinterpret_cast<const unsigned char*>(content.data());
  const unsigned char* end = der;
  Crl list(d2i_X509_CRL(nullptr, &end, static_cast<long>(content.size())));
  bool found = list != nullptr && end == der + content.size();
  if (found) {
    Collect(list.get(), out);
  } else {
    Bio bio(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
    while ((list = Crl(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)))) {
      found = true;
      Collect(list.get(), out);
    }
  }
  ERR_clear_error();  // the end of the text is reported as an error
  if (!found) return Err(InvalidArgument("x509: malformed crl"));
  return out;
}

TlsRestrictions::TlsRestrictions(const TlsFiles& files, bool server)
    : crl_file_(server ? files.crl_file : ""),
      common_names_(files.allowed_common_names),
      hostnames_(files.allowed_hostnames),
      names_(!common_names_.empty() || !hostnames_.empty()) {}

bool TlsRestrictions::NameAllowed(X509* leaf) const {
  if (!common_names_.empty() && std::ranges::count(common_names_, NamesOf(leaf).common_name) == 0) return false;
  return hostnames_.empty() || std::ranges::any_of(hostnames_, [&](const auto& n) { return BearsName(leaf, n); });
}

Status TlsRestrictions::Check(X509_STORE_CTX* chain) {
  X509* leaf = X509_STORE_CTX_get0_cert(chain);
  bool verified = X509_STORE_CTX_get_error(chain) == X509_V_OK;
  if (names_ && (leaf == nullptr || !verified || !NameAllowed(leaf))) {
    return PermissionDenied("client certificate authentication failed");
  }
  return crl_file_.empty() ? Ok() : CheckRevoked(chain);
}

Status TlsRestrictions::CheckRevoked(X509_STORE_CTX* chain) {
  std::lock_guard lock(mutex_);
  if (std::string now = FileFingerprint(crl_file_); !revoked_ || !*revoked_ || now != fingerprint_) {
    fingerprint_ = std::move(now);
    auto content = ReadFile(PosixFileSystem(), crl_file_);
    revoked_ = content ? ParseRevoked(*content) : Err(content.error());
  }
  if (!*revoked_) return revoked_->error();
  const STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(chain);
  for (int i = 0; i < sk_X509_num(sent); ++i) {
    std::string serial = SerialBytes(X509_get0_serialNumber(sk_X509_value(sent, i)));
    if ((*revoked_)->contains(serial)) {
      return PermissionDenied("transport: certificate serial " + HexEncode(serial) + " revoked");
    }
  }
  return Ok();
}

}  // namespace base::net
