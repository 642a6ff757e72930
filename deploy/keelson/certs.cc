#include "deploy/keelson/certs.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

#include "base/bytes.h"
#include "base/file.h"

namespace deploy::keelson {
namespace {

template <class T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* p) const { Free(p); }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509, X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO, BIO_free_all>>;

struct Issuer {
  Key key;
  Certificate certificate;
};

struct Subject {
  std::string path;  // below the directory, without suffix
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> names;  // DNS names and addresses
  bool server = false, client = false;
};

std::string BioText(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string Pem(X509* certificate) {
  Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return BioText(bio.get());
}
std::string Pem(EVP_PKEY* key) {
  Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return BioText(bio.get());
}

base::Result<Certificate> ReadCertificate(const std::string& path) {
  TRY_ASSIGN(std::string pem, base::ReadFile(base::PosixFileSystem(), path));
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate) return base::Err(base::InvalidArgument(path + ": no certificate in PEM form"));
  return certificate;
}
base::Result<Key> ReadKey(const std::string& path) {
  TRY_ASSIGN(std::string pem, base::ReadFile(base::PosixFileSystem(), path));
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  if (!key) return base::Err(base::InvalidArgument(path + ": no private key in PEM form"));
  return key;
}

void AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  CHECK(extension);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

bool IsAddress(const std::string& name) {
  return name.find(':') != std::string::npos ||
         (!name.empty() && name.find_first_not_of("0123456789.") == std::string::npos);
}

void AddName(X509_NAME* name, const char* field, const std::string& value) {
  X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.c_str()), -1, -1,
                             0);
}

// A certificate over `key`, signed by `issuer` (by itself when null).
Certificate MakeCertificate(EVP_PKEY* key, const Subject& subject, const Issuer* issuer, int days) {
  Certificate certificate(X509_new());
  X509* c = certificate.get();
  X509_set_version(c, 2);
  std::string serial = base::SecureRandomBytes(16);
  serial[0] = static_cast<char>(serial[0] & 0x7f);
  BIGNUM* number = BN_bin2bn(reinterpret_cast<const unsigned char*>(serial.data()), 16, nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(c));
  BN_free(number);
  // A little in the past: nodes' clocks differ.
  X509_gmtime_adj(X509_getm_notBefore(c), -300);
  X509_time_adj_ex(X509_getm_notAfter(c), days, 0, nullptr);
  X509_set_pubkey(c, key);
  X509_NAME* name = X509_get_subject_name(c);
  for (const auto& o : subject.organizations) AddName(name, "O", o);
  AddName(name, "CN", subject.common_name);
  X509* signer = issuer ? issuer->certificate.get() : c;
  X509_set_issuer_name(c, X509_get_subject_name(signer));
  if (!issuer) {
    AddExtension(c, signer, NID_basic_constraints, "critical,CA:TRUE");
    AddExtension(c, signer, NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign");
    AddExtension(c, signer, NID_subject_key_identifier, "hash");
  } else {
    AddExtension(c, signer, NID_basic_constraints, "critical,CA:FALSE");
    AddExtension(c, signer, NID_key_usage, "critical,digitalSignature,keyEncipherment");
    std::string usage = subject.server ? "serverAuth" : "";
    if (subject.client) usage += usage.empty() ? "clientAuth" : ",clientAuth";
    AddExtension(c, signer, NID_ext_key_usage, usage);
    AddExtension(c, signer, NID_authority_key_identifier, "keyid");
    std::string names;
    for (const auto& n : subject.names) names += (names.empty() ? "" : ",") + ((IsAddress(n) ? "IP:" : "DNS:") + n);
    if (!names.empty()) AddExtension(c, signer, NID_subject_alt_name, names);
  }
  CHECK(X509_sign(c, issuer ? issuer->key.get() : key, EVP_sha256()) > 0);
  return certificate;
}

base::Status Write(const std::string& path, const std::string& text, int permissions) {
  auto& fs = base::PosixFileSystem();
  TRY(fs.MakeDirectories(path.substr(0, path.rfind('/')), 0755));
  return base::WriteFileAtomically(fs, path, text, permissions);
}

class Pki {
 public:
  explicit Pki(const CertOptions& options) : options_(options) {}

  base::Result<Issuer> Authority(const std::string& path, const std::string& common_name) {
    std::string base_path = options_.directory + "/" + path;
    auto present = base::PosixFileSystem().Exists(base_path + ".crt");
    if (present && *present) {
      Issuer issuer;
      TRY_ASSIGN(issuer.certificate, ReadCertificate(base_path + ".crt"));
      TRY_ASSIGN(issuer.key, ReadKey(base_path + ".key"));
      return issuer;
    }
    Issuer issuer;
    issuer.key.reset(EVP_EC_gen("P-256"));
    issuer.certificate =
        MakeCertificate(issuer.key.get(), {path, common_name, {}, {}, false, false}, nullptr, options_.ca_days);
    TRY(Save(path, issuer.key.get(), issuer.certificate.get()));
    return issuer;
  }

  base::Status Leaf(const Issuer& issuer, const Subject& subject) {
    std::string path = options_.directory + "/" + subject.path;
    auto present = ReadCertificate(path + ".crt");
    if (present && !ExpiresSoon(present->get()) &&
        X509_verify(present->get(), X509_get0_pubkey(issuer.certificate.get())) == 1 && Names(present->get(), subject))
      return base::Ok();
    Key key(EVP_EC_gen("P-256"));
    Certificate certificate = MakeCertificate(key.get(), subject, &issuer, options_.days);
    return Save(subject.path, key.get(), certificate.get());
  }

  base::Status ServiceAccountKey() {
    std::string path = options_.directory + "/sa";
    auto present = base::PosixFileSystem().Exists(path + ".key");
    if (present && *present) return base::Ok();
    Key key(EVP_RSA_gen(2048));
    Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PUBKEY(bio.get(), key.get());
    TRY(Write(path + ".key", Pem(key.get()), 0600));
    TRY(Write(path + ".pub", BioText(bio.get()), 0644));
    written_.push_back("sa.key");
    written_.push_back("sa.pub");
    return base::Ok();
  }

  std::vector<std::string> written() const { return written_; }

 private:
  static bool ExpiresSoon(X509* certificate) {
    int days = 0, seconds = 0;
    ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate));
    return days < 30;
  }
  // Every wanted name is in the certificate: a node that got a new address gets a new certificate.
  static bool Names(X509* certificate, const Subject& subject) {
    for (const auto& n : subject.names) {
      bool found = IsAddress(n) ? X509_check_ip_asc(certificate, n.c_str(), 0) == 1
                                : X509_check_host(certificate, n.c_str(), n.size(), 0, nullptr) == 1;
      if (!found) return false;
    }
    return true;
  }
  base::Status Save(const std::string& path, EVP_PKEY* key, X509* certificate) {
    TRY(Write(options_.directory + "/" + path + ".key", Pem(key), 0600));
    TRY(Write(options_.directory + "/" + path + ".crt", Pem(certificate), 0644));
    written_.push_back(path + ".crt");
    return base::Ok();
  }

  const CertOptions& options_;
  std::vector<std::string> written_;
};

std::vector<std::string> With(std::vector<std::string> names, const std::vector<std::string>& more) {
  for (const auto& m : more)
    if (!m.empty() && std::find(names.begin(), names.end(), m) == names.end()) names.push_back(m);
  return names;
}

base::Status NodeLeaves(Pki& pki, const Issuer& ca, const CertOptions& options) {
  TRY(pki.Leaf(ca, {"kubelet",
                    "system:node:" + options.node_name,
                    {"system:nodes"},
                    With({options.node_name, "localhost", "127.0.0.1"}, options.addresses),
                    true,
                    false}));
  TRY(pki.Leaf(ca, {"kubelet-client", "system:node:" + options.node_name, {"system:nodes"}, {}, false, true}));
  return pki.Leaf(ca, {"kube-proxy-client", "system:kube-proxy", {"system:node-proxier"}, {}, false, true});
}

}  // namespace

base::Result<std::vector<std::string>> MakeControlPlaneCerts(const CertOptions& options) {
  Pki pki(options);
  TRY_ASSIGN(Issuer ca, pki.Authority("ca", "kubernetes"));
  TRY_ASSIGN(Issuer store, pki.Authority("etcd/ca", "etcd-ca"));
  TRY_ASSIGN(Issuer front, pki.Authority("front-proxy-ca", "front-proxy-ca"));
  auto local = With({options.node_name, "localhost", "127.0.0.1", "::1"}, options.addresses);
  auto api =
      With({"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
           With(local, {options.service_ip}));
  TRY(pki.Leaf(ca, {"apiserver", "kube-apiserver", {}, api, true, false}));
  TRY(pki.Leaf(ca, {"apiserver-kubelet-client", "kube-apiserver-kubelet-client", {"system:masters"}, {}, false, true}));
  TRY(pki.Leaf(store, {"etcd/server", options.node_name, {}, local, true, true}));
  TRY(pki.Leaf(store, {"etcd/peer", options.node_name, {}, local, true, true}));
  TRY(pki.Leaf(store, {"etcd/healthcheck-client", "kube-etcd-healthcheck-client", {}, {}, false, true}));
  TRY(pki.Leaf(store, {"apiserver-etcd-client", "kube-apiserver-etcd-client", {}, {}, false, true}));
  TRY(pki.Leaf(front, {"front-proxy-client", "front-proxy-client", {}, {}, false, true}));
  TRY(pki.Leaf(ca, {"admin", "kubernetes-admin", {"system:masters"}, {}, false, true}));
  TRY(pki.Leaf(ca,
               {"controller-manager", "system:kube-controller-manager", {}, {"localhost", "127.0.0.1"}, true, true}));
  TRY(pki.Leaf(ca, {"scheduler", "system:kube-scheduler", {}, {"localhost", "127.0.0.1"}, true, true}));
  TRY(NodeLeaves(pki, ca, options));
  TRY(pki.ServiceAccountKey());
  return pki.written();
}

base::Result<std::vector<std::string>> MakeNodeCerts(const CertOptions& options) {
  Pki pki(options);
  TRY_ASSIGN(Issuer ca, pki.Authority("ca", "kubernetes"));
  TRY(NodeLeaves(pki, ca, options));
  return pki.written();
}

base::Result<std::string> MakeKubeconfig(const std::string& directory, const std::string& server,
                                         const std::string& user, const std::string& cert) {
  auto& fs = base::PosixFileSystem();
  TRY_ASSIGN(std::string ca, base::ReadFile(fs, directory + "/ca.crt"));
  TRY_ASSIGN(std::string certificate, base::ReadFile(fs, directory + "/" + cert + ".crt"));
  TRY_ASSIGN(std::string key, base::ReadFile(fs, directory + "/" + cert + ".key"));
  std::string out = "apiVersion: v1\nkind: Config\nclusters:\n- name: kubernetes\n  cluster:\n    server: " + server;
  out += "\n    certificate-authority-data: " + base::Base64Encode(ca);
  out += "\ncontexts:\n- name: " + user + "@kubernetes\n  context:\n    cluster: kubernetes\n    user: " + user;
  out += "\ncurrent-context: " + user + "@kubernetes\nusers:\n- name: " + user +
         "\n  user:\n    client-certificate-data: ";
  out += base::Base64Encode(certificate) + "\n    client-key-data: " + base::Base64Encode(key) + "\n";
  return out;
}

}  // namespace deploy::keelson
