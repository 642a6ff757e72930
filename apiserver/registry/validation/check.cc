#include "apiserver/registry/validation/check.h"

#include <algorithm>
#include <charconv>

namespace apiserver::registry::validation {

const List& Items(const Value& v) {
  static const List none;
  return v.is_list() ? v.list() : none;
}

size_t Size(const Value& v) { return v.is_list() ? v.list().size() : v.is_map() ? v.map().size() : 0; }

bool Contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string Child(const std::string& path, std::string_view a, std::string_view b) { return Child(Child(path, a), b); }

object::Quantity QuantityOf(const Value& v) {
  auto q = object::Quantity::Parse(v.is_string() ? v.as_string() : v.is_null() ? "0" : machinery::value::ToJson(v));
  return q ? *q : object::Quantity();
}

FieldErrors OneOf(const std::string& path, const Value& v, const Names& allowed) {
  if (NoText(v)) return {Required(path)};
  if (Contains(allowed, v.string_or())) return {};
  return {NotSupported(path, v, allowed)};
}

FieldErrors NotNegative(const Value& v, const std::string& path) { return ops::ValidateNotNegative(v.int_or(), path); }

FieldErrors Positive(int64_t v, const std::string& path) {
  if (v > 0) return {};
  return {Invalid(path, v, "must be greater than zero")};
}

FieldErrors Reasoned(const std::string& path, const Value& v, const object::Reasons& reasons) {
  FieldErrors errors;
  AppendInvalid(errors, path, v, reasons);
  return errors;
}

Value GoStruct(const Value& v, const std::vector<GoField>& fields) {
  Map out;
  for (const GoField& f : fields) {
    const Value& field = v.At(f.json);
    out.Append(f.name, field.is_null() ? f.zero : field);
  }
  return Value(std::move(out));
}

FieldErrors Meta(const Value& object, bool namespaced, object::NameRule rule) {
  return ops::ValidateObjectMeta(object, {.namespaced = namespaced, .name = rule});
}
FieldErrors MetaUpdate(const Value& object, const Value& old) { return ops::ValidateObjectMetaUpdate(object, old); }

namespace {

constexpr std::string_view kCounted[] = {
    "pods",       "resourcequotas",         "services",           "replicationcontrollers", "secrets",
    "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers"};
constexpr std::string_view kMeasured[] = {"cpu",
                                          "memory",
                                          "ephemeral-storage",
                                          "requests.cpu",
                                          "requests.memory",
                                          "requests.ephemeral-storage",
                                          "requests.storage",
                                          "limits.cpu",
                                          "limits.memory",
                                          "limits.ephemeral-storage"};

template <class T>
bool IsIn(const T& table, std::string_view name) {
  return std::find(std::begin(table), std::end(table), name) != std::end(table);
}
bool IsHugePage(std::string_view name) { return name.starts_with("hugepages-"); }
bool IsQuotaHugePage(std::string_view name) { return IsHugePage(name) || name.starts_with("requests.hugepages-"); }

}  // namespace

bool IsStandardQuotaResource(std::string_view name) {
  return IsIn(kCounted, name) || IsIn(kMeasured, name) || IsQuotaHugePage(name);
}
bool IsStandardResource(std::string_view name) { return name == "storage" || IsStandardQuotaResource(name); }
bool IsNativeResource(std::string_view name) {
  return name.find('/') == std::string_view::npos || name.find("kubernetes.io/") != std::string_view::npos;
}
bool IsExtendedResource(std::string_view name) {
  return !IsNativeResource(name) && !name.starts_with("requests.") &&
         object::IsQualifiedName("requests." + std::string(name)).empty();
}

FieldErrors ValidateResourceName(const std::string& name, const std::string& path) {
  FieldErrors errors = Reasoned(path, name, object::IsQualifiedName(name));
  if (errors.empty() && name.find('/') == std::string::npos && !IsStandardResource(name))
    errors.push_back(Invalid(path, name, "must be a standard resource type or fully qualified"));
  return errors;
}

FieldErrors ValidateResourceQuantity(const std::string& name, const Value& v, const std::string& path) {
  FieldErrors errors;
  object::Quantity q = QuantityOf(v);
  if (q.Sign() < 0) errors.push_back(Invalid(path, q.ToString(), ops::kNotNegative));
  bool whole = IsIn(kCounted, name) || IsExtendedResource(name);
  if (whole && q.MilliValue() % 1000 != 0) errors.push_back(Invalid(path, v, "must be an integer"));
  return errors;
}

FieldErrors ValidateContainerResourceName(const std::string& name, const std::string& path) {
  FieldErrors errors = ValidateResourceName(name, path);
  bool plain = name.find('/') == std::string::npos;
  bool standard = name == "cpu" || name == "memory" || name == "ephemeral-storage" || IsHugePage(name);
  if (plain && !standard) {
    errors.push_back(Invalid(path, name, "must be a standard resource for containers"));
  } else if (!plain && !IsNativeResource(name) && !IsExtendedResource(name)) {
    errors.push_back(Invalid(path, name, "doesn't follow extended resource name standard"));
  }
  return errors;
}

namespace {

// A request against its limit.
FieldErrors CompareWithLimit(const std::string& name, const Value& request, const Value& limits,
                             const std::string& path) {
  const Value& limit = limits.At(name);
  bool overcommit = IsNativeResource(name) && !IsHugePage(name);
  if (limit.is_null()) {
    if (overcommit) return {};
    return {Required(Child(path, "limits"), "Limit must be set for non overcommitable resources")};
  }
  object::Quantity asked = QuantityOf(request), bound = QuantityOf(limit);
  std::string of = name + " limit of " + bound.ToString();
  if (asked != bound && !overcommit)
    return {Invalid(Child(path, "requests"), asked.ToString(), "must be equal to " + of)};
  if (asked > bound) return {Invalid(Child(path, "requests"), asked.ToString(), "must be less than or equal to " + of)};
  return {};
}

}  // namespace

FieldErrors ValidateContainerResources(const Value& resources, const std::string& path) {
  FieldErrors errors;
  bool cpu_or_memory = false, huge_pages = false;
  for (const char* part : {"limits", "requests"}) {
    const Value& list = resources.At(part);
    if (!list.is_map()) continue;
    for (const auto& e : list.map()) {
      std::string at = Key(Child(path, part), e.key);
      Append(errors, ValidateContainerResourceName(e.key, at));
      Append(errors, ValidateResourceQuantity(e.key, e.value, at));
      if (std::string_view(part) == "requests")
        Append(errors, CompareWithLimit(e.key, e.value, resources.At("limits"), path));
      cpu_or_memory |= e.key == "cpu" || e.key == "memory";
      huge_pages |= IsHugePage(e.key);
    }
  }
  if (huge_pages && !cpu_or_memory) errors.push_back(FieldForbidden(path, "HugePages require cpu or memory"));
  return errors;
}

FieldErrors ValidatePositiveIntOrPercent(const Value& v, const std::string& path) {
  if (v.is_string()) return Reasoned(path, v, object::IsPercent(v.as_string()));
  return ops::ValidateNotNegative(v.int_or(), path);
}

int64_t PercentOrInt(const Value& v) {
  if (v.is_int()) return v.as_int();
  std::string_view text = v.string_or();
  int64_t n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

FieldErrors ValidateNotMoreThan100Percent(const Value& v, const std::string& path) {
  if (!v.is_string() || !object::IsPercent(v.as_string()).empty() || PercentOrInt(v) <= 100) return {};
  return {Invalid(path, v, "must not be greater than 100%")};
}

}  // namespace apiserver::registry::validation
