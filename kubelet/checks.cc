#include "kubelet/checks.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/go_duration.h"
#include "base/json_writer.h"
#include "base/net/grpc.h"

namespace kubelet::checks {
namespace {

constexpr size_t kMaxOutput = 10 << 10;

std::string Bracketed(const std::string& host) { return host.find(':') == std::string::npos ? host : "[" + host + "]"; }

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

base::Task<Outcome> HttpGet(base::Loop& loop, base::Context ctx, HttpTarget target, base::Duration timeout) {
  std::string authority = Bracketed(target.host) + ":" + std::to_string(target.port);
  std::string path = target.path.starts_with('/') ? target.path : "/" + target.path;
  std::string url = target.scheme + "://" + authority + path;
  base::net::ClientOptions options;
  options.endpoints = {target.scheme + "://" + authority};
  options.force_http1 = true;
  options.connect_timeout = timeout;
  if (target.scheme == "https") {
    auto tls = base::net::ClientTls::FromFiles({.skip_verify = true, .alpn = {"http/1.1"}});
    if (!tls) co_return Outcome{Verdict::kUnknown, tls.error().ToString()};
    options.tls = *tls;
  }
  base::net::Client client(loop, std::move(options));
  base::net::ClientRequest request{.method = "GET", .path = path};
  request.headers.Add("user-agent", target.user_agent);
  request.headers.Add("accept", "*/*");
  request.headers.Add("connection", "close");
  for (auto& [name, value] : target.headers) {
    std::string lower = name;
    std::ranges::transform(lower, lower.begin(), [](char c) { return static_cast<char>(tolower(c)); });
    request.headers.Set(lower, value);
  }
  base::Context bounded = ctx.WithTimeout(loop, timeout);
  auto response = co_await client.Do(bounded, std::move(request));
  if (!response) {
    std::string why(response.error().message());
    if (response.error().code() == base::Code::kDeadlineExceeded)
      why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    co_return Outcome{Verdict::kFailure, "Get " + base::GoQuote(url) + ": " + why};
  }
  auto body = co_await (*response)->ReadAll(bounded, kMaxOutput);
  int status = (*response)->status();
  if (status >= 200 && status < 400) co_return Outcome{Verdict::kSuccess, body ? *body : ""};
  co_return Outcome{Verdict::kFailure, fmt::format("HTTP probe failed with statuscode: {}", status)};
}

base::Task<Outcome> TcpConnect(base::Loop& loop, base::Context ctx, std::string host, int port,
                               base::Duration timeout) {
  std::string shown = Bracketed(host) + ":" + std::to_string(port);
  auto failed = [&](const std::string& why) { return Outcome{Verdict::kFailure, "dial tcp " + shown + ": " + why}; };
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  sockaddr* address = nullptr;
  socklen_t length = 0;
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(static_cast<uint16_t>(port));
    address = reinterpret_cast<sockaddr*>(&v4);
    length = sizeof v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(static_cast<uint16_t>(port));
    address = reinterpret_cast<sockaddr*>(&v6);
    length = sizeof v6;
  } else {
    co_return Outcome{Verdict::kUnknown, "lookup " + host + ": no such host"};
  }
  int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return Outcome{Verdict::kUnknown, base::FromErrno(errno, "socket").ToString()};
  base::Context bounded = ctx.WithTimeout(loop, timeout);
  int error = connect(fd, address, length) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    base::Status ready = co_await loop.Writable(fd, bounded);
    loop.Forget(fd);
    if (!ready.ok()) {
      close(fd);
      co_return failed("i/o timeout");
    }
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  close(fd);
  if (error == 0) co_return Outcome{Verdict::kSuccess, ""};
  if (error == ECONNREFUSED) co_return failed("connect: connection refused");
  if (error == EHOSTUNREACH) co_return failed("connect: no route to host");
  co_return failed("connect: " + std::string(strerror(error)));
}

base::Task<Outcome> GrpcHealth(base::Loop& loop, base::Context ctx, std::string host, int port, std::string service,
                               base::Duration timeout) {
  base::net::ClientOptions options;
  options.endpoints = {"http://" + Bracketed(host) + ":" + std::to_string(port)};
  options.http2_prior_knowledge = true;
  options.connect_timeout = timeout;
  base::net::GrpcChannel channel(loop, std::move(options));
  // HealthCheckRequest{service = 1}; HealthCheckResponse{status = 1}, 1 = SERVING.
  std::string request;
  if (!service.empty() && service.size() < 128)
    request = std::string("\x0a") + static_cast<char>(service.size()) + service;
  base::net::Headers metadata;
  metadata.Add("user-agent", "kube-probe/1.36");
  auto answer = co_await channel.Unary(ctx.WithTimeout(loop, timeout), "/grpc.health.v1.Health/Check",
                                       base::Share(std::move(request)), std::move(metadata));
  if (!answer) {
    if (answer.error().code() == base::Code::kUnimplemented)
      co_return Outcome{Verdict::kFailure,
                        "this server does not implement the grpc health protocol (grpc.health.v1.Health): " +
                            std::string(answer.error().message())};
    if (answer.error().code() == base::Code::kDeadlineExceeded)
      co_return Outcome{Verdict::kFailure,
                        fmt::format("timeout: health rpc did not complete within {}", base::FormatGoDuration(timeout))};
    co_return Outcome{Verdict::kFailure, "error: " + runtimes::RpcErrorText(answer.error())};
  }
  int status = answer->size() >= 2 && (*answer)[0] == 0x08 ? (*answer)[1] : 0;
  if (status == 1) co_return Outcome{Verdict::kSuccess, "service healthy"};
  static constexpr const char* kNames[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  co_return Outcome{Verdict::kFailure, fmt::format("service unhealthy (responded with \"{}\")",
                                                   status >= 0 && status < 4 ? kNames[status] : "UNKNOWN")};
}

int PortOf(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& port, const api::Container& container) {
  if (port.type() == 0) return port.intval();
  for (const auto& p : container.ports())
    if (p.name() == port.strval()) return p.containerport();
  return atoi(port.strval().c_str());
}

HttpTarget TargetOf(const api::HTTPGetAction& action, const api::Container& container, const std::string& pod_ip) {
  HttpTarget t;
  if (action.scheme() == "HTTPS") t.scheme = "https";
  t.host = action.host().empty() ? pod_ip : action.host();
  t.port = PortOf(action.port(), container);
  t.path = action.path();
  for (const auto& h : action.httpheaders()) t.headers.emplace_back(h.name(), h.value());
  return t;
}

}  // namespace kubelet::checks
