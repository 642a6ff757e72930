// JSON Web Tokens (RFC 7515, 7518, 7519) as far as service accounts need them: RS256 and ES256/384/512 signatures over
// compact serializations, keys from PEM, and the public keys as a JWK set. Pure but for key parsing; thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "machinery/value/value.h"

namespace apiserver::auth {

struct KeyHandle;  // an OpenSSL key

class PublicKey {
 public:
  // Every key of a PEM text: PUBLIC KEY, RSA PUBLIC KEY, CERTIFICATE, and private keys (their public half).
  static base::Result<std::vector<PublicKey>> FromPem(std::string_view pem);
  const std::string& algorithm() const { return algorithm_; }  // "RS256"
  const std::string& key_id() const { return key_id_; }        // SHA-256 of the key's DER, base64url
  bool Verify(std::string_view signed_text, std::string_view signature) const;
  // {"use":"sig","kty":"RSA","kid":...}
  machinery::value::Value ToJwk() const;

 private:
  friend class PrivateKey;
  static base::Result<PublicKey> Make(std::shared_ptr<KeyHandle> key);
  std::shared_ptr<KeyHandle> key_;
  std::string algorithm_, key_id_;
};

class PrivateKey {
 public:
  static base::Result<std::shared_ptr<const PrivateKey>> FromPem(std::string_view pem);
  const PublicKey& public_key() const { return public_; }
  // A whole token with these claims. About a millisecond for RSA: not for the loop.
  base::Result<std::string> Sign(const machinery::value::Value& claims) const;

 private:
  std::shared_ptr<KeyHandle> key_;
  PublicKey public_;
};

struct ParsedToken {
  std::string algorithm, key_id;
  machinery::value::Value claims;
  std::string signed_text, signature;
};
// The parts; nothing is verified.
base::Result<ParsedToken> ParseToken(std::string_view token);

// {"keys":[...]}
std::string JwkSet(const std::vector<PublicKey>& keys);

}  // namespace apiserver::auth
