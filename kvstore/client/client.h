// A connection to an etcd: the engine's gRPC client with typed calls. kvctl's, and of whoever else asks a store
// something (a founding member, of the registry that another cluster keeps). One strand, its loop's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/net/grpc.h"

namespace kvstore::client {

struct ClientFlags {
  std::vector<std::string> endpoints = {"127.0.0.1:2379"};
  std::string cacert, cert, key;
  std::string server_name = {};       // what servers' certificates must show instead of their endpoint's name
  std::string user, password, token;  // "name:password" or "name"; a JSON web token instead of both
  bool insecure_skip_tls_verify = false, insecure_transport = true;
  base::Duration command_timeout = std::chrono::seconds(5);
  base::Duration dial_timeout = std::chrono::seconds(2);
  base::Duration keepalive_time = std::chrono::seconds(2);
  base::Duration keepalive_timeout = std::chrono::seconds(6);
  uint32_t max_request_bytes = 0, max_receive_bytes = 0;
};

class Connection {
 public:
  // Signed in when the flags name a user.
  static base::Task<base::Result<std::unique_ptr<Connection>>> Open(base::Loop& loop, base::Context ctx,
                                                                    const ClientFlags& flags,
                                                                    std::vector<std::string> endpoints);
  // How the flags' endpoints are reached.
  static base::Result<base::net::ClientOptions> OptionsFor(const ClientFlags& flags,
                                                           const std::vector<std::string>& endpoints);
  // One unary call; `response` is a generated message. As long as no server is reached it is tried again, up to the
  // command's time.
  template <class Response, class Request>
  base::Task<base::Result<Response>> Call(base::Context ctx, std::string method, Request request) {
    CO_TRY_ASSIGN(std::string bytes, co_await CallBytes(ctx, std::move(method), request.SerializeAsString()));
    Response response;
    if (!response.ParseFromString(bytes)) co_return base::Err(base::Internal("unreadable answer"));
    co_return std::move(response);
  }
  base::Task<base::Result<std::unique_ptr<base::net::GrpcClientStream>>> Stream(base::Context ctx, std::string method);
  base::Loop& loop() { return loop_; }

 private:
  Connection(base::Loop& loop, base::net::ClientOptions options, base::net::GrpcLimits limits, base::Duration timeout)
      : loop_(loop), channel_(loop, std::move(options), limits), timeout_(timeout) {}
  base::Task<base::Result<std::string>> CallBytes(base::Context ctx, std::string method, std::string request);
  base::Task<base::Status> SignIn(base::Context ctx, const ClientFlags& flags);
  base::net::Headers Metadata() const;

  base::Loop& loop_;
  base::net::GrpcChannel channel_;
  base::Duration timeout_;
  std::string token_;
};

}  // namespace kvstore::client
