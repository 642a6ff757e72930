// apiserver_request_total and apiserver_request_duration_seconds, with the original's words for verbs and scopes. What
// is not served has no series of its own: anybody may make up names.
//
// On the server's loop.
#pragma once

#include <unordered_map>

#include "apiserver/chain/scope.h"
#include "base/metrics.h"

namespace apiserver::registry {
class Registry;
}

namespace apiserver::chain {

class RequestMetrics {
 public:
  // `metrics` may be null: nothing is counted.
  RequestMetrics(base::MetricsRegistry* metrics, const registry::Registry* registry);
  // A request for a resource that was answered with `scope.code`.
  void Count(const Scope& scope, base::Duration took);

 private:
  struct Cells {
    base::Counter* total;
    base::Histogram* duration;
  };
  Cells& CellsOf(const Scope& scope);

  const registry::Registry* registry_;
  base::Family<base::Counter>* total_ = nullptr;
  base::Family<base::Histogram>* duration_ = nullptr;
  std::unordered_map<std::string, Cells> cells_;  // by what labels are made of
};

}  // namespace apiserver::chain
