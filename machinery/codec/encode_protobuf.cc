// Tree -> message bytes as the original's generated code writes them: fields ascending, zero scalars and structs
// written unless a pointer makes them absent, map entries by key. Written from the back, since a length stands before
// its message.
#include <algorithm>
#include <bit>

#include "machinery/codec/codec.h"
#include "machinery/codec/fields_of.h"
#include "machinery/codec/text_value.h"
#include "machinery/codec/wire_scalars.h"

namespace machinery::codec {

namespace {

using schema::Field;
using schema::FieldIndex;
using schema::Shape;
using schema::Type;
using value::Value;

bool IsRaw(Shape shape) {
  return shape == Shape::kRawExtension || shape == Shape::kFieldsV1 || shape == Shape::kAnyJson;
}

class Encoder {
 public:
  std::string Run(const Type& type, const Value& v) {
    Body(type, v);
    return out_.Take();
  }

 private:
  // What stands behind tag and length.
  void Body(const Type& type, const Value& v) {
    switch (type.shape) {
      case Shape::kString:
        out_.Bytes(v.string_or());
        return;
      case Shape::kBytes:
        // A tree made by code may hold what is no base64; there is nothing to write then.
        if (auto bytes = DecodeBase64(v.string_or())) out_.Bytes(*bytes);
        return;
      case Shape::kStruct: {
        if (v.is_null()) return out_.Bytes(type.index->zero_protobuf);
        FieldsOf fields(*type.index, v);
        Struct(type, fields, 0);
        return;
      }
      case Shape::kStringList:
        if (!v.is_list()) return;
        for (auto item = v.list().rbegin(); item != v.list().rend(); ++item) out_.Field(1, item->string_or());
        return;
      case Shape::kSchemaOrArray:
      case Shape::kSchemaOrBool:
      case Shape::kSchemaOrStringArray:
        return Union(type, v);
      default:
        if (IsRaw(type.shape)) {
          if (!v.is_null()) out_.Field(1, value::ToJson(v));
          return;
        }
        // A text that is none leaves the zero value; codec users decode before they encode.
        size_t before = out_.size();
        if (!WriteTextMessage(type.shape, v, out_).ok() && out_.size() == before) {
          out_.Bytes(type.index->zero_protobuf);
        }
    }
  }

  void Struct(const Type& type, const FieldsOf& fields, size_t base) {
    const FieldIndex& index = *type.index;
    for (auto i = type.by_number.rbegin(); i != type.by_number.rend(); ++i) {
      const Field& field = type.fields[*i];
      size_t flat = base + index.first[*i];
      if (field.inlined) {
        size_t before = out_.size();
        Struct(*field.type, fields, flat);
        out_.Close(field.number, before);
      } else if (const Value* v = fields[flat]; v && !v->is_null()) {
        OneField(field, *v);
      } else {
        out_.Bytes(index.zero_fields[*i]);  // empty where a pointer, list or map is absent
      }
    }
  }

  void OneField(const Field& field, const Value& v) {
    switch (field.type->shape) {
      case Shape::kList:
        if (!v.is_list()) return;
        for (auto item = v.list().rbegin(); item != v.list().rend(); ++item) {
          Single(field.number, *field.type->element, *item);
        }
        return;
      case Shape::kMap:
        if (v.is_map()) Map(field.number, *field.type->element, v.map());
        return;
      default:
        Single(field.number, *field.type, v);
    }
  }

  void Single(int32_t number, const Type& type, const Value& v) {
    switch (type.shape) {
      case Shape::kBool:
        out_.Byte(v.bool_or() ? 1 : 0);
        return out_.Tag(number, WireType::kVarint);
      case Shape::kInt32:
      case Shape::kInt64:
        return out_.IntField(number, static_cast<uint64_t>(v.int_or()));
      case Shape::kDouble: {
        auto bits = std::bit_cast<uint64_t>(v.is_number() ? v.as_double() : 0.0);
        char bytes[8];
        std::memcpy(bytes, &bits, 8);
        out_.Bytes({bytes, 8});
        return out_.Tag(number, WireType::kFixed64);
      }
      default: {
        size_t before = out_.size();
        Body(type, v);
        out_.Close(number, before);
      }
    }
  }

  void Map(int32_t number, const Type& element, const value::Map& map) {
    const auto& entries = map.entries();
    auto less = [](const value::Map::Entry& a, const value::Map::Entry& b) { return a.key < b.key; };
    auto put = [&](const value::Map::Entry& e) {
      size_t before = out_.size();
      bool nil = element.shape == Shape::kBytes && e.value.is_null();
      if (!nil) Single(2, element, e.value);
      out_.Field(1, e.key);
      out_.Close(number, before);
    };
    if (std::is_sorted(entries.begin(), entries.end(), less)) {
      for (auto e = entries.rbegin(); e != entries.rend(); ++e) put(*e);
      return;
    }
    std::vector<const value::Map::Entry*> order;
    for (const value::Map::Entry& e : entries) order.push_back(&e);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return b->key < a->key; });
    for (const value::Map::Entry* e : order) put(*e);
  }

  void Union(const Type& type, const Value& v) {
    if (type.shape == Shape::kSchemaOrBool) {
      if (v.is_map()) Single(2, *type.element, v);
      return out_.IntField(1, v.is_map() || v.bool_or() ? 1 : 0);
    }
    if (v.is_list()) {
      for (auto item = v.list().rbegin(); item != v.list().rend(); ++item) {
        type.shape == Shape::kSchemaOrArray ? Single(2, *type.element, *item) : out_.Field(2, item->string_or());
      }
    } else if (v.is_map()) {
      Single(1, *type.element, v);
    }
  }

  BackWriter out_;
};

}  // namespace

std::string EncodeProtobuf(const Type& type, const Value& v) { return Encoder().Run(type, v); }

std::string EncodeEnvelope(const Type& type, const Value& v) {
  return SealEnvelope(v.At("apiVersion").string_or(), v.At("kind").string_or(), EncodeProtobuf(type, v));
}

}  // namespace machinery::codec
