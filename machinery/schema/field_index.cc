#include "machinery/schema/field_index.h"

#include "base/protobuf_wire.h"

namespace machinery::schema {

namespace {

size_t Hash(std::string_view name) {
  // Length and three characters tell nearly all fields of one struct apart.
  size_t n = name.size();
  if (n == 0) return 0;
  auto at = [&](size_t i) { return static_cast<unsigned char>(name[i]); };
  return n * 131 + at(0) * 31u + at(n / 2) * 17u + at(n - 1) * 7u;
}

const Type& TextType() {
  static const Type type = [] {
    Type t;
    t.shape = Shape::kString;
    t.index = MakeFieldIndex(t);
    return t;
  }();
  return type;
}

Field MetaField(const char* name) {
  Field f;
  f.name = f.proto_name = name;
  f.type = &TextType();
  return f;
}

void AppendZeroField(std::string& out, const Field& f) {
  if (f.number == 0 || f.pointer) return;
  const auto number = static_cast<uint32_t>(f.number);
  switch (f.type->shape) {
    case Shape::kBytes:
    case Shape::kList:
    case Shape::kMap:
    case Shape::kStringList:
      return;  // nil
    case Shape::kBool:
    case Shape::kInt32:
    case Shape::kInt64:
      return base::wire::PutUint(out, number, 0);
    case Shape::kDouble:
      base::wire::PutVarint(out, base::wire::Tag(number, base::wire::WireType::kFixed64));
      out.append(8, '\0');
      return;
    case Shape::kString:
      return base::wire::PutBytes(out, number, "");
    default:
      base::wire::PutBytes(out, number, f.type->index->zero_protobuf);
  }
}

void SetZeros(const Type& type, FieldIndex& index) {
  switch (type.shape) {
    case Shape::kString:
      index.zero = "";
      break;
    case Shape::kBool:
      index.zero = false;
      break;
    case Shape::kInt32:
    case Shape::kInt64:
    case Shape::kDouble:
      index.zero = 0;
      break;
    case Shape::kQuantity:
      index.zero = "0";
      index.zero_protobuf = "\x0a\x01\x30";
      break;
    case Shape::kIntOrString:
      index.zero = 0;
      index.zero_protobuf = std::string("\x08\x00\x10\x00\x1a\x00", 6);
      break;
    case Shape::kDuration:
      index.zero = "0s";
      index.zero_protobuf = std::string("\x08\x00", 2);
      break;
    case Shape::kSchemaOrBool:
      index.zero = false;
      index.zero_protobuf = std::string("\x08\x00", 2);
      break;
    case Shape::kStruct: {
      value::Map map;
      for (const FlatField& f : index.flat) {
        if (!f.always) continue;
        map.Append(f.field->name, f.pointer || !f.type->index ? value::Value() : f.type->index->zero);
      }
      index.zero = std::move(map);
      index.zero_fields.resize(type.fields.size());
      for (uint16_t i : type.by_number) {
        AppendZeroField(index.zero_fields[i], type.fields[i]);
        index.zero_protobuf += index.zero_fields[i];
      }
      break;
    }
    default:
      break;  // null
  }
  index.zero_json = value::ToJson(index.zero);
}

void Flatten(const Type& type, FieldIndex& index) {
  auto add = [&](const Field& field, const FlatField* inner) {
    FlatField f;
    f.field = inner ? inner->field : &field;
    if (inner) {
      f.via = inner->via;
      f.via.insert(f.via.begin(), &field);
    }
    f.type = f.field->type;
    f.key = "\"" + f.field->name + "\":";
    f.always = f.field->always;
    f.pointer = f.field->pointer;
    index.flat.push_back(std::move(f));
  };
  if (type.type_meta) {
    add(KindField(), nullptr);
    add(ApiVersionField(), nullptr);
  }
  for (const Field& field : type.fields) {
    index.first.push_back(static_cast<uint16_t>(index.flat.size()));
    if (!field.inlined) {
      add(field, nullptr);
      continue;
    }
    for (const FlatField& inner : field.type->index->flat) add(field, &inner);
  }
  // unreachable from outside: made of descriptors, compiled in
  CHECK_MSG(index.flat.size() <= kMaxFlatFields, type.name);
  for (size_t i = 0; i < index.flat.size(); ++i) {
    const uint64_t bit = uint64_t{1} << (i % 64);
    const int32_t number = index.flat[i].field->number;
    index.always[i] = index.flat[i].always;
    if (index.flat[i].always) index.always_words[i / 64] |= bit;
    if ((number == 1 || number == 6) && index.flat[i].via.empty()) index.metadata_words[i / 64] |= bit;
  }
}

}  // namespace

const Field& KindField() {
  static const Field field = MetaField("kind");
  return field;
}
const Field& ApiVersionField() {
  static const Field field = MetaField("apiVersion");
  return field;
}

void FieldIndex::BuildHash() {
  size_t n = 8;
  while (n < flat.size() * 2) n *= 2;
  slots_.assign(n, 0);
  for (size_t i = 0; i < flat.size(); ++i) {
    size_t at = Hash(flat[i].field->name) & (n - 1);
    while (slots_[at]) at = (at + 1) & (n - 1);
    slots_[at] = static_cast<uint8_t>(i + 1);
  }
}

int FieldIndex::Lookup(std::string_view name) const {
  if (slots_.empty()) return -1;
  for (size_t at = Hash(name) & (slots_.size() - 1); slots_[at]; at = (at + 1) & (slots_.size() - 1)) {
    if (flat[slots_[at] - 1].field->name == name) return slots_[at] - 1;
  }
  return -1;
}

std::shared_ptr<const FieldIndex> MakeFieldIndex(const Type& type) {
  auto index = std::make_shared<FieldIndex>();
  if (type.shape == Shape::kStruct) {
    Flatten(type, *index);
    index->BuildHash();
    int32_t largest = 0;
    for (const Field& f : type.fields) largest = std::max(largest, f.number);
    index->by_number.assign(static_cast<size_t>(largest) + 1, -1);
    for (size_t i = 0; i < type.fields.size(); ++i) {
      if (type.fields[i].number) index->by_number[static_cast<size_t>(type.fields[i].number)] = static_cast<int16_t>(i);
    }
  }
  SetZeros(type, *index);
  return index;
}

}  // namespace machinery::schema
