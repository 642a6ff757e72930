#include "proxy/proxier.h"

#include <algorithm>

#include "base/log.h"
#include "proto/k8s/core/v1/node.pb.h"
#include "proto/k8s/core/v1/service.pb.h"
#include "proto/k8s/discovery/v1/endpointslice.pb.h"
#include "proxy/conntrack.h"

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

std::string CidrOfFamily(const std::string& cidrs, Family family) {
  size_t start = 0;
  while (start <= cidrs.size()) {
    size_t end = std::min(cidrs.find(',', start), cidrs.size());
    std::string one = cidrs.substr(start, end - start);
    if (!one.empty() && (one.find(':') != std::string::npos) == (family == Family::kIPv6)) return one;
    start = end + 1;
  }
  return {};
}

double Seconds(base::Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

struct Proxier::PerFamily {
  Family family;
  std::unique_ptr<backends::RuleBackend> backend;
  RuleTable table;
  std::set<ServicePortName> pending;  // differ from the kernel
  bool full = true;                   // the kernel is to be written from nothing
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
      work_(executor) {
  services_.SetTransform([](Service& s) { s.mutable_metadata()->clear_managedfields(); });
  slices_.SetTransform([](EndpointSlice& s) { s.mutable_metadata()->clear_managedfields(); });
  services_.AddHandler([this](const Change<Service>& c) {
    metrics_->service_changes.Add();
    MarkDirty(machinery::client::KeyOf(c.any()));
  });
  slices_.AddHandler([this](const Change<EndpointSlice>& c) { OnSlice(c); });
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

base::Status Proxier::Health() const {
  if (!running_) return base::Unavailable("waiting for the first list of services, endpoint slices and the node");
  bool waiting =
      !dirty_.empty() || std::ranges::any_of(families_, [](const auto& f) { return f->full || !f->pending.empty(); });
  if (waiting && executor_.Now() - std::max(dirty_since_, last_success_) > 2 * options_.sync_period)
    return base::Unavailable("proxy rules have not been written for too long");
  return base::Ok();
}

// The addresses that accept NodePort traffic are the node's own; they are known once the Node is.
base::Task<bool> Proxier::WaitForNode(base::Context ctx) {
  std::vector<std::string> addresses = options_.node_port_addresses;
  while (addresses.empty()) {
    if (auto node = node_.Get(options_.node_name)) {
      for (const auto& a : node->status().addresses())
        if (a.type() == "InternalIP") addresses.push_back(a.address());
    }
    if (addresses.empty() && !(co_await base::Sleep(executor_, ctx, std::chrono::milliseconds(200))).ok())
      co_return false;
  }
  for (Family family : options_.families) {
    backends::BackendOptions o;
    o.family = family;
    o.cluster_cidr = CidrOfFamily(options_.cluster_cidr, family);
    for (const auto& a : addresses)
      if ((a.find(':') != std::string::npos) == (family == Family::kIPv6)) o.node_port_ips.push_back(a);
    o.masquerade_all = options_.masquerade_all;
    o.masquerade_bit = options_.masquerade_bit;
    auto backend = backends::NewBackend(options_.mode, o);
    if (!backend) base::LogFatal("Cannot make the proxy back end", backend.error());
    auto f = std::make_unique<PerFamily>();
    f->family = family;
    f->backend = std::move(*backend);
    families_.push_back(std::move(f));
  }
  co_return true;
}

base::Task<void> Proxier::Run(base::Context ctx) {
  base::TaskScope scope(executor_, ctx);
  scope.Spawn(services_.Run(scope.context()));
  scope.Spawn(slices_.Run(scope.context()));
  scope.Spawn(node_.Run(scope.context()));
  bool synced = (co_await services_.WaitForSync(ctx)).ok() && (co_await slices_.WaitForSync(ctx)).ok() &&
                (co_await node_.WaitForSync(ctx)).ok();
  if (synced && co_await WaitForNode(ctx)) {
    running_ = true;
    base::MonoTime next_verify = executor_.Now() + options_.sync_period;
    bool first = true;
    while (!ctx.done()) {
      bool retry = std::ranges::any_of(families_, [](const auto& f) { return f->full || !f->pending.empty(); });
      if (first || retry || !dirty_.empty()) {
        first = false;
        co_await SyncOnce();
        if (!(co_await base::Sleep(executor_, ctx, options_.min_sync_period)).ok()) break;
        continue;
      }
      base::Duration until = next_verify - executor_.Now();
      if (until <= base::Duration::zero()) {
        for (auto& f : families_) {
          auto intact = co_await base::RunBlocking(pool_, executor_, [&f] { return f->backend->Verify(); });
          if (intact && *intact) continue;
          base::LogInfo("Proxy rules were changed by somebody else, writing them again",
                        {{"ipFamily", FamilyName(f->family)}});
          f->full = true;
        }
        next_verify = executor_.Now() + options_.sync_period;
        continue;
      }
      (void)co_await work_.Wait(ctx.WithTimeout(executor_, until));
    }
  }
  running_ = false;
  co_await scope.CancelAndJoin();
}

base::Task<void> Proxier::SyncOnce() {
  std::set<std::string> services;
  services.swap(dirty_);
  bool all_written = true;
  for (auto& f : families_) {
    co_await SyncFamily(*f, services);
    all_written = all_written && !f->full && f->pending.empty();
  }
  if (all_written) last_success_ = executor_.Now();
}

// The rules of the named services, recomputed; returns the service ports that may differ.
std::set<ServicePortName> Proxier::Rebuild(PerFamily& f, const std::set<std::string>& services) {
  static const std::vector<std::shared_ptr<const EndpointSlice>> kNone;
  std::set<ServicePortName> changed;
  for (const auto& key : services) {
    std::string ns(machinery::client::NamespaceOfKey(key)), name(machinery::client::NameOfKey(key));
    auto add = [&] {
      for (auto it = f.table.lower_bound({ns, name, "", ""});
           it != f.table.end() && it->first.namespace_name == ns && it->first.name == name; ++it)
        changed.insert(it->first);
    };
    add();
    auto service = services_.Get(key);
    auto slices = slices_by_service_.find(key);
    UpdateService(f.table, ns, name, service.get(), slices == slices_by_service_.end() ? kNone : slices->second,
                  f.family, {options_.node_name});
    add();
  }
  return changed;
}

base::Task<void> Proxier::SyncFamily(PerFamily& f, const std::set<std::string>& services) {
  std::set<ServicePortName> changed = Rebuild(f, services);
  f.pending.insert(changed.begin(), changed.end());
  bool full = f.full;
  if (!full && f.pending.empty()) co_return;
  base::MonoTime start = executor_.Now();
  // The pool reads the table while this coroutine waits; informers' handlers only touch dirty_.
  base::Status status = co_await base::RunBlocking(pool_, executor_, [&f, full]() -> base::Status {
    TRY(f.backend->Sync(f.table, full ? nullptr : &f.pending));
    bool udp = full || std::ranges::any_of(f.pending, [](const auto& n) { return n.protocol == "udp"; });
    return udp ? ForgetStaleFlows(f.table, f.family) : base::Ok();
  });
  double seconds = Seconds(executor_.Now() - start);
  std::string family = FamilyName(f.family);
  metrics_->duration.With({family}).Observe(seconds);
  (full ? metrics_->full : metrics_->partial).With({family}).Observe(seconds);
  if (!status.ok()) {
    base::LogError("Failed to write proxy rules, trying again", status, {{"ipFamily", family}});
    f.full = true;
    co_return;
  }
  f.full = false;
  f.pending.clear();
  metrics_->last.With({family}).Set(Seconds(executor_.WallNow().time_since_epoch()));
  base::LogV(2, "SyncProxyRules complete", {{"ipFamily", family}, {"services", f.table.size()}, {"elapsed", seconds}});
}

}  // namespace proxy
