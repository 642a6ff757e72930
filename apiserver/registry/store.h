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

// What a reader hears of an object of the store that does not decode.
base::Status CorruptObject(std::string_view store_key, const base::Status& why);

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
  // One attempt at changing an object: from the state it is based on to the tree to write. Errors end the attempt; they
  // count only when `current` is known to be fresh.
  struct Plan {
    Value object;         // to write, storage version
    bool remove = false;  // write nothing: the object's last finalizer is gone, delete it
    bool skip = false;    // nothing to do: answer with the current object
    std::unique_ptr<Reservation> reservation;
  };
  using Planner = std::function<base::Task<base::Result<Plan>>(const ObjectPtr& current)>;

  std::string KeyOf(std::string_view ns, std::string_view name) const;  // below the prefix
  std::string StoreKey(std::string_view key) const { return resource_.prefix + std::string(key); }
  machinery::object::GroupResource group_resource() const { return {resource_.group, resource_.resource}; }
  machinery::object::GroupKind group_kind() const;
  Operation NewOperation(base::Context ctx, const machinery::schema::Kind& version, const Request& r,
                         std::vector<std::string>* warnings);

  // --- store_read.cc ---
  base::Result<storage::Filter> FilterOf(const machinery::schema::Kind& version, const Request& r) const;
  base::Task<base::Result<Outcome>> ListFromStorage(base::Context ctx, const storage::Filter& filter,
                                                    storage::WatchCache::ListQuery query, uint64_t revision);
  void FinishList(Outcome& out, const storage::WatchCache::Page& page, const Request& r,
                  const storage::Filter& filter) const;
  base::Task<base::Result<ObjectPtr>> Read(base::Context ctx, const std::string& key, const std::string& revision);
  // Of kinds that are put together when they are read.
  base::Task<base::Result<Outcome>> ReadComputed(base::Context ctx, const machinery::schema::Kind& version,
                                                 const Request& r);

  // --- store_write.cc ---
  base::Result<Value> ToStorageVersion(const machinery::schema::Kind& version, Value object) const;
  // What create does up to the write; also for updates that create.
  base::Task<base::Result<std::unique_ptr<Reservation>>> BeforeCreate(Operation op, Value& object);
  base::Task<base::Result<ObjectPtr>> CreateNew(Operation op, Value object);
  base::Task<base::Result<Plan>> BeforeUpdate(Operation op, Value object, const ObjectPtr& current,
                                              const Subresource* sub, const std::string& subresource);
  base::Status CheckReadable(const machinery::schema::Kind& version, const Value& object) const;
  FieldErrors ValidatePrivileges(const Value& object) const;
  base::Status CheckVersions(const Value& object, const Value& old) const;
  base::Status MayCreate(const Operation& op) const;
  base::Task<base::Status> Admit(Operation op, admission::Operation what, const std::string& subresource, Value* object,
                                 const Value* old, bool mutate);
  base::Status CheckUid(const Value& body, const storage::Object& current) const;
  // What the object is to become, from what it is (null: absent).
  using Updater = std::function<base::Result<Value>(const ObjectPtr&)>;
  base::Task<base::Result<Outcome>> UpdateWith(Operation op, const Subresource* sub, const Updater& updated);
  // Plans, writes, plans again on conflict until it fits. `create`: the planner is also asked for an absent object.
  base::Task<base::Result<ObjectPtr>> Guarded(Operation op, std::string key, const Planner& plan, bool* created);
  // The one place where objects change: old (null: create) becomes the new tree. Returns null when `old` was not the
  // present state any more; `fresh` then holds that.
  base::Task<base::Result<ObjectPtr>> Write(const Operation& op, const std::string& key, const ObjectPtr& old,
                                            Value object, std::string_view manager, std::string_view operation,
                                            std::string_view subresource, ObjectPtr* fresh);
  base::Task<base::Result<ObjectPtr>> Remove(const Operation& op, const ObjectPtr& old, ObjectPtr* fresh);
  base::Result<ObjectPtr> FromStore(const std::optional<storage::KeyValue>& kv);
  base::Task<base::Result<Outcome>> Act(Operation op, const Subresource& sub);
  const Subresource* FindSubresource(const std::string& name) const;
  // The one an update or a patch writes; nullptr: the object itself. 404 where there is none, 405 where it only acts.
  base::Result<const Subresource*> WrittenSubresource(const machinery::request::Request& r) const;
  Outcome Show(ObjectPtr object, const Operation& op, const Subresource* sub, int code, base::Status* error) const;

  // --- store_delete.cc ---
  struct Deletion;
  // An object that does not decode, for whoever asks for that and may.
  base::Task<base::Result<Outcome>> DeleteUnreadable(Operation op, std::string key);
  // The Status that says that an object is gone; `uid` "" where nobody could read it.
  Outcome Deleted(const Operation& op, std::string_view name, std::string_view uid) const;
  base::Task<base::Result<Outcome>> DeleteOne(Operation op, std::string key, Deletion options, ObjectPtr* shown);

  Registry& registry_;
  const storage::Resource& resource_;
  std::unique_ptr<Strategy> strategy_;
  std::unique_ptr<storage::WatchCache> cache_;
  std::map<std::string, Subresource> subresources_;
};

}  // namespace apiserver::registry
