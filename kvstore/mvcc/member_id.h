// Who a member is: the ids that etcd derives from URLs and the cluster token, so that every member works them out
// alike. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvstore::mvcc {

// First 8 bytes, big-endian, of SHA-1 over the sorted peer URLs and the token.
uint64_t MemberId(std::vector<std::string> peer_urls, std::string_view cluster_token);
// Likewise over the sorted member ids.
uint64_t ClusterId(std::vector<uint64_t> member_ids);

}  // namespace kvstore::mvcc
