// Kinds that keep pods running: ReplicationController, ReplicaSet, Deployment, StatefulSet, DaemonSet; their history.
#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"
#include "machinery/ops/selector.h"

namespace apiserver::registry::validation {
namespace {

constexpr const char* kMismatch = "`selector` does not match template `labels`";

const Value& TemplateLabels(const Value& pod_template) { return object::LabelsOf(pod_template); }
Value LabelsAsMap(const Value& pod_template) {
  const Value& labels = TemplateLabels(pod_template);
  return labels.is_map() ? labels : Value(Map());
}
bool SelectsNothingNamed(const Value& selector) {
  return Size(selector.At("matchLabels")) + Size(selector.At("matchExpressions")) == 0;
}

FieldErrors ValidateRestartAlways(const Value& pod_template, const std::string& path, const char* owner) {
  FieldErrors errors;
  const Value& policy = pod_template.At("spec", "restartPolicy");
  if (policy.string_or() != "Always")
    errors.push_back(NotSupported(Child(path, "spec", "restartPolicy"), Text(policy), {"Always"}));
  if (pod_template.At("spec", "activeDeadlineSeconds").is_int())
    errors.push_back(FieldForbidden(Child(path, "spec", "activeDeadlineSeconds"),
                                    std::string("activeDeadlineSeconds in ") + owner + " is not Supported"));
  return errors;
}

FieldErrors ValidateMatch(const ops::LabelSelector& selector, const Value& pod_template, const std::string& path) {
  if (selector.Empty() || selector.Matches(TemplateLabels(pod_template))) return {};
  return {Invalid(Child(path, "metadata", "labels"), LabelsAsMap(pod_template), kMismatch)};
}

// Selector and template of ReplicaSets and Deployments.
FieldErrors ValidateSelectorAndTemplate(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value& selector = spec.At("selector");
  std::string at = Child(path, "selector");
  if (!selector.is_map()) {
    errors.push_back(Required(at));
  } else {
    Append(errors, ops::ValidateLabelSelector(selector, at));
    if (SelectsNothingNamed(selector))
      errors.push_back(Invalid(at, selector, "empty selector is invalid for deployment"));
  }
  auto parsed = ops::LabelSelector::FromObject(selector);
  if (!parsed) {
    errors.push_back(Invalid(at, selector, "invalid label selector"));
    return errors;
  }
  std::string template_path = Child(path, "template");
  Append(errors, ValidateMatch(*parsed, spec.At("template"), template_path));
  Append(errors, ValidatePodTemplate(spec.At("template"), template_path));
  Append(errors, ValidateRestartAlways(spec.At("template"), template_path, "ReplicaSet"));
  return errors;
}

FieldErrors ValidateReplicaSetSpec(const Value& spec, const std::string& path) {
  FieldErrors errors = NotNegative(spec.At("replicas"), Child(path, "replicas"));
  Append(errors, NotNegative(spec.At("minReadySeconds"), Child(path, "minReadySeconds")));
  Append(errors, ValidateSelectorAndTemplate(spec, path));
  return errors;
}

FieldErrors ValidateDeploymentStrategy(const Value& strategy, const std::string& path) {
  FieldErrors errors;
  std::string type = Text(strategy.At("type")), at = Child(path, "rollingUpdate");
  const Value& rolling = strategy.At("rollingUpdate");
  if (type == "Recreate") {
    if (rolling.is_map())
      errors.push_back(FieldForbidden(at, "may not be specified when strategy `type` is 'Recreate'"));
  } else if (type == "RollingUpdate") {
    if (!rolling.is_map()) return {Required(at, "this should be defaulted and never be nil")};
    const Value &unavailable = rolling.At("maxUnavailable"), &surge = rolling.At("maxSurge");
    Append(errors, ValidatePositiveIntOrPercent(unavailable, Child(at, "maxUnavailable")));
    Append(errors, ValidatePositiveIntOrPercent(surge, Child(at, "maxSurge")));
    if (PercentOrInt(unavailable) == 0 && PercentOrInt(surge) == 0)
      errors.push_back(Invalid(Child(at, "maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0"));
    Append(errors, ValidateNotMoreThan100Percent(unavailable, Child(at, "maxUnavailable")));
  } else {
    errors.push_back(
        NotSupported(path, GoStruct(strategy, {{"Type", "type", ""}, {"RollingUpdate", "rollingUpdate", Value()}}),
                     {"Recreate", "RollingUpdate"}));
  }
  return errors;
}

FieldErrors ValidateDeploymentSpec(const Value& spec, const std::string& path) {
  FieldErrors errors = NotNegative(spec.At("replicas"), Child(path, "replicas"));
  Append(errors, ValidateSelectorAndTemplate(spec, path));
  Append(errors, ValidateDeploymentStrategy(spec.At("strategy"), Child(path, "strategy")));
  Append(errors, NotNegative(spec.At("minReadySeconds"), Child(path, "minReadySeconds")));
  Append(errors, NotNegative(spec.At("revisionHistoryLimit"), Child(path, "revisionHistoryLimit")));
  if (const Value& deadline = spec.At("progressDeadlineSeconds"); deadline.is_int()) {
    std::string at = Child(path, "progressDeadlineSeconds");
    Append(errors, NotNegative(deadline, at));
    if (deadline.as_int() <= spec.At("minReadySeconds").int_or())
      errors.push_back(Invalid(at, deadline, "must be greater than minReadySeconds"));
  }
  return errors;
}

FieldErrors ValidateDaemonSetStrategy(const Value& strategy, const std::string& path) {
  FieldErrors errors;
  std::string type = Text(strategy.At("type")), at = Child(path, "rollingUpdate");
  if (type == "OnDelete") return {};
  const Value& rolling = strategy.At("rollingUpdate");
  if (type != "RollingUpdate") {
    return {NotSupported(path, GoStruct(strategy, {{"Type", "type", ""}, {"RollingUpdate", "rollingUpdate", Value()}}),
                         {"RollingUpdate", "OnDelete"})};
  }
  if (!rolling.is_map()) return {Required(at)};
  const Value &unavailable = rolling.At("maxUnavailable"), &surge = rolling.At("maxSurge");
  Append(errors, ValidatePositiveIntOrPercent(unavailable, Child(at, "maxUnavailable")));
  Append(errors, ValidatePositiveIntOrPercent(surge, Child(at, "maxSurge")));
  Append(errors, ValidateNotMoreThan100Percent(unavailable, Child(at, "maxUnavailable")));
  Append(errors, ValidateNotMoreThan100Percent(surge, Child(at, "maxSurge")));
  bool has_unavailable = PercentOrInt(unavailable) != 0, has_surge = PercentOrInt(surge) != 0;
  if (has_unavailable && has_surge) {
    errors.push_back(Invalid(Child(at, "maxSurge"), surge, "may not be set when maxUnavailable is non-zero"));
  } else if (!has_unavailable && !has_surge) {
    errors.push_back(Required(Child(at, "maxUnavailable"), "cannot be 0 when maxSurge is 0"));
  }
  return errors;
}

FieldErrors ValidateDaemonSetSpec(const Value& spec, const std::string& path) {
  const Value &selector = spec.At("selector"), &pod_template = spec.At("template");
  std::string template_path = Child(path, "template");
  FieldErrors errors = ops::ValidateLabelSelector(selector, Child(path, "selector"));
  if (auto parsed = ops::LabelSelector::FromObject(selector)) {
    if (!parsed->Matches(TemplateLabels(pod_template)))
      errors.push_back(Invalid(Child(template_path, "metadata", "labels"), LabelsAsMap(pod_template), kMismatch));
  }
  if (selector.is_map() && SelectsNothingNamed(selector))
    errors.push_back(Invalid(Child(path, "selector"), selector, "empty selector is invalid for daemonset"));
  Append(errors, ValidatePodTemplate(pod_template, template_path));
  Append(errors, ValidateRestartAlways(pod_template, template_path, "DaemonSet"));
  Append(errors, NotNegative(spec.At("minReadySeconds"), Child(path, "minReadySeconds")));
  Append(errors, ValidateDaemonSetStrategy(spec.At("updateStrategy"), Child(path, "updateStrategy")));
  Append(errors, NotNegative(spec.At("revisionHistoryLimit"), Child(path, "revisionHistoryLimit")));
  return errors;
}

// --- StatefulSet ---

FieldErrors ValidateStatefulSetStrategy(const Value& strategy, const std::string& path) {
  FieldErrors errors;
  std::string type = Text(strategy.At("type")), at = Child(path, "rollingUpdate");
  const Value& rolling = strategy.At("rollingUpdate");
  if (type.empty()) return {Required(path)};
  if (type == "OnDelete") {
    if (rolling.is_map())
      errors.push_back(
          Invalid(at, GoStruct(rolling, {{"Partition", "partition", 0}, {"MaxUnavailable", "maxUnavailable", Value()}}),
                  "only allowed for updateStrategy 'RollingUpdate'"));
  } else if (type == "RollingUpdate") {
    if (!rolling.is_map()) return {};
    Append(errors, NotNegative(rolling.At("partition"), Child(at, "partition")));
    const Value& unavailable = rolling.At("maxUnavailable");
    if (unavailable.is_null()) return errors;
    std::string field = Child(at, "maxUnavailable");
    Append(errors, ValidatePositiveIntOrPercent(unavailable, field));
    if (PercentOrInt(unavailable) == 0) errors.push_back(Invalid(field, unavailable, "cannot be 0"));
    Append(errors, ValidateNotMoreThan100Percent(unavailable, field));
  } else {
    errors.push_back(Invalid(path,
                             GoStruct(strategy, {{"Type", "type", ""}, {"RollingUpdate", "rollingUpdate", Value()}}),
                             "must be 'RollingUpdate' or 'OnDelete'"));
  }
  return errors;
}

// The pods get a volume for each claim template, which replaces one of the same name.
Value WithClaimVolumes(const Value& spec) {
  Value out = spec.At("template");
  if (!out.At("spec").is_map()) return out;
  Value& pod = out.Ensure("spec");
  pod.Remove("subdomain");
  pod.Remove("hostname");
  const List& claims = Items(spec.At("volumeClaimTemplates"));
  if (claims.empty()) return out;
  List volumes;
  std::set<std::string> names;
  for (const Value& claim : claims) {
    std::string name = Text(claim.At("metadata", "name"));
    if (!names.insert(name).second) continue;
    Map source;
    source.Append("claimName", name);
    Map volume;
    volume.Append("name", name);
    volume.Append("persistentVolumeClaim", Value(std::move(source)));
    volumes.push_back(Value(std::move(volume)));
  }
  for (const Value& v : Items(pod.At("volumes")))
    if (!names.count(Text(v.At("name")))) volumes.push_back(v);
  pod.Set("volumes", Value(std::move(volumes)));
  return out;
}

FieldErrors ValidateStatefulSetSpec(const Value& spec, const std::string& path, bool is_create,
                                    bool check_template = true) {
  FieldErrors errors;
  std::string management = Text(spec.At("podManagementPolicy"));
  if (management.empty()) {
    errors.push_back(Required(Child(path, "podManagementPolicy")));
  } else if (management != "OrderedReady" && management != "Parallel") {
    errors.push_back(Invalid(Child(path, "podManagementPolicy"), management, "must be 'OrderedReady' or 'Parallel'"));
  }
  Append(errors, ValidateStatefulSetStrategy(spec.At("updateStrategy"), Child(path, "updateStrategy")));
  if (const Value& retention = spec.At("persistentVolumeClaimRetentionPolicy"); retention.is_map()) {
    for (const char* when : {"whenDeleted", "whenScaled"}) {
      if (!Contains({"Retain", "Delete"}, Text(retention.At(when))))
        errors.push_back(NotSupported(Child(path, "persistentVolumeClaimRetentionPolicy", when),
                                      Text(retention.At(when)), {"Retain", "Delete"}));
    }
  }
  const List& claims = Items(spec.At("volumeClaimTemplates"));
  if (is_create) {
    for (size_t i = 0; i < claims.size(); ++i)
      Append(errors,
             ValidateClaimSpec(claims[i].At("spec"), Child(Index(Child(path, "volumeClaimTemplates"), i), "spec")));
  }
  Append(errors, NotNegative(spec.At("replicas"), Child(path, "replicas")));
  Append(errors, NotNegative(spec.At("minReadySeconds"), Child(path, "minReadySeconds")));
  Append(errors, NotNegative(spec.At("ordinals", "start"), Child(path, "ordinals.start")));
  if (std::string service = Text(spec.At("serviceName")); is_create && !service.empty())
    AppendInvalid(errors, Child(path, "serviceName"), service, object::IsDns1123Label(service));

  const Value& selector = spec.At("selector");
  std::string at = Child(path, "selector"), template_path = Child(path, "template");
  if (!selector.is_map()) {
    errors.push_back(Required(at));
  } else {
    Append(errors, ops::ValidateLabelSelector(selector, at));
    if (SelectsNothingNamed(selector))
      errors.push_back(Invalid(at, selector, "empty selector is invalid for statefulset"));
  }
  if (auto parsed = ops::LabelSelector::FromObject(selector); !parsed) {
    errors.push_back(Invalid(at, selector, ""));
  } else {
    Value pod_template = WithClaimVolumes(spec);
    Append(errors, ValidateMatch(*parsed, pod_template, template_path));
    if (check_template) Append(errors, ValidatePodTemplate(pod_template, template_path));
    Append(errors, ops::ValidateLabels(TemplateLabels(pod_template), Child(template_path, "labels")));
    Append(errors, ops::ValidateAnnotations(object::AnnotationsOf(pod_template), Child(template_path, "annotations")));
  }
  Append(errors, ValidateRestartAlways(spec.At("template"), template_path, "StatefulSet"));
  return errors;
}

constexpr const char* kStatefulSetMutable[] = {"replicas",
                                               "template",
                                               "updateStrategy",
                                               "minReadySeconds",
                                               "ordinals",
                                               "revisionHistoryLimit",
                                               "persistentVolumeClaimRetentionPolicy"};

// --- status ---

FieldErrors NotNegativeFields(const Value& status, const Names& fields) {
  FieldErrors errors;
  for (const std::string& field : fields) Append(errors, NotNegative(status.At(field), Child("status", field)));
  return errors;
}
FieldErrors NotMoreThan(const Value& status, const char* field, const char* bound, const char* message) {
  if (status.At(field).int_or() <= status.At(bound).int_or()) return {};
  return {Invalid(Child("status", field), status.At(field), message)};
}
FieldErrors NotDecremented(const Value& now, const Value& old) {
  const Value &after = now.At("status", "collisionCount"), &before = old.At("status", "collisionCount");
  if (!before.is_int() || (after.is_int() && after.as_int() >= before.as_int())) return {};
  return {Invalid("status.collisionCount", after.int_or(), "cannot be decremented")};
}

constexpr const char* kMoreThanReplicas = "cannot be greater than status.replicas";

}  // namespace

// --- ReplicationController ---

static FieldErrors ValidateControllerSpec(const Value& spec, const std::string& path) {
  FieldErrors errors = NotNegative(spec.At("minReadySeconds"), Child(path, "minReadySeconds"));
  if (Size(spec.At("selector")) == 0) errors.push_back(Required(Child(path, "selector")));
  if (!spec.At("replicas").is_int()) {
    errors.push_back(Required(Child(path, "replicas")));
  } else {
    Append(errors, NotNegative(spec.At("replicas"), Child(path, "replicas")));
  }
  const Value& pod_template = spec.At("template");
  std::string at = Child(path, "template");
  if (!pod_template.is_map()) {
    errors.push_back(Required(at));
    return errors;
  }
  Append(errors, ValidateMatch(ops::LabelSelector::FromMap(spec.At("selector")), pod_template, at));
  Append(errors, ValidatePodTemplate(pod_template, at));
  Append(errors, ValidateRestartAlways(pod_template, at, "ReplicationController"));
  return errors;
}
FieldErrors ValidateReplicationController(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateControllerSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateReplicationControllerUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateControllerSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateReplicasStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  const Value& status = object.At("status");
  Append(errors, NotNegativeFields(status, {"replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas",
                                            "observedGeneration"}));
  for (const char* field : {"fullyLabeledReplicas", "readyReplicas", "availableReplicas"})
    Append(errors, NotMoreThan(status, field, "replicas", kMoreThanReplicas));
  Append(errors, NotMoreThan(status, "availableReplicas", "readyReplicas", "cannot be greater than readyReplicas"));
  return errors;
}

// --- ReplicaSet ---

FieldErrors ValidateReplicaSet(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateReplicaSetSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateReplicaSetUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateReplicaSetSpec(object.At("spec"), "spec"));
  Append(errors, ops::ValidateImmutable(object.At("spec", "selector"), old.At("spec", "selector"), "spec.selector"));
  return errors;
}

// --- Deployment ---

FieldErrors ValidateDeployment(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateDeploymentSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateDeploymentUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateDeploymentSpec(object.At("spec"), "spec"));
  Append(errors, ops::ValidateImmutable(object.At("spec", "selector"), old.At("spec", "selector"), "spec.selector"));
  return errors;
}
FieldErrors ValidateDeploymentStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  const Value& status = object.At("status");
  Append(errors, NotNegativeFields(
                     status, {"observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
                              "unavailableReplicas", "terminatingReplicas", "collisionCount"}));
  for (const char* field : {"updatedReplicas", "readyReplicas", "availableReplicas"})
    Append(errors, NotMoreThan(status, field, "replicas", kMoreThanReplicas));
  Append(errors, NotMoreThan(status, "availableReplicas", "readyReplicas", "cannot be greater than readyReplicas"));
  Append(errors, NotDecremented(object, old));
  return errors;
}

// --- DaemonSet ---

FieldErrors ValidateDaemonSet(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateDaemonSetSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateDaemonSetUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ops::ValidateImmutable(object.At("spec", "selector"), old.At("spec", "selector"), "spec.selector"));
  Append(errors, ValidateDaemonSetSpec(object.At("spec"), "spec"));
  return errors;
}
FieldErrors ValidateDaemonSetStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, NotNegativeFields(object.At("status"),
                                   {"currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled",
                                    "numberReady", "observedGeneration", "updatedNumberScheduled", "numberAvailable",
                                    "numberUnavailable", "collisionCount"}));
  Append(errors, NotDecremented(object, old));
  return errors;
}

// --- StatefulSet ---

FieldErrors ValidateStatefulSet(const Value& object) {
  FieldErrors errors = Meta(object, true, object::NameIsDnsLabel);
  Append(errors, ValidateStatefulSetSpec(object.At("spec"), "spec", true));
  return errors;
}
FieldErrors ValidateStatefulSetUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  bool old_was_fine = ValidateStatefulSetSpec(old.At("spec"), "", false).empty();
  Append(errors, ValidateStatefulSetSpec(object.At("spec"), "spec", false, old_was_fine));
  Value now = object.At("spec"), before = old.At("spec");
  for (const char* field : kStatefulSetMutable) {
    if (now.is_map()) now.Remove(field);
    if (before.is_map()) before.Remove(field);
  }
  if (!SemanticEqual(now, before)) {
    errors.push_back(FieldForbidden(
        "spec",
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
  }
  return errors;
}
FieldErrors ValidateStatefulSetStatusUpdate(const Value& object, const Value& old) {
  const Value& status = object.At("status");
  FieldErrors errors = NotNegativeFields(status, {"replicas", "readyReplicas", "currentReplicas", "updatedReplicas",
                                                  "availableReplicas", "observedGeneration", "collisionCount"});
  for (const char* field : {"readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"})
    Append(errors, NotMoreThan(status, field, "replicas", kMoreThanReplicas));
  Append(errors,
         NotMoreThan(status, "availableReplicas", "readyReplicas", "cannot be greater than status.readyReplicas"));
  Append(errors, MetaUpdate(object, old));
  Append(errors, NotDecremented(object, old));
  return errors;
}

// --- ControllerRevision ---

static FieldErrors ValidateRevision(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, NotNegative(object.At("revision"), "revision"));
  return errors;
}
FieldErrors ValidateControllerRevision(const Value& object) {
  FieldErrors errors = ValidateRevision(object);
  const Value& data = object.At("data");
  if (data.is_null()) {
    errors.push_back(Required("data", "data is mandatory"));
  } else if (!data.is_map()) {
    errors.push_back(Required("data", "data must be a valid JSON object"));
  }
  return errors;
}
FieldErrors ValidateControllerRevisionUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateRevision(object));
  Append(errors, ops::ValidateImmutable(object.At("data"), old.At("data"), "data"));
  return errors;
}

}  // namespace apiserver::registry::validation
