#include "apiserver/registry/convert.h"

#include "machinery/ops/conversion.h"

namespace apiserver::registry {

base::Result<machinery::value::Value> ConvertObject(const machinery::schema::Kind& from,
                                                    const machinery::schema::Kind& to, machinery::value::Value v) {
  return machinery::ops::Convert(from.kind, from.ApiVersion(), to.ApiVersion(), std::move(v));
}

}  // namespace apiserver::registry
