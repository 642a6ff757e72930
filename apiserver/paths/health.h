// /healthz, /livez and /readyz with the original's names: every step of the server's start is a check of its own, which
// fails until the step is done. One strand; checks must not block.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace apiserver::paths {

class Health {
 public:
  enum Where : uint8_t { kHealthz = 1, kLivez = 2, kReadyz = 4, kEverywhere = 7 };
  void Add(std::string name, uint8_t where, std::function<base::Status()> check);

  struct Answer {
    int code = 404;
    std::string body;
    bool root = false;  // all checks together, not a single one
  };
  // `path`: "/readyz", "/healthz/etcd"; `query`: verbose, exclude=NAME.
  Answer Evaluate(std::string_view path, std::string_view query) const;
  // "/healthz", "/healthz/etcd", ... sorted.
  std::vector<std::string> Paths() const;
  // kubernetes_healthcheck as text for /metrics/slis.
  std::string SliText() const;

 private:
  struct Check {
    std::string name;
    uint8_t where;
    std::function<base::Status()> run;
  };
  std::vector<Check> checks_;
};

}  // namespace apiserver::paths
