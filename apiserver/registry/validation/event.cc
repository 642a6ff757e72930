// Events: lenient for those who write core/v1, strict for those who write events.k8s.io/v1. Trees are of core/v1.
#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"

namespace apiserver::registry::validation {
namespace {

constexpr size_t kMaxInstance = 128, kMaxAction = 128, kMaxReason = 128, kMaxNote = 1024;
constexpr const char* kOtherNamespace = "does not match event.namespace";

// What both versions ask for; they differ in how they call the controller's field.
FieldErrors ValidateCommon(const Value& event, const char* controller_path) {
  FieldErrors errors;
  std::string ns(object::NamespaceOf(event)), involved = Text(event.At("involvedObject", "namespace"));
  auto wrong_namespace = [&] { errors.push_back(Invalid("involvedObject.namespace", involved, kOtherNamespace)); };
  if (event.At("eventTime").is_null()) {
    if (involved.empty() ? !ns.empty() && ns != "default" : ns != involved) wrong_namespace();
  } else {
    if (involved.empty() && ns != "default" && ns != "kube-system") wrong_namespace();
    std::string controller = Text(event.At("reportingComponent"));
    if (controller.empty()) errors.push_back(Required(controller_path));
    AppendInvalid(errors, controller_path, controller, object::IsQualifiedName(controller));
    auto text = [&](const char* field, size_t max, bool required = true) {
      std::string v = Text(event.At(field));
      if (required && v.empty()) errors.push_back(Required(field));
      if (v.size() > max)
        errors.push_back(Invalid(field, "", "can have at most " + std::to_string(max) + " characters"));
    };
    text("reportingInstance", kMaxInstance);
    text("action", kMaxAction);
    text("reason", kMaxReason);
    text("message", kMaxNote, false);
  }
  AppendInvalid(errors, "namespace", ns, object::IsDns1123Subdomain(ns));
  return errors;
}

FieldErrors ValidateSeries(const Value& event) {
  FieldErrors errors;
  const Value& series = event.At("series");
  if (!series.is_map()) return errors;
  if (series.At("count").int_or() < 2) errors.push_back(Invalid("series.count", "", "should be at least 2"));
  if (series.At("lastObservedTime").is_null()) errors.push_back(Required("series.lastObservedTime"));
  return errors;
}

}  // namespace

FieldErrors ValidateEvent(const Value& object) { return ValidateCommon(object, "reportingComponent"); }
FieldErrors ValidateEventUpdate(const Value& object, const Value&) { return ValidateEvent(object); }

FieldErrors ValidateEventOfEventsGroup(const Value& event) {
  FieldErrors errors = ValidateCommon(event, "reportingController");
  Append(errors, Meta(event, true));
  Append(errors, ValidateSeries(event));
  if (event.At("eventTime").is_null()) errors.push_back(Required("eventTime"));
  std::string type = Text(event.At("type"));
  if (type != "Normal" && type != "Warning") errors.push_back(Invalid("type", "", "has invalid value: " + type));
  auto unset = [&](const char* field, bool is_set) {
    if (is_set) errors.push_back(Invalid(field, "", "needs to be unset"));
  };
  for (const char* field : {"firstTimestamp", "lastTimestamp"}) unset(field, !event.At(field).is_null());
  unset("count", event.At("count").int_or() != 0);
  unset("source", !NoText(event.At("source", "component")) || !NoText(event.At("source", "host")));
  return errors;
}

FieldErrors ValidateEventOfEventsGroupUpdate(const Value& event, const Value& old) {
  FieldErrors errors = ValidateCommon(event, "reportingController");
  Append(errors, MetaUpdate(event, old));
  if (!SemanticEqual(event.At("series"), old.At("series"))) Append(errors, ValidateSeries(event));
  for (const char* field : {"involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count",
                            "reason", "type", "eventTime", "action", "related"})
    Append(errors, ops::ValidateImmutable(event.At(field), old.At(field), field));
  Append(errors,
         ops::ValidateImmutable(event.At("reportingComponent"), old.At("reportingComponent"), "reportingController"));
  Append(errors,
         ops::ValidateImmutable(event.At("reportingInstance"), old.At("reportingInstance"), "reportingInstance"));
  return errors;
}

}  // namespace apiserver::registry::validation
