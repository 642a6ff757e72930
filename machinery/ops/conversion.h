// Versions of one kind: tree to tree. Most versions of a kind have the same fields, then only apiVersion changes; the
// pairs that differ are listed in conversions.def. Custom resources' webhooks will stand behind the same function.
// Pure; thread-safe.
#pragma once

#include <string_view>

#include "base/status.h"
#include "machinery/value/value.h"

namespace machinery::ops {

// `from` and `to` are apiVersions ("autoscaling/v1", "v1"). The result has apiVersion `to` where the object had one.
base::Result<value::Value> Convert(std::string_view kind, std::string_view from, std::string_view to, value::Value v);

}  // namespace machinery::ops
