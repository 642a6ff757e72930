// Small kinds of the core group: ConfigMap, Secret, Namespace, ServiceAccount, Event, LimitRange, ResourceQuota, Node.
#include <algorithm>
#include <cstdio>

#include "apiserver/registry/validation/check.h"
#include "apiserver/registry/validation/kinds.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace apiserver::registry::validation {
namespace {

constexpr int kMaxDataSize = 1024 * 1024;
constexpr const char* kImmutableData = "field is immutable when `immutable` is set";

const Map& Entries(const Value& v) {
  static const Map none;
  return v.is_map() ? v.map() : none;
}
// Bytes that base64 text stands for.
size_t DecodedSize(std::string_view text) {
  size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  return text.size() / 4 * 3 - std::min(padding, text.size());
}

FieldErrors ValidateFrozen(const Value& object, const Value& old, const Names& fields) {
  FieldErrors errors;
  if (!old.At("immutable").bool_or()) return errors;
  if (!object.At("immutable").bool_or()) errors.push_back(FieldForbidden("immutable", kImmutableData));
  for (const std::string& field : fields)
    if (!SemanticEqual(object.At(field), old.At(field))) errors.push_back(FieldForbidden(field, kImmutableData));
  return errors;
}

// --- Secret ---

// An entry that must hold a JSON object.
FieldErrors ValidateJsonEntry(const Value& data, const char* key) {
  std::string path = Key("data", key);
  if (!data.At(key).is_string()) return {Required(path)};
  constexpr const char* kHidden = "<secret contents redacted>";
  auto text = base::Base64Decode(data.At(key).as_string());
  auto json = machinery::value::FromJson(text ? *text : "");
  if (!json) return {Invalid(path, kHidden, std::string(json.error().message()))};
  if (json->is_map() || json->is_null()) return {};
  std::string kind = json->is_list() ? "array" : json->is_string() ? "string" : json->is_bool() ? "bool" : "number";
  return {Invalid(path, kHidden, "json: cannot unmarshal " + kind + " into Go value of type map[string]interface {}")};
}

FieldErrors ValidateSecretType(const Value& secret) {
  FieldErrors errors;
  std::string type = Text(secret.At("type"));
  const Value& data = secret.At("data");
  auto need = [&](const char* key) {
    if (!data.At(key).is_string()) errors.push_back(Required(Key("data", key)));
  };
  if (type == "kubernetes.io/service-account-token") {
    constexpr const char* kName = "kubernetes.io/service-account.name";
    if (object::AnnotationOf(secret, kName).empty()) errors.push_back(Required(Key("metadata.annotations", kName)));
  } else if (type == "kubernetes.io/dockercfg") {
    Append(errors, ValidateJsonEntry(data, ".dockercfg"));
  } else if (type == "kubernetes.io/dockerconfigjson") {
    Append(errors, ValidateJsonEntry(data, ".dockerconfigjson"));
  } else if (type == "kubernetes.io/basic-auth") {
    if (data.At("username").is_string() || data.At("password").is_string()) return errors;
    need("username");
    need("password");
  } else if (type == "kubernetes.io/ssh-auth") {
    if (NoText(data.At("ssh-privatekey"))) errors.push_back(Required(Key("data", "ssh-privatekey")));
  } else if (type == "kubernetes.io/tls") {
    need("tls.crt");
    need("tls.key");
  }
  return errors;
}

// --- LimitRange ---

FieldErrors ValidateLimitType(const Value& v, const std::string& path) {
  std::string type = Text(v);
  FieldErrors errors = Reasoned(path, type, object::IsQualifiedName(type));
  bool known = Contains({"Pod", "Container", "PersistentVolumeClaim"}, type);
  if (errors.empty() && type.find('/') == std::string::npos && !known)
    errors.push_back(Invalid(path, type, "must be a standard limit type or fully qualified"));
  return errors;
}

FieldErrors ValidateRatio(const Value& limit, const std::string& name, const std::string& path) {
  FieldErrors errors;
  const Value &max = limit.At("max", name), &min = limit.At("min", name);
  object::Quantity ratio = QuantityOf(limit.At("maxLimitRequestRatio", name));
  if (ratio < object::Quantity::FromInt(1))
    errors.push_back(Invalid(path, ratio.ToString(), "ratio " + ratio.ToString() + " is less than 1"));
  if (max.is_null() || min.is_null()) return errors;
  double bound = QuantityOf(max).AsDouble() / QuantityOf(min).AsDouble();
  if (ratio.AsDouble() <= bound) return errors;
  char text[64];
  std::snprintf(text, sizeof text, "%f", bound);
  errors.push_back(Invalid(path, ratio.ToString(), "ratio " + ratio.ToString() + " is greater than max/min = " + text));
  return errors;
}

// What two quantities of the same resource must keep: the first at most the second.
struct LimitPair {
  const char *small, *large;
  const char *blamed, *shown;  // the field of the error and the one whose quantity it shows
  const char *small_name, *large_name;
};
constexpr LimitPair kLimitPairs[] = {
    {"min", "max", "min", "min", "min value", "max value"},
    {"min", "defaultRequest", "defaultRequest", "defaultRequest", "min value", "default request value"},
    {"defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value", "max value"},
    {"defaultRequest", "default", "defaultRequest", "defaultRequest", "default request value", "default limit value"},
    {"min", "default", "default", "min", "min value", "default value"},
    {"default", "max", "default", "max", "default value", "max value"},
};

FieldErrors ValidateLimitOf(const Value& limit, const std::string& name, const std::string& path) {
  FieldErrors errors;
  for (const LimitPair& p : kLimitPairs) {
    const Value &small = limit.At(p.small, name), &large = limit.At(p.large, name);
    if (small.is_null() || large.is_null()) continue;
    std::string less = QuantityOf(small).ToString(), more = QuantityOf(large).ToString();
    if (QuantityOf(small) <= QuantityOf(large)) continue;
    std::string why = std::string(p.small_name) + " " + less + " is greater than " + p.large_name + " " + more;
    errors.push_back(Invalid(Key(Child(path, p.blamed), name), QuantityOf(limit.At(p.shown, name)).ToString(), why));
  }
  if (!limit.At("maxLimitRequestRatio", name).is_null())
    Append(errors, ValidateRatio(limit, name, Key(Child(path, "maxLimitRequestRatio"), name)));
  const Value &usual = limit.At("default", name), &request = limit.At("defaultRequest", name);
  bool overcommit = IsNativeResource(name) && !name.starts_with("hugepages-");
  if (!overcommit && !usual.is_null() && !request.is_null() && QuantityOf(usual) != QuantityOf(request)) {
    std::string why = "default value " + QuantityOf(usual).ToString() + " must equal to defaultRequest value " +
                      QuantityOf(request).ToString() + " in " + name;
    errors.push_back(Invalid(Key(Child(path, "defaultRequest"), name), QuantityOf(request).ToString(), why));
  }
  return errors;
}

FieldErrors ValidateLimit(const Value& limit, const std::string& path) {
  FieldErrors errors;
  std::string type = Text(limit.At("type"));
  std::set<std::string> names;
  auto check_names = [&](const char* field) {
    for (const auto& e : Entries(limit.At(field))) {
      names.insert(e.key);
      auto rule = type == "Pod" || type == "Container" ? ValidateContainerResourceName : ValidateResourceName;
      Append(errors, rule(e.key, Key(Child(path, field), e.key)));
    }
  };
  check_names("max");
  check_names("min");
  for (const char* field : {"default", "defaultRequest"}) {
    if (type != "Pod") {
      check_names(field);
    } else if (Size(limit.At(field)) > 0) {
      errors.push_back(FieldForbidden(Child(path, field), "may not be specified when `type` is 'Pod'"));
    }
  }
  if (type == "PersistentVolumeClaim" && limit.At("min", "storage").is_null() && limit.At("max", "storage").is_null())
    errors.push_back(Required(Child(path, "limits"),
                              "either minimum or maximum storage value is required, but neither was provided"));
  check_names("maxLimitRequestRatio");
  for (const std::string& name : names) Append(errors, ValidateLimitOf(limit, name, path));
  return errors;
}

// --- ResourceQuota ---

FieldErrors ValidateQuotaList(const Value& list, const std::string& path) {
  FieldErrors errors;
  for (const auto& e : Entries(list)) {
    std::string at = Key(path, e.key);
    Append(errors, ValidateResourceName(e.key, at));
    if (e.key.find('/') == std::string::npos && !IsStandardQuotaResource(e.key))
      errors.push_back(Invalid(at, e.key, "must be a standard resource for quota"));
    Append(errors, ValidateResourceQuantity(e.key, e.value, at));
  }
  return errors;
}

const Names kScopes = {"Terminating",          "NotTerminating", "BestEffort",
                       "NotBestEffort",        "PriorityClass",  "CrossNamespacePodAffinity",
                       "VolumeAttributesClass"};

bool ScopeFits(const std::string& scope, const std::string& resource) {
  const Names compute = {"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"};
  if (!Contains(kScopes, scope)) return true;
  if (scope == "BestEffort") return resource == "pods";
  if (scope == "VolumeAttributesClass") return resource == "persistentvolumeclaims" || resource == "requests.storage";
  return resource == "pods" || Contains(compute, resource);
}

// Scopes against the resources under them and against each other; `shown` is the value in the errors.
FieldErrors ValidateScope(const Value& spec, const std::string& scope, const Value& shown, const std::string& path,
                          const std::string& unsupported_path, const Value& unsupported) {
  FieldErrors errors;
  if (!Contains(kScopes, scope)) errors.push_back(Invalid(unsupported_path, unsupported, "unsupported scope"));
  for (const auto& e : Entries(spec.At("hard")))
    if (IsStandardQuotaResource(e.key) && !ScopeFits(scope, e.key))
      errors.push_back(Invalid(path, shown, "unsupported scope applied to resource"));
  return errors;
}
FieldErrors ValidateConflicts(const std::set<std::string>& scopes, const Value& shown, const std::string& path) {
  FieldErrors errors;
  for (const char* scope : {"BestEffort", "Terminating"})
    if (scopes.count(scope) && scopes.count(std::string("Not") + scope))
      errors.push_back(Invalid(path, shown, "conflicting scopes"));
  return errors;
}

FieldErrors ValidateScopeSelector(const Value& spec, const std::string& path) {
  FieldErrors errors;
  const Value& selector = spec.At("scopeSelector");
  Value shown = GoStruct(selector, {{"MatchExpressions", "matchExpressions", Value()}});
  std::set<std::string> seen;
  for (const Value& r : Items(selector.At("matchExpressions"))) {
    std::string scope = Text(r.At("scopeName")), op = Text(r.At("operator"));
    Append(errors, ValidateScope(spec, scope, shown, path, Child(path, "scopeName"), scope));
    if (Contains(kScopes, scope) && scope != "PriorityClass" && scope != "VolumeAttributesClass" && op != "Exists") {
      errors.push_back(Invalid(
          Child(path, "operator"), op,
          "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
          "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
          "ResourceQuotaScopeCrossNamespacePodAffinity"));
    }
    size_t values = Size(r.At("values"));
    if (op == "In" || op == "NotIn") {
      if (values == 0)
        errors.push_back(Required(Child(path, "values"),
                                  "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"));
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (values > 0)
        errors.push_back(Invalid(Child(path, "values"), r.At("values"),
                                 "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"));
    } else {
      errors.push_back(Invalid(Child(path, "operator"), op, "not a valid selector operator"));
    }
    seen.insert(scope);
  }
  Append(errors, ValidateConflicts(seen, spec.At("scopes"), path));
  return errors;
}

FieldErrors ValidateQuotaSpec(const Value& spec, const std::string& path) {
  FieldErrors errors = ValidateQuotaList(spec.At("hard"), Child(path, "hard"));
  std::string at = Child(path, "scopes");
  const Value& scopes = spec.At("scopes");
  std::set<std::string> seen;
  for (const Value& scope : Items(scopes)) {
    Append(errors, ValidateScope(spec, Text(scope), scopes, at, at, scopes));
    seen.insert(Text(scope));
  }
  Append(errors, ValidateConflicts(seen, scopes, at));
  if (spec.At("scopeSelector").is_map())
    Append(errors, ValidateScopeSelector(spec, Child(path, "scopeSelector", "matchExpressions")));
  return errors;
}

FieldErrors ValidateQuotaStatus(const Value& quota) {
  FieldErrors errors = ValidateQuotaList(quota.At("status", "hard"), "status.hard");
  Append(errors, ValidateQuotaList(quota.At("status", "used"), "status.used"));
  return errors;
}

// --- Node ---

FieldErrors ValidateTaints(const Value& taints, const std::string& path) {
  FieldErrors errors;
  std::set<std::pair<std::string, std::string>> seen;
  for (size_t i = 0; i < Items(taints).size(); ++i) {
    const Value& taint = taints.At(i);
    std::string at = Index(path, i), key = Text(taint.At("key")), value = Text(taint.At("value"));
    AppendInvalid(errors, Child(at, "key"), key, object::IsQualifiedName(key));
    if (auto reasons = object::IsLabelValue(value); !reasons.empty())
      errors.push_back(Invalid(Child(at, "value"), value, base::Join(reasons, ";")));
    Append(errors, ValidateTaintEffect(taint.At("effect"), false, Child(at, "effect")));
    if (seen.insert({Text(taint.At("effect")), key}).second) continue;
    FieldError e = Duplicate(at, GoStruct(taint, {{"Key", "key", ""},
                                                  {"Value", "value", ""},
                                                  {"Effect", "effect", ""},
                                                  {"TimeAdded", "timeAdded", Value()}}));
    e.detail = "taints must be unique by key and effect pair";
    errors.push_back(std::move(e));
  }
  return errors;
}

FieldErrors ValidateNodeResources(const Value& node) {
  FieldErrors errors;
  for (const char* field : {"capacity", "allocatable"})
    for (const auto& e : Entries(node.At("status", field)))
      Append(errors, ValidateResourceQuantity(e.key, e.value, Child("status", field, e.key)));
  return errors;
}

FieldErrors ValidateWholeNode(const Value& node) {
  FieldErrors errors = Meta(node, false);
  Append(errors, ValidateTaints(node.At("spec", "taints"), "metadata.taints"));
  Append(errors, ValidateNodeResources(node));
  const std::string path = "spec.podCIDRs";
  const Value& cidrs = node.At("spec", "podCIDRs");
  int v4 = 0;
  for (size_t i = 0; i < Items(cidrs).size(); ++i) {
    Append(errors, object::IsValidLegacyCidr(Index(path, i), Text(cidrs.At(i))));
    if (auto cidr = object::ParseCidr(Text(cidrs.At(i))); cidr && cidr->address.v4) ++v4;
  }
  if (Size(cidrs) > 2 || (Size(cidrs) == 2 && v4 != 1))
    errors.push_back(Invalid(path, cidrs, "may specify no more than one CIDR for each IP family"));
  return errors;
}

}  // namespace

// --- ConfigMap and Secret ---

FieldErrors ValidateConfigMap(const Value& object) {
  FieldErrors errors = Meta(object, true);
  const Value& binary = object.At("binaryData");
  size_t total = 0;
  for (const auto& e : Entries(object.At("data"))) {
    std::string path = Key("data", e.key);
    AppendInvalid(errors, path, e.key, object::IsConfigMapKey(e.key));
    if (binary.is_map() && binary.map().Find(e.key))
      errors.push_back(Invalid(path, e.key, "duplicate of key present in binaryData"));
    total += e.value.string_or().size();
  }
  for (const auto& e : Entries(binary)) {
    AppendInvalid(errors, Key("binaryData", e.key), e.key, object::IsConfigMapKey(e.key));
    total += DecodedSize(e.value.string_or());
  }
  if (total > kMaxDataSize) errors.push_back(object::TooLong("", kMaxDataSize));
  return errors;
}
FieldErrors ValidateConfigMapUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateFrozen(object, old, {"data", "binaryData"}));
  Append(errors, ValidateConfigMap(object));
  return errors;
}

FieldErrors ValidateSecret(const Value& object) {
  FieldErrors errors = Meta(object, true);
  size_t total = 0;
  for (const auto& e : Entries(object.At("data"))) {
    AppendInvalid(errors, Key("data", e.key), e.key, object::IsConfigMapKey(e.key));
    total += DecodedSize(e.value.string_or());
  }
  if (total > kMaxDataSize) errors.push_back(object::TooLong("data", kMaxDataSize));
  Append(errors, ValidateSecretType(object));
  return errors;
}
FieldErrors ValidateSecretUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ops::ValidateImmutable(object.At("type"), old.At("type"), "type"));
  Append(errors, ValidateFrozen(object, old, {"data"}));
  Append(errors, ValidateSecret(object));
  return errors;
}

// --- Namespace ---

FieldErrors ValidateNamespace(const Value& object) {
  FieldErrors errors = Meta(object, false, object::NameIsDnsLabel);
  for (const Value& f : Items(object.At("spec", "finalizers"))) {
    List one = {f};
    for (auto& e : ops::ValidateFinalizers(Value(std::move(one)), true, "spec.finalizers")) {
      e.field = "spec.finalizers";
      errors.push_back(std::move(e));
    }
  }
  return errors;
}
FieldErrors ValidateNamespaceUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidateNamespace(object);
  Append(errors, MetaUpdate(object, old));
  return errors;
}
FieldErrors ValidateNamespaceStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  std::string phase = Text(object.At("status", "phase"));
  bool deleting = object::IsDeleting(object);
  if (!deleting && phase != "Active")
    errors.push_back(Invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty"));
  if (deleting && phase != "Terminating")
    errors.push_back(Invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty"));
  return errors;
}

FieldErrors ValidateServiceAccount(const Value& object) { return Meta(object, true); }
FieldErrors ValidateServiceAccountUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateServiceAccount(object));
  return errors;
}

// --- LimitRange and ResourceQuota ---

FieldErrors ValidateLimitRange(const Value& object) {
  FieldErrors errors = Meta(object, true);
  const List& limits = Items(object.At("spec", "limits"));
  std::set<std::string> types;
  for (size_t i = 0; i < limits.size(); ++i) {
    std::string path = Index("spec.limits", i);
    const Value& type = limits[i].At("type");
    Append(errors, ValidateLimitType(type, Child(path, "type")));
    if (!types.insert(Text(type)).second) errors.push_back(Duplicate(Child(path, "type"), type));
    Append(errors, ValidateLimit(limits[i], path));
  }
  return errors;
}
FieldErrors ValidateLimitRangeUpdate(const Value& object, const Value&) { return ValidateLimitRange(object); }

FieldErrors ValidateResourceQuota(const Value& object) {
  FieldErrors errors = Meta(object, true);
  Append(errors, ValidateQuotaSpec(object.At("spec"), "spec"));
  Append(errors, ValidateQuotaStatus(object));
  return errors;
}
FieldErrors ValidateResourceQuotaUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateQuotaSpec(object.At("spec"), "spec"));
  auto scopes = [](const Value& quota) {
    std::set<std::string> out;
    for (const Value& s : Items(quota.At("spec", "scopes"))) out.insert(Text(s));
    return out;
  };
  if (scopes(object) != scopes(old))
    errors.push_back(Invalid("spec.scopes", object.At("spec", "scopes"), ops::kImmutable));
  return errors;
}
FieldErrors ValidateResourceQuotaStatusUpdate(const Value& object, const Value& old) {
  FieldErrors errors = MetaUpdate(object, old);
  if (object::ResourceVersionOf(object).empty()) errors.push_back(Required("resourceVersion"));
  Append(errors, ValidateQuotaStatus(object));
  return errors;
}

// --- Node ---

FieldErrors ValidateNode(const Value& object) { return ValidateWholeNode(object); }

FieldErrors ValidateNodeStatusUpdate(const Value& object, const Value& old) {
  constexpr const char* kPodCidr = "node updates may not change podCIDR except from \"\" to valid";
  FieldErrors errors = MetaUpdate(object, old);
  Append(errors, ValidateNodeResources(object));
  const List& addresses = Items(object.At("status", "addresses"));
  std::set<std::pair<std::string, std::string>> seen;
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (!seen.emplace(Text(addresses[i].At("type")), Text(addresses[i].At("address"))).second) {
      errors.push_back(Duplicate(Index("status.addresses", i),
                                 GoStruct(addresses[i], {{"Type", "type", ""}, {"Address", "address", ""}})));
    }
  }
  const Value &now = object.At("spec", "podCIDRs"), &before = old.At("spec", "podCIDRs");
  if (Size(before) > 0 && Size(before) != Size(now)) {
    errors.push_back(FieldForbidden("spec.podCIDRs", kPodCidr));
  } else {
    for (size_t i = 0; i < Size(before); ++i)
      if (!(before.At(i) == now.At(i))) errors.push_back(FieldForbidden("spec.podCIDRs", kPodCidr));
  }
  std::string provider = Text(old.At("spec", "providerID"));
  if (!provider.empty() && provider != Text(object.At("spec", "providerID")))
    errors.push_back(
        FieldForbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid"));
  Append(errors, ValidateTaints(object.At("spec", "taints"), "metadata.taints"));
  if (Text(object.At("spec", "externalID")) != Text(old.At("spec", "externalID")))
    errors.push_back(FieldForbidden("spec.externalID", "may not be updated"));
  return errors;
}
FieldErrors ValidateNodeUpdate(const Value& object, const Value& old) {
  FieldErrors errors = ValidateWholeNode(object);
  Append(errors, ValidateNodeStatusUpdate(object, old));
  return errors;
}

}  // namespace apiserver::registry::validation
