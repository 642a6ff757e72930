// The versions that a member says it has, and how members' versions compare. Pure; any thread.
#pragma once

#include <string_view>

namespace kvstore::replica {

inline constexpr std::string_view kServerVersion = "3.7.1";
inline constexpr std::string_view kClusterVersion = "3.7.0";

// "3.7.1" -> 3007; what is missing counts as 2.0.
int MajorMinor(std::string_view version);

}  // namespace kvstore::replica
