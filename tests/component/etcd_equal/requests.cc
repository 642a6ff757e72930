#include "tests/component/etcd_equal/requests.h"

#include "proto/etcd/election.pb.h"
#include "proto/etcd/lock.pb.h"

namespace etcd_equal {

namespace pb = etcdserverpb;

namespace {
constexpr int64_t kLeases = 40, kLongTtl = 100000;
constexpr size_t kTooLarge = 1600000;
constexpr int kDepth = 2;  // of transactions in transactions
}  // namespace

const std::vector<std::string>& Requests::Users() {
  static const std::vector<std::string> users = {"root", "u0", "u1", "u2", "u3", "nobody"};
  return users;
}

Request Requests::Of(std::string method, const google::protobuf::Message& m, bool streaming) {
  Request r{std::move(method), m.SerializeAsString(), "", streaming};
  if (auth) {
    // Half of the calls are root's, or little would happen.
    r.user = random_.OneIn(2) ? "root" : Users()[random_.Below(Users().size())];
    if (random_.OneIn(40)) r.user = "forged";
    if (random_.OneIn(40)) r.user = "";
  }
  return r;
}

std::string Requests::Key() {
  static constexpr std::string_view kLetters = "abcdef";
  if (random_.OneIn(400)) return "";
  if (random_.OneIn(200)) return random_.OneIn(2) ? std::string(1, '\0') : "\xff";
  std::string out = "k/";
  for (uint64_t n = 1 + random_.Below(3); n > 0; --n) out += kLetters[random_.Below(kLetters.size())];
  return out;
}

template <class R>
void Requests::Range(R& r) {
  r.set_key(Key());
  switch (random_.Below(12)) {
    case 0:  // a prefix
    case 1:
      r.set_range_end(r.key());
      if (!r.key().empty()) ++r.mutable_range_end()->back();
      break;
    case 2:
    case 3:
      r.set_range_end(Key());  // may be upside down
      // Who may ask for such a range hangs on the shape of etcd's tree of permissions.
      if (auth && r.range_end() < r.key()) std::swap(*r.mutable_key(), *r.mutable_range_end());
      break;
    case 4:
      if (random_.OneIn(4)) r.set_range_end(std::string(1, '\0'));
      break;
    case 5:
      if (random_.OneIn(6)) {
        r.set_key(std::string(1, '\0'));
        r.set_range_end(std::string(1, '\0'));
      }
      break;
    default:
      break;
  }
}

// One key always stands with the same end: of two that share a key etcd may keep one twice.
template <class R>
void Requests::PermissionRange(R& r) {
  r.set_key(Key());
  if (r.key().empty() || r.key().back() % 2 == 0) return;
  r.set_range_end(r.key());
  ++r.mutable_range_end()->back();
  if (r.key().size() == 4 && !old_) r.set_range_end("a");  // upside down
}

std::string Requests::Value() {
  std::string out(random_.OneIn(20) ? random_.Below(2000) : random_.Below(24), 'v');
  if (!out.empty()) out[0] = static_cast<char>(random_.Below(256));
  if (random_.OneIn(3)) out = std::to_string(random_.Below(4));
  return out;
}

int64_t Requests::Lease() {
  if (random_.OneIn(30)) return random_.OneIn(2) ? 0 : 987654321;
  return 1000 + static_cast<int64_t>(random_.Below(kLeases));
}

int64_t Requests::Revision() {
  if (!random_.OneIn(4)) return 0;
  if (random_.OneIn(12)) return revision_ + 5 + static_cast<int64_t>(random_.Below(5));
  if (random_.OneIn(12)) return std::max<int64_t>(0, compacted_ - static_cast<int64_t>(random_.Below(3)));
  if (!old_ && random_.OneIn(30)) return -1 - static_cast<int64_t>(random_.Below(3));
  return compacted_ + static_cast<int64_t>(random_.Below(static_cast<uint64_t>(revision_ - compacted_) + 1));
}

pb::RangeRequest Requests::RangeOf(bool in_txn) {
  pb::RangeRequest r;
  Range(r);
  r.set_revision(Revision());
  if (random_.OneIn(3)) r.set_limit(static_cast<int64_t>(random_.Below(12)));
  if (random_.OneIn(100)) r.set_limit(-1);
  if (random_.OneIn(3)) {
    r.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(random_.Below(3)));
    r.set_sort_target(static_cast<pb::RangeRequest::SortTarget>(random_.Below(5)));
  }
  if (!old_ && random_.OneIn(300)) r.set_sort_target(static_cast<pb::RangeRequest::SortTarget>(7));
  if (!old_ && random_.OneIn(300)) r.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(5));
  // Where two sort alike, etcd keeps their order only among the first dozen: a handful of keys is asked for then.
  bool ties = r.sort_target() != pb::RangeRequest::KEY;
  if (ties && (in_txn || r.limit() > 0) && !r.range_end().empty()) {
    r.set_key(std::string("k/") + static_cast<char>('a' + random_.Below(6)) +
              static_cast<char>('a' + random_.Below(6)));
    r.set_range_end(r.key() + "~");
  }
  r.set_serializable(random_.OneIn(2));
  r.set_keys_only(!old_ && random_.OneIn(5));  // 3.4 tells leases with them
  r.set_count_only(random_.OneIn(8));
  auto filter = [&] {
    return random_.OneIn(10) ? static_cast<int64_t>(random_.Below(static_cast<uint64_t>(revision_) + 3)) : 0;
  };
  r.set_min_mod_revision(filter());
  r.set_max_mod_revision(filter());
  r.set_min_create_revision(filter());
  r.set_max_create_revision(filter());
  return r;
}

pb::PutRequest Requests::PutOf() {
  pb::PutRequest r;
  r.set_key(Key());
  r.set_value(Value());
  if (random_.OneIn(4)) r.set_lease(Lease());
  r.set_prev_kv(random_.OneIn(3));
  if (random_.OneIn(12)) {
    r.set_ignore_value(true);
    if (!random_.OneIn(4)) r.clear_value();
  }
  if (random_.OneIn(12)) {
    r.set_ignore_lease(true);
    if (!random_.OneIn(4)) r.clear_lease();
  }
  return r;
}

pb::DeleteRangeRequest Requests::DeleteOf() {
  pb::DeleteRangeRequest r;
  Range(r);
  r.set_prev_kv(random_.OneIn(2));
  return r;
}

void Requests::AddCompare(pb::TxnRequest& t) {
  pb::Compare* c = t.add_compare();
  Range(*c);
  if (!random_.OneIn(4)) c->clear_range_end();
  c->set_result(static_cast<pb::Compare::CompareResult>(random_.Below(4)));
  auto number = [&] {
    return random_.OneIn(3) ? 0 : static_cast<int64_t>(random_.Below(static_cast<uint64_t>(revision_) + 1));
  };
  c->set_target(static_cast<pb::Compare::CompareTarget>(random_.Below(5)));
  switch (c->target()) {
    case pb::Compare::VERSION:
      c->set_version(static_cast<int64_t>(random_.Below(4)));
      break;
    case pb::Compare::CREATE:
      c->set_create_revision(number());
      break;
    case pb::Compare::MOD:
      c->set_mod_revision(number());
      break;
    case pb::Compare::VALUE:
      c->set_value(std::to_string(random_.Below(4)));
      break;
    default:
      c->set_lease(random_.OneIn(2) ? 0 : Lease());
      break;
  }
  // The target says one thing, the value is another's.
  if (random_.OneIn(60)) c->set_value("x");
}

void Requests::AddOp(google::protobuf::RepeatedPtrField<pb::RequestOp>& ops, int depth, bool reads_only) {
  pb::RequestOp* op = ops.Add();
  uint64_t kind = reads_only ? 0 : random_.Below(10);
  if (depth > 0 && random_.OneIn(8)) {
    *op->mutable_request_txn() = TxnOf(depth - 1, reads_only);
  } else if (kind < 3) {
    *op->mutable_request_range() = RangeOf(true);
  } else if (kind < 8 || !deletes_) {
    *op->mutable_request_put() = PutOf();
    if (deletes_ || old_) {  // 3.4 looks for the key before it looks for the lease
      op->mutable_request_put()->clear_ignore_value();
      op->mutable_request_put()->clear_ignore_lease();
    }
  } else {
    *op->mutable_request_delete_range() = DeleteOf();
  }
  if (!old_ && random_.OneIn(1000)) op->Clear();
}

pb::TxnRequest Requests::TxnOf(int depth, bool reads_only) {
  pb::TxnRequest t;
  // A key that one operation deletes and another one then puts as it was ends etcd.
  if (depth == kDepth) deletes_ = random_.OneIn(2);
  for (uint64_t n = random_.Below(3); n > 0; --n) AddCompare(t);
  uint64_t most = random_.OneIn(400) ? 140 : 5;
  for (auto* ops : {t.mutable_success(), t.mutable_failure()}) {
    for (uint64_t n = random_.Below(most); n > 0; --n) AddOp(*ops, depth, reads_only);
  }
  return t;
}

Request Requests::Read() {
  uint64_t kind = random_.Below(100);
  if (kind < 66) return Of("etcdserverpb.KV.Range", RangeOf(false));
  if (kind < 76) return Of("etcdserverpb.KV.Txn", TxnOf(1, true));
  if (kind < 82 && !old_) {
    pb::RangeRequest r = RangeOf(false);
    // Each piece would be sorted by itself.
    if (r.sort_order() == pb::RangeRequest::NONE) r.clear_sort_target();
    return Of("etcdserverpb.KV.RangeStream", r, true);
  }
  if (kind < 88) {
    pb::LeaseTimeToLiveRequest r;
    r.set_id(Lease());
    r.set_keys(random_.OneIn(2));
    return Of("etcdserverpb.Lease.LeaseTimeToLive", r);
  }
  if (kind < 90) return Of("etcdserverpb.Lease.LeaseLeases", pb::LeaseLeasesRequest());
  if (kind < 91) return Of("etcdserverpb.Maintenance.Status", pb::StatusRequest());
  if (kind < 92) return Of("etcdserverpb.Cluster.MemberList", pb::MemberListRequest());
  if (kind < 93) return Of("etcdserverpb.Auth.UserList", pb::AuthUserListRequest());
  if (kind < 94) return Of("etcdserverpb.Auth.RoleList", pb::AuthRoleListRequest());
  if (kind < 96) {
    pb::AuthUserGetRequest r;
    r.set_name(Users()[random_.Below(Users().size())]);
    return Of("etcdserverpb.Auth.UserGet", r);
  }
  if (kind < 98) {
    pb::AuthRoleGetRequest r;
    r.set_role(random_.OneIn(8) ? "root" : Role());
    return Of("etcdserverpb.Auth.RoleGet", r);
  }
  if (kind < 99 && !old_) return Of("etcdserverpb.Auth.AuthStatus", pb::AuthStatusRequest());
  v3electionpb::LeaderRequest leader;
  leader.set_name("k/e");
  return Of("v3electionpb.Election.Leader", leader);
}

// tidy: length: one case per kind of request
Request Requests::Write() {
  uint64_t kind = random_.Below(1000);
  if (kind < 450) return Of("etcdserverpb.KV.Put", PutOf());
  if (kind < 520) return Of("etcdserverpb.KV.DeleteRange", DeleteOf());
  if (kind < 840) return Of("etcdserverpb.KV.Txn", TxnOf(kDepth, false));
  if (kind < 900) {
    pb::LeaseGrantRequest r;
    r.set_id(Lease());
    if (r.id() == 0) r.set_id(1000);
    r.set_ttl(kLongTtl + static_cast<int64_t>(random_.Below(1000)));
    if (random_.OneIn(20)) r.set_ttl(9000000001);
    return Of("etcdserverpb.Lease.LeaseGrant", r);
  }
  if (kind < 930) {
    pb::LeaseRevokeRequest r;
    r.set_id(Lease());
    return Of("etcdserverpb.Lease.LeaseRevoke", r);
  }
  if (kind < 950) {
    pb::LeaseKeepAliveRequest r;
    r.set_id(Lease());
    return Of("etcdserverpb.Lease.LeaseKeepAlive", r, true);
  }
  if (kind < 960) {
    v3lockpb::LockRequest lock;
    lock.set_name("k/lock" + std::to_string(random_.Next() % 1000000));
    lock.set_lease(Lease());
    if (lock.lease() == 0) lock.set_lease(1000);
    return Of("v3lockpb.Lock.Lock", lock);
  }
  if (kind < 970) {
    v3electionpb::ProclaimRequest proclaim;
    if (!random_.OneIn(3)) {
      proclaim.mutable_leader()->set_key(Key());
      proclaim.mutable_leader()->set_rev(revision_);
      proclaim.mutable_leader()->set_lease(1000 + static_cast<int64_t>(random_.Below(kLeases)));
    }
    proclaim.set_value(Value());
    return Of("v3electionpb.Election.Proclaim", proclaim);
  }
  if (kind < 975) {
    v3lockpb::UnlockRequest unlock;
    unlock.set_key(Key());
    return Of("v3lockpb.Lock.Unlock", unlock);
  }
  if (kind < 980) {
    pb::MemberRemoveRequest r;
    r.set_id(77);
    return Of("etcdserverpb.Cluster.MemberRemove", r);
  }
  if (kind < 984) {
    pb::MemberPromoteRequest r;
    r.set_id(77);
    return Of("etcdserverpb.Cluster.MemberPromote", r);
  }
  if (kind < 988) {
    pb::MemberAddRequest r;
    if (random_.OneIn(2)) r.add_peerurls("nonsense");
    return Of("etcdserverpb.Cluster.MemberAdd", r);
  }
  if (kind < 990) {
    pb::MoveLeaderRequest r;
    r.set_targetid(77);
    return Of("etcdserverpb.Maintenance.MoveLeader", r);
  }
  if (kind < 992 && !old_) return Of("etcdserverpb.Maintenance.Alarm", pb::AlarmRequest());
  if (kind < 993) {
    pb::PutRequest r;
    r.set_key("k/large");
    r.set_value(std::string(kTooLarge, 'x'));
    return Of("etcdserverpb.KV.Put", r);
  }
  if (kind < 996 && !old_) {
    pb::DowngradeRequest r;
    static constexpr const char* kVersions[] = {"3.6", "3.6.0", "3.5", "3.8", "x", "", "4.0.0"};
    r.set_version(kVersions[random_.Below(7)]);
    if (random_.OneIn(3)) r.set_action(pb::DowngradeRequest::CANCEL);
    return Of("etcdserverpb.Maintenance.Downgrade", r);
  }
  return Of("etcdserverpb.KV.Put", PutOf());
}

std::string Requests::Role() { return "r" + std::to_string(random_.Below(5)); }

Request Requests::AuthChange() {
  std::string user = Users()[1 + random_.Below(4)], role = Role();
  auto as_root = [this](std::string method, const google::protobuf::Message& m) {
    return Request{"etcdserverpb.Auth." + std::move(method), m.SerializeAsString(), auth ? "root" : ""};
  };
  switch (random_.Below(14)) {
    case 0:
    case 1: {
      pb::AuthUserAddRequest r;
      r.set_name(random_.OneIn(20) ? "" : user);
      r.set_password(kPassword);
      if (random_.OneIn(8)) r.mutable_options()->set_no_password(true);
      return as_root("UserAdd", r);
    }
    case 2: {
      pb::AuthUserDeleteRequest r;
      r.set_name(random_.OneIn(6) && auth ? "root" : user);
      return as_root("UserDelete", r);
    }
    case 3: {
      pb::AuthUserChangePasswordRequest r;
      r.set_name(user);
      r.set_password(kPassword);
      return as_root("UserChangePassword", r);
    }
    case 4:
    case 5:
    case 6: {
      pb::AuthUserGrantRoleRequest r;
      r.set_user(user);
      r.set_role(random_.OneIn(10) ? "root" : role);
      return as_root("UserGrantRole", r);
    }
    case 7: {
      pb::AuthUserRevokeRoleRequest r;
      r.set_name(user);
      r.set_role(role);
      return as_root("UserRevokeRole", r);
    }
    case 8: {
      pb::AuthRoleAddRequest r;
      r.set_name(random_.OneIn(20) ? "" : role);
      return as_root("RoleAdd", r);
    }
    case 9: {
      pb::AuthRoleDeleteRequest r;
      r.set_role(role);
      if (!random_.OneIn(3)) return AuthChange();
      return as_root("RoleDelete", r);
    }
    case 10: {
      pb::AuthRoleRevokePermissionRequest r;
      r.set_role(role);
      PermissionRange(r);
      return as_root("RoleRevokePermission", r);
    }
    default: {
      pb::AuthRoleGrantPermissionRequest r;
      r.set_name(role);
      authpb::Permission* p = r.mutable_perm();
      p->set_permtype(static_cast<authpb::Permission::Type>(random_.Below(3)));
      PermissionRange(*p);
      return as_root("RoleGrantPermission", r);
    }
  }
}

Request Requests::Compaction() {
  pb::CompactionRequest r;
  r.set_revision(revision_ -
                 static_cast<int64_t>(random_.Below(static_cast<uint64_t>(revision_ - compacted_) / 2 + 1)));
  if (random_.OneIn(10)) r.set_revision(revision_ + 7);
  if (random_.OneIn(10)) r.set_revision(compacted_);
  r.set_physical(random_.OneIn(3));
  return Of("etcdserverpb.KV.Compact", r);
}

std::optional<Request> Requests::CompactionAgain() {
  if (compacted_ == 0) return std::nullopt;
  pb::CompactionRequest r;
  r.set_revision(compacted_);
  r.set_physical(true);
  return Of("etcdserverpb.KV.Compact", r);
}

Request Requests::HashKv() {
  pb::HashKVRequest r;
  if (!random_.OneIn(3)) r.set_revision(std::max<int64_t>(0, Revision()));
  // etcd remembers what it hashed while it compacted, and tells that for the compaction's own revision; 3.4 did not.
  if (!old_ && compacted_ > 0 && random_.OneIn(3)) r.set_revision(compacted_);
  return Of("etcdserverpb.Maintenance.HashKV", r);
}

pb::WatchCreateRequest Requests::Watch() {
  pb::WatchCreateRequest r;
  Range(r);
  r.set_start_revision(Revision());
  r.set_prev_kv(random_.OneIn(2));
  r.set_fragment(random_.OneIn(3));
  if (random_.OneIn(5)) r.add_filters(pb::WatchCreateRequest::NOPUT);
  if (random_.OneIn(5)) r.add_filters(pb::WatchCreateRequest::NODELETE);
  if (random_.OneIn(10)) r.set_watch_id(static_cast<int64_t>(random_.Below(4)));
  return r;
}

Request Requests::ShortLease(int64_t id) {
  pb::LeaseGrantRequest r;
  r.set_id(id);
  r.set_ttl(1);
  return {"etcdserverpb.Lease.LeaseGrant", r.SerializeAsString(), auth ? "root" : ""};
}

Request Requests::PutOn(int64_t lease, const std::string& key) {
  pb::PutRequest r;
  r.set_key(key);
  r.set_lease(lease);
  return {"etcdserverpb.KV.Put", r.SerializeAsString(), auth ? "root" : ""};
}

}  // namespace etcd_equal
