#include "base/net/acceptor.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"

namespace base::net {

Result<int> OpenListener(const SocketAddress& address, bool share_port) {
  int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Err(FromErrno(errno, "listen " + AddressText(address.storage)));
  int one = 1, zero = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (share_port) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  if (address.storage.ss_family == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 || ::listen(fd, 4096) != 0) {
    Status failed = FromErrno(errno, "listen " + AddressText(address.storage));
    ::close(fd);
    return Err(failed);
  }
  return fd;
}

std::string BoundAddress(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  return AddressText(bound);
}

Acceptor::~Acceptor() {
  loop_.impl().Remove(fd_, this);
  ::close(fd_);
}

Status Acceptor::Start() { return loop_.impl().Add(fd_, EPOLLIN, this); }

void Acceptor::OnEvents(uint32_t) {
  // A few at a time: level-triggered, the rest comes back.
  for (int i = 0; i < 64; ++i) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    int fd = ::accept4(fd_, reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE) Pause();
      return;
    }
    taker_(fd, from);
  }
}

// Out of descriptors: accepting again at once would only spin.
void Acceptor::Pause() {
  LogWarning("Out of file descriptors, not accepting for a while");
  loop_.impl().Remove(fd_, this);
  loop_.After(std::chrono::milliseconds(200), [alive = std::weak_ptr<bool>(alive_), this] {
    if (!alive.expired()) (void)loop_.impl().Add(fd_, EPOLLIN, this);
  });
}

}  // namespace base::net
