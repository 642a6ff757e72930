// Nothing is created in a namespace that does not exist or is going away, and the system's namespaces stay.
#include "apiserver/admission/plugin.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

class NamespaceLifecycle final : public Plugin {
 public:
  explicit NamespaceLifecycle(const Environment& env) : registry_(*env.registry) {}
  bool Handles(Operation op) const override { return op != Operation::kConnect; }

  base::Task<base::Status> Admit(base::Context ctx, Attributes& a) override {
    if (a.operation == Operation::kDelete) {
      bool immortal = a.name == "default" || a.name == "kube-system" || a.name == "kube-public";
      if (a.IsResource("", "namespaces") && a.subresource.empty() && immortal)
        co_return Forbid(a, "this namespace may not be deleted");
      co_return base::Ok();
    }
    if (a.namespace_name.empty() || a.IsResource("", "namespaces")) co_return base::Ok();
    // Asking for permissions is no content.
    if (a.IsResource("authorization.k8s.io", "localsubjectaccessreviews")) co_return base::Ok();
    auto* store = registry_.FindStore("", "namespaces");
    if (!store) co_return base::Ok();
    auto found = store->Cached("", a.namespace_name);
    if (!found) {
      // The cache may lag behind the client that has just made the namespace.
      CO_TRY_ASSIGN(found, co_await store->Fresh(ctx, "", a.namespace_name));
    }
    if (!found) co_return object::NotFound({"", "namespaces"}, a.namespace_name);
    if (a.operation != Operation::kCreate) co_return base::Ok();
    if (found->Tree().At("status", "phase").string_or() != "Terminating") co_return base::Ok();
    co_return Terminating(a);
  }

 private:
  static base::Status Terminating(const Attributes& a) {
    const std::string& ns = a.namespace_name;
    auto forbidden = Forbid(a, "unable to create new content in namespace " + ns + " because it is being terminated");
    auto payload = std::make_shared<object::ApiError>(*object::AsApiError(forbidden));
    payload->causes.push_back(
        {"NamespaceTerminating", "namespace " + ns + " is being terminated", "metadata.namespace"});
    return base::Status(forbidden.code(), std::string(forbidden.message()), std::move(payload));
  }
  registry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Plugin> NewNamespaceLifecycle(const Environment& env) {
  return std::make_unique<NamespaceLifecycle>(env);
}

}  // namespace apiserver::admission
