// Claims and volumes get the finalizers that keep them while they are in use.
#include "apiserver/admission/plugin.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

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

}  // namespace

std::unique_ptr<Plugin> NewStorageObjectInUseProtection(const Environment&) {
  return std::make_unique<StorageObjectInUseProtection>();
}

}  // namespace apiserver::admission
