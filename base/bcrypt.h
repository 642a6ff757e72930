// Password hashes in bcrypt's text form ("$2a$10$..."), as other programs write and read them. Slow by purpose: call on
// a blocking pool. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace base {

inline constexpr int kBcryptMinCost = 4, kBcryptMaxCost = 31, kBcryptDefaultCost = 10;

// kInvalidArgument: the password is longer than bcrypt looks at (72 bytes) or holds a zero byte.
Result<std::string> BcryptHash(const std::string& password, int cost);
bool BcryptMatches(const std::string& hash, const std::string& password);

}  // namespace base
