#include "machinery/client/component.h"

#include "base/host.h"
#include "base/log.h"
#include "machinery/client/kubeconfig.h"

namespace machinery::client {
namespace {

base::Result<Kubeconfig> ServerOf(const ComponentOptions& o) {
  Kubeconfig config;
  if (!o.kubeconfig.empty()) {
    TRY_ASSIGN(config, LoadKubeconfig(base::PosixFileSystem(), o.kubeconfig));
  }
  if (!o.master.empty()) {
    config.options.endpoints = {o.master};
    config.options.http2_prior_knowledge = o.master.starts_with("http://");
    config.anonymous_options.endpoints = config.options.endpoints;
    config.anonymous_options.http2_prior_knowledge = config.options.http2_prior_knowledge;
  }
  return config;
}

base::Task<base::Status> Serve(base::Daemon& daemon, const ComponentOptions& o, const ComponentWork& work) {
  CO_TRY_ASSIGN(Kubeconfig config, ServerOf(o));
  std::unique_ptr<Connection> connection;
  std::unique_ptr<Client> client;
  if (!config.options.endpoints.empty()) {
    connection = Connect(daemon.loop(), config.options, config.token);
    client = std::make_unique<Client>(connection->transport(), o.name);
  }
  base::net::HealthEndpoints health(&daemon.metrics(), "");
  Component component{daemon, daemon.loop(),    connection.get(),        client.get(),
                      health, base::HostName(), config.anonymous_options};
  base::Status status = co_await work(daemon.context(), component);
  base::NotifySupervisor("STOPPING=1");
  co_return status;
}

}  // namespace

base::FlagSet& AddLogFlags(base::FlagSet& flags, ComponentOptions& o) {
  flags.Section("Logs");
  flags.Add("v", &o.verbosity, "Number for the log level verbosity.").Short('v').Config("logging.verbosity");
  flags.AddChoice("logging-format", &o.logging_format, {"text", "json"}, "Format of the log.").Config("logging.format");
  return flags;
}

void StartLog(const ComponentOptions& o) {
  base::LogOptions log;
  log.format = o.logging_format == "json" ? base::LogFormat::kJson : base::LogFormat::kText;
  log.verbosity = o.verbosity;
  if (auto status = base::SetupLogging(log); !status.ok()) base::LogFatal("Cannot set up logging", status);
}

int RunComponent(const ComponentOptions& options, ComponentWork work) {
  base::Daemon daemon;
  return daemon.Run([&](base::Daemon& d) { return Serve(d, options, work); });
}

}  // namespace machinery::client
