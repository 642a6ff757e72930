// Bearer tokens: those of a token file and those of service accounts (JWTs that this server signed). Liveness of a
// service account token (its account, pod, node, secret still exist with the same uid) is read from the registry's
// caches at every use; the signature is checked once and remembered.
//
// Made at start, on the server's loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/auth/authenticator.h"
#include "apiserver/auth/jwt.h"
#include "machinery/value/value.h"

namespace apiserver::registry {
class Registry;
}

namespace apiserver::auth {

struct TokenAnswer {
  machinery::request::Identity identity;  // without system:authenticated
  std::vector<std::string> audiences;     // those of `audiences` that the token is good for
};

class TokenAuthenticator {
 public:
  virtual ~TokenAuthenticator() = default;
  // nullopt: not a token of mine. `audiences`: one of them must be the token's; empty: the server's own.
  virtual base::Result<std::optional<TokenAnswer>> AuthenticateToken(const std::string& token,
                                                                     const std::vector<std::string>& audiences) = 0;
};

// `--token-auth-file`: CSV lines `token,user,uid,"group1,group2"`. Its tokens are good for every audience.
base::Result<std::unique_ptr<TokenAuthenticator>> TokenFile(std::string_view csv, std::vector<std::string> audiences);

struct ServiceAccountOptions {
  std::vector<std::string> issuers;  // the first one signs, all are accepted
  std::vector<std::string> audiences;
  bool extend_expiration = true;  // --service-account-extend-token-expiration
  int64_t max_expiration_seconds = 0;
};

// Signs tokens for serviceaccounts/token.
class TokenIssuer {
 public:
  struct Bound {  // what the token lives and dies with
    std::string kind, name, uid;
  };
  struct Claims {
    std::string namespace_name, account, account_uid;
    std::vector<std::string> audiences;
    int64_t now = 0, expiration_seconds = 3600, warn_after_seconds = 0;
    std::string id;  // jti
    std::optional<Bound> bound, node;
  };
  TokenIssuer(std::shared_ptr<const PrivateKey> key, ServiceAccountOptions options)
      : key_(std::move(key)), options_(std::move(options)) {}
  const ServiceAccountOptions& options() const { return options_; }
  // The work for a blocking pool: makes the token.
  std::function<base::Result<std::string>()> Signer(const Claims& claims) const;

 private:
  std::shared_ptr<const PrivateKey> key_;
  ServiceAccountOptions options_;
};

std::unique_ptr<TokenAuthenticator> ServiceAccountTokens(registry::Registry& registry, std::vector<PublicKey> keys,
                                                         ServiceAccountOptions options);

// Authorization: Bearer, for the chain; asks one after another. Errors become "invalid bearer token".
class BearerTokens final : public Authenticator, public TokenAuthenticator {
 public:
  explicit BearerTokens(std::vector<std::unique_ptr<TokenAuthenticator>> members) : members_(std::move(members)) {}
  base::Task<base::Result<std::optional<machinery::request::Identity>>> Authenticate(
      base::Context ctx, const Credentials& credentials) override;
  base::Result<std::optional<TokenAnswer>> AuthenticateToken(const std::string& token,
                                                             const std::vector<std::string>& audiences) override;

 private:
  std::vector<std::unique_ptr<TokenAuthenticator>> members_;
};

}  // namespace apiserver::auth
