// Pod security levels are not evaluated yet. A namespace that asks for one is refused rather than left unguarded.
#include "apiserver/admission/plugin.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

bool Writes(Operation op) { return op == Operation::kCreate || op == Operation::kUpdate; }

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

std::unique_ptr<Plugin> NewPodSecurity(const Environment&) { return std::make_unique<PodSecurity>(); }

}  // namespace apiserver::admission
