// What a request must fulfil before it is proposed: the API's own rules, with etcd's errors. Pure; any thread.
#pragma once

#include <cstddef>

#include "base/status.h"

namespace etcdserverpb {
class DeleteRangeRequest;
class PutRequest;
class RangeRequest;
class TxnRequest;
}  // namespace etcdserverpb

namespace kvstore::service {

base::Status CheckRange(const etcdserverpb::RangeRequest& r);
// What a streamed range cannot do.
base::Status CheckRangeStream(const etcdserverpb::RangeRequest& r);
base::Status CheckPut(const etcdserverpb::PutRequest& r);
base::Status CheckDelete(const etcdserverpb::DeleteRangeRequest& r);
// Also that no key is put twice, or put and deleted, in one transaction.
base::Status CheckTxn(const etcdserverpb::TxnRequest& r, size_t max_ops);

// What a request may take of the quota, as the original reckons; 0: it only reads and deletes, which is always allowed.
inline constexpr size_t kLeaseCost = 64;
size_t CostOf(const etcdserverpb::PutRequest& r);
size_t CostOf(const etcdserverpb::TxnRequest& r);

}  // namespace kvstore::service
