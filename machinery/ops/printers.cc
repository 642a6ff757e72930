#include "machinery/ops/printers.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/strings.h"

namespace machinery::ops {
namespace printers {
#define X(name, function) value::Value function(const value::Value&, base::WallTime);
#include "machinery/ops/printers.def"
#undef X
}  // namespace printers

Printer FindPrinter(std::string_view name) {
  static const std::unordered_map<std::string_view, Printer> table = {
#define X(name, function) {#name, printers::function},
#include "machinery/ops/printers.def"
#undef X
  };
  auto it = table.find(name);
  return it == table.end() ? nullptr : it->second;
}

const value::Value& Condition(const value::Value& conditions, std::string_view type) {
  if (conditions.is_list())
    for (const value::Value& c : conditions.list())
      if (c.At("type").string_or() == type) return c;
  return value::Value::Null();
}

std::string ListWithMore(const std::vector<std::string>& items, size_t max, std::string_view separator) {
  std::vector<std::string> shown(items.begin(), items.begin() + static_cast<ptrdiff_t>(std::min(max, items.size())));
  std::string text = base::Join(shown, separator);
  if (items.size() > max) text += " + " + std::to_string(items.size() - max) + " more...";
  return text;
}

}  // namespace machinery::ops
