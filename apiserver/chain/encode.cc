#include "apiserver/chain/encode.h"

#include "base/bytes.h"
#include "base/protobuf_wire.h"
#include "machinery/codec/codec.h"
#include "machinery/object/meta.h"
#include "machinery/ops/table.h"

namespace apiserver::chain {

namespace codec = machinery::codec;
namespace object = machinery::object;
namespace ops = machinery::ops;
namespace wire = base::wire;
using machinery::schema::Kind;
using machinery::schema::Type;
using machinery::value::Map;
using machinery::value::Value;
using registry::Outcome;

namespace {

std::string Head(std::string_view kind, std::string_view api_version) {
  std::string out = "{\"kind\":\"";
  out.append(kind).append("\",\"apiVersion\":\"").append(api_version).append("\"");
  return out;
}

// `item` is an object's JSON without kind and apiVersion; appends it with them.
void AppendWithHead(std::string& out, const Kind& kind, std::string_view item) {
  out += Head(kind.kind, kind.ApiVersion());
  if (item.size() > 2) {
    out += ',';
    out += item.substr(1);
  } else {
    out += '}';
  }
}

// A schema-less tree in a text form.
base::SharedBytes Text(const Negotiated& form, const Value& tree) {
  if (form.media == Media::kYaml) return base::Share(machinery::value::ToYaml(tree));
  return base::Share(machinery::value::ToJson(tree, form.pretty) + "\n");
}

// JSON text in the form that was asked for: as it is, indented, or as YAML.
base::Result<base::SharedBytes> Reshape(const Negotiated& form, std::string json) {
  if (form.media == Media::kJson && !form.pretty) return base::Share(std::move(json));
  TRY_ASSIGN(Value tree, machinery::value::FromJson(json));
  return Text(form, tree);
}

base::Result<base::SharedBytes> EncodeTree(const EncodeContext& c, const Type& type, const Value& tree) {
  if (c.form.media == Media::kProtobuf) return base::Share(codec::EncodeEnvelope(type, tree));
  return Reshape(c.form, codec::EncodeJson(type, tree));
}

base::Result<base::SharedBytes> EncodePlain(const EncodeContext& c, const storage::Object& o) {
  const Kind& kind = *c.kind;
  if (c.form.media == Media::kProtobuf) {
    TRY_ASSIGN(auto message, o.MessageAs(kind));
    return base::Share(codec::SealEnvelope(kind.ApiVersion(), kind.kind, *message));
  }
  TRY_ASSIGN(auto item, o.JsonAs(kind));
  std::string out;
  out.reserve(item->size() + 64);
  AppendWithHead(out, kind, *item);
  out += '\n';
  return Reshape(c.form, std::move(out));
}

Value ListMeta(const Outcome& list) {
  Value meta{Map{}};
  if (!list.list_revision.empty()) meta.Set("resourceVersion", list.list_revision);
  if (!list.continue_token.empty()) meta.Set("continue", list.continue_token);
  if (list.remaining) meta.Set("remainingItemCount", *list.remaining);
  return meta;
}

base::Result<base::SharedBytes> EncodeListProtobuf(const EncodeContext& c, const Outcome& list) {
  // List messages have their ListMeta in field 1 (selfLink, resourceVersion, continue, remainingItemCount) and their
  // items in field 2.
  std::string meta, out;
  wire::PutBytes(meta, 1, "");
  wire::PutBytes(meta, 2, list.list_revision);
  wire::PutBytes(meta, 3, list.continue_token);
  if (list.remaining) wire::PutUint(meta, 4, static_cast<uint64_t>(*list.remaining));
  wire::PutBytes(out, 1, meta);
  size_t total = 0;
  for (const auto& item : list.items) total += item->message()->size() + 8;
  out.reserve(out.size() + total);
  for (const auto& item : list.items) {
    TRY_ASSIGN(auto message, item->MessageAs(*c.kind));
    wire::PutBytes(out, 2, *message);
  }
  return base::Share(codec::SealEnvelope(c.kind->ApiVersion(), c.kind->list_kind, out));
}

base::Result<base::SharedBytes> EncodeListJson(const EncodeContext& c, const Outcome& list) {
  std::string out = Head(c.kind->list_kind, c.kind->ApiVersion());
  out += ",\"metadata\":" + machinery::value::ToJson(ListMeta(list)) + ",\"items\":[";
  size_t total = out.size();
  for (const auto& item : list.items) total += item->message()->size() * 2;
  out.reserve(total);
  bool first = true;
  for (const auto& item : list.items) {
    TRY_ASSIGN(auto json, item->JsonAs(*c.kind));
    if (!std::exchange(first, false)) out += ',';
    out += *json;
  }
  out += "]}\n";
  return Reshape(c.form, std::move(out));
}

base::Result<std::vector<Value>> Trees(const EncodeContext& c, const std::vector<storage::ObjectPtr>& objects) {
  std::vector<Value> trees;
  trees.reserve(objects.size());
  for (const auto& o : objects) {
    TRY_ASSIGN(Value tree, o->TreeAs(*c.kind));
    trees.push_back(std::move(tree));
  }
  return trees;
}

base::Result<base::SharedBytes> EncodeTable(const EncodeContext& c, const Value& meta, const std::vector<Value>& trees,
                                            bool columns) {
  ops::TableOptions options{.now = c.now, .group_version = "meta.k8s.io/" + c.form.as_version, .columns = columns};
  auto include = ops::ParseIncludeObject(c.include_object);
  if (!include) return base::Err(object::BadRequest(std::string(include.error().message())));
  options.include = *include;
  std::vector<const Value*> pointers;
  for (const auto& t : trees) pointers.push_back(&t);
  return Text(c.form, ops::MakeTable(*c.kind, meta, pointers, options));
}

std::string MetaVersion(const EncodeContext& c) { return "meta.k8s.io/" + c.form.as_version; }

base::Result<base::SharedBytes> EncodePartial(const EncodeContext& c, const Value& tree) {
  Value partial = ops::PartialMetadata(tree, MetaVersion(c));
  if (c.form.media != Media::kProtobuf) return Text(c.form, partial);
  const Type* type = c.schema->FindObject("meta.k8s.io", c.form.as_version, "PartialObjectMetadata");
  if (!type) return base::Err(object::GenericResponse(406));
  return base::Share(codec::EncodeEnvelope(*type, partial));
}

base::Result<base::SharedBytes> EncodePartialList(const EncodeContext& c, const Outcome& list) {
  TRY_ASSIGN(auto trees, Trees(c, list.items));
  machinery::value::List items;
  for (const auto& t : trees) items.push_back(ops::PartialMetadata(t, MetaVersion(c)));
  Value out{Map{{"kind", "PartialObjectMetadataList"},
                {"apiVersion", MetaVersion(c)},
                {"metadata", ListMeta(list)},
                {"items", items.empty() ? Value() : Value(std::move(items))}}};
  if (c.form.media != Media::kProtobuf) return Text(c.form, out);
  const Type* type = c.schema->FindObject("meta.k8s.io", c.form.as_version, "PartialObjectMetadataList");
  if (!type) return base::Err(object::GenericResponse(406));
  return base::Share(codec::EncodeEnvelope(*type, out));
}

base::Result<base::SharedBytes> EncodeObject(const EncodeContext& c, const storage::Object& o, bool columns) {
  if (c.form.as == As::kObject) return EncodePlain(c, o);
  TRY_ASSIGN(Value tree, o.TreeAs(*c.kind));
  if (c.form.as == As::kPartial) return EncodePartial(c, tree);
  Value meta{Map{}};
  meta.Set("resourceVersion", object::ResourceVersionOf(tree));
  std::vector<Value> one;
  one.push_back(std::move(tree));
  return EncodeTable(c, meta, one, columns);
}

}  // namespace

base::Result<base::SharedBytes> EncodeOutcome(const EncodeContext& c, const Outcome& o) {
  switch (o.form) {
    case Outcome::Form::kObject:
      return EncodeObject(c, *o.object, true);
    case Outcome::Form::kTree:
      return EncodeTree(c, *o.type, o.tree);
    case Outcome::Form::kStatus:
      if (c.form.media == Media::kProtobuf) return EncodeTree(c, *c.schema->FindObject("", "v1", "Status"), o.tree);
      return Text(c.form, o.tree);
    case Outcome::Form::kList:
      if (c.form.as == As::kPartial) return EncodePartialList(c, o);
      if (c.form.as == As::kTable) {
        TRY_ASSIGN(auto trees, Trees(c, o.items));
        return EncodeTable(c, ListMeta(o), trees, true);
      }
      return c.form.media == Media::kProtobuf ? EncodeListProtobuf(c, o) : EncodeListJson(c, o);
    case Outcome::Form::kNone:
      break;
  }
  return base::Share("");
}

std::string EncodeStatus(const machinery::schema::Schema& schema, Media media, const base::Status& error) {
  Value tree = object::ToStatusObject(error);
  const Type* type = schema.FindObject("", "v1", "Status");
  if (media == Media::kProtobuf && type) return codec::EncodeEnvelope(*type, tree);
  if (media == Media::kYaml) return machinery::value::ToYaml(tree);
  return machinery::value::ToJson(tree) + "\n";
}

base::Result<base::SharedBytes> EncodeEventObject(const EncodeContext& c, const storage::Object& o, bool columns) {
  return EncodeObject(c, o, columns);
}

base::Result<base::SharedBytes> EncodeBookmark(const EncodeContext& c, uint64_t revision, bool initial_events_end) {
  Value tree{Map{{"kind", c.kind->kind}, {"apiVersion", c.kind->ApiVersion()}, {"metadata", Map{}}}};
  object::SetResourceVersion(tree, std::to_string(revision));
  if (initial_events_end) object::SetAnnotation(tree, "k8s.io/initial-events-end", "true");
  if (c.form.as == As::kPartial) return EncodePartial(c, tree);
  if (c.form.as == As::kTable) {
    Value meta{Map{{"resourceVersion", std::to_string(revision)}}};
    return EncodeTable(c, meta, {tree}, false);
  }
  return EncodeTree(c, *c.kind->type, tree);
}

base::SharedBytes MessageFrame(machinery::request::EventType type, const std::string& object) {
  // Event {type = 1, object = 2}; the enums have the same numbers.
  std::string out;
  out.reserve(object.size() + 8);
  wire::PutNonZero(out, 1, static_cast<uint64_t>(type));
  wire::PutBytes(out, 2, object);
  return base::Share(std::move(out));
}

base::SharedBytes Frame(Media media, machinery::request::EventType type, const std::string& object) {
  std::string_view name = machinery::request::EventTypeName(type);
  if (media == Media::kProtobuf) {
    std::string raw, event, out;
    wire::PutBytes(raw, 1, object);
    wire::PutBytes(event, 1, name);
    wire::PutBytes(event, 2, raw);
    base::PutBigEndian32(out, static_cast<uint32_t>(event.size()));
    return base::Share(out + event);
  }
  std::string out = "{\"type\":\"";
  out.reserve(object.size() + 40);
  out.append(name).append("\",\"object\":").append(object);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  out += "}\n";
  return base::Share(std::move(out));
}

}  // namespace apiserver::chain
