#include "apiserver/streaming/proxy_rules.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/strings.h"
#include "machinery/object/names.h"

namespace apiserver::streaming {

namespace object = machinery::object;

std::optional<ProxyName> ParseProxyName(std::string_view text) {
  auto parts = base::Split(text, ':');
  ProxyName out;
  if (parts.size() == 1) {
    out = {"", parts[0], ""};
  } else if (parts.size() == 2) {
    out = {"", parts[0], parts[1]};
  } else if (parts.size() == 3) {
    out = {parts[0], parts[1], parts[2]};
  }
  bool scheme = out.scheme.empty() || out.scheme == "http" || out.scheme == "https";
  if (out.name.empty() || !scheme) return std::nullopt;
  return out;
}

std::optional<int> ParsePort(std::string_view text) {
  int port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535) return std::nullopt;
  return port;
}

bool MayProxyTo(std::string_view text) {
  auto ip = object::ParseIp(text);
  if (!ip || ip->IsUnspecified() || ip->IsLoopback() || ip->IsLinkLocalUnicast()) return false;
  if (!ip->v4) return ip->bytes[0] != 0xff;
  const uint8_t* v4 = ip->bytes + 12;
  bool broadcast = std::all_of(v4, v4 + 4, [](uint8_t b) { return b == 255; });
  return !broadcast && (v4[0] & 0xf0) != 0xe0;
}

std::string EscapePath(std::string_view path) {
  constexpr std::string_view kPlain = "-_.~$&+,/:;=@";
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (char c : path) {
    auto u = static_cast<unsigned char>(c);
    if ((u < 0x80 && std::isalnum(u)) || kPlain.find(c) != kPlain.npos) {
      out += c;
    } else {
      out += '%';
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    }
  }
  return out;
}

}  // namespace apiserver::streaming
