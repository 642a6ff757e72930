// A pod of a runtime class carries the class's overhead and runs where the class runs; a class that is not there is an
// error, and so is an overhead that no class has set.
#include "apiserver/admission/plugin.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/go_text.h"
#include "machinery/ops/validation.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::value::List;
using machinery::value::Value;

// --- tolerations ---

bool Same(const Value& a, const Value& b) { return machinery::ops::SemanticEqual(a, b); }

// Whether `wide` tolerates all that `t` does.
bool Covers(const Value& wide, const Value& t) {
  if (Same(wide, t)) return true;
  auto text = [](const Value& v, std::string_view field) { return v.At(field).string_or(); };
  std::string_view op = text(wide, "operator");
  if (text(t, "key") != text(wide, "key") && !(text(wide, "key").empty() && op == "Exists")) return false;
  if (text(t, "effect") != text(wide, "effect") && !text(wide, "effect").empty()) return false;
  if (text(wide, "effect") == "NoExecute" && !wide.At("tolerationSeconds").is_null()) {
    const Value& seconds = t.At("tolerationSeconds");
    if (seconds.is_null() || seconds.int_or() > wide.At("tolerationSeconds").int_or()) return false;
  }
  if (op == "Exists") return true;
  return (op == "Equal" || op.empty()) && text(t, "operator") == "Equal" && text(t, "value") == text(wide, "value");
}

// Both lists without what another entry covers; of equal ones the first stays.
List Merged(const Value& first, const Value& second) {
  List all, out;
  Each(first, [&](const Value& t) { all.push_back(t); });
  Each(second, [&](const Value& t) { all.push_back(t); });
  for (size_t i = 0; i < all.size(); ++i) {
    bool redundant = false;
    for (const Value& kept : out) redundant = redundant || Covers(kept, all[i]);
    for (size_t j = i + 1; j < all.size(); ++j)
      redundant = redundant || (!Same(all[i], all[j]) && Covers(all[j], all[i]));
    if (!redundant) out.push_back(all[i]);
  }
  return out;
}

class RuntimeClass final : public Plugin {
 public:
  explicit RuntimeClass(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op == Operation::kCreate; }

  base::Task<base::Status> Admit(base::Context ctx, Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.subresource.empty()) co_return base::Ok();
    CO_TRY_ASSIGN(Value cls, co_await ClassOf(ctx, a));
    CO_TRY(SetOverhead(a, cls));
    co_return SetScheduling(a, cls);
  }

  base::Task<base::Status> Validate(base::Context ctx, const Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.subresource.empty()) co_return base::Ok();
    CO_TRY_ASSIGN(Value cls, co_await ClassOf(ctx, a));
    const Value& overhead = a.object->At("spec", "overhead");
    if (cls.At("overhead").is_map()) {
      if (!Same(cls.At("overhead", "podFixed"), overhead)) co_return Mismatch(a);
    } else if (!overhead.is_null()) {
      co_return Forbid(a, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    }
    co_return base::Ok();
  }

 private:
  static base::Status Mismatch(const Attributes& a) {
    return Forbid(a, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
  }

  // Null for a pod that names none.
  base::Task<base::Result<Value>> ClassOf(base::Context ctx, const Attributes& a) {
    const Value& name = a.object->At("spec", "runtimeClassName");
    if (name.is_null()) co_return Value();
    std::string text(name.string_or());
    auto* store = registry_.FindStore("node.k8s.io", "runtimeclasses");
    storage::ObjectPtr found = store ? store->Cached("", text) : nullptr;
    // The cache may lag behind another server's write.
    if (store && !found) {
      CO_TRY_ASSIGN(found, co_await store->Fresh(ctx, "", text));
    }
    if (!found) co_return base::Err(Forbid(a, "pod rejected: RuntimeClass " + object::GoQuote(text) + " not found"));
    co_return found->Tree();
  }

  static base::Status SetOverhead(Attributes& a, const Value& cls) {
    if (!cls.At("overhead").is_map()) return base::Ok();
    const Value& fixed = cls.At("overhead", "podFixed");
    Value& spec = a.object->Ensure("spec");
    const Value& own = spec.At("overhead");
    if (own.is_map() && !own.map().empty() && !Same(own, fixed)) return Mismatch(a);
    if (fixed.is_map()) spec.Set("overhead", fixed);
    return base::Ok();
  }

  static base::Status SetScheduling(Attributes& a, const Value& cls) {
    const Value& scheduling = cls.At("scheduling");
    if (!scheduling.is_map()) return base::Ok();
    Value& spec = a.object->Ensure("spec");
    if (const Value& selector = scheduling.At("nodeSelector"); selector.is_map()) {
      for (const auto& e : selector.map()) {
        const Value& own = spec.At("nodeSelector", e.key);
        if (!own.is_null() && !(own == e.value))
          return Forbid(a, "conflict: runtimeClass.scheduling.nodeSelector[" + e.key +
                               "] = " + std::string(e.value.string_or()) + "; pod.spec.nodeSelector[" + e.key +
                               "] = " + std::string(own.string_or()));
        spec.Ensure("nodeSelector").Set(e.key, e.value);
      }
    }
    if (auto merged = Merged(spec.At("tolerations"), scheduling.At("tolerations")); !merged.empty())
      spec.Set("tolerations", Value(std::move(merged)));
    return base::Ok();
  }

  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewRuntimeClass(const Environment& env) { return std::make_unique<RuntimeClass>(env); }

}  // namespace apiserver::admission
