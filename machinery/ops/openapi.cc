#include "machinery/ops/openapi.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/bytes.h"
#include "machinery/object/meta.h"
#include "machinery/ops/openapi_paths.h"

namespace machinery::ops {
namespace {

using openapi::Operation;
using openapi::Parameter;
using openapi::PathItem;
using schema::Field;
using schema::Kind;
using schema::Shape;
using schema::Type;
using value::List;
using value::Map;
using value::Value;
using Media = Operation::Media;

const std::vector<std::string> kPlainPaths = {".well-known/openid-configuration", "api", "apis", "openid/v1/jwks",
                                              "version"};
const std::vector<std::string> kPatchMedia = {"application/json-patch+json", "application/merge-patch+json",
                                              "application/strategic-merge-patch+json", "application/apply-patch+yaml"};

std::vector<std::string> Produces(Media media) {
  switch (media) {
    case Media::kList:
      return {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf",
              "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"};
    case Media::kText:
      return {"*/*"};
    case Media::kLog:
      return {"text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"};
    case Media::kJson:
      return {"application/json"};
    case Media::kKeys:
      return {"application/jwk-set+json"};
    default:
      return {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"};
  }
}

Value Strings(const std::vector<std::string>& texts) { return Value(List(texts.begin(), texts.end())); }

Value GroupVersionKind(const std::string& group, const std::string& version, const std::string& kind) {
  return Value(Map{{"group", Value(group)}, {"kind", Value(kind)}, {"version", Value(version)}});
}

// Members of a union as the original marks them: JSON of x-kubernetes-unions by definition.
constexpr std::pair<std::string_view, std::string_view> kUnions[] = {
    {"k8s.io.api.core.v1.AppArmorProfile",
     R"([{"discriminator":"type","fields-to-discriminateBy":{"localhostProfile":"LocalhostProfile"}}])"},
    {"k8s.io.api.core.v1.SeccompProfile",
     R"([{"discriminator":"type","fields-to-discriminateBy":{"localhostProfile":"LocalhostProfile"}}])"},
    {"k8s.io.api.core.v1.PodSchedulingGroup", R"([{"fields-to-discriminateBy":{"podGroupName":"PodGroupName"}}])"},
    {"k8s.io.api.flowcontrol.v1.LimitResponse",
     R"([{"discriminator":"type","fields-to-discriminateBy":{"queuing":"Queuing"}}])"},
    {"k8s.io.api.flowcontrol.v1.PriorityLevelConfigurationSpec",
     R"([{"discriminator":"type","fields-to-discriminateBy":{"exempt":"Exempt","limited":"Limited"}}])"},
    {"k8s.io.api.flowcontrol.v1.Subject", R"([{"discriminator":"kind","fields-to-discriminateBy":)"
                                          R"({"group":"Group","serviceAccount":"ServiceAccount","user":"User"}}])"},
};

// meta/v1 kinds that every group version knows.
bool IsEverywhere(const Type& type) {
  return type.name == "k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions" ||
         type.name == "k8s.io.apimachinery.pkg.apis.meta.v1.WatchEvent";
}

// Writes definitions of types and, while it does, finds the types they need.
class Definitions {
 public:
  Definitions(bool v3, std::vector<object::GroupVersion> everywhere) : v3_(v3), everywhere_(std::move(everywhere)) {}

  Value Ref(const Type& type) {
    if (seen_.insert(&type).second) todo_.push_back(&type);
    return Ref(openapi::DefinitionName(type));
  }
  // A type of the wire that has no message of its own here.
  Value Ref(const std::string& name) {
    return Value(Map{{"$ref", Value((v3_ ? "#/components/schemas/" : "#/definitions/") + name)}});
  }

  Value All() {
    std::map<std::string, Value> sorted;
    while (!todo_.empty()) {
      const Type* type = todo_.back();
      todo_.pop_back();
      sorted[openapi::DefinitionName(*type)] = Define(*type);
    }
    for (auto& [name, v] : named_) sorted[name] = v;
    Map out;
    for (auto& [name, v] : sorted) out.Append(name, std::move(v));
    return Value(std::move(out));
  }

 private:
  Value Named(const std::string& name, Value definition) {
    named_[name] = std::move(definition);
    return Ref(name);
  }

  static Value Plain(const char* type, const char* format = nullptr) {
    Map m{{"type", Value(type)}};
    if (format) m.Set("format", Value(format));
    return Value(std::move(m));
  }

  Value OneOf(const char* a, const char* b) { return Value(Map{{"oneOf", Value(List{Plain(a), Plain(b)})}}); }

  // The schema of a value of this type where it stands as a field, an element or an entry.
  Value Use(const Type& type) {
    const std::string meta = "io.k8s.apimachinery.pkg.apis.meta.v1.";
    switch (type.shape) {
      case Shape::kString:
        return Plain("string");
      case Shape::kBool:
        return Plain("boolean");
      case Shape::kInt32:
        return Plain("integer", "int32");
      case Shape::kInt64:
        return Plain("integer", "int64");
      case Shape::kDouble:
        return Plain("number", "double");
      case Shape::kBytes:
        return Plain("string", "byte");
      case Shape::kTime:
        return Named(meta + "Time", Plain("string", "date-time"));
      case Shape::kMicroTime:
        return Named(meta + "MicroTime", Plain("string", "date-time"));
      case Shape::kTimestamp:
        return Ref(type);
      case Shape::kDuration:
        return Named(meta + "Duration", Plain("string"));
      case Shape::kQuantity:
        return Named("io.k8s.apimachinery.pkg.api.resource.Quantity",
                     v3_ ? OneOf("string", "number") : Plain("string"));
      case Shape::kIntOrString:
        return Named("io.k8s.apimachinery.pkg.util.intstr.IntOrString", IntOrString());
      case Shape::kRawExtension:
        return Named("io.k8s.apimachinery.pkg.runtime.RawExtension", Plain("object"));
      case Shape::kFieldsV1:
        return Named(meta + "FieldsV1", Plain("object"));
      case Shape::kAnyJson:
      case Shape::kSchemaOrArray:
      case Shape::kSchemaOrBool:
      case Shape::kSchemaOrStringArray:
        return type.name.empty() ? Value(Map{}) : Named(openapi::DefinitionName(type), Value(Map{}));
      case Shape::kStringList:
        return Value(Map{{"type", Value("array")}, {"items", Plain("string")}});
      case Shape::kList:
        return Value(Map{{"type", Value("array")}, {"items", Use(*type.element)}});
      case Shape::kMap:
        return Value(Map{{"type", Value("object")}, {"additionalProperties", Use(*type.element)}});
      case Shape::kStruct:
        return Ref(type);
    }
    return Value(Map{});
  }

  Value IntOrString() {
    if (!v3_) return Plain("string", "int-or-string");
    Value v = OneOf("integer", "string");
    v.Set("format", "int-or-string");
    return v;
  }

  // v2 shows no defaults: its readers would take them for facts about what the server stores.
  void AddDefault(const Field& f, Value& schema) {
    if (!v3_) return;
    bool is_ref = schema.map().Has("$ref") || schema.map().Has("allOf");
    if (f.openapi_default) {
      schema.Set("default", *f.openapi_default);
    } else if (f.pointer) {
      return;
    } else if (is_ref && f.type->shape == Shape::kStruct) {
      schema.Set("default", Value(Map{}));
    } else if (f.always && f.type->shape == Shape::kString) {
      schema.Set("default", "");
    } else if (f.always && (f.type->shape == Shape::kInt32 || f.type->shape == Shape::kInt64)) {
      schema.Set("default", 0);
    } else if (f.always && f.type->shape == Shape::kDouble) {
      schema.Set("default", 0);
    } else if (f.always && f.type->shape == Shape::kBool) {
      schema.Set("default", false);
    }
  }

  // A struct says for itself that it is atomic; a field speaks up for a map, or where it takes that back.
  void AddMapType(const Field& f, Value& schema) {
    bool is_struct = f.type->shape == Shape::kStruct;
    if (f.atomic && !is_struct) schema.Set("x-kubernetes-map-type", "atomic");
    bool granular = (is_struct && f.type->atomic && !f.atomic) || f.name == "allocatedResourceStatuses";
    if (granular) schema.Set("x-kubernetes-map-type", "granular");
  }

  Value Property(const Field& f) {
    Value schema = Use(*f.type);
    if (schema.map().Has("$ref") && v3_) schema = Value(Map{{"allOf", Value(List{std::move(schema)})}});
    if (!f.doc.empty()) schema.Set("description", f.doc);
    AddDefault(f, schema);
    if (!f.enum_values.empty()) {
      std::vector<std::string> sorted = f.enum_values;
      std::sort(sorted.begin(), sorted.end());
      Value& target = f.type->shape == Shape::kList  ? schema.Ensure("items")
                      : f.type->shape == Shape::kMap ? schema.Ensure("additionalProperties")
                                                     : schema;
      target.Set("enum", Strings(sorted));
    }
    if (!f.list_map_keys.empty()) schema.Set("x-kubernetes-list-map-keys", Strings(f.list_map_keys));
    if (f.list_type != schema::ListType::kUnset) {
      const char* text = f.list_type == schema::ListType::kAtomic ? "atomic"
                         : f.list_type == schema::ListType::kSet  ? "set"
                                                                  : "map";
      schema.Set("x-kubernetes-list-type", text);
    }
    AddMapType(f, schema);
    if (!f.patch_merge_key.empty()) schema.Set("x-kubernetes-patch-merge-key", f.patch_merge_key);
    if (!f.patch_strategy.empty()) {
      std::string joined;
      for (const std::string& s : f.patch_strategy) joined += (joined.empty() ? "" : ",") + s;
      schema.Set("x-kubernetes-patch-strategy", joined);
    }
    return schema;
  }

  void AddFields(const Type& type, std::map<std::string, Value>& properties, std::vector<std::string>& required) {
    for (const Field& f : type.fields) {
      if (f.inlined) {
        AddFields(*f.type, properties, required);
        continue;
      }
      properties[f.name] = Property(f);
      if (f.required) required.push_back(f.name);
    }
  }

  Value Define(const Type& type) {
    if (type.name == "k8s.io.apimachinery.pkg.apis.meta.v1.Patch") return Plain("object");
    std::map<std::string, Value> properties;
    std::vector<std::string> required;
    if (type.type_meta) properties["apiVersion"] = properties["kind"] = Plain("string");
    AddFields(type, properties, required);
    Value out = Plain("object");
    if (!type.doc.empty()) out.Set("description", type.doc);
    if (!required.empty()) out.Set("required", Strings(required));
    if (!properties.empty()) {
      Map map;
      for (auto& [name, v] : properties) map.Append(name, std::move(v));
      out.Set("properties", Value(std::move(map)));
    }
    if (type.type_meta) out.Set("x-kubernetes-group-version-kind", Kinds(type));
    if (type.atomic) out.Set("x-kubernetes-map-type", "atomic");
    for (auto& [name, json] : kUnions)
      if (name == type.name) out.Set("x-kubernetes-unions", *value::FromJson(json));
    return out;
  }

  // Group and version as the message's package spells them; the package's last part is the version.
  Value Kinds(const Type& type) {
    std::vector<std::string> parts;
    for (size_t begin = 0; begin <= type.name.size();) {
      size_t dot = std::min(type.name.find('.', begin), type.name.size());
      parts.push_back(type.name.substr(begin, dot - begin));
      begin = dot + 1;
    }
    const std::string& kind = parts.back();
    List out;
    if (IsEverywhere(type)) {
      out.push_back(GroupVersionKind("", "v1", kind));
      for (const object::GroupVersion& gv : everywhere_)
        if (!gv.group.empty()) out.push_back(GroupVersionKind(gv.group, gv.version, kind));
      return Value(std::move(out));
    }
    auto group = groups_->find(type.name.substr(0, type.name.rfind('.')));
    if (group == groups_->end()) {
      out.push_back(GroupVersionKind("", "v1", kind));  // meta/v1
    } else {
      out.push_back(GroupVersionKind(group->second.group, group->second.version, kind));
    }
    return Value(std::move(out));
  }

 public:
  // Package -> group and version, from all kinds of the schema.
  using Groups = std::map<std::string, object::GroupVersion>;
  void UseGroups(const Groups& groups) { groups_ = &groups; }

 private:
  bool v3_;
  std::vector<object::GroupVersion> everywhere_;
  const Groups* groups_ = nullptr;
  std::set<const Type*> seen_;
  std::vector<const Type*> todo_;
  std::map<std::string, Value> named_;
};

Value V3Parameter(const Parameter& p) {
  Map m{{"name", Value(p.name)}, {"in", Value(p.in)}};
  if (p.in == "path") m.Set("required", Value(true));
  m.Set("schema", Value(Map{{"type", Value(p.type)}, {"uniqueItems", Value(true)}}));
  return Value(std::move(m));
}

Value V2Parameter(const Parameter& p) {
  Map m{{"uniqueItems", Value(true)}, {"type", Value(p.type)}, {"name", Value(p.name)}, {"in", Value(p.in)}};
  if (p.in == "path") m.Set("required", Value(true));
  return Value(std::move(m));
}

Value ResultSchema(const Operation& op, Definitions& definitions) {
  return op.result ? definitions.Ref(*op.result) : Value(Map{{"type", Value("string")}});
}

void AddExtensions(const Operation& op, Value& out) {
  if (op.action.empty()) return;
  out.Set("x-kubernetes-action", op.action);
  out.Set("x-kubernetes-group-version-kind", GroupVersionKind(op.group, op.version, op.kind));
}

Value Content(const std::vector<std::string>& media, const Value& schema) {
  std::vector<std::string> sorted = media;
  std::sort(sorted.begin(), sorted.end());
  Map content;
  for (const std::string& m : sorted) content.Append(m, Value(Map{{"schema", schema}}));
  return Value(std::move(content));
}

// What an answer means; clients show it, nothing reads it.
const char* ResponseText(int code) {
  switch (code) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    default:
      return "Unauthorized";
  }
}

Value V3Operation(const Operation& op, Definitions& definitions) {
  Value out(Map{{"tags", Strings({op.tag})}, {"operationId", Value(op.id)}});
  if (!op.parameters.empty()) {
    List parameters;
    for (const Parameter& p : op.parameters) parameters.push_back(V3Parameter(p));
    out.Set("parameters", Value(std::move(parameters)));
  }
  if (op.body) {
    Value body(Map{{"content", Content(op.body_is_patch ? kPatchMedia : std::vector<std::string>{"*/*"},
                                       definitions.Ref(*op.body))}});
    if (op.body_required) body.Set("required", true);
    out.Set("requestBody", std::move(body));
  }
  Map responses;
  for (int code : op.codes) {
    Value response(Map{{"description", Value(ResponseText(code))}});
    if (code != 401) response.Set("content", Content(Produces(op.media), ResultSchema(op, definitions)));
    responses.Append(std::to_string(code), std::move(response));
  }
  out.Set("responses", Value(std::move(responses)));
  AddExtensions(op, out);
  return out;
}

Value V2Operation(const Operation& op, Definitions& definitions) {
  Value out(Map{});
  if (op.media == Media::kDiscovery) {
    out.Set("consumes", Strings(Produces(Media::kDiscovery)));
  } else if (op.id == "getCodeVersion") {
    out.Set("consumes", Strings({"application/json"}));
  } else if (!op.action.empty()) {
    out.Set("consumes", Strings(op.body_is_patch ? kPatchMedia : std::vector<std::string>{"*/*"}));
  }
  out.Set("produces", Strings(Produces(op.media)));
  out.Set("schemes", Strings({"https"}));
  out.Set("tags", Strings({op.tag}));
  out.Set("operationId", op.id);
  List parameters;
  if (op.body) {
    Value body(Map{{"name", Value("body")}, {"in", Value("body")}});
    if (op.body_required) body.Set("required", true);
    body.Set("schema", definitions.Ref(*op.body));
    parameters.push_back(std::move(body));
  }
  for (const Parameter& p : op.parameters) parameters.push_back(V2Parameter(p));
  if (!parameters.empty()) out.Set("parameters", Value(std::move(parameters)));
  Map responses;
  for (int code : op.codes) {
    Value response(Map{{"description", Value(ResponseText(code))}});
    if (code != 401) response.Set("schema", ResultSchema(op, definitions));
    responses.Append(std::to_string(code), std::move(response));
  }
  out.Set("responses", Value(std::move(responses)));
  AddExtensions(op, out);
  return out;
}

Value Paths(std::vector<PathItem> items, bool v3, Definitions& definitions) {
  std::sort(items.begin(), items.end(), [](const PathItem& a, const PathItem& b) { return a.path < b.path; });
  Map out;
  for (PathItem& item : items) {
    std::vector<Parameter> common = HoistParameters(item);
    Value path(Map{});
    for (const Operation& op : item.operations)
      path.Set(op.method, v3 ? V3Operation(op, definitions) : V2Operation(op, definitions));
    if (!common.empty()) {
      List parameters;
      for (const Parameter& p : common) parameters.push_back(v3 ? V3Parameter(p) : V2Parameter(p));
      path.Set("parameters", Value(std::move(parameters)));
    }
    out.Append(item.path, std::move(path));
  }
  return Value(std::move(out));
}

Value Info(const std::string& version) {
  return Value(Map{{"title", Value("Kubernetes")}, {"version", Value(version)}});
}

Value BearerToken() {
  return Value(Map{{"BearerToken", Value(Map{{"description", Value("Bearer Token authentication")},
                                             {"type", Value("apiKey")},
                                             {"name", Value("authorization")},
                                             {"in", Value("header")}})}});
}

std::string PathOf(const Kind& kind) {
  return kind.group.empty() ? "api/v1" : "apis/" + kind.group + "/" + kind.version;
}

Definitions::Groups GroupsOf(const schema::Schema& schema) {
  Definitions::Groups groups;
  for (const Kind& k : schema.kinds()) groups[k.type->name.substr(0, k.type->name.rfind('.'))] = {k.group, k.version};
  return groups;
}

}  // namespace

OpenApi::OpenApi(const schema::Schema& schema, std::function<bool(const Kind&)> served, std::string version)
    : schema_(schema), version_(std::move(version)) {
  for (const Kind& k : schema.kinds())
    if (served(k)) kinds_.push_back(&k);
  std::sort(kinds_.begin(), kinds_.end(), [](const Kind* a, const Kind* b) {
    return std::tie(a->group, a->version, a->resource) < std::tie(b->group, b->version, b->resource);
  });
}

std::vector<std::string> OpenApi::V3Paths() const {
  std::set<std::string> paths(kPlainPaths.begin(), kPlainPaths.end());
  for (const Kind* k : kinds_) {
    paths.insert(PathOf(*k));
    if (!k->group.empty()) paths.insert("apis/" + k->group);
  }
  return {paths.begin(), paths.end()};
}

std::string OpenApi::Hash(std::string_view path) const {
  // The schema is part of the program: what tells documents apart is the path, the release and who is in it.
  std::string identity = version_ + "\n" + std::string(path);
  for (const Kind* k : kinds_) {
    if (!path.empty() && PathOf(*k) != path) continue;
    identity += "\n" + k->type->name + " " + k->storage_version_hash + " " + std::to_string(k->type->fields.size());
    for (const Field& f : k->type->fields) identity += f.name;
  }
  std::string hex = base::HexEncode(base::Sha256(identity));
  for (char& c : hex)
    if (c >= 'a' && c <= 'f') c = static_cast<char>(c - 'a' + 'A');
  return hex;
}

std::string OpenApi::V3Index() const {
  Map paths;
  for (const std::string& path : V3Paths()) {
    paths.Append(path, Value(Map{{"serverRelativeURL", Value("/openapi/v3/" + path + "?hash=" + Hash(path))}}));
  }
  return value::ToJson(Value(Map{{"paths", Value(std::move(paths))}}));
}

std::optional<std::string> OpenApi::V3(std::string_view path) const {
  std::vector<const Kind*> kinds;
  bool known = std::find(kPlainPaths.begin(), kPlainPaths.end(), path) != kPlainPaths.end();
  for (const Kind* k : kinds_) {
    if (PathOf(*k) == path) kinds.push_back(k);
    known |= path == "apis/" + k->group;
  }
  if (kinds.empty() && !known) return std::nullopt;
  std::vector<object::GroupVersion> everywhere;
  if (!kinds.empty()) everywhere.push_back({kinds[0]->group, kinds[0]->version});
  Definitions::Groups groups = GroupsOf(schema_);
  Definitions definitions(true, everywhere);
  definitions.UseGroups(groups);
  Value paths = Paths(kinds.empty() ? openapi::PlainPaths(schema_, path) : openapi::GroupVersionPaths(schema_, kinds),
                      true, definitions);
  Map components{{"schemas", definitions.All()}, {"securitySchemes", BearerToken()}};
  return value::ToJson(Value(Map{{"openapi", Value("3.0.0")},
                                 {"info", Info(version_)},
                                 {"paths", std::move(paths)},
                                 {"components", Value(std::move(components))}}));
}

std::string OpenApi::V2() const {
  std::vector<PathItem> items;
  std::vector<object::GroupVersion> everywhere;
  std::set<std::string> groups_done;
  for (const std::string& path : kPlainPaths)
    for (PathItem& item : openapi::PlainPaths(schema_, path)) items.push_back(std::move(item));
  for (size_t begin = 0; begin < kinds_.size();) {
    size_t end = begin;
    while (end < kinds_.size() && PathOf(*kinds_[end]) == PathOf(*kinds_[begin])) ++end;
    const Kind& first = *kinds_[begin];
    everywhere.push_back({first.group, first.version});
    for (PathItem& item : openapi::GroupVersionPaths(
             schema_, {kinds_.begin() + static_cast<ptrdiff_t>(begin), kinds_.begin() + static_cast<ptrdiff_t>(end)}))
      items.push_back(std::move(item));
    if (!first.group.empty() && groups_done.insert(first.group).second)
      for (PathItem& item : openapi::PlainPaths(schema_, "apis/" + first.group)) items.push_back(std::move(item));
    begin = end;
  }
  Definitions::Groups groups = GroupsOf(schema_);
  Definitions definitions(false, everywhere);
  definitions.UseGroups(groups);
  Value paths = Paths(std::move(items), false, definitions);
  return value::ToJson(Value(Map{{"swagger", Value("2.0")},
                                 {"info", Info(version_)},
                                 {"paths", std::move(paths)},
                                 {"definitions", definitions.All()},
                                 {"securityDefinitions", BearerToken()},
                                 {"security", Value(List{Value(Map{{"BearerToken", Value(List{})}})})}}));
}

}  // namespace machinery::ops
