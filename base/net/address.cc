#include "base/net/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstring>

namespace base::net {

std::string AddressText(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    // A listener on [::] also takes IPv4 clients; they are shown as what they are.
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      ::inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, text, sizeof text);
      return std::string(text) + ":" + std::to_string(ntohs(v6.sin6_port));
    }
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  return "unix";
}

std::string UnixPath(const std::string& address) {
  std::string path = address.substr(5);
  if (path.starts_with("//")) path.erase(0, 2);
  return path;
}

Result<std::pair<std::string, std::string>> SplitHostPort(const std::string& address) {
  size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Err(InvalidArgument("address " + address + ": missing port in address"));
  std::string host = address.substr(0, colon), port = address.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    return Err(InvalidArgument("address " + address + ": too many colons in address"));
  }
  return std::pair(host, port);
}

namespace {

Result<SocketAddress> UnixAddress(const std::string& path) {
  SocketAddress out;
  auto& un = reinterpret_cast<sockaddr_un&>(out.storage);
  if (path.empty() || path.size() >= sizeof un.sun_path) return Err(InvalidArgument("bad unix socket path: " + path));
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), path.size());
  if (path[0] == '@') un.sun_path[0] = '\0';
  out.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (path[0] == '@' ? 0 : 1));
  return out;
}

bool Numeric(const std::string& host, uint16_t port, SocketAddress& out) {
  auto& v4 = reinterpret_cast<sockaddr_in&>(out.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    out.size = sizeof v4;
    return true;
  }
  if (::inet_pton(AF_INET6, host.empty() ? "::" : host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    out.size = sizeof v6;
    return true;
  }
  return false;
}

Result<uint16_t> ParsePort(const std::string& text) {
  uint16_t port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return Err(InvalidArgument("bad port: " + text));
  return port;
}

Result<std::vector<SocketAddress>> LookUp(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list);
  if (error != 0) return Err(Unavailable("lookup " + host + ": " + ::gai_strerror(error)));
  std::vector<SocketAddress> out;
  for (addrinfo* a = list; a != nullptr; a = a->ai_next) {
    SocketAddress one;
    std::memcpy(&one.storage, a->ai_addr, a->ai_addrlen);
    one.size = a->ai_addrlen;
    out.push_back(one);
  }
  ::freeaddrinfo(list);
  return out;
}

}  // namespace

Result<SocketAddress> ParseSocketAddress(const std::string& address) {
  if (address.starts_with("unix:")) return UnixAddress(UnixPath(address));
  TRY_ASSIGN(auto parts, SplitHostPort(address));
  TRY_ASSIGN(uint16_t port, ParsePort(parts.second));
  SocketAddress out;
  if (parts.first == "localhost") parts.first = "127.0.0.1";
  if (!Numeric(parts.first, port, out)) return Err(InvalidArgument("not an IP address: " + parts.first));
  return out;
}

Task<Result<std::vector<SocketAddress>>> Resolve(BlockingPool& pool, Executor& home, std::string address) {
  if (address.starts_with("unix:")) {
    CO_TRY_ASSIGN(auto one, UnixAddress(UnixPath(address)));
    co_return std::vector<SocketAddress>{one};
  }
  CO_TRY_ASSIGN(auto parts, SplitHostPort(address));
  CO_TRY_ASSIGN(uint16_t port, ParsePort(parts.second));
  SocketAddress numeric;
  if (Numeric(parts.first, port, numeric)) co_return std::vector<SocketAddress>{numeric};
  co_return co_await RunBlocking(pool, home, [parts] { return LookUp(parts.first, parts.second); });
}

void TuneTcp(int fd) {
  int one = 1, idle = 30, interval = 15, count = 4;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

}  // namespace base::net
