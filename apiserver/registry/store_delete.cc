// Deletion: at once, after a grace period, or when the last finalizer is gone.
#include <algorithm>

#include "apiserver/registry/body.h"
#include "apiserver/registry/list_options.h"
#include "apiserver/registry/registry.h"
#include "machinery/codec/codec.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;

namespace {

constexpr std::string_view kOrphan = "orphan", kForeground = "foregroundDeletion";

int64_t Seconds(base::Executor& executor) {
  return std::chrono::floor<std::chrono::seconds>(executor.WallNow()).time_since_epoch().count();
}

// DeleteOptions of the body win over the query's.
base::Result<machinery::request::Options> ReadDeleteOptions(const machinery::schema::Schema& schema, const Request& r,
                                                            std::vector<std::string>& warnings) {
  machinery::request::Options o = r.options;
  if (!r.body || r.body->empty()) return o;
  const auto* type = schema.FindObject("", "v1", "DeleteOptions");
  if (!type) type = schema.FindObject("meta.k8s.io", "v1", "DeleteOptions");
  // unreachable from outside: the schema is compiled in
  CHECK_MSG(type, "DeleteOptions must be in the schema");
  TRY_ASSIGN(Value body, DecodeObject(schema, *type, nullptr, r, warnings));
  if (const auto& v = body.At("gracePeriodSeconds"); !v.is_null()) o.grace_period_seconds = v.int_or();
  if (const auto& v = body.At("orphanDependents"); !v.is_null()) o.orphan_dependents = v.bool_or();
  if (const auto& v = body.At("propagationPolicy"); !v.is_null()) o.propagation_policy = v.string_or();
  if (const auto& v = body.At("dryRun"); v.is_list() && !v.list().empty()) o.dry_run = object::StringsOf(v);
  o.ignore_store_read_error = body.At("ignoreStoreReadErrorWithClusterBreakingPotential").bool_or();
  const auto& p = body.At("preconditions");
  if (const auto& v = p.At("uid"); !v.is_null()) o.precondition_uid = v.string_or();
  if (const auto& v = p.At("resourceVersion"); !v.is_null()) o.precondition_resource_version = v.string_or();
  return o;
}

}  // namespace

struct Store::Deletion {
  machinery::request::Options options;

  base::Status CheckPreconditions(const Kind& kind, const Value& obj) const {
    object::GroupResource gk{kind.group, kind.kind};
    std::string name(object::NameOf(obj)), uid(object::UidOf(obj)), revision(object::ResourceVersionOf(obj));
    if (options.precondition_uid && *options.precondition_uid != uid)
      return object::Conflict(gk, name,
                              "the UID in the precondition (" + *options.precondition_uid +
                                  ") does not match the UID in record (" + uid +
                                  "). The object might have been deleted and then recreated");
    if (options.precondition_resource_version && *options.precondition_resource_version != revision)
      return object::Conflict(gk, name,
                              "the ResourceVersion in the precondition (" + *options.precondition_resource_version +
                                  ") does not match the ResourceVersion in record (" + revision +
                                  "). The object might have been modified");
    return base::Ok();
  }

  // Sets the garbage collector's finalizers as the client (or the kind's default) wants; true when that changed some.
  bool SetCollectorFinalizers(const Operation& op, const Strategy& strategy, Value& obj) const {
    auto finalizers = object::FinalizersOf(obj);
    auto has = [&](std::string_view f) {
      return std::find(finalizers.begin(), finalizers.end(), f) != finalizers.end();
    };
    bool orphan, foreground;
    if (options.orphan_dependents) {
      orphan = *options.orphan_dependents;
      foreground = false;
    } else if (!options.propagation_policy.empty()) {
      orphan = options.propagation_policy == "Orphan";
      foreground = options.propagation_policy == "Foreground";
    } else {
      // What stands on the object already wins over the default.
      orphan = has(kOrphan) || (!has(kForeground) && strategy.DefaultPropagation(op, obj) == "Orphan");
      foreground = !orphan && has(kForeground);
    }
    std::vector<std::string> wanted;
    for (auto& f : finalizers)
      if (f != kOrphan && f != kForeground) wanted.push_back(f);
    if (orphan) wanted.emplace_back(kOrphan);
    if (foreground) wanted.emplace_back(kForeground);
    auto a = finalizers, b = wanted;
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    if (a == b) return false;
    machinery::value::List list;
    for (auto& f : wanted) list.emplace_back(f);
    object::SetMeta(obj, "finalizers", list.empty() ? Value() : Value(std::move(list)));
    return true;
  }

  enum class Step { kDeleteNow, kGraceful, kPending };
  // What the kind's grace period means for `obj`; kGraceful changed its deletion fields.
  Step ApplyGrace(const Strategy& strategy, base::Executor& executor, Value& obj) {
    if (options.grace_period_seconds && *options.grace_period_seconds < 0) options.grace_period_seconds = 1;
    auto set = [&](int64_t at, int64_t period) {
      object::SetMeta(obj, "deletionTimestamp", object::FormatTime(at));
      object::SetMeta(obj, "deletionGracePeriodSeconds", period);
    };
    if (object::IsDeleting(obj)) {
      auto before = object::DeletionGracePeriodSecondsOf(obj);
      if (!before || !strategy.GracePeriod(obj, options.grace_period_seconds)) return Step::kDeleteNow;
      // A grace period may only become shorter.
      if (!options.grace_period_seconds || *options.grace_period_seconds >= *before) return Step::kPending;
      auto at = object::ParseTime(object::DeletionTimestampOf(obj));
      set((at ? at->seconds : Seconds(executor)) - *before + *options.grace_period_seconds,
          *options.grace_period_seconds);
      return Step::kGraceful;
    }
    auto period = strategy.GracePeriod(obj, options.grace_period_seconds);
    if (!period) return Step::kDeleteNow;
    options.grace_period_seconds = *period;
    set(Seconds(executor) + *period, *period);
    if (int64_t generation = object::GenerationOf(obj); generation > 0) object::SetGeneration(obj, generation + 1);
    return Step::kGraceful;
  }
};

base::Task<base::Result<Outcome>> Store::DeleteOne(Operation op, std::string key, Deletion deletion, ObjectPtr* shown) {
  const Kind& kind = *resource_.storage_kind;
  std::string name(resource_.namespaced ? key.substr(key.find('/') + 1) : key);
  bool removed = false;
  Planner planner = [&](const ObjectPtr& current) -> base::Task<base::Result<Plan>> {
    if (!current) co_return base::Err(object::NotFound(group_resource(), name));
    Deletion d = deletion;
    Plan plan;
    Value obj = current->Tree();
    CO_TRY(d.CheckPreconditions(kind, obj));
    CO_TRY(co_await Admit(op, admission::Operation::kDelete, "", nullptr, &obj, true));
    CO_TRY(co_await Admit(op, admission::Operation::kDelete, "", nullptr, &obj, false));
    CO_TRY(strategy_->ValidateDelete(op, obj));
    bool was_deleting = object::IsDeleting(obj);
    auto step = d.ApplyGrace(*strategy_, registry_.executor(), obj);
    if (step == Deletion::Step::kPending) {
      plan.skip = true;
      removed = false;
      co_return plan;
    }
    bool collector = d.SetCollectorFinalizers(op, *strategy_, obj);
    bool held = !object::FinalizersOf(obj).empty() || strategy_->HoldsDeletion(obj);
    if (step == Deletion::Step::kDeleteNow && held) {
      if (!was_deleting) {
        object::SetMeta(obj, "deletionTimestamp", object::FormatTime(Seconds(registry_.executor())));
        object::SetMeta(obj, "deletionGracePeriodSeconds", 0);
        if (int64_t generation = object::GenerationOf(obj); generation > 0) object::SetGeneration(obj, generation + 1);
      }
      strategy_->MarkDeleting(op, obj);
      held = !object::FinalizersOf(obj).empty() || strategy_->HoldsDeletion(obj);
      if (held && was_deleting && !collector) {
        plan.skip = true;
        removed = false;
        co_return plan;
      }
    }
    bool wait = held || (step == Deletion::Step::kGraceful && d.options.grace_period_seconds.value_or(0) > 0);
    plan.remove = !wait;
    removed = plan.remove;
    // A removed object is answered as it was stored, without marks of a deletion that did not have to wait.
    plan.object = plan.remove && step == Deletion::Step::kDeleteNow ? current->Tree() : std::move(obj);
    co_return plan;
  };
  CO_TRY_ASSIGN(ObjectPtr last, co_await Guarded(op, std::move(key), planner, nullptr));
  if (shown) *shown = last;
  Outcome out{.code = 200, .warnings = *op.warnings};
  if (!removed || strategy_->ReturnsDeletedObject()) {
    out.form = Outcome::Form::kObject;
    out.object = std::move(last);
    if (!removed && deletion.options.orphan_dependents == false) out.code = 202;
    co_return out;
  }
  co_return Deleted(op, name, object::UidOf(last->Tree()));
}

Outcome Store::Deleted(const Operation& op, std::string_view name, std::string_view uid) const {
  Value details{machinery::value::Map{}};
  details.Set("name", name);
  if (!resource_.group.empty()) details.Set("group", resource_.group);
  details.Set("kind", resource_.resource);
  if (!uid.empty()) details.Set("uid", uid);
  Outcome out{.form = Outcome::Form::kStatus, .code = 200, .warnings = *op.warnings};
  out.tree = Value(machinery::value::Map{{"kind", "Status"},
                                         {"apiVersion", "v1"},
                                         {"metadata", machinery::value::Map{}},
                                         {"status", "Success"},
                                         {"details", std::move(details)}});
  return out;
}

base::Task<base::Result<Outcome>> Store::Delete(base::Context ctx, const Kind& version, const Request& r) {
  if (!r.subresource.empty()) co_return base::Err(object::MethodNotAllowed());
  std::vector<std::string> warnings;
  Deletion deletion;
  CO_TRY_ASSIGN(deletion.options, ReadDeleteOptions(registry_.schema(), r, warnings));
  Request effective = r;
  effective.options = deletion.options;
  CO_TRY(CheckWriteOptions(effective));
  Operation op = NewOperation(ctx, version, effective, &warnings);
  if (effective.options.ignore_store_read_error)
    co_return co_await DeleteUnreadable(op, KeyOf(r.namespace_name, r.name));
  co_return co_await DeleteOne(op, KeyOf(r.namespace_name, r.name), std::move(deletion), nullptr);
}

base::Task<base::Result<Outcome>> Store::DeleteCollection(base::Context ctx, const Kind& version, const Request& r) {
  std::vector<std::string> warnings;
  Deletion deletion;
  CO_TRY_ASSIGN(deletion.options, ReadDeleteOptions(registry_.schema(), r, warnings));
  Request effective = r;
  effective.options = deletion.options;
  CO_TRY(CheckWriteOptions(effective));
  Request selection;
  selection.namespace_name = r.namespace_name;
  selection.options.label_selector = r.options.label_selector;
  selection.options.field_selector = r.options.field_selector;
  CO_TRY_ASSIGN(Outcome list, co_await List(ctx, version, selection));
  Outcome out{.form = Outcome::Form::kList, .code = 200, .list_revision = list.list_revision};
  for (const auto& item : list.items) {
    Request one = effective;
    one.namespace_name = item->namespace_name();
    one.name = item->name();
    Operation op = NewOperation(ctx, version, one, &warnings);
    ObjectPtr last;
    auto done = co_await DeleteOne(op, item->key(), deletion, &last);
    if (!done && !object::IsNotFound(done.error())) co_return base::Err(done.error());
    if (last) out.items.push_back(item);
  }
  out.warnings = std::move(warnings);
  co_return out;
}

base::Task<base::Status> Store::DeleteInternal(base::Context ctx, std::string ns, std::string name,
                                               std::optional<std::string> uid) {
  Request r;
  r.verb = machinery::request::Verb::kDelete;
  r.namespace_name = ns;
  r.name = name;
  std::vector<std::string> warnings;
  Operation op = NewOperation(ctx, *resource_.storage_kind, r, &warnings);
  Planner planner = [&](const ObjectPtr& current) -> base::Task<base::Result<Plan>> {
    if (!current) co_return base::Err(object::NotFound(group_resource(), name));
    Plan plan{.object = current->Tree(), .remove = true};
    if (uid && object::UidOf(plan.object) != *uid) co_return base::Err(object::NotFound(group_resource(), name));
    co_return plan;
  };
  auto done = co_await Guarded(op, KeyOf(ns, name), planner, nullptr);
  co_return done ? base::Ok() : done.error();
}

}  // namespace apiserver::registry
