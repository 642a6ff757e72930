// The addresses half of names.h.
#include <charconv>
#include <cstring>

#include "machinery/object/go_text.h"
#include "machinery/object/names.h"

namespace machinery::object {
namespace {

constexpr const char* kBadIp = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
constexpr const char* kBadCidr = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

// Decimal without sign; leading zeros are counted, not refused.
bool ParseDecimal(std::string_view s, int max, int* out, bool* leading_zero) {
  if (s.empty() || s.size() > 9) return false;
  int v = 0;
  for (char c : s) {
    if (c < '0' || c > '9') return false;
    v = v * 10 + (c - '0');
    if (v > max) return false;
  }
  if (s.size() > 1 && s[0] == '0') *leading_zero = true;
  *out = v;
  return true;
}

bool ParseV4(std::string_view s, uint8_t* out, bool* leading_zero) {
  for (int i = 0; i < 4; ++i) {
    size_t dot = s.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return false;
    int v = 0;
    if (!ParseDecimal(s.substr(0, dot), 255, &v, leading_zero)) return false;
    out[i] = static_cast<uint8_t>(v);
    if (i < 3) s.remove_prefix(dot + 1);
  }
  return true;
}

struct V6Parser {
  std::string_view rest;
  uint8_t bytes[16] = {};
  int filled = 0;
  int gap = -1;
  bool leading_zero = false;

  bool Group() {
    size_t end = rest.find(':');
    std::string_view part = rest.substr(0, end);
    if (part.find('.') != std::string_view::npos) {
      if (filled > 12 || end != std::string_view::npos || !ParseV4(part, bytes + filled, &leading_zero)) return false;
      filled += 4;
      rest = {};
      return true;
    }
    unsigned v = 0;
    auto [p, ec] = std::from_chars(part.data(), part.data() + part.size(), v, 16);
    if (part.empty() || part.size() > 4 || ec != std::errc() || p != part.data() + part.size()) return false;
    bytes[filled++] = static_cast<uint8_t>(v >> 8);
    bytes[filled++] = static_cast<uint8_t>(v & 255);
    rest.remove_prefix(part.size());
    return true;
  }

  bool Run() {
    if (rest.starts_with("::")) {
      gap = 0;
      rest.remove_prefix(2);
      if (rest.empty()) return true;
    }
    while (filled < 16) {
      if (!Group()) return false;
      if (rest.empty()) break;
      rest.remove_prefix(1);  // the colon
      if (rest.starts_with(':')) {
        if (gap >= 0) return false;
        gap = filled;
        rest.remove_prefix(1);
        if (rest.empty()) break;
      } else if (rest.empty()) {
        return false;
      }
    }
    if (!rest.empty() || (gap < 0 && filled != 16) || (gap >= 0 && filled == 16)) return false;
    if (gap >= 0) {
      int moved = filled - gap;
      std::memmove(bytes + 16 - moved, bytes + gap, moved);
      std::memset(bytes + gap, 0, 16 - filled);
    }
    return true;
  }
};

constexpr uint8_t kV4Prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

std::string V6Text(const uint8_t* b) {
  auto group = [&](int i) { return b[2 * i] << 8 | b[2 * i + 1]; };
  int best = -1, best_length = 1;  // a single zero group is not shortened
  for (int i = 0; i < 8;) {
    int end = i;
    while (end < 8 && group(end) == 0) ++end;
    if (end - i > best_length) best = i, best_length = end - i;
    i = end == i ? i + 1 : end;
  }
  std::string out;
  for (int i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::";
      i += best_length - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    char text[8];
    auto end = std::to_chars(text, text + sizeof text, group(i), 16).ptr;
    out.append(text, end);
  }
  return out;
}

}  // namespace

std::optional<Ip> ParseIp(std::string_view s) {
  Ip ip;
  if (s.find(':') == std::string_view::npos) {
    std::memcpy(ip.bytes, kV4Prefix, 12);
    ip.v4 = true;
    if (!ParseV4(s, ip.bytes + 12, &ip.leading_zero)) return std::nullopt;
    return ip;
  }
  V6Parser p{.rest = s};
  if (!p.Run()) return std::nullopt;
  std::memcpy(ip.bytes, p.bytes, 16);
  ip.leading_zero = p.leading_zero;
  ip.v4 = ip.mapped = std::memcmp(ip.bytes, kV4Prefix, 12) == 0;
  return ip;
}

bool operator==(const Ip& a, const Ip& b) { return std::memcmp(a.bytes, b.bytes, 16) == 0; }

std::string Ip::ToString() const {
  if (!v4) return V6Text(bytes);
  std::string out;
  for (int i = 12; i < 16; ++i) out += (i > 12 ? "." : "") + std::to_string(bytes[i]);
  return out;
}
bool Ip::IsUnspecified() const {
  for (int i = v4 ? 12 : 0; i < 16; ++i)
    if (bytes[i] != 0) return false;
  return true;
}
bool Ip::IsLoopback() const {
  if (v4) return bytes[12] == 127;
  for (int i = 0; i < 15; ++i)
    if (bytes[i] != 0) return false;
  return bytes[15] == 1;
}
bool Ip::IsLinkLocalUnicast() const {
  return v4 ? bytes[12] == 169 && bytes[13] == 254 : bytes[0] == 0xFE && (bytes[1] & 0xC0) == 0x80;
}
bool Ip::IsLinkLocalMulticast() const {
  return v4 ? bytes[12] == 224 && bytes[13] == 0 && bytes[14] == 0 : bytes[0] == 0xFF && (bytes[1] & 0x0F) == 0x02;
}

std::optional<Cidr> ParseCidr(std::string_view s) {
  size_t slash = s.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  std::optional<Ip> ip = ParseIp(s.substr(0, slash));
  if (!ip) return std::nullopt;
  Cidr c;
  c.address = *ip;
  c.leading_zero = ip->leading_zero;
  bool written_v4 = ip->v4 && !ip->mapped;
  if (!ParseDecimal(s.substr(slash + 1), written_v4 ? 32 : 128, &c.prefix, &c.leading_zero)) return std::nullopt;
  return c;
}

Ip Cidr::Masked() const {
  Ip out = address;
  int keep = address.v4 && !address.mapped ? prefix + 96 : prefix;
  for (int i = 0; i < 16; ++i) {
    int bits = std::min(8, std::max(0, keep - i * 8));
    out.bytes[i] = static_cast<uint8_t>(out.bytes[i] & (0xFF00 >> bits));
  }
  return out;
}
bool Cidr::Contains(const Ip& ip) const {
  if (ip.v4 != address.v4) return false;
  Cidr other = *this;
  std::memcpy(other.address.bytes, ip.bytes, 16);
  return other.Masked() == Masked();
}
std::string Cidr::ToString() const { return Masked().ToString() + "/" + std::to_string(prefix); }

FieldErrors IsValidLegacyIp(const std::string& field, std::string_view s) {
  std::optional<Ip> ip = ParseIp(s);
  if (!ip) return {Invalid(field, s, kBadIp)};
  FieldErrors errors;
  if (ip->leading_zero) errors.push_back(Invalid(field, s, "must not have leading 0s"));
  if (ip->mapped) errors.push_back(Invalid(field, s, "must not be an IPv4-mapped IPv6 address"));
  return errors;
}

FieldErrors IsValidIp(const std::string& field, std::string_view s) {
  FieldErrors errors = IsValidLegacyIp(field, s);
  std::optional<Ip> ip = ParseIp(s);
  if (errors.empty() && ip && ip->ToString() != s)
    errors.push_back(Invalid(field, s, "must be in canonical form (" + GoQuote(ip->ToString()) + ")"));
  return errors;
}

FieldErrors IsValidLegacyCidr(const std::string& field, std::string_view s) {
  std::optional<Cidr> c = ParseCidr(s);
  if (!c) return {Invalid(field, s, kBadCidr)};
  if (c->leading_zero) return {Invalid(field, s, "must not have leading 0s in IP or prefix length")};
  if (c->address.mapped) return {Invalid(field, s, "must not have an IPv4-mapped IPv6 address")};
  if (!(c->Masked() == c->address)) return {Invalid(field, s, "must not have bits set beyond the prefix length")};
  return {};
}

FieldErrors IsValidCidr(const std::string& field, std::string_view s) {
  FieldErrors errors = IsValidLegacyCidr(field, s);
  std::optional<Cidr> c = ParseCidr(s);
  if (errors.empty() && c && c->ToString() != s)
    return {Invalid(field, s, "must be in canonical form (" + GoQuote(c->ToString()) + ")")};
  return errors;
}

}  // namespace machinery::object
