// The start of a component of which one replica works at a time (scheduler, controller manager): its common flags, the
// port for health and metrics, the election by a Lease.
//
//   ElectedOptions options{.component = {.name = "kube-scheduler"}, .secure_port = 10259};
//   base::FlagSet flags(...);  AddElectedFlags(flags, options);  ...  StartLog(options.component);
//   return RunElected(options, [&](base::Context ctx, Component& c) { return Work(std::move(ctx), c); });
#pragma once

#include <string>
#include <vector>

#include "machinery/client/component.h"

namespace machinery::client {

struct ElectedOptions {
  ComponentOptions component;
  int32_t secure_port = 0;
  std::string bind_address = "0.0.0.0";
  std::string tls_cert_file, tls_private_key_file, client_ca_file, tls_min_version;
  std::vector<std::string> tls_cipher_suites;
  bool leader_elect = true;
  base::Duration lease_duration = std::chrono::seconds(15);
  base::Duration renew_deadline = std::chrono::seconds(10);
  base::Duration retry_period = std::chrono::seconds(2);
  std::string lease_lock = "leases", lease_name /* empty: the component's */, lease_namespace = "kube-system";
};

// Ends when its context does, or when there is nothing more to do.
using ElectedWork = std::function<base::Task<void>(base::Context, Component&)>;

void AddElectedFlags(base::FlagSet& flags, ElectedOptions& options);
// Flags of the originals that both daemons have and Keelson does not support yet.
const std::vector<std::string>& UnsupportedElectedFlags();

// Runs until a signal or the loss of the lease; the exit code. `work` runs while this process leads.
int RunElected(const ElectedOptions& options, ElectedWork work);

}  // namespace machinery::client
