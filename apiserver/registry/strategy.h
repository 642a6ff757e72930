// What makes one kind different from the others in the generic store: which fields a create or update may set, what is
// checked, what deletion waits for, which subresources write what. One .cc per kind in registry/<group>/, one line in
// strategies.def; a kind without a line gets GenericStrategy, which goes by the schema's facts alone.
//
// Trees are of the storage version, in schema order, with defaults filled in. Called on the server's loop; only the
// Begin/After hooks may suspend.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/storage/object.h"
#include "base/context.h"
#include "base/task.h"
#include "machinery/object/api_error.h"
#include "machinery/object/names.h"
#include "machinery/request/request.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace apiserver::registry {

class Registry;
class Store;

using machinery::object::FieldErrors;
using machinery::request::Request;
using machinery::value::Value;

// Of one operation on one object.
struct Operation {
  base::Context ctx;
  const Request* request = nullptr;
  Registry* registry = nullptr;
  Store* store = nullptr;
  const machinery::schema::Kind* version = nullptr;  // the version the client speaks
  bool dry_run = false;
  std::vector<std::string>* warnings = nullptr;
};

// Something taken for an object that is about to be written (an IP, a port). Rolled back unless committed.
class Reservation {
 public:
  virtual ~Reservation() = default;  // gives back what was not committed (may be asynchronous inside)
  virtual void Commit() = 0;
};

// Outcome of a subresource that acts by itself (binding, eviction, token): what to answer.
struct SubresourceAnswer {
  int code = 201;
  Value object;                                   // with kind and apiVersion
  const machinery::schema::Type* type = nullptr;  // of `object`
};

// One subresource of a kind. Either a view that reads and writes the parent through the generic path (status, resize,
// ephemeralcontainers, approval, finalize), or an action.
struct Subresource {
  // --- view: the generic get, update, patch and write apply to the whole parent object ---
  // Keeps in `object` only what this subresource may change; everything else comes from `old`.
  std::function<void(const Operation&, Value& object, const Value& old)> prepare;
  std::function<FieldErrors(const Operation&, const Value& object, const Value& old)> validate;
  // --- projection (scale): another object made from the parent and written back into it ---
  std::function<base::Result<Value>(const Operation&, const Value& parent)> project;
  std::function<base::Status(const Operation&, Value& parent, const Value& projected)> merge_back;
  const machinery::schema::Type* projected_type = nullptr;
  // --- action: answers a create by itself ---
  std::function<base::Task<base::Result<SubresourceAnswer>>(Operation op, Value body)> act;
  const machinery::schema::Type* action_type = nullptr;  // of the body
};

class Strategy {
 public:
  explicit Strategy(const machinery::schema::Kind& kind) : kind_(kind) {}
  virtual ~Strategy() = default;
  const machinery::schema::Kind& kind() const { return kind_; }

  // What keeps an object that decodes from being read all the same ("" = nothing): texts in it that stand for numbers.
  virtual std::string WhyUnreadable(const Value& object) const { return {}; }
  // Drops what a create may not set (status when the schema says so), sets generation = 1 where the kind has one.
  virtual void PrepareForCreate(const Operation& op, Value& object) const;
  // Keeps status, bumps generation when spec changed, as the schema says.
  virtual void PrepareForUpdate(const Operation& op, Value& object, const Value& old) const;
  virtual machinery::object::NameRule name_rule() const { return machinery::object::NameIsDnsSubdomain; }
  // All of the kind's rules, ObjectMeta with its name rule included. The store adds what holds for every object: on
  // create only when there were no errors, on update (ObjectMeta once more) before them, as the original does.
  // Default: ObjectMeta and what the schema declares.
  virtual FieldErrors Validate(const Operation& op, const Value& object) const;
  virtual FieldErrors ValidateUpdate(const Operation& op, const Value& object, const Value& old) const;
  virtual std::vector<std::string> WarningsOnCreate(const Operation& op, const Value& object) const;
  virtual std::vector<std::string> WarningsOnUpdate(const Operation& op, const Value& object, const Value& old) const;

  // Not stored: the kind's whole point would not be enforced. The text the client gets ("" = store it).
  virtual std::string RefuseText() const { return {}; }
  // Never stored: put together anew by Items whenever it is read.
  virtual bool IsComputed() const { return false; }
  virtual base::Task<base::Result<std::vector<Value>>> Items(Operation op) const;
  // Answers a create without storing anything (TokenReview, SubjectAccessReview): the object to answer with.
  virtual bool CreateOnly() const { return false; }
  virtual base::Task<base::Result<Value>> Answer(Operation op, Value object) const;

  // Seconds to wait before the object goes; nullopt: the kind is deleted at once. `requested` as the client asked.
  virtual std::optional<int64_t> GracePeriod(const Value& object, std::optional<int64_t> requested) const;
  // Says no to a delete (system namespaces, ...).
  virtual base::Status ValidateDelete(const Operation& op, const Value& object) const;
  // Namespaces wait for their finalizers in spec: an object that must stay although nothing in metadata holds it, and
  // what changes on it when deletion begins.
  virtual bool HoldsDeletion(const Value& object) const { return false; }
  virtual void MarkDeleting(const Operation& op, Value& object) const {}
  // What happens to dependents when the client does not say: "Background" or "Orphan".
  virtual std::string DefaultPropagation(const Operation& op, const Value& object) const { return "Background"; }
  // A delete is answered with the object rather than with a Status.
  virtual bool ReturnsDeletedObject() const;
  // Objects hold other objects with a kind and apiVersion of their own, for which Protobuf has no fields: defaulting
  // puts them back whenever an object is shown.
  virtual bool EmbedsObjects() const { return false; }
  // Objects disappear by themselves after --event-ttl.
  virtual bool Expires() const { return false; }

  // Allocations before the write; the reservation is committed when it succeeded.
  virtual base::Task<base::Result<std::unique_ptr<Reservation>>> BeginCreate(Operation op, Value& object) const;
  virtual base::Task<base::Result<std::unique_ptr<Reservation>>> BeginUpdate(Operation op, Value& object,
                                                                             const Value& old) const;
  virtual base::Task<void> AfterDelete(Operation op, const Value& object) const;
  // Selectable fields besides metadata.name and metadata.namespace.
  virtual std::vector<storage::SelectableField> SelectableFields() const { return {}; }
  // Status for those kinds whose schema lists it, scale where listed, and what the kind adds.
  virtual std::map<std::string, Subresource> Subresources(Registry& registry) const;

 protected:
  const machinery::schema::Kind& kind_;
};

using StrategyFactory = std::unique_ptr<Strategy> (*)(const machinery::schema::Kind& kind);
// From strategies.def; null: GenericStrategy.
StrategyFactory FindStrategy(std::string_view group, std::string_view kind);

// A selectable string field by its JSON path ("spec.nodeName"), its numbers looked up in the schema; aborts when the
// path is unknown.
storage::SelectableField FieldOf(const machinery::schema::Type& type, std::string_view json_path);

}  // namespace apiserver::registry
