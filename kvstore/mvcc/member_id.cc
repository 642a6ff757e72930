#include "kvstore/mvcc/member_id.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"

namespace kvstore::mvcc {
namespace {

// FIPS 180-4. Only a way to name things here: nothing rests on its strength.
uint64_t Sha1Prefix(std::string message) {
  uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  uint64_t bits = message.size() * 8;
  message.push_back('\x80');
  while (message.size() % 64 != 56) message.push_back('\0');
  base::PutBigEndian64(message, bits);
  for (size_t block = 0; block < message.size(); block += 64) {
    uint32_t w[80];
    for (int i = 0; i < 16; ++i) w[i] = base::GetBigEndian32(message.data() + block + 4 * static_cast<size_t>(i));
    for (int i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; ++i) {
      uint32_t f, k;
      if (i < 20) {
        f = (b & c) | (~b & d);
        k = 0x5a827999;
      } else if (i < 40) {
        f = b ^ c ^ d;
        k = 0x6ed9eba1;
      } else if (i < 60) {
        f = (b & c) | (b & d) | (c & d);
        k = 0x8f1bbcdc;
      } else {
        f = b ^ c ^ d;
        k = 0xca62c1d6;
      }
      uint32_t t = std::rotl(a, 5) + f + e + k + w[i];
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
  }
  return static_cast<uint64_t>(h[0]) << 32 | h[1];
}

}  // namespace

uint64_t MemberId(std::vector<std::string> peer_urls, std::string_view cluster_token) {
  std::sort(peer_urls.begin(), peer_urls.end());
  std::string all;
  for (const std::string& u : peer_urls) all += u;
  all += cluster_token;
  return Sha1Prefix(std::move(all));
}

uint64_t ClusterId(std::vector<uint64_t> member_ids) {
  std::sort(member_ids.begin(), member_ids.end());
  std::string all;
  for (uint64_t id : member_ids) base::PutBigEndian64(all, id);
  return Sha1Prefix(std::move(all));
}

}  // namespace kvstore::mvcc
