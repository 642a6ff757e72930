#include "base/net/certificate_request.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstring>
#include <limits>
#include <memory>

namespace base::net {
namespace {

struct BioFree {
  void operator()(BIO* b) const { BIO_free(b); }
};
struct RequestFree {
  void operator()(X509_REQ* r) const { X509_REQ_free(r); }
};

// The first PEM block of the text, whatever stands before it.
struct Block {
  std::string name, der;
};
Result<Block> FirstBlock(std::string_view pem) {
  if (pem.size() > static_cast<size_t>(std::numeric_limits<int>::max())) return Err(InvalidArgument("too long"));
  std::unique_ptr<BIO, BioFree> in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  int found = PEM_read_bio(in.get(), &name, &header, &data, &size);
  ERR_clear_error();
  if (found != 1) return Err(InvalidArgument("PEM block type must be CERTIFICATE REQUEST"));
  Block out{name, std::string(reinterpret_cast<char*>(data), static_cast<size_t>(size))};
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  return out;
}

Result<std::string> TextOf(X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (n < 0) {
    ERR_clear_error();
    return Err(InvalidArgument("x509: invalid RDNSequence: a name is no text"));
  }
  std::string out(reinterpret_cast<char*>(utf8), static_cast<size_t>(n));
  OPENSSL_free(utf8);
  return out;
}

}  // namespace

Result<RequestedSubject> ReadCertificateRequest(std::string_view pem) {
  TRY_ASSIGN(Block block, FirstBlock(pem));
  if (block.name != "CERTIFICATE REQUEST") return Err(InvalidArgument("PEM block type must be CERTIFICATE REQUEST"));
  const auto* at = reinterpret_cast<const unsigned char*>(block.der.data());
  const auto* end = at + block.der.size();
  std::unique_ptr<X509_REQ, RequestFree> request(d2i_X509_REQ(nullptr, &at, static_cast<long>(block.der.size())));
  ERR_clear_error();
  if (!request) return Err(InvalidArgument("x509: malformed certificate request"));
  if (at != end) return Err(InvalidArgument("asn1: syntax error: trailing data"));
  RequestedSubject out;
  X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (nid != NID_commonName && nid != NID_organizationName) continue;
    TRY_ASSIGN(std::string text, TextOf(entry));
    if (nid == NID_commonName)
      out.common_name = std::move(text);
    else
      out.organizations.push_back(std::move(text));
  }
  return out;
}

}  // namespace base::net
