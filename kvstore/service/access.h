// Whom the HTTP surface beside gRPC serves: etcd's --cors and --host-whitelist. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/net/http.h"

namespace kvstore::service {

struct AccessControl {
  std::vector<std::string> origins = {"*"};  // whose pages may read answers; empty or "*": everybody's
  std::vector<std::string> hosts = {"*"};    // names under which requests without TLS may come; empty or "*": any

  // What every answer to `request` begins with.
  base::net::Headers AnswerHeaders(const base::net::Headers& request) const;
  // `host` as sent, with or without a port. A page that got another name to point here (DNS rebinding) is refused.
  bool HostAllowed(std::string_view host) const;
};
// The name in "name:port".
std::string_view HostName(std::string_view host);
// What who comes under an unknown name is told.
std::string UnknownHostText(std::string_view host);

}  // namespace kvstore::service
