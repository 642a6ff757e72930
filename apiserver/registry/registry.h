// All stores of a server, by group and resource, over one storage and one mirror of it.
//
// Owned by the Server (or a simulation's apiserver). On the server's loop.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/registry/facilities.h"
#include "apiserver/registry/store.h"
#include "base/random.h"

namespace machinery::ops {
class Defaulter;
}

namespace apiserver::registry {

struct RegistryOptions {
  int64_t event_ttl_seconds = 3600;
  bool allow_privileged = true;
  storage::CacheLimits cache;
  size_t encoding_budget_bytes = 16 << 20;
  // Group/version pairs ("batch/v1", "api/all") switched on or off by --runtime-config.
  std::map<std::string, bool> runtime_config;
};

// A served (group, version, resource).
struct Served {
  const machinery::schema::Kind* kind = nullptr;
  Store* store = nullptr;
};

class Registry {
 public:
  Registry(base::Executor& executor, const machinery::schema::Schema& schema, storage::Storage& storage,
           base::Random random, RegistryOptions options);
  ~Registry();
  Registry(const Registry&) = delete;

  // nullopt when the group, version or resource is not served.
  std::optional<Served> Find(std::string_view group, std::string_view version, std::string_view resource) const;
  // In any version: the store of a resource; null when not served.
  Store* FindStore(std::string_view group, std::string_view resource) const;
  // Every served kind, in the schema's order.
  const std::vector<Served>& served() const { return served_; }
  bool ServesGroup(std::string_view group) const;  // in some version
  bool ServesGroupVersion(std::string_view group, std::string_view version) const;

  const machinery::schema::Schema& schema() const { return schema_; }
  storage::Storage& storage() { return storage_; }
  storage::Mirror& mirror() { return *mirror_; }
  base::Executor& executor() { return executor_; }
  base::Random& random() { return random_; }
  const RegistryOptions& options() const { return options_; }
  storage::EncodingBudget& budget() { return budget_; }
  std::string NewUid();
  // Fills in what a writer left out.
  void Default(const machinery::schema::Kind& kind, Value& object) const;
  void Default(const machinery::schema::Type& type, Value& object) const;

  // Set once at start; null: nothing is admitted or refused.
  void SetAdmission(admission::Chain* chain) { admission_ = chain; }
  admission::Chain* admission() { return admission_; }
  // Set at start, before requests come.
  Facilities& facilities() { return facilities_; }

  // Feeds the caches until the context ends.
  base::Task<void> Run(base::Context ctx);
  base::Task<base::Status> WaitReady(base::Context ctx);

 private:
  void AddResource(const std::string& prefix, const std::vector<const machinery::schema::Kind*>& kinds);
  std::string Now() const;

  base::Executor& executor_;
  const machinery::schema::Schema& schema_;
  storage::Storage& storage_;
  base::Random random_;
  RegistryOptions options_;
  storage::EncodingBudget budget_;
  std::unique_ptr<machinery::ops::Defaulter> defaulter_;
  std::unique_ptr<storage::Mirror> mirror_;
  std::vector<std::unique_ptr<storage::Resource>> resources_;
  std::vector<std::unique_ptr<Store>> stores_;
  std::vector<Served> served_;
  std::map<std::string, Served, std::less<>> by_name_;      // "group/version/resource"
  std::map<std::string, Store*, std::less<>> by_resource_;  // "group/resource"
  std::set<std::string, std::less<>> group_versions_;
  admission::Chain* admission_ = nullptr;
  Facilities facilities_;
};

}  // namespace apiserver::registry
