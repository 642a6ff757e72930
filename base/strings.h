// Texts taken apart and put together. The work is Abseil's; its headers cost a second and a half each where they are
// included, and Debian's build of it has a string_view of its own, so the house names it in strings.cc alone. Letters
// and white space are ASCII's. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace base {

std::string Join(const std::vector<std::string>& parts, std::string_view separator);
// Empty parts count: "a,,b" has three, "" has one.
std::vector<std::string> Split(std::string_view text, char separator);
// Without the empty ones: "" has none.
std::vector<std::string> SplitNonEmpty(std::string_view text, char separator);
// What stands between white space.
std::vector<std::string> Words(std::string_view text);
// Without the white space around it; a view into `text`.
std::string_view Trim(std::string_view text);
std::string Lower(std::string_view text);
std::string Upper(std::string_view text);

}  // namespace base
