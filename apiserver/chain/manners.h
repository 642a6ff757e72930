// How the server behaves towards browsers and balancers: flags of the original's generic server options
// (apiserver/pkg/server/options/server_run_options.go). Pure.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace apiserver::chain {

struct Manners {
  std::vector<std::string> cors_allowed_origins;  // regular expressions that an Origin header is searched with
  std::vector<std::string> strict_transport_security_directives;
  double goaway_chance = 0;  // that a client is asked to connect anew, per request; 0 to 0.02
  bool shutdown_send_retry_after = false;
};

// InvalidArgument with the flag and what it expects.
base::Status CheckManners(const Manners& manners);

}  // namespace apiserver::chain
