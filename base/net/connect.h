// How a connection to somebody else begins, for the engine's own .cc files: HTTP clients and streams of bytes alike.
// On the loop's thread.
#pragma once

#include <memory>
#include <string>

#include "base/net/address.h"
#include "base/net/transport.h"

namespace base::net {

struct StartedSocket {
  int fd = -1;
  bool in_progress = false;  // the kernel still connects it
};
// Begins to connect; `local`: the address to connect from, "" for any. Fails with errno's Status.
Result<StartedSocket> StartConnecting(const SocketAddress& to, const std::string& local = "");

// Takes the socket over: the connection once it stands, its handshake included where there is `ssl`. It has no user
// yet: TransportUser that `Transport::SetUser` is told of takes it from there.
Task<Result<std::unique_ptr<Transport>>> FinishConnecting(Context ctx, Loop& loop, StartedSocket socket, SslPtr ssl);

}  // namespace base::net
