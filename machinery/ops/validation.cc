#include "machinery/ops/validation.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/strings.h"
#include "machinery/object/go_text.h"
#include "machinery/object/meta.h"

namespace machinery::ops {
namespace {

using object::Append;
using object::AppendInvalid;
using object::FieldForbidden;
using object::GoQuote;
using object::Invalid;
using object::NotSupported;
using object::Required;
using value::Value;

constexpr size_t kAnnotationsMax = 256 * 1024;
constexpr int kFieldManagerMax = 128;
constexpr int kSubresourceMax = 256;

std::string Text(const Value& v) { return std::string(v.string_or()); }

size_t Size(const Value& v) { return v.is_list() ? v.list().size() : v.is_map() ? v.map().size() : 0; }

bool IsZero(const Value& v) {
  return v.is_null() || (v.is_string() && v.as_string().empty()) || (v.is_int() && v.as_int() == 0) ||
         (v.is_bool() && !v.as_bool()) || ((v.is_list() || v.is_map()) && Size(v) == 0);
}

// A struct whose fields all are zero is zero too, however it is written.
bool IsDeepZero(const Value& v) {
  if (!v.is_map()) return IsZero(v);
  return std::all_of(v.map().begin(), v.map().end(), [](const auto& e) { return IsDeepZero(e.value); });
}

FieldErrors ValidateManagedFields(const Value& entries, const std::string& path) {
  FieldErrors errors;
  for (size_t i = 0; i < Size(entries); ++i) {
    const Value& e = entries.list()[i];
    std::string at = Index(path, i);
    std::string_view operation = e.At("operation").string_or(), type = e.At("fieldsType").string_or();
    if (operation != "Apply" && operation != "Update")
      errors.push_back(Invalid(Child(at, "operation"), operation, "must be `Apply` or `Update`"));
    if (!type.empty() && type != "FieldsV1")
      errors.push_back(Invalid(Child(at, "fieldsType"), type, "must be `FieldsV1`"));
    Append(errors, ValidateFieldManager(e.At("manager").string_or(), Child(at, "manager")));
    if (e.At("subresource").string_or().size() > kSubresourceMax)
      errors.push_back(object::TooLong(Child(at, "subresource"), kSubresourceMax));
  }
  return errors;
}

FieldErrors ValidateKnownFinalizers(const Value& finalizers, const std::string& path) {
  FieldErrors errors;
  for (size_t i = 0; i < Size(finalizers); ++i) {
    std::string name = Text(finalizers.list()[i]);
    bool known = name == "kubernetes" || name == "orphan" || name == "foregroundDeletion";
    if (name.find('/') == std::string::npos && !known) {
      errors.push_back(
          Invalid(Index(path, i), name, "name is neither a standard finalizer name nor is it fully qualified"));
    }
  }
  return errors;
}

FieldErrors ValidateNewFinalizers(const Value& now, const Value& before, const std::string& path) {
  std::vector<std::string> had = object::StringsOf(before);
  std::set<std::string> extra;
  for (const std::string& name : object::StringsOf(now))
    if (std::find(had.begin(), had.end(), name) == had.end()) extra.insert(GoQuote(name));
  if (extra.empty()) return {};
  return {FieldForbidden(path,
                         "no new finalizers can be added if the object is being deleted, found new finalizers "
                         "[]string{" +
                             base::Join({extra.begin(), extra.end()}, ", ") + "}")};
}

}  // namespace

std::string Child(const std::string& path, std::string_view field) {
  return path.empty() ? std::string(field) : path + "." + std::string(field);
}
std::string Index(const std::string& path, size_t i) { return path + "[" + std::to_string(i) + "]"; }
std::string Key(const std::string& path, std::string_view key) { return path + "[" + std::string(key) + "]"; }

bool SemanticEqual(const Value& a, const Value& b) {
  if (IsZero(a) || IsZero(b)) return IsDeepZero(a) && IsDeepZero(b);
  if (a.is_list() && b.is_list())
    return std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(), SemanticEqual);
  if (!a.is_map() || !b.is_map()) return a == b;
  for (const auto& e : a.map())
    if (!SemanticEqual(e.value, b.At(e.key))) return false;
  for (const auto& e : b.map())
    if (!a.map().Has(e.key) && !IsDeepZero(e.value)) return false;
  return true;
}

FieldErrors ValidateImmutable(const Value& now, const Value& before, const std::string& path) {
  if (SemanticEqual(now, before)) return {};
  return {Invalid(path, now, kImmutable)};
}

FieldErrors ValidateNotNegative(int64_t v, const std::string& path) {
  if (v >= 0) return {};
  return {Invalid(path, v, kNotNegative)};
}

FieldErrors ValidateLabels(const Value& labels, const std::string& path) {
  FieldErrors errors;
  if (!labels.is_map()) return errors;
  for (const auto& e : labels.map()) {
    AppendInvalid(errors, path, e.key, object::IsQualifiedName(e.key));
    AppendInvalid(errors, path, e.value.string_or(), object::IsLabelValue(e.value.string_or()));
  }
  return errors;
}

FieldErrors ValidateAnnotations(const Value& annotations, const std::string& path) {
  FieldErrors errors;
  if (!annotations.is_map()) return errors;
  size_t total = 0;
  for (const auto& e : annotations.map()) {
    std::string lower = e.key;  // keys of annotations may have any case
    for (char& c : lower)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    AppendInvalid(errors, path, e.key, object::IsQualifiedName(lower));
    total += e.key.size() + e.value.string_or().size();
  }
  if (total > kAnnotationsMax) errors.push_back(object::TooLong(path, kAnnotationsMax));
  return errors;
}

FieldErrors ValidateOwnerReferences(const Value& references, const std::string& path) {
  FieldErrors errors;
  std::string controller;
  for (size_t i = 0; i < Size(references); ++i) {
    const Value& r = references.list()[i];
    std::string kind = Text(r.At("kind")), name = Text(r.At("name"));
    std::string_view api_version = r.At("apiVersion").string_or();
    if (object::ParseGroupVersion(api_version).version.empty())
      errors.push_back(Invalid(Child(path, "apiVersion"), api_version, "version must not be empty"));
    for (const char* field : {"kind", "name", "uid"})
      if (r.At(field).string_or().empty()) errors.push_back(Invalid(Child(path, field), "", "must not be empty"));
    if (api_version == "v1" && kind == "Event")
      errors.push_back(Invalid(path, r, "/v1, Kind=Event is disallowed from being an owner"));
    if (!r.At("controller").bool_or()) continue;
    if (!controller.empty()) {
      errors.push_back(Invalid(path, references,
                               "Only one reference can have Controller set to true. Found \"true\" in references for " +
                                   controller + " and " + kind + "/" + name));
    } else {
      controller = kind + "/" + name;
    }
  }
  return errors;
}

FieldErrors ValidateFinalizers(const Value& finalizers, bool known_finalizers, const std::string& path) {
  FieldErrors errors;
  bool orphan = false, foreground = false;
  for (const std::string& name : object::StringsOf(finalizers)) {
    AppendInvalid(errors, path, name, object::IsQualifiedName(name));
    orphan |= name == "orphan";
    foreground |= name == "foregroundDeletion";
  }
  if (orphan && foreground) {
    errors.push_back(Invalid(path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set"));
  }
  if (known_finalizers) Append(errors, ValidateKnownFinalizers(finalizers, path));
  return errors;
}

FieldErrors ValidateFieldManager(std::string_view name, const std::string& path) {
  FieldErrors errors;
  if (name.size() > kFieldManagerMax) errors.push_back(object::TooLong(path, kFieldManagerMax));
  for (size_t i = 0; i < name.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(name[i]);
    if (c >= 0x20 && c != 0x7F) continue;
    char code[16];
    std::snprintf(code, sizeof code, "U+%04X", c);
    errors.push_back(
        Invalid(path, name, "invalid character " + std::string(code) + " (at position " + std::to_string(i) + ")"));
  }
  return errors;
}

FieldErrors ValidateObjectMeta(const Value& object, const MetaRules& rules, const std::string& path) {
  FieldErrors errors;
  const Value& meta = object::MetaOf(object);
  std::string name = Text(meta.At("name")), generate = Text(meta.At("generateName")), ns = Text(meta.At("namespace"));
  if (!generate.empty()) AppendInvalid(errors, Child(path, "generateName"), generate, rules.name(generate, true));
  if (name.empty()) {
    errors.push_back(Required(Child(path, "name"), "name or generateName is required"));
  } else {
    AppendInvalid(errors, Child(path, "name"), name, rules.name(name, false));
  }
  if (!rules.namespaced) {
    if (!ns.empty()) errors.push_back(FieldForbidden(Child(path, "namespace"), "not allowed on this type"));
  } else if (ns.empty()) {
    errors.push_back(Required(Child(path, "namespace")));
  } else {
    AppendInvalid(errors, Child(path, "namespace"), ns, object::NameIsDnsLabel(ns, false));
  }
  Append(errors, ValidateNotNegative(meta.At("generation").int_or(), Child(path, "generation")));
  Append(errors, ValidateLabels(meta.At("labels"), Child(path, "labels")));
  Append(errors, ValidateAnnotations(meta.At("annotations"), Child(path, "annotations")));
  Append(errors, ValidateOwnerReferences(meta.At("ownerReferences"), Child(path, "ownerReferences")));
  Append(errors, ValidateFinalizers(meta.At("finalizers"), false, Child(path, "finalizers")));
  Append(errors, ValidateManagedFields(meta.At("managedFields"), Child(path, "managedFields")));
  if (rules.known_finalizers) Append(errors, ValidateKnownFinalizers(meta.At("finalizers"), Child(path, "finalizers")));
  return errors;
}

FieldErrors ValidateObjectMetaUpdate(const Value& now, const Value& before, bool known_finalizers,
                                     const std::string& path) {
  FieldErrors errors;
  const Value& meta = object::MetaOf(now);
  const Value& old = object::MetaOf(before);
  if (object::IsDeleting(before))
    Append(errors, ValidateNewFinalizers(meta.At("finalizers"), old.At("finalizers"), Child(path, "finalizers")));
  if (meta.At("resourceVersion").string_or().empty())
    errors.push_back(Invalid(Child(path, "resourceVersion"), "", "must be specified for an update"));
  int64_t generation = meta.At("generation").int_or();
  if (generation < old.At("generation").int_or())
    errors.push_back(Invalid(Child(path, "generation"), generation, "must not be decremented"));
  for (const char* field :
       {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"})
    Append(errors, ValidateImmutable(meta.At(field), old.At(field), Child(path, field)));
  Append(errors, ValidateLabels(meta.At("labels"), Child(path, "labels")));
  Append(errors, ValidateAnnotations(meta.At("annotations"), Child(path, "annotations")));
  Append(errors, ValidateOwnerReferences(meta.At("ownerReferences"), Child(path, "ownerReferences")));
  Append(errors, ValidateManagedFields(meta.At("managedFields"), Child(path, "managedFields")));
  if (known_finalizers) Append(errors, ValidateKnownFinalizers(meta.At("finalizers"), Child(path, "finalizers")));
  return errors;
}

FieldErrors ValidateLabelSelector(const Value& selector, const std::string& path, bool allow_invalid_values) {
  FieldErrors errors;
  if (!selector.is_map()) return errors;
  Append(errors, ValidateLabels(selector.At("matchLabels"), Child(path, "matchLabels")));
  const Value& expressions = selector.At("matchExpressions");
  for (size_t i = 0; i < Size(expressions); ++i) {
    const Value& e = expressions.list()[i];
    std::string at = Index(Child(path, "matchExpressions"), i);
    std::string_view op = e.At("operator").string_or();
    if (op == "In" || op == "NotIn") {
      if (Size(e.At("values")) == 0)
        errors.push_back(Required(Child(at, "values"), "must be specified when `operator` is 'In' or 'NotIn'"));
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (Size(e.At("values")) > 0) {
        errors.push_back(
            FieldForbidden(Child(at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      }
    } else {
      errors.push_back(Invalid(Child(at, "operator"), op, "not a valid selector operator"));
    }
    std::string key = Text(e.At("key"));
    AppendInvalid(errors, Child(at, "key"), key, object::IsQualifiedName(key));
    if (allow_invalid_values) continue;
    std::vector<std::string> values = object::StringsOf(e.At("values"));
    for (size_t j = 0; j < values.size(); ++j)
      AppendInvalid(errors, Index(Child(at, "values"), j), values[j], object::IsLabelValue(values[j]));
  }
  return errors;
}

namespace {

using schema::Field;
using schema::Shape;
using schema::Type;

// "minimum=1" -> 1 when `rule` starts with `name` and '='.
std::optional<int64_t> NumberOf(const std::string& rule, std::string_view name) {
  if (!rule.starts_with(name) || rule.size() <= name.size() || rule[name.size()] != '=') return std::nullopt;
  int64_t v = 0;
  const char* begin = rule.data() + name.size() + 1;
  auto [p, ec] = std::from_chars(begin, rule.data() + rule.size(), v);
  if (ec != std::errc()) return std::nullopt;
  return v;
}

object::Reasons CheckFormat(std::string_view format, std::string_view text) {
  if (format == "k8s-short-name") return object::IsDns1123Label(text);
  if (format == "k8s-long-name") return object::IsDns1123Subdomain(text);
  if (format == "k8s-label-key") return object::IsQualifiedName(text);
  if (format == "k8s-label-value") return object::IsLabelValue(text);
  if (format == "k8s-path-segment-name") return object::IsPathSegmentName(text);
  return {};
}

FieldErrors CheckRule(const Field& f, const std::string& rule, const Value& v, const std::string& path) {
  FieldErrors errors;
  if (rule == "required" && IsZero(v)) errors.push_back(Required(path));
  if (v.is_null()) return errors;
  if (auto min = NumberOf(rule, "minimum"); min && v.is_int() && v.as_int() < *min)
    errors.push_back(Invalid(path, v, "must be greater than or equal to " + std::to_string(*min)));
  if (auto max = NumberOf(rule, "maximum"); max && v.is_int() && v.as_int() > *max)
    errors.push_back(Invalid(path, v, "must be less than or equal to " + std::to_string(*max)));
  if (auto max = NumberOf(rule, "maxItems"); max && static_cast<int64_t>(Size(v)) > *max)
    errors.push_back(object::TooMany(path, static_cast<int>(Size(v)), static_cast<int>(*max)));
  for (const char* name : {"maxLength", "maxBytes"}) {
    auto max = NumberOf(rule, name);
    if (max && v.is_string() && static_cast<int64_t>(v.as_string().size()) > *max)
      errors.push_back(object::TooLong(path, static_cast<int>(*max)));
  }
  if (rule.starts_with("format=") && v.is_string() && !v.as_string().empty())
    AppendInvalid(errors, path, v, CheckFormat(std::string_view(rule).substr(7), v.as_string()));
  return errors;
}

FieldErrors CheckField(const Field& f, const Value& v, const Value* before, const std::string& path) {
  FieldErrors errors;
  for (const std::string& rule : f.rules) {
    if (rule == "immutable" && before) {
      Append(errors, ValidateImmutable(v, *before, path));
    } else {
      Append(errors, CheckRule(f, rule, v, path));
    }
  }
  bool closed = !f.enum_values.empty() && v.is_string() && !v.as_string().empty();
  if (closed && std::find(f.enum_values.begin(), f.enum_values.end(), v.as_string()) == f.enum_values.end()) {
    std::vector<std::string> sorted = f.enum_values;
    std::sort(sorted.begin(), sorted.end());
    errors.push_back(NotSupported(path, v, sorted));
  }
  return errors;
}

}  // namespace

FieldErrors ValidateBySchema(const Type& type, const Value& v, const Value* before, const std::string& path) {
  FieldErrors errors;
  if (type.shape == Shape::kList && v.is_list()) {
    for (size_t i = 0; i < v.list().size(); ++i)
      Append(errors, ValidateBySchema(*type.element, v.list()[i], nullptr, Index(path, i)));
  } else if (type.shape == Shape::kMap && v.is_map()) {
    for (const auto& e : v.map()) Append(errors, ValidateBySchema(*type.element, e.value, nullptr, Key(path, e.key)));
  }
  if (type.shape != Shape::kStruct || !v.is_map()) return errors;
  for (const Field& f : type.fields) {
    if (f.inlined) {
      Append(errors, ValidateBySchema(*f.type, v, before, path));
      continue;
    }
    const Value& inner = v.At(f.name);
    const Value* old = before ? &before->At(f.name) : nullptr;
    std::string at = Child(path, f.name);
    Append(errors, CheckField(f, inner, old, at));
    if (!inner.is_null()) Append(errors, ValidateBySchema(*f.type, inner, old, at));
  }
  return errors;
}

}  // namespace machinery::ops
