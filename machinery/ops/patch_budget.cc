#include "machinery/ops/patch_budget.h"

#include <algorithm>

namespace machinery::ops {

using value::Kind;
using value::Value;

TreeSize Measure(const Value& v) {
  TreeSize size{.bytes = 5, .nodes = 1};
  auto add = [&size](const TreeSize& below) {
    size.bytes += below.bytes + 1;
    size.nodes += below.nodes;
    size.depth = std::max(size.depth, below.depth);
  };
  if (v.is_string()) size.bytes = static_cast<int64_t>(v.as_string().size()) + 2;
  if (v.kind() == Kind::kNumber) size.bytes = static_cast<int64_t>(v.number_text().size());
  if (v.is_list()) {
    for (const Value& item : v.list()) add(Measure(item));
    ++size.depth;
  }
  if (v.is_map()) {
    for (const auto& e : v.map()) {
      size.bytes += static_cast<int64_t>(e.key.size()) + 3;
      add(Measure(e.value));
    }
    ++size.depth;
  }
  return size;
}

IdentityIndex::IdentityIndex(const value::List& list, const std::string& key) : key_(key) {
  for (size_t i = 0; i < list.size(); ++i) Add(list[i], static_cast<ptrdiff_t>(i));
}

std::string IdentityIndex::TextOf(const Value& item) const {
  return value::ToJson(key_.empty() || !item.is_map() ? item : item.At(key_), false, true);
}

ptrdiff_t IdentityIndex::Find(const Value& item) const {
  if (places_.empty()) return -1;
  auto it = places_.find(TextOf(item));
  return it == places_.end() ? -1 : it->second;
}

void DropNulls(Value& v) {
  if (v.is_map()) {
    bool any = false;
    for (auto& e : v.map().entries()) {
      any |= e.value.is_null();
      DropNulls(e.value);
    }
    if (any) v.map().RemoveIf([](const auto& e) { return e.value.is_null(); });
  } else if (v.is_list()) {
    for (Value& item : v.list()) DropNulls(item);
  }
}

}  // namespace machinery::ops
