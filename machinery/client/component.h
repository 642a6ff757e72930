// The main of a control-plane daemon that works through the apiserver under a leader lease (scheduler, controller
// manager): its common flags, connection, health port, election. The daemon adds its own flags and its work.
//
//   ComponentOptions common{.name = "kube-scheduler", .secure_port = 10259};
//   base::FlagSet flags(...);  AddComponentFlags(flags, common);
//   return RunComponent(common, [&](base::Context ctx, Component& c) { return Work(std::move(ctx), c); });
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/daemon.h"
#include "base/flags.h"
#include "base/net/health.h"
#include "machinery/client/client.h"
#include "machinery/client/grpc_transport.h"

namespace machinery::client {

struct ComponentOptions {
  std::string name;  // also the lease's and the user agent's
  int32_t secure_port = 0;
  std::string kubeconfig, master;
  std::string bind_address = "0.0.0.0";
  std::string tls_cert_file, tls_private_key_file, client_ca_file, tls_min_version;
  std::vector<std::string> tls_cipher_suites;
  bool leader_elect = true;
  base::Duration lease_duration = std::chrono::seconds(15);
  base::Duration renew_deadline = std::chrono::seconds(10);
  base::Duration retry_period = std::chrono::seconds(2);
  std::string lease_lock = "leases", lease_name, lease_namespace = "kube-system";
  std::string logging_format = "text";
  int32_t verbosity = 0;
};

struct Component {
  base::Daemon& daemon;
  base::Executor& executor;
  GrpcTransport& transport;
  Client& client;
  base::net::HealthEndpoints& health;
  std::string host;
  // For connections with other credentials than the kubeconfig's.
  base::net::ClientOptions anonymous_options;
};

void AddComponentFlags(base::FlagSet& flags, ComponentOptions& options);
// Flags of the originals that both daemons have and Keelson does not support yet.
const std::vector<std::string>& UnsupportedComponentFlags();

// Runs until a signal or the loss of the lease; the exit code. `work` runs while this process leads.
int RunComponent(const ComponentOptions& options, std::function<base::Task<void>(base::Context, Component&)> work);

}  // namespace machinery::client
