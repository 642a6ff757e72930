// What a writer is told about an object that is accepted all the same: old names, things said twice, values that will
// not do what they seem to (the original's Warning headers). Trees as in validation.h. Pure; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace apiserver::registry::validation {

// `old` is null on create. At most a thousand, whatever the object says.
std::vector<std::string> WarningsOf(const machinery::schema::Kind& kind, const machinery::value::Value& object,
                                    const machinery::value::Value* old);

}  // namespace apiserver::registry::validation
