// The one server engine: listeners (TCP, TLS with ALPN, unix sockets) that speak HTTP/1.1, HTTP/2 (prior knowledge and
// ALPN, told apart by the preface) and gRPC on its streams, and hand every request to one Handler as an Exchange.
//
// Promises: real flow control both ways (a slow reader costs at most `write_buffer` bytes and then blocks its handler's
// Write), bounded headers, bodies, streams, header time and idle time; a malformed peer gets the protocol's error and
// is closed. Not its job: routing, authentication, media types.
//
// A connection stays on the loop that accepted it; handlers run there. Stop() refuses new requests (GOAWAY,
// Connection: close), waits for running ones until the drain time is over, then cancels them.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/net/http.h"
#include "base/net/tls.h"

namespace base::net {

// One request and its answer. Owned by the engine, handed to the handler for the time of the call.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual std::string_view method() const = 0;  // "GET"
  virtual std::string_view path() const = 0;    // as sent, without the query
  virtual std::string_view query() const = 0;   // without '?'
  virtual const Headers& headers() const = 0;   // host/:authority as "host"
  virtual const Peer& peer() const = 0;
  virtual int http_major() const = 0;  // 1 or 2
  // Ends when the client goes away, the stream is reset, or the server stops.
  virtual const Context& context() const = 0;
  virtual Executor& executor() = 0;

  // The next piece of the body; "" at its end. Flow control is granted as pieces are read.
  virtual Task<Result<std::string>> ReadBody(Context ctx) = 0;
  // The whole body; kResourceExhausted when it is longer than `limit` bytes, else as HoldBody.
  Task<Result<std::string>> ReadAll(Context ctx, size_t limit);
  // For whoever puts a message together from pieces of the body: `bytes` of it are at hand and nothing is done with
  // them yet. They count towards the server's bound on unread bodies (kUnavailable beyond), and until ReleaseBody the
  // client must send at the least rate the limits ask for, or ReadBody fails with kDeadlineExceeded.
  virtual Status HoldBody(size_t bytes) = 0;
  virtual void ReleaseBody() = 0;

  // Begins the answer. Exactly one of Respond, StartResponse, Upgrade is called; a handler that calls none answers 500.
  // `content-length` is set by Respond; StartResponse is chunked (HTTP/1.1) or framed (HTTP/2).
  virtual Task<Status> Respond(int status, Headers headers, SharedBytes body) = 0;
  Task<Status> Respond(int status, Headers headers, std::string body);
  virtual Task<Status> StartResponse(int status, Headers headers) = 0;
  // Sends a piece and waits while more than `write_buffer` bytes are unsent. The buffer is shared, never copied before
  // it reaches TLS or the socket.
  virtual Task<Status> Write(SharedBytes piece) = 0;
  // A piece put together of several buffers without concatenating them (length prefixes before a shared message).
  virtual Task<Status> Write(std::string prefix, SharedBytes piece) = 0;
  // Write for whoever must not wait: takes the piece when the answer is open and no more than `write_buffer` bytes are
  // unsent; otherwise leaves it with the caller and says false.
  virtual bool TryWrite(SharedBytes& piece) = 0;
  // Bytes accepted by Write and not yet handed to the kernel: for watchers that drop what cannot keep up.
  virtual size_t unsent_bytes() const = 0;
  // Ends the answer; trailers only over HTTP/2 (and chunked HTTP/1.1).
  virtual Task<Status> Finish(Headers trailers = {}) = 0;

  // A whole answer of one piece with trailers, in one call: unary gRPC. HTTP/1.1 drops the trailers.
  virtual Task<Status> RespondOnce(int status, Headers headers, std::string prefix, SharedBytes piece,
                                   Headers trailers) = 0;
  // The whole body when it has already come, without suspending; nullopt otherwise.
  virtual std::optional<std::string> TakeWholeBody() = 0;

  // HTTP/1.1 only: answers 101 with `headers` and hands over the raw connection, bytes already read included.
  virtual Task<Result<std::unique_ptr<ByteStream>>> Upgrade(Headers headers) = 0;
};

using Handler = std::function<Task<void>(Exchange&)>;

struct ServerLimits {
  size_t max_header_bytes = 64 << 10;
  size_t write_buffer = 256 << 10;        // per stream, unsent
  uint32_t max_concurrent_streams = 250;  // per HTTP/2 connection
  uint32_t stream_window = 256 << 10;     // HTTP/2 receive windows
  uint32_t connection_window = 1 << 20;
  size_t max_connections = 15000;
  size_t max_connections_per_peer = 3000;  // of strangers: neither from this machine nor with a trusted certificate
  size_t kept_connections = 500;           // of max_connections, not for strangers
  // Bytes of requests, over all connections, that nobody works on yet: bodies unread or incomplete, long heads.
  // Strangers get half.
  size_t unread_bytes = 64 << 20;
  std::chrono::seconds body_grace{30};           // for the beginning of a body that is waited for, then
  size_t min_body_rate = 16 << 10;               // bytes a second
  uint32_t max_resets_per_connection = 1000;     // within 30 s, the peer's or for its mistakes: answered with GOAWAY
  std::chrono::seconds header_timeout{30};       // from the first byte (or accept) to the end of the headers
  std::chrono::seconds idle_timeout{180};        // HTTP/1.1 keep-alive
  std::chrono::seconds http2_idle_timeout{0};    // HTTP/2 without streams: told to go (GOAWAY); 0 = stays
  std::chrono::seconds ping_interval{30};        // HTTP/2: a peer that misses two is closed
  std::chrono::seconds write_stall_timeout{60};  // a peer that takes no byte for so long is closed
};

class Server {
 public:
  // Connections are spread over `loops` (not owned, running elsewhere). The handler must be safe on each of them.
  Server(std::vector<Loop*> loops, Handler handler, ServerLimits limits = {});
  ~Server();
  Server(const Server&) = delete;

  // "127.0.0.1:0", "[::]:6443", "unix:/run/x.sock". The returned string is the bound address (port filled in). With
  // `tls`, plaintext is refused. Several listeners may be added, also while running. From loops[0]'s thread or before
  // the loops run.
  // `share_port` lets other sockets that say so too listen on the same port.
  Result<std::string> Listen(const std::string& address, std::shared_ptr<ServerTls> tls = nullptr,
                             bool share_port = false);

  // Graceful; see above. Finishes within `drain`.
  Task<void> Stop(Duration drain);

  size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace base::net
