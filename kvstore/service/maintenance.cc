// Maintenance and the health service.
#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/hash.h"
#include "kvstore/service/api_impl.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Err;
using base::Ok;
using base::Task;
namespace pb = etcdserverpb;

namespace {
constexpr size_t kSnapshotPiece = 64 << 10;
// What the original's database has before the first key: clients divide by it.
constexpr uint64_t kEmptyDatabase = 20480, kEmptyInUse = 16384;
}  // namespace

void Api::RegisterMaintenance() {
  const std::string maintenance = "etcdserverpb.Maintenance";
  Unary(maintenance, "Status", &Api::Status);
  Unary(maintenance, "HashKV", &Api::HashKv);
  Unary(maintenance, "Hash", &Api::Hash);
  Unary(maintenance, "Alarm", &Api::Alarm);
  Unary(maintenance, "Defragment", &Api::Defragment);
  Stream(maintenance, "Snapshot", &Api::Snapshot);
}

Task<Api::Bytes> Api::Status(const Call& call, std::string request) {
  CO_TRY(MustBeSomeone(call));
  pb::StatusResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  out.set_version(std::string(replica::kServerVersion));
  out.set_dbsize(static_cast<int64_t>(std::max<uint64_t>(replica_.store().size_bytes(), kEmptyDatabase)));
  out.set_dbsizeinuse(static_cast<int64_t>(std::max<uint64_t>(replica_.store().size_in_use_bytes(), kEmptyInUse)));
  out.set_leader(replica_.leader());
  out.set_raftindex(replica_.committed_index());
  out.set_raftterm(replica_.term());
  out.set_raftappliedindex(replica_.applied_index());
  out.set_storageversion(std::string(replica::kClusterVersion));
  out.set_dbsizequota(std::max<int64_t>(options_.quota_backend_bytes, 0));
  if (std::string target = replica_.applier().downgrade_target(); !target.empty()) {
    out.mutable_downgradeinfo()->set_enabled(true);
    out.mutable_downgradeinfo()->set_targetversion(target);
  }
  out.mutable_downgradeinfo();
  out.set_islearner(replica_.is_learner());
  if (replica_.leader() == 0) out.add_errors("etcdserver: no leader");
  for (const auto& [key, empty] : replica_.store().buckets()["alarm"]) {
    pb::AlarmMember m;
    if (m.ParseFromString(key)) {
      out.add_errors("memberID:" + std::to_string(m.memberid()) + " alarm:" + pb::AlarmType_Name(m.alarm()) + " ");
    }
  }
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::HashKv(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  pb::HashKVRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  Stopwatch watch(call.executor, *metrics_->hash_kv_seconds);
  base::Result<mvcc::Store::Hash> known = mvcc::Store::Hash();
  if (auto compaction = replica_.store().CompactionHash(r.revision())) {
    known = *compaction;
  } else {
    known = co_await replica::HashKv(replica_, reader_pool_, call.ctx, r.revision());
  }
  CO_TRY_ASSIGN(mvcc::Store::Hash hash, known);
  pb::HashKVResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  out.set_hash(hash.hash);
  out.set_compact_revision(hash.compact_revision);
  out.set_hash_revision(hash.revision);
  co_return out.SerializeAsString();
}

Task<base::Result<replica::DatabaseImage>> Api::TakeImage(const Call& call) {
  return replica::TakeImage(replica_.store(), replica_.Mark(), call.executor, [ctx = call.ctx] { return !ctx.done(); });
}

// Over everything a snapshot would hold, bucket by bucket.
Task<Api::Bytes> Api::Hash(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  Stopwatch watch(call.executor, *metrics_->hash_seconds);
  CO_TRY_ASSIGN(auto image, co_await TakeImage(call));
  auto work = [&image] { return replica::HashDatabase(std::move(image)); };
  CO_TRY_ASSIGN(uint32_t crc, co_await base::RunBlocking(reader_pool_, call.executor, work));
  pb::HashResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  out.set_hash(crc);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::Alarm(const Call& call, std::string request) {
  pb::AlarmRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(r.action() == pb::AlarmRequest::GET ? MustBeSomeone(call) : MustAdminister(call));
  co_return co_await ProposeBytes(call, 10, request);
}

// Most of what is free comes back by itself, segment by segment; the rest when it is asked for. Nobody waits for it.
Task<Api::Bytes> Api::Defragment(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  Stopwatch watch(call.executor, *metrics_->defragment);
  uint64_t before = replica_.store().size_bytes();
  base::LogInfo("starting defragment");
  CO_TRY(co_await replica_.Defragment(call.ctx));
  base::LogInfo("finished defragment", {{"size-before", before}, {"size-after", replica_.store().size_bytes()}});
  pb::DefragmentResponse out;
  co_return out.SerializeAsString();
}

Task<base::Status> Api::Snapshot(base::net::GrpcServerStream& stream) {
  CO_TRY_ASSIGN(auto request, co_await stream.Read());
  CO_TRY(MustAdminister(stream.call()));
  Stopwatch watch(stream.call().executor, *metrics_->snapshot_seconds);
  const Call& call = stream.call();
  CO_TRY_ASSIGN(auto image, co_await TakeImage(call));
  // Made while it is sent: a backup writes nothing to the disk that everybody's puts wait for.
  auto make = [&] { return replica::DatabaseStream::Make(std::move(image)); };
  CO_TRY_ASSIGN(auto database, co_await base::RunBlocking(reader_pool_, call.executor, make));
  uint64_t left = database->size();
  base::LogInfo("sending database snapshot to client", {{"total-bytes", left}});
  base::Sha256Stream sha;
  auto send = [&](std::string_view blob, uint64_t remaining) {
    std::string out;
    wire::PutNonZero(out, 2, remaining);
    wire::PutBytes(out, 3, blob);
    wire::PutBytes(out, 4, replica::kClusterVersion);
    return stream.Write(base::Share(std::move(out)));
  };
  auto read = [&]() -> base::Result<std::string> {
    TRY_ASSIGN(std::string piece, database->Next());
    sha.Add(piece);
    return piece;
  };
  for (;;) {
    CO_TRY_ASSIGN(std::string piece, co_await base::RunBlocking(reader_pool_, call.executor, read));
    if (piece.empty()) break;
    for (std::string_view rest = piece; !rest.empty();) {
      std::string_view part = rest.substr(0, kSnapshotPiece);
      rest.remove_prefix(part.size());
      left -= part.size();
      CO_TRY(co_await send(part, left));
    }
  }
  co_return co_await send(sha.Finish(), 0);
}

}  // namespace kvstore::service
