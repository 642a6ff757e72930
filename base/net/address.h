// Socket addresses as text, for the engine's own .cc files: "127.0.0.1:80", "[::1]:80", "unix:/run/x.sock".
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "base/executor.h"
#include "base/status.h"
#include "base/task.h"

namespace base::net {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

// "1.2.3.4:5", "[::1]:5", or "unix".
std::string AddressText(const sockaddr_storage& address);
// "unix:/x" and "unix:///x" -> "/x".
std::string UnixPath(const std::string& address);
// Numeric host and port, or a unix path. "[::]:80" and ":80" mean every address.
Result<SocketAddress> ParseSocketAddress(const std::string& address);
// "host:port" or "[v6]:port" in two.
Result<std::pair<std::string, std::string>> SplitHostPort(const std::string& address);
// Names are looked up on `pool` (getaddrinfo blocks); numbers and unix paths at once.
Task<Result<std::vector<SocketAddress>>> Resolve(BlockingPool& pool, Executor& home, std::string address);

// No delay for small writes; probes that find a peer which vanished without a word (about a minute and a half).
void TuneTcp(int fd);

}  // namespace base::net
