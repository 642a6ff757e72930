// A listening socket on a loop, for the engine's own .cc files: hands accepted sockets on, a few a turn, and waits a
// while when the process is out of descriptors.
//
// On the loop's thread. Owns its descriptor.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>

#include "base/loop_impl.h"
#include "base/net/address.h"

namespace base::net {

// A socket that is bound and listens, non-blocking. `share_port`: SO_REUSEPORT. Fails with errno's Status.
Result<int> OpenListener(const SocketAddress& address, bool share_port = false);
// Where it is bound: "127.0.0.1:34567".
std::string BoundAddress(int fd);

class Acceptor final : public FdHandler {
 public:
  // Takes the accepted descriptor over; `from` is the peer. Must not destroy the acceptor.
  using Taker = std::function<void(int fd, const sockaddr_storage& from)>;
  // Takes the listening descriptor over.
  Acceptor(Loop& loop, int fd, Taker taker) : loop_(loop), fd_(fd), taker_(std::move(taker)) {}
  ~Acceptor();
  Status Start();

 private:
  void OnEvents(uint32_t events) override;
  void Pause();

  Loop& loop_;
  int fd_;
  Taker taker_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace base::net
