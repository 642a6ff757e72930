// Who knows how the other daemons are, for the kind ComponentStatus. Implemented by plane/; on the server's loop.
#pragma once

#include <string>
#include <vector>

#include "base/context.h"
#include "base/task.h"

namespace apiserver::registry {

struct ComponentState {
  std::string name;    // "scheduler", "etcd-0"
  std::string status;  // of the condition Healthy: True, False, Unknown
  std::string message, error;
};

class ComponentHealth {
 public:
  virtual ~ComponentHealth() = default;
  virtual base::Task<std::vector<ComponentState>> Ask(base::Context ctx) = 0;
};

}  // namespace apiserver::registry
