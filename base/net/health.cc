#include "base/net/health.h"

#include <algorithm>

#include "base/log.h"

namespace base::net {
namespace {

// "healthz", "livez" or "readyz" and the check named behind it; empty when the path is none of them.
std::pair<std::string_view, std::string_view> SplitHealthPath(std::string_view path) {
  for (std::string_view kind : {"healthz", "livez", "readyz"}) {
    if (!path.starts_with("/") || !path.substr(1).starts_with(kind)) continue;
    std::string_view rest = path.substr(1 + kind.size());
    if (rest.empty()) return {kind, {}};
    if (rest.front() == '/') return {kind, rest.substr(1)};
  }
  return {};
}

}  // namespace

HealthServer::HealthServer(Loop& loop, HealthOptions options) : loop_(loop), options_(std::move(options)) {
  AddCheck("ping", [] { return Ok(); });
}
HealthServer::~HealthServer() = default;

void HealthServer::AddCheck(std::string name, std::function<Status()> check, bool ready_only) {
  checks_.push_back({std::move(name), std::move(check), ready_only});
}

void HealthServer::AddText(std::string path, std::string text) { texts_[std::move(path)] = std::move(text); }

std::pair<int, std::string> HealthServer::Evaluate(std::string_view path, std::string_view query) const {
  auto [kind, single] = SplitHealthPath(path);
  bool verbose = false;
  std::vector<std::string> excluded;
  for (const auto& [name, value] : ParseQuery(query)) {
    if (name == "verbose") verbose = true;
    if (name == "exclude") excluded.push_back(value);
  }
  std::string lines;
  bool failed = false, found = single.empty();
  for (const auto& check : checks_) {
    if (check.ready_only && kind != "readyz") continue;
    if (!single.empty() && check.name != single) continue;
    found = true;
    if (std::ranges::find(excluded, check.name) != excluded.end()) {
      lines += "[+]" + check.name + " excluded: ok\n";
      continue;
    }
    Status status = check.run();
    if (status.ok()) {
      lines += "[+]" + check.name + " ok\n";
    } else {
      // The reason may name hosts and paths: it is for the log, not for whoever asks.
      LogV(2, "Health check failed", {{"check", check.name}, {"err", status}});
      lines += "[-]" + check.name + " failed: reason withheld\n";
      failed = true;
    }
  }
  if (!found) return {404, "404 page not found\n"};
  std::string verdict(kind);
  if (failed) return {500, lines + verdict + " check failed\n"};
  if (verbose && single.empty()) return {200, lines + verdict + " check passed\n"};
  return {200, "ok"};
}

Task<bool> HealthServer::Serve(Exchange& exchange) {
  std::string_view path = exchange.path();
  bool reads = exchange.method() == "GET" || exchange.method() == "HEAD";
  Headers headers;
  headers.Set("content-type", "text/plain; charset=utf-8");
  headers.Set("x-content-type-options", "nosniff");
  if (auto text = texts_.find(path); reads && text != texts_.end()) {
    (void)co_await exchange.Respond(200, std::move(headers), text->second);
    co_return true;
  }
  if (reads && path == "/metrics" && options_.metrics) {
    headers.Set("content-type", "text/plain; version=0.0.4; charset=utf-8");
    (void)co_await exchange.Respond(200, std::move(headers), options_.metrics->ToText());
    co_return true;
  }
  if (!reads || SplitHealthPath(path).first.empty()) co_return false;
  auto [code, body] = Evaluate(path, exchange.query());
  (void)co_await exchange.Respond(code, std::move(headers), std::move(body));
  co_return true;
}

Result<std::string> HealthServer::Listen(const std::string& address, std::shared_ptr<ServerTls> tls) {
  if (!server_) {
    server_ = std::make_unique<Server>(std::vector<Loop*>{&loop_}, [this](Exchange& exchange) -> Task<void> {
      if (co_await Serve(exchange)) co_return;
      Headers headers;
      headers.Set("content-type", "text/plain; charset=utf-8");
      (void)co_await exchange.Respond(404, std::move(headers), std::string("404 page not found\n"));
    });
  }
  return server_->Listen(address, std::move(tls));
}

Task<void> HealthServer::Stop() {
  if (server_) co_await server_->Stop(std::chrono::seconds(1));
}

}  // namespace base::net
