// What every daemon serves beside its work: /healthz, /livez, /readyz from named checks, /metrics, and texts of its
// own. A handler to mount on a server that is there already, or a small server by itself (kube-proxy, scheduler ...).
//
// Answers are the original's: "ok", or 500 with one line per check; ?verbose lists all, ?exclude=NAME leaves one out;
// /healthz/NAME asks a single one. One strand: checks run on the loop and must not block.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/net/server.h"

namespace base::net {

struct HealthOptions {
  std::string name;                    // "kube-proxy": heads the error lines
  MetricsRegistry* metrics = nullptr;  // null: no /metrics
};

class HealthServer {
 public:
  HealthServer(Loop& loop, HealthOptions options);
  ~HealthServer();

  // Part of /healthz, /livez and /readyz; with `ready_only` of /readyz alone.
  void AddCheck(std::string name, std::function<Status()> check, bool ready_only = false);
  // A path that answers a fixed text.
  void AddText(std::string path, std::string text);

  // Serves by itself; several addresses may be given one after another. `tls` null: plain HTTP.
  Result<std::string> Listen(const std::string& address, std::shared_ptr<ServerTls> tls = nullptr);
  Task<void> Stop();

  // True when the path is one of ours and was answered: for servers that do more.
  Task<bool> Serve(Exchange& exchange);
  // The answer to "/healthz", "/livez/ping", "/readyz" ...: status code and body. Pure but for the checks.
  std::pair<int, std::string> Evaluate(std::string_view path, std::string_view query) const;

 private:
  struct Check {
    std::string name;
    std::function<Status()> run;
    bool ready_only;
  };
  Loop& loop_;
  HealthOptions options_;
  std::vector<Check> checks_;
  std::map<std::string, std::string, std::less<>> texts_;
  std::unique_ptr<Server> server_;
};

}  // namespace base::net
