#include "base/net/certificate.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>

namespace base::net {
namespace {

std::string AttributeValue(X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (n < 0) return {};
  std::string out(reinterpret_cast<char*>(utf8), static_cast<size_t>(n));
  OPENSSL_free(utf8);
  return out;
}

void ReadSubject(X509* certificate, CertificateNames& out) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (nid == NID_commonName) out.common_name = AttributeValue(entry);
    if (nid == NID_organizationName) out.organizations.push_back(AttributeValue(entry));
  }
}

void ReadAlternativeNames(X509* certificate, CertificateNames& out) {
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  if (names == nullptr) return;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_DNS && name->type != GEN_IPADD) continue;
    const ASN1_STRING* content = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
    const unsigned char* bytes = ASN1_STRING_get0_data(content);
    auto size = static_cast<size_t>(ASN1_STRING_length(content));
    char text[INET6_ADDRSTRLEN];
    if (name->type == GEN_DNS) {
      out.dns.emplace_back(reinterpret_cast<const char*>(bytes), size);
    } else if (size == 4 || size == 16) {
      out.addresses.emplace_back(::inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text));
    }
  }
  GENERAL_NAMES_free(names);
}

}  // namespace

CertificateNames NamesOf(X509* certificate) {
  CertificateNames out;
  ReadSubject(certificate, out);
  ReadAlternativeNames(certificate, out);
  return out;
}

bool IsAddressText(const std::string& host) {
  unsigned char buffer[16];
  return ::inet_pton(AF_INET, host.c_str(), buffer) == 1 || ::inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

}  // namespace base::net
