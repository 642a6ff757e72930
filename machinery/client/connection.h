// The link of a daemon to its apiserver: Requests go over it under the daemon's own credentials, and under those of
// other accounts where it speaks for several. Connect is the one place that knows which wire that is (gRPC,
// proto/resources/v1, on the apiserver's own port); a server in the same process gives its Transport itself
// (apiserver/server.h).
//
// One strand: belongs to the loop. Reconnects by itself; an unreachable server gives kUnavailable.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/net/client.h"
#include "machinery/client/discovery.h"
#include "machinery/request/request.h"

namespace machinery::client {

// A bearer token, asked for before every call; "" sends none.
using TokenSource = std::function<std::string()>;

class Connection {
 public:
  virtual ~Connection() = default;
  virtual request::Transport& transport() = 0;
  // The same link under another token; not to be used when the Connection is gone.
  virtual std::unique_ptr<request::Transport> As(TokenSource token) = 0;
  // What the server serves.
  virtual base::Task<base::Result<std::vector<DiscoveredResource>>> Discover(base::Context ctx) = 0;
};

// Who asks: the client certificate of the TLS settings, or `token`.
std::unique_ptr<Connection> Connect(base::Loop& loop, base::net::ClientOptions options, TokenSource token = {});

}  // namespace machinery::client
