// Validation that holds for every kind: metadata on create and update, selectors, and what the schema itself declares
// (required, closed sets, bounds, immutable). Rules of one kind are the apiserver's (apiserver/registry/validation).
//
// Where it runs in the original, which decides how often a client sees an error: on create the kind's own rules run
// first (they include ValidateObjectMeta with the kind's name rule), and only if they pass ValidateObjectMeta with
// NameIsPathSegment. On update ValidateObjectMetaUpdate runs and its errors stand before the kind's own, which run it
// once more, so metadata errors of an update appear twice among the causes. Pure; thread-safe.
#pragma once

#include <string>

#include "machinery/object/api_error.h"
#include "machinery/object/names.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace machinery::ops {

using object::FieldErrors;

struct MetaRules {
  bool namespaced = false;
  object::NameRule name = object::NameIsDnsSubdomain;
  // Finalizers without a domain must be known ones. True for the kinds of the core group's validation.
  bool known_finalizers = true;
};
FieldErrors ValidateObjectMeta(const value::Value& object, const MetaRules& rules,
                               const std::string& path = "metadata");
FieldErrors ValidateObjectMetaUpdate(const value::Value& now, const value::Value& before, bool known_finalizers = true,
                                     const std::string& path = "metadata");

// Pieces of it, for templates and kinds that embed them. Values may be null.
FieldErrors ValidateLabels(const value::Value& labels, const std::string& path);
FieldErrors ValidateAnnotations(const value::Value& annotations, const std::string& path);
FieldErrors ValidateOwnerReferences(const value::Value& references, const std::string& path);
FieldErrors ValidateFinalizers(const value::Value& finalizers, bool known_finalizers, const std::string& path);
FieldErrors ValidateFieldManager(std::string_view name, const std::string& path);
// meta/v1 LabelSelector and Condition objects.
FieldErrors ValidateLabelSelector(const value::Value& selector, const std::string& path,
                                  bool allow_invalid_values = false);

inline constexpr const char* kImmutable = "field is immutable";
inline constexpr const char* kNotNegative = "must be greater than or equal to 0";
FieldErrors ValidateImmutable(const value::Value& now, const value::Value& before, const std::string& path);
FieldErrors ValidateNotNegative(int64_t v, const std::string& path);

// Equality in the original's sense: absent, empty and zero are one.
bool SemanticEqual(const value::Value& a, const value::Value& b);

// What the schema declares about a value and everything below it; `before` (may be nullptr) is the stored value. For
// kinds without rules of their own: where such exist they say the same in the original's order.
FieldErrors ValidateBySchema(const schema::Type& type, const value::Value& v, const value::Value* before = nullptr,
                             const std::string& path = "");

// "a.b": joins a path and a field; "a[0]", "a[key]".
std::string Child(const std::string& path, std::string_view field);
std::string Index(const std::string& path, size_t i);
std::string Key(const std::string& path, std::string_view key);

}  // namespace machinery::ops
