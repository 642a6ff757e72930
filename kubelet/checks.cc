#include "kubelet/checks.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include "base/go_duration.h"
#include "base/json_writer.h"
#include "base/net/address.h"
#include "base/net/dns.h"
#include "base/net/grpc.h"
#include "base/protobuf_wire.h"
#include "base/version.h"
#include "kubelet/paths/paths.h"

namespace kubelet::checks {
namespace {

constexpr size_t kMaxOutput = 10 << 10;

}  // namespace

base::Task<Outcome> Exec(base::Context ctx, runtimes::Runtime& runtime, std::string container_id,
                         std::vector<std::string> command, base::Duration timeout) {
  cri::ExecSyncRequest request;
  request.set_container_id(container_id);
  for (auto& c : command) request.add_cmd(c);
  int64_t seconds = std::chrono::ceil<std::chrono::seconds>(timeout).count();
  request.set_timeout(seconds);
  auto answer = co_await runtime.ExecSync(ctx, std::move(request), timeout);
  if (!answer) {
    if (answer.error().code() == base::Code::kDeadlineExceeded) {
      std::string shown;
      for (auto& c : command) shown += (shown.empty() ? "" : " ") + c;
      co_return Outcome{Verdict::kFailure, fmt::format("command timed out: {} timed out after {}", base::GoQuote(shown),
                                                       base::FormatGoDuration(timeout))};
    }
    co_return Outcome{Verdict::kUnknown, runtimes::RpcErrorText(answer.error())};
  }
  std::string output = answer->stdout() + answer->stderr();
  if (output.size() > kMaxOutput) output.resize(kMaxOutput);
  co_return Outcome{answer->exit_code() == 0 ? Verdict::kSuccess : Verdict::kFailure, std::move(output)};
}

namespace {

// A failed call in the words of Go's HTTP client, which events show.
std::string WhyNot(const HttpTarget& target, const base::Status& error, bool late) {
  std::string why(error.message());
  const std::string address = HostPort(target.host, target.port);
  if (const std::string dial = "dial " + address + ": "; why.starts_with(dial)) why.erase(0, dial.size());
  if (late || error.code() == base::Code::kDeadlineExceeded)
    return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
  if (why.starts_with("connect: ")) return "dial tcp " + address + ": " + why;
  if (why.starts_with("lookup ")) return "dial tcp: lookup " + target.host + ": no such host";
  if (why.starts_with("connection closed")) return "EOF";
  if (why.starts_with("malformed HTTP response")) return "net/http: HTTP/1.x transport connection broken: " + why;
  if (why.find("wrong version number") != std::string::npos) return "http: server gave HTTP response to HTTPS client";
  return why;
}

// One request, without following redirects. Where there was an answer, its code, address and body are there too.
struct Fetched {
  base::Status error;   // in the words of events
  bool unsent = false;  // no request could be made
  int status = 0;
  std::string location, body;
  HttpRequest request;
};

base::Task<Fetched> Fetch(base::Loop& loop, base::Context bounded, HttpTarget target) {
  Fetched out;
  auto request = MakeRequest(target);
  if (!request) {
    out.unsent = request.error().code() == base::Code::kInvalidArgument;
    out.error = request.error();
    co_return out;
  }
  out.request = std::move(*request);
  base::net::ClientOptions options;
  options.endpoints = {out.request.endpoint};
  options.force_http1 = true;
  if (target.scheme == "https") {
    auto tls = base::net::ClientTls::FromFiles({.skip_verify = true, .alpn = {"http/1.1"}});
    out.error = tls ? base::Ok() : tls.error();
    if (!tls) co_return out;
    options.tls = *tls;
  }
  base::net::Client client(loop, std::move(options));
  base::net::ClientRequest message{.method = "GET", .path = out.request.target, .headers = out.request.headers};
  auto response = co_await client.Do(bounded, std::move(message));
  if (!response) {
    std::string why = WhyNot(target, response.error(), !bounded.status().ok());
    out.error = base::Unavailable("Get " + base::GoQuote(out.request.url) + ": " + why);
    co_return out;
  }
  out.status = (*response)->status();
  out.location = (*response)->headers().Get("location");
  auto body = co_await (*response)->ReadAll(bounded, kMaxOutput);
  if (body) out.body = std::move(*body);
  co_return out;
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

class SocketNetwork final : public Network {
 public:
  explicit SocketNetwork(base::Loop& loop) : loop_(loop) {}
  base::Task<Outcome> HttpGet(base::Context ctx, HttpTarget target, base::Duration timeout, Judge judge) override;
  base::Task<Outcome> TcpConnect(base::Context ctx, std::string host, int port, base::Duration timeout) override;
  base::Task<Outcome> GrpcHealth(base::Context ctx, std::string host, int port, std::string service,
                                 base::Duration timeout) override;

 private:
  base::Loop& loop_;
};

}  // namespace

base::Task<Outcome> SocketNetwork::HttpGet(base::Context ctx, HttpTarget target, base::Duration timeout, Judge judge) {
  constexpr int kMostRedirects = 10;
  base::Context bounded = ctx.WithTimeout(loop_, timeout);
  for (int hops = 0;; ++hops) {
    Fetched got = co_await Fetch(loop_, bounded, target);
    if (!got.error.ok())
      co_return Outcome{got.unsent ? Verdict::kUnknown : Verdict::kFailure, std::string(got.error.message())};
    if (IsRedirect(got.status) && !got.location.empty()) {
      if (hops == kMostRedirects)
        co_return Outcome{Verdict::kFailure, "Get " + base::GoQuote(got.location) + ": stopped after 10 redirects"};
      auto next = Redirected(target, got.request, got.location);
      if (next) {
        target = std::move(*next);
        continue;
      }
    }
    if (judge == Judge::kAnswer) co_return Outcome{Verdict::kSuccess, ""};
    if (got.status >= 300 && got.status < 400)
      co_return Outcome{Verdict::kSuccess, "Probe terminated redirects, Response body: " + got.body, true};
    if (got.status >= 200 && got.status < 400) co_return Outcome{Verdict::kSuccess, std::move(got.body)};
    co_return Outcome{Verdict::kFailure, fmt::format("HTTP probe failed with statuscode: {}", got.status)};
  }
}

namespace {

// Opens a connection and closes it; the error is Go's of net.Dial.
base::Task<base::Status> Dial(base::Loop& loop, base::Context bounded, std::string host, int port) {
  const std::string shown = HostPort(host, port);
  auto numeric = base::net::ParseSocketAddress(shown);
  if (!numeric) {
    // Names are looked up where that may take its time.
    static const std::shared_ptr<base::BlockingPool> resolver = base::NewThreadPool("resolver", 1);
    auto found = co_await base::RunBlocking(*resolver, loop,
                                            [&shown] { return base::net::MachineNameService().Address(shown); });
    if (found) numeric = base::net::ParseSocketAddress(*found);
    if (!numeric) co_return base::Unavailable("dial tcp: lookup " + host + ": no such host");
  }
  auto failed = [&shown](const std::string& why) { return base::Unavailable("dial tcp " + shown + ": " + why); };
  paths::Fd fd(socket(numeric->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) co_return failed(std::string(base::FromErrno(errno, "socket").message()));
  int error = connect(fd.get(), reinterpret_cast<const sockaddr*>(&numeric->storage), numeric->size) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    base::Status ready = co_await loop.Writable(fd.get(), bounded);
    loop.Forget(fd.get());
    if (!ready.ok()) co_return failed("i/o timeout");
    socklen_t size = sizeof error;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  co_return error == 0 ? base::Ok() : failed(std::string(base::FromErrno(error, "connect").message()));
}

}  // namespace

base::Task<Outcome> SocketNetwork::TcpConnect(base::Context ctx, std::string host, int port, base::Duration timeout) {
  base::Status s = co_await Dial(loop_, ctx.WithTimeout(loop_, timeout), std::move(host), port);
  co_return Outcome{s.ok() ? Verdict::kSuccess : Verdict::kFailure, std::string(s.message())};
}

std::string HealthRequest(std::string_view service) {
  std::string out;
  base::wire::PutNonEmpty(out, 1, service);  // HealthCheckRequest{service = 1}
  return out;
}

std::string HealthStatus(std::string_view response) {
  // HealthCheckResponse{status = 1}: the last one counts, as with any field that comes twice.
  static constexpr const char* kNames[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  uint64_t status = 0;
  base::wire::Reader in(response);
  while (in.Next()) {
    if (in.field() == 1) status = in.value();
  }
  return status < 4 ? kNames[status] : std::to_string(status);
}

base::Task<Outcome> SocketNetwork::GrpcHealth(base::Context ctx, std::string host, int port, std::string service,
                                              base::Duration timeout) {
  const std::string address = HostPort(host, port), limit = base::FormatGoDuration(timeout);
  base::Context bounded = ctx.WithTimeout(loop_, timeout);
  // The original waits for a connection as long as the probe may take, whatever the reason it does not get one.
  base::Status reached = co_await Dial(loop_, bounded, host, port);
  if (!reached.ok())
    co_return Outcome{Verdict::kFailure,
                      fmt::format("timeout: failed to connect service {} within {}: context deadline exceeded",
                                  base::GoQuote(address), limit)};
  base::net::ClientOptions options;
  options.endpoints = {"http://" + address};
  options.http2_prior_knowledge = true;
  options.connect_timeout = timeout;
  base::net::GrpcChannel channel(loop_, std::move(options));
  base::net::Headers metadata;
  metadata.Add("user-agent", "kube-probe/" + std::string(base::version::kKubernetesLine));
  auto answer = co_await channel.Unary(bounded, "/grpc.health.v1.Health/Check", base::Share(HealthRequest(service)),
                                       std::move(metadata));
  if (!answer) {
    if (answer.error().code() == base::Code::kUnimplemented)
      co_return Outcome{Verdict::kFailure,
                        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " +
                            std::string(answer.error().message())};
    if (answer.error().code() == base::Code::kDeadlineExceeded)
      co_return Outcome{Verdict::kFailure, "timeout: health rpc did not complete within " + limit};
    co_return Outcome{Verdict::kFailure, "error: health rpc probe failed: " + runtimes::RpcErrorText(answer.error())};
  }
  std::string status = HealthStatus(*answer);
  if (status == "SERVING") co_return Outcome{Verdict::kSuccess, "service healthy"};
  co_return Outcome{Verdict::kFailure, fmt::format("service unhealthy (responded with {})", base::GoQuote(status))};
}

std::unique_ptr<Network> NewNetwork(base::Loop& loop) { return std::make_unique<SocketNetwork>(loop); }

}  // namespace kubelet::checks
