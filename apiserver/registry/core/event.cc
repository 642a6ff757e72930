// Events expire by themselves.
#include "apiserver/registry/strategy.h"

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
  std::vector<storage::SelectableField> SelectableFields() const override {
    std::vector<storage::SelectableField> out;
    for (std::string_view path : {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
                                  "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
                                  "involvedObject.fieldPath", "reason", "reportingComponent", "type"})
      out.push_back(FieldOf(*kind_.type, path));
    out.push_back({.name = "source", .compute = [](const Value& e) { return SourceOf(e); }});
    return out;
  }
};

}  // namespace

std::unique_ptr<Strategy> NewEventStrategy(const machinery::schema::Kind& kind) {
  return std::make_unique<EventStrategy>(kind);
}

}  // namespace apiserver::registry
