// Bytes and what one does to them: immutable shared buffers, hex, base64, integers in fixed byte order, CRC-32C,
// FNV-1a, SHA-256. Pure functions; thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace base {

// An immutable buffer shared by whoever sends or caches it. Never null where one is promised.
using SharedBytes = std::shared_ptr<const std::string>;
inline SharedBytes Share(std::string bytes) { return std::make_shared<const std::string>(std::move(bytes)); }

std::string HexEncode(std::string_view bytes);
std::optional<std::string> HexDecode(std::string_view hex);
// Standard alphabet with padding.
std::string Base64Encode(std::string_view bytes);
// Strict: standard alphabet, padded; nullopt otherwise.
std::optional<std::string> Base64Decode(std::string_view text);
// URL alphabet without padding (JWT, continue tokens).
std::string Base64UrlEncode(std::string_view bytes);
std::optional<std::string> Base64UrlDecode(std::string_view text);

void PutBigEndian32(std::string& out, uint32_t v);
void PutBigEndian64(std::string& out, uint64_t v);
void PutLittleEndian32(std::string& out, uint32_t v);
void PutLittleEndian64(std::string& out, uint64_t v);
// `in` must hold that many bytes.
uint32_t GetBigEndian32(const char* in);
uint64_t GetBigEndian64(const char* in);
uint32_t GetLittleEndian32(const char* in);
uint64_t GetLittleEndian64(const char* in);

// CRC-32C (Castagnoli) continued from `crc` (0 to start); hardware-accelerated where the CPU can.
uint32_t Crc32c(uint32_t crc, std::string_view bytes);
uint64_t Fnv1a64(std::string_view bytes);
uint32_t Fnv1a32(std::string_view bytes);
// 32 raw bytes.
std::string Sha256(std::string_view bytes);
// SHA-256 of what comes piece by piece. One thread.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(const Sha256Stream&) = delete;
  void Add(std::string_view bytes);
  // 32 raw bytes; nothing may be added afterwards.
  std::string Finish();

 private:
  void* context_;
};
// Random bytes fit for secrets.
std::string SecureRandomBytes(size_t n);
// A random (version 4) UUID in text form, from 16 given random bytes.
std::string UuidFromBytes(std::string_view sixteen_bytes);

}  // namespace base
