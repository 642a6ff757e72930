// Events expire by themselves.
#include "apiserver/registry/strategy.h"
#include "apiserver/registry/validation/validation.h"

namespace apiserver::registry {

namespace {

std::string SourceOf(const Value& event) {
  std::string_view component = event.At("source", "component").string_or();
  return std::string(component.empty() ? event.At("reportingComponent").string_or() : component);
}

class EventStrategy final : public Strategy {
 public:
  using Strategy::Strategy;
  bool Expires() const override { return true; }
  // Who writes the newer API is held to its stricter rules.
  FieldErrors Validate(const Operation& op, const Value& event) const override {
    return OfEventsGroup(op) ? validation::ValidateEventOfEventsGroup(event) : Strategy::Validate(op, event);
  }
  FieldErrors ValidateUpdate(const Operation& op, const Value& event, const Value& old) const override {
    return OfEventsGroup(op) ? validation::ValidateEventOfEventsGroupUpdate(event, old)
                             : Strategy::ValidateUpdate(op, event, old);
  }
  std::vector<storage::SelectableField> SelectableFields() const override {
    std::vector<storage::SelectableField> out;
    for (std::string_view path : {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
                                  "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
                                  "involvedObject.fieldPath", "reason", "reportingComponent", "type"})
      out.push_back(FieldOf(*kind_.type, path));
    out.push_back({.name = "source", .compute = [](const Value& e) { return SourceOf(e); }});
    return out;
  }

 private:
  static bool OfEventsGroup(const Operation& op) { return op.version && op.version->group == "events.k8s.io"; }
};

}  // namespace

std::unique_ptr<Strategy> NewEventStrategy(const machinery::schema::Kind& kind) {
  return std::make_unique<EventStrategy>(kind);
}

}  // namespace apiserver::registry
