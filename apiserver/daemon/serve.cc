#include "apiserver/daemon/serve.h"

#include <algorithm>

#include "apiserver/chain/rest.h"
#include "apiserver/plane/control_plane.h"
#include "apiserver/rpc/resources_service.h"
#include "apiserver/server.h"
#include "apiserver/storage/etcd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/net/grpc.h"
#include "base/net/server.h"
#include "base/sync.h"

namespace apiserver {

using machinery::request::Identity;

namespace {

constexpr base::Duration kDrain = std::chrono::seconds(5);
constexpr base::Duration kShutdownLook = std::chrono::milliseconds(50);
constexpr base::Duration kMemoryLook = std::chrono::seconds(5);
constexpr size_t kMemorySlack = 32 << 20;

// Whoever comes over the insecure port, which is on only when asked for, is the administrator.
class InsecurePort final : public auth::Authenticator {
 public:
  base::Task<base::Result<std::optional<Identity>>> Authenticate(base::Context ctx,
                                                                 const auth::Credentials& c) override {
    if (!c.peer || c.peer->tls) co_return co_await next->Authenticate(ctx, c);
    co_return Identity{.name = "system:unsecured", .groups = {"system:masters", "system:authenticated"}};
  }
  auth::Authenticator* next = nullptr;  // of the secure port
};

std::string HostPort(const std::string& host, int port) {
  bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace

struct Server::Impl {
  Impl(base::Daemon& d, Options o)
      : daemon(d), loop(d.loop()), options(std::move(o)), random(base::Random::System()), scope(loop, d.context()) {}

  base::Daemon& daemon;
  base::Loop& loop;
  Options options;
  base::Random random;
  base::TaskScope scope;

  std::unique_ptr<storage::EtcdStorage> store;
  std::unique_ptr<base::BlockingPool> signing_pool;
  InsecurePort insecure;
  std::unique_ptr<ControlPlane> plane;
  std::unique_ptr<Core> core;
  std::unique_ptr<chain::RestFront> front;
  base::net::GrpcService grpc{{.max_receive_bytes = 8 << 20}};
  std::unique_ptr<base::net::Server> server;

  base::Status Check() const;
  base::Task<base::Status> OpenStore();
  base::Status MakePlane();
  base::Status MakeCore();
  base::Status MakeFronts();
  base::Status Listen();
  base::Task<void> CompactNowAndThen(base::Context ctx);
  base::Task<void> ReturnMemoryNowAndThen(base::Context ctx);
  base::Task<void> SendElsewhere();
  base::Task<void> EndWatches();
};

Server::Server(base::Daemon& daemon, Options options) : impl_(std::make_unique<Impl>(daemon, std::move(options))) {}
Server::~Server() = default;

base::Status Server::Impl::Check() const {
  if (options.etcd_servers.empty()) return base::InvalidArgument("--etcd-servers must be specified");
  if (options.etcd_prefix != "/registry")
    return base::Unimplemented("--etcd-prefix other than /registry is not supported yet by keelson");
  if (options.tls_cert_file.empty() || options.tls_private_key_file.empty())
    return base::Unimplemented(
        "--tls-cert-file and --tls-private-key-file must be specified: making self-signed certificates is not "
        "supported yet by keelson");
  if (options.service_account_issuer.empty())
    return base::InvalidArgument("--service-account-issuer is a required flag");
  if (!options.feature_gates.empty())
    return base::Unimplemented("flag --feature-gates is not supported yet by keelson");
  return chain::CheckManners(options.manners);
}

base::Task<base::Status> Server::Impl::OpenStore() {
  storage::EtcdOptions o{.servers = options.etcd_servers};
  bool tls = o.servers[0].starts_with("https://");
  if (tls) {
    CO_TRY_ASSIGN(o.tls, base::net::ClientTls::FromFiles({.cert_file = options.etcd_certfile,
                                                          .key_file = options.etcd_keyfile,
                                                          .ca_file = options.etcd_cafile}));
  }
  store = std::make_unique<storage::EtcdStorage>(loop, std::move(o));
  base::Context ctx = daemon.context();
  if (options.storage_initialization_timeout > base::Duration::zero())
    ctx = ctx.WithTimeout(loop, options.storage_initialization_timeout);
  co_return co_await store->Connect(ctx);
}

base::Status Server::Impl::MakePlane() {
  if (!options.service_account_signing_key_file.empty()) signing_pool = base::NewThreadPool("token-signing", 1);
  ControlPlaneOptions o;
  o.anonymous_auth = options.anonymous_auth;
  o.client_ca_file = options.client_ca_file;
  o.token_auth_file = options.token_auth_file;
  o.requestheader_client_ca_file = options.requestheader_client_ca_file;
  o.requestheader_allowed_names = options.requestheader_allowed_names;
  o.requestheader_username_headers = options.requestheader_username_headers;
  o.requestheader_uid_headers = options.requestheader_uid_headers;
  o.requestheader_group_headers = options.requestheader_group_headers;
  o.requestheader_extra_headers_prefix = options.requestheader_extra_headers_prefix;
  o.service_account_issuers = options.service_account_issuer;
  o.service_account_key_files = options.service_account_key_file;
  o.service_account_signing_key_file = options.service_account_signing_key_file;
  o.service_account_jwks_uri = options.service_account_jwks_uri;
  o.api_audiences = options.api_audiences;
  o.extend_token_expiration = options.service_account_extend_token_expiration;
  o.max_token_expiration_seconds =
      std::chrono::duration_cast<std::chrono::seconds>(options.service_account_max_token_expiration).count();
  if (!options.authorization_mode.empty()) o.authorization_modes = options.authorization_mode;
  o.service_cluster_ip_range = options.service_cluster_ip_range;
  o.service_node_port_range = options.service_node_port_range;
  o.kubernetes_service_node_port = options.kubernetes_service_node_port;
  o.bind_address = options.bind_address;
  o.advertise_address = options.advertise_address;
  o.external_hostname = options.external_hostname;
  o.secure_port = options.secure_port;
  o.signing_pool = signing_pool.get();
  TRY_ASSIGN(plane, ControlPlane::Make(std::move(o)));
  return base::Ok();
}

base::Status Server::Impl::MakeCore() {
  CoreOptions o;
  o.registry.event_ttl_seconds = std::chrono::duration_cast<std::chrono::seconds>(options.event_ttl).count();
  o.registry.allow_privileged = options.allow_privileged;
  for (const auto& [key, value] : options.runtime_config) o.registry.runtime_config[key] = value != "false";
  o.limits.max_requests_inflight = options.max_requests_inflight;
  o.limits.max_mutating_requests_inflight = options.max_mutating_requests_inflight;
  o.limits.request_timeout = options.request_timeout;
  o.limits.min_request_timeout = std::chrono::seconds(options.min_request_timeout);
  o.manners = options.manners;
  o.enable_admission_plugins = options.enable_admission_plugins;
  o.disable_admission_plugins = options.disable_admission_plugins;
  core = std::make_unique<Core>(loop, *store, random.Fork(), std::move(o), [&](registry::Registry& registry) {
    Wiring wiring = plane->Connect(registry, &daemon.metrics());
    if (options.insecure_port > 0) {
      insecure.next = wiring.authenticator;
      wiring.authenticator = &insecure;
    }
    return wiring;
  });
  return base::Ok();
}

base::Status Server::Impl::MakeFronts() {
  front = std::make_unique<chain::RestFront>(core->chain());
  plane->MountOn(*front);
  streaming::KubeletAccess access;
  access.certificate_file = options.kubelet_client_certificate;
  access.key_file = options.kubelet_client_key;
  access.ca_file = options.kubelet_certificate_authority;
  access.preferred_address_types = options.kubelet_preferred_address_types;
  access.timeout = options.kubelet_timeout;
  TRY(plane->MountStreaming(loop, *front, std::move(access)));
  TRY(plane->AskPeers(loop));
  rpc::AddResources(grpc, core->chain());
  return base::Ok();
}

base::Status Server::Impl::Listen() {
  base::net::ServerLimits limits;
  limits.header_timeout = std::chrono::seconds(32);
  limits.idle_timeout = limits.http2_idle_timeout = std::chrono::seconds(90);
  if (options.http2_max_streams_per_connection > 0)
    limits.max_concurrent_streams = options.http2_max_streams_per_connection;
  auto handle = [this](base::net::Exchange& exchange) -> base::Task<void> {
    return base::net::GrpcService::Accepts(exchange) ? grpc.Serve(exchange) : front->Serve(exchange);
  };
  server = std::make_unique<base::net::Server>(std::vector<base::Loop*>{&loop}, handle, limits);
  base::net::TlsFiles files{.cert_file = options.tls_cert_file,
                            .key_file = options.tls_private_key_file,
                            .ca_file = options.client_ca_file,
                            .cipher_suites = options.tls_cipher_suites};
  if (options.tls_min_version == "VersionTLS13") files.minimum_version = 13;
  TRY_ASSIGN(auto tls, base::net::ServerTls::FromFiles(std::move(files)));
  TRY_ASSIGN(std::string bound, server->Listen(HostPort(options.bind_address, options.secure_port), tls));
  base::LogInfo("Serving securely", {{"address", bound}});
  if (options.insecure_port > 0) {
    TRY_ASSIGN(std::string plain, server->Listen(HostPort(options.insecure_bind_address, options.insecure_port)));
    base::LogWarning("Serving insecurely", {{"address", plain}});
  }
  return base::Ok();
}

// Gives up what is older than one interval, as the original does. Several servers may do it: the later one fails
// harmlessly.
base::Task<void> Server::Impl::CompactNowAndThen(base::Context ctx) {
  if (options.etcd_compaction_interval <= base::Duration::zero()) co_return;
  uint64_t before = 0;
  while ((co_await base::Sleep(loop, ctx, options.etcd_compaction_interval)).ok()) {
    if (before) {
      auto s = co_await store->Compact(ctx, before);
      if (!s.ok()) base::LogV(2, "Compaction of the store failed", {{"err", s}});
    }
    auto now = co_await store->CurrentRevision(ctx);
    before = now ? *now : before;
  }
}

// A burst of requests leaves no mark on an idle server.
base::Task<void> Server::Impl::ReturnMemoryNowAndThen(base::Context ctx) {
  while ((co_await base::Sleep(loop, ctx, kMemoryLook)).ok()) base::ReturnFreedMemory(kMemorySlack);
}

// As long as the requests under way last, those that come are answered with 429 instead of a refused connection.
base::Task<void> Server::Impl::SendElsewhere() {
  auto& state = core->chain().state();
  state.shutting_down = true;
  auto limited = base::Context().WithTimeout(loop, options.request_timeout);
  while (state.under_way > 0 && (co_await base::Sleep(loop, limited, kShutdownLook)).ok()) {
  }
}

// Spread over the grace period, so that their clients do not all come to the other servers in one moment.
base::Task<void> Server::Impl::EndWatches() {
  auto& watches = core->chain().state().watches;
  if (options.shutdown_watch_termination_grace_period <= base::Duration::zero() || watches.empty()) co_return;
  auto pause = options.shutdown_watch_termination_grace_period / watches.size();
  auto limited = base::Context().WithTimeout(loop, options.shutdown_watch_termination_grace_period);
  while (!watches.empty() && (co_await base::Sleep(loop, limited, pause)).ok()) {
    auto ending = std::ranges::find_if(watches, [](const auto* w) { return !w->context.done(); });
    if (ending != watches.end()) (*ending)->context.Cancel();
  }
}

base::Task<base::Status> Server::Run() {
  Impl& s = *impl_;
  base::RaiseOpenFilesLimit();
  CO_TRY(s.Check());
  CO_TRY(s.MakePlane());
  CO_TRY(co_await s.OpenStore());
  CO_TRY(s.MakeCore());
  s.scope.Spawn(s.core->Run(s.scope.context()));
  auto ready = co_await s.core->WaitReady(s.daemon.context());
  if (ready.ok()) ready = co_await s.plane->Start(s.daemon.context());
  if (ready.ok()) ready = s.MakeFronts();
  if (ready.ok()) ready = s.Listen();
  if (ready.ok()) {
    s.scope.Spawn(s.plane->Run(s.scope.context()));
    s.scope.Spawn(s.CompactNowAndThen(s.scope.context()));
    s.scope.Spawn(s.ReturnMemoryNowAndThen(s.scope.context()));
    base::NotifySupervisor("READY=1");
    base::Event stop(s.loop);
    (void)co_await stop.Wait(s.daemon.context());
    s.plane->BeginShutdown();
    if (s.options.shutdown_delay_duration > base::Duration::zero())
      (void)co_await base::Sleep(s.loop, base::Context(), s.options.shutdown_delay_duration);
    if (s.options.manners.shutdown_send_retry_after) co_await s.SendElsewhere();
    co_await s.EndWatches();
    co_await s.server->Stop(kDrain);
  }
  co_await s.scope.CancelAndJoin();
  co_return ready;
}

}  // namespace apiserver
