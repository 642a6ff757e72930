#include "kvstore/service/api.h"

#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/service/api_impl.h"
#include "kvstore/service/checks.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Context;
using base::Err;
using base::Ok;
using base::Task;
namespace pb = etcdserverpb;

Api::Api(replica::Replica& replica, base::FileSystem& fs, base::BlockingPool& pool, base::MetricsRegistry& metrics,
         ApiOptions options)
    : replica_(replica),
      fs_(fs),
      pool_(pool),
      registry_(metrics),
      options_(std::move(options)),
      // As the original: room for the envelope around the largest request.
      grpc_({.max_receive_bytes = options_.max_request_bytes + (512 << 10)}),
      metrics_(std::make_unique<Metrics>(metrics)) {
  if (options_.quota_backend_bytes == 0) options_.quota_backend_bytes = kDefaultQuotaBytes;
  replica_.on_sync = [this](base::Duration d) { metrics_->fsync.Observe(std::chrono::duration<double>(d).count()); };
  RegisterKv();
  RegisterLease();
  RegisterMaintenance();
  RegisterRefusals();
}

Api::~Api() { replica_.on_sync = nullptr; }

void Api::Unary(const std::string& service, const std::string& method, Handler handler) {
  base::Counter* started = &metrics_->started.With({method, service, "unary"});
  base::Counter* ok = &metrics_->handled.With({"OK", method, service, "unary"});
  grpc_.Unary("/" + service + "/" + method,
              [this, handler, started, ok, service, method](const Call& call, std::string request) -> Task<Bytes> {
                started->Add();
                metrics_->bytes_in.Add(static_cast<double>(request.size()));
                Bytes out = co_await (this->*handler)(call, std::move(request));
                if (out) {
                  ok->Add();
                  metrics_->bytes_out.Add(static_cast<double>(out->size()));
                } else {
                  metrics_->handled.With({GrpcCodeLabel(out.error().code()), method, service, "unary"}).Add();
                }
                co_return out;
              });
}

void Api::Stream(const std::string& service, const std::string& method,
                 Task<base::Status> (Api::*handler)(base::net::GrpcServerStream&)) {
  base::Counter* started = &metrics_->started.With({method, service, "bidi_stream"});
  grpc_.Stream("/" + service + "/" + method,
               [this, handler, started, service, method](base::net::GrpcServerStream& s) -> Task<base::Status> {
                 started->Add();
                 base::Status out = co_await (this->*handler)(s);
                 metrics_->handled.With({GrpcCodeLabel(out.code()), method, service, "bidi_stream"}).Add();
                 co_return out;
               });
}

void Api::Refuse(const std::string& service, std::initializer_list<std::string_view> methods, base::Status why) {
  for (std::string_view m : methods) {
    grpc_.Unary("/" + service + "/" + std::string(m),
                [why](const Call&, std::string) -> Task<Bytes> { co_return Err(why); });
  }
}

void Api::RegisterRefusals() {
  Refuse("etcdserverpb.Auth",
         {"AuthEnable", "AuthDisable", "UserAdd", "UserGet", "UserList", "UserDelete", "UserChangePassword",
          "UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleGet", "RoleList", "RoleDelete", "RoleGrantPermission",
          "RoleRevokePermission"},
         NotSupported("authentication is"));
  Refuse("etcdserverpb.Cluster", {"MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote"},
         NotSupported("membership changes are"));
  Refuse("etcdserverpb.Maintenance", {"Downgrade"}, NotSupported("downgrades are"));
  Refuse("v3electionpb.Election", {"Campaign", "Proclaim", "Leader", "Observe", "Resign"},
         NotSupported("the election service is"));
  Refuse("v3lockpb.Lock", {"Lock", "Unlock"}, NotSupported("the lock service is"));
  Unary("etcdserverpb.Auth", "AuthStatus", &Api::AuthStatus);
  Unary("etcdserverpb.Auth", "Authenticate", &Api::Authenticate);
  Unary("grpc.health.v1.Health", "Check", &Api::HealthCheck);
}

Task<void> Api::Handle(base::net::Exchange& exchange) {
  if (base::net::GrpcService::Accepts(exchange)) {
    co_await grpc_.Serve(exchange);
  } else {
    co_await HandleHttp(exchange);
  }
}

std::string Api::Header(int64_t revision) const {
  std::string h;
  wire::PutNonZero(h, 1, replica_.cluster_id());
  wire::PutNonZero(h, 2, replica_.member_id());
  wire::PutNonZero(h, 3, static_cast<uint64_t>(revision));
  wire::PutNonZero(h, 4, replica_.term());
  return h;
}

Api::Bytes Api::Respond(const mvcc::Answer& answer) const {
  if (!answer.error.ok()) return Err(answer.error);
  std::string out;
  out.reserve(answer.body.size() + 48);
  wire::PutBytes(out, 1, Header(answer.revision));
  out += answer.body;
  return out;
}

Task<Api::Bytes> Api::ProposeBytes(Context ctx, uint32_t field, std::string_view request) {
  if (request.size() > options_.max_request_bytes) co_return Err(mvcc::ErrRequestTooLarge());
  std::string fields;
  fields.reserve(request.size() + 32);
  wire::PutBytes(fields, field, request);
  auto answer = co_await replica_.Propose(ctx, std::move(fields));
  if (!answer) co_return Err(answer.error());
  co_return Respond(*answer);
}

Task<base::Status> Api::Barrier(Context ctx) {
  if (replica_.ReadsAreCurrent()) co_return Ok();
  co_return co_await replica_.ReadBarrier(ctx);
}

// Above the quota writes are refused and the member says so in an alarm that only an operator takes back.
base::Status Api::CheckQuota(size_t request_bytes) {
  if (options_.quota_backend_bytes < 0) return Ok();
  uint64_t used = replica_.store().size_bytes() + request_bytes;
  if (used <= static_cast<uint64_t>(options_.quota_backend_bytes)) {
    alarm_sent_ = false;
    return Ok();
  }
  if (!std::exchange(alarm_sent_, true)) {
    pb::AlarmRequest alarm;
    alarm.set_action(pb::AlarmRequest::ACTIVATE);
    alarm.set_memberid(replica_.member_id());
    alarm.set_alarm(pb::NOSPACE);
    base::LogWarning("alarm raised", {{"alarm", "NOSPACE"}, {"used-bytes", used}});
    base::SpawnNow([](Api* api, std::string bytes) -> Task<void> {
      (void)co_await api->ProposeBytes(Context(), 10, bytes);
    }(this, alarm.SerializeAsString()));
  }
  return mvcc::ErrNoSpace();
}

// ---- KV

void Api::RegisterKv() {
  Unary("etcdserverpb.KV", "Range", &Api::Range);
  Unary("etcdserverpb.KV", "Put", &Api::Put);
  Unary("etcdserverpb.KV", "DeleteRange", &Api::DeleteRange);
  Unary("etcdserverpb.KV", "Txn", &Api::Txn);
  Unary("etcdserverpb.KV", "Compact", &Api::Compact);
  Stream("etcdserverpb.KV", "RangeStream", &Api::RangeStream);
  Stream("etcdserverpb.Watch", "Watch", &Api::Watch);
}

Task<Api::Bytes> Api::Range(const Call& call, std::string request) {
  metrics_->range.Add();
  pb::RangeRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckRange(r));
  if (!r.serializable()) CO_TRY(co_await Barrier(call.ctx));
  co_return Respond(replica_.applier().Range(r));
}

Task<base::Status> Api::RangeStream(base::net::GrpcServerStream& stream) {
  CO_TRY_ASSIGN(auto request, co_await stream.Read());
  if (!request) co_return Unreadable();
  CO_TRY_ASSIGN(std::string response, co_await Range(stream.call(), std::move(*request)));
  std::string wrapped;
  wire::PutBytes(wrapped, 1, response);
  co_return co_await stream.Write(base::Share(std::move(wrapped)));
}

Task<Api::Bytes> Api::Put(const Call& call, std::string request) {
  metrics_->put.Add();
  pb::PutRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckPut(r));
  CO_TRY(CheckQuota(request.size()));
  co_return co_await ProposeBytes(call.ctx, 4, request);
}

Task<Api::Bytes> Api::DeleteRange(const Call& call, std::string request) {
  metrics_->del.Add();
  pb::DeleteRangeRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckDelete(r));
  co_return co_await ProposeBytes(call.ctx, 5, request);
}

Task<Api::Bytes> Api::Txn(const Call& call, std::string request) {
  metrics_->txn.Add();
  pb::TxnRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckTxn(r, options_.max_txn_ops));
  if (mvcc::IsReadOnly(r)) {
    CO_TRY(co_await Barrier(call.ctx));
    co_return Respond(replica_.applier().ReadTxn(r));
  }
  CO_TRY(CheckQuota(request.size()));
  co_return co_await ProposeBytes(call.ctx, 6, request);
}

Task<Api::Bytes> Api::Compact(const Call& call, std::string request) {
  pb::CompactionRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY_ASSIGN(std::string out, co_await ProposeBytes(call.ctx, 7, request));
  // Physical: the answer waits until the space can be used again.
  while (r.physical() && replica_.store().compacting() && !call.ctx.done() && replica_.failure().ok()) {
    co_await base::Yield(call.executor);
  }
  co_return std::move(out);
}

// ---- leases

void Api::RegisterLease() {
  Unary("etcdserverpb.Lease", "LeaseGrant", &Api::LeaseGrant);
  Unary("etcdserverpb.Lease", "LeaseRevoke", &Api::LeaseRevoke);
  Unary("etcdserverpb.Lease", "LeaseTimeToLive", &Api::LeaseTimeToLive);
  Unary("etcdserverpb.Lease", "LeaseLeases", &Api::LeaseLeases);
  Stream("etcdserverpb.Lease", "LeaseKeepAlive", &Api::LeaseKeepAlive);
}

Task<Api::Bytes> Api::LeaseGrant(const Call& call, std::string request) {
  pb::LeaseGrantRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckQuota(request.size()));
  // The id is chosen before the proposal, so that every member grants the same one.
  base::Random random = base::Random::System();
  while (r.id() == 0) r.set_id(static_cast<int64_t>(random.Next() >> 1));
  auto out = co_await ProposeBytes(call.ctx, 8, r.SerializeAsString());
  if (out) metrics_->lease_granted.Add();
  co_return out;
}

Task<Api::Bytes> Api::LeaseRevoke(const Call& call, std::string request) {
  pb::LeaseRevokeRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  auto out = co_await ProposeBytes(call.ctx, 9, request);
  if (out) metrics_->lease_revoked.Add();
  co_return out;
}

Task<Api::Bytes> Api::LeaseTimeToLive(const Call& call, std::string request) {
  pb::LeaseTimeToLiveRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(co_await Barrier(call.ctx));
  pb::LeaseTimeToLiveResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  out.set_id(r.id());
  const mvcc::Lease* lease = replica_.store().leases().Find(r.id());
  auto left = lease == nullptr ? base::Duration(-1)
                               : std::chrono::duration_cast<base::Duration>(lease->expiry - call.executor.Now());
  if (left <= base::Duration::zero()) {
    out.set_ttl(-1);
    co_return out.SerializeAsString();
  }
  out.set_ttl(std::chrono::duration_cast<std::chrono::seconds>(left).count());
  out.set_grantedttl(lease->ttl);
  if (r.keys()) {
    for (const std::string& k : lease->keys) out.add_keys(k);
  }
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::LeaseLeases(const Call& call, std::string request) {
  pb::LeaseLeasesResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  std::vector<std::pair<base::MonoTime, int64_t>> order;
  for (const auto& [id, l] : replica_.store().leases().all()) order.emplace_back(l.expiry, id);
  std::sort(order.begin(), order.end());
  for (const auto& [at, id] : order) out.add_leases()->set_id(id);
  co_return out.SerializeAsString();
}

Task<base::Status> Api::LeaseKeepAlive(base::net::GrpcServerStream& stream) {
  for (;;) {
    CO_TRY_ASSIGN(auto request, co_await stream.Read());
    if (!request) co_return Ok();
    pb::LeaseKeepAliveRequest r;
    if (!r.ParseFromString(*request)) co_return Unreadable();
    // A lease granted before this call must be known, even right after a start.
    CO_TRY(co_await Barrier(stream.call().ctx));
    pb::LeaseKeepAliveResponse out;
    out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
    out.set_id(r.id());
    auto ttl = replica_.store().leases().Renew(r.id(), replica_.executor().Now());
    out.set_ttl(ttl.value_or(0));
    if (ttl) metrics_->lease_renewed.Add();
    CO_TRY(co_await stream.Write(base::Share(out.SerializeAsString())));
  }
}

}  // namespace kvstore::service
