// gRPC on the engine's HTTP/2 streams: length-prefixed messages, deadlines (grpc-timeout), status trailers, limits.
// Messages are bytes here; typed wrappers live next to their .proto users (base/net knows no Protobuf).
//
// Server: a table of "/package.Service/Method" -> coroutine; GrpcService::Serve is called from a Handler for requests
// whose content-type starts with application/grpc. Client: GrpcChannel over net::Client.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/net/client.h"
#include "base/net/server.h"

namespace base::net {

// For the answer of a unary call that is too long to be put together first: its size is announced, its bytes follow
// piece by piece. A handler that has begun one returns nothing of its own, or the error that ends the call.
class GrpcLongAnswer {
 public:
  virtual ~GrpcLongAnswer() = default;
  // kResourceExhausted: longer than may be sent; nothing has begun then.
  virtual Task<Status> Begin(uint64_t size) = 0;
  // Waits while the client is slow.
  virtual Task<Status> Write(SharedBytes piece) = 0;
};

// Metadata that came with a call: the request's headers.
struct GrpcCall {
  const Headers& headers;
  const Peer& peer;
  Context ctx;  // ends at the deadline or when the client cancels
  Executor& executor;
  GrpcLongAnswer* long_answer = nullptr;  // of unary calls over HTTP/2
  std::shared_ptr<void> caller;           // what the interceptor found out about it
};

// One call seen from the server: read requests, write answers.
class GrpcServerStream {
 public:
  virtual ~GrpcServerStream() = default;
  virtual const GrpcCall& call() const = 0;
  // The next message; nullopt when the client has ended its half.
  virtual Task<Result<std::optional<std::string>>> Read() = 0;
  // Waits while the client is slow.
  virtual Task<Status> Write(SharedBytes message) = 0;
  virtual size_t unsent_bytes() const = 0;
  virtual void AddTrailer(std::string name, std::string value) = 0;
};

using GrpcUnaryHandler = std::function<Task<Result<std::string>>(const GrpcCall& call, std::string request)>;
using GrpcStreamHandler = std::function<Task<Status>(GrpcServerStream& stream)>;

struct GrpcLimits {
  size_t max_receive_bytes = 4 << 20;  // a longer message: kResourceExhausted
  size_t max_send_bytes = 2147483647;
};

class GrpcService {
 public:
  explicit GrpcService(GrpcLimits limits = {}) : limits_(limits) {}
  // `method` is "/etcdserverpb.KV/Range". A duplicate aborts.
  void Unary(std::string method, GrpcUnaryHandler handler);
  void Stream(std::string method, GrpcStreamHandler handler);
  // Sees every call before its handler and before a byte of its messages is read: what it does not know yet who sends,
  // stays in the flow control window. An error ends the call (authentication, metrics). Optional.
  using Interceptor = std::function<Task<Status>(const std::string& method, GrpcCall& call)>;
  void SetInterceptor(Interceptor interceptor);
  // True for content-type application/grpc* over HTTP/2.
  static bool Accepts(const Exchange& exchange);
  // Runs one call to its end; an unknown method gets kUnimplemented. Status details are carried as
  // grpc-status-details-bin when `StatusDetails` is set.
  Task<void> Serve(Exchange& exchange);
  // Encodes a Status payload for grpc-status-details-bin in at most `max_bytes` ("" = not at all). Optional.
  std::function<std::string(const Status&, size_t max_bytes)> encode_details;

 private:
  struct Method {
    GrpcUnaryHandler unary;
    GrpcStreamHandler stream;
  };
  Task<Status> SendStatus(Exchange& exchange, const Status& status, Headers trailers);
  Task<void> ServeUnary(Exchange& exchange, GrpcCall call, const GrpcUnaryHandler& handler);
  Task<void> ServeStream(Exchange& exchange, const GrpcCall& call, const GrpcStreamHandler& handler);
  GrpcLimits limits_;
  // Looked up by views.
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, Method, Hash, std::equal_to<>> methods_;
  Interceptor interceptor_;
};

class GrpcClientStream {
 public:
  virtual ~GrpcClientStream() = default;  // cancels when not finished
  virtual Task<Status> Write(Context ctx, SharedBytes message) = 0;
  virtual Task<Status> CloseWrite(Context ctx) = 0;
  // The next message; nullopt when the server ended with OK; its status as error otherwise.
  virtual Task<Result<std::optional<std::string>>> Read(Context ctx) = 0;
};

class GrpcChannel {
 public:
  GrpcChannel(Loop& loop, ClientOptions options, GrpcLimits limits = {});
  // The deadline of `ctx` is sent along.
  Task<Result<std::string>> Unary(Context ctx, std::string_view method, SharedBytes request, Headers metadata = {});
  Task<Result<std::unique_ptr<GrpcClientStream>>> Open(Context ctx, std::string_view method, Headers metadata = {});
  // Turns (code, message, grpc-status-details-bin) into a Status with its payload. Optional.
  std::function<Status(Code, std::string message, std::string details)> decode_status;
  Client& client() { return client_; }

 private:
  Client client_;
  GrpcLimits limits_;
};

}  // namespace base::net
