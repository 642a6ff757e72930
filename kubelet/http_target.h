// The HTTP request that a probe or a lifecycle hook is: users' words (host, path, headers) become a request that no
// word of theirs can end or add to. What cannot stand in one is refused or encoded, as Go's net/url and net/http do,
// which is what the original sends. Pure; thread-safe.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/net/http.h"
#include "base/version.h"
#include "kubelet/model/types.h"

namespace kubelet::checks {

struct HttpTarget {
  std::string scheme = "http", host;
  int port = 0;
  std::string path;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string user_agent = "kube-probe/" + std::string(base::version::kKubernetesLine);
};

struct HttpRequest {
  std::string endpoint;  // "http://10.0.0.1:80"
  std::string target;    // "/healthz?full"
  std::string url;       // as errors show it
  base::net::Headers headers;
};
// kInvalidArgument: no request can be made of it; kFailedPrecondition: one can, but it may not be sent. Both with the
// text of events.
base::Result<HttpRequest> MakeRequest(const HttpTarget& target);
// Where a redirect leads, seen from there; an error when it leads to another host (or cannot be read).
base::Result<HttpTarget> Redirected(const HttpTarget& from, const HttpRequest& request, const std::string& location);

// "10.0.0.1:80", "[fd00::1]:80".
std::string HostPort(const std::string& host, int port);
// The number of a port given by number or by one of the container's port names.
base::Result<int> PortOf(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& port,
                         const api::Container& container);
base::Result<HttpTarget> TargetOf(const api::HTTPGetAction& action, const api::Container& container,
                                  const std::string& pod_ip);

}  // namespace kubelet::checks
