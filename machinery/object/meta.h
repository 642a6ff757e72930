// Metadata of an object that is a tree: readers that never fail (absent is empty) and writers that keep the tree's
// shape. Owned by nobody: free functions over a value::Value. Not their job: checking (names.h, ops/validation.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machinery/value/value.h"

namespace machinery::object {

// "apps/v1" -> {"apps", "v1"}; "v1" -> {"", "v1"}.
struct GroupVersion {
  std::string group, version;
  std::string ToString() const { return group.empty() ? version : group + "/" + version; }
  friend bool operator==(const GroupVersion&, const GroupVersion&) = default;
};
GroupVersion ParseGroupVersion(std::string_view api_version);

std::string_view KindOf(const value::Value& o);
std::string_view ApiVersionOf(const value::Value& o);
// Sets kind and apiVersion and puts them first, kind before apiVersion as encoders print them.
void SetKind(value::Value& o, std::string_view api_version, std::string_view kind);

const value::Value& MetaOf(const value::Value& o);
std::string_view NameOf(const value::Value& o);
std::string_view NamespaceOf(const value::Value& o);
std::string_view UidOf(const value::Value& o);
std::string_view GenerateNameOf(const value::Value& o);
std::string_view ResourceVersionOf(const value::Value& o);
std::string_view CreationTimestampOf(const value::Value& o);
std::string_view DeletionTimestampOf(const value::Value& o);
bool IsDeleting(const value::Value& o);
std::optional<int64_t> DeletionGracePeriodSecondsOf(const value::Value& o);
int64_t GenerationOf(const value::Value& o);

// A field of metadata: set, or removed when the value is empty or null.
void SetMeta(value::Value& o, std::string_view field, value::Value v);
inline void SetName(value::Value& o, std::string_view name) { SetMeta(o, "name", name); }
inline void SetNamespace(value::Value& o, std::string_view ns) { SetMeta(o, "namespace", ns); }
inline void SetUid(value::Value& o, std::string_view uid) { SetMeta(o, "uid", uid); }
inline void SetResourceVersion(value::Value& o, std::string_view rv) { SetMeta(o, "resourceVersion", rv); }
inline void SetGeneration(value::Value& o, int64_t g) { SetMeta(o, "generation", g); }

// Labels and annotations: "" when absent; HasLabel tells absent from empty.
const value::Value& LabelsOf(const value::Value& o);
const value::Value& AnnotationsOf(const value::Value& o);
std::string_view LabelOf(const value::Value& o, std::string_view key);
std::string_view AnnotationOf(const value::Value& o, std::string_view key);
bool HasLabel(const value::Value& o, std::string_view key);
void SetLabel(value::Value& o, std::string_view key, std::string_view text);
void SetAnnotation(value::Value& o, std::string_view key, std::string_view text);
bool RemoveAnnotation(value::Value& o, std::string_view key);

std::vector<std::string> FinalizersOf(const value::Value& o);
bool HasFinalizer(const value::Value& o, std::string_view name);
void AddFinalizer(value::Value& o, std::string_view name);
bool RemoveFinalizer(value::Value& o, std::string_view name);

const value::Value& OwnerReferencesOf(const value::Value& o);
// The owner with controller: true, or nullptr.
const value::Value* ControllerOf(const value::Value& o);

// Strings of a list of strings, empty when `v` is no list.
std::vector<std::string> StringsOf(const value::Value& v);

}  // namespace machinery::object
