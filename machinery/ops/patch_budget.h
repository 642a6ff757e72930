// What a patch may cost. Whoever may write an object may send any patch, so the work and the memory of applying it are
// bounded by these and not by what the patch can express. For the .cc files of the patches.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "machinery/value/value.h"

namespace machinery::ops {

// Bytes of JSON that the copies of a JSON patch may add: the original's limit, the size of a request.
inline constexpr int64_t kMaxCopyBytes = 3 << 20;
// Elements that operations may shift, walk or compare, at about 10 ns each: no patch holds its thread for longer than
// some tenths of a second.
inline constexpr int64_t kMaxPatchWork = 20'000'000;

struct TreeSize {
  int64_t bytes = 0;  // of its JSON text, escapes aside
  int64_t nodes = 0;
  int depth = 0;  // of the deepest list or map; 0: a scalar
};
TreeSize Measure(const value::Value& v);

// Finds elements of a list by identity (JSON equality) without comparing each with each.
class IdentityIndex {
 public:
  // `key`: the field that identifies a map; "" = the whole element.
  IdentityIndex(const value::List& list, const std::string& key);
  // The first place of an element with the identity of `item`; -1 = none.
  ptrdiff_t Find(const value::Value& item) const;
  bool Has(const value::Value& item) const { return Find(item) >= 0; }
  void Add(const value::Value& item, ptrdiff_t at) { places_.try_emplace(TextOf(item), at); }

 private:
  std::string TextOf(const value::Value& item) const;
  const std::string& key_;
  std::map<std::string, ptrdiff_t, std::less<>> places_;
};

// Takes out of `v` and of all below it the map entries that are null.
void DropNulls(value::Value& v);

}  // namespace machinery::ops
