// Cells of tables that are computed by code: functions of the whole object, by the name after '@' in a column's value.
// Internal to table.cc.
#pragma once

#include <string_view>

#include "base/executor.h"
#include "machinery/value/value.h"

namespace machinery::ops {

using Printer = value::Value (*)(const value::Value& object, base::WallTime now);
// nullptr when there is none of that name.
Printer FindPrinter(std::string_view name);

// The condition of that type in a list of conditions; null value when absent.
const value::Value& Condition(const value::Value& conditions, std::string_view type);
// "a,b,c + 2 more..." of at most `max` items.
std::string ListWithMore(const std::vector<std::string>& items, size_t max, std::string_view separator = ",");

}  // namespace machinery::ops
