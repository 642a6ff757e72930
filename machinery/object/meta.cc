#include "machinery/object/meta.h"

#include <algorithm>

namespace machinery::object {

using value::Map;
using value::Value;

GroupVersion ParseGroupVersion(std::string_view api_version) {
  size_t slash = api_version.find('/');
  if (slash == std::string_view::npos) return {"", std::string(api_version)};
  return {std::string(api_version.substr(0, slash)), std::string(api_version.substr(slash + 1))};
}

std::string_view KindOf(const Value& o) { return o.At("kind").string_or(); }
std::string_view ApiVersionOf(const Value& o) { return o.At("apiVersion").string_or(); }

void SetKind(Value& o, std::string_view api_version, std::string_view kind) {
  if (o.is_null()) o = Value(Map{});
  Map& fields = o.map();
  if (fields.size() >= 2 && fields.entries()[0].key == "kind" && fields.entries()[1].key == "apiVersion") {
    fields.entries()[0].value = Value(kind);
    fields.entries()[1].value = Value(api_version);
    return;
  }
  Map ordered;
  ordered.Append("kind", Value(kind));
  ordered.Append("apiVersion", Value(api_version));
  for (auto& e : fields.entries())
    if (e.key != "kind" && e.key != "apiVersion") ordered.Append(std::move(e.key), std::move(e.value));
  o = Value(std::move(ordered));
}

const Value& MetaOf(const Value& o) { return o.At("metadata"); }
std::string_view NameOf(const Value& o) { return MetaOf(o).At("name").string_or(); }
std::string_view NamespaceOf(const Value& o) { return MetaOf(o).At("namespace").string_or(); }
std::string_view UidOf(const Value& o) { return MetaOf(o).At("uid").string_or(); }
std::string_view GenerateNameOf(const Value& o) { return MetaOf(o).At("generateName").string_or(); }
std::string_view ResourceVersionOf(const Value& o) { return MetaOf(o).At("resourceVersion").string_or(); }
std::string_view CreationTimestampOf(const Value& o) { return MetaOf(o).At("creationTimestamp").string_or(); }
std::string_view DeletionTimestampOf(const Value& o) { return MetaOf(o).At("deletionTimestamp").string_or(); }
bool IsDeleting(const Value& o) { return !DeletionTimestampOf(o).empty(); }

std::optional<int64_t> DeletionGracePeriodSecondsOf(const Value& o) {
  const Value& v = MetaOf(o).At("deletionGracePeriodSeconds");
  if (!v.is_int()) return std::nullopt;
  return v.as_int();
}

int64_t GenerationOf(const Value& o) { return MetaOf(o).At("generation").int_or(); }

void SetMeta(Value& o, std::string_view field, Value v) {
  bool empty = v.is_null() || (v.is_string() && v.as_string().empty()) || (v.is_list() && v.list().empty()) ||
               (v.is_map() && v.map().empty());
  if (empty) {
    if (o.At("metadata").is_map()) o.Ensure("metadata").Remove(field);
    return;
  }
  o.Ensure("metadata").Set(field, std::move(v));
}

const Value& LabelsOf(const Value& o) { return MetaOf(o).At("labels"); }
const Value& AnnotationsOf(const Value& o) { return MetaOf(o).At("annotations"); }
std::string_view LabelOf(const Value& o, std::string_view key) { return LabelsOf(o).At(key).string_or(); }
std::string_view AnnotationOf(const Value& o, std::string_view key) { return AnnotationsOf(o).At(key).string_or(); }
bool HasLabel(const Value& o, std::string_view key) { return LabelsOf(o).At(key).is_string(); }
void SetLabel(Value& o, std::string_view key, std::string_view text) {
  o.Ensure("metadata").Ensure("labels").Set(key, text);
}
void SetAnnotation(Value& o, std::string_view key, std::string_view text) {
  o.Ensure("metadata").Ensure("annotations").Set(key, text);
}
bool RemoveAnnotation(Value& o, std::string_view key) {
  if (!AnnotationsOf(o).is_map()) return false;
  Value& annotations = o.Ensure("metadata").Ensure("annotations");
  bool removed = annotations.Remove(key);
  if (annotations.map().empty()) o.Ensure("metadata").Remove("annotations");
  return removed;
}

std::vector<std::string> StringsOf(const Value& v) {
  std::vector<std::string> out;
  if (!v.is_list()) return out;
  for (const Value& item : v.list()) out.emplace_back(item.string_or());
  return out;
}

std::vector<std::string> FinalizersOf(const Value& o) { return StringsOf(MetaOf(o).At("finalizers")); }

bool HasFinalizer(const Value& o, std::string_view name) {
  std::vector<std::string> all = FinalizersOf(o);
  return std::find(all.begin(), all.end(), name) != all.end();
}

void AddFinalizer(Value& o, std::string_view name) {
  if (HasFinalizer(o, name)) return;
  Value& list = o.Ensure("metadata").Ensure("finalizers");
  if (!list.is_list()) list = Value(value::List{});
  list.list().emplace_back(name);
}

bool RemoveFinalizer(Value& o, std::string_view name) {
  if (!HasFinalizer(o, name)) return false;
  value::List& list = o.Ensure("metadata").Ensure("finalizers").list();
  std::erase_if(list, [&](const Value& v) { return v.string_or() == name; });
  if (list.empty()) o.Ensure("metadata").Remove("finalizers");
  return true;
}

const Value& OwnerReferencesOf(const Value& o) { return MetaOf(o).At("ownerReferences"); }

const Value* ControllerOf(const Value& o) {
  const Value& owners = OwnerReferencesOf(o);
  if (!owners.is_list()) return nullptr;
  for (const Value& owner : owners.list())
    if (owner.At("controller").bool_or()) return &owner;
  return nullptr;
}

}  // namespace machinery::object
