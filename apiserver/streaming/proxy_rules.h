// What the proxies to nodes, pods and services may reach, and how the text of a path becomes a place: pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace apiserver::streaming {

// "name", "name:port" or "scheme:name:port".
struct ProxyName {
  std::string scheme;  // "", "http" or "https"
  std::string name;
  std::string port;  // a number, a port's name, or ""
};
std::optional<ProxyName> ParseProxyName(std::string_view text);

// 1 to 65535, in decimal digits only.
std::optional<int> ParsePort(std::string_view text);

// Neither this machine, nor its link, nor a group: a proxy there would be a way around every network rule.
bool MayProxyTo(std::string_view ip);

// A decoded path as it goes on the wire: everything but what may stand in a path is escaped, so that no text of a
// client reaches the other side as anything else.
std::string EscapePath(std::string_view path);

}  // namespace apiserver::streaming
