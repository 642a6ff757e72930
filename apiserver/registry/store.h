// The one generic store: every resource's verbs, from its schema::Kind, its Strategy and its watch cache. The life of
// an object (decode, default, convert, admit, prepare, validate, encode, store) is in store_write.cc and nowhere else;
// every mutating verb ends in Store::Write, the place where managedFields will be tracked.
//
// Owned by the Registry; one per resource and served in all its versions. On the server's loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/admission/admission.h"
#include "apiserver/registry/strategy.h"
#include "apiserver/storage/watch_cache.h"

namespace apiserver::registry {

using storage::ObjectPtr;

// What a verb came to; the chain's last step encodes it for the client.
struct Outcome {
  enum class Form : uint8_t { kObject, kTree, kList, kStatus, kNone } form = Form::kNone;
  int code = 200;
  ObjectPtr object;                               // kObject
  Value tree;                                     // kTree: with kind and apiVersion
  const machinery::schema::Type* type = nullptr;  // kTree
  std::vector<ObjectPtr> items;                   // kList
  std::string list_revision, continue_token;
  std::optional<int64_t> remaining;
  std::vector<std::string> warnings;
};

// A watch being served: pull items, encode, send.
struct WatchSession {
  std::unique_ptr<storage::CacheWatcher> watcher;
  const machinery::schema::Kind* version = nullptr;
  bool bookmarks = false;
  base::Duration timeout{};
};

class Store {
 public:
  Store(Registry& registry, const storage::Resource& resource, std::unique_ptr<Strategy> strategy);

  const storage::Resource& resource() const { return resource_; }
  const Strategy& strategy() const { return *strategy_; }
  storage::WatchCache& cache() { return *cache_; }
  const std::map<std::string, Subresource>& subresources() const { return subresources_; }

  // --- verbs; `version` is the served kind the request names ---
  base::Task<base::Result<Outcome>> Get(base::Context ctx, const machinery::schema::Kind& version, const Request& r);
  base::Task<base::Result<Outcome>> List(base::Context ctx, const machinery::schema::Kind& version, const Request& r);
  base::Task<base::Result<WatchSession>> Watch(base::Context ctx, const machinery::schema::Kind& version,
                                               const Request& r);
  base::Task<base::Result<Outcome>> Create(base::Context ctx, const machinery::schema::Kind& version, const Request& r);
  base::Task<base::Result<Outcome>> Update(base::Context ctx, const machinery::schema::Kind& version, const Request& r);
  base::Task<base::Result<Outcome>> Patch(base::Context ctx, const machinery::schema::Kind& version, const Request& r);
  base::Task<base::Result<Outcome>> Delete(base::Context ctx, const machinery::schema::Kind& version, const Request& r);
  base::Task<base::Result<Outcome>> DeleteCollection(base::Context ctx, const machinery::schema::Kind& version,
                                                     const Request& r);

  // --- for code inside the server (allocators, admission, bootstrap, eviction) ---
  // From the cache, at once; null when absent. For cluster-scoped kinds `ns` is "".
  ObjectPtr Cached(std::string_view ns, std::string_view name) const;
  // The object as it is in the store now.
  base::Task<base::Result<ObjectPtr>> Fresh(base::Context ctx, std::string ns, std::string name);
  // Reads, changes and writes until it fits; `change` returns an error to give up. Goes through preparation of no
  // strategy and no admission: for the server's own writes.
  base::Task<base::Result<ObjectPtr>> Modify(base::Context ctx, std::string ns, std::string name,
                                             std::function<base::Status(Value&)> change);
  // Creates as the server itself (system:apiserver), with defaults, strategy and validation, without admission.
  base::Task<base::Result<ObjectPtr>> CreateInternal(base::Context ctx, Value object);
  base::Task<base::Status> DeleteInternal(base::Context ctx, std::string ns, std::string name,
                                          std::optional<std::string> uid = {});

 private:
  struct WriteRequest;
  friend struct WriteRequest;
  std::string KeyOf(std::string_view ns, std::string_view name) const;  // below the prefix
  std::string StoreKey(std::string_view key) const { return resource_.prefix + std::string(key); }
  machinery::object::GroupResource group_resource() const { return {resource_.group, resource_.resource}; }

  Registry& registry_;
  const storage::Resource& resource_;
  std::unique_ptr<Strategy> strategy_;
  std::unique_ptr<storage::WatchCache> cache_;
  std::map<std::string, Subresource> subresources_;

 public:
  // The pieces of the verbs, one file each (store_read.cc, store_write.cc, store_delete.cc, store_patch.cc).
  struct Access;
};

}  // namespace apiserver::registry
