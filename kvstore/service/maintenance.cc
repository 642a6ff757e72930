// Maintenance and the health service.
#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "base/next_turn.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/replica/import.h"
#include "kvstore/service/api_impl.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Err;
using base::Ok;
using base::Task;
namespace pb = etcdserverpb;

namespace {
constexpr size_t kSnapshotPiece = 64 << 10;
constexpr size_t kKeysPerTurn = 4096;
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
  Stopwatch watch(call.executor, metrics_->hash_kv_seconds);
  mvcc::Store& store = replica_.store();
  CO_TRY(store.CheckRevision(r.revision()));
  int64_t revision = r.revision() > 0 ? r.revision() : store.revision();
  mvcc::Gather gather = mvcc::Gather::Hashed(store, revision);
  for (;;) {
    CO_TRY_ASSIGN(bool more, gather.Step(kKeysPerTurn));
    if (!more) break;
    co_await base::NextTurn(call.executor);
    if (call.ctx.done()) co_return Err(call.ctx.status());
  }
  CO_TRY_ASSIGN(mvcc::View view, gather.Finish());
  auto work = [&view] {
    mvcc::Sort(view);
    return mvcc::HashOf(view);
  };
  CO_TRY_ASSIGN(uint32_t hash, co_await base::RunBlocking(reader_pool_, call.executor, work));
  pb::HashKVResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  out.set_hash(hash);
  out.set_compact_revision(view.compact_revision);
  out.set_hash_revision(revision);
  co_return out.SerializeAsString();
}

Task<base::Result<replica::DatabaseImage>> Api::TakeImage(const Call& call) {
  return replica::TakeImage(replica_.store(), replica_.Mark(), call.executor, [ctx = call.ctx] { return !ctx.done(); });
}

// Over everything a snapshot would hold, bucket by bucket.
Task<Api::Bytes> Api::Hash(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  Stopwatch watch(call.executor, metrics_->hash_seconds);
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
  auto out = co_await ProposeBytes(call, 10, request);
  if (out && r.action() == pb::AlarmRequest::DEACTIVATE) alarm_sent_ = false;
  co_return out;
}

// Space comes back by itself, segment by segment; there is nothing to stop the world for.
Task<Api::Bytes> Api::Defragment(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  base::LogInfo("defragment request: nothing to do, space is reclaimed continuously");
  pb::DefragmentResponse out;
  co_return out.SerializeAsString();
}

Task<base::Status> Api::Snapshot(base::net::GrpcServerStream& stream) {
  CO_TRY_ASSIGN(auto request, co_await stream.Read());
  CO_TRY(MustAdminister(stream.call()));
  Stopwatch watch(stream.call().executor, metrics_->snapshot_seconds);
  const Call& call = stream.call();
  CO_TRY_ASSIGN(auto image, co_await TakeImage(call));
  // The database is built as a file of its own, so that a slow reader holds nothing but disk space.
  std::string path = options_.scratch_dir + "/snapshot." + std::to_string(++next_snapshot_) + ".tmp";
  auto make = [&]() -> base::Result<std::unique_ptr<base::File>> {
    TRY(fs_.MakeDirectories(options_.scratch_dir));
    TRY_ASSIGN(auto out, fs_.Open(path, base::OpenMode::kCreate));
    // The name goes at once; the file lives as long as it is open.
    TRY(fs_.Remove(path));
    TRY(out->Truncate(0));
    TRY(replica::WriteDatabase(std::move(image), *out));
    return out;
  };
  CO_TRY_ASSIGN(auto file, co_await base::RunBlocking(reader_pool_, call.executor, make));
  CO_TRY_ASSIGN(uint64_t size, file->Size());
  base::LogInfo("sending database snapshot to client", {{"total-bytes", size}});
  base::Sha256Stream sha;
  auto send = [&](std::string_view blob, uint64_t remaining) {
    std::string out;
    wire::PutNonZero(out, 2, remaining);
    wire::PutBytes(out, 3, blob);
    wire::PutBytes(out, 4, replica::kClusterVersion);
    return stream.Write(base::Share(std::move(out)));
  };
  for (uint64_t at = 0; at < size;) {
    CO_TRY_ASSIGN(std::string piece, file->ReadAt(at, kSnapshotPiece));
    if (piece.empty()) co_return base::DataLoss("etcdserver: snapshot file is short");
    sha.Add(piece);
    at += piece.size();
    CO_TRY(co_await send(piece, size - at));
  }
  co_return co_await send(sha.Finish(), 0);
}

}  // namespace kvstore::service
