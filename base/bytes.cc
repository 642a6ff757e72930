#include "base/bytes.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <cstring>

#include "base/status.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace base {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr char kStandard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kUrl[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<int8_t, 256> Inverse(const char* alphabet) {
  std::array<int8_t, 256> table{};
  for (auto& v : table) v = -1;
  for (int i = 0; i < 64; ++i) table[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
  return table;
}
constexpr auto kStandardInverse = Inverse(kStandard);
constexpr auto kUrlInverse = Inverse(kUrl);

std::string EncodeBase64(std::string_view in, const char* alphabet, bool pad) {
  std::string out;
  out.reserve((in.size() + 2) / 3 * 4);
  size_t i = 0;
  auto byte = [&](size_t at) { return static_cast<uint32_t>(static_cast<uint8_t>(in[at])); };
  for (; i + 3 <= in.size(); i += 3) {
    uint32_t v = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    const char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63], alphabet[v >> 6 & 63], alphabet[v & 63]};
    out.append(four, 4);
  }
  size_t rest = in.size() - i;
  if (rest == 0) return out;
  uint32_t v = byte(i) << 16 | (rest == 2 ? byte(i + 1) << 8 : 0);
  out.push_back(alphabet[v >> 18]);
  out.push_back(alphabet[v >> 12 & 63]);
  if (rest == 2) out.push_back(alphabet[v >> 6 & 63]);
  if (pad) out.append(3 - rest, '=');
  return out;
}

// `in` without padding. Rejects bits that no encoder would have left in the last character.
std::optional<std::string> DecodeBase64(std::string_view in, const std::array<int8_t, 256>& inverse) {
  if (in.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(in.size() / 4 * 3 + 2);
  uint32_t v = 0;
  int bits = 0;
  for (char c : in) {
    int digit = inverse[static_cast<uint8_t>(c)];
    if (digit < 0) return std::nullopt;
    v = v << 6 | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<char>(v >> bits & 0xff));
    }
  }
  if ((v & ((1u << bits) - 1)) != 0) return std::nullopt;
  return out;
}

constexpr std::array<std::array<uint32_t, 256>, 8> MakeCrcTables() {
  std::array<std::array<uint32_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) ? (c >> 1) ^ 0x82f63b78u : c >> 1;
    t[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; ++i)
    for (size_t k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
  return t;
}
constexpr auto kCrc = MakeCrcTables();

uint32_t CrcByTable(uint32_t c, const uint8_t* p, size_t n) {
  while (n >= 8) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    v ^= c;
    c = kCrc[7][v & 0xff] ^ kCrc[6][v >> 8 & 0xff] ^ kCrc[5][v >> 16 & 0xff] ^ kCrc[4][v >> 24 & 0xff] ^
        kCrc[3][v >> 32 & 0xff] ^ kCrc[2][v >> 40 & 0xff] ^ kCrc[1][v >> 48 & 0xff] ^ kCrc[0][v >> 56];
    p += 8;
    n -= 8;
  }
  while (n-- > 0) c = kCrc[0][(c ^ *p++) & 0xff] ^ (c >> 8);
  return c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t CrcByInstruction(uint32_t crc, const uint8_t* p, size_t n) {
  uint64_t c = crc;
  while (n >= 8) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    c = _mm_crc32_u64(c, v);
    p += 8;
    n -= 8;
  }
  auto c32 = static_cast<uint32_t>(c);
  while (n-- > 0) c32 = _mm_crc32_u8(c32, *p++);
  return c32;
}
const bool kHaveCrcInstruction = __builtin_cpu_supports("sse4.2");
#endif

template <class T, bool kBig>
void PutInt(std::string& out, T v) {
  char b[sizeof(T)];
  for (size_t i = 0; i < sizeof(T); ++i) b[kBig ? sizeof(T) - 1 - i : i] = static_cast<char>(v >> (8 * i));
  out.append(b, sizeof(T));
}
template <class T, bool kBig>
T GetInt(const char* in) {
  T v = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    v |= static_cast<T>(static_cast<uint8_t>(in[kBig ? sizeof(T) - 1 - i : i])) << (8 * i);
  return v;
}

}  // namespace

std::string HexEncode(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (char c : bytes) {
    out.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
    out.push_back(kDigits[static_cast<uint8_t>(c) & 15]);
  }
  return out;
}

std::optional<std::string> HexDecode(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string out;
  out.reserve(hex.size() / 2);
  for (size_t i = 0; i < hex.size(); i += 2) {
    int high = HexDigit(hex[i]), low = HexDigit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<char>(high << 4 | low));
  }
  return out;
}

std::string Base64Encode(std::string_view bytes) { return EncodeBase64(bytes, kStandard, true); }
std::string Base64UrlEncode(std::string_view bytes) { return EncodeBase64(bytes, kUrl, false); }

std::optional<std::string> Base64Decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return DecodeBase64(text, kStandardInverse);
}
std::optional<std::string> Base64UrlDecode(std::string_view text) { return DecodeBase64(text, kUrlInverse); }

void PutBigEndian32(std::string& out, uint32_t v) { PutInt<uint32_t, true>(out, v); }
void PutBigEndian64(std::string& out, uint64_t v) { PutInt<uint64_t, true>(out, v); }
void PutLittleEndian32(std::string& out, uint32_t v) { PutInt<uint32_t, false>(out, v); }
void PutLittleEndian64(std::string& out, uint64_t v) { PutInt<uint64_t, false>(out, v); }
uint32_t GetBigEndian32(const char* in) { return GetInt<uint32_t, true>(in); }
uint64_t GetBigEndian64(const char* in) { return GetInt<uint64_t, true>(in); }
uint32_t GetLittleEndian32(const char* in) { return GetInt<uint32_t, false>(in); }
uint64_t GetLittleEndian64(const char* in) { return GetInt<uint64_t, false>(in); }

uint32_t Crc32c(uint32_t crc, std::string_view bytes) {
  const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
#if defined(__x86_64__)
  if (kHaveCrcInstruction) return ~CrcByInstruction(~crc, p, bytes.size());
#endif
  return ~CrcByTable(~crc, p, bytes.size());
}

namespace internal {
// The path of machines without the instruction, for the test that compares both.
uint32_t Crc32cByTable(uint32_t crc, std::string_view bytes) {
  return ~CrcByTable(~crc, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}
}  // namespace internal

uint64_t Fnv1a64(std::string_view bytes) {
  uint64_t h = 0xcbf29ce484222325u;
  for (char c : bytes) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return h;
}
uint32_t Fnv1a32(std::string_view bytes) {
  uint32_t h = 0x811c9dc5u;
  for (char c : bytes) h = (h ^ static_cast<uint8_t>(c)) * 0x01000193u;
  return h;
}

std::string Sha256(std::string_view bytes) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  unsigned size = 0;
  CHECK(EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<uint8_t*>(out.data()), &size, EVP_sha256(), nullptr));
  return out;
}

Sha256Stream::Sha256Stream() : context_(EVP_MD_CTX_new()) {
  CHECK(context_ != nullptr && EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) == 1);
}
Sha256Stream::~Sha256Stream() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }
void Sha256Stream::Add(std::string_view bytes) {
  CHECK(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) == 1);
}
std::string Sha256Stream::Finish() {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), reinterpret_cast<uint8_t*>(out.data()), &size) == 1);
  return out;
}

std::string SecureRandomBytes(size_t n) {
  std::string out(n, '\0');
  CHECK_MSG(RAND_bytes(reinterpret_cast<uint8_t*>(out.data()), static_cast<int>(n)) == 1, "no entropy");
  return out;
}

std::string UuidFromBytes(std::string_view sixteen_bytes) {
  CHECK(sixteen_bytes.size() == 16);
  std::string b(sixteen_bytes);
  b[6] = static_cast<char>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<char>((b[8] & 0x3f) | 0x80);
  std::string out = HexEncode(b);
  for (size_t at : {8, 13, 18, 23}) out.insert(at, 1, '-');
  return out;
}

}  // namespace base
