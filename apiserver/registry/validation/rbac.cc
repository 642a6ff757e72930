// Roles and bindings. Their names are path segments, and an update checks the new object before its metadata.
#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"
#include "machinery/ops/selector.h"

namespace apiserver::registry::validation {
namespace {

constexpr const char* kGroup = "rbac.authorization.k8s.io";

FieldErrors ValidateRule(const Value& rule, bool namespaced, const std::string& path) {
  FieldErrors errors;
  if (Size(rule.At("verbs")) == 0)
    errors.push_back(Required(Child(path, "verbs"), "verbs must contain at least one value"));
  const Value& urls = rule.At("nonResourceURLs");
  if (Size(urls) > 0) {
    std::string at = Child(path, "nonResourceURLs");
    if (namespaced) errors.push_back(Invalid(at, urls, "namespaced rules cannot apply to non-resource URLs"));
    if (Size(rule.At("apiGroups")) > 0 || Size(rule.At("resources")) > 0 || Size(rule.At("resourceNames")) > 0)
      errors.push_back(Invalid(at, urls, "rules cannot apply to both regular resources and non-resource URLs"));
    return errors;
  }
  if (Size(rule.At("apiGroups")) == 0)
    errors.push_back(Required(Child(path, "apiGroups"), "resource rules must supply at least one api group"));
  if (Size(rule.At("resources")) == 0)
    errors.push_back(Required(Child(path, "resources"), "resource rules must supply at least one resource"));
  return errors;
}

FieldErrors ValidateRules(const Value& role, bool namespaced) {
  FieldErrors errors = Meta(role, namespaced, object::NameIsPathSegment);
  const List& rules = Items(role.At("rules"));
  for (size_t i = 0; i < rules.size(); ++i) Append(errors, ValidateRule(rules[i], namespaced, Index("rules", i)));
  return errors;
}

FieldErrors ValidateSubject(const Value& subject, bool namespaced, const std::string& path) {
  FieldErrors errors;
  std::string name = Text(subject.At("name")), kind = Text(subject.At("kind")), group = Text(subject.At("apiGroup"));
  if (name.empty()) errors.push_back(Required(Child(path, "name")));
  if (kind == "ServiceAccount") {
    if (!name.empty()) AppendInvalid(errors, Child(path, "name"), name, object::IsDns1123Subdomain(name));
    if (!group.empty()) errors.push_back(NotSupported(Child(path, "apiGroup"), group, {""}));
    if (!namespaced && NoText(subject.At("namespace"))) errors.push_back(Required(Child(path, "namespace")));
  } else if (kind == "User" || kind == "Group") {
    if (group != kGroup) errors.push_back(NotSupported(Child(path, "apiGroup"), group, {kGroup}));
  } else {
    errors.push_back(NotSupported(Child(path, "kind"), kind, {"ServiceAccount", "User", "Group"}));
  }
  return errors;
}

FieldErrors ValidateBindingOf(const Value& binding, bool namespaced) {
  FieldErrors errors = Meta(binding, namespaced, object::NameIsPathSegment);
  const Value& ref = binding.At("roleRef");
  std::string group = Text(ref.At("apiGroup")), kind = Text(ref.At("kind")), name = Text(ref.At("name"));
  if (group != kGroup) errors.push_back(NotSupported("roleRef.apiGroup", group, {kGroup}));
  Names kinds = namespaced ? Names{"Role", "ClusterRole"} : Names{"ClusterRole"};
  if (!Contains(kinds, kind)) errors.push_back(NotSupported("roleRef.kind", kind, kinds));
  if (name.empty()) {
    errors.push_back(Required("roleRef.name"));
  } else {
    AppendInvalid(errors, "roleRef.name", name, object::IsPathSegmentName(name));
  }
  const List& subjects = Items(binding.At("subjects"));
  for (size_t i = 0; i < subjects.size(); ++i)
    Append(errors, ValidateSubject(subjects[i], namespaced, Index("subjects", i)));
  return errors;
}

FieldErrors ValidateBindingUpdate(const Value& object, const Value& old, bool namespaced) {
  FieldErrors errors = ValidateBindingOf(object, namespaced);
  Append(errors, MetaUpdate(object, old));
  const Value &now = object.At("roleRef"), &before = old.At("roleRef");
  if (!SemanticEqual(now, before)) {
    errors.push_back(Invalid("roleRef",
                             GoStruct(now, {{"APIGroup", "apiGroup", ""}, {"Kind", "kind", ""}, {"Name", "name", ""}}),
                             "cannot change roleRef"));
  }
  return errors;
}

}  // namespace

FieldErrors ValidateRole(const Value& object) { return ValidateRules(object, true); }
FieldErrors ValidateRoleUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidateRole(object);
  Append(errors, MetaUpdate(object, old));
  return errors;
}

FieldErrors ValidateClusterRole(const Value& object) {
  FieldErrors errors = ValidateRules(object, false);
  const Value& aggregation = object.At("aggregationRule");
  if (!aggregation.is_map()) return errors;
  const std::string path = "aggregationRule.clusterRoleSelectors";
  const List& selectors = Items(aggregation.At("clusterRoleSelectors"));
  if (selectors.empty())
    errors.push_back(Required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"));
  for (size_t i = 0; i < selectors.size(); ++i) {
    Append(errors, ops::ValidateLabelSelector(selectors[i], Index(path, i)));
    if (!ops::LabelSelector::FromObject(selectors[i]))
      errors.push_back(Invalid(Index(path, i), Value(), "invalid label selector."));
  }
  return errors;
}
FieldErrors ValidateClusterRoleUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidateClusterRole(object);
  Append(errors, MetaUpdate(object, old));
  return errors;
}

FieldErrors ValidateRoleBinding(const Value& object) { return ValidateBindingOf(object, true); }
FieldErrors ValidateRoleBindingUpdate(const Value& object, const Value& old) {
  return ValidateBindingUpdate(object, old, true);
}
FieldErrors ValidateClusterRoleBinding(const Value& object) { return ValidateBindingOf(object, false); }
FieldErrors ValidateClusterRoleBindingUpdate(const Value& object, const Value& old) {
  return ValidateBindingUpdate(object, old, false);
}

}  // namespace apiserver::registry::validation
