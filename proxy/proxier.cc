#include "proxy/proxier.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/service.pb.h"
#include "proto/k8s/discovery/v1/endpointslice.pb.h"
#include "proto/k8s/networking/v1/networking.pb.h"
#include "proxy/conntrack.h"
#include "proxy/writer.h"

namespace proxy {
namespace {

using k8s::io::api::core::v1::Node;
using machinery::client::Change;
using machinery::client::ListOptions;

// Only what has rules at all is watched (the original's selectors).
ListOptions ServiceSelector() {
  ListOptions o;
  o.label_selector = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";
  return o;
}
ListOptions SliceSelector() {
  ListOptions o;
  o.label_selector = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";
  return o;
}
ListOptions OwnNode(const std::string& name) {
  ListOptions o;
  o.field_selector = "metadata.name=" + name;
  return o;
}

std::string FamilyName(Family f) { return f == Family::kIPv4 ? "IPv4" : "IPv6"; }

double Seconds(base::Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

struct Proxier::PerFamily {
  PerFamily(Family which, NodeAddresses node, std::unique_ptr<backends::RuleBackend> backend)
      : family(which), rules(std::move(node)), writer(std::move(backend)) {}
  Family family;
  Ruleset rules;
  RuleWriter writer;
  bool udp_changed = true;
};

struct Proxier::Metrics {
  explicit Metrics(base::MetricsRegistry& r)
      : duration(r.AddHistogram("kubeproxy_sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds",
                                base::ExponentialBuckets(0.001, 2, 15), {"ip_family"})),
        full(r.AddHistogram("kubeproxy_sync_full_proxy_rules_duration_seconds",
                            "SyncProxyRules latency in seconds for full resyncs",
                            base::ExponentialBuckets(0.001, 2, 15), {"ip_family"})),
        partial(r.AddHistogram("kubeproxy_sync_partial_proxy_rules_duration_seconds",
                               "SyncProxyRules latency in seconds for partial resyncs",
                               base::ExponentialBuckets(0.001, 2, 15), {"ip_family"})),
        last(r.AddGauge("kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                        "The last time proxy rules were successfully synced", {"ip_family"})),
        endpoint_changes(
            r.AddCounter("kubeproxy_sync_proxy_rules_endpoint_changes_total", "Cumulative proxy rules Endpoint changes")
                .Get()),
        service_changes(
            r.AddCounter("kubeproxy_sync_proxy_rules_service_changes_total", "Cumulative proxy rules Service changes")
                .Get()) {}
  base::Family<base::Histogram>&duration, &full, &partial;
  base::Family<base::Gauge>& last;
  base::Counter &endpoint_changes, &service_changes;
};

Proxier::Proxier(base::Executor& executor, base::BlockingPool& pool, machinery::client::Client& client,
                 ProxierOptions options, base::MetricsRegistry& metrics)
    : executor_(executor),
      pool_(pool),
      options_(std::move(options)),
      metrics_(std::make_unique<Metrics>(metrics)),
      services_(executor, client, ServiceSelector()),
      slices_(executor, client, SliceSelector()),
      node_(executor, client, OwnNode(options_.node_name)),
      cidrs_(executor, client),
      events_(executor, client, "kube-proxy", options_.node_name),
      work_(executor) {
  services_.SetTransform([](Service& s) { s.mutable_metadata()->clear_managedfields(); });
  slices_.SetTransform([](EndpointSlice& s) { s.mutable_metadata()->clear_managedfields(); });
  services_.AddHandler([this](const Change<Service>& c) {
    metrics_->service_changes.Add();
    MarkDirty(machinery::client::KeyOf(c.any()));
  });
  slices_.AddHandler([this](const Change<EndpointSlice>& c) { OnSlice(c); });
  cidrs_.AddHandler([this](const auto&) {
    cidrs_changed_ = true;
    work_.NotifyAll();
  });
}

Proxier::~Proxier() = default;

void Proxier::OnSlice(const Change<EndpointSlice>& change) {
  metrics_->endpoint_changes.Add();
  if (change.old) {
    std::string key = ServiceKeyOf(*change.old);
    auto found = slices_by_service_.find(key);
    if (found != slices_by_service_.end()) {
      const std::string& name = change.old->metadata().name();
      std::erase_if(found->second, [&](const auto& slice) { return slice->metadata().name() == name; });
      if (found->second.empty()) slices_by_service_.erase(found);
      MarkDirty(key);
    }
  }
  if (change.current) {
    std::string key = ServiceKeyOf(*change.current);
    if (key.empty()) return;
    slices_by_service_[key].push_back(change.current);
    MarkDirty(key);
  }
}

void Proxier::MarkDirty(const std::string& service_key) {
  if (dirty_.empty()) dirty_since_ = executor_.Now();
  dirty_.insert(service_key);
  work_.NotifyAll();
}

bool Proxier::pending() const {
  return !dirty_.empty() || std::ranges::any_of(families_, [](const auto& f) { return f->writer.pending(); });
}

base::Status Proxier::Health() const {
  if (!running_) return base::Unavailable("waiting for the first list of services, endpoint slices and the node");
  if (pending() && executor_.Now() - std::max(dirty_since_, last_success_) > 2 * options_.sync_period)
    return base::Unavailable("proxy rules have not been written for too long");
  return base::Ok();
}

// The addresses that accept NodePort traffic are the node's own; they are known once the Node is.
base::Task<bool> Proxier::WaitForNode(base::Context ctx) {
  std::vector<std::string> addresses = options_.node_port_addresses;
  std::shared_ptr<const Node> node;
  for (;;) {
    node = node_.Get(options_.node_name);
    if (addresses.empty() && node)
      for (const auto& a : node->status().addresses())
        if (a.type() == "InternalIP") addresses.push_back(a.address());
    if (!addresses.empty()) break;
    if (!(co_await base::Sleep(executor_, ctx, std::chrono::milliseconds(200))).ok()) co_return false;
  }
  int32_t port = node ? node->status().daemonendpoints().kubeletendpoint().port() : 0;
  for (Family family : options_.families)
    AddFamily(family, addresses, port > 0 && port < 65536 ? static_cast<uint16_t>(port) : 0);
  co_return true;
}

void Proxier::AddFamily(Family family, const std::vector<std::string>& node_addresses, uint16_t kubelet_port) {
  backends::BackendOptions o;
  o.family = family;
  for (auto& cidr : ParseRanges(options_.cluster_cidrs, family).cidrs) o.cluster_cidr = std::move(cidr);
  for (const auto& text : node_addresses) {
    if (auto ip = RoutableAddress(text, family)) {
      o.node_port_ips.push_back(*ip);
    } else if (!machinery::object::ParseIp(text)) {
      base::LogError("Leaving out an address of this node",
                     base::InvalidArgument(Shown(text) + " is not an IP address"));
    }
  }
  o.masquerade_all = options_.masquerade_all;
  o.masquerade_bit = options_.masquerade_bit;
  auto backend = backends::NewBackend(options_.mode, o);
  if (!backend) base::LogFatal("Cannot make the proxy back end", backend.error());
  NodeAddresses node{o.node_port_ips, {}};
  if (!o.cluster_cidr.empty()) node.pod_cidrs.push_back(o.cluster_cidr);
  families_.push_back(std::make_unique<PerFamily>(family, std::move(node), std::move(*backend)));
  if (kubelet_port == 0) return;
  std::set<Destination> kubelet{{"", "tcp", kubelet_port}};
  for (const auto& ip : o.node_port_ips) kubelet.insert({ip, "tcp", kubelet_port});
  families_.back()->rules.Reserve("kubelet", std::move(kubelet));
}

// An external address may not stand in front of the API servers either.
void Proxier::ReserveApiServers(PerFamily& f) {
  std::set<Destination> servers;
  auto slices = slices_by_service_.find("default/kubernetes");
  if (slices != slices_by_service_.end())
    for (const auto& slice : slices->second)
      for (const auto& port : slice->ports())
        for (const auto& endpoint : slice->endpoints())
          for (const auto& address : endpoint.addresses())
            if (auto ip = RoutableAddress(address, f.family); ip && port.port() > 0 && port.port() < 65536)
              servers.insert({*ip, "tcp", static_cast<uint16_t>(port.port())});
  auto changed = f.rules.Reserve("API server", std::move(servers));
  for (const auto& port : changed) to_tell_.insert(port.Service());
  f.writer.Add(changed);
}

void Proxier::UseServiceCidrs() {
  cidrs_changed_ = false;
  std::vector<std::string> texts;
  for (const auto& object : cidrs_.List())
    texts.insert(texts.end(), object->spec().cidrs().begin(), object->spec().cidrs().end());
  for (auto& f : families_) {
    Ranges ranges = ParseRanges(texts, f->family);
    for (const auto& bad : ranges.bad)
      base::LogError("Leaving out a range of a ServiceCIDR", base::InvalidArgument(Shown(bad) + " is not a range"));
    f->writer.SetServiceCidrs(std::move(ranges.cidrs));
  }
}

base::Task<void> Proxier::Run(base::Context ctx) {
  base::TaskScope scope(executor_, ctx);
  scope.Spawn(services_.Run(scope.context()));
  scope.Spawn(slices_.Run(scope.context()));
  scope.Spawn(node_.Run(scope.context()));
  scope.Spawn(cidrs_.Run(scope.context()));
  scope.Spawn(events_.Run(scope.context()));
  bool synced = (co_await services_.WaitForSync(ctx)).ok() && (co_await slices_.WaitForSync(ctx)).ok() &&
                (co_await node_.WaitForSync(ctx)).ok();
  // A server that has no ServiceCIDRs is served without the rule for unused ClusterIPs.
  (void)co_await cidrs_.WaitForSync(ctx.WithTimeout(executor_, std::chrono::seconds(2)));
  if (synced && co_await WaitForNode(ctx)) {
    running_ = true;
    co_await Work(ctx);
  }
  running_ = false;
  co_await scope.CancelAndJoin();
}

// Writes what changed, at the pace the options set.
base::Task<void> Proxier::Work(base::Context ctx) {
  base::MonoTime next_verify = executor_.Now() + options_.sync_period;
  bool first = true;
  while (!ctx.done()) {
    base::MonoTime now = executor_.Now();
    base::MonoTime wake = next_verify;
    for (const auto& f : families_)
      if (auto next = f->writer.next_try()) wake = std::min(wake, *next);
    if (first || cidrs_changed_ || pending() || (wake <= now && wake < next_verify)) {
      first = false;
      if (cidrs_changed_) UseServiceCidrs();
      base::MonoTime begun = now;
      co_await SyncOnce();
      // A part of a large change: the rest follows without a pause, behind what came in meanwhile.
      if (pending() && dirty_.empty() && last_success_ >= begun) continue;
      base::Duration pause = options_.min_sync_period;
      if (pause == base::Duration{})
        pause = last_success_ >= begun
                    ? std::min<base::Duration>(4 * (executor_.Now() - begun), std::chrono::seconds(1))
                    : std::chrono::seconds(1);
      if (!(co_await base::Sleep(executor_, ctx, pause)).ok()) break;
    } else if (next_verify <= now) {
      co_await VerifyAll();
      next_verify = executor_.Now() + options_.sync_period;
    } else {
      (void)co_await work_.Wait(ctx.WithTimeout(executor_, wake - now));
    }
  }
}

base::Task<void> Proxier::VerifyAll() {
  for (auto& f : families_) {
    auto intact = co_await base::RunBlocking(pool_, executor_, [&f] { return f->writer.Verify(); });
    if (intact && *intact) continue;
    base::LogInfo("Proxy rules were changed by somebody else, writing them again",
                  {{"ipFamily", FamilyName(f->family)}});
    f->writer.WriteAll();
  }
}

base::Task<void> Proxier::SyncOnce() {
  std::set<std::string> services;
  services.swap(dirty_);
  base::MonoTime begun = executor_.Now();
  bool written = true;
  for (auto& f : families_) written = co_await SyncFamily(*f, services) && written;
  if (written) last_success_ = begun;
  TellProblems();
}

// The rules of the named services, recomputed.
void Proxier::Rebuild(PerFamily& f, const std::set<std::string>& services) {
  static const std::vector<std::shared_ptr<const EndpointSlice>> kNone;
  for (const auto& key : services) {
    ServiceName name{std::string(machinery::client::NamespaceOfKey(key)),
                     std::string(machinery::client::NameOfKey(key))};
    auto service = services_.Get(key);
    auto slices = slices_by_service_.find(key);
    auto changed =
        f.rules.Update(name, MakeRules(name, service.get(), slices == slices_by_service_.end() ? kNone : slices->second,
                                       f.family, {options_.node_name}));
    for (const auto& port : changed) {
      f.udp_changed = f.udp_changed || port.protocol == "udp";
      to_tell_.insert(port.Service());
    }
    f.writer.Add(changed);
  }
  to_tell_.insert(services.begin(), services.end());
  if (services.contains("default/kubernetes")) ReserveApiServers(f);
}

// False when nothing could be written.
base::Task<bool> Proxier::SyncFamily(PerFamily& f, const std::set<std::string>& services) {
  Rebuild(f, services);
  base::MonoTime start = executor_.Now();
  bool anything = f.writer.pending() || f.writer.next_try().value_or(base::MonoTime::max()) <= start;
  if (!anything) co_return true;
  bool udp = std::exchange(f.udp_changed, false);
  // The pool reads the table while this coroutine waits; informers' handlers only touch dirty_.
  auto outcome = co_await base::RunBlocking(pool_, executor_, [&f, start, udp] {
    auto done = f.writer.Write(f.rules.table(), start);
    if (done.status.ok() && udp) done.status = ForgetStaleFlows(f.rules.table(), f.family);
    return done;
  });
  double seconds = Seconds(executor_.Now() - start);
  std::string family = FamilyName(f.family);
  metrics_->duration.With({family}).Observe(seconds);
  (outcome.full ? metrics_->full : metrics_->partial).With({family}).Observe(seconds);
  for (const auto& [service, why] : outcome.refused) Tell(service, "FailedToWriteProxyRules", why);
  if (!outcome.status.ok()) {
    base::LogError("Failed to write proxy rules, trying again", outcome.status, {{"ipFamily", family}});
    f.writer.WriteAll();
    f.udp_changed = true;
    co_return false;
  }
  metrics_->last.With({family}).Set(Seconds(executor_.WallNow().time_since_epoch()));
  base::LogV(2, "SyncProxyRules complete",
             {{"ipFamily", family}, {"services", f.rules.table().size()}, {"elapsed", seconds}});
  co_return true;
}

void Proxier::Tell(const std::string& service, std::string_view reason, const std::string& text) {
  base::LogError("A Service is not served as it asks", base::InvalidArgument(text),
                 {{"service", service}, {"reason", std::string(reason)}});
  if (auto object = services_.Get(service))
    events_.Event(machinery::client::ReferenceTo(*object), "Warning", std::string(reason), text);
}

// Once for each new set of problems.
void Proxier::TellProblems() {
  for (const auto& key : std::exchange(to_tell_, {})) {
    ServiceName name{std::string(machinery::client::NamespaceOfKey(key)),
                     std::string(machinery::client::NameOfKey(key))};
    std::vector<std::string> problems;
    for (const auto& f : families_)
      for (auto& problem : f->rules.Problems(name))
        if (std::ranges::find(problems, problem) == problems.end()) problems.push_back(std::move(problem));
    std::string text = fmt::format("{}", fmt::join(problems, "; "));
    if (text.size() > 1000) text.resize(1000);
    auto told = told_.find(key);
    if (text == (told == told_.end() ? "" : told->second)) continue;
    if (text.empty()) {
      told_.erase(told);
      continue;
    }
    told_[key] = text;
    Tell(key, "AddressNotServed", text);
  }
}

}  // namespace proxy
