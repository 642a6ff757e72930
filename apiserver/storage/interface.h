// The store as the apiserver sees it: ordered keys with revisions, transactions on one key, history to watch. Keys are
// etcd's ("/registry/pods/default/web"); values are opaque bytes. Implemented by memory.h (simulations, tests) and
// etcd.h (kvstore or etcd over gRPC); one contract suite (contract_test.cc) holds for all of them.
//
// One strand: everything runs on the executor the store was made with. Errors: kUnavailable when the store cannot be
// reached (the outcome of a write is then unknown), kOutOfRange when a revision is compacted or not reached yet.
// Not its job: what the bytes mean, caching.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/context.h"
#include "base/task.h"

namespace apiserver::storage {

struct KeyValue {
  std::string key;
  base::SharedBytes value;
  uint64_t mod_revision = 0;
  uint64_t create_revision = 0;
};

struct GetResult {
  std::optional<KeyValue> kv;
  uint64_t revision = 0;  // of the store when it answered
};

struct ListOptions {
  std::string start_key;  // "" = the prefix's start; otherwise the first key to return
  uint64_t limit = 0;     // 0 = all
  uint64_t revision = 0;  // 0 = now (linearizable)
};
struct ListResult {
  std::vector<KeyValue> kvs;  // in key order
  bool more = false;
  uint64_t count = 0;  // keys below the prefix from start_key on, the limit aside
  uint64_t revision = 0;
};

// What a conditional write did. When the condition did not hold nothing was written and `current` is what is there now.
struct WriteResult {
  bool written = false;
  uint64_t revision = 0;            // the new mod revision when written, else the store's
  std::optional<KeyValue> current;  // only when not written
};

enum class EventType : uint8_t { kPut, kDelete, kProgress };
struct Event {
  EventType type = EventType::kPut;
  KeyValue kv;  // kDelete: only key and mod_revision; kProgress: only mod_revision
  uint64_t revision() const { return kv.mod_revision; }
};
// Events in revision order. After an error the watch is over; kOutOfRange: the start revision is compacted.
class Watcher {
 public:
  virtual ~Watcher() = default;  // cancels
  // At least one event.
  virtual base::Task<base::Result<std::vector<Event>>> Next(base::Context ctx) = 0;
  // Asks for a kProgress event soon; it carries a revision up to which everything has been delivered.
  virtual base::Task<base::Status> RequestProgress(base::Context ctx) = 0;
};

class Storage {
 public:
  virtual ~Storage() = default;
  virtual base::Task<base::Result<GetResult>> Get(base::Context ctx, std::string key, uint64_t revision = 0) = 0;
  virtual base::Task<base::Result<ListResult>> List(base::Context ctx, std::string prefix, ListOptions options) = 0;
  // Writes only when the key is absent. `ttl_seconds` > 0: the key disappears by itself.
  virtual base::Task<base::Result<WriteResult>> Create(base::Context ctx, std::string key, base::SharedBytes value,
                                                       int64_t ttl_seconds = 0) = 0;
  // Writes only when the key's mod revision is `expected`.
  virtual base::Task<base::Result<WriteResult>> Update(base::Context ctx, std::string key, base::SharedBytes value,
                                                       uint64_t expected, int64_t ttl_seconds = 0) = 0;
  virtual base::Task<base::Result<WriteResult>> Delete(base::Context ctx, std::string key, uint64_t expected) = 0;
  // Linearizable.
  virtual base::Task<base::Result<uint64_t>> CurrentRevision(base::Context ctx) = 0;
  virtual base::Task<base::Status> Compact(base::Context ctx, uint64_t revision) = 0;
  // Events below `prefix` with revisions >= `from`.
  virtual base::Task<base::Result<std::unique_ptr<Watcher>>> Watch(base::Context ctx, std::string prefix,
                                                                   uint64_t from) = 0;
  // False for an etcd whose progress answers cannot be trusted (before 3.4.31 and 3.5.13).
  virtual bool progress_reliable() const = 0;
};

}  // namespace apiserver::storage
