#include "apiserver/auth/jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/bytes.h"

namespace apiserver::auth {

using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

struct KeyHandle {
  explicit KeyHandle(EVP_PKEY* k) : key(k) {}
  KeyHandle(const KeyHandle&) = delete;
  ~KeyHandle() { EVP_PKEY_free(key); }
  EVP_PKEY* key;
};

namespace {

template <class T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* p) const { Free(p); }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO, BIO_free_all>>;
using MdCtx = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX, EVP_MD_CTX_free>>;
using EcSig = std::unique_ptr<ECDSA_SIG, Deleter<ECDSA_SIG, ECDSA_SIG_free>>;
using Bn = std::unique_ptr<BIGNUM, Deleter<BIGNUM, BN_free>>;

// Of the curve: the algorithm's name and the bytes of one coordinate.
struct Curve {
  const char* algorithm;
  const char* name;
  int bytes;
};
const Curve* CurveOf(int bits) {
  static constexpr Curve kCurves[] = {{"ES256", "P-256", 32}, {"ES384", "P-384", 48}, {"ES512", "P-521", 66}};
  return bits == 256 ? &kCurves[0] : bits == 384 ? &kCurves[1] : bits == 521 ? &kCurves[2] : nullptr;
}

const EVP_MD* DigestOf(std::string_view algorithm) {
  return algorithm.ends_with("384") ? EVP_sha384() : algorithm.ends_with("512") ? EVP_sha512() : EVP_sha256();
}

const unsigned char* Bytes(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

std::string BnBytes(const BIGNUM* n, int width = 0) {
  std::string out(width ? width : BN_num_bytes(n), '\0');
  BN_bn2binpad(n, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size()));
  return out;
}

std::string Parameter(EVP_PKEY* key, const char* name, int width = 0) {
  BIGNUM* n = nullptr;
  if (!EVP_PKEY_get_bn_param(key, name, &n)) return "";
  Bn owner(n);
  return BnBytes(n, width);
}

EVP_PKEY* ReadAnyKey(std::string_view block) {
  auto bio = [&] { return Bio(BIO_new_mem_buf(block.data(), static_cast<int>(block.size()))); };
  if (block.find("CERTIFICATE") != block.npos) {
    X509* cert = PEM_read_bio_X509(bio().get(), nullptr, nullptr, nullptr);
    if (!cert) return nullptr;
    EVP_PKEY* key = X509_get_pubkey(cert);
    X509_free(cert);
    return key;
  }
  if (block.find("PRIVATE KEY") != block.npos) return PEM_read_bio_PrivateKey(bio().get(), nullptr, nullptr, nullptr);
  // OpenSSL 3 reads "RSA PUBLIC KEY" here too.
  return PEM_read_bio_PUBKEY(bio().get(), nullptr, nullptr, nullptr);
}

std::vector<std::string_view> PemBlocks(std::string_view pem) {
  std::vector<std::string_view> out;
  size_t at = 0;
  while ((at = pem.find("-----BEGIN ", at)) != pem.npos) {
    size_t end = pem.find("-----END ", at);
    if (end == pem.npos) break;
    size_t line = pem.find('\n', end);
    line = line == pem.npos ? pem.size() : line + 1;
    out.push_back(pem.substr(at, line - at));
    at = line;
  }
  return out;
}

}  // namespace

base::Result<PublicKey> PublicKey::Make(std::shared_ptr<KeyHandle> key) {
  PublicKey out;
  int type = EVP_PKEY_get_base_id(key->key);
  if (type == EVP_PKEY_RSA) {
    out.algorithm_ = "RS256";
  } else if (type == EVP_PKEY_EC) {
    const Curve* curve = CurveOf(EVP_PKEY_get_bits(key->key));
    if (!curve) return base::Err(base::InvalidArgument("unknown private key curve, must be 256, 384, or 521"));
    out.algorithm_ = curve->algorithm;
  } else {
    return base::Err(base::InvalidArgument("unknown private key type, must be *rsa.PrivateKey, *ecdsa.PrivateKey"));
  }
  unsigned char* der = nullptr;
  int n = i2d_PUBKEY(key->key, &der);
  if (n <= 0) return base::Err(base::InvalidArgument("the public key cannot be encoded"));
  out.key_id_ = base::Base64UrlEncode(base::Sha256({reinterpret_cast<char*>(der), static_cast<size_t>(n)}));
  OPENSSL_free(der);
  out.key_ = std::move(key);
  return out;
}

base::Result<std::vector<PublicKey>> PublicKey::FromPem(std::string_view pem) {
  std::vector<PublicKey> out;
  for (std::string_view block : PemBlocks(pem)) {
    if (block.find("EC PARAMETERS") != block.npos) continue;
    EVP_PKEY* key = ReadAnyKey(block);
    ERR_clear_error();
    if (!key) continue;
    TRY_ASSIGN(PublicKey one, Make(std::make_shared<KeyHandle>(key)));
    out.push_back(std::move(one));
  }
  if (out.empty()) return base::Err(base::InvalidArgument("data does not contain any valid RSA or ECDSA public keys"));
  return out;
}

bool PublicKey::Verify(std::string_view text, std::string_view signature) const {
  std::string der;
  if (algorithm_[0] == 'E') {
    // JWS carries r and s side by side, OpenSSL wants them in DER.
    if (signature.size() % 2) return false;
    size_t half = signature.size() / 2;
    EcSig sig(ECDSA_SIG_new());
    ECDSA_SIG_set0(sig.get(), BN_bin2bn(Bytes(signature), static_cast<int>(half), nullptr),
                   BN_bin2bn(Bytes(signature) + half, static_cast<int>(half), nullptr));
    unsigned char* p = nullptr;
    int n = i2d_ECDSA_SIG(sig.get(), &p);
    if (n <= 0) return false;
    der.assign(reinterpret_cast<char*>(p), n);
    OPENSSL_free(p);
    signature = der;
  }
  MdCtx ctx(EVP_MD_CTX_new());
  bool good = EVP_DigestVerifyInit(ctx.get(), nullptr, DigestOf(algorithm_), nullptr, key_->key) == 1 &&
              EVP_DigestVerify(ctx.get(), Bytes(signature), signature.size(), Bytes(text), text.size()) == 1;
  ERR_clear_error();
  return good;
}

Value PublicKey::ToJwk() const {
  Map jwk;
  jwk.Set("use", "sig");
  EVP_PKEY* key = key_->key;
  auto number = [&](const char* name, int width = 0) { return base::Base64UrlEncode(Parameter(key, name, width)); };
  if (algorithm_[0] == 'R') {
    jwk.Set("kty", "RSA");
    jwk.Set("kid", key_id_);
    jwk.Set("alg", algorithm_);
    jwk.Set("n", number(OSSL_PKEY_PARAM_RSA_N));
    jwk.Set("e", number(OSSL_PKEY_PARAM_RSA_E));
  } else {
    const Curve* curve = CurveOf(EVP_PKEY_get_bits(key));
    jwk.Set("kty", "EC");
    jwk.Set("kid", key_id_);
    jwk.Set("crv", curve->name);
    jwk.Set("alg", algorithm_);
    jwk.Set("x", number(OSSL_PKEY_PARAM_EC_PUB_X, curve->bytes));
    jwk.Set("y", number(OSSL_PKEY_PARAM_EC_PUB_Y, curve->bytes));
  }
  return Value(std::move(jwk));
}

base::Result<std::shared_ptr<const PrivateKey>> PrivateKey::FromPem(std::string_view pem) {
  for (std::string_view block : PemBlocks(pem)) {
    if (block.find("PRIVATE KEY") == block.npos) continue;
    EVP_PKEY* key = ReadAnyKey(block);
    ERR_clear_error();
    if (!key) continue;
    auto out = std::make_shared<PrivateKey>();
    out->key_ = std::make_shared<KeyHandle>(key);
    TRY_ASSIGN(out->public_, PublicKey::Make(out->key_));
    return out;
  }
  return base::Err(base::InvalidArgument("data does not contain a valid RSA or ECDSA private key"));
}

base::Result<std::string> PrivateKey::Sign(const Value& claims) const {
  Map header;
  header.Set("alg", public_.algorithm());
  header.Set("kid", public_.key_id());
  std::string text = base::Base64UrlEncode(machinery::value::ToJson(Value(std::move(header)))) + "." +
                     base::Base64UrlEncode(machinery::value::ToJson(claims, false, true));
  MdCtx ctx(EVP_MD_CTX_new());
  size_t size = 0;
  if (EVP_DigestSignInit(ctx.get(), nullptr, DigestOf(public_.algorithm()), nullptr, key_->key) != 1 ||
      EVP_DigestSign(ctx.get(), nullptr, &size, Bytes(text), text.size()) != 1)
    return base::Err(base::Internal("failed to sign token"));
  std::string signature(size, '\0');
  if (EVP_DigestSign(ctx.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, Bytes(text), text.size()) !=
      1)
    return base::Err(base::Internal("failed to sign token"));
  signature.resize(size);
  if (public_.algorithm()[0] == 'E') {
    const unsigned char* p = Bytes(signature);
    EcSig sig(d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(signature.size())));
    int width = CurveOf(EVP_PKEY_get_bits(key_->key))->bytes;
    signature = BnBytes(ECDSA_SIG_get0_r(sig.get()), width) + BnBytes(ECDSA_SIG_get0_s(sig.get()), width);
  }
  return text + "." + base::Base64UrlEncode(signature);
}

base::Result<ParsedToken> ParseToken(std::string_view token) {
  auto bad = [] { return base::Err(base::Unauthenticated("invalid bearer token")); };
  size_t first = token.find('.');
  size_t second = first == token.npos ? token.npos : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) return bad();
  auto header = base::Base64UrlDecode(token.substr(0, first));
  auto payload = base::Base64UrlDecode(token.substr(first + 1, second - first - 1));
  auto signature = base::Base64UrlDecode(token.substr(second + 1));
  if (!header || !payload || !signature) return bad();
  auto head = machinery::value::FromJson(*header, {.max_depth = 16, .max_nodes = 100});
  auto claims = machinery::value::FromJson(*payload, {.max_depth = 64, .max_nodes = 10000});
  if (!head || !claims) return bad();
  ParsedToken out;
  out.algorithm = head->At("alg").string_or();
  out.key_id = head->At("kid").string_or();
  out.claims = std::move(*claims);
  out.signed_text = token.substr(0, second);
  out.signature = std::move(*signature);
  return out;
}

std::string JwkSet(const std::vector<PublicKey>& keys) {
  List list;
  for (const auto& key : keys) list.push_back(key.ToJwk());
  Map set;
  set.Set("keys", Value(std::move(list)));
  return machinery::value::ToJson(Value(std::move(set)));
}

}  // namespace apiserver::auth
