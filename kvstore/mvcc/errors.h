// etcd's errors as clients see them: code and text are wire facts.
#pragma once

#include "base/status.h"

namespace kvstore::mvcc {

inline base::Status ErrEmptyKey() { return base::InvalidArgument("etcdserver: key is not provided"); }
inline base::Status ErrKeyNotFound() { return base::InvalidArgument("etcdserver: key not found"); }
inline base::Status ErrValueProvided() { return base::InvalidArgument("etcdserver: value is provided"); }
inline base::Status ErrLeaseProvided() { return base::InvalidArgument("etcdserver: lease is provided"); }
inline base::Status ErrTooManyOps() { return base::InvalidArgument("etcdserver: too many operations in txn request"); }
inline base::Status ErrDuplicateKey() {
  return base::InvalidArgument("etcdserver: duplicate key given in txn request");
}
inline base::Status ErrInvalidSortOption() { return base::InvalidArgument("etcdserver: invalid sort option"); }
inline base::Status ErrCompacted() {
  return base::OutOfRange("etcdserver: mvcc: required revision has been compacted");
}
inline base::Status ErrFutureRev() {
  return base::OutOfRange("etcdserver: mvcc: required revision is a future revision");
}
inline base::Status ErrNoSpace() { return base::ResourceExhausted("etcdserver: mvcc: database space exceeded"); }
inline base::Status ErrLeaseNotFound() { return base::NotFound("etcdserver: requested lease not found"); }
inline base::Status ErrLeaseExist() { return base::FailedPrecondition("etcdserver: lease already exists"); }
inline base::Status ErrLeaseTtlTooLarge() { return base::OutOfRange("etcdserver: too large lease TTL"); }
inline base::Status ErrRequestTooLarge() { return base::InvalidArgument("etcdserver: request is too large"); }
inline base::Status ErrTooManyRequests() { return base::ResourceExhausted("etcdserver: too many requests"); }
inline base::Status ErrCorrupt() { return base::DataLoss("etcdserver: corrupt cluster"); }
inline base::Status ErrNoLeader() { return base::Unavailable("etcdserver: no leader"); }
inline base::Status ErrStopped() { return base::Unavailable("etcdserver: server stopped"); }
inline base::Status ErrTimeout() { return base::Unavailable("etcdserver: request timed out"); }
inline base::Status ErrUserExists() { return base::FailedPrecondition("etcdserver: user name already exists"); }
inline base::Status ErrUserNotFound() { return base::FailedPrecondition("etcdserver: user name not found"); }
inline base::Status ErrUserEmpty() { return base::InvalidArgument("etcdserver: user name is empty"); }
inline base::Status ErrRoleExists() { return base::FailedPrecondition("etcdserver: role name already exists"); }
inline base::Status ErrRoleNotFound() { return base::FailedPrecondition("etcdserver: role name not found"); }
inline base::Status ErrRoleEmpty() { return base::InvalidArgument("etcdserver: role name is empty"); }
inline base::Status ErrRoleNotGranted() {
  return base::FailedPrecondition("etcdserver: role is not granted to the user");
}
inline base::Status ErrPermissionNotGranted() {
  return base::FailedPrecondition("etcdserver: permission is not granted to the role");
}

}  // namespace kvstore::mvcc
