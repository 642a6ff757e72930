// A claim that names no class gets the default one.
#include "apiserver/admission/default_class.h"
#include "apiserver/admission/plugin.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

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

}  // namespace

std::unique_ptr<Plugin> NewDefaultStorageClass(const Environment& env) {
  return std::make_unique<DefaultStorageClass>(env);
}

}  // namespace apiserver::admission
