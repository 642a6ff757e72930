#include "kubelet/runtimes/socket_channel.h"

#include "base/net/grpc.h"

namespace kubelet::runtimes {
namespace {

// grpc++ would do here as well; with the engine the kubelet needs neither its threads nor its 10 MB.
class SocketChannel final : public Channel {
 public:
  SocketChannel(base::Loop& loop, const std::string& endpoint)
      : loop_(loop), channel_(loop, Options(endpoint), {.max_receive_bytes = 16 << 20}) {}

  base::Task<base::Result<std::string>> Unary(base::Context ctx, std::string method, std::string request,
                                              base::Duration timeout) override {
    if (timeout > base::Duration(0)) ctx = ctx.WithTimeout(loop_, timeout);
    co_return co_await channel_.Unary(ctx, method, base::Share(std::move(request)));
  }

 private:
  static base::net::ClientOptions Options(const std::string& endpoint) {
    base::net::ClientOptions o;
    o.endpoints = {"unix:" + endpoint.substr(std::string_view("unix://").size())};
    o.http2_prior_knowledge = true;
    o.connect_timeout = std::chrono::seconds(3);
    // A pull or a stop is silent for minutes: that is no sign of a dead runtime, and Go's server takes pings amiss.
    o.keepalive_interval = std::chrono::minutes(10);
    return o;
  }
  base::Loop& loop_;
  base::net::GrpcChannel channel_;
};

}  // namespace

std::unique_ptr<Channel> NewSocketChannel(base::Loop& loop, const std::string& endpoint) {
  return std::make_unique<SocketChannel>(loop, endpoint);
}

}  // namespace kubelet::runtimes
