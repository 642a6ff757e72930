// Workloads: what counts as a new generation, and the generation that DaemonSets carry for old clients.
#include <algorithm>
#include <charconv>
#include <optional>

#include "apiserver/registry/registry.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;

namespace {

// A Deployment's annotations go to its ReplicaSets, so a change of them is something to do.
class DeploymentStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForUpdate(const Operation& op, Value& obj, const Value& old) const override {
    Strategy::PrepareForUpdate(op, obj, old);
    if (!(object::AnnotationsOf(obj) == object::AnnotationsOf(old)))
      object::SetGeneration(obj, object::GenerationOf(old) + 1);
  }
};

class ReplicaSetStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "status.replicas")};
  }
};

class StatefulSetStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  bool EmbedsObjects() const override { return true; }  // volumeClaimTemplates
};

class DaemonSetStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& obj) const override {
    Strategy::PrepareForCreate(op, obj);
    object::SetAnnotation(obj, kTemplateGeneration,
                          std::to_string(std::max<int64_t>(1, GenerationOf(obj).value_or(1))));
  }
  void PrepareForUpdate(const Operation& op, Value& obj, const Value& old) const override {
    Strategy::PrepareForUpdate(op, obj, old);
    int64_t n = GenerationOf(old).value_or(0);
    if (!(obj.At("spec", "template") == old.At("spec", "template"))) ++n;
    object::SetAnnotation(obj, kTemplateGeneration, std::to_string(n));
  }

  std::string WhyUnreadable(const Value& obj) const override {
    if (object::AnnotationsOf(obj).At(kTemplateGeneration).is_null() || GenerationOf(obj)) return {};
    return "strconv.ParseInt: parsing " + object::GoQuote(object::AnnotationOf(obj, kTemplateGeneration)) +
           ": invalid syntax";
  }

 private:
  static constexpr std::string_view kTemplateGeneration = "deprecated.daemonset.template.generation";

  static std::optional<int64_t> GenerationOf(const Value& obj) {
    std::string_view text = object::AnnotationOf(obj, kTemplateGeneration);
    int64_t n;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return n;
  }
};

}  // namespace

std::unique_ptr<Strategy> NewDeploymentStrategy(const Kind& kind) { return std::make_unique<DeploymentStrategy>(kind); }
std::unique_ptr<Strategy> NewReplicaSetStrategy(const Kind& kind) { return std::make_unique<ReplicaSetStrategy>(kind); }
std::unique_ptr<Strategy> NewStatefulSetStrategy(const Kind& kind) {
  return std::make_unique<StatefulSetStrategy>(kind);
}
std::unique_ptr<Strategy> NewDaemonSetStrategy(const Kind& kind) { return std::make_unique<DaemonSetStrategy>(kind); }

}  // namespace apiserver::registry
