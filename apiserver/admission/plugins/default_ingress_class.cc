// An ingress that names no class gets the default one.
#include "apiserver/admission/default_class.h"
#include "apiserver/admission/plugin.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

class DefaultIngressClass final : public Plugin {
 public:
  explicit DefaultIngressClass(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op == Operation::kCreate; }
  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (!a.IsResource("networking.k8s.io", "ingresses") || !a.subresource.empty()) co_return base::Ok();
    if (!a.object->At("spec", "ingressClassName").is_null() ||
        object::AnnotationsOf(*a.object).At("kubernetes.io/ingress.class").is_string())
      co_return base::Ok();
    auto name =
        DefaultClass(registry_, "networking.k8s.io", "ingressclasses", {"ingressclass.kubernetes.io/is-default-class"});
    if (!name.empty()) a.object->Ensure("spec").Set("ingressClassName", name);
    co_return base::Ok();
  }

 private:
  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewDefaultIngressClass(const Environment& env) {
  return std::make_unique<DefaultIngressClass>(env);
}

}  // namespace apiserver::admission
