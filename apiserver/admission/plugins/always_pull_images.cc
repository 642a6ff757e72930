// Images are pulled at every start, so that nobody runs a private image that another one has pulled. Ephemeral
// containers come through a subresource, which the original leaves alone; here they are seen too.
#include <algorithm>
#include <set>

#include "apiserver/admission/plugin.h"
#include "machinery/object/api_error.h"
#include "machinery/ops/validation.h"

namespace apiserver::admission {

namespace {

namespace object = machinery::object;
namespace ops = machinery::ops;
using machinery::value::Value;

constexpr std::string_view kLists[] = {"initContainers", "containers", "ephemeralContainers"};

std::set<std::string> ImagesOf(const Value& pod) {
  std::set<std::string> out;
  for (std::string_view list : kLists)
    Each(pod.At("spec", list), [&](const Value& c) { out.emplace(c.At("image").string_or()); });
  return out;
}

class AlwaysPullImages final : public Plugin {
 public:
  bool Handles(Operation op) const override { return op == Operation::kCreate || op == Operation::kUpdate; }

  base::Task<base::Status> Admit(base::Context, Attributes& a) override {
    if (Ignores(a)) co_return base::Ok();
    Value& spec = a.object->Ensure("spec");
    for (std::string_view list : kLists) {
      if (!spec.At(list).is_list()) continue;
      for (Value& container : spec.Ensure(list).list())
        if (!IsOld(a, list, container)) container.Set("imagePullPolicy", "Always");
    }
    if (a.subresource.empty() && spec.At("volumes").is_list())
      for (Value& volume : spec.Ensure("volumes").list())
        if (volume.At("image").is_map()) volume.Ensure("image").Set("pullPolicy", "Always");
    co_return base::Ok();
  }

  // Another plug-in may have changed it since.
  base::Task<base::Status> Validate(base::Context, const Attributes& a) override {
    if (Ignores(a)) co_return base::Ok();
    object::FieldErrors errors;
    for (std::string_view list : kLists) {
      size_t i = 0;
      Each(a.object->At("spec", list), [&](const Value& container) {
        std::string path = ops::Child(ops::Index(ops::Child("spec", list), i++), "imagePullPolicy");
        if (!IsOld(a, list, container)) Check(container.At("imagePullPolicy"), path, errors);
      });
    }
    size_t i = 0;
    Each(a.object->At("spec", "volumes"), [&](const Value& volume) {
      std::string path = ops::Child(ops::Child(ops::Index("spec.volumes", i++), "image"), "pullPolicy");
      if (a.subresource.empty() && volume.At("image").is_map()) Check(volume.At("image", "pullPolicy"), path, errors);
    });
    for (const auto& e : errors) co_return Forbid(a, e.ToString());
    co_return base::Ok();
  }

 private:
  static void Check(const Value& policy, const std::string& path, object::FieldErrors& errors) {
    if (policy.string_or() != "Always") errors.push_back(object::NotSupported(path, policy, {"Always"}));
  }

  // Through their subresource ephemeral containers are only added; what else is there does not change.
  static bool IsOld(const Attributes& a, std::string_view list, const Value& container) {
    if (a.subresource.empty()) return false;
    if (list != "ephemeralContainers") return true;
    bool old = false;
    Each(a.old_object->At("spec", list), [&](const Value& c) { old |= c.At("name") == container.At("name"); });
    return old;
  }

  // Updates without a new image change nothing that runs.
  static bool Ignores(const Attributes& a) {
    if (!a.IsResource("", "pods") || !a.object) return true;
    if (!a.subresource.empty() && a.subresource != "ephemeralcontainers") return true;
    if (a.operation != Operation::kUpdate || !a.old_object) return !a.subresource.empty();
    std::set<std::string> had = ImagesOf(*a.old_object), has = ImagesOf(*a.object);
    bool nothing_new = std::includes(had.begin(), had.end(), has.begin(), has.end());
    return a.subresource.empty() && nothing_new;
  }
};

}  // namespace

std::unique_ptr<Plugin> NewAlwaysPullImages(const Environment&) { return std::make_unique<AlwaysPullImages>(); }

}  // namespace apiserver::admission
