// Points in time as the API writes them: Time (RFC 3339, whole seconds, UTC) and MicroTime (microseconds). Go's zero
// time (the year 1) is "no time": null in JSON, an empty message in Protobuf. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace machinery::object {

struct Time {
  int64_t seconds = -62135596800;  // since 1970, UTC
  int32_t nanos = 0;
  bool IsZero() const { return seconds == -62135596800 && nanos == 0; }
  friend bool operator==(const Time&, const Time&) = default;
};

// Any zone and any fraction in; the errors are those of Go's time.Parse: `parsing time "x" as
// "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"`.
base::Result<Time> ParseTime(std::string_view text);
// Exactly six digits of fraction.
base::Result<Time> ParseMicroTime(std::string_view text);
// The same, appended.
void AppendTime(std::string& out, int64_t seconds);
// "2024-01-02T03:04:05Z"
std::string FormatTime(int64_t seconds);
// "2024-01-02T03:04:05.000006Z"
std::string FormatMicroTime(int64_t seconds, int32_t nanos);

}  // namespace machinery::object
