// One look at a container from outside or inside: what probes and lifecycle handlers do. Each gives an outcome and the
// text the original's events show. A simulation hands in a network of its own. One strand.
#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "kubelet/http_target.h"
#include "kubelet/runtimes/runtime.h"

namespace kubelet::checks {

enum class Verdict { kSuccess, kFailure, kUnknown };  // kUnknown: the check itself could not be made
struct Outcome {
  Verdict verdict = Verdict::kUnknown;
  std::string output;
  bool warning = false;  // a success that somebody should hear of
};

// A command in a container. Exit code 0 is success.
base::Task<Outcome> Exec(base::Context ctx, runtimes::Runtime& runtime, std::string container_id,
                         std::vector<std::string> command, base::Duration timeout);
enum class Judge {
  kStatus,  // 200 to 399 is success
  kAnswer,  // any answer is
};

// Looks from outside, over the network.
class Network {
 public:
  virtual ~Network() = default;
  // GET. Redirects within the host are followed; one to elsewhere is a success with a warning. Certificates are not
  // verified: the container's own is asked.
  virtual base::Task<Outcome> HttpGet(base::Context ctx, HttpTarget target, base::Duration timeout,
                                      Judge judge = Judge::kStatus) = 0;
  virtual base::Task<Outcome> TcpConnect(base::Context ctx, std::string host, int port, base::Duration timeout) = 0;
  // grpc.health.v1.Health/Check.
  virtual base::Task<Outcome> GrpcHealth(base::Context ctx, std::string host, int port, std::string service,
                                         base::Duration timeout) = 0;
};
// The machine's.
std::unique_ptr<Network> NewNetwork(base::Loop& loop);

// What a health service is asked: the bytes of a HealthCheckRequest.
std::string HealthRequest(std::string_view service);
// The status in the bytes of a HealthCheckResponse, as its name.
std::string HealthStatus(std::string_view response);

}  // namespace kubelet::checks
