// What the fuzzers of patches share: a document and a patch in one input, and what must hold of any result.
#pragma once

#include <optional>
#include <utility>

#include "machinery/value/value.h"

namespace machinery::ops {

// The first line is the document, the rest the patch.
inline std::optional<std::pair<value::Value, value::Value>> DocumentAndPatch(std::string_view text) {
  size_t line = text.find('\n');
  if (line == text.npos) return std::nullopt;
  auto doc = value::FromJson(text.substr(0, line)), patch = value::FromJson(text.substr(line + 1));
  if (!doc || !doc->is_map() || !patch) return std::nullopt;
  return std::pair(std::move(*doc), std::move(*patch));
}

// It prints, and reads back the same.
inline void CheckResult(const base::Result<value::Value>& result) {
  if (!result) {
    CHECK(!result.error().message().empty());
    return;
  }
  auto again = value::FromJson(value::ToJson(*result));
  CHECK(again.has_value() && *again == *result);
}

}  // namespace machinery::ops
