// The Type language: what shape a tree has. Two sources make Types: the embedded descriptors of proto/ (descriptor.h)
// and, later, a CRD's OpenAPI schema. Readers (codec, defaulting, validation, merge, OpenAPI, tables) know only this.
//
// Types are immutable once their Schema is built, live as long as it, and refer to one another (they may be recursive).
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "machinery/value/value.h"

namespace machinery::schema {

enum class Shape : uint8_t {
  kString,
  kBool,
  kInt32,
  kInt64,
  kDouble,
  kBytes,  // scalars
  kTime,
  kMicroTime,
  kDuration,
  kQuantity,
  kIntOrString,  // scalars with a text form
  kTimestamp,
  kRawExtension,
  kFieldsV1,
  kAnyJson,  // any JSON in place
  kSchemaOrArray,
  kSchemaOrBool,
  kSchemaOrStringArray,  // JSONSchemaProps unions
  kStringList,           // Verbs, ExtraValue
  kList,
  kMap,
  kStruct,
};
enum class ListType : uint8_t { kUnset, kAtomic, kSet, kMap };

struct Type;
struct FieldIndex;

struct Field {
  std::string name;  // JSON name
  std::string proto_name;
  int32_t number = 0;  // 0: JSON only
  const Type* type = nullptr;
  bool pointer = false;  // absent and zero differ
  bool always = false;   // printed in JSON even when empty
  bool omit_zero = false;
  bool inlined = false;  // the type's fields stand in the parent's JSON object
  bool required = false;
  ListType list_type = ListType::kUnset;
  std::vector<std::string> list_map_keys;
  bool atomic = false;  // the map or struct is replaced as a whole by server-side apply
  bool marked_optional = false;
  std::vector<std::string> patch_strategy;  // "merge", "replace", "retainKeys"
  std::string patch_merge_key;
  std::optional<value::Value> default_value;  // unconditional default
  std::optional<value::Value> openapi_default;
  std::vector<std::string> enum_values;  // closed set
  std::vector<std::string> rules;
  std::string feature_gate;
  std::string doc;
};

struct Type {
  Shape shape = Shape::kStruct;
  std::string name;  // full message name "k8s.io.api.core.v1.Pod"; "" for scalars, lists, maps
  std::string doc;
  const Type* element = nullptr;    // kList, kMap
  std::vector<Field> fields;        // kStruct, in JSON output order
  std::vector<uint16_t> by_number;  // indexes into `fields`, ascending field number
  bool type_meta = false;           // JSON starts with kind and apiVersion
  bool atomic = false;
  // The field with this JSON name, looking into inlined structs too; nullptr when there is none. `path` of inlined
  // fields that lead to it (outermost first) is appended to *via when given.
  const Field* Find(std::string_view json_name, std::vector<const Field*>* via = nullptr) const;

  // JSON name -> place, inlined ones included, and what the codec precomputes (field_index.h). Every Type has one.
  std::shared_ptr<const FieldIndex> index;
};

// One column of a table.
struct Column {
  std::string name, type, format, description;
  int priority = 0;
  std::string value;  // JSON path "spec.nodeName" or "@printer"
};
struct Subresource {
  std::string name;
  std::vector<std::string> verbs;
  std::string group, version, kind;  // what it speaks; empty = the parent's
};
// A default at one path below a root object: it holds there and not wherever else the message is used.
struct RootDefault {
  std::string path;  // "spec.enableServiceLinks"
  value::Value value;
};
// A served kind with everything discovery, storage and strategies want to know.
struct Kind {
  std::string group, version, kind, list_kind, resource, singular;
  std::vector<std::string> short_names, categories, verbs;
  bool namespaced = false;
  std::vector<Subresource> subresources;
  std::string storage_prefix;   // "pods", "services/specs"
  std::string storage_version;  // "apps/v1"
  std::string storage_version_hash;
  bool served_by_default = true;
  bool stored_as_json = false;
  bool has_generation = false, reset_status_on_create = false, keep_status_on_update = false,
       allow_create_on_update = false, allow_unconditional_update = false;
  bool generation_fixed = false;      // the generation is 1 at creation and stays so
  bool generation_on_update = false;  // unset at creation, bumped when spec changes
  std::vector<Column> columns;
  std::vector<RootDefault> defaults;
  const Type* type = nullptr;
  const Type* list_type = nullptr;
  std::string ApiVersion() const { return group.empty() ? version : group + "/" + version; }
};

// All types and kinds of one source. Build once.
class Schema {
 public:
  // From serialized FileDescriptorSets (proto::SchemaBlob()); aborts on a malformed one: it is part of the program.
  static std::unique_ptr<Schema> FromDescriptors(const std::vector<std::string_view>& blobs);
  ~Schema();
  // By full message name; nullptr when unknown.
  const Type* FindType(std::string_view message) const;
  // Full names of all messages, sorted.
  std::vector<std::string_view> messages() const;
  const std::vector<Kind>& kinds() const;
  // The message of any object, served or not: ("", "v1", "Pod"), ("admission.k8s.io", "v1", "AdmissionReview"), also
  // meta.k8s.io and list kinds and the meta/v1 kinds every group version accepts (DeleteOptions, WatchEvent, ...;
  // Status and discovery's own in "v1").
  const Type* FindObject(std::string_view group, std::string_view version, std::string_view kind) const;

 private:
  struct Impl;
  explicit Schema(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace machinery::schema
