// What a request does to the store: InternalRaftRequest in, effects and the answer's bytes out. The one place that
// knows both the wire messages and the store. Deterministic; owned by the replica, one strand.
#pragma once

#include <string>

#include "kvstore/mvcc/auth.h"
#include "kvstore/mvcc/store.h"

namespace etcdserverpb {
class InternalRaftRequest;
class RangeRequest;
class TxnRequest;
}  // namespace etcdserverpb

namespace kvstore::mvcc {

// An answer: `error` is what the client is told; otherwise `body` holds the response message's fields except its header
// (which has number 1 everywhere), and `revision` is the header's.
struct Answer {
  int64_t revision = 0;
  std::string body;
  base::Status error;
};

class Applier {
 public:
  // `self` = this member's id, for alarms.
  explicit Applier(Store& store) : store_(store), auth_(store.buckets(), store.leases()) { LoadAlarms(); }

  // Applies a committed request. The outer error is fatal: the disk failed, the state is not to be trusted any more.
  // `index` is the request's place in the log.
  base::Result<Answer> Apply(const etcdserverpb::InternalRaftRequest& request, uint64_t index = 0);
  // A membership entry that took effect: `context` is the member as JSON (additions and updates).
  void ApplyMemberChange(uint64_t node_id, bool removed, bool added, std::string_view context);

  // Reads, at the state as it is.
  Answer Range(const etcdserverpb::RangeRequest& r) const;
  // For transactions without writes.
  Answer ReadTxn(const etcdserverpb::TxnRequest& r);

  bool no_space() const { return no_space_; }
  bool corrupt() const { return corrupt_; }
  // The version a downgrade of the cluster goes to ("3.6.0"), "" when none is under way.
  std::string downgrade_target() const;
  mvcc::Auth& auth() { return auth_; }
  // Again from the store's buckets, after they came from elsewhere.
  void Load();

 private:
  using Fatal = base::Status;
  Fatal Put(const etcdserverpb::InternalRaftRequest& r, Answer& a);
  Fatal DeleteRange(const etcdserverpb::InternalRaftRequest& r, Answer& a);
  Fatal Txn(const etcdserverpb::TxnRequest& r, Answer& a);
  Fatal LeaseGrant(const etcdserverpb::InternalRaftRequest& r, Answer& a);
  void Alarm(const etcdserverpb::InternalRaftRequest& r, Answer& a);
  void LoadAlarms();

  Store& store_;
  mvcc::Auth auth_;
  bool no_space_ = false;
  bool corrupt_ = false;
};

// A range whose answer is its keys in order, as they are: no other order, no revision filters.
bool IsPlain(const etcdserverpb::RangeRequest& r);
// As in the original: without an order the limit is by key, and what it leaves is sorted.
bool LimitsFirst(const etcdserverpb::RangeRequest& r);
// The fields of a RangeResponse except its header, of the KeyValues that were found in key order: filters, sorts and
// cuts as the request says. Any thread.
std::string EncodeRange(const etcdserverpb::RangeRequest& r, std::vector<std::string> kvs, int64_t count);

// True when a transaction contains no puts or deletes.
bool IsReadOnly(const etcdserverpb::TxnRequest& r);

}  // namespace kvstore::mvcc
