// Protobuf's two time messages (Time, MicroTime: seconds and nanos) and base's wall clock. Templates, so that no
// generated header is needed here. Time keeps whole seconds, MicroTime microseconds, as their JSON forms do.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/executor.h"

namespace machinery::client {

template <class MicroTime>
void SetMicroTime(MicroTime& out, base::WallTime t) {
  auto micros = std::chrono::floor<std::chrono::microseconds>(t.time_since_epoch()).count();
  out.set_seconds(micros / 1'000'000);
  out.set_nanos(static_cast<int32_t>(micros % 1'000'000 * 1000));
}

template <class Time>
void SetTime(Time& out, base::WallTime t) {
  out.set_seconds(std::chrono::floor<std::chrono::seconds>(t.time_since_epoch()).count());
  out.set_nanos(0);
}

// Times beyond the year 2160 (and as far before 1970), which somebody may have written, are that year's: what is added
// to one, a century at most, must not overflow.
template <class Time>
base::WallTime ToWallTime(const Time& t) {
  constexpr int64_t kFar = 6'000'000'000;
  return base::WallTime(std::chrono::seconds(std::clamp<int64_t>(t.seconds(), -kFar, kFar)) +
                        std::chrono::nanoseconds(t.nanos()));
}

}  // namespace machinery::client
