// The engine's client half: one pool of connections to a set of equal endpoints, HTTP/2 multiplexed where the server
// speaks it, else HTTP/1.1 kept alive. Carries the hot links (daemon to apiserver, apiserver to store) and proxying.
//
// One strand: all calls and streams of a Client live on its loop. Reconnects with back-off; a request that was surely
// not processed (refused stream, connection never established) is tried on the next endpoint.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/net/http.h"
#include "base/net/tls.h"

namespace base::net {

struct ClientOptions {
  std::vector<std::string> endpoints;  // "https://127.0.0.1:2379", "http://...", "unix:/run/x.sock"
  std::shared_ptr<ClientTls> tls;      // for https
  bool http2_prior_knowledge = false;  // plain http endpoints: speak HTTP/2 at once (gRPC)
  bool force_http1 = false;            // upgrades
  std::string local_address;           // dial from this address ("10.0.0.1"); "" = as the kernel chooses
  Duration connect_timeout = std::chrono::seconds(5);
  Duration keepalive_interval = std::chrono::seconds(30);  // HTTP/2 PING while streams are open
  Duration keepalive_timeout = std::chrono::seconds(10);
  Duration idle_timeout = std::chrono::seconds(90);
  size_t max_response_headers = 64 << 10;
  uint32_t stream_window = 1 << 20;
};

struct ClientRequest {
  std::string method = "GET";
  std::string path;  // with query
  Headers headers;
  SharedBytes body;  // may be null
};

// An answer being received. Destroying it before the end resets the stream.
class ClientResponse {
 public:
  virtual ~ClientResponse() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  // The next piece; "" at the end.
  virtual Task<Result<std::string>> Read(Context ctx) = 0;
  // Valid after the end.
  virtual const Headers& trailers() const = 0;
  Task<Result<std::string>> ReadAll(Context ctx, size_t limit);
};

// A request whose body is still being sent: gRPC streams.
class ClientStream {
 public:
  virtual ~ClientStream() = default;  // resets when not finished
  virtual Task<Status> Write(Context ctx, SharedBytes piece) = 0;
  virtual Task<Status> CloseWrite(Context ctx) = 0;
  // Waits for the headers of the answer.
  virtual Task<Result<ClientResponse*>> Response(Context ctx) = 0;
};

class Client {
 public:
  Client(Loop& loop, ClientOptions options);
  ~Client();  // fails what is under way with kUnavailable
  Client(const Client&) = delete;

  // Sends and waits for the headers.
  Task<Result<std::unique_ptr<ClientResponse>>> Do(Context ctx, ClientRequest request);
  // Opens a stream whose body comes piece by piece (HTTP/2, or chunked).
  Task<Result<std::unique_ptr<ClientStream>>> Open(Context ctx, ClientRequest request);
  struct Upgraded {
    int status;  // 101, or what the server answered instead
    Headers headers;
    std::unique_ptr<ByteStream> stream;  // null unless 101
    std::string body;                    // the answer otherwise (bounded to 64 KiB)
  };
  // HTTP/1.1 upgrade on a connection of its own.
  Task<Result<Upgraded>> Upgrade(Context ctx, ClientRequest request);

  Loop& loop();

 private:
  friend class GrpcChannel;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace base::net
