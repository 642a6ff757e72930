// Message bytes -> tree. Unknown fields are dropped, as the original drops them; text that is no UTF-8 is refused.
#include <utility>

#include "machinery/codec/codec.h"
#include "machinery/codec/text_value.h"
#include "machinery/codec/wire_scalars.h"

namespace machinery::codec {

namespace {

using schema::Field;
using schema::FieldIndex;
using schema::Shape;
using schema::Type;
using value::Value;

class Decoder {
 public:
  base::Result<Value> Run(const Type& type, std::string_view bytes) {
    Value out;
    if (!Message(type, bytes, &out, kMaxMessageDepth)) return base::Err(base::InvalidArgument(error_));
    return out;
  }

 private:
  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }
  bool Fail(const Cursor& in) { return Fail(std::string(in.error())); }
  template <class T>
  bool Ok(base::Result<T> r, Value* out) {
    if (!r) return Fail(std::string(r.error().message()));
    *out = Value(std::move(*r));
    return true;
  }

  // A value of length-delimited type.
  bool Message(const Type& type, std::string_view bytes, Value* out, int depth) {
    if (depth <= 0) return Fail("proto: exceeded max depth");
    switch (type.shape) {
      case Shape::kString:
        if (!value::IsValidUtf8(bytes)) return Fail("proto: string field contains invalid UTF-8");
        *out = Value(bytes);
        return true;
      case Shape::kBytes: {
        std::string text;
        AppendBase64(text, bytes);
        *out = Value(std::move(text));
        return true;
      }
      case Shape::kStruct: {
        Row row(*type.index);
        if (!Fields(type, bytes, row, 0, depth)) return false;
        if (row.unsorted_maps) row.SortMaps();
        *out = row.Finish();
        return true;
      }
      case Shape::kStringList:
        return StringList(bytes, out);
      case Shape::kRawExtension:
      case Shape::kFieldsV1:
      case Shape::kAnyJson:
        return Raw(bytes, out);
      case Shape::kSchemaOrArray:
      case Shape::kSchemaOrBool:
      case Shape::kSchemaOrStringArray:
        return Union(type, bytes, out, depth);
      default:
        return Ok(ReadTextMessage(type.shape, bytes), out);
    }
  }

  // The fields of `type` into `row`, where they begin at `base` (an inlined struct's stand among its owner's).
  bool Fields(const Type& type, std::string_view bytes, Row& row, size_t base, int depth) {
    Cursor in(bytes);
    const FieldIndex& index = *type.index;
    while (!in.AtEnd()) {
      uint32_t number;
      WireType wire;
      if (!in.Tag(&number, &wire)) return Fail(in);
      int i = number < index.by_number.size() ? index.by_number[number] : -1;
      if (i < 0) {
        if (!in.Skip(wire)) return Fail(in);
        continue;
      }
      const Field& field = type.fields[static_cast<size_t>(i)];
      size_t flat = base + index.first[static_cast<size_t>(i)];
      if (field.inlined) {
        std::string_view inner;
        if (wire != WireType::kBytes) return WrongWire(field, wire);
        if (!in.Bytes(&inner)) return Fail(in);
        if (depth <= 0) return Fail("proto: exceeded max depth");
        if (!Fields(*field.type, inner, row, flat, depth - 1)) return false;
      } else if (!OneField(field, flat, wire, in, row, depth)) {
        return false;
      }
    }
    return true;
  }

  bool WrongWire(const Field& field, WireType wire) {
    return Fail("proto: wrong wireType = " + std::to_string(static_cast<int>(wire)) + " for field " + field.name);
  }

  // tidy: parameters: once per field of every object; nothing is packed up to be taken apart at once
  bool OneField(const Field& field, size_t flat, WireType wire, Cursor& in, Row& row, int depth) {
    switch (field.type->shape) {
      case Shape::kList: {
        Value* list = row.Find(flat);
        if (!list) list = &row.Add(flat, Value(value::List()));
        return Element(field, *field.type->element, wire, in, list->list(), depth);
      }
      case Shape::kMap: {
        if (wire != WireType::kBytes) return WrongWire(field, wire);
        std::string_view entry;
        if (!in.Bytes(&entry)) return Fail(in);
        Value* map = row.Find(flat);
        if (!map) map = &row.Add(flat, Value(value::Map()));
        return MapEntry(*field.type->element, entry, row, map->map(), depth);
      }
      case Shape::kString:
      case Shape::kBool:
      case Shape::kInt32:
      case Shape::kInt64:
        return Plain(field, flat, wire, in, row, depth);
      default: {
        Value v;
        if (!Single(field, *field.type, wire, in, &v, depth)) return false;
        row.Put(flat, std::move(v));
        return true;
      }
    }
  }

  // The original writes zero scalars, too: more than half of what stands in a message is dropped here.
  // tidy: parameters: once per field of every object; nothing is packed up to be taken apart at once
  bool Plain(const Field& field, size_t flat, WireType wire, Cursor& in, Row& row, int depth) {
    if (wire != WireOf(field.type->shape)) return WrongWire(field, wire);
    const bool keep_zero = field.pointer || field.always || row.seen(flat);
    if (wire == WireType::kBytes) {
      std::string_view text;
      if (!in.Bytes(&text)) return Fail(in);
      if (text.empty() && !keep_zero) return true;
      if (!value::IsValidUtf8(text)) return Fail("proto: string field contains invalid UTF-8");
      row.Put(flat, Value(text));
      return true;
    }
    uint64_t v;
    if (!in.Varint(&v)) return Fail(in);
    if (v == 0 && !keep_zero) return true;
    row.Put(flat, *ScalarOf(field.type->shape, v));
    return true;
  }

  // tidy: parameters: once per field of every object; nothing is packed up to be taken apart at once
  bool Single(const Field& field, const Type& type, WireType wire, Cursor& in, Value* out, int depth) {
    WireType want = WireOf(type.shape);
    if (wire != want) return WrongWire(field, wire);
    if (want == WireType::kBytes) {
      std::string_view bytes;
      if (!in.Bytes(&bytes)) return Fail(in);
      return Message(type, bytes, out, depth - 1);
    }
    uint64_t v;
    if (want == WireType::kFixed64 ? !in.Fixed64(&v) : !in.Varint(&v)) return Fail(in);
    return Ok(ScalarOf(type.shape, v), out);
  }

  // tidy: parameters: once per field of every object; nothing is packed up to be taken apart at once
  bool Element(const Field& field, const Type& type, WireType wire, Cursor& in, value::List& list, int depth) {
    WireType want = WireOf(type.shape);
    if (wire == WireType::kBytes && want != WireType::kBytes) {
      // Packed: what proto3 writers do with repeated numbers.
      std::string_view packed;
      if (!in.Bytes(&packed)) return Fail(in);
      Cursor numbers(packed);
      while (!numbers.AtEnd()) {
        if (!Single(field, type, want, numbers, &list.emplace_back(), depth)) return false;
      }
      return true;
    }
    return Single(field, type, wire, in, &list.emplace_back(), depth);
  }

  bool MapEntry(const Type& element, std::string_view bytes, Row& row, value::Map& map, int depth) {
    Cursor in(bytes);
    std::string_view key;
    Value v = element.shape == Shape::kBytes ? Value() : element.index->zero;
    static const Field value_field = [] {
      Field f;
      f.name = "value";
      return f;
    }();
    while (!in.AtEnd()) {
      uint32_t number;
      WireType wire;
      if (!in.Tag(&number, &wire)) return Fail(in);
      if (number == 1 && wire == WireType::kBytes) {
        if (!in.Bytes(&key)) return Fail(in);
      } else if (number == 2) {
        if (!Single(value_field, element, wire, in, &v, depth)) return false;
      } else if (!in.Skip(wire)) {
        return Fail(in);
      }
    }
    if (!value::IsValidUtf8(key)) return Fail("proto: string field contains invalid UTF-8");
    // Writers sort by key; where one did not, the tree does, once the message is read.
    if (map.empty() || (!row.unsorted_maps && std::as_const(map).entries().back().key < key)) {
      map.Append(std::string(key), std::move(v));
    } else {
      map.Set(key, std::move(v));
      row.unsorted_maps = true;
    }
    return true;
  }

  bool StringList(std::string_view bytes, Value* out) {
    Cursor in(bytes);
    value::List list;
    while (!in.AtEnd()) {
      uint32_t number;
      WireType wire;
      std::string_view item;
      if (!in.Tag(&number, &wire)) return Fail(in);
      if (number != 1 || wire != WireType::kBytes) {
        if (!in.Skip(wire)) return Fail(in);
        continue;
      }
      if (!in.Bytes(&item)) return Fail(in);
      if (!value::IsValidUtf8(item)) return Fail("proto: string field contains invalid UTF-8");
      list.emplace_back(item);
    }
    *out = Value(std::move(list));
    return true;
  }

  bool Raw(std::string_view bytes, Value* out) {
    auto raw = ReadRaw(bytes);
    if (!raw) return Fail(std::string(raw.error().message()));
    if (raw->empty()) {
      *out = Value();
      return true;
    }
    auto json = value::FromJson(*raw);
    if (!json) return Fail(std::string(json.error().message()));
    *out = std::move(*json);
    return true;
  }

  bool Union(const Type& type, std::string_view bytes, Value* out, int depth) {
    Cursor in(bytes);
    Value schema;
    value::List items;
    bool allows = false;
    while (!in.AtEnd()) {
      uint32_t number;
      WireType wire;
      std::string_view part;
      if (!in.Tag(&number, &wire)) return Fail(in);
      if (wire == WireType::kVarint && type.shape == Shape::kSchemaOrBool && number == 1) {
        uint64_t v;
        if (!in.Varint(&v)) return Fail(in);
        allows = v != 0;
        continue;
      }
      if (wire != WireType::kBytes || number > 2) {
        if (!in.Skip(wire)) return Fail(in);
        continue;
      }
      if (!in.Bytes(&part)) return Fail(in);
      // OrArray: 1 schema, 2 list of schemas; OrBool: 2 schema; OrStringArray: 1 schema, 2 list of strings.
      if (number == 1 || type.shape == Shape::kSchemaOrBool) {
        if (!Message(*type.element, part, &schema, depth - 1)) return false;
      } else if (type.shape == Shape::kSchemaOrArray) {
        if (!Message(*type.element, part, &items.emplace_back(), depth - 1)) return false;
      } else {
        if (!value::IsValidUtf8(part)) return Fail("proto: string field contains invalid UTF-8");
        items.emplace_back(part);
      }
    }
    if (type.shape == Shape::kSchemaOrBool) {
      *out = schema.is_null() ? Value(allows) : std::move(schema);
    } else {
      *out = items.empty() ? std::move(schema) : Value(std::move(items));
    }
    return true;
  }

  std::string error_;
};

}  // namespace

base::Result<Value> DecodeProtobuf(const Type& type, std::string_view bytes) { return Decoder().Run(type, bytes); }

base::Result<value::Value> DecodeEnvelope(const Type& type, std::string_view bytes) {
  TRY_ASSIGN(Envelope envelope, OpenEnvelope(bytes));
  TRY_ASSIGN(value::Value v, DecodeProtobuf(type, envelope.raw));
  auto& entries = v.map().entries();
  // kind and apiVersion come first, as in JSON.
  auto put = [&](const char* name, std::string_view text) {
    if (!text.empty()) entries.insert(entries.begin(), {name, value::Value(text)});
  };
  put("apiVersion", envelope.api_version);
  put("kind", envelope.kind);
  return v;
}

}  // namespace machinery::codec
