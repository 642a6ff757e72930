// What the codec wants to know about a struct without looking twice: its JSON fields in one flat row (those of inlined
// structs stand in their place), found by name, by number, and what an absent value looks like in every format.
//
// Built with the Schema, immutable, owned by its Type. For machinery/schema and machinery/codec.
#pragma once

#include <bitset>
#include <string>
#include <string_view>
#include <vector>

#include "machinery/schema/type.h"

namespace machinery::schema {

constexpr size_t kMaxFlatFields = 128;
using FieldSet = std::bitset<kMaxFlatFields>;

struct FlatField {
  const Field* field = nullptr;
  const Type* type = nullptr;
  std::vector<const Field*> via;  // the inlined fields that lead here, outermost first
  std::string key;                // `"name":`
  bool always = false;
  bool pointer = false;
};

struct FieldIndex {
  std::vector<FlatField> flat;          // kind and apiVersion first where the type has them
  std::vector<uint16_t> first;          // fields[i] stands (or its inlined fields begin) at flat[first[i]]
  std::vector<int16_t> by_number;       // field number -> index into fields, -1
  FieldSet always;                      // of flat: printed in JSON even when absent
  uint64_t always_words[2] = {0, 0};    // the same, 64 to a word
  uint64_t metadata_words[2] = {0, 0};  // fields numbered 1 and 6: metadata of objects, resourceVersion of metadata
  // An absent value of this type where no pointer makes it absent: in the tree, as JSON, as message bytes (without
  // tag).
  value::Value zero;
  std::string zero_json;
  std::string zero_protobuf;
  std::vector<std::string> zero_fields;  // of fields: tag and zero value as they stand in zero_protobuf

  // Position in `flat`, -1 when unknown. `guess` is tried first: fields mostly come in order.
  int Find(std::string_view name, size_t guess = 0) const {
    if (guess < flat.size() && flat[guess].field->name == name) return static_cast<int>(guess);
    return Lookup(name);
  }
  void BuildHash();

 private:
  int Lookup(std::string_view name) const;
  std::vector<uint8_t> slots_;  // position + 1, open addressing
};

// kind and apiVersion as fields: every type with type_meta starts with them.
const Field& KindField();
const Field& ApiVersionField();
// Completes a Type whose fields (and their types, where not pointers) are complete.
std::shared_ptr<const FieldIndex> MakeFieldIndex(const Type& type);

}  // namespace machinery::schema
