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
inline base::Status ErrNotLeader() { return base::FailedPrecondition("etcdserver: not leader"); }
inline base::Status ErrLeaderChanged() { return base::Unavailable("etcdserver: leader changed"); }
inline base::Status ErrTimeoutLeaderFail() {
  return base::Unavailable("etcdserver: request timed out, possibly due to previous leader failure");
}
inline base::Status ErrUnhealthy() { return base::Unavailable("etcdserver: unhealthy cluster"); }
inline base::Status ErrMemberExists() { return base::FailedPrecondition("etcdserver: member ID already exist"); }
inline base::Status ErrPeerUrlExists() { return base::FailedPrecondition("etcdserver: Peer URLs already exists"); }
inline base::Status ErrMemberBadUrls() { return base::InvalidArgument("etcdserver: given member URLs are invalid"); }
inline base::Status ErrMemberNotFound() { return base::NotFound("etcdserver: member not found"); }
inline base::Status ErrMemberNotLearner() {
  return base::FailedPrecondition("etcdserver: can only promote a learner member");
}
inline base::Status ErrLearnerNotReady() {
  return base::FailedPrecondition("etcdserver: can only promote a learner member which is in sync with leader");
}
inline base::Status ErrTooManyLearners() {
  return base::FailedPrecondition("etcdserver: too many learner members in cluster");
}
inline base::Status ErrNotEnoughStarted() {
  return base::FailedPrecondition("etcdserver: re-configuration failed due to not enough started members");
}
inline base::Status ErrBadLeaderTransferee() { return base::FailedPrecondition("etcdserver: bad leader transferee"); }
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

inline base::Status ErrNoPasswordUser() {
  return base::Status(base::Code::kUnknown, "auth: authentication failed, password was given for no password user");
}
inline base::Status ErrRootUserNotExist() { return base::FailedPrecondition("etcdserver: root user does not exist"); }
inline base::Status ErrRootRoleNotExist() {
  return base::FailedPrecondition("etcdserver: root user does not have root role");
}
inline base::Status ErrAuthFailed() {
  return base::InvalidArgument("etcdserver: authentication failed, invalid user ID or password");
}
inline base::Status ErrPermissionNotGiven() { return base::InvalidArgument("etcdserver: permission not given"); }
inline base::Status ErrPermissionDenied() { return base::PermissionDenied("etcdserver: permission denied"); }
inline base::Status ErrAuthNotEnabled() {
  return base::FailedPrecondition("etcdserver: authentication is not enabled");
}
inline base::Status ErrInvalidAuthToken() { return base::Unauthenticated("etcdserver: invalid auth token"); }
inline base::Status ErrInvalidAuthMgmt() { return base::InvalidArgument("etcdserver: invalid auth management"); }
inline base::Status ErrAuthOldRevision() { return base::InvalidArgument("etcdserver: revision of auth store is old"); }
inline base::Status ErrWrongDowngradeVersion() {
  return base::InvalidArgument("etcdserver: wrong downgrade target version format");
}
inline base::Status ErrInvalidDowngradeTarget() {
  return base::InvalidArgument("etcdserver: invalid downgrade target version");
}
inline base::Status ErrDowngradeInProcess() {
  return base::FailedPrecondition("etcdserver: cluster has a downgrade job in progress");
}
inline base::Status ErrNoInflightDowngrade() {
  return base::FailedPrecondition("etcdserver: no inflight downgrade job");
}

}  // namespace kvstore::mvcc
