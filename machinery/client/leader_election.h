// Lease-based leader election: one of several equal daemons works. Safe as long as clocks run at about the same rate:
// a holder that cannot renew within renew_deadline stops before another can take the lease (lease_duration).
#pragma once

#include <functional>
#include <string>

#include "base/sync.h"
#include "machinery/client/client.h"

namespace machinery::client {

struct LeaderElectionOptions {
  std::string lease_namespace = "kube-system";
  std::string lease_name;  // "kube-scheduler"
  std::string identity;    // hostname_uuid
  base::Duration lease_duration = std::chrono::seconds(15);
  base::Duration renew_deadline = std::chrono::seconds(10);
  base::Duration retry_period = std::chrono::seconds(2);
  bool release_on_cancel = true;
};

// Waits to become leader, runs `lead` with a context that ends when leadership is lost or `ctx` ends. Returns OK when
// `ctx` ended, an error when leadership was lost (the daemon then exits, as the original does).
base::Task<base::Status> RunAsLeader(base::Executor& executor, base::Context ctx, Client& client,
                                     LeaderElectionOptions options,
                                     std::function<base::Task<void>(base::Context)> lead);

}  // namespace machinery::client
