#include "machinery/ops/conversion.h"

namespace machinery::ops {
namespace conversions {
#define X(kind, from, to, function) value::Value function(value::Value);
#include "machinery/ops/conversions.def"
#undef X
}  // namespace conversions

namespace {

using value::Value;

struct Row {
  std::string_view kind, from, to;
  Value (*convert)(Value);
};
constexpr Row kRows[] = {
#define X(kind, from, to, function) {kind, from, to, conversions::function},
#include "machinery/ops/conversions.def"
#undef X
};

const Row* FindRow(std::string_view kind, std::string_view from, std::string_view to) {
  for (const Row& r : kRows)
    if (r.kind == kind && r.from == from && r.to == to) return &r;
  return nullptr;
}

}  // namespace

base::Result<Value> Convert(std::string_view kind, std::string_view from, std::string_view to, Value v) {
  if (from == to) return v;
  if (!v.is_map()) return base::Err(base::InvalidArgument("cannot convert what is no object"));
  if (const Row* row = FindRow(kind, from, to)) v = row->convert(std::move(v));
  if (v.map().Has("apiVersion")) v.Set("apiVersion", to);
  return v;
}

}  // namespace machinery::ops
