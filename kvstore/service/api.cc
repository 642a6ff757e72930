#include "kvstore/service/api.h"

#include "base/go_duration.h"
#include "base/log.h"
#include "base/next_turn.h"
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

namespace {
base::Status ForLearners() { return base::FailedPrecondition("etcdserver: rpc not supported for learner"); }

// What a member that does not vote answers: how it is, and what it has.
bool LearnerServes(const std::string& service, const std::string& method, const std::string& request) {
  if (method == "Status" || service == "grpc.health.v1.Health") return true;
  pb::RangeRequest r;
  return service == "etcdserverpb.KV" && method == "Range" && r.ParseFromString(request) && r.serializable();
}
}  // namespace

Api::Api(replica::Replica& replica, Pools pools, base::MetricsRegistry& metrics, ApiOptions options)
    : replica_(replica),
      pool_(pools.passwords),
      reader_pool_(pools.readers),
      registry_(metrics),
      options_(std::move(options)),
      // As the original: room for the envelope around the largest request.
      grpc_({.max_receive_bytes = options_.max_request_bytes + (512 << 10)}),
      metrics_(std::make_unique<Metrics>(metrics)) {
  if (options_.quota_backend_bytes == 0) options_.quota_backend_bytes = kDefaultQuotaBytes;
  replica_.applier().auth().SetTokenTtl(options_.tokens.ttl);
  auto seconds = [](base::Duration d) { return std::chrono::duration<double>(d).count(); };
  replica_.on_sync = [this, seconds](base::Duration sync, base::Duration write) {
    metrics_->fsync->Observe(seconds(sync));
    metrics_->log_write->Observe(seconds(write));
  };
  // Measured by turns: every entry of a turn counts with their average.
  replica_.on_apply = [this, seconds](base::Duration took, size_t entries) {
    for (size_t i = 0; i < entries; ++i) metrics_->apply->Observe(seconds(took) / static_cast<double>(entries));
  };
  replica_.on_work = [this, seconds](replica::Replica::Work work, base::Duration took) {
    using enum replica::Replica::Work;
    switch (work) {
      case kCheckpoint:
        return metrics_->checkpoint->Observe(seconds(took));
      case kStateFile:
        return metrics_->state_file->Observe(seconds(took));
      case kDiskSync:
        return metrics_->disk_sync->Observe(seconds(took));
      case kDatabaseSync:
        return metrics_->database_sync->Observe(seconds(took));
      case kDatabaseSave:
        return metrics_->database_save->Observe(seconds(took));
      case kCompaction:
        return metrics_->compaction->Observe(seconds(took) * 1000);
      case kCompactionStep:  // does the index and what hangs on it
        metrics_->compaction_pause->Observe(seconds(took) * 1000);
        return metrics_->index_pause->Observe(seconds(took) * 1000);
    }
  };
  RegisterKv();
  RegisterLease();
  RegisterMaintenance();
  RegisterAuth();
  RegisterConcurrency();
  RegisterCluster();
  RegisterHealth();
}

Api::~Api() {
  replica_.on_sync = nullptr;
  replica_.on_apply = nullptr;
  replica_.on_work = nullptr;
}

void Api::Unary(const std::string& service, const std::string& method, Handler handler) {
  base::Counter* started = &metrics_->started->With({method, service, "unary"});
  base::Counter* ok = &metrics_->handled->With({"OK", method, service, "unary"});
  base::Counter* received = &metrics_->received->With({method, service, "unary"});
  base::Counter* sent = &metrics_->sent->With({method, service, "unary"});
  base::Counter* client = &metrics_->requests->With({"unknown", "unary"});
  base::Histogram* took = &metrics_->request_seconds->With({"true", method});
  auto run = [this, handler, started, ok, received, sent, client, took, service, method](
                 const Call& call, std::string request) -> Task<Bytes> {
    started->Add();
    received->Add();
    if (call.headers.Has("client-api-version")) {
      std::string_view version = metrics_->client_versions.Label(call.headers.Get("client-api-version"));
      metrics_->requests->With({version, "unary"}).Add();
    } else {
      client->Add();
    }
    base::MonoTime from = call.executor.Now();
    size_t size = request.size();
    metrics_->bytes_in->Add(static_cast<double>(size));
    if (NeedsLeader(call) && replica_.leader() == 0) co_return Err(mvcc::ErrNoLeader());
    if (replica_.is_learner() && !LearnerServes(service, method, request)) co_return Err(ForLearners());
    Bytes out = co_await (this->*handler)(call, std::move(request));
    base::Duration spent = call.executor.Now() - from;
    if (spent > options_.slow_request) TellSlow(call, "/" + service + "/" + method, spent, size, out ? out->size() : 0);
    if (out) {
      ok->Add();
      sent->Add();
      took->Observe(std::chrono::duration<double>(spent).count());
      metrics_->bytes_out->Add(static_cast<double>(out->size()));
    } else {
      metrics_->handled->With({GrpcCodeLabel(out.error().code()), method, service, "unary"}).Add();
    }
    co_return out;
  };
  grpc_.Unary("/" + service + "/" + method, run);
  unary_["/" + service + "/" + method] = run;
}

void Api::TellSlow(const Call& call, const std::string& method, base::Duration took, size_t in, size_t out) const {
  base::LogWarning("request stats", {{"time spent", base::FormatGoDuration(took)},
                                     {"remote", call.peer.address},
                                     {"response type", method},
                                     {"request size", in},
                                     {"response size", out}});
}

void Api::Stream(const std::string& service, const std::string& method,
                 Task<base::Status> (Api::*handler)(base::net::GrpcServerStream&)) {
  base::Counter* started = &metrics_->started->With({method, service, "bidi_stream"});
  auto run = [this, handler, started, service, method](base::net::GrpcServerStream& s) -> Task<base::Status> {
    started->Add();
    if (NeedsLeader(s.call()) && replica_.leader() == 0) co_return mvcc::ErrNoLeader();
    if (replica_.is_learner() && method != "Snapshot" && service != "grpc.health.v1.Health") co_return ForLearners();
    Context here = s.call().ctx.WithCancel();
    if (NeedsLeader(s.call())) base::SpawnNow(EndWithoutLeader(here, s.call().ctx));
    base::Status out = co_await (this->*handler)(s);
    here.Cancel();
    metrics_->handled->With({GrpcCodeLabel(out.code()), method, service, "bidi_stream"}).Add();
    co_return out;
  };
  grpc_.Stream("/" + service + "/" + method, run);
  streams_["/" + service + "/" + method] = run;
}

// A stream whose client asks for a leader ends after three election timeouts without one; until `here` does.
Task<void> Api::EndWithoutLeader(Context here, Context stream) {
  constexpr int kChances = 3;
  for (int missed = 0; missed < kChances;) {
    if (!(co_await base::Sleep(replica_.executor(), here, replica_.ElectionTimeout())).ok()) co_return;
    missed = replica_.leader() == 0 ? missed + 1 : 0;
  }
  stream.Cancel(mvcc::ErrNoLeader());
}

void Api::RegisterHealth() {
  Unary("etcdserverpb.Maintenance", "Downgrade", &Api::Downgrade);
  Unary("grpc.health.v1.Health", "Check", &Api::HealthCheck);
  Stream("grpc.health.v1.Health", "Watch", &Api::HealthWatch);
}

std::string_view TrafficName(Surface surface) {
  static constexpr std::string_view kNames[] = {"grpc+http", "grpc", "http", "metrics"};
  return kNames[static_cast<size_t>(surface)];
}

Task<void> Api::Handle(base::net::Exchange& exchange, Surface surface) {
  bool grpc = base::net::GrpcService::Accepts(exchange);
  if (grpc && (surface == Surface::kAll || surface == Surface::kGrpc)) {
    co_await grpc_.Serve(exchange);
  } else if (!grpc && (surface == Surface::kAll || surface == Surface::kHttp)) {
    co_await HandleHttp(exchange);
  } else if (base::net::Headers headers; surface != Surface::kHealth || !co_await HandleHealth(exchange, headers)) {
    bool wrong_kind = surface == Surface::kGrpc;
    headers.Set("content-type", "text/plain; charset=utf-8");
    (void)co_await exchange.Respond(wrong_kind ? 415 : 404, std::move(headers),
                                    std::string(wrong_kind ? "this port serves gRPC alone\n" : "404 page not found\n"));
  }
}

std::string Api::Header(int64_t revision) const {
  std::string h;
  h.reserve(44);
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

Task<Api::Bytes> Api::ProposeBytes(const Call& call, uint32_t field, std::string_view request) {
  mvcc::Identity who;
  if (replica_.applier().auth().enabled()) {
    CO_TRY_ASSIGN(who, Caller(call));
  }
  co_return co_await ProposeAs(call.ctx, std::move(who), field, request);
}

Task<Api::Bytes> Api::ProposeAs(Context ctx, mvcc::Identity who, uint32_t field, std::string_view request) {
  if (request.size() > options_.max_request_bytes) co_return Err(mvcc::ErrRequestTooLarge());
  std::string fields;
  fields.reserve(request.size() + 32);
  wire::PutBytes(fields, field, request);
  auto answer = co_await replica_.Propose(ctx, std::move(fields), std::move(who));
  if (!answer) co_return Err(answer.error());
  co_return Respond(*answer);
}

Task<base::Status> Api::Barrier(Context ctx) {
  if (replica_.ReadsAreCurrent()) co_return Ok();
  co_return co_await replica_.ReadBarrier(ctx);
}

bool Api::HasRoom(size_t cost) const {
  if (cost == 0 || options_.quota_backend_bytes < 0) return true;
  return replica_.store().size_bytes() + cost < static_cast<uint64_t>(options_.quota_backend_bytes);
}

// Above the quota writes are refused and the member says so in an alarm that only an operator takes back.
Task<base::Status> Api::NoSpace(Context ctx) {
  if (!replica_.applier().no_space() && !std::exchange(raising_alarm_, true)) {
    pb::AlarmRequest alarm;
    alarm.set_action(pb::AlarmRequest::ACTIVATE);
    alarm.set_memberid(replica_.member_id());
    alarm.set_alarm(pb::NOSPACE);
    base::LogWarning("alarm raised", {{"alarm", "NOSPACE"}, {"used-bytes", replica_.store().size_bytes()}});
    (void)co_await ProposeAs(ctx, replica_.applier().auth().Root(), 10, alarm.SerializeAsString());
    raising_alarm_ = false;
  }
  co_return mvcc::ErrNoSpace();
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

Task<Api::Bytes> Api::Put(const Call& call, std::string request) {
  pb::PutRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckPut(r));
  if (!HasRoom(CostOf(r))) co_return Err(co_await NoSpace(call.ctx));
  co_return co_await ProposeBytes(call, 4, request);
}

Task<Api::Bytes> Api::DeleteRange(const Call& call, std::string request) {
  pb::DeleteRangeRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckDelete(r));
  co_return co_await ProposeBytes(call, 5, request);
}

Task<Api::Bytes> Api::Txn(const Call& call, std::string request) {
  pb::TxnRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(CheckTxn(r, options_.max_txn_ops));
  if (mvcc::IsReadOnly(r)) {
    CO_TRY(co_await Barrier(call.ctx));
    CO_TRY_ASSIGN(mvcc::Identity who, Caller(call));
    CO_TRY(replica_.applier().auth().MayRun(who, r));
    co_return Respond(replica_.applier().ReadTxn(r));
  }
  if (!HasRoom(CostOf(r))) co_return Err(co_await NoSpace(call.ctx));
  co_return co_await ProposeBytes(call, 6, request);
}

Task<Api::Bytes> Api::Compact(const Call& call, std::string request) {
  pb::CompactionRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(MustAdminister(call));
  Bytes out = co_await ProposeBytes(call, 7, request);
  // Physical: the answer waits until the space can be used again; also that it was compacted already.
  auto busy = [&store = replica_.store()] { return store.compacting() || store.hashing(); };
  while (r.physical() && busy() && !call.ctx.done() && replica_.failure().ok()) {
    co_await base::NextTurn(call.executor);
  }
  co_return out;
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
  CO_TRY(MustBeSomeone(call));
  if (!HasRoom(kLeaseCost)) co_return Err(co_await NoSpace(call.ctx));
  // The id is chosen before the proposal, so that every member grants the same one.
  base::Random random = base::Random::System();
  while (r.id() == 0) r.set_id(static_cast<int64_t>(random.Next() >> 1));
  auto out = co_await ProposeBytes(call, 8, r.SerializeAsString());
  if (out) metrics_->lease_ttl->Observe(static_cast<double>(r.ttl()));
  co_return out;
}

Task<Api::Bytes> Api::LeaseRevoke(const Call& call, std::string request) {
  pb::LeaseRevokeRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(MustBeSomeone(call));
  co_return co_await ProposeBytes(call, 9, request);
}

Task<Api::Bytes> Api::LeaseTimeToLive(const Call& call, std::string request) {
  pb::LeaseTimeToLiveRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(co_await Barrier(call.ctx));
  CO_TRY(MustBeSomeone(call));
  CO_TRY_ASSIGN(mvcc::Identity who, Caller(call));
  if (r.keys()) CO_TRY(replica_.applier().auth().MayReadLease(who, r.id()));
  CO_TRY_ASSIGN(auto times, co_await replica_.LeaseTimeToLive(call.ctx, r.id(), r.keys()));
  pb::LeaseTimeToLiveResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  out.set_id(r.id());
  out.set_ttl(times.ttl);
  out.set_grantedttl(times.granted);
  for (std::string& k : times.keys) out.add_keys(std::move(k));
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::LeaseLeases(const Call& call, std::string request) {
  CO_TRY(MustBeSomeone(call));
  CO_TRY_ASSIGN(mvcc::Identity who, Caller(call));
  for (const auto& [id, l] : replica_.store().leases().all()) CO_TRY(replica_.applier().auth().MayReadLease(who, id));
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
    CO_TRY(MustBeSomeone(stream.call()));
    CO_TRY_ASSIGN(mvcc::Identity who, Caller(stream.call()));
    CO_TRY(replica_.applier().auth().MayWriteLease(who, r.id()));
    CO_TRY_ASSIGN(int64_t ttl, co_await replica_.RenewLease(stream.call().ctx, r.id()));
    pb::LeaseKeepAliveResponse out;
    out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
    out.set_id(r.id());
    out.set_ttl(ttl);
    if (ttl > 0) metrics_->lease_renewed->Add();
    CO_TRY(co_await stream.Write(base::Share(out.SerializeAsString())));
  }
}

}  // namespace kvstore::service
