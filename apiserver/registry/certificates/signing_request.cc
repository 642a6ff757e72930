// CertificateSigningRequests: who asks is what the server knows, not what the client writes; approval and signing are
// subresources of their own.
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;
using machinery::value::List;
using machinery::value::Map;

namespace {

// Keeps spec; conditions of types that `approval` decides come from one side, all others from the other.
void Split(Value& obj, const Value& old, bool approval) {
  obj.Set("spec", old.At("spec"));
  auto decided = [](const Value& condition) {
    auto type = condition.At("type").string_or();
    return type == "Approved" || type == "Denied";
  };
  List conditions;
  auto take = [&](const Value& from, bool deciding) {
    const Value& list = from.At("status", "conditions");
    if (!list.is_list()) return;
    for (const Value& c : list.list())
      if (decided(c) == deciding) conditions.push_back(c);
  };
  Value before = obj;
  take(approval ? before : old, true);
  take(approval ? old : before, false);
  Value& status = obj.Ensure("status");
  if (approval) {
    if (old.At("status", "certificate").is_null())
      status.Remove("certificate");
    else
      status.Set("certificate", old.At("status", "certificate"));
  }
  if (conditions.empty())
    status.Remove("conditions");
  else
    status.Set("conditions", Value(std::move(conditions)));
}

class SigningRequestStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& csr) const override {
    Strategy::PrepareForCreate(op, csr);
    csr.Remove("status");
    Value& spec = csr.Ensure("spec");
    for (std::string_view field : {"username", "uid", "groups", "extra"}) spec.Remove(field);
    const auto& who = op.request->identity;
    if (!who.name.empty()) spec.Set("username", who.name);
    if (!who.uid.empty()) spec.Set("uid", who.uid);
    if (!who.groups.empty()) spec.Set("groups", Value(List(who.groups.begin(), who.groups.end())));
    if (who.extra.empty()) return;
    Map extra;
    for (const auto& [key, values] : who.extra) extra.Set(key, Value(List(values.begin(), values.end())));
    spec.Set("extra", Value(std::move(extra)));
  }
  void PrepareForUpdate(const Operation& op, Value& csr, const Value& old) const override {
    csr.Set("spec", old.At("spec"));
    if (old.At("status").is_null())
      csr.Remove("status");
    else
      csr.Set("status", old.At("status"));
  }
  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "spec.signerName")};
  }
  std::map<std::string, Subresource> Subresources(Registry& registry) const override {
    auto out = Strategy::Subresources(registry);
    for (bool approval : {true, false}) {
      Subresource& s = out[approval ? "approval" : "status"];
      s.prepare = [approval](const Operation&, Value& obj, const Value& old) { Split(obj, old, approval); };
    }
    return out;
  }
};

}  // namespace

std::unique_ptr<Strategy> NewSigningRequestStrategy(const Kind& kind) {
  return std::make_unique<SigningRequestStrategy>(kind);
}

}  // namespace apiserver::registry
