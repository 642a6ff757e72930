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

class SecretStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForUpdate(const Operation& op, Value& secret, const Value& old) const override {
    // A client that leaves the type out means the one that is there.
    if (secret.At("type").string_or().empty()) secret.Set("type", old.At("type"));
    Strategy::PrepareForUpdate(op, secret, old);
  }
  std::vector<storage::SelectableField> SelectableFields() const override { return {FieldOf(*kind_.type, "type")}; }
};

// Configuration of the kubelet from a ConfigMap is gone: who still has it may keep it, nobody else can have it.
class NodeStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& node) const override {
    if (node.At("spec").is_map()) node.Ensure("spec").Remove("configSource");
    if (node.At("status").is_map()) node.Ensure("status").Remove("config");
    Strategy::PrepareForCreate(op, node);
  }
  void PrepareForUpdate(const Operation& op, Value& node, const Value& old) const override {
    if (old.At("spec", "configSource").is_null() && node.At("spec").is_map())
      node.Ensure("spec").Remove("configSource");
    Strategy::PrepareForUpdate(op, node, old);
  }
  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "spec.unschedulable")};
  }
  std::map<std::string, Subresource> Subresources(Registry& registry) const override {
    auto out = Strategy::Subresources(registry);
    auto before = out["status"].prepare;
    out["status"].prepare = [before](const Operation& op, Value& node, const Value& old) {
      if (before) before(op, node, old);
      if (old.At("status", "config").is_null() && node.At("status").is_map()) node.Ensure("status").Remove("config");
    };
    return out;
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
    AlignSources(claim, Value());
  }
  void PrepareForUpdate(const Operation& op, Value& claim, const Value& old) const override {
    AlignSources(claim, old);
    Strategy::PrepareForUpdate(op, claim, old);
  }
  void MarkDeleting(const Operation& op, Value& claim) const override {
    if (!ClaimInUse(*op.registry, claim)) object::RemoveFinalizer(claim, "kubernetes.io/pvc-protection");
  }

 private:
  static bool IsClaimOrSnapshot(const Value& source) {
    std::string_view kind = source.At("kind").string_or(), group = source.At("apiGroup").string_or();
    return (kind == "PersistentVolumeClaim" && group.empty()) ||
           (kind == "VolumeSnapshot" && group == "snapshot.storage.k8s.io");
  }
  static Value Reference(const Value& source) {
    Map out;
    for (std::string_view field : {"apiGroup", "kind", "name"})
      if (!source.At(field).is_null()) out.Append(std::string(field), source.At(field));
    return Value(std::move(out));
  }

  // dataSource and dataSourceRef are one thing (KEP-1495): a writer of either is shown both. The older field held
  // claims and snapshots only; anything else in it alone was ignored, and is, unless it was let in before. Sources in
  // other namespaces are not had in 1.36 without a feature that is off.
  static void AlignSources(Value& claim, const Value& old) {
    if (!claim.At("spec").is_map()) return;
    Value& spec = claim.Ensure("spec");
    const Value& was = old.At("spec");
    if (!spec.At("dataSourceRef", "namespace").string_or().empty() && was.At("dataSourceRef").is_null())
      spec.Remove("dataSourceRef");
    bool used = !was.At("dataSource").is_null() || !was.At("dataSourceRef").is_null();
    if (!used && spec.At("dataSourceRef").is_null() && !IsClaimOrSnapshot(spec.At("dataSource")))
      spec.Remove("dataSource");
    const Value source = spec.At("dataSource"), reference = spec.At("dataSourceRef");
    if (source.is_map() && reference.is_null()) spec.Set("dataSourceRef", Reference(source));
    if (source.is_null() && reference.is_map() && reference.At("namespace").string_or().empty())
      spec.Set("dataSource", Reference(reference));
  }
};

class LimitRangeStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& range) const override {
    if (object::NameOf(range).empty()) object::SetName(range, op.registry->NewUid());
    Strategy::PrepareForCreate(op, range);
  }
};

}  // namespace

std::unique_ptr<Strategy> NewSecretStrategy(const Kind& kind) { return std::make_unique<SecretStrategy>(kind); }
std::unique_ptr<Strategy> NewNodeStrategy(const Kind& kind) { return std::make_unique<NodeStrategy>(kind); }
std::unique_ptr<Strategy> NewReplicationControllerStrategy(const Kind& kind) {
  return std::make_unique<ReplicationControllerStrategy>(kind);
}
std::unique_ptr<Strategy> NewLimitRangeStrategy(const Kind& kind) { return std::make_unique<LimitRangeStrategy>(kind); }
std::unique_ptr<Strategy> NewPersistentVolumeStrategy(const Kind& kind) {
  return std::make_unique<VolumeStrategy>(kind);
}
std::unique_ptr<Strategy> NewPersistentVolumeClaimStrategy(const Kind& kind) {
  return std::make_unique<ClaimStrategy>(kind);
}

}  // namespace apiserver::registry
