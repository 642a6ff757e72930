// What logs, streams and proxies share of HTTP: which headers pass on. For this folder's .cc files.
#pragma once

#include <string>
#include <string_view>

#include "base/net/server.h"
#include "machinery/object/api_error.h"

namespace apiserver::streaming {

std::string HostPort(const std::string& host, int64_t port);
bool Upgrades(const base::net::Exchange& e);
bool IsWebSocket(const base::net::Exchange& e);
// Headers of one hop only, which a proxy must not pass on.
bool HopByHop(std::string_view name);
// Credentials for this server, which nobody behind it may see.
bool Secret(std::string_view name);
base::Status Unreachable(const base::Status& why);

}  // namespace apiserver::streaming
