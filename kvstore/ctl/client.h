// kvctl's connection: the engine's gRPC client with typed calls, driven to completion on a loop of its own. One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/net/grpc.h"

namespace kvstore::ctl {

struct ClientFlags {
  std::vector<std::string> endpoints = {"127.0.0.1:2379"};
  std::string cacert, cert, key;
  bool insecure_skip_tls_verify = false;
  base::Duration command_timeout = std::chrono::seconds(5);
  base::Duration dial_timeout = std::chrono::seconds(2);
};

class Connection {
 public:
  static base::Result<std::unique_ptr<Connection>> Open(base::Loop& loop, const ClientFlags& flags,
                                                        const std::vector<std::string>& endpoints);
  // One unary call; `response` is a generated message.
  template <class Response, class Request>
  base::Task<base::Result<Response>> Call(base::Context ctx, std::string method, Request request) {
    CO_TRY_ASSIGN(std::string bytes, co_await channel_.Unary(ctx.WithTimeout(loop_, timeout_), method,
                                                             base::Share(request.SerializeAsString())));
    Response response;
    if (!response.ParseFromString(bytes)) co_return base::Err(base::Internal("unreadable answer"));
    co_return std::move(response);
  }
  base::net::GrpcChannel& channel() { return channel_; }
  base::Loop& loop() { return loop_; }

 private:
  Connection(base::Loop& loop, base::net::ClientOptions options, base::Duration timeout)
      : loop_(loop), channel_(loop, std::move(options)), timeout_(timeout) {}
  base::Loop& loop_;
  base::net::GrpcChannel channel_;
  base::Duration timeout_;
};

}  // namespace kvstore::ctl
