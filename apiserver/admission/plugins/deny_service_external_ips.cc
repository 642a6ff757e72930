// External IPs of Services draw traffic of any address to whoever writes them; who wants to forbid them switches this
// on. A Service may keep those it has.
#include <set>

#include "apiserver/admission/plugin.h"
#include "machinery/object/meta.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;

class DenyServiceExternalIps final : public Plugin {
 public:
  bool Handles(Operation op) const override { return op == Operation::kCreate || op == Operation::kUpdate; }
  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (!a.IsResource("", "services") || !a.subresource.empty() || !a.object) co_return base::Ok();
    std::set<std::string> had;
    if (a.old_object)
      for (auto& ip : object::StringsOf(a.old_object->At("spec", "externalIPs"))) had.insert(std::move(ip));
    for (const auto& ip : object::StringsOf(a.object->At("spec", "externalIPs")))
      if (!had.contains(ip)) co_return Forbid(a, "Use of external IPs is denied by admission control");
    co_return base::Ok();
  }
};

}  // namespace

std::unique_ptr<Plugin> NewDenyServiceExternalIps(const Environment&) {
  return std::make_unique<DenyServiceExternalIps>();
}

}  // namespace apiserver::admission
