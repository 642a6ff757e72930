// Tree -> canonical JSON text: fields in declaration order, map keys sorted, omitempty as Go has it. A tree made by
// code need not be canonical; its quantities and times are brought into form here.
#include <algorithm>

#include "machinery/codec/codec.h"
#include "machinery/codec/fields_of.h"
#include "machinery/codec/text_value.h"
#include "machinery/object/quantity.h"

namespace machinery::codec {

namespace {

using schema::FieldIndex;
using schema::FlatField;
using schema::Shape;
using schema::Type;
using value::Value;

void AppendStruct(std::string& out, const Type& type, const Value& v) {
  const FieldIndex& index = *type.index;
  FieldsOf fields(index, v);
  char before = '{';
  for (size_t i = 0; i < index.flat.size(); ++i) {
    const FlatField& f = index.flat[i];
    const Value* field = fields[i];
    if (field ? !IsKept(f, *field) : !f.always) continue;
    out.push_back(before);
    out += f.key;
    before = ',';
    if (field && !field->is_null()) {
      AppendJson(out, *f.type, *field);
    } else {
      out += f.pointer ? std::string_view("null") : std::string_view(f.type->index->zero_json);
    }
  }
  if (before == '{') out.push_back('{');
  out.push_back('}');
}

void AppendMap(std::string& out, const Type& element, const value::Map& map) {
  const auto& entries = map.entries();
  auto put = [&, before = '{'](const value::Map::Entry& e) mutable {
    out.push_back(before);
    value::AppendJsonString(out, e.key);
    out.push_back(':');
    AppendJson(out, element, e.value);
    before = ',';
  };
  if (entries.empty()) out.push_back('{');
  auto less = [](const value::Map::Entry& a, const value::Map::Entry& b) { return a.key < b.key; };
  if (std::is_sorted(entries.begin(), entries.end(), less)) {
    for (const value::Map::Entry& e : entries) put(e);
  } else {
    std::vector<const value::Map::Entry*> order;
    for (const value::Map::Entry& e : entries) order.push_back(&e);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->key < b->key; });
    for (const value::Map::Entry* e : order) put(*e);
  }
  out.push_back('}');
}

void AppendList(std::string& out, const Type& element, const value::List& list) {
  char before = '[';
  for (const Value& item : list) {
    out.push_back(before);
    AppendJson(out, element, item);
    before = ',';
  }
  if (list.empty()) out.push_back('[');
  out.push_back(']');
}

}  // namespace

void AppendJson(std::string& out, const Type& type, const Value& v) {
  if (v.is_null()) {
    bool null = type.shape == Shape::kRawExtension || type.shape == Shape::kFieldsV1 || type.shape == Shape::kAnyJson;
    out += null ? std::string_view("null") : std::string_view(type.index->zero_json);
    return;
  }
  switch (type.shape) {
    case Shape::kStruct:
      if (v.is_map()) return AppendStruct(out, type, v);
      break;
    case Shape::kList:
    case Shape::kStringList:
      if (v.is_list()) return AppendList(out, *type.element, v.list());
      break;
    case Shape::kMap:
      if (v.is_map()) return AppendMap(out, *type.element, v.map());
      break;
    case Shape::kSchemaOrArray:
    case Shape::kSchemaOrBool:
    case Shape::kSchemaOrStringArray:
      if (v.is_map()) return AppendStruct(out, *type.element, v);
      if (v.is_list() && type.shape == Shape::kSchemaOrArray) return AppendList(out, *type.element, v.list());
      break;
    case Shape::kQuantity:
      if (auto text = object::Quantity::Normalize(v.is_string() ? v.as_string() : value::ToJson(v))) {
        return value::AppendJsonString(out, *text);
      }
      break;
    default:
      break;
  }
  value::AppendJson(out, v);
}

std::string EncodeJson(const Type& type, const Value& v, bool pretty, bool newline) {
  std::string out;
  AppendJson(out, type, v);
  if (pretty) out = value::IndentJson(out);
  if (newline) out.push_back('\n');
  return out;
}

}  // namespace machinery::codec
