#include "controller-manager/common/int_or_percent.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace controller_manager {

int32_t Resolve(const k8s::io::apimachinery::pkg::util::intstr::IntOrString& v, int32_t total, bool round_up) {
  if (v.type() == 0) return v.intval();
  const auto& text = v.strval();
  int64_t percent = 0;
  auto end = std::from_chars(text.data(), text.data() + text.size(), percent);
  if (end.ec != std::errc() || end.ptr == text.data() + text.size() || *end.ptr != '%') return 0;
  percent = std::clamp<int64_t>(percent, 0, 1'000'000'000);
  int64_t product = percent * total;
  int64_t out = round_up ? (product + 99) / 100 : product / 100;
  return static_cast<int32_t>(std::min<int64_t>(out, std::numeric_limits<int32_t>::max()));
}

}  // namespace controller_manager
