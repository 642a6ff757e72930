#include "apiserver/auth/certificates.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <fstream>

#include "base/testing/sim_executor.h"
#include "base/testing/temp_dir.h"

namespace apiserver::auth {
namespace {

// A certificate with its key. `days` from the time of issue on.
struct Issued {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  Issued() = default;
  Issued(const Issued&) = delete;
  Issued(Issued&& o) noexcept
      : key(std::exchange(o.key, nullptr)), certificate(std::exchange(o.certificate, nullptr)) {}
  ~Issued() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  std::string Der() const {
    std::string out(static_cast<size_t>(i2d_X509(certificate, nullptr)), '\0');
    auto* p = reinterpret_cast<unsigned char*>(out.data());
    i2d_X509(certificate, &p);
    return out;
  }
  std::string Pem() const {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate);
    char* data = nullptr;
    long n = BIO_get_mem_data(bio, &data);
    std::string out(data, static_cast<size_t>(n));
    BIO_free(bio);
    return out;
  }
};

void Extend(X509* certificate, int nid, const char* value) {
  X509_EXTENSION* e = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
  X509_add_ext(certificate, e, -1);
  X509_EXTENSION_free(e);
}

Issued Issue(const std::string& name, const Issued* by, int64_t from, int64_t until, bool authority,
             const char* usage = "clientAuth") {
  static long serial = 0;
  Issued out;
  out.key = EVP_EC_gen("P-256");
  out.certificate = X509_new();
  X509* x = out.certificate;
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
  ASN1_TIME_set(X509_getm_notBefore(x), from);
  ASN1_TIME_set(X509_getm_notAfter(x), until);
  X509_set_pubkey(x, out.key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(x, by ? X509_get_subject_name(by->certificate) : X509_get_subject_name(x));
  if (authority)
    Extend(x, NID_basic_constraints, "critical,CA:TRUE");
  else
    Extend(x, NID_ext_key_usage, usage);
  X509_sign(x, by ? by->key : out.key, EVP_sha256());
  return out;
}

class Certificates : public testing::Test {
 protected:
  static constexpr int64_t kHour = 3600, kYear = 365 * 24 * kHour;
  Certificates() {
    now_ = std::chrono::floor<std::chrono::seconds>(executor_.WallNow()).time_since_epoch().count();
    path_ = dir_.path() + "/ca.crt";
  }

  void Write(const std::string& text) {
    std::ofstream(path_ + ".new") << text;
    std::filesystem::rename(path_ + ".new", path_);
  }
  Issued Authority(const std::string& name) { return Issue(name, nullptr, now_ - kHour, now_ + kYear, true); }
  Issued Client(const Issued& by, int64_t until) { return Issue("alice", &by, now_ - kHour, until, false); }
  CertificateJudge Judge() { return {*CaFile::Open("client-ca-file", path_, executor_), executor_}; }
  static base::net::Peer PeerOf(const Issued& leaf, std::vector<std::string> intermediates = {}) {
    base::net::Peer peer;
    peer.certificate_der = leaf.Der();
    peer.intermediates_der = std::move(intermediates);
    return peer;
  }

  base::testing::TempDir dir_;
  base::testing::SimExecutor executor_{1};
  int64_t now_ = 0;
  std::string path_;
};

TEST_F(Certificates, EndWhileTheConnectionGoesOn) {
  Issued ca = Authority("ca"), soon = Client(ca, now_ + 60), ended = Client(ca, now_ - 1);
  Write(ca.Pem());
  auto judge = Judge();
  auto good = judge.Judge(PeerOf(soon));
  ASSERT_TRUE(good) << good.error().message();
  EXPECT_TRUE(good->starts_with("X509SHA256="));
  EXPECT_FALSE(judge.Judge(PeerOf(ended)));
  executor_.RunFor(std::chrono::seconds(59));
  EXPECT_TRUE(judge.Judge(PeerOf(soon)));
  executor_.RunFor(std::chrono::seconds(3));
  EXPECT_FALSE(judge.Judge(PeerOf(soon)));
}

TEST_F(Certificates, AreAsGoodAsTheChainThatVouchesForThem) {
  Issued ca = Authority("ca"), stranger = Authority("ca");
  Issued middle = Issue("middle", &ca, now_ - kHour, now_ + 30, true), leaf = Client(middle, now_ + kYear);
  Write(ca.Pem());
  auto judge = Judge();
  EXPECT_FALSE(judge.Judge(PeerOf(leaf))) << "the certificate between is not there";
  EXPECT_TRUE(judge.Judge(PeerOf(leaf, {middle.Der()})));
  EXPECT_FALSE(judge.Judge(PeerOf(Client(stranger, now_ + kYear)))) << "an authority of the same name";
  Issued server = Issue("alice", &ca, now_ - kHour, now_ + kYear, false, "serverAuth");
  EXPECT_FALSE(judge.Judge(PeerOf(server))) << "a server's certificate";
  executor_.RunFor(std::chrono::seconds(32));
  EXPECT_FALSE(judge.Judge(PeerOf(leaf, {middle.Der()}))) << "the certificate between has ended";
}

TEST_F(Certificates, FollowTheFile) {
  Issued first = Authority("first"), second = Authority("second");
  Issued alice = Client(first, now_ + kYear), bob = Client(second, now_ + kYear);
  Write(first.Pem());
  auto judge = Judge();
  EXPECT_TRUE(judge.Judge(PeerOf(alice)));
  EXPECT_FALSE(judge.Judge(PeerOf(bob)));
  Write(second.Pem());
  executor_.RunFor(std::chrono::seconds(2));
  EXPECT_FALSE(judge.Judge(PeerOf(alice)));
  EXPECT_TRUE(judge.Judge(PeerOf(bob)));
  for (const char* broken : {"", "nonsense"}) {
    Write(broken);
    executor_.RunFor(std::chrono::seconds(2));
    EXPECT_TRUE(judge.Judge(PeerOf(bob))) << "a broken file changes nothing";
  }
  std::filesystem::remove(path_);
  executor_.RunFor(std::chrono::seconds(2));
  EXPECT_TRUE(judge.Judge(PeerOf(bob)));
  EXPECT_FALSE(CaFile::Open("client-ca-file", path_, executor_));
}

}  // namespace
}  // namespace apiserver::auth
