#include "base/net/self_signed.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/deleter.h"
#include "base/net/certificate.h"

namespace base::net {
namespace {

using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;

std::string Text(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

void Name(X509_NAME* subject, const char* attribute, const std::string& value) {
  if (value.empty()) return;
  X509_NAME_add_entry_by_txt(subject, attribute, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.c_str()),
                             -1, -1, 0);
}

void Extend(X509* c, int nid, const std::string& text) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, text.c_str());
  if (extension) X509_add_ext(c, extension, -1);
  X509_EXTENSION_free(extension);
}

std::string AlternativeNames(const std::vector<std::string>& hosts) {
  std::string out;
  for (const std::string& host : hosts) {
    out += (out.empty() ? "" : ",") + std::string(IsAddressText(host) ? "IP:" : "DNS:") + host;
  }
  return out;
}

Certificate Make(EVP_PKEY* key, const SelfSigned& what) {
  Certificate out(X509_new());
  X509* c = out.get();
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  X509_set_version(c, 2);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(c), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(c), -3600);
  X509_time_adj_ex(X509_getm_notAfter(c), what.years * 365, 0, nullptr);
  X509_set_pubkey(c, key);
  X509_NAME* subject = X509_get_subject_name(c);
  Name(subject, "O", what.organization);
  Name(subject, "CN", what.common_name);
  X509_set_issuer_name(c, subject);
  Extend(c, NID_subject_alt_name, AlternativeNames(what.hosts));
  Extend(c, NID_basic_constraints, "critical,CA:TRUE");
  Extend(c, NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign");
  Extend(c, NID_ext_key_usage, "serverAuth");
  if (X509_sign(c, key, EVP_sha256()) == 0) return nullptr;
  return out;
}

// A file without a name in any directory: the TLS settings read files, and a key should not lie on a disk.
Result<std::string> Hide(const std::string& content) {
  int fd = memfd_create("tls", MFD_CLOEXEC);
  if (fd < 0) return Err(FromErrno(errno, "memfd_create"));
  if (write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    return Err(FromErrno(errno, "memfd"));
  return "/proc/self/fd/" + std::to_string(fd);
}
}  // namespace

Result<PemPair> MakeSelfSigned(const std::string& name) {
  return MakeSelfSigned({.common_name = name, .hosts = {"localhost", "127.0.0.1", name}});
}

Result<PemPair> MakeSelfSigned(const SelfSigned& what) {
  Key key(EVP_EC_gen("P-256"));
  if (!key) return Err(Internal("cannot make a key"));
  Certificate certificate = Make(key.get(), what);
  if (!certificate) return Err(Internal("cannot make a certificate"));
  Bio cert_bio(BIO_new(BIO_s_mem())), key_bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(cert_bio.get(), certificate.get());
  PEM_write_bio_PrivateKey(key_bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return PemPair{Text(cert_bio.get()), Text(key_bio.get())};
}

Result<std::shared_ptr<ServerTls>> SelfSignedServerTls(const std::string& name, TlsFiles options) {
  TRY_ASSIGN(PemPair pair, MakeSelfSigned(name));
  TRY_ASSIGN(options.cert_file, Hide(pair.certificate));
  TRY_ASSIGN(options.key_file, Hide(pair.key));
  return ServerTls::FromFiles(std::move(options));
}

}  // namespace base::net
