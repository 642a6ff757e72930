// Who a member is: the ids that etcd derives from URLs and the cluster token, so that every member works them out
// alike. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvstore::replica {

// First 8 bytes, big-endian, of SHA-1 over the sorted peer URLs and the token.
uint64_t MemberId(std::vector<std::string> peer_urls, std::string_view cluster_token);
// Likewise over the sorted member ids.
uint64_t ClusterId(std::vector<uint64_t> member_ids);

// "3.7.1" -> 3007; what is missing counts as 2.0.
int MajorMinor(std::string_view version);

}  // namespace kvstore::replica
