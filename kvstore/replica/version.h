// The versions that a member says it has, and how members' versions compare. Pure; any thread.
#pragma once

#include <string_view>

#include "base/version.h"

namespace kvstore::replica {

inline constexpr std::string_view kServerVersion = base::version::kEtcd;
inline constexpr std::string_view kClusterVersion = base::version::kEtcdCluster;

// "3.7.1" -> 3007; what is missing counts as 2.0.
int MajorMinor(std::string_view version);

}  // namespace kvstore::replica
