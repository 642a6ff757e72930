#include "apiserver/daemon/serve.h"

#include <unistd.h>

#include <charconv>

#include "apiserver/auth/authenticators.h"
#include "apiserver/auth/authorizers.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/auth/tokens.h"
#include "apiserver/bootstrap/bootstrap.h"
#include "apiserver/chain/rest.h"
#include "apiserver/paths/paths.h"
#include "apiserver/registry/core/node_ports.h"
#include "apiserver/registry/core/service_ips.h"
#include "apiserver/rpc/resources_service.h"
#include "apiserver/server.h"
#include "apiserver/storage/etcd.h"
#include "apiserver/streaming/streaming.h"
#include "base/file.h"
#include "base/log.h"
#include "base/net/grpc.h"
#include "base/net/server.h"
#include "base/sync.h"
#include "machinery/object/go_text.h"

namespace apiserver {

namespace object = machinery::object;
using machinery::request::Identity;

namespace {

constexpr base::Duration kDrain = std::chrono::seconds(5);

// Whoever comes over the insecure port, which is on only when asked for, is the administrator.
class InsecurePort final : public auth::Authenticator {
 public:
  base::Task<base::Result<std::optional<Identity>>> Authenticate(base::Context, const auth::Credentials& c) override {
    if (!c.peer || c.peer->tls) co_return std::nullopt;
    co_return Identity{.name = "system:unsecured", .groups = {"system:masters"}};
  }
};

base::Result<std::string> ReadOptional(const std::string& path) {
  if (path.empty()) return std::string();
  return base::ReadFile(base::PosixFileSystem(), path);
}

std::string Hostname() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

std::vector<std::string> Or(std::vector<std::string> given, std::vector<std::string> otherwise) {
  return given.empty() ? otherwise : given;
}

std::string HostPort(const std::string& host, int port) {
  bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

base::Result<std::pair<int, int>> PortRange(const std::string& text) {
  int low = 0, high = 0;
  auto dash = text.find('-');
  if (dash == text.npos) return base::Err(base::InvalidArgument("--service-node-port-range: want LOW-HIGH"));
  auto a = std::from_chars(text.data(), text.data() + dash, low);
  auto b = std::from_chars(text.data() + dash + 1, text.data() + text.size(), high);
  if (a.ec != std::errc() || b.ec != std::errc() || low < 1 || high > 65535 || low > high)
    return base::Err(base::InvalidArgument("--service-node-port-range: bad range " + text));
  return std::pair{low, high};
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
  bootstrap::Policy policy = bootstrap::LoadPolicy();
  std::vector<auth::PublicKey> token_keys;
  std::unique_ptr<auth::TokenIssuer> issuer;
  std::unique_ptr<base::BlockingPool> signing_pool;
  auth::BearerTokens* bearer_tokens = nullptr;
  std::unique_ptr<auth::Authenticator> authenticator;
  auth::Authorization authorization;
  std::unique_ptr<Core> core;
  std::unique_ptr<registry::ServiceIps> service_ips;
  std::unique_ptr<registry::NodePorts> node_ports;
  std::unique_ptr<bootstrap::Bootstrap> boot;
  std::unique_ptr<streaming::Streaming> streaming;
  std::unique_ptr<chain::RestFront> front;
  paths::Health health;
  std::unique_ptr<paths::Paths> paths;
  base::net::GrpcService grpc{{.max_receive_bytes = 8 << 20}};
  std::unique_ptr<base::net::Server> server;

  base::Status Check() const;
  base::Task<base::Status> OpenStore();
  base::Status LoadKeys();
  base::Status MakeCore();
  base::Result<std::unique_ptr<auth::Authenticator>> MakeAuthenticator(registry::Registry& registry);
  base::Status MakeAllocators();
  base::Task<base::Status> Prepare();
  base::Status MakeFronts();
  base::Status Listen();
  base::Task<void> CompactNowAndThen(base::Context ctx);
  std::string AdvertisedHost() const { return options.advertise_address; }
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
  return base::Ok();
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

base::Status Server::Impl::LoadKeys() {
  auto add = [this](const std::string& file) -> base::Status {
    TRY_ASSIGN(std::string pem, ReadOptional(file));
    TRY_ASSIGN(auto keys, auth::PublicKey::FromPem(pem));
    for (auto& k : keys) token_keys.push_back(std::move(k));
    return base::Ok();
  };
  auto files = options.service_account_key_file;
  if (files.empty() && !options.service_account_signing_key_file.empty())
    files = {options.service_account_signing_key_file};
  for (const auto& file : files) TRY(add(file));
  if (options.service_account_signing_key_file.empty()) return base::Ok();
  TRY_ASSIGN(std::string pem, ReadOptional(options.service_account_signing_key_file));
  TRY_ASSIGN(auto key, auth::PrivateKey::FromPem(pem));
  auth::ServiceAccountOptions o;
  o.issuers = options.service_account_issuer;
  o.audiences = Or(options.api_audiences, {options.service_account_issuer[0]});
  o.extend_expiration = options.service_account_extend_token_expiration;
  o.max_expiration_seconds =
      std::chrono::duration_cast<std::chrono::seconds>(options.service_account_max_token_expiration).count();
  issuer = std::make_unique<auth::TokenIssuer>(std::move(key), std::move(o));
  signing_pool = base::NewThreadPool("token-signing", 1);
  return base::Ok();
}

base::Result<std::unique_ptr<auth::Authenticator>> Server::Impl::MakeAuthenticator(registry::Registry& registry) {
  std::vector<std::unique_ptr<auth::Authenticator>> members;
  if (options.insecure_port > 0) members.push_back(std::make_unique<InsecurePort>());
  if (!options.requestheader_client_ca_file.empty()) {
    auth::FrontProxyOptions o;
    TRY_ASSIGN(o.ca_pem, ReadOptional(options.requestheader_client_ca_file));
    o.allowed_names = options.requestheader_allowed_names;
    if (!options.requestheader_username_headers.empty()) o.username_headers = options.requestheader_username_headers;
    if (!options.requestheader_group_headers.empty()) o.group_headers = options.requestheader_group_headers;
    if (!options.requestheader_extra_headers_prefix.empty())
      o.extra_prefixes = options.requestheader_extra_headers_prefix;
    o.uid_headers = options.requestheader_uid_headers;
    TRY_ASSIGN(auto proxy, auth::FrontProxy(std::move(o)));
    members.push_back(std::move(proxy));
  }
  if (!options.client_ca_file.empty()) members.push_back(auth::ClientCertificates());
  std::vector<std::unique_ptr<auth::TokenAuthenticator>> tokens;
  auto audiences = Or(options.api_audiences, {options.service_account_issuer[0]});
  if (!options.token_auth_file.empty()) {
    TRY_ASSIGN(std::string csv, ReadOptional(options.token_auth_file));
    TRY_ASSIGN(auto file, auth::TokenFile(csv, audiences));
    tokens.push_back(std::move(file));
  }
  if (!token_keys.empty()) {
    auth::ServiceAccountOptions o;
    o.issuers = options.service_account_issuer;
    o.audiences = audiences;
    tokens.push_back(auth::ServiceAccountTokens(registry, token_keys, std::move(o)));
  }
  auto bearer = std::make_unique<auth::BearerTokens>(std::move(tokens));
  bearer_tokens = bearer.get();
  members.push_back(std::move(bearer));
  return std::make_unique<auth::Union>(std::move(members), options.anonymous_auth);
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
  o.enable_admission_plugins = options.enable_admission_plugins;
  o.disable_admission_plugins = options.disable_admission_plugins;
  base::Status failed;
  core = std::make_unique<Core>(loop, *store, random.Fork(), std::move(o), [&](registry::Registry& registry) {
    auto who = MakeAuthenticator(registry);
    auto may = auth::MakeAuthorization(registry, Or(options.authorization_mode, {"AlwaysAllow"}),
                                       bootstrap::NodeRules(policy));
    if (!who || !may) {
      failed = !who ? who.error() : may.error();
      return Wiring{};
    }
    authenticator = std::move(*who);
    authorization = std::move(*may);
    auto& f = registry.facilities();
    f.authorizer = authorization.authorizer.get();
    f.rules = authorization.rbac;
    f.tokens = bearer_tokens;
    f.issuer = issuer.get();
    f.signing_pool = signing_pool.get();
    return Wiring{authenticator.get(), authorization.authorizer.get(), &daemon.metrics()};
  });
  return failed;
}

base::Status Server::Impl::MakeAllocators() {
  auto& registry = core->registry();
  std::vector<object::Cidr> ranges;
  if (!options.service_cluster_ip_range.empty())
    for (const auto& text : object::Split(options.service_cluster_ip_range, ',')) {
      auto cidr = object::ParseCidr(text);
      if (!cidr) return base::InvalidArgument("--service-cluster-ip-range: bad CIDR " + text);
      ranges.push_back(*cidr);
    }
  service_ips = std::make_unique<registry::ServiceIps>(registry, std::move(ranges));
  TRY_ASSIGN(auto ports, PortRange(options.service_node_port_range));
  node_ports = std::make_unique<registry::NodePorts>(registry, ports.first, ports.second);
  registry.facilities().service_ips = service_ips.get();
  registry.facilities().node_ports = node_ports.get();
  return base::Ok();
}

// The caches are filled, what a server creates for itself is there.
base::Task<base::Status> Server::Impl::Prepare() {
  CO_TRY(co_await core->WaitReady(daemon.context()));
  bootstrap::Options o;
  if (!options.service_cluster_ip_range.empty())
    o.service_ranges = object::Split(options.service_cluster_ip_range, ',');
  o.advertise_address = options.advertise_address;
  o.secure_port = options.secure_port;
  o.kubernetes_node_port = options.kubernetes_service_node_port;
  o.hostname = Hostname();
  CO_TRY_ASSIGN(o.client_ca_pem, ReadOptional(options.client_ca_file));
  CO_TRY_ASSIGN(o.front_proxy_ca_pem, ReadOptional(options.requestheader_client_ca_file));
  o.front_proxy_names = options.requestheader_allowed_names;
  o.username_headers = options.requestheader_username_headers;
  o.uid_headers = options.requestheader_uid_headers;
  o.group_headers = options.requestheader_group_headers;
  o.extra_prefixes = options.requestheader_extra_headers_prefix;
  boot = std::make_unique<bootstrap::Bootstrap>(core->registry(), std::move(o));
  CO_TRY(co_await boot->Ensure(daemon.context()));
  co_return base::Ok();
}

base::Status Server::Impl::MakeFronts() {
  front = std::make_unique<chain::RestFront>(core->chain(), random);
  paths::PathsOptions p;
  p.server_address = HostPort(options.external_hostname.empty() ? options.advertise_address : options.external_hostname,
                              options.secure_port);
  p.priorities = policy.api_services;
  p.issuer = options.service_account_issuer[0];
  p.jwks_uri = options.service_account_jwks_uri;
  p.keys = token_keys;
  health.Add("ping", paths::Health::kEverywhere, [] { return base::Ok(); });
  health.Add("log", paths::Health::kEverywhere, [] { return base::Ok(); });
  health.Add("etcd", paths::Health::kHealthz | paths::Health::kLivez, [this] {
    return core->registry().mirror().ready() ? base::Ok() : base::Unavailable("the store cannot be watched");
  });
  health.Add("etcd-readiness", paths::Health::kReadyz, [this] {
    return core->registry().mirror().ready() ? base::Ok() : base::Unavailable("the store cannot be watched");
  });
  health.Add("informer-sync", paths::Health::kReadyz, [] { return base::Ok(); });
  for (const char* hook :
       {"poststarthook/start-apiserver-admission-initializer", "poststarthook/rbac/bootstrap-roles",
        "poststarthook/scheduling/bootstrap-system-priority-classes",
        "poststarthook/priority-and-fairness-config-producer", "poststarthook/bootstrap-controller",
        "poststarthook/start-kubernetes-service-cidr-controller", "poststarthook/start-system-namespaces-controller",
        "poststarthook/apiservice-registration-controller"})
    health.Add(hook, paths::Health::kEverywhere,
               [this] { return boot && boot->done() ? base::Ok() : base::Unavailable("not finished"); });
  health.Add("shutdown", paths::Health::kReadyz,
             [this] { return daemon.context().done() ? base::Unavailable("process is shutting down") : base::Ok(); });
  paths = std::make_unique<paths::Paths>(core->registry(), health, &daemon.metrics(), std::move(p));
  paths->MountOn(*front);
  streaming::KubeletAccess access;
  access.certificate_file = options.kubelet_client_certificate;
  access.key_file = options.kubelet_client_key;
  access.ca_file = options.kubelet_certificate_authority;
  access.preferred_address_types = options.kubelet_preferred_address_types;
  access.timeout = options.kubelet_timeout;
  TRY_ASSIGN(streaming, streaming::Streaming::Make(loop, core->registry(), std::move(access)));
  streaming->MountOn(*front);
  rpc::AddResources(grpc, core->chain());
  return base::Ok();
}

base::Status Server::Impl::Listen() {
  base::net::ServerLimits limits;
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

base::Task<base::Status> Server::Run() {
  Impl& s = *impl_;
  base::RaiseOpenFilesLimit();
  CO_TRY(s.Check());
  CO_TRY(s.LoadKeys());
  CO_TRY(co_await s.OpenStore());
  CO_TRY(s.MakeCore());
  CO_TRY(s.MakeAllocators());
  s.scope.Spawn(s.core->Run(s.scope.context()));
  auto ready = co_await s.Prepare();
  if (ready.ok()) ready = s.MakeFronts();
  if (ready.ok()) ready = s.Listen();
  if (ready.ok()) {
    s.scope.Spawn(s.boot->Keep(s.scope.context()));
    s.scope.Spawn(s.service_ips->Run(s.scope.context()));
    s.scope.Spawn(s.node_ports->Run(s.scope.context()));
    s.scope.Spawn(s.CompactNowAndThen(s.scope.context()));
    base::NotifySupervisor("READY=1");
    base::Event stop(s.loop);
    (void)co_await stop.Wait(s.daemon.context());
    if (s.options.shutdown_delay_duration > base::Duration::zero())
      (void)co_await base::Sleep(s.loop, base::Context(), s.options.shutdown_delay_duration);
    co_await s.server->Stop(kDrain);
  }
  co_await s.scope.CancelAndJoin();
  co_return ready;
}

}  // namespace apiserver
