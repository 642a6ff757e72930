// The machine this process runs on.
#pragma once

#include <string>

namespace base {

// The kernel's host name; "" where it has none. Thread-safe.
std::string HostName();

}  // namespace base
