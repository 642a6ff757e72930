// A pod's priority is what its PriorityClass says, or the default class's, or 0; nobody sets it by hand.
#include <optional>

#include "apiserver/admission/plugin.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::value::Value;

constexpr std::string_view kLower = "PreemptLowerPriority";

class Priority final : public Plugin {
 public:
  explicit Priority(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op == Operation::kCreate || op == Operation::kUpdate; }

  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.subresource.empty()) co_return base::Ok();
    Value& spec = a.object->Ensure("spec");
    if (a.operation == Operation::kUpdate) {
      // Clients that do not know the fields leave them out.
      const Value& old = a.old_object->At("spec");
      for (std::string_view field : {"priority", "preemptionPolicy"})
        if (spec.At(field).is_null() && !old.At(field).is_null()) spec.Set(field, old.At(field));
      co_return base::Ok();
    }
    co_return Resolve(a, spec);
  }

  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (!a.IsResource("scheduling.k8s.io", "priorityclasses") || !a.subresource.empty()) co_return base::Ok();
    if (!a.object->At("globalDefault").bool_or()) co_return base::Ok();
    auto now = Default();
    if (now && object::NameOf(*now) != object::NameOf(*a.object))
      co_return Forbid(a, "PriorityClass " + std::string(object::NameOf(*now)) +
                              " is already marked as default. Only one default can exist");
    co_return base::Ok();
  }

 private:
  base::Status Resolve(const Attributes& a, Value& spec) {
    std::optional<Value> chosen;
    std::string name(spec.At("priorityClassName").string_or());
    if (name.empty()) {
      chosen = Default();
      if (chosen) spec.Set("priorityClassName", object::NameOf(*chosen));
    } else {
      auto* store = registry_.FindStore("scheduling.k8s.io", "priorityclasses");
      auto found = store ? store->Cached("", name) : nullptr;
      if (!found) return Forbid(a, "no PriorityClass with name " + name + " was found");
      chosen = found->Tree();
    }
    int64_t priority = chosen ? chosen->At("value").int_or() : 0;
    std::string policy(chosen ? chosen->At("preemptionPolicy").string_or(kLower) : kLower);
    if (policy.empty()) policy = kLower;
    if (spec.At("priority").is_int() && spec.At("priority").as_int() != priority)
      return Forbid(a, "the integer value of priority (" + std::to_string(spec.At("priority").as_int()) +
                           ") must not be provided in pod spec; priority admission controller computed " +
                           std::to_string(priority) + " from the given PriorityClass name");
    spec.Set("priority", Value(priority));
    auto given = spec.At("preemptionPolicy").string_or();
    if (!given.empty() && given != policy)
      return Forbid(a, "the string value of PreemptionPolicy (" + std::string(given) +
                           ") must not be provided in pod spec; priority admission controller computed " + policy +
                           " from the given PriorityClass name");
    spec.Set("preemptionPolicy", policy);
    return base::Ok();
  }

  // The default class with the lowest value: two can exist for a moment.
  std::optional<Value> Default() {
    std::optional<Value> out;
    auto* store = registry_.FindStore("scheduling.k8s.io", "priorityclasses");
    if (store)
      store->cache().ForEach([&](const auto& o) {
        Value tree = o->Tree();
        if (tree.At("globalDefault").bool_or() && (!out || tree.At("value").int_or() < out->At("value").int_or()))
          out = std::move(tree);
        return true;
      });
    return out;
  }

  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewPriority(const Environment& env) { return std::make_unique<Priority>(env); }

}  // namespace apiserver::admission
