// Versions of one resource into one another, through machinery/ops' converters.
#pragma once

#include "base/status.h"
#include "machinery/schema/type.h"
#include "machinery/value/value.h"

namespace apiserver::registry {

base::Result<machinery::value::Value> ConvertObject(const machinery::schema::Kind& from,
                                                    const machinery::schema::Kind& to, machinery::value::Value v);

}  // namespace apiserver::registry
