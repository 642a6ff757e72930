// kvstore: one member of an etcd cluster.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef KEELSON_MIMALLOC
#include <mimalloc.h>
#endif

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/block_file.h"
#include "base/daemon.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/net/dns.h"
#include "kvstore/mvcc/member_id.h"
#include "kvstore/peer/http_transport.h"
#include "kvstore/service/config.h"
#include "kvstore/service/peer_names.h"
#include "kvstore/service/tcp_gateway.h"

namespace {

using base::Context;
using base::Daemon;
using base::Ok;
using base::Status;
using base::Task;
using namespace kvstore;

// While a member starts, what it frees goes back to the system at once: an idle one would keep it for good. In service
// memory is soon used again.
void FreedMemoryGoesBack(bool at_once) {
#ifdef KEELSON_MIMALLOC
  static const long kUsual = mi_option_get(mi_option_decommit_delay);
  mi_option_set(mi_option_decommit_delay, at_once ? 0 : kUsual);
#endif
}

using service::Surface;

// The listeners for clients: one server for each kind of them.
class ClientServers {
 public:
  ClientServers(base::Loop& loop, service::Api& api, const base::net::ServerLimits& limits) {
    for (Surface s : {Surface::kAll, Surface::kGrpc, Surface::kHttp, Surface::kHealth}) {
      auto handle = [&api, s](base::net::Exchange& e) { return api.Handle(e, s); };
      servers_[s] = std::make_unique<base::net::Server>(std::vector<base::Loop*>{&loop}, handle, limits);
    }
  }
  Status Listen(const service::Config& config) {
    std::shared_ptr<base::net::ServerTls> tls;
    if (config.ClientTlsOn()) {
      TRY_ASSIGN(base::net::TlsFiles files, config.ClientListenerTls());
      TRY_ASSIGN(tls, base::net::ServerTls::FromFiles(files));
    }
    // Where HTTP has ports of its own, the others are gRPC's alone.
    bool split = !config.listen_client_http_urls.empty();
    TRY(Listen(config.listen_metrics_urls, Surface::kHealth, tls, config.share_ports));
    TRY(Listen(config.listen_client_urls, split ? Surface::kGrpc : Surface::kAll, tls, config.share_ports));
    return Listen(config.listen_client_http_urls, Surface::kHttp, tls, config.share_ports);
  }
  Task<void> Stop() {
    for (auto& [surface, server] : servers_) co_await server->Stop(std::chrono::seconds(1));
  }

 private:
  Status Listen(const std::vector<std::string>& urls, Surface surface, std::shared_ptr<base::net::ServerTls> tls,
                bool share_ports) {
    for (const std::string& url : urls) {
      TRY_ASSIGN(service::ListenUrl u, service::ParseListenUrl(url));
      TRY_ASSIGN(std::string bound, servers_.at(surface)->Listen(u.address, u.tls ? tls : nullptr, share_ports));
      if (surface == Surface::kHealth) {
        base::LogInfo("serving metrics", {{"address", url}});
      } else {
        base::LogInfo(u.tls ? "serving client traffic securely"
                            : "serving client traffic insecurely; this is strongly discouraged!",
                      {{"traffic", service::TrafficName(surface)}, {"address", bound}});
      }
    }
    return Ok();
  }
  std::map<Surface, std::unique_ptr<base::net::Server>> servers_;
};

Status ListenToPeers(base::net::Server& server, const service::Config& config) {
  std::shared_ptr<base::net::ServerTls> tls;
  if (config.PeerTlsOn()) {
    TRY_ASSIGN(base::net::TlsFiles files, config.PeerListenerTls());
    TRY_ASSIGN(tls, base::net::ServerTls::FromFiles(files));
  }
  for (const std::string& url : config.listen_peer_urls) {
    TRY_ASSIGN(service::ListenUrl u, service::ParseListenUrl(url));
    auto bound = server.Listen(u.address, u.tls ? tls : nullptr, config.share_ports);
    if (!bound && config.peer_urls_given) return bound.error();
    if (bound) {
      base::LogInfo("serving peer traffic", {{"address", *bound}});
    } else {
      base::LogWarning("not listening for peers", {{"address", u.address}, {"error", bound.error()}});
    }
  }
  return Ok();
}

// Who founds the cluster, where not a flag says so but DNS or a registry.
Task<Status> Discover(Daemon& daemon, service::Config& config) {
  if (config.DiscoversByDns()) {
    CO_TRY_ASSIGN(std::string found, service::ClusterFromDns(base::net::MachineNameService(), config.dns, config.name,
                                                             config.initial_advertise_peer_urls));
    // Without authorities to go by, the domain that was asked is the name to be shown.
    if (found.find("https://") != found.npos && config.peer_tls.ca_file.empty()) {
      config.peer_tls.server_name = config.dns.domain;
    }
    co_return config.SetInitialCluster(found);
  }
  if (!config.DiscoversByRegistry() || config.initial_cluster_state != "new") co_return Ok();
  std::string own;
  for (const std::string& url : config.initial_advertise_peer_urls) {
    own += (own.empty() ? "" : ",") + config.name + "=" + url;
  }
  config.initial_cluster_token = config.registry.token;
  uint64_t id = mvcc::MemberId(config.initial_advertise_peer_urls, config.registry.token);
  CO_TRY_ASSIGN(std::string found,
                co_await service::JoinByRegistry(daemon.loop(), daemon.context(), config.registry, id, own));
  co_return config.SetInitialCluster(found);
}

// A member that joins asks the others who they are, and finds itself among them by its URLs.
Task<base::Result<replica::Options::Existing>> AskTheOthers(base::Loop& loop, const service::Config& config,
                                                            const peer::Dialing& dialing) {
  std::vector<std::string> urls;
  for (const auto& [name, theirs] : config.InitialCluster()) {
    if (name != config.name) urls.insert(urls.end(), theirs.begin(), theirs.end());
  }
  CO_TRY_ASSIGN(peer::ClusterView view, co_await peer::AskForMembers(loop, urls, dialing));
  std::vector<std::string> own = config.initial_advertise_peer_urls;
  std::sort(own.begin(), own.end());
  replica::Options::Existing existing{.cluster_id = view.cluster_id, .members = view.members};
  for (mvcc::Member& m : view.members) {
    std::sort(m.peer_urls.begin(), m.peer_urls.end());
    if (m.peer_urls == own) existing.member_id = m.id;
  }
  if (view.members.size() != config.InitialCluster().size()) {
    co_return base::Err(base::FailedPrecondition("error validating peerURLs: member count is unequal"));
  }
  if (existing.member_id == 0) {
    co_return base::Err(
        base::FailedPrecondition("error validating peerURLs: this member is not in the cluster; add it first"));
  }
  co_return existing;
}

Task<void> HandleNamed(service::PeerNames& names, peer::HttpTransport& transport, base::net::Exchange& e) {
  if ((co_await names.Check(e.peer())).ok()) {
    co_await transport.Handle(e);
  } else {
    (void)co_await e.Respond(403, {}, std::string());
  }
}

// Leadership goes to somebody else before this member goes.
Task<void> HandOver(replica::Replica& replica, base::Executor& executor) {
  if (!replica.is_leader()) co_return;
  auto to = replica.Successor();
  if (!to) co_return;
  Status s = co_await replica.MoveLeader(Context().WithTimeout(executor, std::chrono::seconds(2)), *to);
  base::LogInfo("leadership transfer at shutdown", {{"to", mvcc::MemberKey(*to)}, {"result", s}});
}

// Two processes on one log would write into each other's records. The lock goes with the process, however it ends.
Status LockDataDirectory(const std::string& path) {
  TRY(base::PosixFileSystem().MakeDirectories(path));
  int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return base::FromErrno(errno, path);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return base::FailedPrecondition("data directory " + path + " is in use by another process");
  }
  return Ok();
}

// The names that flags had while they were experiments.
std::vector<std::string> WithoutExperimental(int argc, char** argv) {
  std::vector<std::string> out;
  for (int i = 0; i < argc; ++i) {
    std::string arg = argv[i];
    size_t dashes = std::min(arg.find_first_not_of('-'), arg.size());
    constexpr std::string_view kWord = "experimental-";
    if (i > 0 && dashes > 0 && std::string_view(arg).substr(dashes).starts_with(kWord)) {
      arg = "--" + arg.substr(dashes + kWord.size());
      std::fprintf(stderr, "flag %s is deprecated, use %s\n", argv[i], arg.c_str());
    }
    out.push_back(std::move(arg));
  }
  std::vector<std::string> formerly;
  for (char** e = environ; *e != nullptr; ++e) formerly.emplace_back(*e);
  constexpr std::string_view kPrefix = "ETCD_EXPERIMENTAL_";
  for (const std::string& entry : formerly) {
    size_t eq = entry.find('=');
    if (!entry.starts_with(kPrefix) || eq == std::string::npos) continue;
    setenv(("ETCD_" + entry.substr(kPrefix.size(), eq - kPrefix.size())).c_str(), entry.c_str() + eq + 1, 0);
  }
  return out;
}

// Before clients come, when there is so much to give back.
Task<Status> DefragmentAtStart(Daemon& daemon, replica::Replica& replica, uint64_t from) {
  if (from == 0 || daemon.context().done()) co_return Ok();
  uint64_t size = replica.store().size_bytes(), in_use = replica.store().size_in_use_bytes();
  if (size - std::min(size, in_use) >= from) co_return co_await replica.Defragment(daemon.context());
  base::LogInfo("Skipping defragmentation", {{"current-db-size-bytes", size},
                                             {"current-db-size-in-use-bytes", in_use},
                                             {"experimental-bootstrap-defrag-threshold-bytes", from}});
  co_return Ok();
}

// What there is to know before the member's files are opened: from flags, and of the others.
struct Preparations {
  replica::Options options;
  peer::Dialing dialing;
};
Task<base::Result<Preparations>> Prepare(Daemon& daemon, service::Config& config, base::BlockFiles* blocks) {
  std::string log = config.wal_dir.empty() ? config.data_dir + "/member/wal" : config.wal_dir;
  bool initialized = wal::Exists(base::PosixFileSystem(), log);
  Preparations out;
  if (!initialized) {
    CO_TRY(co_await Discover(daemon, config));
  } else if (config.DiscoversByRegistry()) {
    base::LogWarning("discovery token is ignored since cluster already initialized; valid logs are found",
                     {{"wal-dir", log}});
  }
  CO_TRY_ASSIGN(out.options, config.ReplicaOptions());
  out.options.wal.blocks = blocks;
  out.dialing.local_address = config.PeerLocalAddress();
  if (!config.peer_tls.cert_file.empty() || !config.peer_tls.ca_file.empty() || config.peer_auto_tls) {
    CO_TRY_ASSIGN(out.dialing.tls, base::net::ClientTls::FromFiles(config.PeerClientTls()));
  }
  if (config.initial_cluster_state == "existing" && !initialized) {
    CO_TRY_ASSIGN(out.options.existing, co_await AskTheOthers(daemon.loop(), config, out.dialing));
  }
  // Reading what there is frees as much as it takes.
  if (initialized) FreedMemoryGoesBack(/*at_once=*/false);
  co_return out;
}

base::net::ServerLimits ClientLimits(const service::Config& config) {
  base::net::ServerLimits limits;
  limits.max_concurrent_streams = config.max_concurrent_streams;
  // Of each stream, besides what the kernel holds: thousands of watches may stand still.
  limits.write_buffer = 32 << 10;
  // etcd bounds neither; what its clients may send at once is bounded by --max-request-bytes and their streams.
  limits.max_connections_per_peer = limits.max_connections;
  limits.unread_bytes = 512 << 20;
  return limits;
}

Task<Status> Serve(Daemon& daemon, service::Config& config) {
  config.Announce();
  CO_TRY(LockDataDirectory(config.data_dir));
  auto log_pool = base::NewThreadPool("wal", 1);
  auto other_pool = base::NewThreadPool("disk", 1);
  auto password_pool = base::NewThreadPool("password", 1);
  auto reader_pool = base::NewThreadPool("reader", 1);
  auto log_blocks = base::NewBlockFiles(daemon.loop());
  CO_TRY_ASSIGN(Preparations start, co_await Prepare(daemon, config, log_blocks.get()));
  replica::Environment env{daemon.loop(), base::PosixFileSystem(), *log_pool, *other_pool};
  CO_TRY_ASSIGN(std::unique_ptr<replica::Replica> replica,
                replica::Replica::Open(env, std::move(start.options), base::Random::System()));
  Status failure;
  replica->on_failure = [&](const Status& why) {
    failure = why;
    base::LogError("the member's disk failed; stopping", why);
    daemon.Shutdown();
  };
  service::Api api(*replica, {*password_pool, *reader_pool}, daemon.metrics(), config.api);
  peer::HttpTransport transport(daemon.loop(), *replica, base::PosixFileSystem(), *other_pool,
                                {.own_urls = config.initial_advertise_peer_urls, .dialing = start.dialing});
  transport.may_administer = [&api](const std::string& token) { return api.MayAdminister(token); };
  replica->Attach(transport);
  replica->on_removed = [&] { daemon.Shutdown(); };
  auto resolver_pool = base::NewThreadPool("resolver", 1);
  service::PeerNames names(base::net::MachineNameService(), *resolver_pool, daemon.loop());
  base::net::Server peers({&daemon.loop()}, [&](base::net::Exchange& e) {
    return e.peer().certificate_der.empty() || config.peer_skip_names ? transport.Handle(e)
                                                                      : HandleNamed(names, transport, e);
  });
  CO_TRY(ListenToPeers(peers, config));
  replica->Start();
  while (!daemon.context().done() && failure.ok() && !(co_await replica->ReadBarrier(daemon.context())).ok()) {
    base::LogWarning("waiting for the cluster: no quorum yet");
  }
  if (failure.ok()) CO_TRY(co_await DefragmentAtStart(daemon, *replica, config.DefragmentFrom()));
  service::CorruptionChecker checker(*replica, transport, *reader_pool);
  if (config.initial_corrupt_check && failure.ok() && !daemon.context().done())
    failure = co_await checker.InitialCheck(daemon.context());
  ClientServers servers(daemon.loop(), api, ClientLimits(config));
  if (failure.ok()) CO_TRY(servers.Listen(config));
  base::TaskScope tasks(daemon.loop(), daemon.context());
  CO_TRY_ASSIGN(service::CompactionPolicy policy,
                service::ParseCompactionPolicy(config.compaction_mode, config.compaction_retention));
  if (policy.on()) tasks.Spawn(service::RunCompactor(*replica, tasks.context(), policy));
  tasks.Spawn(checker.Run(tasks.context(), config.corruption_check));
  if (failure.ok()) {
    base::LogInfo("ready to serve client requests");
    FreedMemoryGoesBack(/*at_once=*/false);
    base::NotifySupervisor("READY=1");
    base::Event never(daemon.loop());
    (void)co_await never.Wait(daemon.context());
  }
  base::NotifySupervisor("STOPPING=1");
  base::LogInfo("closing etcd server", {{"name", config.name}, {"data-dir", config.data_dir}});
  co_await tasks.CancelAndJoin();
  // A member whose disk failed leads nobody any more: the others hear that at once, from their streams.
  if (!failure.ok()) co_await transport.Stop();
  co_await servers.Stop();
  if (failure.ok()) co_await HandOver(*replica, daemon.loop());
  co_await transport.Stop();
  co_await peers.Stop(std::chrono::milliseconds(100));
  co_await replica->Stop(/*checkpoint=*/true);
  base::LogInfo("closed etcd server", {{"name", config.name}, {"data-dir", config.data_dir}});
  co_return failure;
}

}  // namespace

int main(int argc, char** argv) {
  if (std::string_view command = argc > 1 ? argv[1] : ""; command == "gateway") {
    return service::RunGateway({argv, argv + argc});
  } else if (command == "grpc-proxy") {
    return service::RefuseGrpcProxy();
  }
  FreedMemoryGoesBack(/*at_once=*/true);
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
  std::vector<std::string> args = WithoutExperimental(argc, argv);
  std::vector<char*> words;
  for (std::string& a : args) words.push_back(a.data());
  if (auto code = flags.ParseOrExitCode(static_cast<int>(words.size()), words.data())) return *code;
  (void)base::SetupLogging({.format = base::LogFormat::kEtcdJson});
  Status usable = config.Check(flags);
  auto log = config.LogOptions();
  if (log && usable.ok()) usable = base::SetupLogging(*log);
  if (!usable.ok()) {
    base::LogWarning("failed to verify flags", {{"error", usable.message()}});
    return 1;
  }
  config.WarnOfWhatIsIgnored();
  base::RaiseOpenFilesLimit();
  if (config.memory_mlock && mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    base::LogWarning("failed to lock memory", {{"error", base::FromErrno(errno, "mlockall")}});
  }
  Daemon daemon;
  return daemon.Run([&](Daemon& d) { return Serve(d, config); });
}
