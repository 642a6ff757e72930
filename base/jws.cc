#include "base/jws.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <vector>

#include "base/bytes.h"
#include "base/deleter.h"

namespace base {
namespace {

using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using MdContext = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, Deleter<ECDSA_SIG_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;

const unsigned char* Bytes(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }
unsigned char* Bytes(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

class KeyImpl final : public JwsKey {
 public:
  explicit KeyImpl(std::string algorithm) : algorithm_(std::move(algorithm)), family_(algorithm_.substr(0, 2)) {}

  Status Load(std::string key) {
    std::string bits = algorithm_.size() > 2 ? algorithm_.substr(2) : "";
    digest_ = algorithm_ == "EdDSA" ? nullptr
              : bits == "256"       ? EVP_sha256()
              : bits == "384"       ? EVP_sha384()
              : bits == "512"       ? EVP_sha512()
                                    : nullptr;
    if (algorithm_ != "EdDSA" && digest_ == nullptr) return InvalidArgument("unknown algorithm " + algorithm_);
    if (family_ == "HS") {
      if (key.empty()) return InvalidArgument("the key is empty");
      secret_ = std::move(key);
      return Ok();
    }
    Bio text(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
    key_.reset(PEM_read_bio_PrivateKey(text.get(), nullptr, nullptr, nullptr));
    private_ = key_ != nullptr;
    if (!private_) {
      text.reset(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
      key_.reset(PEM_read_bio_PUBKEY(text.get(), nullptr, nullptr, nullptr));
    }
    if (!key_) {
      text.reset(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
      Certificate certificate(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
      if (certificate) key_.reset(X509_get_pubkey(certificate.get()));
    }
    if (!key_) return InvalidArgument("the key is not PEM");
    int want = family_ == "RS" || family_ == "PS" ? EVP_PKEY_RSA : family_ == "ES" ? EVP_PKEY_EC : EVP_PKEY_ED25519;
    if (EVP_PKEY_base_id(key_.get()) != want) return InvalidArgument("the key is not of algorithm " + algorithm_);
    return Ok();
  }

  bool can_sign() const override { return private_ || !secret_.empty(); }

  Result<std::string> Sign(std::string_view payload) const override {
    if (!can_sign()) return Err(FailedPrecondition("token signing attempted with verify-only key"));
    std::string input =
        Base64UrlEncode("{\"alg\":\"" + algorithm_ + "\",\"typ\":\"JWT\"}") + "." + Base64UrlEncode(payload);
    auto signature = SignBytes(input);
    if (!signature) return Err(signature.error());
    return input + "." + Base64UrlEncode(*signature);
  }

  std::optional<std::string> Verify(std::string_view token) const override {
    size_t first = token.find('.'), second = token.rfind('.');
    if (first == std::string_view::npos || first == second) return std::nullopt;
    auto header = Base64UrlDecode(token.substr(0, first));
    auto payload = Base64UrlDecode(token.substr(first + 1, second - first - 1));
    auto signature = Base64UrlDecode(token.substr(second + 1));
    if (!header || !payload || !signature) return std::nullopt;
    // The header must name this algorithm; what else it says does not matter.
    if (!NamesAlgorithm(*header) || !VerifyBytes(token.substr(0, second), *signature)) return std::nullopt;
    return payload;
  }

 private:
  bool NamesAlgorithm(std::string_view header) const {
    size_t at = header.find("\"alg\"");
    if (at == std::string_view::npos) return false;
    at = header.find_first_not_of(" \t\r\n:", at + 5);
    return at != std::string_view::npos && header.substr(at).starts_with("\"" + algorithm_ + "\"");
  }

  bool Prepare(EVP_MD_CTX* ctx, bool sign) const {
    EVP_PKEY_CTX* pkey = nullptr;
    int ok = sign ? EVP_DigestSignInit(ctx, &pkey, digest_, nullptr, key_.get())
                  : EVP_DigestVerifyInit(ctx, &pkey, digest_, nullptr, key_.get());
    if (ok == 1 && family_ == "PS") {
      ok = EVP_PKEY_CTX_set_rsa_padding(pkey, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey, sign ? RSA_PSS_SALTLEN_DIGEST : RSA_PSS_SALTLEN_AUTO) == 1;
    }
    return ok == 1;
  }

  std::string Mac(std::string_view input) const {
    std::string out(EVP_MAX_MD_SIZE, '\0');
    unsigned size = 0;
    HMAC(digest_, secret_.data(), static_cast<int>(secret_.size()), Bytes(input), input.size(), Bytes(out), &size);
    out.resize(size);
    return out;
  }

  // ECDSA's signature in a token is r and s side by side, each as long as the curve's order.
  size_t HalfSize() const { return static_cast<size_t>((EVP_PKEY_bits(key_.get()) + 7) / 8); }

  Result<std::string> SignBytes(std::string_view input) const {
    if (family_ == "HS") return Mac(input);
    MdContext ctx(EVP_MD_CTX_new());
    size_t size = 0;
    if (!Prepare(ctx.get(), true) || EVP_DigestSign(ctx.get(), nullptr, &size, Bytes(input), input.size()) != 1) {
      return Err(Internal("cannot sign"));
    }
    std::string out(size, '\0');
    if (EVP_DigestSign(ctx.get(), Bytes(out), &size, Bytes(input), input.size()) != 1) {
      return Err(Internal("cannot sign"));
    }
    out.resize(size);
    if (family_ != "ES") return out;
    const unsigned char* at = Bytes(std::string_view(out));
    EcSignature sig(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(out.size())));
    if (!sig) return Err(Internal("cannot sign"));
    std::string raw(2 * HalfSize(), '\0');
    BN_bn2binpad(ECDSA_SIG_get0_r(sig.get()), Bytes(raw), static_cast<int>(HalfSize()));
    BN_bn2binpad(ECDSA_SIG_get0_s(sig.get()), Bytes(raw) + HalfSize(), static_cast<int>(HalfSize()));
    return raw;
  }

  bool VerifyBytes(std::string_view input, const std::string& signature) const {
    if (family_ == "HS") {
      std::string want = Mac(input);
      unsigned differ = want.size() != signature.size();
      for (size_t i = 0; i < want.size() && i < signature.size(); ++i) {
        differ |= static_cast<unsigned char>(want[i] ^ signature[i]);
      }
      return differ == 0;
    }
    std::string der = signature;
    if (family_ == "ES") {
      size_t half = HalfSize();
      if (signature.size() != 2 * half) return false;
      EcSignature sig(ECDSA_SIG_new());
      ECDSA_SIG_set0(sig.get(), BN_bin2bn(Bytes(std::string_view(signature)), static_cast<int>(half), nullptr),
                     BN_bin2bn(Bytes(std::string_view(signature)) + half, static_cast<int>(half), nullptr));
      int size = i2d_ECDSA_SIG(sig.get(), nullptr);
      if (size <= 0) return false;
      der.assign(static_cast<size_t>(size), '\0');
      unsigned char* at = Bytes(der);
      i2d_ECDSA_SIG(sig.get(), &at);
    }
    MdContext ctx(EVP_MD_CTX_new());
    return Prepare(ctx.get(), false) &&
           EVP_DigestVerify(ctx.get(), Bytes(std::string_view(der)), der.size(), Bytes(input), input.size()) == 1;
  }

  std::string algorithm_, family_;
  const EVP_MD* digest_ = nullptr;
  std::string secret_;
  Key key_;
  bool private_ = false;
};

}  // namespace

Result<std::shared_ptr<const JwsKey>> JwsKey::Make(std::string algorithm, std::string key) {
  auto out = std::make_shared<KeyImpl>(std::move(algorithm));
  TRY(out->Load(std::move(key)));
  return std::shared_ptr<const JwsKey>(out);
}

}  // namespace base
