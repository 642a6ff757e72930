#include "apiserver/registry/registry.h"

#include <algorithm>

#include "apiserver/registry/convert.h"
#include "base/bytes.h"
#include "machinery/object/time.h"
#include "machinery/ops/defaulting.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;

namespace {

std::string Name(std::string_view group, std::string_view version, std::string_view resource) {
  return std::string(group) + "/" + std::string(version) + "/" + std::string(resource);
}

// Whether --runtime-config and the schema's default serve a kind.
bool IsServed(const Kind& kind, const std::map<std::string, bool>& config) {
  for (const std::string& key : {kind.ApiVersion() + "/" + kind.resource, kind.ApiVersion()})
    if (auto it = config.find(key); it != config.end()) return it->second;
  std::string maturity = kind.version.find("alpha") != std::string::npos  ? "api/alpha"
                         : kind.version.find("beta") != std::string::npos ? "api/beta"
                                                                          : "api/ga";
  for (const std::string& key : {maturity, std::string("api/all")})
    if (auto it = config.find(key); it != config.end()) return it->second;
  return kind.served_by_default;
}

}  // namespace

Registry::Registry(base::Executor& executor, const machinery::schema::Schema& schema, storage::Storage& storage,
                   base::Random random, RegistryOptions options)
    : executor_(executor),
      schema_(schema),
      storage_(storage),
      random_(random),
      options_(std::move(options)),
      budget_(options_.encoding_budget_bytes),
      defaulter_(std::make_unique<machinery::ops::Defaulter>(schema)),
      mirror_(std::make_unique<storage::Mirror>(executor, storage)) {
  // Kinds that share a storage prefix are versions of one resource (events of two groups, autoscaling v1 and v2).
  std::map<std::string, std::vector<const Kind*>> by_prefix;
  std::vector<std::string> order;
  for (const Kind& kind : schema.kinds()) {
    if (!IsServed(kind, options_.runtime_config)) continue;
    std::string prefix = kind.storage_prefix.empty() ? "-/" + Name(kind.group, "", kind.resource) : kind.storage_prefix;
    auto& kinds = by_prefix[prefix];
    if (kinds.empty()) order.push_back(prefix);
    kinds.push_back(&kind);
  }
  for (const auto& prefix : order) AddResource(prefix, by_prefix[prefix]);
  for (const Kind& kind : schema.kinds()) {
    auto it = by_name_.find(Name(kind.group, kind.version, kind.resource));
    if (it != by_name_.end()) served_.push_back(it->second);
  }
}

Registry::~Registry() = default;

void Registry::AddResource(const std::string& prefix, const std::vector<const Kind*>& kinds) {
  auto r = std::make_unique<storage::Resource>();
  r->served = kinds;
  // The storage version, also when it is not served itself.
  for (const Kind& kind : schema_.kinds())
    if (kind.storage_prefix == kinds[0]->storage_prefix && kind.ApiVersion() == kinds[0]->storage_version &&
        kind.kind == kinds[0]->kind)
      r->storage_kind = &kind;
  if (!r->storage_kind) r->storage_kind = kinds[0];
  const Kind& kind = *r->storage_kind;
  r->group = kind.group;
  r->resource = kind.resource;
  r->namespaced = kind.namespaced;
  r->prefix = "/registry/" + prefix + "/";
  r->stored_as_json = kind.stored_as_json;
  if (kinds.size() > 1 || kinds[0] != r->storage_kind)
    r->convert = [](const Kind& from, const Kind& to, Value v) { return ConvertObject(from, to, std::move(v)); };
  r->apply_defaults = [this, k = r->storage_kind](Value& v) { Default(*k, v); };
  auto make = FindStrategy(kind.group, kind.kind);
  auto strategy = make ? make(kind) : std::make_unique<Strategy>(kind);
  r->fields = strategy->SelectableFields();
  r->embeds_objects = strategy->EmbedsObjects();
  for (size_t i = 0; i < r->fields.size(); ++i)
    if (r->fields[i].name == "spec.nodeName") r->node_name_field = static_cast<int>(i);
  resources_.push_back(std::move(r));
  stores_.push_back(std::make_unique<Store>(*this, *resources_.back(), std::move(strategy)));
  Store* store = stores_.back().get();
  if (!store->strategy().CreateOnly()) mirror_->Add(store->cache());
  for (const Kind* k : kinds) {
    by_name_[Name(k->group, k->version, k->resource)] = {k, store};
    by_resource_.emplace(k->group + "/" + k->resource, store);
    group_versions_.insert(k->ApiVersion());
  }
}

std::optional<Served> Registry::Find(std::string_view group, std::string_view version,
                                     std::string_view resource) const {
  auto it = by_name_.find(Name(group, version, resource));
  if (it == by_name_.end()) return std::nullopt;
  return it->second;
}

Store* Registry::FindStore(std::string_view group, std::string_view resource) const {
  auto it = by_resource_.find(std::string(group) + "/" + std::string(resource));
  return it == by_resource_.end() ? nullptr : it->second;
}

bool Registry::ServesGroup(std::string_view group) const {
  if (group.empty()) return true;
  std::string first = std::string(group) + "/";
  auto it = group_versions_.lower_bound(first);
  return it != group_versions_.end() && it->starts_with(first);
}

bool Registry::ServesGroupVersion(std::string_view group, std::string_view version) const {
  return group_versions_.contains(group.empty() ? std::string(version)
                                                : std::string(group) + "/" + std::string(version));
}

std::string Registry::NewUid() {
  std::string bytes;
  base::PutBigEndian64(bytes, random_.Next());
  base::PutBigEndian64(bytes, random_.Next());
  return base::UuidFromBytes(bytes);
}

void Registry::Default(const Kind& kind, Value& obj) const { defaulter_->Apply(kind, obj, Now()); }
void Registry::Default(const machinery::schema::Type& type, Value& obj) const { defaulter_->Apply(type, obj, Now()); }

std::string Registry::Now() const {
  return object::FormatTime(std::chrono::floor<std::chrono::seconds>(executor_.WallNow()).time_since_epoch().count());
}

base::Task<void> Registry::Run(base::Context ctx) { co_await mirror_->Run(ctx); }
base::Task<base::Status> Registry::WaitReady(base::Context ctx) { co_return co_await mirror_->WaitReady(ctx); }

// --- Store's beginning lives here: it needs the registry whole ---

Store::Store(Registry& registry, const storage::Resource& resource, std::unique_ptr<Strategy> strategy)
    : registry_(registry),
      resource_(resource),
      strategy_(std::move(strategy)),
      cache_(std::make_unique<storage::WatchCache>(registry.executor(), resource, registry.budget(),
                                                   registry.options().cache)),
      subresources_(strategy_->Subresources(registry)) {}

}  // namespace apiserver::registry
