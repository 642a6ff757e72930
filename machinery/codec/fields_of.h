// A tree's map looked at as a struct: the value of every flat field of its type at once. For machinery/codec.
#pragma once

#include <array>

#include "machinery/schema/field_index.h"
#include "machinery/value/value.h"

namespace machinery::codec {

class FieldsOf {
 public:
  // Keys that the type does not know are left out; `v` may be anything, then nothing is there.
  FieldsOf(const schema::FieldIndex& index, const value::Value& v) {
    for (size_t i = 0; i < index.flat.size(); ++i) at_[i] = nullptr;
    if (!v.is_map()) return;
    size_t guess = 0;
    for (const value::Map::Entry& e : v.map()) {
      // Trees from the codec hold their fields in order, with gaps: a few steps ahead are cheaper than hashing.
      size_t ahead = guess;
      while (ahead < index.flat.size() && ahead < guess + 6 && !Same(index.flat[ahead].field->name, e.key)) ++ahead;
      if (ahead >= index.flat.size() || ahead >= guess + 6) {
        int found = index.Find(e.key);
        if (found < 0) continue;
        ahead = static_cast<size_t>(found);
      }
      at_[ahead] = &e.value;
      guess = ahead + 1;
    }
  }
  // nullptr when absent.
  const value::Value* operator[](size_t flat) const { return at_[flat]; }

 private:
  // Length and first character tell most names apart without a call.
  static bool Same(const std::string& a, const std::string& b) {
    return a.size() == b.size() && !a.empty() && a[0] == b[0] && a == b;
  }

  std::array<const value::Value*, schema::kMaxFlatFields> at_;
};

}  // namespace machinery::codec
