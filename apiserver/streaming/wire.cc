#include "apiserver/streaming/wire.h"

#include <algorithm>

#include "base/strings.h"

namespace apiserver::streaming {

std::string HostPort(const std::string& host, int64_t port) {
  bool v6 = host.find(':') != host.npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

bool Upgrades(const base::net::Exchange& e) { return e.headers().Has("upgrade"); }

bool IsWebSocket(const base::net::Exchange& e) { return base::Lower(e.headers().Get("upgrade")) == "websocket"; }

bool HopByHop(std::string_view name) {
  static constexpr std::string_view kHop[] = {
      "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
      "upgrade",    "host",       "content-length",     "proxy-connection"};
  return std::find(std::begin(kHop), std::end(kHop), name) != std::end(kHop);
}

bool Secret(std::string_view name) {
  return name == "authorization" || name.starts_with("impersonate-") || name.starts_with("x-remote-");
}

base::Status Unreachable(const base::Status& why) {
  return machinery::object::InternalError("error dialing backend: " + std::string(why.message()));
}

}  // namespace apiserver::streaming
