#include "apiserver/auth/certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <limits>

#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"

namespace apiserver::auth {

namespace {

constexpr size_t kMaxGood = 8192, kMaxBad = 256;
constexpr int64_t kBadSeconds = 10;  // a bad certificate is looked at again: it may become valid
constexpr base::Duration kLookInterval = std::chrono::seconds(1);

struct X509Free {
  void operator()(X509* x) const { X509_free(x); }
};
using X509Ptr = std::unique_ptr<X509, X509Free>;

X509Ptr FromDer(const std::string& der) {
  const auto* p = reinterpret_cast<const unsigned char*>(der.data());
  return X509Ptr(d2i_X509(nullptr, &p, static_cast<long>(der.size())));
}

int64_t SecondsOf(const ASN1_TIME* time) {
  std::tm tm{};
  return ASN1_TIME_to_tm(time, &tm) == 1 ? static_cast<int64_t>(timegm(&tm)) : 0;
}

// Of a file that is a link, of what it points to: mounted secrets change so.
std::string FingerprintOf(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return {};
  return std::to_string(st.st_ino) + "/" + std::to_string(st.st_size) + "/" + std::to_string(st.st_mtim.tv_sec) + "." +
         std::to_string(st.st_mtim.tv_nsec);
}

}  // namespace

struct CaFile::Store {
  std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store{X509_STORE_new(), X509_STORE_free};
  int authorities = 0;
};

CaFile::~CaFile() = default;

base::Result<std::shared_ptr<CaFile>> CaFile::Open(const std::string& flag, const std::string& path,
                                                   base::Executor& executor) {
  std::shared_ptr<CaFile> out(new CaFile(path, executor));
  out->fingerprint_ = FingerprintOf(path);
  if (auto s = out->Read(); !s.ok()) return base::Err(s.Annotate("--" + flag + ": "));
  return out;
}

base::Status CaFile::Read() {
  TRY_ASSIGN(std::string pem, base::ReadFile(base::PosixFileSystem(), path_));
  auto fresh = std::make_shared<Store>();
  std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  while (X509Ptr ca{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)})
    fresh->authorities += X509_STORE_add_cert(fresh->store.get(), ca.get());
  ERR_clear_error();
  if (fresh->authorities == 0) return base::InvalidArgument(path_ + " holds no certificate");
  store_ = std::move(fresh);
  pem_ = std::move(pem);
  return base::Ok();
}

const std::shared_ptr<CaFile::Store>& CaFile::Current() {
  base::MonoTime now = executor_.Now();
  if (now < next_look_) return store_;
  next_look_ = now + kLookInterval;
  std::string fingerprint = FingerprintOf(path_);
  if (fingerprint == fingerprint_) return store_;
  fingerprint_ = fingerprint;
  auto s = Read();
  if (s.ok())
    base::LogInfo("Loaded a new CA bundle", {{"file", path_}});
  else
    base::LogError("A changed CA bundle is unusable, keeping the old one", s);
  return store_;
}

base::Result<std::string> CertificateJudge::Judge(const base::net::Peer& peer) {
  const auto& authorities = authorities_->Current();
  if (authorities != seen_) {
    seen_ = authorities;
    good_.clear();
    bad_.clear();
  }
  int64_t now = std::chrono::floor<std::chrono::seconds>(executor_.WallNow()).time_since_epoch().count();
  std::string with_chain;
  const std::string* key = &peer.certificate_der;
  if (!peer.intermediates_der.empty()) {
    with_chain = *key;
    for (const auto& der : peer.intermediates_der) with_chain += der;
    key = &with_chain;
  }
  auto holds = [&](const auto& map) {
    auto it = map.find(*key);
    return it != map.end() && it->second.from <= now && now < it->second.until ? &it->second : nullptr;
  };
  const Verdict* verdict = holds(good_);
  if (!verdict) verdict = holds(bad_);
  if (!verdict) {
    Verdict fresh = Verify(peer, now);
    auto& map = fresh.good ? good_ : bad_;
    if (map.size() >= (fresh.good ? kMaxGood : kMaxBad)) map.clear();
    good_.erase(*key);
    bad_.erase(*key);
    verdict = &(map[*key] = std::move(fresh));
  }
  if (verdict->good) return verdict->text;
  return base::Err(base::Unauthenticated(verdict->text));
}

CertificateJudge::Verdict CertificateJudge::Verify(const base::net::Peer& peer, int64_t now) const {
  Verdict out{.from = now, .until = now + kBadSeconds};
  X509Ptr leaf = FromDer(peer.certificate_der);
  std::vector<X509Ptr> owned;
  std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> untrusted(sk_X509_new_null(),
                                                                       [](STACK_OF(X509) * s) { sk_X509_free(s); });
  for (const auto& der : peer.intermediates_der)
    if (X509Ptr one = FromDer(der)) {
      sk_X509_push(untrusted.get(), one.get());
      owned.push_back(std::move(one));
    }
  std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> ctx(X509_STORE_CTX_new(), X509_STORE_CTX_free);
  if (!leaf || X509_STORE_CTX_init(ctx.get(), seen_->store.get(), leaf.get(), untrusted.get()) != 1) {
    out.text = "the certificate does not parse";
    ERR_clear_error();
    return out;
  }
  X509_STORE_CTX_set_purpose(ctx.get(), X509_PURPOSE_SSL_CLIENT);
  X509_STORE_CTX_set_time(ctx.get(), 0, static_cast<time_t>(now));
  out.good = X509_verify_cert(ctx.get()) == 1;
  if (out.good) {
    out.from = 0;
    out.until = std::numeric_limits<int64_t>::max();
    STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(ctx.get());
    for (int i = 0; i < sk_X509_num(chain); ++i) {
      const X509* one = sk_X509_value(chain, i);
      out.from = std::max(out.from, SecondsOf(X509_get0_notBefore(one)));
      out.until = std::min(out.until, SecondsOf(X509_get0_notAfter(one)) + 1);
    }
    out.text = "X509SHA256=" + base::HexEncode(base::Sha256(peer.certificate_der));
  } else {
    out.text = std::string("verifying certificate failed: ") +
               X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx.get()));
  }
  ERR_clear_error();
  return out;
}

}  // namespace apiserver::auth
