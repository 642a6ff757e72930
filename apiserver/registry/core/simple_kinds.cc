// Kinds of the core group whose own behaviour is a field or two.
#include "apiserver/registry/core/claim_protection.h"
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"
#include "machinery/object/time.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;
using machinery::value::Map;

namespace {

std::string NowText(const Operation& op) {
  auto now = std::chrono::floor<std::chrono::seconds>(op.registry->executor().WallNow());
  return object::FormatTime(now.time_since_epoch().count());
}

// stringData is for writing only: plain text that goes into data.
class SecretStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& secret) const override {
    Merge(secret);
    Strategy::PrepareForCreate(op, secret);
  }
  void PrepareForUpdate(const Operation& op, Value& secret, const Value& old) const override {
    Merge(secret);
    // A client that leaves the type out means the one that is there.
    if (secret.At("type").string_or().empty()) secret.Set("type", old.At("type"));
    Strategy::PrepareForUpdate(op, secret, old);
  }
  std::vector<storage::SelectableField> SelectableFields() const override { return {FieldOf(*kind_.type, "type")}; }

 private:
  static void Merge(Value& secret) {
    Value text = secret.At("stringData");
    secret.Remove("stringData");
    if (!text.is_map()) return;
    for (const auto& e : text.map()) secret.Ensure("data").Set(e.key, base::Base64Encode(e.value.string_or()));
  }
};

class NodeStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& node) const override {
    Align(node);
    Strategy::PrepareForCreate(op, node);
  }
  void PrepareForUpdate(const Operation& op, Value& node, const Value& old) const override {
    Align(node);
    Strategy::PrepareForUpdate(op, node, old);
  }
  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "spec.unschedulable")};
  }

 private:
  // podCIDR is the first of podCIDRs; where they disagree the older field wins, as clients that know only it expect.
  static void Align(Value& node) {
    std::string one(node.At("spec", "podCIDR").string_or());
    auto all = object::StringsOf(node.At("spec", "podCIDRs"));
    if (one.empty() && !all.empty()) node.Ensure("spec").Set("podCIDR", all[0]);
    if (!one.empty() && (all.empty() || all[0] != one))
      node.Ensure("spec").Set("podCIDRs", Value(machinery::value::List{Value(one)}));
  }
};

class ReplicationControllerStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "status.replicas")};
  }
  std::string DefaultPropagation(const Operation&, const Value&) const override { return "Orphan"; }
};

class VolumeStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& volume) const override {
    Strategy::PrepareForCreate(op, volume);
    volume.Set("status", Value(Map{{"phase", Value("Pending")}, {"lastPhaseTransitionTime", Value(NowText(op))}}));
  }
  std::map<std::string, Subresource> Subresources(Registry& registry) const override {
    auto out = Strategy::Subresources(registry);
    auto before = out["status"].prepare;
    out["status"].prepare = [before](const Operation& op, Value& volume, const Value& old) {
      if (before) before(op, volume, old);
      if (!(volume.At("status", "phase") == old.At("status", "phase")))
        volume.Ensure("status").Set("lastPhaseTransitionTime", NowText(op));
    };
    return out;
  }
  void MarkDeleting(const Operation&, Value& volume) const override {
    if (!VolumeInUse(volume)) object::RemoveFinalizer(volume, "kubernetes.io/pv-protection");
  }
};

class ClaimStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& claim) const override {
    Strategy::PrepareForCreate(op, claim);
    claim.Set("status", Value(Map{{"phase", Value("Pending")}}));
  }
  void MarkDeleting(const Operation& op, Value& claim) const override {
    if (!ClaimInUse(*op.registry, claim)) object::RemoveFinalizer(claim, "kubernetes.io/pvc-protection");
  }
};

}  // namespace

std::unique_ptr<Strategy> NewSecretStrategy(const Kind& kind) { return std::make_unique<SecretStrategy>(kind); }
std::unique_ptr<Strategy> NewNodeStrategy(const Kind& kind) { return std::make_unique<NodeStrategy>(kind); }
std::unique_ptr<Strategy> NewReplicationControllerStrategy(const Kind& kind) {
  return std::make_unique<ReplicationControllerStrategy>(kind);
}
std::unique_ptr<Strategy> NewPersistentVolumeStrategy(const Kind& kind) {
  return std::make_unique<VolumeStrategy>(kind);
}
std::unique_ptr<Strategy> NewPersistentVolumeClaimStrategy(const Kind& kind) {
  return std::make_unique<ClaimStrategy>(kind);
}

}  // namespace apiserver::registry
