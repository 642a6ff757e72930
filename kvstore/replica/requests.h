// What members propose of their own accord and ask one another, as bytes of etcd's messages. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvstore/mvcc/auth.h"
#include "kvstore/raft/types.h"

namespace kvstore::replica {

// InternalRaftRequest: `fields` with the header {id, who}.
std::string WithHeader(std::string fields, uint64_t id, const mvcc::Identity& who);
// InternalRaftRequest{lease_revoke}, without a header.
std::string LeaseRevokeRequest(int64_t lease);
// The id under which a membership entry was proposed; 0: none that this could tell.
uint64_t ChangeId(const raft::Entry& e);

// Of a lease, as only the leader knows it. ttl -1: there is no such lease.
struct LeaseTimes {
  int64_t ttl = -1, granted = 0;
  std::vector<std::string> keys;
};
// The bodies of POST /leases and /leases/internal, and of their answers (unreadable ones: as if nothing stood there).
std::string LeaseKeepAliveQuestion(int64_t lease);
int64_t LeaseKeepAliveAnswer(std::string_view body);  // the new time to live
std::string LeaseTimesQuestion(int64_t lease, bool keys);
LeaseTimes LeaseTimesAnswer(std::string_view body);

}  // namespace kvstore::replica
