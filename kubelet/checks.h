// One look at a container from outside or inside: what probes and lifecycle handlers do. Each gives an outcome and the
// text the original's events show. One strand.
#pragma once

#include <string>

#include "base/loop.h"
#include "kubelet/runtimes/runtime.h"

namespace kubelet::checks {

enum class Verdict { kSuccess, kFailure, kUnknown };  // kUnknown: the check itself could not be made
struct Outcome {
  Verdict verdict = Verdict::kUnknown;
  std::string output;
};

// A command in a container. Exit code 0 is success.
base::Task<Outcome> Exec(base::Context ctx, runtimes::Runtime& runtime, std::string container_id,
                         std::vector<std::string> command, base::Duration timeout);
struct HttpTarget {
  std::string scheme = "http", host;
  int port = 0;
  std::string path;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string user_agent = "kube-probe/1.36";
};
// GET; 200 to 399 is success. Certificates are not verified: the container's own is asked.
base::Task<Outcome> HttpGet(base::Loop& loop, base::Context ctx, HttpTarget target, base::Duration timeout);
base::Task<Outcome> TcpConnect(base::Loop& loop, base::Context ctx, std::string host, int port, base::Duration timeout);
// grpc.health.v1.Health/Check.
base::Task<Outcome> GrpcHealth(base::Loop& loop, base::Context ctx, std::string host, int port, std::string service,
                               base::Duration timeout);

// The number of a port given by number or by one of the container's port names; 0 when there is none.
int PortOf(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& port, const api::Container& container);
HttpTarget TargetOf(const api::HTTPGetAction& action, const api::Container& container, const std::string& pod_ip);

}  // namespace kubelet::checks
