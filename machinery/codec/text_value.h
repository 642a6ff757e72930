// Scalars that are text in the tree and something else on the wire: base64, times, durations, quantities; and the rows
// in which a struct's fields are collected before they stand in schema order. For machinery/codec.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "machinery/schema/field_index.h"
#include "machinery/value/value.h"

namespace machinery::codec {

// Go's base64.StdEncoding: line breaks inside are skipped; "illegal base64 data at input byte 5".
base::Result<std::string> DecodeBase64(std::string_view text);
void AppendBase64(std::string& out, std::string_view bytes);

// Whether a field of this value is kept in the tree (and printed in JSON): omitempty, as Go has it.
inline bool IsKept(const schema::FlatField& f, const value::Value& v) {
  using schema::Shape;
  if (f.always) return true;
  if (v.is_null()) return false;
  if (f.pointer) return true;
  switch (f.type->shape) {
    case Shape::kString:
    case Shape::kBytes:
      return !v.is_string() || !v.as_string().empty();
    case Shape::kBool:
      return v.bool_or(true);
    case Shape::kInt32:
    case Shape::kInt64:
    case Shape::kDouble:
      return v.int_or(1) != 0;
    case Shape::kList:
    case Shape::kStringList:
      return !v.is_list() || !v.list().empty();
    case Shape::kMap:
      return !v.is_map() || !v.map().empty();
    default:
      return true;
  }
}

// A struct's fields as they are found; Finish puts them in schema order and adds what is always there.
class Row {
 public:
  explicit Row(const schema::FieldIndex& index) : index_(index) {}

  // The value of a field found before, nullptr when new.
  value::Value* Find(size_t flat) {
    if (!seen_[flat]) return nullptr;
    for (size_t i = entries_.size(); i-- > 0;) {
      if (order_[i] == flat) return &entries_[i].value;
    }
    return nullptr;
  }
  bool seen(size_t flat) const { return seen_[flat]; }
  value::Value& Add(size_t flat, value::Value v) {
    // Most structs have few of their fields set.
    if (entries_.empty()) entries_.reserve(std::min<size_t>(index_.flat.size(), 6));
    if (!entries_.empty() && order_[entries_.size() - 1] > flat) sorted_ = false;
    seen_.set(flat);
    order_[entries_.size()] = static_cast<uint8_t>(flat);
    return entries_.emplace_back(index_.flat[flat].field->name, std::move(v)).value;
  }
  // Puts or replaces; drops what is not kept.
  void Put(size_t flat, value::Value v);
  // For decoders: some map's entries came out of order.
  bool unsorted_maps = false;
  void SortMaps();
  value::Value Finish();
  const schema::FieldIndex& index() const { return index_; }

 private:
  const schema::FieldIndex& index_;
  std::vector<value::Map::Entry> entries_;
  std::array<uint8_t, schema::kMaxFlatFields> order_;
  schema::FieldSet seen_;
  bool sorted_ = true;
};

}  // namespace machinery::codec
