#include "base/bcrypt.h"

#include <crypt.h>

#include <cstring>
#include <memory>

#include "base/bytes.h"

namespace base {
namespace {

constexpr size_t kMaxPassword = 72;

std::string Crypt(const std::string& password, const char* setting) {
  // Half a page of scratch too large for a coroutine's frame or a small stack.
  auto data = std::make_unique<crypt_data>();
  const char* out = crypt_r(password.c_str(), setting, data.get());
  return out == nullptr || out[0] == '*' ? "" : out;
}

}  // namespace

Result<std::string> BcryptHash(const std::string& password, int cost) {
  if (password.size() > kMaxPassword) return Err(InvalidArgument("bcrypt: password length exceeds 72 bytes"));
  if (password.find('\0') != std::string::npos) return Err(InvalidArgument("bcrypt: password holds a zero byte"));
  std::string random = SecureRandomBytes(16);
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  const char* made = crypt_gensalt_rn("$2a$", static_cast<unsigned long>(cost), random.data(),
                                      static_cast<int>(random.size()), setting, sizeof setting);
  if (made == nullptr) return Err(InvalidArgument("bcrypt: cost " + std::to_string(cost) + " is outside 4..31"));
  std::string hash = Crypt(password, setting);
  if (hash.empty()) return Err(Internal("bcrypt is not available"));
  return hash;
}

bool BcryptMatches(const std::string& hash, const std::string& password) {
  if (!hash.starts_with("$2") || password.find('\0') != std::string::npos) return false;
  std::string got = Crypt(password, hash.c_str());
  if (got.size() != hash.size() || got.empty()) return false;
  unsigned differ = 0;
  for (size_t i = 0; i < got.size(); ++i) differ |= static_cast<unsigned char>(got[i] ^ hash[i]);
  return differ == 0;
}

}  // namespace base
