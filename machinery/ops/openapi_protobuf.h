// An OpenAPI v2 document as Protobuf (gnostic's openapi.v2.Document), which kubectl before 1.27 asks for.
//
// Pure. What the message has no field for is left out; keys that begin with "x-" become vendor extensions in YAML.
#pragma once

#include <string>

#include "machinery/value/value.h"

namespace machinery::ops {

std::string OpenApiV2Protobuf(const value::Value& document);

}  // namespace machinery::ops
