// What --auth-token asks for: simple tokens, which the members remember, or signed JSON web tokens, which carry the
// user and the revision themselves. Pure but for reading the key files at start; any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/executor.h"
#include "base/jws.h"
#include "kvstore/mvcc/auth.h"

namespace base {
class FileSystem;
}

namespace kvstore::service {

struct TokenPolicy {
  // Null: simple tokens.
  std::shared_ptr<const base::JwsKey> jwt;
  base::Duration ttl = std::chrono::seconds(300);

  // A signed token for `who`. kFailedPrecondition: the key only verifies.
  base::Result<std::string> Sign(const mvcc::Identity& who, base::WallTime now) const;
  std::optional<mvcc::Identity> Verify(const std::string& token, base::WallTime now) const;
};

// "simple", or "jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m".
base::Result<TokenPolicy> ParseTokenPolicy(base::FileSystem& fs, const std::string& text, base::Duration simple_ttl);

}  // namespace kvstore::service
