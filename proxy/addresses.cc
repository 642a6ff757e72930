#include "proxy/addresses.h"

#include <algorithm>

#include "base/strings.h"

namespace proxy {
namespace {

using machinery::object::Cidr;
using machinery::object::Ip;

bool IsMulticast(const Ip& ip) { return ip.v4 ? (ip.bytes[12] & 0xF0) == 0xE0 : ip.bytes[0] == 0xFF; }

bool IsBroadcast(const Ip& ip) {
  return ip.v4 && std::all_of(ip.bytes + 12, ip.bytes + 16, [](uint8_t b) { return b == 0xFF; });
}

// An IPv4 range written as IPv6 (::ffff:10.0.0.0/104) is the IPv4 range.
std::optional<Cidr> PlainCidr(std::string_view text) {
  std::optional<Cidr> c = machinery::object::ParseCidr(text);
  if (!c || !c->address.mapped) return c;
  if (c->prefix < 96) return std::nullopt;
  c->prefix -= 96;
  c->address.mapped = false;
  return c;
}

}  // namespace

bool IsRoutable(const Ip& ip) {
  return !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !IsMulticast(ip) && !IsBroadcast(ip);
}

std::optional<std::string> RoutableAddress(std::string_view text, Family family) {
  std::optional<Ip> ip = machinery::object::ParseIp(text);
  if (!ip || FamilyOf(*ip) != family || !IsRoutable(*ip)) return std::nullopt;
  return ip->ToString();
}

bool Ranges::everything() const { return cidrs.size() == 1 && cidrs.front().ends_with("/0"); }

Ranges ParseRanges(const std::vector<std::string>& texts, Family family) {
  Ranges out;
  std::vector<Cidr> found;
  for (const auto& text : texts) {
    std::string_view trimmed = base::Trim(text);
    if (trimmed.empty()) continue;
    std::optional<Cidr> c = PlainCidr(trimmed);
    if (!c) {
      out.bad.push_back(text);
    } else if (FamilyOf(c->address) == family) {
      found.push_back(*c);
    }
  }
  // Wide ones first: what lies in an earlier one adds nothing, and a kernel's interval set wants none to overlap.
  std::ranges::sort(found, {}, &Cidr::prefix);
  std::vector<Cidr> kept;
  for (const Cidr& c : found)
    if (std::ranges::none_of(kept, [&](const Cidr& wide) { return wide.Contains(c.address); })) kept.push_back(c);
  for (const Cidr& c : kept) out.cidrs.push_back(c.ToString());
  std::ranges::sort(out.cidrs);
  return out;
}

bool Covers(const std::vector<std::string>& cidrs, std::string_view ip) {
  std::optional<Ip> address = machinery::object::ParseIp(ip);
  return address && std::ranges::any_of(cidrs, [&](const std::string& text) {
           std::optional<Cidr> c = PlainCidr(text);
           return c && c->Contains(*address);
         });
}

std::string Shown(std::string_view text) {
  std::string out = "\"";
  for (unsigned char c : text.substr(0, 64)) out.push_back(c >= ' ' && c < 127 && c != '"' && c != '\\' ? c : '?');
  return out + (text.size() > 64 ? "...\"" : "\"");
}

}  // namespace proxy
