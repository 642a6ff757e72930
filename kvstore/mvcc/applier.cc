#include "kvstore/mvcc/applier.h"

#include <algorithm>

#include "base/json_writer.h"
#include "base/protobuf_wire.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/members.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::mvcc {

namespace wire = base::wire;

using base::Err;
using base::Ok;
using base::Result;
using base::Status;
namespace pb = etcdserverpb;

namespace {

// ---- ranges

bool HasFilter(const pb::RangeRequest& r) {
  return r.min_mod_revision() != 0 || r.max_mod_revision() != 0 || r.min_create_revision() != 0 ||
         r.max_create_revision() != 0;
}

bool Passes(const pb::RangeRequest& r, const KeyValueView& kv) {
  return (r.min_mod_revision() == 0 || kv.mod_revision >= r.min_mod_revision()) &&
         (r.max_mod_revision() == 0 || kv.mod_revision <= r.max_mod_revision()) &&
         (r.min_create_revision() == 0 || kv.create_revision >= r.min_create_revision()) &&
         (r.max_create_revision() == 0 || kv.create_revision <= r.max_create_revision());
}

bool SortsBy(const pb::RangeRequest& r, const KeyValueView& a, const KeyValueView& b) {
  switch (r.sort_target()) {
    case pb::RangeRequest::VERSION:
      return a.version < b.version;
    case pb::RangeRequest::CREATE:
      return a.create_revision < b.create_revision;
    case pb::RangeRequest::MOD:
      return a.mod_revision < b.mod_revision;
    case pb::RangeRequest::VALUE:
      return a.value < b.value;
    default:
      return a.key < b.key;
  }
}

void FilterAndSort(const pb::RangeRequest& r, bool sorts, std::vector<std::string>& kvs) {
  std::vector<std::pair<KeyValueView, std::string>> items;
  for (std::string& bytes : kvs) items.emplace_back(KeyValueView{}, std::move(bytes));
  // Short strings live inside their object: views must be taken where the bytes stay. They are readable: written by
  // this store, or looked at when they were imported (Store::ReadKey, IndexRecord).
  for (auto& [view, bytes] : items) view = *DecodeKeyValue(bytes);
  std::vector<size_t> order;
  for (size_t i = 0; i < items.size(); ++i) {
    if (Passes(r, items[i].first)) order.push_back(i);
  }
  if (sorts) {
    bool down = r.sort_order() == pb::RangeRequest::DESCEND;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const KeyValueView& x = items[down ? b : a].first;
      const KeyValueView& y = items[down ? a : b].first;
      return SortsBy(r, x, y) || (!SortsBy(r, y, x) && a < b);
    });
  }
  kvs.clear();
  for (size_t i : order) kvs.push_back(std::move(items[i].second));
}

}  // namespace

bool IsPlain(const pb::RangeRequest& r) {
  return r.sort_target() == pb::RangeRequest::KEY && r.sort_order() != pb::RangeRequest::DESCEND && !HasFilter(r);
}

bool LimitsFirst(const pb::RangeRequest& r) {
  return (r.sort_order() == pb::RangeRequest::NONE || IsPlain(r)) && !HasFilter(r);
}

std::string EncodeRange(const pb::RangeRequest& r, std::vector<std::string> kvs, int64_t count) {
  bool sorts = !(r.sort_target() == pb::RangeRequest::KEY && r.sort_order() != pb::RangeRequest::DESCEND);
  if (sorts || HasFilter(r)) FilterAndSort(r, sorts, kvs);
  bool cut = r.limit() > 0 && kvs.size() > static_cast<size_t>(r.limit());
  if (cut) kvs.resize(static_cast<size_t>(r.limit()));
  // Whoever found them may have stopped at the limit.
  bool more = cut || (r.limit() > 0 && !r.count_only() && IsPlain(r) && count > r.limit());
  size_t bytes = 32;
  for (const std::string& kv : kvs) bytes += kv.size() + 6;
  std::string body;
  body.reserve(bytes);
  // As the original since 3.7: leases are not in its index, and are told where the values had to be read.
  bool without_lease = r.sort_target() != pb::RangeRequest::VALUE;
  for (const std::string& kv : kvs) wire::PutBytes(body, 2, r.keys_only() ? WithoutValue(kv, without_lease) : kv);
  wire::PutNonZero(body, 3, more);
  wire::PutNonZero(body, 4, static_cast<uint64_t>(count));
  return body;
}

namespace {

struct FoundRange {
  int64_t revision;
  std::string body;  // as EncodeRange's
};
Result<FoundRange> RunRange(const Store& store, const pb::RangeRequest& r) {
  RangeQuery q{.key = r.key(), .end = r.range_end(), .revision = r.revision(), .count_only = r.count_only()};
  if (LimitsFirst(r) && r.limit() > 0) q.limit = r.limit() + 1;  // one more tells whether there is more
  TRY_ASSIGN(RangeResult found, store.Range(q));
  return FoundRange{found.revision, EncodeRange(r, std::move(found.kvs), found.count)};
}

std::string RevisionHeader(int64_t revision) {
  std::string h;
  wire::PutNonZero(h, 3, static_cast<uint64_t>(revision));
  return h;
}

// ---- transactions

// Runs the operations of one transaction, answers as ResponseOps into `out`.
class TxnRun {
 public:
  TxnRun(Store& store, const pb::TxnRequest& root) : store_(store), root_(root) {}

  // What would fail is found before anything is changed: the comparisons choose the paths, the paths are checked.
  Status Check() {
    Choose(root_);
    if (!unreadable_.ok()) return Ok();  // Run says so: it is no refusal
    size_t at = 0;
    return CheckOps(root_, at);
  }
  // Fatal errors only. Call after Check.
  Status Run(std::string& body) {
    TRY(unreadable_);
    next_path_ = 0;
    return RunTxn(root_, body);
  }

 private:
  // The comparisons of nested transactions see the state before the whole transaction, as in the original.
  void Choose(const pb::TxnRequest& t) {
    bool ok = std::all_of(t.compare().begin(), t.compare().end(), [this](const pb::Compare& c) { return Holds(c); });
    paths_.push_back(ok);
    for (const pb::RequestOp& op : ok ? t.success() : t.failure()) {
      if (op.has_request_txn()) Choose(op.request_txn());
    }
  }

  bool Holds(const pb::Compare& c) const {
    auto found = store_.Range({.key = c.key(), .end = c.range_end()});
    if (!found) {
      // Nothing may be concluded from what cannot be read: another member would choose otherwise.
      unreadable_ = found.error();
      return false;
    }
    if (found->kvs.empty()) {
      // A key that is not there compares as a zero one; its value compares with nothing.
      if (c.target() == pb::Compare::VALUE) return false;
      return HoldsFor(c, KeyValueView{});
    }
    return std::all_of(found->kvs.begin(), found->kvs.end(), [&](const std::string& bytes) {
      auto kv = DecodeKeyValue(bytes);
      return kv && HoldsFor(c, *kv);
    });
  }
  static bool HoldsFor(const pb::Compare& c, const KeyValueView& kv) {
    auto three_way = [](int64_t a, int64_t b) { return a < b ? -1 : a > b ? 1 : 0; };
    int result = 0;
    switch (c.target()) {
      case pb::Compare::VALUE: {
        int r = kv.value.compare(c.value());
        result = r < 0 ? -1 : r > 0 ? 1 : 0;
        break;
      }
      case pb::Compare::CREATE:
        result = three_way(kv.create_revision, c.create_revision());
        break;
      case pb::Compare::MOD:
        result = three_way(kv.mod_revision, c.mod_revision());
        break;
      case pb::Compare::LEASE:
        result = three_way(kv.lease, c.lease());
        break;
      default:
        result = three_way(kv.version, c.version());
        break;
    }
    switch (c.result()) {
      case pb::Compare::EQUAL:
        return result == 0;
      case pb::Compare::NOT_EQUAL:
        return result != 0;
      case pb::Compare::GREATER:
        return result > 0;
      case pb::Compare::LESS:
        return result < 0;
      default:
        return true;
    }
  }

  Status CheckOps(const pb::TxnRequest& t, size_t& path) {
    bool ok = paths_[path++];
    for (const pb::RequestOp& op : ok ? t.success() : t.failure()) {
      if (op.has_request_range()) {
        int64_t revision = op.request_range().revision();
        // A negative one means the present to a read by itself; here it is older than all history.
        if (revision != 0 && revision < store_.compact_revision()) return ErrCompacted();
        TRY(store_.CheckRevision(revision));
      }
      if (op.has_request_put()) TRY(CheckPut(op.request_put()));
      if (op.has_request_txn()) TRY(CheckOps(op.request_txn(), path));
    }
    return Ok();
  }
  Status CheckPut(const pb::PutRequest& p) {
    if (p.key().empty()) return ErrEmptyKey();
    if (p.lease() != 0 && !store_.leases().Contains(p.lease())) return ErrLeaseNotFound();
    if ((p.ignore_value() || p.ignore_lease()) && store_.Count({p.key(), {}}, 0) == 0) return ErrKeyNotFound();
    return Ok();
  }

  Status RunTxn(const pb::TxnRequest& t, std::string& body) {
    bool ok = paths_[next_path_++];
    wire::PutNonZero(body, 2, ok);
    for (const pb::RequestOp& op : ok ? t.success() : t.failure()) {
      std::string response, wrapped;
      uint32_t field = 0;
      TRY(RunOp(op, response, field));
      if (field != 0) wire::PutBytes(wrapped, field, response);
      wire::PutBytes(body, 3, wrapped);
    }
    return Ok();
  }
  Status RunOp(const pb::RequestOp& op, std::string& out, uint32_t& field);

  Store& store_;
  const pb::TxnRequest& root_;
  std::vector<bool> paths_;
  mutable Status unreadable_;  // the disk's error that kept a comparison from being made
  size_t next_path_ = 0;
};

// One put inside a transaction; fills the response's fields (with `header` inside transactions).
Status DoPut(Store& store, const pb::PutRequest& p, bool header, std::string& out) {
  std::string_view value = p.value();
  int64_t lease = p.lease();
  std::optional<std::string> current;
  if (p.ignore_value() || p.ignore_lease()) {
    TRY_ASSIGN(current, store.Get(p.key()));
    auto kv = current ? DecodeKeyValue(*current) : std::nullopt;
    if (kv && p.ignore_value()) value = kv->value;
    if (kv && p.ignore_lease()) lease = kv->lease;
  }
  TRY_ASSIGN(std::optional<std::string> previous, store.Put(p.key(), value, lease, p.prev_kv()));
  if (header) wire::PutBytes(out, 1, RevisionHeader(store.visible_revision()));
  if (previous) wire::PutBytes(out, 2, *previous);
  return Ok();
}

Status DoDelete(Store& store, const pb::DeleteRangeRequest& d, bool header, std::string& out) {
  TRY_ASSIGN(Store::Deleted deleted, store.DeleteRange({d.key(), d.range_end()}, d.prev_kv()));
  if (header) wire::PutBytes(out, 1, RevisionHeader(store.visible_revision()));
  wire::PutNonZero(out, 2, static_cast<uint64_t>(deleted.count));
  for (const std::string& kv : deleted.previous) wire::PutBytes(out, 3, kv);
  return Ok();
}

Status TxnRun::RunOp(const pb::RequestOp& op, std::string& out, uint32_t& field) {
  switch (op.request_case()) {
    case pb::RequestOp::kRequestRange: {
      field = 1;
      TRY_ASSIGN(FoundRange found, RunRange(store_, op.request_range()));
      wire::PutBytes(out, 1, RevisionHeader(found.revision));
      out += found.body;
      return Ok();
    }
    case pb::RequestOp::kRequestPut:
      field = 2;
      return DoPut(store_, op.request_put(), true, out);
    case pb::RequestOp::kRequestDeleteRange:
      field = 3;
      return DoDelete(store_, op.request_delete_range(), true, out);
    case pb::RequestOp::kRequestTxn: {
      field = 4;
      std::string body;
      TRY(RunTxn(op.request_txn(), body));
      wire::PutBytes(out, 1, "");  // the revision is the outermost one's to tell
      out += body;
      return Ok();
    }
    default:
      return Ok();
  }
}

bool HasPut(const pb::TxnRequest& t) {
  auto any = [](const auto& ops) {
    return std::any_of(ops.begin(), ops.end(), [](const pb::RequestOp& op) {
      return op.has_request_put() || (op.has_request_txn() && HasPut(op.request_txn()));
    });
  };
  return any(t.success()) || any(t.failure());
}

}  // namespace

bool IsReadOnly(const pb::TxnRequest& t) {
  auto reads = [](const auto& ops) {
    return std::all_of(ops.begin(), ops.end(), [](const pb::RequestOp& op) {
      return op.has_request_range() || (op.has_request_txn() && IsReadOnly(op.request_txn()));
    });
  };
  return reads(t.success()) && reads(t.failure());
}

// ---- reads

Answer Applier::Range(const pb::RangeRequest& r) const {
  auto found = RunRange(store_, r);
  if (!found) return {.error = found.error()};
  return {.revision = found->revision, .body = std::move(found->body)};
}

Answer Applier::ReadTxn(const pb::TxnRequest& r) {
  Answer a;
  a.revision = store_.revision();
  TxnRun run(store_, r);
  uint64_t before = store_.counts().operations();
  a.error = run.Check();
  if (a.error.ok()) a.error = run.Run(a.body);
  store_.counts().txns += store_.counts().operations() > before + 1;
  return a;
}

// ---- writes

Result<Answer> Applier::Apply(const pb::InternalRaftRequest& r, uint64_t index) {
  Answer a;
  Status fatal;
  if (auth_.enabled()) a.error = auth_.MayApply({r.header().username(), r.header().auth_revision()}, r);
  if (!a.error.ok()) {
    // refused
  } else if (corrupt_ && !r.has_alarm()) {
    a.error = ErrCorrupt();
  } else if (r.has_put()) {
    fatal = Put(r, a);
  } else if (r.has_delete_range()) {
    fatal = DeleteRange(r, a);
  } else if (r.has_txn()) {
    fatal = no_space_ && HasPut(r.txn()) ? (a.error = ErrNoSpace(), Ok()) : Txn(r.txn(), a);
  } else if (r.has_range()) {
    a = Range(r.range());
  } else if (r.has_compaction()) {
    a.error = store_.Compact(r.compaction().revision());
  } else if (r.has_lease_grant()) {
    fatal = LeaseGrant(r, a);
  } else if (r.has_lease_revoke()) {
    if (!store_.leases().Contains(r.lease_revoke().id())) {
      a.error = ErrLeaseNotFound();
    } else {
      fatal = store_.RevokeLease(r.lease_revoke().id());
    }
  } else if (r.has_lease_checkpoint()) {
    for (const auto& c : r.lease_checkpoint().checkpoints()) store_.leases().Checkpoint(c.id(), c.remaining_ttl());
  } else if (r.has_alarm()) {
    Alarm(r, a);
  } else if (r.has_cluster_version_set()) {
    store_.buckets()["cluster"]["clusterVersion"] = r.cluster_version_set().ver();
  } else if (r.has_downgrade_info_set()) {
    base::JsonWriter w;
    w.BeginObject().Key("target-version").String(r.downgrade_info_set().ver());
    w.Key("enabled").Bool(r.downgrade_info_set().enabled()).EndObject();
    store_.buckets()["cluster"]["downgrade"] = w.Take();
  } else if (r.has_cluster_member_attr_set()) {
    const auto& s = r.cluster_member_attr_set();
    auto& members = store_.buckets()["members"];
    // A member that was removed while it was introducing itself does not come back by that.
    bool removed = store_.buckets()["members_removed"].contains(MemberKey(s.member_id()));
    std::string& json = members[MemberKey(s.member_id())];
    Member m = MemberFromJson(json).value_or(Member{.id = s.member_id()});
    m.name = s.member_attributes().name();
    m.client_urls.assign(s.member_attributes().client_urls().begin(), s.member_attributes().client_urls().end());
    json = MemberToJson(m);
    if (removed) members.erase(MemberKey(s.member_id()));
  } else if (Auth::IsAuth(r)) {
    a.error = auth_.Apply(r, index, store_.now(), a.body);
  }
  if (!fatal.ok()) return Err(fatal);
  if (a.revision == 0) a.revision = store_.revision();
  return a;
}

Status Applier::Put(const pb::InternalRaftRequest& r, Answer& a) {
  const pb::PutRequest& p = r.put();
  if (no_space_) {
    a.error = ErrNoSpace();
    return Ok();
  }
  if (p.key().empty()) {
    a.error = ErrEmptyKey();
    return Ok();
  }
  if (p.lease() != 0 && !store_.leases().Contains(p.lease())) {
    a.error = ErrLeaseNotFound();
    return Ok();
  }
  if ((p.ignore_value() || p.ignore_lease()) && store_.Count({p.key(), {}}, 0) == 0) {
    a.error = ErrKeyNotFound();
    return Ok();
  }
  store_.Begin();
  TRY(DoPut(store_, p, false, a.body));
  a.revision = store_.End();
  return Ok();
}

Status Applier::DeleteRange(const pb::InternalRaftRequest& r, Answer& a) {
  store_.Begin();
  TRY(DoDelete(store_, r.delete_range(), false, a.body));
  a.revision = store_.End();
  return Ok();
}

Status Applier::Txn(const pb::TxnRequest& t, Answer& a) {
  TxnRun run(store_, t);
  a.error = run.Check();
  if (!a.error.ok()) return Ok();
  store_.Begin();
  TRY(run.Run(a.body));
  a.revision = store_.End();
  return Ok();
}

Status Applier::LeaseGrant(const pb::InternalRaftRequest& r, Answer& a) {
  if (no_space_) {
    a.error = ErrNoSpace();
    return Ok();
  }
  auto lease = store_.leases().Grant(r.lease_grant().id(), r.lease_grant().ttl(), store_.now());
  if (!lease) {
    a.error = lease.error();
    return Ok();
  }
  ++store_.counts().leases_granted;
  wire::PutNonZero(a.body, 2, static_cast<uint64_t>((*lease)->id));
  wire::PutNonZero(a.body, 3, static_cast<uint64_t>((*lease)->ttl));
  return Ok();
}

// ---- alarms

std::string Applier::downgrade_target() const {
  std::string json = store_.BucketValue("cluster", "downgrade");
  constexpr std::string_view kName = "\"target-version\":\"";
  size_t at = json.find(kName);
  if (at == std::string::npos || json.find("\"enabled\":true") == std::string::npos) return "";
  at += kName.size();
  return json.substr(at, json.find('"', at) - at);
}

void Applier::Load() {
  auth_.Load();
  LoadAlarms();
}

void Applier::LoadAlarms() {
  no_space_ = corrupt_ = false;
  for (const auto& [key, empty] : store_.buckets()["alarm"]) {
    pb::AlarmMember m;
    if (!m.ParseFromString(key)) continue;
    no_space_ |= m.alarm() == pb::NOSPACE;
    corrupt_ |= m.alarm() == pb::CORRUPT;
  }
}

void Applier::Alarm(const pb::InternalRaftRequest& r, Answer& a) {
  const pb::AlarmRequest& req = r.alarm();
  auto& bucket = store_.buckets()["alarm"];
  pb::AlarmMember m;
  m.set_memberid(req.memberid());
  m.set_alarm(req.alarm());
  switch (req.action()) {
    case pb::AlarmRequest::GET:
      for (const auto& [key, empty] : bucket) {
        pb::AlarmMember have;
        bool wanted = have.ParseFromString(key) && (req.alarm() == pb::NONE || have.alarm() == req.alarm());
        if (wanted) wire::PutBytes(a.body, 2, key);
      }
      break;
    case pb::AlarmRequest::ACTIVATE:
      if (req.alarm() == pb::NONE) break;
      bucket[m.SerializeAsString()] = "";
      wire::PutBytes(a.body, 2, m.SerializeAsString());
      break;
    case pb::AlarmRequest::DEACTIVATE: {
      // NONE means every alarm, member 0 every member's.
      auto before = bucket;
      for (const auto& [key, empty] : before) {
        pb::AlarmMember have;
        if (!have.ParseFromString(key)) continue;
        bool match = (req.alarm() == pb::NONE || have.alarm() == req.alarm()) &&
                     (req.memberid() == 0 || have.memberid() == req.memberid());
        if (!match) continue;
        bucket.erase(key);
        wire::PutBytes(a.body, 2, key);
      }
      break;
    }
    default:
      break;
  }
  LoadAlarms();
}

// ---- members

void Applier::ApplyMemberChange(uint64_t node_id, bool removed, bool added, std::string_view context) {
  auto& members = store_.buckets()["members"];
  std::string key = MemberKey(node_id);
  if (removed) {
    members.erase(key);
    store_.buckets()["members_removed"][key] = "removed";
    return;
  }
  auto change = MemberFromJson(context);
  if (!change) return;
  Member m = *change;
  m.id = node_id;
  auto known = members.contains(key) ? MemberFromJson(members[key]) : std::nullopt;
  if (known) {
    // Updates and promotions carry raft attributes only; the name and client URLs are the member's own.
    if (m.name.empty()) m.name = known->name;
    if (m.client_urls.empty()) m.client_urls = known->client_urls;
    if (m.peer_urls.empty()) m.peer_urls = known->peer_urls;
  }
  members[key] = MemberToJson(m);
}

}  // namespace kvstore::mvcc
