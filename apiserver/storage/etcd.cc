#include "apiserver/storage/etcd.h"

#include <cstdio>

#include "base/log.h"
#include "base/net/grpc.h"
#include "base/prefix_end.h"
#include "base/sync.h"
#include "proto/etcd/rpc.pb.h"

namespace apiserver::storage {

namespace pb = etcdserverpb;
using base::net::GrpcChannel;
using base::net::GrpcClientStream;

namespace {

constexpr size_t kMaxMessage = size_t{1} << 30;
constexpr int kReadAttempts = 5;
constexpr base::Duration kReadBackoff = std::chrono::milliseconds(100);
// Keys that expire share leases, as they are many and short: a lease serves all keys of a minute.
constexpr int64_t kLeaseReuseSeconds = 60;
constexpr int kLeaseReuseKeys = 1000;

KeyValue FromWire(mvccpb::KeyValue& kv) {
  return {std::move(*kv.mutable_key()), base::Share(std::move(*kv.mutable_value())),
          static_cast<uint64_t>(kv.mod_revision()), static_cast<uint64_t>(kv.create_revision())};
}

}  // namespace

bool ProgressReliable(const std::string& version) {
  int major = 0, minor = 0, patch = 0;
  if (std::sscanf(version.c_str(), "%d.%d.%d", &major, &minor, &patch) != 3) return false;
  if (major != 3) return major > 3;
  if (minor == 4) return patch >= 31;
  if (minor == 5) return patch >= 13;
  return minor > 5;
}

struct EtcdStorage::Impl {
  Impl(base::Loop& loop, EtcdOptions o)
      : loop(loop),
        timeout(o.request_timeout),
        channel(loop, {.endpoints = std::move(o.servers), .tls = std::move(o.tls), .http2_prior_knowledge = true},
                {.max_receive_bytes = kMaxMessage}) {}

  base::Loop& loop;
  base::Duration timeout;
  GrpcChannel channel;
  std::string version;
  int64_t lease = 0;
  int64_t lease_ttl = 0;
  int lease_keys = 0;
  base::MonoTime lease_until{};

  // One call; `again`: it changes nothing, so it may be repeated.
  template <class In, class Out>
  base::Task<base::Result<Out>> Call(base::Context ctx, std::string_view method, In in, bool again);
  template <class Kv>
  base::Task<base::Result<WriteResult>> Txn(base::Context ctx, std::string key, uint64_t expected, Kv success);
  base::Task<base::Result<int64_t>> LeaseFor(base::Context ctx, int64_t ttl_seconds);
};

template <class In, class Out>
base::Task<base::Result<Out>> EtcdStorage::Impl::Call(base::Context ctx, std::string_view method, In in, bool again) {
  auto bytes = base::Share(in.SerializeAsString());
  for (int attempt = 1;; ++attempt) {
    auto answer = co_await channel.Unary(ctx.WithTimeout(loop, timeout), method, bytes);
    if (answer) {
      Out out;
      if (!out.ParseFromString(*answer)) co_return base::Err(base::DataLoss("the store's answer does not parse"));
      co_return out;
    }
    bool worth = again && answer.error().code() == base::Code::kUnavailable && attempt < kReadAttempts;
    if (!worth) co_return base::Err(answer.error());
    CO_TRY(co_await base::Sleep(loop, ctx, kReadBackoff * attempt));
  }
}

// Put or delete under the condition that the key's mod revision is `expected`; reads it otherwise.
template <class Kv>
base::Task<base::Result<WriteResult>> EtcdStorage::Impl::Txn(base::Context ctx, std::string key, uint64_t expected,
                                                             Kv success) {
  pb::TxnRequest txn;
  auto* compare = txn.add_compare();
  compare->set_target(pb::Compare::MOD);
  compare->set_result(pb::Compare::EQUAL);
  compare->set_key(key);
  compare->set_mod_revision(static_cast<int64_t>(expected));
  if constexpr (std::is_same_v<Kv, pb::PutRequest>)
    *txn.add_success()->mutable_request_put() = std::move(success);
  else
    *txn.add_success()->mutable_request_delete_range() = std::move(success);
  txn.add_failure()->mutable_request_range()->set_key(key);
  auto answer = co_await Call<pb::TxnRequest, pb::TxnResponse>(ctx, "/etcdserverpb.KV/Txn", std::move(txn), false);
  if (!answer) co_return base::Err(answer.error());
  WriteResult r{.written = answer->succeeded(), .revision = static_cast<uint64_t>(answer->header().revision())};
  if (!r.written && answer->responses_size() == 1) {
    auto* range = answer->mutable_responses(0)->mutable_response_range();
    if (range->kvs_size() > 0) r.current = FromWire(*range->mutable_kvs(0));
  }
  co_return r;
}

base::Task<base::Result<int64_t>> EtcdStorage::Impl::LeaseFor(base::Context ctx, int64_t ttl_seconds) {
  if (ttl_seconds <= 0) co_return 0;
  if (lease && lease_ttl == ttl_seconds && loop.Now() < lease_until && ++lease_keys <= kLeaseReuseKeys) co_return lease;
  pb::LeaseGrantRequest grant;
  grant.set_ttl(ttl_seconds + kLeaseReuseSeconds);
  auto answer = co_await Call<pb::LeaseGrantRequest, pb::LeaseGrantResponse>(ctx, "/etcdserverpb.Lease/LeaseGrant",
                                                                             std::move(grant), true);
  if (!answer) co_return base::Err(answer.error());
  lease = answer->id();
  lease_ttl = ttl_seconds;
  lease_keys = 1;
  lease_until = loop.Now() + std::chrono::seconds(kLeaseReuseSeconds);
  co_return lease;
}

EtcdStorage::EtcdStorage(base::Loop& loop, EtcdOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(options))) {}
EtcdStorage::~EtcdStorage() = default;

const std::string& EtcdStorage::version() const { return impl_->version; }
bool EtcdStorage::progress_reliable() const { return ProgressReliable(impl_->version); }

base::Task<base::Status> EtcdStorage::Connect(base::Context ctx) {
  base::Duration backoff = std::chrono::milliseconds(20);
  bool told = false;
  while (true) {
    auto answer =
        co_await impl_->Call<pb::StatusRequest, pb::StatusResponse>(ctx, "/etcdserverpb.Maintenance/Status", {}, false);
    if (answer) {
      impl_->version = answer->version();
      co_return base::Ok();
    }
    CO_TRY(ctx.status());
    if (!std::exchange(told, true)) base::LogInfo("Waiting for the store", {{"err", answer.error()}});
    CO_TRY(co_await base::Sleep(impl_->loop, ctx, backoff));
    backoff = std::min<base::Duration>(backoff * 2, std::chrono::seconds(1));
  }
}

base::Task<base::Result<GetResult>> EtcdStorage::Get(base::Context ctx, std::string key, uint64_t revision) {
  pb::RangeRequest range;
  range.set_key(std::move(key));
  range.set_revision(static_cast<int64_t>(revision));
  auto answer =
      co_await impl_->Call<pb::RangeRequest, pb::RangeResponse>(ctx, "/etcdserverpb.KV/Range", std::move(range), true);
  if (!answer) co_return base::Err(answer.error());
  GetResult r{.revision = static_cast<uint64_t>(answer->header().revision())};
  if (answer->kvs_size() > 0) r.kv = FromWire(*answer->mutable_kvs(0));
  co_return r;
}

base::Task<base::Result<ListResult>> EtcdStorage::List(base::Context ctx, std::string prefix, ListOptions options) {
  pb::RangeRequest range;
  range.set_range_end(base::PrefixEnd(prefix));
  range.set_key(std::max(std::move(prefix), std::move(options.start_key)));
  range.set_limit(static_cast<int64_t>(options.limit));
  range.set_revision(static_cast<int64_t>(options.revision));
  auto answer =
      co_await impl_->Call<pb::RangeRequest, pb::RangeResponse>(ctx, "/etcdserverpb.KV/Range", std::move(range), true);
  if (!answer) co_return base::Err(answer.error());
  ListResult r{.more = answer->more(),
               .count = static_cast<uint64_t>(answer->count()),
               .revision = static_cast<uint64_t>(answer->header().revision())};
  r.kvs.reserve(answer->kvs_size());
  for (auto& kv : *answer->mutable_kvs()) r.kvs.push_back(FromWire(kv));
  co_return r;
}

base::Task<base::Result<WriteResult>> EtcdStorage::Create(base::Context ctx, std::string key, base::SharedBytes value,
                                                          int64_t ttl_seconds) {
  co_return co_await Update(std::move(ctx), std::move(key), std::move(value), 0, ttl_seconds);
}

base::Task<base::Result<WriteResult>> EtcdStorage::Update(base::Context ctx, std::string key, base::SharedBytes value,
                                                          uint64_t expected, int64_t ttl_seconds) {
  pb::PutRequest put;
  put.set_key(key);
  put.set_value(*value);
  CO_TRY_ASSIGN(int64_t lease, co_await impl_->LeaseFor(ctx, ttl_seconds));
  put.set_lease(lease);
  co_return co_await impl_->Txn(std::move(ctx), std::move(key), expected, std::move(put));
}

base::Task<base::Result<WriteResult>> EtcdStorage::Delete(base::Context ctx, std::string key, uint64_t expected) {
  // "Absent" is a revision too: a delete of what is not there must not count as done.
  if (expected == 0) co_return base::Err(base::InvalidArgument("a delete needs the revision it is based on"));
  pb::DeleteRangeRequest del;
  del.set_key(key);
  co_return co_await impl_->Txn(std::move(ctx), std::move(key), expected, std::move(del));
}

base::Task<base::Result<uint64_t>> EtcdStorage::CurrentRevision(base::Context ctx) {
  // Any linearizable read tells the revision; an absent key is the cheapest.
  CO_TRY_ASSIGN(GetResult got, co_await Get(std::move(ctx), "/registry/health", 0));
  co_return got.revision;
}

base::Task<base::Status> EtcdStorage::Compact(base::Context ctx, uint64_t revision) {
  pb::CompactionRequest compact;
  compact.set_revision(static_cast<int64_t>(revision));
  auto answer = co_await impl_->Call<pb::CompactionRequest, pb::CompactionResponse>(ctx, "/etcdserverpb.KV/Compact",
                                                                                    std::move(compact), false);
  co_return answer ? base::Ok() : answer.error();
}

// --- watch ---

namespace {

class EtcdWatcher final : public Watcher {
 public:
  explicit EtcdWatcher(std::unique_ptr<GrpcClientStream> stream) : stream_(std::move(stream)) {}

  base::Task<base::Result<std::vector<Event>>> Next(base::Context ctx) override {
    std::vector<Event> events;
    while (true) {
      CO_TRY_ASSIGN(auto message, co_await stream_->Read(ctx));
      if (!message) co_return base::Err(base::Unavailable("the store ended the watch"));
      pb::WatchResponse response;
      if (!response.ParseFromString(*message))
        co_return base::Err(base::DataLoss("the store's watch answer does not parse"));
      if (response.compact_revision() > 0) co_return base::Err(base::OutOfRange("the watched revision is compacted"));
      if (response.canceled()) co_return base::Err(base::Unavailable("watch canceled: " + response.cancel_reason()));
      if (response.created()) continue;
      for (auto& e : *response.mutable_events()) {
        bool deleted = e.type() == mvccpb::Event::DELETE;
        events.push_back({deleted ? EventType::kDelete : EventType::kPut, FromWire(*e.mutable_kv())});
      }
      // A response without events is progress: all up to its revision has been delivered.
      if (response.events_size() == 0 && !response.fragment())
        events.push_back({EventType::kProgress, {"", nullptr, static_cast<uint64_t>(response.header().revision()), 0}});
      if (!response.fragment() && !events.empty()) co_return events;
    }
  }

  base::Task<base::Status> RequestProgress(base::Context ctx) override {
    pb::WatchRequest request;
    request.mutable_progress_request();
    co_return co_await stream_->Write(std::move(ctx), base::Share(request.SerializeAsString()));
  }

 private:
  std::unique_ptr<GrpcClientStream> stream_;
};

}  // namespace

base::Task<base::Result<std::unique_ptr<Watcher>>> EtcdStorage::Watch(base::Context ctx, std::string prefix,
                                                                      uint64_t from) {
  CO_TRY_ASSIGN(auto stream, co_await impl_->channel.Open(ctx, "/etcdserverpb.Watch/Watch"));
  pb::WatchRequest request;
  auto* create = request.mutable_create_request();
  create->set_range_end(base::PrefixEnd(prefix));
  create->set_key(std::move(prefix));
  create->set_start_revision(static_cast<int64_t>(from));
  create->set_progress_notify(progress_reliable());
  create->set_fragment(true);
  CO_TRY(co_await stream->Write(ctx, base::Share(request.SerializeAsString())));
  std::unique_ptr<Watcher> watcher = std::make_unique<EtcdWatcher>(std::move(stream));
  co_return watcher;
}

}  // namespace apiserver::storage
