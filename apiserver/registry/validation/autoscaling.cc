// HorizontalPodAutoscaler, Scale and PodDisruptionBudget.
#include <algorithm>

#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"

namespace apiserver::registry::validation {
namespace {

FieldErrors SegmentName(const Value& v, const std::string& path, const char* missing = "") {
  if (NoText(v)) return {Required(path, missing)};
  return Reasoned(path, v, object::IsPathSegmentName(v.string_or()));
}

// `needs_group`: only the core group has no name, and nothing there scales but ReplicationControllers.
FieldErrors ValidateReference(const Value& ref, bool needs_group, const std::string& path) {
  FieldErrors errors = SegmentName(ref.At("kind"), Child(path, "kind"));
  Append(errors, SegmentName(ref.At("name"), Child(path, "name")));
  std::string version = Text(ref.At("apiVersion")), at = Child(path, "apiVersion");
  auto slashes = std::count(version.begin(), version.end(), '/');
  if (slashes > 1) {
    errors.push_back(Invalid(at, version, "unexpected GroupVersion string: " + version));
  } else if (needs_group && object::ParseGroupVersion(version).group.empty()) {
    errors.push_back(Invalid(at, version, "apiVersion must specify API group"));
  }
  return errors;
}

FieldErrors ValidateTarget(const Value& target, const std::string& path) {
  FieldErrors errors;
  const Value& type = target.At("type");
  if (NoText(type)) errors.push_back(Required(Child(path, "type"), "must specify a metric target type"));
  if (!Contains({"Utilization", "Value", "AverageValue"}, Text(type)))
    errors.push_back(Invalid(Child(path, "type"), Text(type), "must be either Utilization, Value, or AverageValue"));
  for (const char* field : {"value", "averageValue"}) {
    const Value& v = target.At(field);
    if (!v.is_null() && QuantityOf(v).Sign() <= 0) errors.push_back(Invalid(Child(path, field), v, "must be positive"));
  }
  const Value& utilization = target.At("averageUtilization");
  if (utilization.is_int() && utilization.as_int() < 1)
    errors.push_back(Invalid(Child(path, "averageUtilization"), utilization, "must be greater than 0"));
  return errors;
}

FieldErrors ValidateMetricName(const Value& metric, const std::string& path) {
  return SegmentName(metric.At("name"), Child(path, "name"), "must specify a metric name");
}

// What the sources of a metric may hold, by the source's field.
FieldErrors ValidateSource(const std::string& type, const Value& source, const std::string& path) {
  FieldErrors errors;
  const Value& target = source.At("target");
  auto has = [&](const char* field) { return !target.At(field).is_null(); };
  std::string at = Child(path, "target");
  if (type == "object")
    Append(errors, ValidateReference(source.At("describedObject"), false, Child(path, "describedObject")));
  bool is_resource = type == "resource" || type == "containerResource";
  if (is_resource) {
    if (NoText(source.At("name"))) {
      errors.push_back(Required(Child(path, "name"), "must specify a resource name"));
    } else if (type == "containerResource") {
      Append(errors, ValidateResourceName(Text(source.At("name")), Child(path, "name")));
    }
  } else {
    Append(errors, ValidateMetricName(source.At("metric"), Child(path, "metric")));
  }
  if (type == "containerResource") {
    std::string container = Text(source.At("container"));
    if (container.empty()) {
      errors.push_back(Required(Child(path, "container"), "must specify a container"));
    } else {
      AppendInvalid(errors, Child(path, "container"), container, object::IsDns1123Label(container));
    }
  }
  Append(errors, ValidateTarget(target, at));
  if (is_resource) {
    if (!has("averageUtilization") && !has("averageValue"))
      errors.push_back(
          Required(Child(at, "averageUtilization"), "must set either a target raw value or a target utilization"));
    if (has("averageUtilization") && has("averageValue"))
      errors.push_back(
          FieldForbidden(Child(at, "averageValue"), "may not set both a target raw value and a target utilization"));
  } else if (type == "pods") {
    if (!has("averageValue"))
      errors.push_back(Required(Child(at, "averageValue"), "must specify a positive target averageValue"));
  } else {
    if (!has("value") && !has("averageValue"))
      errors.push_back(Required(Child(at, "averageValue"),
                                type == "object" ? "must set either a target value or averageValue"
                                                 : "must set either a target value for metric or a per-pod target"));
    if (type == "external" && has("value") && has("averageValue"))
      errors.push_back(
          FieldForbidden(Child(at, "value"), "may not set both a target value for metric and a per-pod target"));
  }
  return errors;
}

FieldErrors ValidateMetric(const Value& metric, const std::string& path) {
  struct Source {
    const char *type, *field;
  };
  constexpr Source kSources[] = {{"Object", "object"},
                                 {"External", "external"},
                                 {"Pods", "pods"},
                                 {"Resource", "resource"},
                                 {"ContainerResource", "containerResource"}};
  const Names types = {"ContainerResource", "External", "Object", "Pods", "Resource"};
  FieldErrors errors;
  std::string type = Text(metric.At("type")), expected;
  if (type.empty()) errors.push_back(Required(Child(path, "type"), "must specify a metric source type"));
  bool known = Contains(types, type);
  if (!known) errors.push_back(NotSupported(Child(path, "type"), type, types));
  std::vector<std::string> present;
  for (const Source& s : kSources) {
    if (type == s.type) expected = s.field;
    if (!metric.At(s.field).is_map()) continue;
    present.push_back(s.field);
    if (present.size() == 1) Append(errors, ValidateSource(s.field, metric.At(s.field), Child(path, s.field)));
  }
  if (!known) {
    errors.push_back(NotSupported(Child(path, "type"), type, types));
  } else if (!metric.At(expected).is_map()) {
    errors.push_back(Required(Child(path, expected), "must populate information for the given metric source"));
  }
  if (present.size() != 1) {
    for (const std::string& field : present)
      if (field != expected)
        errors.push_back(FieldForbidden(Child(path, field), "must populate the given metric source only"));
  }
  return errors;
}

FieldErrors ValidateMetrics(const Value& spec, const std::string& path) {
  FieldErrors errors;
  bool can_wake = false;
  const List& metrics = Items(spec.At("metrics"));
  for (size_t i = 0; i < metrics.size(); ++i) {
    Append(errors, ValidateMetric(metrics[i], Index(path, i)));
    can_wake |= Contains({"Object", "External"}, Text(metrics[i].At("type")));
  }
  if (const Value& least = spec.At("minReplicas"); least.is_int() && least.as_int() == 0 && !can_wake)
    errors.push_back(FieldForbidden(
        path, "must specify at least one Object or External metric to support scaling to zero replicas"));
  return errors;
}

FieldErrors ValidateScalingRules(const Value& rules, const std::string& path) {
  constexpr int64_t kMaxWindow = 3600, kMaxPeriod = 1800;
  if (!rules.is_map()) return {};
  FieldErrors errors;
  const Value &window = rules.At("stabilizationWindowSeconds"), &select = rules.At("selectPolicy");
  std::string at = Child(path, "stabilizationWindowSeconds");
  if (window.int_or() < 0) errors.push_back(Invalid(at, window, "must be greater than or equal to zero"));
  if (window.int_or() > kMaxWindow)
    errors.push_back(Invalid(at, window, "must be less than or equal to " + std::to_string(kMaxWindow)));
  const Names selects = {"Disabled", "Max", "Min"};
  if (select.is_string() && !Contains(selects, select.as_string()))
    errors.push_back(NotSupported(Child(path, "selectPolicy"), select, selects));
  const List& policies = Items(rules.At("policies"));
  std::string list = Child(path, "policies");
  if (policies.empty()) errors.push_back(Required(list, "must specify at least one Policy"));
  for (size_t i = 0; i < policies.size(); ++i) {
    std::string item = Index(list, i), type = Text(policies[i].At("type"));
    const Value& period = policies[i].At("periodSeconds");
    if (type != "Pods" && type != "Percent")
      errors.push_back(NotSupported(Child(item, "type"), type, {"Percent", "Pods"}));
    Append(errors, Positive(policies[i].At("value").int_or(), Child(item, "value")));
    Append(errors, Positive(period.int_or(), Child(item, "periodSeconds")));
    if (period.int_or() > kMaxPeriod)
      errors.push_back(
          Invalid(Child(item, "periodSeconds"), period, "must be less than or equal to " + std::to_string(kMaxPeriod)));
  }
  if (const Value& tolerance = rules.At("tolerance"); !tolerance.is_null() && QuantityOf(tolerance).Sign() < 0)
    errors.push_back(Invalid(Child(path, "tolerance"), tolerance, ops::kNotNegative));
  return errors;
}

FieldErrors ValidateAutoscalerSpec(const Value& spec, const Value& old, const std::string& path) {
  FieldErrors errors;
  const Value &target = spec.At("scaleTargetRef"), &old_low = old.At("minReplicas");
  int64_t lower_bound = old_low.is_int() && old_low.as_int() == 0 ? 0 : 1;
  bool same_target = SemanticEqual(target, old.At("scaleTargetRef")) && !old.is_null();
  bool needs_group = !same_target && Text(target.At("kind")) != "ReplicationController";
  const Value &low = spec.At("minReplicas"), &high = spec.At("maxReplicas");
  if (low.is_int() && low.as_int() < lower_bound)
    errors.push_back(
        Invalid(Child(path, "minReplicas"), low, "must be greater than or equal to " + std::to_string(lower_bound)));
  if (high.int_or() == 0) {
    errors.push_back(Required(Child(path, "maxReplicas"), "must be set and greater than 0"));
  } else if (high.as_int() < 0) {
    errors.push_back(Invalid(Child(path, "maxReplicas"), high, "must be greater than or equal to 1"));
  }
  if (low.is_int() && high.int_or() < low.as_int())
    errors.push_back(
        Invalid(Child(path, "maxReplicas"), high.int_or(), "must be greater than or equal to `minReplicas`"));
  Append(errors, ValidateReference(target, needs_group, Child(path, "scaleTargetRef")));
  Append(errors, ValidateMetrics(spec, Child(path, "metrics")));
  for (const char* direction : {"scaleUp", "scaleDown"})
    Append(errors, ValidateScalingRules(spec.At("behavior", direction), Child(path, "behavior", direction)));
  return errors;
}

FieldErrors ValidateBudgetSpec(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value &low = spec.At("minAvailable"), &high = spec.At("maxUnavailable"),
              &eviction = spec.At("unhealthyPodEvictionPolicy");
  if (!low.is_null() && !high.is_null()) {
    errors.push_back(Invalid(path,
                             GoStruct(spec, {{"MinAvailable", "minAvailable", Value()},
                                             {"Selector", "selector", Value()},
                                             {"MaxUnavailable", "maxUnavailable", Value()},
                                             {"UnhealthyPodEvictionPolicy", "unhealthyPodEvictionPolicy", Value()}}),
                             "minAvailable and maxUnavailable cannot be both set"));
  }
  for (const char* field : {"minAvailable", "maxUnavailable"}) {
    if (spec.At(field).is_null()) continue;
    Append(errors, ValidatePositiveIntOrPercent(spec.At(field), Child(path, field)));
    Append(errors, ValidateNotMoreThan100Percent(spec.At(field), Child(path, field)));
  }
  Append(errors, ops::ValidateLabelSelector(spec.At("selector"), Child(path, "selector")));
  if (eviction.is_string() && !Contains({"AlwaysAllow", "IfHealthyBudget"}, eviction.as_string()))
    errors.push_back(
        NotSupported(Child(path, "unhealthyPodEvictionPolicy"), eviction, {"AlwaysAllow", "IfHealthyBudget"}));
  return errors;
}

}  // namespace

FieldErrors ValidateAutoscaler(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateAutoscalerSpec(object.At("spec"), Value(), "spec"));
  return errors;
}
FieldErrors ValidateAutoscalerUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateAutoscalerSpec(object.At("spec"), old.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateAutoscalerStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  for (const char* field : {"currentReplicas", "desiredReplicas"})
    Append(errors, NotNegative(object.At("status", field), Child("status", field)));
  return errors;
}

FieldErrors ValidateScale(const Value& scale) {
  FieldErrors errors = ops::ValidateObjectMeta(scale, {.namespaced = true, .name = object::NameIsDnsSubdomain});
  Append(errors, NotNegative(scale.At("spec", "replicas"), "spec.replicas"));
  return errors;
}

FieldErrors ValidateDisruptionBudget(const Value& object) { return ValidateBudgetSpec(object.At("spec"), "spec"); }
FieldErrors ValidateDisruptionBudgetUpdate(const Value& object, const Value&) {
  return ValidateBudgetSpec(object.At("spec"), "spec");
}

}  // namespace apiserver::registry::validation
