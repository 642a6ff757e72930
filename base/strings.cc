#include "base/strings.h"

#include <absl/strings/ascii.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

namespace base {
namespace {
absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }
}  // namespace

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  return absl::StrJoin(parts, View(separator));
}

std::vector<std::string> Split(std::string_view text, char separator) { return absl::StrSplit(View(text), separator); }

std::vector<std::string> SplitNonEmpty(std::string_view text, char separator) {
  return absl::StrSplit(View(text), separator, absl::SkipEmpty());
}

std::vector<std::string> Words(std::string_view text) {
  return absl::StrSplit(View(text), absl::ByAnyChar(" \t\n\v\f\r"), absl::SkipEmpty());
}

std::string_view Trim(std::string_view text) {
  absl::string_view inner = absl::StripAsciiWhitespace(View(text));
  return {inner.data(), inner.size()};
}

std::string Lower(std::string_view text) { return absl::AsciiStrToLower(View(text)); }

std::string Upper(std::string_view text) { return absl::AsciiStrToUpper(View(text)); }

}  // namespace base
