// A pod's overhead is its runtime class's; a class that is not there is an error.
#include "apiserver/admission/plugin.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/go_text.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::value::Value;

class RuntimeClass final : public Plugin {
 public:
  explicit RuntimeClass(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op == Operation::kCreate; }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.subresource.empty()) co_return base::Ok();
    Value& spec = a.object->Ensure("spec");
    std::string name(spec.At("runtimeClassName").string_or());
    if (name.empty()) co_return base::Ok();
    auto* store = registry_.FindStore("node.k8s.io", "runtimeclasses");
    auto found = store ? store->Cached("", name) : nullptr;
    if (!found) co_return Forbid(a, "pod rejected: RuntimeClass " + object::GoQuote(name) + " not found");
    Value tree = found->Tree();
    const Value& overhead = tree.At("overhead", "podFixed");
    if (!overhead.is_map()) co_return base::Ok();
    if (spec.At("overhead").is_map() && !(spec.At("overhead") == overhead))
      co_return Forbid(a, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    spec.Set("overhead", overhead);
    co_return base::Ok();
  }

 private:
  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewRuntimeClass(const Environment& env) { return std::make_unique<RuntimeClass>(env); }

}  // namespace apiserver::admission
