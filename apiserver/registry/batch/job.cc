// Jobs: their selector and the labels that make it unique are made from the job's uid, unless the user takes over.
#include "apiserver/registry/registry.h"
#include "machinery/object/meta.h"

namespace apiserver::registry {

namespace object = machinery::object;
using machinery::schema::Kind;
using machinery::value::Map;

namespace {

class JobStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  void PrepareForCreate(const Operation& op, Value& job) const override {
    Strategy::PrepareForCreate(op, job);
    if (job.At("spec", "manualSelector").bool_or()) return;
    std::string uid(object::UidOf(job)), name(object::NameOf(job));
    Value& tmpl = job.Ensure("spec").Ensure("template");
    for (auto [key, value] :
         {std::pair{"batch.kubernetes.io/controller-uid", &uid}, std::pair{"batch.kubernetes.io/job-name", &name},
          std::pair{"controller-uid", &uid}, std::pair{"job-name", &name}}) {
      object::SetLabel(tmpl, key, *value);
      // Labels of the job itself follow its template's where it has none of its own (a default).
      if (!object::HasLabel(job, key)) object::SetLabel(job, key, *value);
    }
    Value& selector = job.Ensure("spec").Ensure("selector");
    selector.Ensure("matchLabels").Set("batch.kubernetes.io/controller-uid", uid);
  }
  std::vector<storage::SelectableField> SelectableFields() const override {
    return {FieldOf(*kind_.type, "status.succeeded")};
  }
  // What jobs did before there was a garbage collector.
  std::string DefaultPropagation(const Operation& op, const Value&) const override {
    if (op.warnings && op.request->options.propagation_policy.empty() && !op.request->options.orphan_dependents)
      op.warnings->push_back(
          "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
          "or set propagationPolicy=Orphan to suppress this warning");
    return "Orphan";
  }
};

}  // namespace

std::unique_ptr<Strategy> NewJobStrategy(const Kind& kind) { return std::make_unique<JobStrategy>(kind); }

}  // namespace apiserver::registry
