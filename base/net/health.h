// What every daemon answers about itself: /healthz, /livez, /readyz (with ?verbose, ?exclude=NAME and one path per
// check), /metrics and /version, in the words of the originals. Mounted by a daemon in front of its own handler. Checks
// are added before the server listens; Serve runs on any of the server's loops, so a check must be safe there.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/net/server.h"

namespace base::net {

class HealthEndpoints {
 public:
  using Check = std::function<Task<Status>(Context)>;
  enum Group : unsigned { kHealthz = 1, kLivez = 2, kReadyz = 4, kAll = 7 };

  // `metrics` may be null: then /metrics is not answered here. `version_json` likewise when empty. The checks "ping"
  // and "log", which cannot fail in a process that answers, are there from the start.
  HealthEndpoints(MetricsRegistry* metrics, std::string version_json);

  void Add(std::string name, Check check, unsigned groups = kAll);
  // For checks that only look at memory.
  void Add(std::string name, std::function<Status()> check, unsigned groups = kAll);

  // True for paths that Serve answers.
  bool Owns(std::string_view path) const;
  // 404 for any other path.
  Task<void> Serve(Exchange& exchange);

 private:
  struct Entry {
    std::string name;
    Check check;
    unsigned groups;
  };
  Task<void> ServeGroup(Exchange& exchange, std::string group_name, Group group);
  Task<void> ServeOne(Exchange& exchange, std::string name, Group group);

  MetricsRegistry* metrics_;
  std::string version_json_;
  std::vector<Entry> checks_;
};

}  // namespace base::net
