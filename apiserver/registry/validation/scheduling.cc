// Where a pod may run: selectors, affinity, tolerations, spreading.
#include <map>
#include <set>

#include "apiserver/registry/validation/check.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

const Names kEffects = {"NoSchedule", "PreferNoSchedule", "NoExecute"};

FieldErrors ValidateRequirement(const Value& r, const std::string& path) {
  FieldErrors errors;
  std::string_view op = r.At("operator").string_or();
  size_t values = Size(r.At("values"));
  if (op == "In" || op == "NotIn") {
    if (values == 0)
      errors.push_back(Required(Child(path, "values"), "must be specified when `operator` is 'In' or 'NotIn'"));
  } else if (op == "Exists" || op == "DoesNotExist") {
    if (values > 0) {
      errors.push_back(
          FieldForbidden(Child(path, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    }
  } else if (op == "Gt" || op == "Lt") {
    if (values != 1)
      errors.push_back(
          Required(Child(path, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"));
  } else {
    errors.push_back(Invalid(Child(path, "operator"), op, "not a valid selector operator"));
  }
  AppendInvalid(errors, Child(path, "key"), Text(r.At("key")), object::IsQualifiedName(Text(r.At("key"))));
  const Names texts = object::StringsOf(r.At("values"));
  for (size_t i = 0; i < texts.size(); ++i)
    AppendInvalid(errors, Index(Child(path, "values"), i), texts[i], object::IsLabelValue(texts[i]));
  return errors;
}

FieldErrors ValidateFieldRequirement(const Value& r, const std::string& path) {
  FieldErrors errors;
  std::string_view op = r.At("operator").string_or();
  if (op == "In" || op == "NotIn") {
    if (Size(r.At("values")) != 1) {
      errors.push_back(Required(Child(path, "values"),
                                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"));
    }
  } else {
    errors.push_back(Invalid(Child(path, "operator"), op, "not a valid selector operator"));
  }
  if (r.At("key").string_or() != "metadata.name") {
    errors.push_back(Invalid(Child(path, "key"), Text(r.At("key")), "not a valid field selector key"));
    return errors;
  }
  const Names names = object::StringsOf(r.At("values"));
  for (size_t i = 0; i < names.size(); ++i)
    AppendInvalid(errors, Index(Child(path, "values"), i), names[i], object::IsDns1123Subdomain(names[i]));
  return errors;
}

FieldErrors ValidateTerm(const Value& term, const std::string& path) {
  FieldErrors errors;
  const List& expressions = Items(term.At("matchExpressions"));
  for (size_t i = 0; i < expressions.size(); ++i)
    Append(errors, ValidateRequirement(expressions[i], Index(Child(path, "matchExpressions"), i)));
  const List& fields = Items(term.At("matchFields"));
  for (size_t i = 0; i < fields.size(); ++i)
    Append(errors, ValidateFieldRequirement(fields[i], Index(Child(path, "matchFields"), i)));
  return errors;
}

FieldErrors ValidateWeight(const Value& term, const std::string& path) {
  int64_t weight = term.At("weight").int_or();
  if (weight > 0 && weight <= 100) return {};
  return {Invalid(Child(path, "weight"), weight, "must be in the range 1-100")};
}

// matchLabelKeys and mismatchLabelKeys of an affinity term or a spread constraint. By now the selector has the
// requirements that the keys stand for, so a key is the writer's own there only when it occurs twice.
FieldErrors ValidateLabelKeys(const Value& term, const std::string& path) {
  const Value& selector = term.At("labelSelector");
  FieldErrors errors;
  for (const char* field : {"matchLabelKeys", "mismatchLabelKeys"}) {
    const List& keys = Items(term.At(field));
    std::string at = Child(path, field);
    if (!keys.empty() && !selector.is_map())
      errors.push_back(FieldForbidden(at, "must not be specified when labelSelector is not set"));
    else
      for (size_t i = 0; i < keys.size(); ++i)
        AppendInvalid(errors, Index(at, i), keys[i], object::IsQualifiedName(keys[i].string_or()));
  }
  std::map<std::string, size_t, std::less<>> match;
  const List& keys = Items(term.At("matchLabelKeys"));
  for (size_t i = 0; i < keys.size(); ++i) match[Text(keys[i])] = i;
  std::set<std::string> seen;
  if (const Value& labels = selector.At("matchLabels"); labels.is_map())
    for (const auto& e : labels.map()) seen.insert(e.key);
  for (const Value& e : Items(selector.At("matchExpressions"))) {
    std::string key = Text(e.At("key"));
    auto known = match.find(key);
    if (known != match.end() && seen.contains(key))
      errors.push_back(Invalid(Index(path, known->second), key, "exists in both matchLabelKeys and labelSelector"));
    seen.insert(std::move(key));
  }
  std::set<std::string> mismatch;
  for (const Value& key : Items(term.At("mismatchLabelKeys"))) mismatch.insert(Text(key));
  for (size_t i = 0; i < keys.size(); ++i)
    if (mismatch.contains(Text(keys[i])))
      errors.push_back(Invalid(Index(Child(path, "matchLabelKeys"), i), keys[i],
                               "exists in both matchLabelKeys and mismatchLabelKeys"));
  return errors;
}

FieldErrors ValidatePodTerm(const Value& term, const std::string& path) {
  FieldErrors errors = ops::ValidateLabelSelector(term.At("labelSelector"), Child(path, "labelSelector"));
  Append(errors, ops::ValidateLabelSelector(term.At("namespaceSelector"), Child(path, "namespaceSelector")));
  for (const std::string& ns : object::StringsOf(term.At("namespaces")))
    AppendInvalid(errors, Child(path, "namespace"), ns, object::IsDns1123Label(ns));
  std::string key = Text(term.At("topologyKey"));
  if (key.empty()) errors.push_back(Required(Child(path, "topologyKey"), "can not be empty"));
  AppendInvalid(errors, Child(path, "topologyKey"), key, object::IsQualifiedName(key));
  Append(errors, ValidateLabelKeys(term, path));
  return errors;
}

FieldErrors ValidatePodAffinity(const Value& affinity, const std::string& path) {
  FieldErrors errors;
  std::string required = Child(path, "requiredDuringSchedulingIgnoredDuringExecution");
  const List& hard = Items(affinity.At("requiredDuringSchedulingIgnoredDuringExecution"));
  for (size_t i = 0; i < hard.size(); ++i) Append(errors, ValidatePodTerm(hard[i], Index(required, i)));
  std::string preferred = Child(path, "preferredDuringSchedulingIgnoredDuringExecution");
  const List& soft = Items(affinity.At("preferredDuringSchedulingIgnoredDuringExecution"));
  for (size_t i = 0; i < soft.size(); ++i) {
    Append(errors, ValidateWeight(soft[i], Index(preferred, i)));
    Append(errors, ValidatePodTerm(soft[i].At("podAffinityTerm"), Child(Index(preferred, i), "podAffinityTerm")));
  }
  return errors;
}

}  // namespace

FieldErrors ValidateNodeSelector(const Value& selector, const std::string& path) {
  const List& terms = Items(selector.At("nodeSelectorTerms"));
  std::string at = Child(path, "nodeSelectorTerms");
  if (terms.empty()) return {Required(at, "must have at least one node selector term")};
  FieldErrors errors;
  for (size_t i = 0; i < terms.size(); ++i) Append(errors, ValidateTerm(terms[i], Index(at, i)));
  return errors;
}

FieldErrors ValidateAffinity(const Value& affinity, const std::string& path) {
  FieldErrors errors;
  const Value& node = affinity.At("nodeAffinity");
  std::string node_path = Child(path, "nodeAffinity");
  if (const Value& hard = node.At("requiredDuringSchedulingIgnoredDuringExecution"); hard.is_map())
    Append(errors, ValidateNodeSelector(hard, Child(node_path, "requiredDuringSchedulingIgnoredDuringExecution")));
  const List& soft = Items(node.At("preferredDuringSchedulingIgnoredDuringExecution"));
  for (size_t i = 0; i < soft.size(); ++i) {
    std::string at = Index(Child(node_path, "preferredDuringSchedulingIgnoredDuringExecution"), i);
    Append(errors, ValidateWeight(soft[i], at));
    Append(errors, ValidateTerm(soft[i].At("preference"), Child(at, "preference")));
  }
  for (const char* kind : {"podAffinity", "podAntiAffinity"})
    Append(errors, ValidatePodAffinity(affinity.At(kind), Child(path, kind)));
  return errors;
}

FieldErrors ValidateTaintEffect(const Value& effect, bool allow_empty, const std::string& path) {
  if (NoText(effect)) return allow_empty ? FieldErrors{} : FieldErrors{Required(path)};
  if (Contains(kEffects, effect.string_or())) return {};
  return {NotSupported(path, effect, kEffects)};
}

FieldErrors ValidateTolerations(const Value& tolerations, const std::string& path) {
  FieldErrors errors;
  for (size_t i = 0; i < Size(tolerations); ++i) {
    const Value& t = tolerations.list()[i];
    std::string at = Index(path, i), key = Text(t.At("key")), op = Text(t.At("operator")), v = Text(t.At("value"));
    if (!key.empty()) AppendInvalid(errors, Child(at, "key"), key, object::IsQualifiedName(key));
    if (key.empty() && op != "Exists") {
      errors.push_back(Invalid(Child(at, "operator"), op,
                               "operator must be Exists when `key` is empty, which means \"match all values and all "
                               "keys\""));
    }
    if (t.At("tolerationSeconds").is_int() && t.At("effect").string_or() != "NoExecute") {
      errors.push_back(Invalid(Child(at, "effect"), Text(t.At("effect")),
                               "effect must be 'NoExecute' when `tolerationSeconds` is set"));
    }
    if (op.empty() || op == "Equal") {
      if (object::Reasons reasons = object::IsLabelValue(v); !reasons.empty())
        errors.push_back(Invalid(Child(at, "operator"), v, base::Join(reasons, ";")));
    } else if (op == "Exists") {
      if (!v.empty())
        errors.push_back(Invalid(Child(at, "operator"), v, "value must be empty when `operator` is 'Exists'"));
    } else if (op == "Lt" || op == "Gt") {
      errors.push_back(NotSupported(Child(at, "operator"), op, {"Equal", "Exists", "Lt", "Gt"}));
    } else {
      errors.push_back(NotSupported(Child(at, "operator"), op, {"Equal", "Exists"}));
    }
    Append(errors, ValidateTaintEffect(t.At("effect"), true, Child(at, "effect")));
  }
  return errors;
}

FieldErrors ValidateTopologySpread(const Value& constraints, const std::string& path) {
  FieldErrors errors;
  const List& list = Items(constraints);
  // Where a pair occurs last: all before it are said to be duplicates.
  std::map<std::pair<std::string, std::string>, size_t> last;
  for (size_t i = 0; i < list.size(); ++i)
    last[{Text(list[i].At("topologyKey")), Text(list[i].At("whenUnsatisfiable"))}] = i;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list[i];
    std::string at = Index(path, i), key = Text(c.At("topologyKey")), when = Text(c.At("whenUnsatisfiable"));
    Append(errors, Positive(c.At("maxSkew").int_or(), Child(at, "maxSkew")));
    if (key.empty()) errors.push_back(Required(Child(at, "topologyKey"), "can not be empty"));
    if (!Contains({"DoNotSchedule", "ScheduleAnyway"}, when))
      errors.push_back(NotSupported(Child(at, "whenUnsatisfiable"), when, {"DoNotSchedule", "ScheduleAnyway"}));
    if (last[{key, when}] > i)
      errors.push_back(Duplicate(Child(at, "{topologyKey, whenUnsatisfiable}"), "{" + key + ", " + when + "}"));
    if (const Value& domains = c.At("minDomains"); domains.is_int()) {
      Append(errors, Positive(domains.as_int(), Child(at, "minDomains")));
      if (when != "DoNotSchedule") {
        errors.push_back(Invalid(Child(at, "minDomains"), domains,
                                 "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + when));
      }
    }
    for (const char* policy : {"nodeAffinityPolicy", "nodeTaintsPolicy"})
      if (c.At(policy).is_string() && !Contains({"Honor", "Ignore"}, c.At(policy).as_string()))
        errors.push_back(NotSupported(Child(at, policy), c.At(policy), {"Honor", "Ignore"}));
    Append(errors, ValidateLabelKeys(c, at));
    Append(errors, ops::ValidateLabelSelector(c.At("labelSelector"), Child(at, "labelSelector")));
  }
  return errors;
}

}  // namespace apiserver::registry::validation
