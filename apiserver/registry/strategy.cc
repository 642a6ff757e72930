#include "apiserver/registry/strategy.h"

#include <algorithm>
#include <map>

#include "apiserver/registry/scale.h"
#include "apiserver/registry/validation/validation.h"
#include "apiserver/registry/validation/warnings.h"
#include "machinery/object/meta.h"
#include "machinery/ops/validation.h"

namespace apiserver::registry {

namespace object = machinery::object;
namespace ops = machinery::ops;
using machinery::schema::Kind;

namespace {

// Kinds whose delete answers with the object.
constexpr std::string_view kReturned[] = {
    "Pod", "PodTemplate", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota", "ServiceAccount", "Service",
};

// Puts the old value (or absence) of every top-level field but `kept` into `obj`, in schema order where it is new.
void TakeFromOld(Value& obj, const Value& old, std::initializer_list<std::string_view> kept) {
  auto keeps = [&](const std::string& key) { return std::find(kept.begin(), kept.end(), key) != kept.end(); };
  machinery::value::Map out;
  auto fixed = [](const std::string& key) { return key == "kind" || key == "apiVersion" || key == "metadata"; };
  for (auto& e : obj.map())
    if (fixed(e.key)) out.Append(e.key, std::move(e.value));
  for (const auto& e : old.map())
    if (!fixed(e.key) && !keeps(e.key)) out.Append(e.key, e.value);
  for (auto& e : obj.map())
    if (!fixed(e.key) && keeps(e.key)) out.Append(e.key, std::move(e.value));
  obj = Value(std::move(out));
}

Subresource StatusView(const Kind& kind) {
  Subresource s;
  s.validate = [&kind](const Operation&, const Value& obj, const Value& old) {
    return validation::ValidateStatusUpdate(kind, obj, old);
  };
  s.prepare = [](const Operation&, Value& obj, const Value& old) {
    TakeFromOld(obj, old, {"status"});
    object::SetMeta(obj, "ownerReferences", object::MetaOf(old).At("ownerReferences"));
    object::SetMeta(obj, "finalizers", object::MetaOf(old).At("finalizers"));
  };
  return s;
}

}  // namespace

void Strategy::PrepareForCreate(const Operation&, Value& obj) const {
  if (kind_.reset_status_on_create) obj.Remove("status");
  if (kind_.has_generation || kind_.generation_fixed) object::SetGeneration(obj, 1);
}

void Strategy::PrepareForUpdate(const Operation&, Value& obj, const Value& old) const {
  if (kind_.keep_status_on_update) {
    if (old.At("status").is_null())
      obj.Remove("status");
    else
      obj.Set("status", old.At("status"));
  }
  if (!kind_.has_generation && !kind_.generation_on_update) return;
  // What a user wants is everything beside metadata and status; a change of it is a new generation.
  auto wanted = [](const Value& v, const std::string& key) -> const Value& {
    static const Value none;
    const Value* found = v.map().Find(key);
    return found ? *found : none;
  };
  auto differs = [&](const Value& a, const Value& b) {
    for (const auto& e : a.map()) {
      if (e.key == "kind" || e.key == "apiVersion" || e.key == "metadata" || e.key == "status") continue;
      if (!(e.value == wanted(b, e.key))) return true;
    }
    return false;
  };
  if (differs(obj, old) || differs(old, obj)) object::SetGeneration(obj, object::GenerationOf(old) + 1);
}

FieldErrors Strategy::Validate(const Operation&, const Value& obj) const {
  const auto* rules = validation::FindRules(kind_.group, kind_.kind);
  if (rules && rules->create) return rules->create(obj);
  auto errors = ops::ValidateObjectMeta(obj, {.namespaced = kind_.namespaced, .name = name_rule()});
  object::Append(errors, ops::ValidateBySchema(*kind_.type, obj));
  return errors;
}
FieldErrors Strategy::ValidateUpdate(const Operation&, const Value& obj, const Value& old) const {
  return validation::ValidateUpdate(kind_, obj, old);
}
std::vector<std::string> Strategy::WarningsOnCreate(const Operation&, const Value& obj) const {
  return validation::WarningsOf(kind_, obj, nullptr);
}
std::vector<std::string> Strategy::WarningsOnUpdate(const Operation&, const Value& obj, const Value& old) const {
  return validation::WarningsOf(kind_, obj, &old);
}

base::Task<base::Result<Value>> Strategy::Answer(Operation, Value) const {
  co_return base::Err(object::MethodNotAllowed());
}
base::Task<base::Result<std::vector<Value>>> Strategy::Items(Operation) const { co_return std::vector<Value>(); }
std::optional<int64_t> Strategy::GracePeriod(const Value&, std::optional<int64_t>) const { return std::nullopt; }
base::Status Strategy::ValidateDelete(const Operation&, const Value&) const { return base::Ok(); }

bool Strategy::ReturnsDeletedObject() const {
  return kind_.group.empty() &&
         std::find(std::begin(kReturned), std::end(kReturned), kind_.kind) != std::end(kReturned);
}

base::Task<base::Result<std::unique_ptr<Reservation>>> Strategy::BeginCreate(Operation, Value&) const {
  co_return std::unique_ptr<Reservation>();
}
base::Task<base::Result<std::unique_ptr<Reservation>>> Strategy::BeginUpdate(Operation, Value&, const Value&) const {
  co_return std::unique_ptr<Reservation>();
}
base::Task<void> Strategy::AfterDelete(Operation, const Value&) const { co_return; }

std::map<std::string, Subresource> Strategy::Subresources(Registry& registry) const {
  std::map<std::string, Subresource> out;
  for (const auto& s : kind_.subresources) {
    if (s.name == "status") out["status"] = StatusView(kind_);
    if (s.name == "scale") out["scale"] = ScaleView(kind_, registry);
  }
  return out;
}

storage::SelectableField FieldOf(const machinery::schema::Type& type, std::string_view json_path) {
  storage::SelectableField f;
  f.name = json_path;
  const machinery::schema::Type* at = &type;
  while (!json_path.empty()) {
    auto dot = json_path.find('.');
    std::vector<const machinery::schema::Field*> via;
    const auto* field = at->Find(json_path.substr(0, dot), &via);
    // unreachable from outside: paths are compiled in
    CHECK_MSG(field && field->number > 0, f.name);
    for (const auto* v : via)
      if (v != field) f.path.push_back(v->number);
    f.path.push_back(field->number);
    at = field->type;
    json_path = dot == json_path.npos ? "" : json_path.substr(dot + 1);
  }
  using Shape = machinery::schema::Shape;
  if (at->shape == Shape::kBool) f.form = storage::SelectableField::Form::kBool;
  if (at->shape == Shape::kInt32 || at->shape == Shape::kInt64) f.form = storage::SelectableField::Form::kInt;
  return f;
}

// --- strategies.def ---

#define STRATEGY(group, kind, factory) std::unique_ptr<Strategy> factory(const Kind& k);
#include "apiserver/registry/strategies.def"
#undef STRATEGY

StrategyFactory FindStrategy(std::string_view group, std::string_view kind) {
  struct Row {
    std::string_view group, kind;
    StrategyFactory make;
  };
  static constexpr Row kRows[] = {
#define STRATEGY(group, kind, factory) {group, kind, factory},
#include "apiserver/registry/strategies.def"
#undef STRATEGY
  };
  for (const auto& row : kRows)
    if (row.group == group && row.kind == kind) return row.make;
  return nullptr;
}

}  // namespace apiserver::registry
