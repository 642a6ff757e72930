// Images are pulled at every start, so that nobody runs a private image that another one has pulled.
#include "apiserver/admission/plugin.h"

namespace apiserver::admission {

namespace {

using machinery::value::Value;

bool Writes(Operation op) { return op == Operation::kCreate || op == Operation::kUpdate; }

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

}  // namespace

std::unique_ptr<Plugin> NewAlwaysPullImages(const Environment&) { return std::make_unique<AlwaysPullImages>(); }

}  // namespace apiserver::admission
