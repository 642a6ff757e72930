// The start of a daemon that works through the apiserver, the same for all of them: log, main loop, connection, health,
// the word to the supervisor. What differs, its flags and its work, the daemon brings along.
//
//   base::FlagSet flags(...);  AddLogFlags(flags, options);  ...  StartLog(options);
//   return RunComponent(options, [&](base::Context ctx, Component& c) { return Work(std::move(ctx), c); });
//
// elected.h has the same for those of which one replica works at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/daemon.h"
#include "base/flags.h"
#include "base/net/health.h"
#include "machinery/client/client.h"
#include "machinery/client/connection.h"

namespace machinery::client {

struct ComponentOptions {
  std::string name;  // also the user agent's
  // Which apiserver; `master`, a URL, goes before the file's. Both empty: none.
  std::string kubeconfig, master;
  std::string logging_format = "text";
  int32_t verbosity = 0;
};

// What the work is given; all of it outlives the work.
struct Component {
  base::Daemon& daemon;
  base::Executor& executor;  // the main loop
  // Null where no apiserver was named.
  Connection* connection;
  Client* client;
  // The daemon's checks and metrics; whoever listens serves them.
  base::net::HealthEndpoints& health;
  std::string host;
  // For connections with other credentials than the kubeconfig's.
  base::net::ClientOptions anonymous_options;
};

using ComponentWork = std::function<base::Task<base::Status>(base::Context, Component&)>;

// --v and --logging-format.
base::FlagSet& AddLogFlags(base::FlagSet& flags, ComponentOptions& options);
// As the flags say; does not return where there can be no log.
void StartLog(const ComponentOptions& options);

// Runs `work` until it ends or a signal comes; the exit code. The work tells the supervisor that it is ready.
int RunComponent(const ComponentOptions& options, ComponentWork work);

}  // namespace machinery::client
