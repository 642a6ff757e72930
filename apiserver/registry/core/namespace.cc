// Namespaces: born with the finalizer `kubernetes` in spec, they stay until the namespace controller has emptied them
// and cleared it through the finalize subresource.
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;

namespace {

bool HasFinalizers(const Value& ns) {
  const Value& list = ns.At("spec", "finalizers");
  return list.is_list() && !list.list().empty();
}

void Keep(Value& ns, const Value& old, std::string_view field) {
  if (old.At(field).is_null())
    ns.Remove(field);
  else
    ns.Set(field, old.At(field));
}

class NamespaceStrategy final : public Strategy {
 public:
  using Strategy::Strategy;

  void PrepareForCreate(const Operation&, Value& ns) const override {
    ns.Set("status", Value(Map{{"phase", Value("Active")}}));
    auto finalizers = object::StringsOf(ns.At("spec", "finalizers"));
    for (const auto& f : finalizers)
      if (f == "kubernetes") return;
    Value& list = ns.Ensure("spec").Ensure("finalizers");
    if (!list.is_list()) list = Value(List{});
    list.list().push_back(Value("kubernetes"));
  }
  void PrepareForUpdate(const Operation&, Value& ns, const Value& old) const override {
    Keep(ns, old, "status");
    Value& spec = ns.Ensure("spec");
    if (old.At("spec", "finalizers").is_null())
      spec.Remove("finalizers");
    else
      spec.Set("finalizers", old.At("spec", "finalizers"));
  }
  bool HoldsDeletion(const Value& ns) const override { return HasFinalizers(ns); }
  void MarkDeleting(const Operation&, Value& ns) const override {
    object::SetMeta(ns, "deletionGracePeriodSeconds", nullptr);
    ns.Ensure("status").Set("phase", "Terminating");
  }
  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "status.phase")};
  }

  std::map<std::string, Subresource> Subresources(Registry& registry) const override {
    auto out = Strategy::Subresources(registry);
    Subresource finalize;
    finalize.prepare = [](const Operation&, Value& ns, const Value& old) { Keep(ns, old, "status"); };
    out["finalize"] = std::move(finalize);
    return out;
  }
};

}  // namespace

std::unique_ptr<Strategy> NewNamespaceStrategy(const Kind& kind) { return std::make_unique<NamespaceStrategy>(kind); }

}  // namespace apiserver::registry
