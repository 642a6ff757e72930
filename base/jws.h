// Signatures of JSON web tokens (RFC 7515, 7518, 8037): HS256/384/512, RS256/384/512, PS256/384/512, ES256/384/512,
// EdDSA (Ed25519). Claims are the caller's business. Thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace base {

class JwsKey {
 public:
  // `algorithm` as in the token's header. `key`: the secret's bytes (HS*), otherwise a PEM text: private, public,
  // or a certificate whose key it is.
  static Result<std::shared_ptr<const JwsKey>> Make(std::string algorithm, std::string key);
  virtual ~JwsKey() = default;
  // False: made from a public key.
  virtual bool can_sign() const = 0;
  // header.payload.signature, the header being {"alg":...,"typ":"JWT"}.
  virtual Result<std::string> Sign(std::string_view payload_json) const = 0;
  // The payload of a token with this algorithm and a good signature.
  virtual std::optional<std::string> Verify(std::string_view token) const = 0;
};

}  // namespace base
