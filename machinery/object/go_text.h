// Texts as Go's fmt and strconv print them: error messages of the API carry them, so they are wire facts.
// Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "machinery/value/value.h"

namespace machinery::object {

// %q / strconv.Quote: double quotes, Go escapes; printable characters beyond ASCII stand as they are.
std::string GoQuote(std::string_view s);
// %v of a decoded JSON value: map[a:1 b:[x y]], <nil>, true.
std::string GoText(const value::Value& v);

}  // namespace machinery::object
