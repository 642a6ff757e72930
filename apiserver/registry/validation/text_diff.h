// The diff that some errors about immutable objects end with. Internal to this folder.
#pragma once

#include <string>

#include "machinery/value/value.h"

namespace apiserver::registry::validation {

// Two values as JSON indented by a space, and what turns the first into the second: hunks of unified diff with three
// lines of context, without a header.
std::string TextDiff(const machinery::value::Value& before, const machinery::value::Value& after);

}  // namespace apiserver::registry::validation
