// Default classes for claims and ingresses, and the finalizers that keep claims and volumes while they are in use.
#include <functional>

#include "apiserver/admission/plugin.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
using machinery::value::Value;

// The name of the newest class that the annotation marks as default; among equals the first by name. "" = none.
std::string DefaultClass(registry::Registry& registry, std::string_view group, std::string_view resource,
                         std::initializer_list<std::string_view> annotations) {
  std::string name, made;
  auto* store = registry.FindStore(group, resource);
  if (!store) return name;
  store->cache().ForEach([&](const auto& o) {
    Value tree = o->Tree();
    bool marked = false;
    for (auto annotation : annotations) marked |= object::AnnotationOf(tree, annotation) == "true";
    std::string at(object::CreationTimestampOf(tree));
    if (marked && (name.empty() || at > made)) {
      name = o->name();
      made = at;
    }
    return true;
  });
  return name;
}

class DefaultStorageClass final : public Plugin {
 public:
  explicit DefaultStorageClass(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op == Operation::kCreate; }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("", "persistentvolumeclaims") || !a.subresource.empty()) co_return base::Ok();
    if (!a.object->At("spec", "storageClassName").is_null() ||
        object::AnnotationsOf(*a.object).At("volume.beta.kubernetes.io/storage-class").is_string())
      co_return base::Ok();
    auto name = DefaultClass(
        registry_, "storage.k8s.io", "storageclasses",
        {"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"});
    if (!name.empty()) a.object->Ensure("spec").Set("storageClassName", name);
    co_return base::Ok();
  }

 private:
  registry::Registry& registry_;
};

class StorageObjectInUseProtection final : public Plugin {
 public:
  bool Handles(Operation op) const override { return op == Operation::kCreate; }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.subresource.empty()) co_return base::Ok();
    if (a.IsResource("", "persistentvolumeclaims") && !object::HasFinalizer(*a.object, "kubernetes.io/pvc-protection"))
      object::AddFinalizer(*a.object, "kubernetes.io/pvc-protection");
    if (a.IsResource("", "persistentvolumes") && !object::HasFinalizer(*a.object, "kubernetes.io/pv-protection"))
      object::AddFinalizer(*a.object, "kubernetes.io/pv-protection");
    co_return base::Ok();
  }
};

class DefaultIngressClass final : public Plugin {
 public:
  explicit DefaultIngressClass(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op == Operation::kCreate; }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("networking.k8s.io", "ingresses") || !a.subresource.empty()) co_return base::Ok();
    if (!a.object->At("spec", "ingressClassName").is_null() ||
        object::AnnotationsOf(*a.object).At("kubernetes.io/ingress.class").is_string())
      co_return base::Ok();
    auto name = DefaultClass(registry_, "networking.k8s.io", "ingressclasses",
                             {"ingressclass.kubernetes.io/is-default-class"});
    if (!name.empty()) a.object->Ensure("spec").Set("ingressClassName", name);
    co_return base::Ok();
  }

 private:
  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewDefaultStorageClass(const Environment& env) {
  return std::make_unique<DefaultStorageClass>(env);
}
std::unique_ptr<Plugin> NewStorageObjectInUseProtection(const Environment&) {
  return std::make_unique<StorageObjectInUseProtection>();
}
std::unique_ptr<Plugin> NewDefaultIngressClass(const Environment& env) {
  return std::make_unique<DefaultIngressClass>(env);
}

}  // namespace apiserver::admission
