#include "machinery/ops/defaulting.h"

#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/status.h"
#include "base/strings.h"
#include "machinery/object/quantity.h"
#include "machinery/ops/defaults/table.h"

namespace machinery::ops {
namespace {

using schema::Field;
using schema::Shape;
using schema::Type;
using value::Value;

// "Zero" of a field that cannot tell zero from absent.
bool IsZero(const Value& v) {
  if (v.is_null()) return true;
  if (v.is_string()) return v.as_string().empty();
  if (v.is_int()) return v.as_int() == 0;
  if (v.is_bool()) return !v.as_bool();
  if (v.is_list()) return v.list().empty();
  return v.is_map() && v.map().empty();
}

bool IsMissing(const Field& f, const Value& v) { return f.pointer ? v.is_null() : IsZero(v); }

// The struct below lists and maps of a type.
const Type* Innermost(const Type* t) {
  while (t && (t->shape == Shape::kList || t->shape == Shape::kMap)) t = t->element;
  return t && t->shape == Shape::kStruct ? t : nullptr;
}

// Amounts of core/v1 (limits, requests, capacity, quotas): maps of quantities. Those of other groups stay as they are.
bool IsResourceList(const Type& owner, const Field& f) {
  return owner.name.starts_with("k8s.io.api.core.v1.") && f.type->shape == Shape::kMap && f.type->element &&
         f.type->element->shape == Shape::kQuantity;
}

// Anything finer than a thousandth is rounded up to one, as the original has done since its first version.
void RoundAmounts(Value& amounts) {
  if (!amounts.is_map()) return;
  constexpr int kMilli = -3;
  // Looked at without touching: a map that somebody may change loses its index.
  std::vector<std::pair<std::string, std::string>> rounded;
  for (const auto& e : std::as_const(amounts).map()) {
    if (!e.value.is_string() || object::Quantity::IsPlain(e.value.as_string())) continue;
    auto q = object::Quantity::Parse(e.value.as_string());
    if (q && q->IsFinerThan(kMilli)) rounded.emplace_back(e.key, q->RoundedUp(kMilli).ToString());
  }
  for (auto& [name, amount] : rounded) amounts.Set(name, std::move(amount));
}

}  // namespace

struct Defaulter::Impl {
  // What to do in a value of one message.
  struct Plan {
    std::vector<const Field*> own;                            // fields with a default
    std::vector<std::pair<const Field*, const Plan*>> below;  // fields with defaults somewhere inside
    std::vector<void (*)(Value&, const defaults::Context&)> rules;
    std::vector<const Field*> amounts;  // resource lists
    bool active = false;
  };

  std::unordered_map<const Type*, std::unique_ptr<Plan>> plans;
  std::unordered_map<std::string_view, std::vector<void (*)(Value&, const defaults::Context&)>> rules;

  explicit Impl(const schema::Schema& schema) {
    for (const defaults::TypeDefault& d : defaults::All()) rules[d.type].push_back(d.apply);
    for (const schema::Kind& kind : schema.kinds()) Visit(kind.type);
    Prune();
  }

  Plan* Visit(const Type* type) {
    auto [it, fresh] = plans.try_emplace(type, nullptr);
    if (!fresh) return it->second.get();
    it->second = std::make_unique<Plan>();
    Plan* plan = it->second.get();
    if (auto rule = rules.find(type->name); rule != rules.end()) plan->rules = rule->second;
    for (const Field& f : type->fields) {
      if (f.default_value) plan->own.push_back(&f);
      if (IsResourceList(*type, f)) plan->amounts.push_back(&f);
      if (const Type* inner = Innermost(f.type)) plan->below.emplace_back(&f, Visit(inner));
    }
    return plan;
  }

  // Drops the branches that lead nowhere; recursive types make this a fixed point instead of one walk.
  void Prune() {
    for (bool changed = true; changed;) {
      changed = false;
      for (auto& [type, plan] : plans) {
        bool active = !plan->own.empty() || !plan->rules.empty() || !plan->amounts.empty();
        for (auto& [field, inner] : plan->below) active |= inner->active;
        changed |= active != plan->active;
        plan->active = active;
      }
    }
    for (auto& [type, plan] : plans) std::erase_if(plan->below, [](auto& b) { return !b.second->active; });
  }

  void Run(const Plan& plan, Value& v, const defaults::Context& context) const {
    if (!v.is_map()) return;
    for (auto rule : plan.rules) rule(v, context);
    for (const Field* f : plan.own)
      if (IsMissing(*f, v.At(f->name))) v.Set(f->name, *f->default_value);
    for (const Field* f : plan.amounts)
      if (v.At(f->name).is_map()) RoundAmounts(v.Ensure(f->name));
    for (auto& [field, inner] : plan.below) Descend(*field, *inner, v, context);
  }

  void Descend(const Field& f, const Plan& inner, Value& parent, const defaults::Context& context) const {
    if (f.inlined) return Run(inner, parent, context);
    if (parent.At(f.name).is_null()) {
      if (f.pointer || f.type->shape != Shape::kStruct) return;
      // A plain struct is always there in the original; here it comes into being when a default lands in it.
      Value made{value::Map{}};
      Run(inner, made, context);
      if (!made.map().empty()) parent.Set(f.name, std::move(made));
      return;
    }
    RunInside(*f.type, inner, parent.Ensure(f.name), context);
  }

  void RunInside(const Type& type, const Plan& inner, Value& v, const defaults::Context& context) const {
    if (type.shape == Shape::kStruct) return Run(inner, v, context);
    if (type.shape == Shape::kList && v.is_list()) {
      for (Value& item : v.list()) RunInside(*type.element, inner, item, context);
    } else if (type.shape == Shape::kMap && v.is_map()) {
      for (auto& e : v.map().entries()) RunInside(*type.element, inner, e.value, context);
    }
  }

  const Plan* Find(const Type* type) const {
    auto it = plans.find(type);
    return it == plans.end() ? nullptr : it->second.get();
  }
};

Defaulter::Defaulter(const schema::Schema& schema) : impl_(std::make_unique<Impl>(schema)) {}
Defaulter::~Defaulter() = default;

namespace {

// "spec.enableServiceLinks" below a root; parents on the way are plain structs.
void SetRootDefault(const Type& root, Value& object, const schema::RootDefault& d) {
  std::vector<std::string> names = base::Split(d.path, '.');
  const Type* type = &root;
  const Value* at = &object;
  const Field* field = nullptr;
  for (const std::string& name : names) {
    field = type ? type->Find(name) : nullptr;
    // unreachable from outside: the defaults are compiled in
    CHECK_MSG(field, d.path);
    type = field->type;
    at = &at->At(name);
  }
  if (!IsMissing(*field, *at)) return;
  Value* parent = &object;
  for (size_t i = 0; i + 1 < names.size(); ++i) parent = &parent->Ensure(names[i]);
  parent->Set(names.back(), d.value);
}

}  // namespace

void Defaulter::Apply(const schema::Kind& kind, Value& object, const std::string& now) const {
  const Impl::Plan* plan = impl_->Find(kind.type);
  if (!object.is_map()) return;
  defaults::Context context{now};
  // Root rules first: they still see what the writer left out. Running them again with the walk changes nothing.
  if (plan)
    for (auto rule : plan->rules) rule(object, context);
  for (const schema::RootDefault& d : kind.defaults) SetRootDefault(*kind.type, object, d);
  if (plan) impl_->Run(*plan, object, context);
}

void Defaulter::Apply(const Type& type, Value& v, const std::string& now) const {
  if (const Impl::Plan* plan = impl_->Find(&type)) impl_->Run(*plan, v, defaults::Context{now});
}

}  // namespace machinery::ops
