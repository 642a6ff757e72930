#include "kvstore/service/checks.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/key_value.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Ok;
using base::Result;
using base::Status;
namespace pb = etcdserverpb;

Status CheckRange(const pb::RangeRequest& r) {
  if (r.key().empty()) return mvcc::ErrEmptyKey();
  if (!pb::RangeRequest::SortOrder_IsValid(r.sort_order()) || !pb::RangeRequest::SortTarget_IsValid(r.sort_target())) {
    return mvcc::ErrInvalidSortOption();
  }
  return Ok();
}

Status CheckRangeStream(const pb::RangeRequest& r) {
  bool by_key = r.sort_target() == pb::RangeRequest::KEY && r.sort_order() != pb::RangeRequest::DESCEND;
  if (!by_key && r.sort_order() != pb::RangeRequest::NONE) {
    return base::Unimplemented("RangeStream does not support custom sort orders");
  }
  if (r.min_mod_revision() != 0 || r.max_mod_revision() != 0 || r.min_create_revision() != 0 ||
      r.max_create_revision() != 0) {
    return base::Unimplemented("RangeStream does not support revision filters");
  }
  return Ok();
}

Status CheckPut(const pb::PutRequest& r) {
  if (r.key().empty()) return mvcc::ErrEmptyKey();
  if (r.ignore_value() && !r.value().empty()) return mvcc::ErrValueProvided();
  if (r.ignore_lease() && r.lease() != 0) return mvcc::ErrLeaseProvided();
  return Ok();
}

Status CheckDelete(const pb::DeleteRangeRequest& r) { return r.key().empty() ? mvcc::ErrEmptyKey() : Ok(); }

namespace {

using Ops = google::protobuf::RepeatedPtrField<pb::RequestOp>;

Status CheckShape(const pb::TxnRequest& t, int max_ops) {
  int ops = std::max({t.compare_size(), t.success_size(), t.failure_size()});
  if (ops > max_ops) return mvcc::ErrTooManyOps();
  for (const pb::Compare& c : t.compare()) {
    if (c.key().empty()) return mvcc::ErrEmptyKey();
  }
  for (const Ops* list : {&t.success(), &t.failure()}) {
    for (const pb::RequestOp& op : *list) {
      if (op.has_request_range()) TRY(CheckRange(op.request_range()));
      if (op.has_request_put()) TRY(CheckPut(op.request_put()));
      if (op.has_request_delete_range()) TRY(CheckDelete(op.request_delete_range()));
      if (op.request_case() == pb::RequestOp::REQUEST_NOT_SET) return mvcc::ErrKeyNotFound();
      // Nested operations count against the same limit, so nesting cannot get deep.
      if (op.has_request_txn()) TRY(CheckShape(op.request_txn(), max_ops - ops));
    }
  }
  return Ok();
}

struct Touched {
  std::set<std::string> puts;
  std::vector<mvcc::KeyRange> deletes;

  // As the original finds out: by intervals, to which an open end is the smallest one, so that they hold no key.
  bool Deletes(const std::string& key) const {
    return std::any_of(deletes.begin(), deletes.end(), [&](const mvcc::KeyRange& r) {
      return r.single() ? r.key == key : r.key <= key && key < r.end;
    });
  }
};

Result<Touched> Intervals(const Ops& ops) {
  Touched t;
  for (const pb::RequestOp& op : ops) {
    if (op.has_request_delete_range()) {
      t.deletes.push_back({op.request_delete_range().key(), op.request_delete_range().range_end()});
    }
  }
  for (const pb::RequestOp& op : ops) {
    if (!op.has_request_txn()) continue;
    TRY_ASSIGN(Touched yes, Intervals(op.request_txn().success()));
    TRY_ASSIGN(Touched no, Intervals(op.request_txn().failure()));
    // The two paths exclude each other. What one transaction put, the next one beside it may delete.
    for (const Touched* path : {&yes, &no}) {
      for (const std::string& k : path->puts) {
        if (t.puts.contains(k) || t.Deletes(k)) return base::Err(mvcc::ErrDuplicateKey());
      }
    }
    for (Touched* path : {&yes, &no}) {
      t.puts.insert(path->puts.begin(), path->puts.end());
      t.deletes.insert(t.deletes.end(), path->deletes.begin(), path->deletes.end());
    }
  }
  for (const pb::RequestOp& op : ops) {
    if (!op.has_request_put()) continue;
    const std::string& key = op.request_put().key();
    if (t.Deletes(key) || !t.puts.insert(key).second) return base::Err(mvcc::ErrDuplicateKey());
  }
  return t;
}

}  // namespace

Status CheckTxn(const pb::TxnRequest& t, size_t max_ops) {
  TRY(CheckShape(t, static_cast<int>(max_ops)));
  TRY(Intervals(t.success()));
  TRY(Intervals(t.failure()));
  return Ok();
}

size_t CostOf(const pb::PutRequest& r) {
  constexpr size_t kKeyOverhead = 256;
  return kKeyOverhead + r.key().size() + r.value().size();
}

size_t CostOf(const pb::TxnRequest& r) {
  auto sum = [](const Ops& ops) {
    size_t cost = 0;
    for (const pb::RequestOp& op : ops) {
      if (op.has_request_put()) cost += CostOf(op.request_put());
      if (op.has_request_txn()) cost += CostOf(op.request_txn());
    }
    return cost;
  };
  return std::max(sum(r.success()), sum(r.failure()));
}

}  // namespace kvstore::service
