// Texts as Go's fmt and strconv print them: error messages of the API carry them, so they are wire facts.
// Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "machinery/value/value.h"

namespace machinery::object {

// %q / strconv.Quote: double quotes, Go escapes; printable characters beyond ASCII stand as they are.
std::string GoQuote(std::string_view s);
// %v of a decoded JSON value: map[a:1 b:[x y]], <nil>, true.
std::string GoText(const value::Value& v);
// strings.Join.
std::string Join(const std::vector<std::string>& parts, std::string_view separator);
std::vector<std::string> Split(std::string_view text, char separator);

}  // namespace machinery::object
