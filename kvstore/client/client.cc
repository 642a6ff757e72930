#include "kvstore/client/client.h"

#include "base/sync.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::client {

using base::Err;
using base::Result;
using base::Task;

Result<base::net::ClientOptions> Connection::OptionsFor(const ClientFlags& flags,
                                                        const std::vector<std::string>& endpoints) {
  base::net::ClientOptions o;
  if (endpoints.empty()) return Err(base::InvalidArgument("etcdclient: no available endpoints"));
  if (flags.cert.empty() != flags.key.empty()) {
    return Err(base::InvalidArgument("KeyFile and CertFile must both be present[key: " + flags.key +
                                     ", cert: " + flags.cert + "]"));
  }
  bool tls = !flags.cacert.empty() || !flags.cert.empty() || !flags.server_name.empty() ||
             flags.insecure_skip_tls_verify || !flags.insecure_transport;
  for (std::string e : endpoints) {
    if (e.find("://") == std::string::npos) e = (tls ? "https://" : "http://") + e;
    tls |= e.starts_with("https://");
    o.endpoints.push_back(std::move(e));
  }
  o.http2_prior_knowledge = true;
  o.connect_timeout = flags.dial_timeout;
  o.keepalive_interval = flags.keepalive_time;
  o.keepalive_timeout = flags.keepalive_timeout;
  if (tls) {
    base::net::TlsFiles files{.cert_file = flags.cert, .key_file = flags.key, .ca_file = flags.cacert};
    files.server_name = flags.server_name;
    files.skip_verify = flags.insecure_skip_tls_verify;
    files.alpn = {"h2"};
    TRY_ASSIGN(o.tls, base::net::ClientTls::FromFiles(files));
  }
  return o;
}

Task<Result<std::unique_ptr<Connection>>> Connection::Open(base::Loop& loop, base::Context ctx,
                                                           const ClientFlags& flags,
                                                           std::vector<std::string> endpoints) {
  CO_TRY_ASSIGN(base::net::ClientOptions o, OptionsFor(flags, endpoints));
  base::net::GrpcLimits limits{.max_receive_bytes = flags.max_receive_bytes ? flags.max_receive_bytes : INT32_MAX};
  limits.max_send_bytes = flags.max_request_bytes ? flags.max_request_bytes : 2 << 20;
  std::unique_ptr<Connection> c(new Connection(loop, std::move(o), limits, flags.command_timeout));
  CO_TRY(co_await c->SignIn(ctx, flags));
  co_return std::move(c);
}

Task<base::Status> Connection::SignIn(base::Context ctx, const ClientFlags& flags) {
  token_ = flags.token;
  if (flags.user.empty() || !token_.empty()) co_return base::Ok();
  etcdserverpb::AuthenticateRequest r;
  r.set_name(flags.user);
  r.set_password(flags.password);
  if (size_t colon = flags.user.find(':'); flags.password.empty() && colon != std::string::npos) {
    r.set_name(flags.user.substr(0, colon));
    r.set_password(flags.user.substr(colon + 1));
  }
  auto out = co_await Call<etcdserverpb::AuthenticateResponse>(ctx, "/etcdserverpb.Auth/Authenticate", r);
  // A server that asks nobody for a password lets everybody in.
  if (!out && out.error().message() == "etcdserver: authentication is not enabled") co_return base::Ok();
  if (!out) co_return out.error();
  token_ = out->token();
  co_return base::Ok();
}

base::net::Headers Connection::Metadata() const {
  base::net::Headers h;
  if (!token_.empty()) h.Set("token", token_);
  return h;
}

Task<Result<std::string>> Connection::CallBytes(base::Context parent, std::string method, std::string request) {
  constexpr base::Duration kPause = std::chrono::milliseconds(50);
  base::Context ctx = parent.WithTimeout(loop_, timeout_);
  base::SharedBytes bytes = base::Share(std::move(request));
  for (;;) {
    auto out = co_await channel_.Unary(ctx, method, bytes, Metadata());
    bool unreached =
        !out && out.error().code() == base::Code::kUnavailable && !out.error().message().starts_with("etcdserver:");
    if (!unreached) co_return out;
    if (base::Status s = co_await base::Sleep(loop_, ctx, kPause); !s.ok()) co_return Err(s);
  }
}

Task<Result<std::unique_ptr<base::net::GrpcClientStream>>> Connection::Stream(base::Context ctx, std::string method) {
  co_return co_await channel_.Open(ctx, method, Metadata());
}

}  // namespace kvstore::client
