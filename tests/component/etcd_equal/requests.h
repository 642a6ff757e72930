// Seeded random requests to an etcd server: every option, every error path, in the proportions of a busy store. One
// seed is one sequence, as long as the servers answer alike; what the generator learns of the answers (the revision,
// what is compacted) it is told. Pure; owned by the comparison, one strand.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "proto/etcd/rpc.pb.h"

namespace etcd_equal {

struct Request {
  std::string method;  // "etcdserverpb.KV.Range"
  std::string bytes;
  // Whose token goes along; "" = none.
  std::string user;
  // A stream that is read to its end, one request.
  bool streaming = false;
};

class Requests {
 public:
  // `old`: only what etcd 3.4 knows too.
  Requests(uint64_t seed, bool old) : random_(seed), old_(old) {}

  // Changes nothing: any number of them may run at once.
  Request Read();
  // May change keys, leases or the history; one at a time.
  Request Write();
  // Users and roles, as root.
  Request AuthChange();
  Request Compaction();
  // A compaction that is done already: etcd refuses it when the one before has removed everything. Null before the
  // first.
  std::optional<Request> CompactionAgain();
  Request HashKv();
  etcdserverpb::WatchCreateRequest Watch();
  // A lease that runs out by itself, and a put that hangs on it.
  Request ShortLease(int64_t id);
  Request PutOn(int64_t lease, const std::string& key);

  void Learn(int64_t revision) { revision_ = std::max(revision_, revision); }
  void LearnCompacted(int64_t revision) { compacted_ = std::max(compacted_, revision); }
  int64_t revision() const { return revision_; }
  base::Random& random() { return random_; }

  // While authentication is on, calls come from any of the users and from nobody.
  bool auth = false;
  static const std::vector<std::string>& Users();
  // The same password for all; changes of passwords set it again.
  static constexpr const char* kPassword = "pw";

 private:
  std::string Key();
  // Key and end of every kind: one key, a prefix, from a key on, everything, upside down.
  template <class R>
  void Range(R& r);
  template <class R>
  void PermissionRange(R& r);
  std::string Value();
  int64_t Lease();
  // Past, present, compacted and future ones; mostly 0.
  int64_t Revision();
  std::string Role();
  etcdserverpb::RangeRequest RangeOf(bool in_txn);
  etcdserverpb::PutRequest PutOf();
  etcdserverpb::DeleteRangeRequest DeleteOf();
  etcdserverpb::TxnRequest TxnOf(int depth, bool reads_only);
  void AddOp(google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& ops, int depth, bool reads_only);
  void AddCompare(etcdserverpb::TxnRequest& t);
  Request Of(std::string method, const google::protobuf::Message& m, bool streaming = false);

  base::Random random_;
  bool old_;
  bool deletes_ = false;  // in the transaction at hand
  int64_t revision_ = 1, compacted_ = 0;
};

}  // namespace etcd_equal
