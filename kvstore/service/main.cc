// kvstore: an etcd server of one member.
#include <string>

#include "base/daemon.h"
#include "base/flags.h"
#include "base/log.h"
#include "kvstore/service/config.h"

namespace {

using base::Context;
using base::Daemon;
using base::Ok;
using base::Status;
using base::Task;
using namespace kvstore;

Status ListenAll(base::net::Server& server, const service::Config& config) {
  std::shared_ptr<base::net::ServerTls> tls;
  if (!config.tls.cert_file.empty()) {
    TRY_ASSIGN(tls, base::net::ServerTls::FromFiles(config.tls));
  }
  for (const auto* urls : {&config.listen_client_urls, &config.listen_metrics_urls}) {
    for (const std::string& url : *urls) {
      TRY_ASSIGN(service::ListenUrl u, service::ParseListenUrl(url));
      TRY_ASSIGN(std::string bound, server.Listen(u.address, u.tls ? tls : nullptr));
      if (!u.tls) {
        base::LogInfo("serving client traffic insecurely; this is strongly discouraged!",
                      {{"traffic", "grpc+http"}, {"address", bound}});
      } else {
        base::LogInfo("serving client traffic securely", {{"traffic", "grpc+http"}, {"address", bound}});
      }
    }
  }
  return Ok();
}

Task<Status> Serve(Daemon& daemon, service::Config& config) {
  auto log_pool = base::NewThreadPool("wal", 1);
  auto other_pool = base::NewThreadPool("disk", 1);
  auto password_pool = base::NewThreadPool("password", 1);
  CO_TRY_ASSIGN(replica::Options options, config.ReplicaOptions());
  replica::Environment env{daemon.loop(), base::PosixFileSystem(), *log_pool, *other_pool};
  CO_TRY_ASSIGN(std::unique_ptr<replica::Replica> replica,
                replica::Replica::Open(env, options, base::Random::System()));
  Status failure;
  replica->on_failure = [&](const Status& why) {
    failure = why;
    base::LogError("the member's disk failed; stopping", why);
    daemon.Shutdown();
  };
  service::Api api(*replica, base::PosixFileSystem(), *password_pool, daemon.metrics(), config.api);
  replica->Start();
  CO_TRY(co_await replica->ReadBarrier(daemon.context()));
  base::net::ServerLimits limits;
  limits.max_concurrent_streams = config.max_concurrent_streams;
  base::net::Server server({&daemon.loop()}, [&](base::net::Exchange& e) { return api.Handle(e); }, limits);
  CO_TRY(ListenAll(server, config));
  base::TaskScope tasks(daemon.loop(), daemon.context());
  CO_TRY_ASSIGN(service::CompactionPolicy policy,
                service::ParseCompactionPolicy(config.compaction_mode, config.compaction_retention));
  if (policy.on()) tasks.Spawn(service::RunCompactor(*replica, tasks.context(), policy));
  base::LogInfo("ready to serve client requests");
  base::NotifySupervisor("READY=1");
  base::Event never(daemon.loop());
  (void)co_await never.Wait(daemon.context());
  base::NotifySupervisor("STOPPING=1");
  base::LogInfo("closing etcd server", {{"name", config.name}, {"data-dir", config.data_dir}});
  co_await tasks.CancelAndJoin();
  co_await server.Stop(std::chrono::seconds(1));
  co_await replica->Stop(/*checkpoint=*/true);
  base::LogInfo("closed etcd server", {{"name", config.name}, {"data-dir", config.data_dir}});
  co_return failure;
}

}  // namespace

int main(int argc, char** argv) {
  service::Config config;
  // Started under the original's name it answers as the original does.
  base::FlagSet flags({.name = "etcd",
                       .description = "kvstore: an etcd v3 server.",
                       .version = "etcd Version: " + std::string(replica::kServerVersion) +
                                  "\nGit SHA: keelson\nGo Version: none (C++)\nGo OS/Arch: linux/amd64",
                       .style = base::FlagProgram::Style::kEtcd,
                       .env_prefix = "ETCD_",
                       .config_flag = "config-file"});
  config.AddFlags(flags);
  if (auto code = flags.ParseOrExitCode(argc, argv)) return *code;
  if (Status s = config.Check(flags); !s.ok()) {
    base::LogError("failed to verify flags", s);
    return 1;
  }
  if (Status s = base::SetupLogging(config.LogOptions()); !s.ok()) {
    base::LogError("failed to set up logging", s);
    return 1;
  }
  base::RaiseOpenFilesLimit();
  Daemon daemon;
  return daemon.Run([&](Daemon& d) { return Serve(d, config); });
}
