// The Lock and Election services: queues of keys under a prefix, ordered by creation, each hanging on its client's
// lease. Built from transactions and watches like any client would, so every member can serve them.
#include "base/prefix_end.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/service/api_impl.h"
#include "proto/etcd/election.pb.h"
#include "proto/etcd/lock.pb.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Err;
using base::Ok;
using base::Result;
using base::Task;
namespace pb = etcdserverpb;

namespace {

constexpr int64_t kSessionSeconds = 60;

base::Status ErrNotLeader() { return base::Unknown("election: not leader"); }
base::Status ErrNobodyLeads() { return base::Unknown("election: no leader"); }
base::Status ErrMissingLeaderKey() { return base::Unknown("\"leader\" field must be provided"); }
base::Status ErrSessionExpired() { return base::Unknown("mutex: session is expired"); }

std::string LeaseKey(const std::string& prefix, int64_t lease) {
  char hex[24];
  std::snprintf(hex, sizeof hex, "%lx", static_cast<unsigned long>(lease));
  return prefix + hex;
}

pb::RangeRequest FirstCreated(const std::string& prefix) {
  pb::RangeRequest r;
  r.set_key(prefix);
  r.set_range_end(base::PrefixEnd(prefix));
  r.set_sort_target(pb::RangeRequest::CREATE);
  r.set_sort_order(pb::RangeRequest::ASCEND);
  r.set_limit(1);
  return r;
}

// If the key was created at `revision`.
pb::TxnRequest IfCreatedAt(const std::string& key, int64_t revision) {
  pb::TxnRequest t;
  pb::Compare* c = t.add_compare();
  c->set_key(key);
  c->set_target(pb::Compare::CREATE);
  c->set_result(pb::Compare::EQUAL);
  c->set_create_revision(revision);
  return t;
}

void AddPut(pb::TxnRequest& t, const std::string& key, const std::string& value, int64_t lease) {
  pb::PutRequest* p = t.add_success()->mutable_request_put();
  p->set_key(key);
  p->set_value(value);
  p->set_lease(lease);
}

}  // namespace

// What happens to a range, event by event.
class Api::KeyWatch {
 public:
  KeyWatch(Api& api, const Call& call, mvcc::WatchSpec spec)
      : wake_(call.executor), stream_(api.replica_.store().watches(), [this] { wake_.NotifyAll(); }) {
    (void)stream_.Watch(std::move(spec));
  }
  Task<Result<mvcc::WatchItem>> Next(base::Context ctx) {
    for (;;) {
      if (auto item = stream_.Next()) {
        if (item->canceled) co_return Err(mvcc::ErrCompacted());
        if (!item->events.empty()) co_return std::move(*item);
        continue;
      }
      CO_TRY(co_await wake_.Wait(ctx));
    }
  }

 private:
  base::Event wake_;
  mvcc::WatchStream stream_;
};

void Api::RegisterConcurrency() {
  Unary("v3lockpb.Lock", "Lock", &Api::Lock);
  Unary("v3lockpb.Lock", "Unlock", &Api::Unlock);
  const std::string election = "v3electionpb.Election";
  Unary(election, "Campaign", &Api::Campaign);
  Unary(election, "Proclaim", &Api::Proclaim);
  Unary(election, "Leader", &Api::Leader);
  Unary(election, "Resign", &Api::Resign);
  Stream(election, "Observe", &Api::Observe);
}

template <class Response, class Request>
Task<Result<Response>> Api::Typed(const Call& call, Handler handler, Request request) {
  auto bytes = co_await (this->*handler)(call, request.SerializeAsString());
  if (!bytes) {
    // The original's services sit behind a client, which keeps the text of the store's errors and not their codes.
    bool known = bytes.error().message().starts_with("etcdserver:");
    co_return Err(known ? base::Unknown(std::string(bytes.error().message())) : bytes.error());
  }
  Response out;
  if (!out.ParseFromString(*bytes)) co_return Err(base::Internal("unreadable answer"));
  co_return std::move(out);
}

// The lease given, or a new one of a minute for who has none.
Task<Result<int64_t>> Api::SessionLease(const Call& call, int64_t lease) {
  if (lease != 0) co_return lease;
  pb::LeaseGrantRequest r;
  r.set_ttl(kSessionSeconds);
  CO_TRY_ASSIGN(auto granted, co_await Typed<pb::LeaseGrantResponse>(call, &Api::LeaseGrant, r));
  co_return granted.id();
}

// Until no key of the prefix is left that was created at `revision` or before.
Task<base::Status> Api::WaitForEarlier(const Call& call, std::string prefix, int64_t revision) {
  for (;;) {
    pb::RangeRequest r = FirstCreated(prefix);
    r.set_sort_order(pb::RangeRequest::DESCEND);
    r.set_max_create_revision(revision);
    CO_TRY_ASSIGN(auto found, co_await Typed<pb::RangeResponse>(call, &Api::Range, r));
    if (found.kvs_size() == 0) co_return Ok();
    KeyWatch follower(*this, call,
                      {.key = found.kvs(0).key(), .start_revision = found.header().revision(), .no_put = true});
    CO_TRY(co_await follower.Next(call.ctx));
  }
}

Task<base::Status> Api::DropKey(const Call& call, std::string key, int64_t created) {
  pb::TxnRequest t = IfCreatedAt(key, created);
  t.add_success()->mutable_request_delete_range()->set_key(key);
  // The caller may be gone; what it left in the queue must go all the same.
  Call lasting{call.headers, call.peer, base::Context(), call.executor};
  co_return StatusOf(co_await Typed<pb::TxnResponse>(lasting, &Api::Txn, t));
}

Task<Api::Bytes> Api::Lock(const Call& call, std::string request) {
  v3lockpb::LockRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY_ASSIGN(int64_t lease, co_await SessionLease(call, r.lease()));
  std::string prefix = r.name() + "/", key = LeaseKey(prefix, lease);
  pb::TxnRequest t = IfCreatedAt(key, 0);
  AddPut(t, key, "", lease);
  t.add_failure()->mutable_request_range()->set_key(key);
  CO_TRY_ASSIGN(auto entered, co_await Typed<pb::TxnResponse>(call, &Api::Txn, t));
  int64_t created = entered.header().revision();
  if (!entered.succeeded()) created = entered.responses(0).response_range().kvs(0).create_revision();
  base::Status waited = co_await WaitForEarlier(call, prefix, created - 1);
  if (!waited.ok()) {
    (void)co_await DropKey(call, key, created);
    co_return Err(waited);
  }
  // The session may have run out while it waited.
  pb::RangeRequest own;
  own.set_key(key);
  CO_TRY_ASSIGN(auto still, co_await Typed<pb::RangeResponse>(call, &Api::Range, own));
  if (still.kvs_size() == 0) co_return Err(ErrSessionExpired());
  v3lockpb::LockResponse out;
  *out.mutable_header() = still.header();
  out.set_key(key);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::Unlock(const Call& call, std::string request) {
  v3lockpb::UnlockRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  pb::DeleteRangeRequest d;
  d.set_key(r.key());
  CO_TRY_ASSIGN(auto done, co_await Typed<pb::DeleteRangeResponse>(call, &Api::DeleteRange, d));
  v3lockpb::UnlockResponse out;
  *out.mutable_header() = done.header();
  co_return out.SerializeAsString();
}

Task<Result<pb::ResponseHeader>> Api::ProclaimAs(const Call& call, std::string key, int64_t created, int64_t lease,
                                                 std::string value) {
  pb::TxnRequest t = IfCreatedAt(key, created);
  AddPut(t, key, value, lease);
  CO_TRY_ASSIGN(auto done, co_await Typed<pb::TxnResponse>(call, &Api::Txn, t));
  if (!done.succeeded()) co_return Err(ErrNotLeader());
  co_return done.header();
}

Task<Api::Bytes> Api::Campaign(const Call& call, std::string request) {
  v3electionpb::CampaignRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY_ASSIGN(int64_t lease, co_await SessionLease(call, r.lease()));
  std::string prefix = r.name() + "/", key = LeaseKey(prefix, lease);
  pb::TxnRequest t = IfCreatedAt(key, 0);
  AddPut(t, key, r.value(), lease);
  t.add_failure()->mutable_request_range()->set_key(key);
  CO_TRY_ASSIGN(auto entered, co_await Typed<pb::TxnResponse>(call, &Api::Txn, t));
  int64_t created = entered.header().revision();
  base::Status s;
  if (!entered.succeeded()) {
    const auto& kv = entered.responses(0).response_range().kvs(0);
    created = kv.create_revision();
    if (kv.value() != r.value()) s = StatusOf(co_await ProclaimAs(call, key, created, lease, r.value()));
  }
  if (s.ok()) s = co_await WaitForEarlier(call, prefix, created - 1);
  if (!s.ok()) {
    (void)co_await DropKey(call, key, created);
    co_return Err(s);
  }
  v3electionpb::CampaignResponse out;
  *out.mutable_header() = entered.header();
  out.mutable_leader()->set_name(r.name());
  out.mutable_leader()->set_key(key);
  out.mutable_leader()->set_rev(created);
  out.mutable_leader()->set_lease(lease);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::Proclaim(const Call& call, std::string request) {
  v3electionpb::ProclaimRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  if (!r.has_leader()) co_return Err(ErrMissingLeaderKey());
  CO_TRY_ASSIGN(int64_t lease, co_await SessionLease(call, r.leader().lease()));
  CO_TRY_ASSIGN(pb::ResponseHeader header,
                co_await ProclaimAs(call, r.leader().key(), r.leader().rev(), lease, r.value()));
  v3electionpb::ProclaimResponse out;
  *out.mutable_header() = header;
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::Leader(const Call& call, std::string request) {
  v3electionpb::LeaderRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY_ASSIGN(auto found, co_await Typed<pb::RangeResponse>(call, &Api::Range, FirstCreated(r.name() + "/")));
  if (found.kvs_size() == 0) co_return Err(ErrNobodyLeads());
  v3electionpb::LeaderResponse out;
  *out.mutable_header() = found.header();
  *out.mutable_kv() = found.kvs(0);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::Resign(const Call& call, std::string request) {
  v3electionpb::ResignRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  if (!r.has_leader()) co_return Err(ErrMissingLeaderKey());
  pb::TxnRequest t = IfCreatedAt(r.leader().key(), r.leader().rev());
  t.add_success()->mutable_request_delete_range()->set_key(r.leader().key());
  CO_TRY_ASSIGN(auto done, co_await Typed<pb::TxnResponse>(call, &Api::Txn, t));
  v3electionpb::ResignResponse out;
  *out.mutable_header() = done.header();
  co_return out.SerializeAsString();
}

// Every leader and every value that one proclaims, from the present one on.
Task<base::Status> Api::Observe(base::net::GrpcServerStream& stream) {
  const Call& call = stream.call();
  CO_TRY_ASSIGN(auto request, co_await stream.Read());
  v3electionpb::LeaderRequest r;
  if (!request || !r.ParseFromString(*request)) co_return Unreadable();
  std::string prefix = r.name() + "/";
  auto tell = [&](int64_t revision, const mvccpb::KeyValue& kv) {
    v3electionpb::LeaderResponse out;
    out.mutable_header()->ParseFromString(Header(revision));
    *out.mutable_kv() = kv;
    return stream.Write(base::Share(out.SerializeAsString()));
  };
  for (;;) {
    CO_TRY_ASSIGN(auto found, co_await Typed<pb::RangeResponse>(call, &Api::Range, FirstCreated(prefix)));
    int64_t revision = found.header().revision();
    if (found.kvs_size() == 0) {
      KeyWatch coming(
          *this, call,
          {.key = prefix, .end = base::PrefixEnd(prefix), .start_revision = revision + 1, .no_delete = true});
      CO_TRY(co_await coming.Next(call.ctx));
      continue;
    }
    CO_TRY(co_await tell(revision, found.kvs(0)));
    KeyWatch leader(*this, call, {.key = found.kvs(0).key(), .start_revision = revision + 1});
    for (bool leads = true; leads;) {
      CO_TRY_ASSIGN(mvcc::WatchItem item, co_await leader.Next(call.ctx));
      for (const mvcc::EventPtr& e : item.events) {
        if (e->is_delete) {
          leads = false;
          break;
        }
        mvccpb::KeyValue kv;
        kv.ParseFromString(*e->kv);
        CO_TRY(co_await tell(item.revision, kv));
      }
    }
  }
}

}  // namespace kvstore::service
