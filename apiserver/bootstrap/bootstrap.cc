#include "apiserver/bootstrap/bootstrap.h"

#include <algorithm>
#include <utility>

#include "apiserver/registry/core/service_ips.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/sync.h"
#include "machinery/codec/codec.h"
#include "machinery/object/meta.h"
#include "machinery/object/names.h"
#include "machinery/object/time.h"

namespace apiserver::bootstrap {

namespace object = machinery::object;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

namespace {

constexpr std::string_view kSystemNamespaces[] = {"kube-system", "kube-public", "kube-node-lease", "default"};
constexpr size_t kParallelWrites = 32;
constexpr auto kInterval = std::chrono::seconds(10);
constexpr int64_t kServerLeaseSeconds = 15;
constexpr int64_t kIdentityLeaseSeconds = 3600;
constexpr std::string_view kMasterLeases = "/registry/masterleases/";

Value Make(std::string_view api_version, std::string_view kind, std::string_view ns, std::string_view name) {
  Map meta{{"name", Value(name)}};
  if (!ns.empty()) meta.Set("namespace", ns);
  return Value(Map{{"kind", Value(kind)}, {"apiVersion", Value(api_version)}, {"metadata", Value(std::move(meta))}});
}

Value ListOf(const std::vector<std::string>& strings) { return Value(List(strings.begin(), strings.end())); }

// --- adjusting what is there ---

bool Leave(Value&, const Value&) { return false; }

bool Managed(const Value& present) {
  return object::AnnotationOf(present, "rbac.authorization.kubernetes.io/autoupdate") == "true";
}

// Rules that this version needs and an older one did not have are added; what people added stays.
bool AddRules(Value& present, const Value& wanted) {
  if (!Managed(present)) return false;
  if (!wanted.At("aggregationRule").is_null()) {
    if (present.At("aggregationRule") == wanted.At("aggregationRule")) return false;
    present.Set("aggregationRule", wanted.At("aggregationRule"));
    return true;
  }
  auto missing =
      auth::Compact(auth::Uncovered(auth::RulesFromTree(present.At("rules")), auth::RulesFromTree(wanted.At("rules"))));
  if (missing.empty()) return false;
  Value& rules = present.Ensure("rules");
  if (!rules.is_list()) rules = Value(List{});
  for (const auto& rule : missing) rules.list().push_back(rule.ToTree());
  return true;
}

bool AddSubjects(Value& present, const Value& wanted) {
  if (!Managed(present) || !wanted.At("subjects").is_list()) return false;
  bool changed = false;
  for (const Value& s : wanted.At("subjects").list()) {
    const Value& have = present.At("subjects");
    if (have.is_list() && std::find(have.list().begin(), have.list().end(), s) != have.list().end()) continue;
    Value& subjects = present.Ensure("subjects");
    if (!subjects.is_list()) subjects = Value(List{});
    subjects.list().push_back(s);
    changed = true;
  }
  return changed;
}

bool ReplaceData(Value& present, const Value& wanted) {
  bool changed = false;
  if (!wanted.At("data").is_map()) return false;
  for (const auto& e : wanted.At("data").map())
    if (!(present.At("data", e.key) == e.value)) {
      present.Ensure("data").Set(e.key, e.value);
      changed = true;
    }
  return changed;
}

template <size_t kFields>
bool ReplaceFields(Value& present, const Value& wanted, const std::string_view (&fields)[kFields]) {
  bool changed = false;
  for (std::string_view field : fields) {
    if (present.At(field) == wanted.At(field)) continue;
    present.Set(field, wanted.At(field));
    changed = true;
  }
  return changed;
}

bool ReplaceSubsets(Value& present, const Value& wanted) {
  static constexpr std::string_view kFields[] = {"subsets"};
  return ReplaceFields(present, wanted, kFields);
}
bool ReplaceSlice(Value& present, const Value& wanted) {
  static constexpr std::string_view kFields[] = {"endpoints", "ports"};
  bool changed = ReplaceFields(present, wanted, kFields);
  if (changed) object::SetGeneration(present, object::GenerationOf(present) + 1);
  return changed;
}
// Conditions are compared without their times.
bool ReplaceStatus(Value& present, const Value& wanted) {
  auto timeless = [](Value conditions) {
    if (conditions.is_list())
      for (Value& c : conditions.list()) c.Remove("lastTransitionTime");
    return conditions;
  };
  if (timeless(present.At("status", "conditions")) == timeless(wanted.At("status", "conditions"))) return false;
  present.Set("status", wanted.At("status"));
  return true;
}

Value Condition(std::string_view type, std::string_view status, std::string_view reason, std::string message,
                const std::string& now) {
  return Value(Map{{"type", Value(type)},
                   {"status", Value(status)},
                   {"lastTransitionTime", Value(now)},
                   {"reason", Value(reason)},
                   {"message", Value(std::move(message))}});
}

Value StatusOf(Value condition) { return Value(Map{{"conditions", Value(List{std::move(condition)})}}); }

// An address that Endpoints may name. A server that is reached only from its own machine has none.
bool CanBeEndpoint(std::string_view text) {
  auto ip = object::ParseIp(text);
  return ip && !ip->IsUnspecified() && !ip->IsLoopback() && !ip->IsLinkLocalUnicast() && !ip->IsLinkLocalMulticast();
}

// RFC 4648 base 32, lower case, unpadded.
std::string Base32(std::string_view bytes) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (unsigned char c : bytes) {
    bits = bits << 8 | c;
    for (count += 8; count >= 5; count -= 5) out += kAlphabet[bits >> (count - 5) & 31];
  }
  if (count > 0) out += kAlphabet[bits << (5 - count) & 31];
  return out;
}

}  // namespace

std::string IdentityOf(const std::string& hostname) {
  return "apiserver-" + Base32(base::Sha256(hostname).substr(0, 16));
}

Bootstrap::Bootstrap(registry::Registry& registry, Options options)
    : registry_(registry), options_(std::move(options)), policy_(LoadPolicy()) {
  holder_ = IdentityOf(options_.hostname) + "_" + registry_.NewUid();
}

std::string Bootstrap::Now() const {
  auto now = std::chrono::floor<std::chrono::seconds>(registry_.executor().WallNow());
  return object::FormatTime(now.time_since_epoch().count());
}

base::Task<base::Status> Bootstrap::Put(base::Context ctx, std::string group, std::string resource, Value wanted,
                                        Adjust adjust) {
  auto* store = registry_.FindStore(group, resource);
  if (!store) co_return base::Ok();  // switched off by --runtime-config
  std::string ns(object::NamespaceOf(wanted)), name(object::NameOf(wanted));
  auto present = store->Cached(ns, name);
  if (!present) {
    auto made = co_await store->CreateInternal(ctx, wanted);
    if (made || !object::IsAlreadyExists(made.error()))
      co_return made ? base::Ok() : made.error().Annotate(resource + " " + name + ": ");
    // Another server was faster.
    CO_TRY_ASSIGN(present, co_await store->Fresh(ctx, ns, name));
    if (!present) co_return base::Ok();
  }
  Value tree = present->Tree();
  if (!adjust(tree, wanted)) co_return base::Ok();
  auto changed = co_await store->Modify(ctx, ns, name, [&](Value& v) {
    adjust(v, wanted);
    return base::Ok();
  });
  if (!changed && !object::IsNotFound(changed.error()))
    co_return changed.error().Annotate(resource + " " + name + ": ");
  co_return base::Ok();
}

base::Task<base::Status> Bootstrap::PutAll(base::Context ctx, std::string group, std::string resource,
                                           std::vector<Value> wanted, Adjust adjust) {
  // Side by side: the store commits them together.
  base::TaskScope scope(registry_.executor(), ctx);
  base::Status first;
  size_t next = 0;
  auto worker = [](Bootstrap* self, base::Context c, std::string g, std::string r, std::vector<Value>* all, size_t* at,
                   Adjust a, base::Status* error) -> base::Task<void> {
    while (*at < all->size() && error->ok()) {
      Value one = std::move((*all)[(*at)++]);
      auto s = co_await self->Put(c, g, r, std::move(one), a);
      if (!s.ok() && error->ok()) *error = s;
    }
  };
  for (size_t i = 0; i < std::min(kParallelWrites, wanted.size()); ++i)
    scope.Spawn(worker(this, scope.context(), group, resource, &wanted, &next, adjust, &first));
  co_await scope.Join();
  co_return first;
}

base::Task<base::Status> Bootstrap::Namespaces(base::Context ctx) {
  std::vector<Value> all;
  for (std::string_view name : kSystemNamespaces) all.push_back(Make("v1", "Namespace", "", name));
  co_return co_await PutAll(ctx, "", "namespaces", std::move(all), Leave);
}

base::Task<base::Status> Bootstrap::Rbac(base::Context ctx) {
  const std::string group = "rbac.authorization.k8s.io";
  CO_TRY(co_await PutAll(ctx, group, "clusterroles", policy_.cluster_roles, AddRules));
  CO_TRY(co_await PutAll(ctx, group, "clusterrolebindings", policy_.cluster_role_bindings, AddSubjects));
  CO_TRY(co_await PutAll(ctx, group, "roles", policy_.roles, AddRules));
  CO_TRY(co_await PutAll(ctx, group, "rolebindings", policy_.role_bindings, AddSubjects));
  co_return base::Ok();
}

base::Task<base::Status> Bootstrap::FlowControl(base::Context ctx) {
  const std::string group = "flowcontrol.apiserver.k8s.io";
  CO_TRY(co_await PutAll(ctx, group, "prioritylevelconfigurations", policy_.priority_levels, Leave));
  CO_TRY(co_await PutAll(ctx, group, "flowschemas", policy_.flow_schemas, Leave));
  // Status is dropped at creation, so it is a write of its own.
  std::vector<Value> states;
  for (Value schema : policy_.flow_schemas) {
    std::string level(schema.At("spec", "priorityLevelConfiguration", "name").string_or());
    schema.Set("status",
               StatusOf(Condition("Dangling", "False", "Found",
                                  "This FlowSchema references the PriorityLevelConfiguration object named \"" + level +
                                      "\" and it exists",
                                  Now())));
    states.push_back(std::move(schema));
  }
  co_return co_await PutAll(ctx, group, "flowschemas", std::move(states), ReplaceStatus);
}

base::Task<base::Status> Bootstrap::ApiServices(base::Context ctx) {
  std::vector<Value> all;
  for (const auto& gv : policy_.api_services) {
    if (!registry_.ServesGroupVersion(gv.group, gv.version)) continue;
    Value v = Make("apiregistration.k8s.io/v1", "APIService", "", gv.version + "." + gv.group);
    object::SetLabel(v, "kube-aggregator.kubernetes.io/automanaged", "onstart");
    Map spec;
    if (!gv.group.empty()) spec.Set("group", gv.group);
    spec.Set("version", gv.version);
    spec.Set("groupPriorityMinimum", Value(gv.group_priority));
    spec.Set("versionPriority", Value(gv.version_priority));
    v.Set("spec", Value(std::move(spec)));
    v.Set("status", StatusOf(Condition("Available", "True", "Local", "Local APIServices are always available", Now())));
    all.push_back(std::move(v));
  }
  auto again = all;
  CO_TRY(co_await PutAll(ctx, "apiregistration.k8s.io", "apiservices", std::move(all), Leave));
  co_return co_await PutAll(ctx, "apiregistration.k8s.io", "apiservices", std::move(again), ReplaceStatus);
}

base::Task<base::Status> Bootstrap::ServiceRange(base::Context ctx) {
  if (options_.service_ranges.empty()) co_return base::Ok();
  Value v = Make("networking.k8s.io/v1", "ServiceCIDR", "", "kubernetes");
  v.Set("spec", Value(Map{{"cidrs", ListOf(options_.service_ranges)}}));
  v.Set("status", StatusOf(Condition("Ready", "True", "", "Kubernetes default Service CIDR is ready", Now())));
  CO_TRY(co_await Put(ctx, "networking.k8s.io", "servicecidrs", v, Leave));
  co_return co_await Put(ctx, "networking.k8s.io", "servicecidrs", std::move(v), ReplaceStatus);
}

base::Task<base::Status> Bootstrap::KubernetesService(base::Context ctx) {
  if (options_.service_ranges.empty()) co_return base::Ok();
  auto range = object::ParseCidr(options_.service_ranges.front());
  if (!range)
    co_return base::InvalidArgument("--service-cluster-ip-range is no CIDR: " + options_.service_ranges.front());
  Value v = Make("v1", "Service", "default", "kubernetes");
  object::SetLabel(v, "component", "apiserver");
  object::SetLabel(v, "provider", "kubernetes");
  Map port{{"name", Value("https")},
           {"protocol", Value("TCP")},
           {"port", Value(443)},
           {"targetPort", Value(options_.secure_port)}};
  if (options_.kubernetes_node_port > 0) port.Set("nodePort", Value(options_.kubernetes_node_port));
  Map spec{{"ports", Value(List{Value(std::move(port))})},
           {"clusterIP", Value(registry::AddressAt(*range, 1).ToString())},
           {"type", Value(options_.kubernetes_node_port > 0 ? "NodePort" : "ClusterIP")},
           {"sessionAffinity", Value("None")},
           {"ipFamilyPolicy", Value("SingleStack")}};
  v.Set("spec", Value(std::move(spec)));
  co_return co_await Put(ctx, "", "services", std::move(v), Leave);
}

// --- endpoints ---

base::Task<base::Result<std::vector<std::string>>> Bootstrap::Servers(base::Context ctx) {
  auto& storage = registry_.storage();
  const auto* type = registry_.schema().FindObject("", "v1", "Endpoints");
  std::string key = std::string(kMasterLeases) + options_.advertise_address;
  Value mine = Make("v1", "Endpoints", "", "");
  mine.Set("subsets",
           Value(List{Value(Map{{"addresses", Value(List{Value(Map{{"ip", Value(options_.advertise_address)}})})}})}));
  auto bytes = base::Share(machinery::codec::EncodeEnvelope(*type, mine));
  CO_TRY_ASSIGN(auto present, co_await storage.Get(ctx, key));
  if (present.kv) {
    CO_TRY(co_await storage.Update(ctx, key, bytes, present.kv->mod_revision, kServerLeaseSeconds));
  } else {
    CO_TRY(co_await storage.Create(ctx, key, bytes, kServerLeaseSeconds));
  }
  CO_TRY_ASSIGN(auto all, co_await storage.List(ctx, std::string(kMasterLeases), {}));
  std::vector<std::string> out;
  // What another server (or an older one) has left here must not keep all the others out of the endpoints.
  for (const auto& kv : all.kvs)
    if (std::string address = kv.key.substr(kMasterLeases.size()); CanBeEndpoint(address)) out.push_back(address);
  std::sort(out.begin(), out.end());
  co_return out;
}

base::Task<base::Status> Bootstrap::Endpoints(base::Context ctx) {
  if (options_.advertise_address.empty()) co_return base::Ok();
  if (!CanBeEndpoint(options_.advertise_address)) {
    if (!std::exchange(told_, true))
      base::LogWarning("the advertised address cannot be an endpoint of the Service kubernetes: pods do not reach us",
                       {{"address", options_.advertise_address}});
    co_return base::Ok();
  }
  CO_TRY_ASSIGN(auto servers, co_await Servers(ctx));
  List addresses, endpoints;
  for (const auto& ip : servers) {
    addresses.push_back(Value(Map{{"ip", Value(ip)}}));
    endpoints.push_back(Value(Map{{"addresses", ListOf({ip})}, {"conditions", Value(Map{{"ready", Value(true)}})}}));
  }
  Value port(Map{{"name", Value("https")}, {"port", Value(options_.secure_port)}, {"protocol", Value("TCP")}});
  Value object = Make("v1", "Endpoints", "default", "kubernetes");
  object::SetLabel(object, "endpointslice.kubernetes.io/skip-mirror", "true");
  object.Set("subsets",
             Value(List{Value(Map{{"addresses", Value(std::move(addresses))}, {"ports", Value(List{port})}})}));
  CO_TRY(co_await Put(ctx, "", "endpoints", std::move(object), ReplaceSubsets));

  auto ip = object::ParseIp(options_.advertise_address);
  Value slice = Make("discovery.k8s.io/v1", "EndpointSlice", "default", "kubernetes");
  object::SetLabel(slice, "kubernetes.io/service-name", "kubernetes");
  slice.Set("addressType", ip && !ip->v4 ? "IPv6" : "IPv4");
  slice.Set("endpoints", Value(std::move(endpoints)));
  slice.Set("ports",
            Value(List{Value(
                Map{{"name", Value("https")}, {"protocol", Value("TCP")}, {"port", Value(options_.secure_port)}})}));
  co_return co_await Put(ctx, "discovery.k8s.io", "endpointslices", std::move(slice), ReplaceSlice);
}

// --- config maps and the identity lease ---

base::Task<base::Status> Bootstrap::ConfigMaps(base::Context ctx) {
  auto json = [](const std::vector<std::string>& list) { return machinery::value::ToJson(ListOf(list)); };
  Map data;
  if (!options_.client_ca_pem.empty()) data.Set("client-ca-file", options_.client_ca_pem);
  if (!options_.front_proxy_ca_pem.empty()) {
    data.Set("requestheader-allowed-names", json(options_.front_proxy_names));
    data.Set("requestheader-client-ca-file", options_.front_proxy_ca_pem);
    data.Set("requestheader-extra-headers-prefix", json(options_.extra_prefixes));
    data.Set("requestheader-group-headers", json(options_.group_headers));
    if (!options_.uid_headers.empty()) data.Set("requestheader-uid-headers", json(options_.uid_headers));
    data.Set("requestheader-username-headers", json(options_.username_headers));
  }
  if (!data.empty()) {
    Value v = Make("v1", "ConfigMap", "kube-system", "extension-apiserver-authentication");
    v.Set("data", Value(std::move(data)));
    CO_TRY(co_await Put(ctx, "", "configmaps", std::move(v), ReplaceData));
  }
  Value since = Make("v1", "ConfigMap", "kube-system", "kube-apiserver-legacy-service-account-token-tracking");
  since.Set("data", Value(Map{{"since", Value(Now().substr(0, 10))}}));
  co_return co_await Put(ctx, "", "configmaps", std::move(since), Leave);
}

base::Task<base::Status> Bootstrap::Identity(base::Context ctx) {
  auto now = registry_.executor().WallNow();
  auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  std::string renewed =
      object::FormatMicroTime(seconds.time_since_epoch().count(), static_cast<int32_t>((now - seconds).count()));
  Value v = Make("coordination.k8s.io/v1", "Lease", "kube-system", IdentityOf(options_.hostname));
  object::SetLabel(v, "apiserver.kubernetes.io/identity", "kube-apiserver");
  object::SetLabel(v, "kubernetes.io/hostname", options_.hostname);
  if (!options_.advertise_address.empty())
    object::SetAnnotation(v, "kubernetes.io/peer-advertise-address",
                          options_.advertise_address + ":" + std::to_string(options_.secure_port));
  v.Set("spec", Value(Map{{"holderIdentity", Value(holder_)},
                          {"leaseDurationSeconds", Value(kIdentityLeaseSeconds)},
                          {"renewTime", Value(renewed)}}));
  co_return co_await Put(ctx, "coordination.k8s.io", "leases", std::move(v), [](Value& present, const Value& wanted) {
    present.Set("spec", wanted.At("spec"));
    return true;
  });
}

base::Task<base::Status> Bootstrap::Ensure(base::Context ctx) {
  CO_TRY(co_await Do(Step::kNamespaces, Namespaces(ctx)));
  CO_TRY(co_await Do(Step::kServiceRange, ServiceRange(ctx)));
  CO_TRY(co_await Do(Step::kRoles, Rbac(ctx)));
  CO_TRY(co_await Do(Step::kPriorityClasses,
                     PutAll(ctx, "scheduling.k8s.io", "priorityclasses", policy_.priority_classes, Leave)));
  CO_TRY(co_await Do(Step::kFlowControl, FlowControl(ctx)));
  CO_TRY(co_await Do(Step::kApiServices, ApiServices(ctx)));
  CO_TRY(co_await Do(Step::kConfigMaps, ConfigMaps(ctx)));
  CO_TRY(co_await Do(Step::kIdentity, Identity(ctx)));
  // Keep tries again.
  auto service = co_await Service(ctx);
  CO_TRY(ctx.status());
  if (!service.ok()) base::LogError("the Service kubernetes cannot be kept yet", service);
  finished_.insert(Step::kKubernetesService);
  co_return base::Ok();
}

base::Task<base::Status> Bootstrap::Do(Step step, base::Task<base::Status> work) {
  CO_TRY(co_await std::move(work));
  finished_.insert(step);
  co_return base::Ok();
}

base::Task<base::Status> Bootstrap::Service(base::Context ctx) {
  CO_TRY(co_await KubernetesService(ctx));
  co_return co_await Endpoints(ctx);
}

base::Task<void> Bootstrap::Keep(base::Context ctx) {
  while ((co_await base::Sleep(registry_.executor(), ctx, kInterval)).ok()) {
    auto s = co_await Namespaces(ctx);
    if (s.ok()) s = co_await Identity(ctx);
    if (s.ok()) s = co_await Service(ctx);
    if (!s.ok() && !ctx.done()) base::LogWarning("cannot keep the server's own objects", {{"error", s.ToString()}});
  }
}

}  // namespace apiserver::bootstrap
