// The wire to the apiserver: Requests over gRPC (proto/resources/v1) on the apiserver's own port. Credentials are the
// client certificate of the TLS settings, or a bearer token sent with every call.
//
// One strand: belongs to the loop. Reconnects by itself; an unreachable server gives kUnavailable.
#pragma once

#include <functional>
#include <string>

#include "base/net/grpc.h"
#include "machinery/request/request.h"

namespace machinery::client {

class GrpcTransport final : public request::Transport {
 public:
  // `token` is asked before every call and may be empty; "" sends none.
  GrpcTransport(base::Loop& loop, base::net::ClientOptions options, std::function<std::string()> token = {});

  base::Task<base::Result<request::Response>> Do(base::Context ctx, request::Request request) override;
  base::Task<base::Result<std::unique_ptr<request::WatchStream>>> Watch(base::Context ctx,
                                                                        request::Request request) override;
  // The same as somebody else, whose credentials are given.
  base::Task<base::Result<request::Response>> DoAs(base::Context ctx, request::Request request,
                                                   base::net::Headers credentials);
  base::Task<base::Result<std::unique_ptr<request::WatchStream>>> WatchAs(base::Context ctx, request::Request request,
                                                                          base::net::Headers credentials);
  // The HTTP client below, for what is no resource (discovery); with the same credentials.
  base::net::Client& http() { return channel_.client(); }
  base::net::Headers Credentials() const;

 private:
  base::net::GrpcChannel channel_;
  std::function<std::string()> token_;
};

}  // namespace machinery::client
