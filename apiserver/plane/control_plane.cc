#include "apiserver/plane/control_plane.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "apiserver/auth/authenticators.h"
#include "apiserver/auth/authorizers.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/auth/tokens.h"
#include "apiserver/bootstrap/bootstrap.h"
#include "apiserver/paths/paths.h"
#include "apiserver/plane/peers.h"
#include "apiserver/registry/core/claim_protection.h"
#include "apiserver/registry/core/node_ports.h"
#include "apiserver/registry/core/service_ips.h"
#include "base/file.h"
#include "base/host.h"
#include "base/log.h"
#include "base/strings.h"
#include "base/sync.h"

namespace apiserver {

namespace object = machinery::object;

namespace {

constexpr std::string_view kDefaultServiceRange = "10.0.0.0/24";
constexpr std::string_view kDefaultIssuer = "https://kubernetes.default.svc.cluster.local";
constexpr auto kProbeInterval = std::chrono::seconds(5);
constexpr auto kProbeTimeout = std::chrono::seconds(2);

base::Result<std::string> Read(const std::string& flag, const std::string& path) {
  auto text = base::ReadFile(base::PosixFileSystem(), path);
  if (!text) return base::Err(text.error().Annotate("--" + flag + ": "));
  return text;
}

base::Result<std::string> ReadIfGiven(const std::string& flag, const std::string& path) {
  if (path.empty()) return std::string();
  return Read(flag, path);
}

// The address that packets to the world would leave from. Nothing is sent.
std::string OutgoingAddress() {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return "127.0.0.1";
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
  sockaddr_in mine{};
  socklen_t size = sizeof mine;
  char text[INET_ADDRSTRLEN] = "127.0.0.1";
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 &&
      getsockname(fd, reinterpret_cast<sockaddr*>(&mine), &size) == 0)
    inet_ntop(AF_INET, &mine.sin_addr, text, sizeof text);
  close(fd);
  return text;
}

base::Result<std::vector<object::Cidr>> ParseRanges(const std::string& text) {
  std::vector<object::Cidr> out;
  for (const auto& part : base::Split(text, ',')) {
    auto cidr = object::ParseCidr(part);
    if (!cidr) return base::Err(base::InvalidArgument("--service-cluster-ip-range: invalid CIDR address: " + part));
    out.push_back(*cidr);
  }
  if (out.size() > 2)
    return base::Err(base::InvalidArgument("--service-cluster-ip-range must not contain more than two entries"));
  if (out.size() == 2 && out[0].address.v4 == out[1].address.v4)
    return base::Err(base::InvalidArgument(
        "--service-cluster-ip-range expected to hold one IPv4 and one IPv6 CIDR when it holds two"));
  return out;
}

base::Result<std::pair<int, int>> ParsePorts(const std::string& text) {
  size_t at = text.find_first_of("-+");
  int first = 0, second = 0;
  auto number = [](std::string_view s, int& into) {
    auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), into);
    return error == std::errc() && end == s.data() + s.size();
  };
  bool good = number(std::string_view(text).substr(0, at), first);
  if (at == text.npos)
    second = first;
  else
    good = good && number(std::string_view(text).substr(at + 1), second);
  if (at != text.npos && text[at] == '+') second += first;
  if (!good || first < 1 || second < first || second > 65535)
    return base::Err(base::InvalidArgument("--service-node-port-range: unable to parse port range: " + text));
  return std::pair{first, second};
}

// Steps of the start, by the names that the original gives them; those of its steps that this server does not have have
// no name here.
struct Hook {
  std::string_view name;
  bootstrap::Bootstrap::Step step;
};
using Step = bootstrap::Bootstrap::Step;
constexpr Hook kHooks[] = {
    {"start-system-namespaces-controller", Step::kNamespaces},
    {"start-cluster-authentication-info-controller", Step::kConfigMaps},
    {"start-kube-apiserver-identity-lease-controller", Step::kIdentity},
    {"start-legacy-token-tracking-controller", Step::kConfigMaps},
    {"start-kubernetes-service-cidr-controller", Step::kServiceRange},
    {"rbac/bootstrap-roles", Step::kRoles},
    {"scheduling/bootstrap-system-priority-classes", Step::kPriorityClasses},
    {"priority-and-fairness-config-producer", Step::kFlowControl},
    {"bootstrap-controller", Step::kKubernetesService},
    {"apiservice-registration-controller", Step::kApiServices},
    {"kube-apiserver-autoregistration", Step::kApiServices},
};

}  // namespace

struct ControlPlane::Impl {
  ControlPlaneOptions options;
  // Read from files by Make.
  std::string client_ca, front_proxy_ca, token_csv;
  std::vector<auth::PublicKey> keys;
  std::shared_ptr<const auth::PrivateKey> signing_key;
  std::vector<object::Cidr> ranges;
  std::pair<int, int> ports;
  bootstrap::Policy policy = bootstrap::LoadPolicy();
  // Made by Connect.
  registry::Registry* registry = nullptr;
  std::unique_ptr<auth::Authenticator> authenticator;
  auth::Authorization authorization;
  auth::BearerTokens* tokens = nullptr;  // part of the authenticator
  std::unique_ptr<auth::TokenIssuer> issuer;
  std::unique_ptr<registry::ServiceIps> service_ips;
  std::unique_ptr<registry::NodePorts> node_ports;
  std::unique_ptr<bootstrap::Bootstrap> bootstrap;
  std::unique_ptr<paths::Paths> paths;
  std::unique_ptr<streaming::Streaming> streaming;
  std::unique_ptr<Peers> peers;
  paths::Health health;
  base::Status store_health = base::Unavailable("not asked yet");
  bool repaired = false, started = false, stopping = false;

  base::Status ReadFiles();
  base::Status MakeAuthenticator();
  void AddChecks();
  auth::ServiceAccountOptions TokenOptions() const {
    return {options.service_account_issuers, options.api_audiences, options.extend_token_expiration,
            options.max_token_expiration_seconds};
  }
  bootstrap::Options BootstrapOptions() const;
  base::Task<void> ProbeStore(base::Context ctx);
};

base::Status ControlPlane::Impl::ReadFiles() {
  ControlPlaneOptions& o = options;
  TRY_ASSIGN(client_ca, ReadIfGiven("client-ca-file", o.client_ca_file));
  TRY_ASSIGN(front_proxy_ca, ReadIfGiven("requestheader-client-ca-file", o.requestheader_client_ca_file));
  TRY_ASSIGN(token_csv, ReadIfGiven("token-auth-file", o.token_auth_file));
  if (!o.service_account_signing_key_file.empty()) {
    TRY_ASSIGN(std::string pem, Read("service-account-signing-key-file", o.service_account_signing_key_file));
    TRY_ASSIGN(signing_key, auth::PrivateKey::FromPem(pem));
  }
  for (const auto& file : o.service_account_key_files) {
    TRY_ASSIGN(std::string pem, Read("service-account-key-file", file));
    TRY_ASSIGN(auto more, auth::PublicKey::FromPem(pem));
    for (auto& key : more) {
      auto same = [&](const auth::PublicKey& k) { return k.key_id() == key.key_id(); };
      if (std::none_of(keys.begin(), keys.end(), same)) keys.push_back(std::move(key));
    }
  }
  if (keys.empty() && signing_key) keys.push_back(signing_key->public_key());
  return base::Ok();
}

base::Result<std::unique_ptr<ControlPlane>> ControlPlane::Make(ControlPlaneOptions options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  ControlPlaneOptions& o = impl->options;
  TRY(impl->ReadFiles());
  if (o.service_account_issuers.empty()) o.service_account_issuers = {std::string(kDefaultIssuer)};
  if (o.api_audiences.empty()) o.api_audiences = {o.service_account_issuers.front()};
  if (o.service_cluster_ip_range.empty()) o.service_cluster_ip_range = kDefaultServiceRange;
  TRY_ASSIGN(impl->ranges, ParseRanges(o.service_cluster_ip_range));
  TRY_ASSIGN(impl->ports, ParsePorts(o.service_node_port_range));
  bool everything = std::ranges::find(o.authorization_modes, "AlwaysAllow") != o.authorization_modes.end();
  if (everything && o.anonymous_auth) {
    base::LogWarning(
        "AnonymousAuth is not allowed with the AlwaysAllow authorizer. Resetting AnonymousAuth to false. You should "
        "use a "
        "different authorizer");
    o.anonymous_auth = false;
  }
  if (o.hostname.empty()) {
    o.hostname = base::HostName();
    if (o.hostname.empty()) o.hostname = "localhost";
  }
  if (o.advertise_address.empty()) {
    auto bound = object::ParseIp(o.bind_address);
    o.advertise_address = bound && !bound->IsUnspecified() ? o.bind_address : OutgoingAddress();
  }
  return std::unique_ptr<ControlPlane>(new ControlPlane(std::move(impl)));
}

ControlPlane::ControlPlane(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlPlane::~ControlPlane() = default;

base::Status ControlPlane::Impl::MakeAuthenticator() {
  const ControlPlaneOptions& o = options;
  std::vector<std::unique_ptr<auth::Authenticator>> members;
  base::Executor& executor = registry->executor();
  if (!o.requestheader_client_ca_file.empty()) {
    auth::FrontProxyOptions proxy{.allowed_names = o.requestheader_allowed_names,
                                  .username_headers = o.requestheader_username_headers,
                                  .uid_headers = o.requestheader_uid_headers,
                                  .group_headers = o.requestheader_group_headers,
                                  .extra_prefixes = o.requestheader_extra_headers_prefix};
    TRY_ASSIGN(auto authorities,
               auth::CaFile::Open("requestheader-client-ca-file", o.requestheader_client_ca_file, executor));
    members.push_back(auth::FrontProxy(std::move(proxy), std::move(authorities), executor));
  }
  if (!o.client_ca_file.empty()) {
    TRY_ASSIGN(auto authorities, auth::CaFile::Open("client-ca-file", o.client_ca_file, executor));
    members.push_back(auth::ClientCertificates(std::move(authorities), executor));
  }
  std::vector<std::unique_ptr<auth::TokenAuthenticator>> by_token;
  if (!token_csv.empty()) {
    TRY_ASSIGN(auto file, auth::TokenFile(token_csv, o.api_audiences));
    by_token.push_back(std::move(file));
  }
  if (!keys.empty()) by_token.push_back(auth::ServiceAccountTokens(*registry, keys, TokenOptions()));
  auto bearer = std::make_unique<auth::BearerTokens>(std::move(by_token));
  tokens = bearer.get();
  members.push_back(std::move(bearer));
  authenticator = std::make_unique<auth::Union>(std::move(members), o.anonymous_auth);
  return base::Ok();
}

bootstrap::Options ControlPlane::Impl::BootstrapOptions() const {
  const ControlPlaneOptions& o = options;
  auto header = [](const std::vector<std::string>& given, std::string otherwise) {
    return given.empty() ? std::vector<std::string>{std::move(otherwise)} : given;
  };
  return {.service_ranges = base::Split(o.service_cluster_ip_range, ','),
          .advertise_address = o.advertise_address,
          .secure_port = o.secure_port,
          .kubernetes_node_port = o.kubernetes_service_node_port,
          .hostname = o.hostname,
          .client_ca_pem = client_ca,
          .front_proxy_ca_pem = front_proxy_ca,
          .front_proxy_names = o.requestheader_allowed_names,
          .username_headers = header(o.requestheader_username_headers, "X-Remote-User"),
          .uid_headers = o.requestheader_uid_headers,
          .group_headers = header(o.requestheader_group_headers, "X-Remote-Group"),
          .extra_prefixes = header(o.requestheader_extra_headers_prefix, "X-Remote-Extra-")};
}

void ControlPlane::Impl::AddChecks() {
  using H = paths::Health;
  auto fine = [] { return base::Ok(); };
  auto once = [](bool done) { return done ? base::Ok() : base::Unavailable("not finished"); };
  auto caches = [this, once] { return once(registry->mirror().ready()); };
  health.Add("ping", H::kEverywhere, fine);
  health.Add("log", H::kEverywhere, fine);
  health.Add("etcd", H::kHealthz | H::kLivez, [this] { return store_health; });
  health.Add("informer-sync", H::kReadyz, [this] {
    return registry->mirror().ready() ? base::Ok() : base::Unavailable("the caches are not filled yet");
  });
  const std::string hook = "poststarthook/";
  health.Add(hook + "generic-apiserver-start-informers", H::kEverywhere, caches);
  health.Add(hook + "priority-and-fairness-config-consumer", H::kEverywhere, caches);
  health.Add(hook + "start-service-ip-repair-controllers", H::kEverywhere, [this, once] { return once(repaired); });
  for (const Hook& h : kHooks)
    health.Add(hook + std::string(h.name), H::kEverywhere,
               [this, once, step = h.step] { return once(bootstrap->Finished(step)); });
  health.Add(hook + "storage-readiness", H::kEverywhere, [this] { return store_health; });
  health.Add("autoregister-completion", H::kEverywhere,
             [this, once] { return once(bootstrap->Finished(Step::kApiServices)); });
  health.Add("shutdown", H::kReadyz,
             [this] { return stopping ? base::Unavailable("process is shutting down") : base::Ok(); });
}

Wiring ControlPlane::Connect(registry::Registry& registry, base::MetricsRegistry* metrics) {
  Impl& i = *impl_;
  const ControlPlaneOptions& o = i.options;
  i.registry = &registry;
  if (auto s = i.MakeAuthenticator(); !s.ok()) base::LogFatal("Unable to set up authentication", s);
  auto authorization = auth::MakeAuthorization(registry, o.authorization_modes, bootstrap::NodeRules(i.policy));
  if (!authorization) base::LogFatal("Unable to set up authorization", authorization.error());
  i.authorization = std::move(*authorization);
  if (i.signing_key) i.issuer = std::make_unique<auth::TokenIssuer>(i.signing_key, i.TokenOptions());
  i.service_ips = std::make_unique<registry::ServiceIps>(registry, i.ranges);
  i.node_ports = std::make_unique<registry::NodePorts>(registry, i.ports.first, i.ports.second);
  registry.facilities() = {.authorizer = i.authorization.authorizer.get(),
                           .rules = i.authorization.rbac,
                           .tokens = i.tokens,
                           .issuer = i.issuer.get(),
                           .signing_pool = o.signing_pool,
                           .service_ips = i.service_ips.get(),
                           .node_ports = i.node_ports.get()};
  i.bootstrap = std::make_unique<bootstrap::Bootstrap>(registry, i.BootstrapOptions());
  i.AddChecks();
  std::string host = o.external_hostname.empty() ? o.advertise_address : o.external_hostname;
  if (host.find(':') != host.npos) host = "[" + host + "]";
  i.paths = std::make_unique<paths::Paths>(
      registry, i.health, metrics,
      paths::PathsOptions{.server_address = host + ":" + std::to_string(o.secure_port),
                          .priorities = i.policy.api_services,
                          .issuer = i.keys.empty() ? "" : o.service_account_issuers.front(),
                          .jwks_uri = o.service_account_jwks_uri,
                          .keys = i.keys,
                          .flags = o.flags});
  return {.authenticator = i.authenticator.get(), .authorizer = i.authorization.authorizer.get(), .metrics = metrics};
}

void ControlPlane::MountOn(chain::RestFront& front) { impl_->paths->MountOn(front); }

base::Status ControlPlane::MountStreaming(base::Loop& loop, chain::RestFront& front, streaming::KubeletAccess access) {
  TRY_ASSIGN(impl_->streaming, streaming::Streaming::Make(loop, *impl_->registry, std::move(access)));
  impl_->streaming->MountOn(front);
  return base::Ok();
}

base::Status ControlPlane::AskPeers(base::Loop& loop) {
  TRY_ASSIGN(impl_->peers, Peers::Make(loop, impl_->registry->storage()));
  impl_->registry->facilities().components = impl_->peers.get();
  return base::Ok();
}

base::Task<base::Status> ControlPlane::Start(base::Context ctx) {
  impl_->store_health = base::Ok();  // the caches came from it just now
  CO_TRY(co_await impl_->node_ports->Repair(ctx));
  CO_TRY(co_await impl_->service_ips->Repair(ctx));
  impl_->repaired = true;
  CO_TRY(co_await impl_->bootstrap->Ensure(ctx));
  impl_->started = true;
  co_return base::Ok();
}

base::Task<void> ControlPlane::Impl::ProbeStore(base::Context ctx) {
  base::Executor& executor = registry->executor();
  while ((co_await base::Sleep(executor, ctx, kProbeInterval)).ok()) {
    auto revision = co_await registry->storage().CurrentRevision(ctx.WithTimeout(executor, kProbeTimeout));
    if (!ctx.done()) store_health = revision ? base::Ok() : revision.error();
  }
}

base::Task<void> ControlPlane::Run(base::Context ctx) {
  base::TaskScope scope(impl_->registry->executor(), ctx);
  scope.Spawn(impl_->bootstrap->Keep(scope.context()));
  scope.Spawn(impl_->service_ips->Run(scope.context()));
  scope.Spawn(impl_->node_ports->Run(scope.context()));
  scope.Spawn(registry::RunClaimProtection(*impl_->registry, scope.context()));
  scope.Spawn(impl_->ProbeStore(scope.context()));
  co_await scope.Join();
}

void ControlPlane::BeginShutdown() { impl_->stopping = true; }
bool ControlPlane::started() const { return impl_->started; }

}  // namespace apiserver
