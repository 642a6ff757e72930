// Durations as Go writes and reads them ("1h0m0s", "1.5s", "250ms"): flags, configuration files and API fields use that
// text. Pure functions; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/executor.h"
#include "base/status.h"

namespace base {

// "0s", "1.5ms", "2h45m0s", "-3s".
std::string FormatGoDuration(Duration d);
// Signed sum of decimal numbers with a unit each (ns, us, µs, ms, s, m, h); "0" alone needs none. The errors are Go's:
// `time: invalid duration "x"`, `time: missing unit in duration "5"`, `time: unknown unit "d" in duration "5d"`.
Result<Duration> ParseGoDuration(std::string_view text);

}  // namespace base
