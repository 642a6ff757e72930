// Schema from the embedded descriptors: FileDescriptorProto and keelson.options -> Type, Field, Kind. No DescriptorPool
// and no generated classes of the kinds: the parsed protos live in an arena that is gone when the Types stand.
#include <google/protobuf/arena.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "machinery/schema/field_index.h"
#include "machinery/schema/type.h"
#include "proto/options/options.pb.h"

namespace machinery::schema {

namespace pb = google::protobuf;
namespace options = keelson::options;

namespace {

struct Tables {
  std::deque<Type> types;
  std::map<std::string, Type*, std::less<>> by_name;
  std::map<Shape, Type*> scalars;
  std::map<const Type*, Type*> lists, maps;
  std::vector<Kind> kinds;
  std::map<std::string, const Type*, std::less<>> objects;  // "group/version/Kind"
  std::set<std::string, std::less<>> group_versions;        // "group/version"
};

constexpr std::string_view kMeta = "k8s.io.apimachinery.pkg.apis.meta.v1.";

Shape ShapeOf(options::JsonForm form) {
  switch (form) {
    case options::TIME:
      return Shape::kTime;
    case options::MICRO_TIME:
      return Shape::kMicroTime;
    case options::DURATION:
      return Shape::kDuration;
    case options::QUANTITY:
      return Shape::kQuantity;
    case options::INT_OR_STRING:
      return Shape::kIntOrString;
    case options::RAW_EXTENSION:
      return Shape::kRawExtension;
    case options::FIELDS_V1:
      return Shape::kFieldsV1;
    case options::ANY_JSON:
      return Shape::kAnyJson;
    case options::STRING_LIST:
      return Shape::kStringList;
    case options::SCHEMA_OR_ARRAY:
      return Shape::kSchemaOrArray;
    case options::SCHEMA_OR_BOOL:
      return Shape::kSchemaOrBool;
    case options::SCHEMA_OR_STRING_ARRAY:
      return Shape::kSchemaOrStringArray;
    case options::TIMESTAMP:
      return Shape::kTimestamp;
    default:
      return Shape::kStruct;
  }
}

template <class Repeated>
std::vector<std::string> Strings(const Repeated& in) {
  return {in.begin(), in.end()};
}

value::Value Json(const std::string& text) {
  auto v = value::FromJson(text);
  // unreachable from outside: made of descriptors, compiled in
  CHECK_MSG(v.has_value(), text);
  return std::move(*v);
}

std::string Key(std::string_view group, std::string_view version, std::string_view kind) {
  return std::string(group) + "/" + std::string(version) + "/" + std::string(kind);
}

// One message on its way to becoming a Type.
struct Pending {
  Type* type;
  const pb::DescriptorProto* message;
  const pb::FileDescriptorProto* file;
  std::map<std::string, const pb::DescriptorProto*> map_entries;  // by full name
  std::vector<int> path;
};

class Builder {
 public:
  explicit Builder(Tables& impl) : impl_(impl) {}

  void Add(const pb::FileDescriptorSet& set) {
    for (const pb::FileDescriptorProto& file : set.file()) {
      if (file.package() == "google.protobuf" || file.package() == "keelson.options" ||
          !added_.insert(file.name()).second) {
        continue;
      }
      ReadComments(file);
      for (int i = 0; i < file.message_type_size(); ++i) {
        AddMessage(file, file.message_type(i), "." + file.package(), {4, i});
      }
    }
  }

  void Finish() {
    for (Pending& p : pending_) Fill(p);
    for (Pending& p : pending_) Index(*p.type);
    for (Type& t : impl_.types) Index(t);  // lists and maps
    for (Pending& p : pending_) AddObjects(p);
    for (Kind& kind : impl_.kinds) FindListType(kind);
  }

 private:
  void ReadComments(const pb::FileDescriptorProto& file) {
    for (const auto& at : file.source_code_info().location()) {
      if (at.has_leading_comments()) comments_[{&file, {at.path().begin(), at.path().end()}}] = &at.leading_comments();
    }
  }
  std::string Comment(const pb::FileDescriptorProto* file, const std::vector<int>& path) const {
    auto found = comments_.find({file, path});
    return found == comments_.end() ? "" : *found->second;
  }

  void AddMessage(const pb::FileDescriptorProto& file, const pb::DescriptorProto& message, const std::string& scope,
                  std::vector<int> path) {
    std::string full = scope + "." + message.name();
    Type& type = impl_.types.emplace_back();
    type.name = full.substr(1);
    type.shape = ShapeOf(message.options().GetExtension(options::json_form));
    type.type_meta = message.options().GetExtension(options::type_meta);
    type.atomic = message.options().GetExtension(options::atomic_struct);
    type.doc = Comment(&file, path);
    // unreachable from outside: made of descriptors, compiled in
    CHECK_MSG(impl_.by_name.emplace(type.name, &type).second, type.name);
    Pending p{&type, &message, &file, {}, path};
    for (int i = 0; i < message.nested_type_size(); ++i) {
      const pb::DescriptorProto& nested = message.nested_type(i);
      if (nested.options().map_entry()) {
        p.map_entries[full + "." + nested.name()] = &nested;
        continue;
      }
      std::vector<int> below = path;
      below.insert(below.end(), {3, i});
      AddMessage(file, nested, full, below);
    }
    pending_.push_back(std::move(p));
  }

  Type* Scalar(Shape shape) {
    Type*& type = impl_.scalars[shape];
    if (!type) {
      type = &impl_.types.emplace_back();
      type->shape = shape;
    }
    return type;
  }
  Type* Of(std::map<const Type*, Type*>& made, Shape shape, const Type* element) {
    Type*& type = made[element];
    if (!type) {
      type = &impl_.types.emplace_back();
      type->shape = shape;
      type->element = element;
    }
    return type;
  }

  const Type* TypeOf(const pb::FieldDescriptorProto& field) {
    switch (field.type()) {
      case pb::FieldDescriptorProto::TYPE_STRING:
        return Scalar(Shape::kString);
      case pb::FieldDescriptorProto::TYPE_BOOL:
        return Scalar(Shape::kBool);
      case pb::FieldDescriptorProto::TYPE_INT32:
        return Scalar(Shape::kInt32);
      case pb::FieldDescriptorProto::TYPE_INT64:
        return Scalar(Shape::kInt64);
      case pb::FieldDescriptorProto::TYPE_DOUBLE:
        return Scalar(Shape::kDouble);
      case pb::FieldDescriptorProto::TYPE_BYTES:
        return Scalar(Shape::kBytes);
      case pb::FieldDescriptorProto::TYPE_MESSAGE: {
        auto found = impl_.by_name.find(field.type_name().substr(1));
        // unreachable from outside: made of descriptors, compiled in
        CHECK_MSG(found != impl_.by_name.end(), field.type_name());
        return found->second;
      }
      default:
        // unreachable from outside: made of descriptors, compiled in
        CHECK_MSG(false, field.name());
        return nullptr;
    }
  }

  void Fill(Pending& p) {
    Type& type = *p.type;
    if (type.shape != Shape::kStruct) {
      // A form of its own; the schema it may stand for is the message among its fields.
      for (const auto& field : p.message->field()) {
        if (field.type() == pb::FieldDescriptorProto::TYPE_MESSAGE) type.element = TypeOf(field);
      }
      if (type.shape == Shape::kStringList) type.element = Scalar(Shape::kString);
      return;
    }
    std::vector<Field> row;
    std::vector<std::pair<int, size_t>> order;  // position in JSON, index in the file
    for (int i = 0; i < p.message->field_size(); ++i) {
      const pb::FieldDescriptorProto& field = p.message->field(i);
      const options::Field& o = field.options().GetExtension(options::field);
      std::vector<int> path = p.path;
      path.insert(path.end(), {2, i});
      order.emplace_back(o.has_json_order() ? o.json_order() : i + 1, row.size());
      row.push_back(MakeField(p, field, o));
      row.back().doc = Comment(p.file, path);
    }
    std::sort(order.begin(), order.end());
    for (auto [position, i] : order) type.fields.push_back(std::move(row[i]));
    for (size_t i = 0; i < type.fields.size(); ++i) {
      if (type.fields[i].number) type.by_number.push_back(static_cast<uint16_t>(i));
    }
    std::sort(type.by_number.begin(), type.by_number.end(),
              [&](uint16_t a, uint16_t b) { return type.fields[a].number < type.fields[b].number; });
  }

  Field MakeField(const Pending& p, const pb::FieldDescriptorProto& in, const options::Field& o) {
    Field f;
    f.proto_name = in.name();
    f.name = in.json_name();
    f.number = o.json_only() ? 0 : in.number();
    f.pointer = o.pointer();
    f.always = o.always();
    f.omit_zero = o.omit_zero();
    f.inlined = o.inline_();
    f.required = o.required();
    f.marked_optional = o.marked_optional();
    f.list_type = static_cast<ListType>(o.list_type());
    f.list_map_keys = Strings(o.list_map_keys());
    f.patch_strategy = Strings(o.patch_strategy());
    f.patch_merge_key = o.patch_merge_key();
    if (o.has_default_json()) f.default_value = Json(o.default_json());
    if (o.has_openapi_default()) f.openapi_default = Json(o.openapi_default());
    f.enum_values = Strings(o.enum_values());
    f.rules = Strings(o.rules());
    f.feature_gate = o.feature_gate();
    auto entry = p.map_entries.find(in.type_name());
    if (entry != p.map_entries.end()) {
      f.type = Of(impl_.maps, Shape::kMap, TypeOf(entry->second->field(1)));
    } else {
      f.type = TypeOf(in);
      if (in.label() == pb::FieldDescriptorProto::LABEL_REPEATED) f.type = Of(impl_.lists, Shape::kList, f.type);
    }
    f.atomic = o.atomic() || (f.type->atomic && !o.granular());
    return f;
  }

  // Inlined structs and those that are values come first: their index is part of this one.
  void Index(Type& type) {
    if (type.index) return;
    // unreachable from outside: made of descriptors, compiled in
    CHECK_MSG(indexing_.insert(&type).second, type.name);
    for (const Field& f : type.fields) {
      if (!f.pointer) Index(const_cast<Type&>(*f.type));
    }
    type.index = MakeFieldIndex(type);
    indexing_.erase(&type);
  }

  void AddObjects(const Pending& p) {
    const auto& file_options = p.file->options();
    if (p.type->type_meta) {
      const std::string& group = file_options.GetExtension(options::api_group);
      const std::string& version = file_options.GetExtension(options::api_version);
      impl_.group_versions.insert(group + "/" + version);
      impl_.objects.emplace(Key(group, version, p.message->name()), p.type);
    }
    for (int i = 0; i < p.message->options().ExtensionSize(options::kind); ++i) {
      AddKind(p, p.message->options().GetExtension(options::kind, i));
    }
  }

  void AddKind(const Pending& p, const options::Kind& in) {
    Kind k;
    k.group = in.group();
    k.version = in.version();
    k.kind = p.message->name();
    k.list_kind = in.list_kind();
    k.resource = in.resource();
    k.singular = in.singular();
    k.short_names = Strings(in.short_names());
    k.categories = Strings(in.categories());
    k.verbs = Strings(in.verbs());
    k.namespaced = in.namespaced();
    for (const auto& s : in.subresources()) {
      k.subresources.push_back({s.name(), Strings(s.verbs()), s.group(), s.version(), s.kind()});
    }
    k.storage_prefix = in.storage_prefix();
    k.storage_version = in.storage_version();
    k.storage_version_hash = in.storage_version_hash();
    k.served_by_default = in.served_by_default();
    k.stored_as_json = in.stored_as_json();
    k.has_generation = in.has_generation();
    k.reset_status_on_create = in.reset_status_on_create();
    k.keep_status_on_update = in.keep_status_on_update();
    k.allow_create_on_update = in.allow_create_on_update();
    k.allow_unconditional_update = in.allow_unconditional_update();
    k.generation_fixed = in.generation_fixed();
    k.generation_on_update = in.generation_on_update();
    for (const auto& d : in.defaults()) k.defaults.push_back({d.path(), Json(d.json())});
    for (const auto& c : in.columns()) {
      k.columns.push_back({c.name(), c.type(), c.format(), c.description(), c.priority(), c.value()});
    }
    k.type = p.type;
    impl_.group_versions.insert(k.group + "/" + k.version);
    impl_.objects.emplace(Key(k.group, k.version, k.kind), p.type);
    impl_.kinds.push_back(std::move(k));
  }

  void FindListType(Kind& kind) {
    if (kind.list_kind.empty()) return;
    auto found = impl_.objects.find(Key(kind.group, kind.version, kind.list_kind));
    if (found != impl_.objects.end()) kind.list_type = found->second;
  }

  Tables& impl_;
  std::set<std::string> added_;
  std::vector<Pending> pending_;
  std::map<std::pair<const pb::FileDescriptorProto*, std::vector<int>>, const std::string*> comments_;
  std::set<const Type*> indexing_;
};

}  // namespace

struct Schema::Impl : Tables {};

Schema::Schema(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Schema::~Schema() = default;

std::unique_ptr<Schema> Schema::FromDescriptors(const std::vector<std::string_view>& blobs) {
  auto impl = std::make_unique<Impl>();
  {
    pb::ArenaOptions arena_options;
    arena_options.start_block_size = 1 << 20;  // big enough to go back to the system when freed
    arena_options.max_block_size = 1 << 20;
    pb::Arena arena(arena_options);
    Builder builder(*impl);
    for (std::string_view blob : blobs) {
      auto* set = pb::Arena::CreateMessage<pb::FileDescriptorSet>(&arena);
      // unreachable from outside: made of descriptors, compiled in
      CHECK(set->ParseFromArray(blob.data(), static_cast<int>(blob.size())));
      builder.Add(*set);
    }
    builder.Finish();
  }
  return std::unique_ptr<Schema>(new Schema(std::move(impl)));
}

const Type* Schema::FindType(std::string_view message) const {
  auto found = impl_->by_name.find(message);
  return found == impl_->by_name.end() ? nullptr : found->second;
}

std::vector<std::string_view> Schema::messages() const {
  std::vector<std::string_view> out;
  for (const auto& [name, type] : impl_->by_name) out.push_back(name);
  return out;
}

const std::vector<Kind>& Schema::kinds() const { return impl_->kinds; }

const Type* Schema::FindObject(std::string_view group, std::string_view version, std::string_view kind) const {
  auto found = impl_->objects.find(Key(group, version, kind));
  if (found != impl_->objects.end()) return found->second;
  // What the original registers into every group version, and its unversioned types into "v1".
  static constexpr std::string_view kEverywhere[] = {"DeleteOptions", "GetOptions",   "ListOptions", "CreateOptions",
                                                     "UpdateOptions", "PatchOptions", "WatchEvent"};
  static constexpr std::string_view kUnversioned[] = {"Status", "APIVersions", "APIGroup", "APIGroupList",
                                                      "APIResourceList"};
  auto any = [kind](const auto& names) {
    return std::find(std::begin(names), std::end(names), kind) != std::end(names);
  };
  bool known = impl_->group_versions.contains(std::string(group) + "/" + std::string(version));
  if ((known && any(kEverywhere)) || (group.empty() && version == "v1" && any(kUnversioned))) {
    return FindType(std::string(kMeta) + std::string(kind));
  }
  return nullptr;
}

const Field* Type::Find(std::string_view json_name, std::vector<const Field*>* via) const {
  if (!index) return nullptr;
  int at = index->Find(json_name);
  if (at < 0) return nullptr;
  const FlatField& f = index->flat[static_cast<size_t>(at)];
  if (via) via->insert(via->end(), f.via.begin(), f.via.end());
  return f.field;
}

}  // namespace machinery::schema
