// Plug-ins of a few lines that complete pods and nodes.
#include "apiserver/admission/plugin.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::value::List;
using machinery::value::Map;
using machinery::value::Value;

bool Writes(Operation op) { return op == Operation::kCreate || op == Operation::kUpdate; }

// Pods stay five minutes on a node that became unready or unreachable.
class DefaultTolerationSeconds final : public Plugin {
 public:
  bool Handles(Operation op) const override { return Writes(op); }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.subresource.empty()) co_return base::Ok();
    Value& spec = a.object->Ensure("spec");
    for (std::string_view taint : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
      if (Tolerates(spec.At("tolerations"), taint)) continue;
      Value& list = spec.Ensure("tolerations");
      if (!list.is_list()) list = Value(List{});
      list.list().push_back(Value(Map{{"key", Value(taint)},
                                      {"operator", Value("Exists")},
                                      {"effect", Value("NoExecute")},
                                      {"tolerationSeconds", Value(kSeconds)}}));
    }
    co_return base::Ok();
  }

 private:
  static constexpr int64_t kSeconds = 300;
  static bool Tolerates(const Value& list, std::string_view taint) {
    bool found = false;
    Each(list, [&](const Value& t) {
      auto key = t.At("key").string_or(), effect = t.At("effect").string_or();
      found |= (key == taint || key.empty()) && (effect == "NoExecute" || effect.empty());
    });
    return found;
  }
};

// A new node takes nothing until its kubelet has said that it is ready.
class TaintNodesByCondition final : public Plugin {
 public:
  bool Handles(Operation op) const override { return op == Operation::kCreate; }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("", "nodes") || !a.subresource.empty()) co_return base::Ok();
    Value& spec = a.object->Ensure("spec");
    bool found = false;
    Each(spec.At("taints"), [&](const Value& t) {
      found |= t.At("key").string_or() == kNotReady && t.At("effect").string_or() == "NoSchedule";
    });
    if (found) co_return base::Ok();
    Value& taints = spec.Ensure("taints");
    if (!taints.is_list()) taints = Value(List{});
    taints.list().push_back(Value(Map{{"key", Value(kNotReady)}, {"effect", Value("NoSchedule")}}));
    co_return base::Ok();
  }

 private:
  static constexpr std::string_view kNotReady = "node.kubernetes.io/not-ready";
};

class AlwaysPullImages final : public Plugin {
 public:
  bool Handles(Operation op) const override { return Writes(op); }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("", "pods") || !a.subresource.empty()) co_return base::Ok();
    Value& spec = a.object->Ensure("spec");
    for (std::string_view kind : {"initContainers", "containers", "ephemeralContainers"})
      if (spec.At(kind).is_list())
        for (Value& container : spec.Ensure(kind).list()) container.Set("imagePullPolicy", "Always");
    co_return base::Ok();
  }
};

// A pod's overhead is its runtime class's; a class that is not there is an error.
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

// Pod security levels are not evaluated yet. A namespace that asks for one is refused rather than left unguarded.
class PodSecurity final : public Plugin {
 public:
  bool Handles(Operation op) const override { return Writes(op); }
  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (!a.IsResource("", "namespaces") || !a.subresource.empty()) co_return base::Ok();
    std::string level(object::LabelOf(*a.object, "pod-security.kubernetes.io/enforce"));
    if (level.empty() || level == "privileged") co_return base::Ok();
    if (a.old_object && object::LabelOf(*a.old_object, "pod-security.kubernetes.io/enforce") == level)
      co_return base::Ok();
    co_return Forbid(a, "pod security level " + object::GoQuote(level) +
                            " cannot be enforced: admission plug-in PodSecurity is not supported yet by keelson");
  }
};

}  // namespace

std::unique_ptr<Plugin> NewDefaultTolerationSeconds(const Environment&) {
  return std::make_unique<DefaultTolerationSeconds>();
}
std::unique_ptr<Plugin> NewTaintNodesByCondition(const Environment&) {
  return std::make_unique<TaintNodesByCondition>();
}
std::unique_ptr<Plugin> NewAlwaysPullImages(const Environment&) { return std::make_unique<AlwaysPullImages>(); }
std::unique_ptr<Plugin> NewRuntimeClass(const Environment& env) { return std::make_unique<RuntimeClass>(env); }
std::unique_ptr<Plugin> NewPodSecurity(const Environment&) { return std::make_unique<PodSecurity>(); }

}  // namespace apiserver::admission
