// The other end of the transport: what is asked on the peer port.
#include <chrono>
#include <cstdlib>
#include <ctime>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/protobuf_wire.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/peer/http_transport_impl.h"
#include "kvstore/replica/hash.h"
#include "kvstore/replica/import.h"
#include "kvstore/transcode/json.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::peer {

namespace wire = base::wire;

using base::Context;
using base::Err;
using base::Ok;
using base::Result;
using base::Status;
using base::Task;
using raft::Message;
using raft::MessageType;
using raft::NodeId;

namespace {

constexpr base::Duration kHeartbeatEvery = kReadTimeout / 3;
constexpr size_t kSyncEvery = 1 << 20;  // of a database that comes in
constexpr size_t kWriteBatch = 1 << 20;
constexpr size_t kMaxLeaseRequest = 1 << 20;

}  // namespace

Task<void> HttpTransport::Text(base::net::Exchange& e, int status, std::string text) {
  base::net::Headers h;
  h.Add("content-type", "text/plain; charset=utf-8");
  h.Add("x-etcd-cluster-id", Hex(replica_.cluster_id()));
  h.Add("x-server-version", std::string(replica::kServerVersion));
  (void)co_await e.Respond(status, std::move(h), std::move(text));
}

Task<void> HttpTransport::Handle(base::net::Exchange& e) {
  std::string_view path = e.path();
  if (path == "/raft" || (path.starts_with("/raft/") && path != "/raft/probing")) {
    co_await ServeRaft(e);
  } else if (path == "/raft/probing") {
    auto now = std::chrono::floor<std::chrono::seconds>(loop_.WallNow());
    std::time_t seconds = now.time_since_epoch().count();
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    co_await Text(e, 200, "{\"OK\":true,\"Now\":\"" + std::string(text) + "\"}\n");
  } else if (path == "/members") {
    std::string list;
    for (const mvcc::Member& m : replica_.Members()) list += (list.empty() ? "" : ",") + mvcc::MemberToJson(m);
    co_await Text(e, 200, "[" + list + "]\n");
  } else if (path == "/members/hashkv") {
    co_await ServeHash(e);
  } else if (path.starts_with("/members/promote/")) {
    co_await ServePromote(e);
  } else if (path == "/leases" || path == "/leases/internal") {
    co_await ServeLease(e);
  } else if (path == "/version") {
    base::JsonWriter w;
    w.BeginObject().Key("etcdserver").String(replica::kServerVersion);
    w.Key("etcdcluster").String(replica_.ClusterVersion()).Key("storage").String(replica::kClusterVersion).EndObject();
    co_await Text(e, 200, w.Take());
  } else if (path == "/downgrade/enabled") {
    co_await Text(e, 200, "false");
  } else {
    co_await Text(e, 404, "404 page not found\n");
  }
}

std::string HttpTransport::Incompatibility(const base::net::Headers& h) const {
  int theirs = replica::MajorMinor(h.Get("x-server-version")),
      they_need = replica::MajorMinor(h.Get("x-min-cluster-version"));
  if (theirs < replica::MajorMinor(kMinClusterVersion) || they_need > replica::MajorMinor(replica::kServerVersion)) {
    return "incompatible version\n";
  }
  return h.Get("x-etcd-cluster-id") == Hex(replica_.cluster_id()) ? "" : "cluster ID mismatch\n";
}

Task<void> HttpTransport::ServeRaft(base::net::Exchange& e) {
  if (std::string why = Incompatibility(e.headers()); !why.empty()) {
    base::LogWarning("request from a peer was refused",
                     {{"remote-peer-server-name", e.headers().Get("x-server-from")},
                      {"remote-peer-cluster-id", e.headers().Get("x-etcd-cluster-id")},
                      {"local-member-cluster-id", Hex(replica_.cluster_id())},
                      {"error", std::string_view(why).substr(0, why.size() - 1)}});
    co_return co_await Text(e, 412, std::move(why));
  }
  if (e.path().starts_with("/raft/stream/")) co_return co_await ServeStream(e);
  if (e.method() != "POST") co_return co_await Text(e, 405, "Method Not Allowed\n");
  AddRemote(e.headers());
  NodeId from = ParseHex(e.headers().Get("x-server-from"));
  if (replica_.IsRemoved(from)) co_return co_await Text(e, 403, "cannot process message from removed member\n");
  if (!Find(from)) co_return co_await Text(e, 404, "error sender not found\n");
  if (e.path() == "/raft") co_return co_await ServeMessage(e, from);
  if (e.path() == "/raft/snapshot") co_return co_await ServeSnapshot(e, from);
  co_await Text(e, 404, "404 page not found\n");
}

Task<void> HttpTransport::ServeStream(base::net::Exchange& e) {
  for (StreamKind kind : {StreamKind::kMessage, StreamKind::kAppend}) {
    std::string_view prefix = kStreamPaths[static_cast<size_t>(kind)];
    if (!e.path().starts_with(prefix)) continue;
    NodeId from = ParseHex(e.path().substr(prefix.size()));
    if (from == raft::kNone) co_return co_await Text(e, 404, "invalid from\n");
    if (replica_.IsRemoved(from)) co_return co_await Text(e, 410, "removed member\n");
    AddRemote(e.headers());
    PeerPtr peer = Find(from);
    if (!peer) co_return co_await Text(e, 404, "error sender not found\n");
    if (ParseHex(e.headers().Get("x-raft-to")) != replica_.member_id()) {
      co_return co_await Text(e, 412, "to field mismatch\n");
    }
    co_return co_await WriteStream(e, std::move(peer), kind);
  }
  co_await Text(e, 404, "invalid path\n");
}

Task<void> HttpTransport::WriteStream(base::net::Exchange& e, PeerPtr peer, StreamKind kind) {
  base::net::Headers h;
  h.Add("x-server-version", std::string(replica::kServerVersion));
  h.Add("x-etcd-cluster-id", Hex(replica_.cluster_id()));
  if (!(co_await e.StartResponse(200, std::move(h))).ok()) co_return;
  auto& slot = peer->writers[static_cast<size_t>(kind)];
  if (slot) slot->queue.Close();
  auto writer = slot = std::make_shared<Writer>(loop_);
  StreamEncoder encoder(kind);
  // At once, so that the other end has its first byte.
  std::string out;
  encoder.Heartbeat(out);
  Context ctx = e.context();
  while (!ctx.done() && !peer->ctx.done()) {
    if (!(co_await e.Write(base::Share(std::exchange(out, {})))).ok()) break;
    auto m = writer->queue.TryPop();
    if (!m) {
      auto next = co_await writer->queue.Pop(ctx.WithTimeout(loop_, kHeartbeatEvery));
      if (!next && (writer->queue.closed() || ctx.done())) break;
      if (!next) {
        encoder.Heartbeat(out);
        continue;
      }
      m = std::move(*next);
    }
    for (; m; m = out.size() < kWriteBatch ? writer->queue.TryPop() : std::nullopt) encoder.Message(out, *m);
  }
  if (slot == writer) {
    slot.reset();
    if (writer->queue.size() > 0) replica_.ReportUnreachable(peer->id);
  }
  (void)co_await e.Finish();
}

// What cannot be true ends the connection it came on.
Task<void> HttpTransport::RefuseNonsense(base::net::Exchange& e, NodeId from, const Status& why) {
  base::LogWarning("closed a peer's connection",
                   {{"remote-peer-id", Hex(from)}, {"remote-addr", e.peer().address}, {"error", why}});
  base::net::Headers h;
  h.Add("content-type", "text/plain; charset=utf-8");
  h.Add("x-etcd-cluster-id", Hex(replica_.cluster_id()));
  h.Add("connection", "close");
  (void)co_await e.Respond(400, std::move(h), std::string(why.message()) + "\n");
}

Task<void> HttpTransport::ServeMessage(base::net::Exchange& e, NodeId from) {
  auto body = co_await e.ReadAll(e.context(), kMaxMessageBytes);
  if (!body) co_return co_await Text(e, 400, "error reading raft message\n");
  auto m = DecodeMessage(*body);
  if (!m) co_return co_await RefuseNonsense(e, from, base::DataLoss("error unmarshalling raft message"));
  Status s = replica_.Receive(std::move(*m), from);
  if (s.code() == base::Code::kDataLoss) co_return co_await RefuseNonsense(e, from, s);
  if (!s.ok()) co_return co_await Text(e, 500, "error processing raft message\n");
  co_await Text(e, 204, "");
}

Task<void> HttpTransport::ServeSnapshot(base::net::Exchange& e, NodeId from) {
  auto m = co_await TakeSnapshot(e, from);
  if (!m && m.error().code() == base::Code::kDataLoss) co_return co_await RefuseNonsense(e, from, m.error());
  if (!m) {
    base::LogError("failed to save incoming database snapshot", m.error());
    co_return co_await Text(e, 500, "failed to save KV snapshot (" + std::string(m.error().message()) + ")\n");
  }
  Status s = replica_.Receive(std::move(*m), from);
  if (s.code() == base::Code::kDataLoss) co_return co_await RefuseNonsense(e, from, s);
  if (!s.ok()) co_return co_await Text(e, 500, "failed to process raft message\n");
  co_await Text(e, 204, "");
}

// The message in front of a database; what of the database came with it is left in `rest`.
Task<Result<Message>> HttpTransport::ReadSnapshotHead(base::net::Exchange& e, std::string& rest) {
  auto need = [&](size_t n) -> Task<Status> {
    while (rest.size() < n) {
      CO_TRY_ASSIGN(std::string piece, co_await e.ReadBody(e.context()));
      if (piece.empty()) co_return base::DataLoss("the snapshot ended early");
      rest += piece;
    }
    co_return Ok();
  };
  CO_TRY(co_await need(8));
  uint64_t size = base::GetBigEndian64(rest.data());
  if (size > kMaxMessageBytes) co_return Err(base::DataLoss("message too large"));
  CO_TRY(co_await need(8 + size));
  auto m = DecodeMessage(std::string_view(rest).substr(8, size));
  if (!m || m->type != MessageType::kSnap || !m->snapshot) co_return Err(base::DataLoss("wrong raft message type"));
  rest.erase(0, 8 + size);
  co_return std::move(*m);
}

// The rest of the body into a file; how long its fsyncs took.
Task<Result<base::Duration>> HttpTransport::SaveBody(base::net::Exchange& e, std::string piece,
                                                     std::shared_ptr<base::File> file) {
  base::Duration syncing{};
  auto sync = [&]() -> Task<Status> {
    base::MonoTime begun = loop_.Now();
    Status done = co_await OnPool(pool_, loop_, [file] { return file->Sync(); });
    syncing += loop_.Now() - begun;
    co_return done;
  };
  CO_TRY(file->Truncate(0));
  size_t unsynced = 0;
  for (uint64_t at = 0;;) {
    CO_TRY(file->WriteAt(at, piece));
    at += piece.size();
    unsynced += piece.size();
    // In small steps: the log's fsyncs must not wait behind a large one.
    if (unsynced >= kSyncEvery) {
      unsynced = 0;
      CO_TRY(co_await sync());
    }
    CO_TRY_ASSIGN(piece, co_await e.ReadBody(e.context()));
    if (piece.empty()) break;
  }
  CO_TRY(co_await sync());
  co_return syncing;
}

Task<Result<Message>> HttpTransport::TakeSnapshot(base::net::Exchange& e, NodeId from) {
  std::string rest;
  CO_TRY_ASSIGN(Message m, co_await ReadSnapshotHead(e, rest));
  CO_TRY(replica_.Check(m, from));
  uint64_t index = m.snapshot->meta.index;
  std::string path = replica_.IncomingSnapshotPath(index);
  std::string partial = path + "." + std::to_string(next_file_++) + ".tmp";
  base::LogInfo("receiving database snapshot",
                {{"remote-snapshot-sender-id", Hex(from)}, {"incoming-snapshot-index", index}});
  CO_TRY_ASSIGN(std::unique_ptr<base::File> file, fs_.Open(partial, base::OpenMode::kCreate));
  base::MonoTime begun = loop_.Now();
  auto syncing = co_await SaveBody(e, std::move(rest), std::move(file));
  Status saved = syncing ? Ok() : syncing.error();
  // Once the core has taken the message there is no way back: the database must be good before.
  if (saved.ok()) {
    auto check = [fs = &fs_, partial, index] { return replica::CheckDatabase(*fs, partial, index); };
    saved = co_await OnPool(pool_, loop_, std::move(check));
  }
  if (saved.ok()) saved = fs_.Rename(partial, path);
  if (!saved.ok()) {
    (void)fs_.Remove(partial);
    co_return Err(saved);
  }
  CO_TRY(fs_.SyncDirectory(path.substr(0, path.rfind('/'))));
  if (replica_.on_work) {
    replica_.on_work(replica::Replica::Work::kDatabaseSync, *syncing);
    replica_.on_work(replica::Replica::Work::kDatabaseSave, loop_.Now() - begun);
  }
  co_return std::move(m);
}

Task<void> HttpTransport::ServeLease(base::net::Exchange& e) {
  if (e.method() != "POST") co_return co_await Text(e, 405, "Method Not Allowed\n");
  auto body = co_await e.ReadAll(e.context(), kMaxLeaseRequest);
  if (!body) co_return co_await Text(e, 400, "error reading body\n");
  if (!(co_await replica_.ReadBarrier(e.context())).ok())
    co_return co_await Text(e, 408, "waiting for node to catch up its applied index has timed out\n");
  int64_t id = 0;
  bool keys = false, internal = e.path() == "/leases/internal";
  wire::Reader outer(*body);
  while (outer.Next()) {
    if (!internal && outer.field() == 1) id = static_cast<int64_t>(outer.value());
    if (!internal || outer.field() != 1) continue;
    wire::Reader r(outer.bytes());
    while (r.Next()) {
      if (r.field() == 1) id = static_cast<int64_t>(r.value());
      if (r.field() == 2) keys = r.value() != 0;
    }
  }
  std::string out;
  if (internal) {
    auto times = replica_.LeaseTimesHere(id, keys);
    if (!times) co_return co_await Text(e, 500, "not a primary lessor\n");
    if (times->ttl < 0) co_return co_await Text(e, 404, "lease not found\n");
    std::string inner;
    wire::PutBytes(inner, 1, "");
    wire::PutNonZero(inner, 2, static_cast<uint64_t>(id));
    wire::PutNonZero(inner, 3, static_cast<uint64_t>(times->ttl));
    wire::PutNonZero(inner, 4, static_cast<uint64_t>(times->granted));
    for (const std::string& k : times->keys) wire::PutBytes(inner, 5, k);
    wire::PutBytes(out, 1, inner);
  } else {
    auto ttl = replica_.RenewLeaseHere(id);
    if (!ttl) co_return co_await Text(e, 400, "not a primary lessor\n");
    if (*ttl == 0) co_return co_await Text(e, 404, "lease not found\n");
    wire::PutNonZero(out, 2, static_cast<uint64_t>(id));
    wire::PutNonZero(out, 3, static_cast<uint64_t>(*ttl));
  }
  base::net::Headers h;
  h.Add("content-type", "application/protobuf");
  (void)co_await e.Respond(200, std::move(h), std::move(out));
}

Task<void> HttpTransport::ServePromote(base::net::Exchange& e) {
  if (e.method() != "POST") co_return co_await Text(e, 405, "Method Not Allowed\n");
  std::string text(e.path().substr(std::string_view("/members/promote/").size()));
  char* end = nullptr;
  uint64_t id = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0') co_return co_await Text(e, 404, "member " + text + " not found in cluster\n");
  std::string token(e.headers().Get("authorization"));
  if (Status s = may_administer ? may_administer(token) : Ok(); !s.ok()) {
    base::LogWarning("failed to promote a member", {{"member-id", Hex(id)}, {"error", s}});
    co_return co_await Text(e, 500, std::string(s.message()) + "\n");
  }
  auto members = co_await replica_.PromoteMember(e.context(), id, std::move(token));
  if (!members) {
    const Status& s = members.error();
    int status = s == mvcc::ErrMemberNotFound()                                        ? 404
                 : s == mvcc::ErrMemberNotLearner() || s == mvcc::ErrLearnerNotReady() ? 412
                                                                                       : 500;
    co_return co_await Text(e, status, std::string(s.message()) + "\n");
  }
  std::string list;
  for (const mvcc::Member& m : *members) list += (list.empty() ? "" : ",") + mvcc::MemberToJson(m);
  co_await Text(e, 200, "[" + list + "]\n");
}

Task<void> HttpTransport::ServeHash(base::net::Exchange& e) {
  if (e.method() != "GET") co_return co_await Text(e, 405, "Method Not Allowed\n");
  std::string_view cluster = e.headers().Get("x-etcd-cluster-id");
  if (!cluster.empty() && cluster != Hex(replica_.cluster_id())) {
    co_return co_await Text(e, 412, "cluster ID mismatch\n");
  }
  auto body = co_await e.ReadAll(e.context(), 64 << 10);
  if (!body) co_return co_await Text(e, 400, "error reading body\n");
  etcdserverpb::HashKVRequest request;
  auto json = transcode::ParseJson(*body);
  if (!json || !transcode::FromJson(*json, request).ok()) {
    co_return co_await Text(e, 400, "error unmarshalling request\n");
  }
  auto hash = co_await replica::HashKv(replica_, pool_, e.context(), request.revision());
  if (!hash) {
    base::LogWarning("failed to get hashKV", {{"requested-revision", request.revision()}, {"error", hash.error()}});
    co_return co_await Text(e, 400, std::string(hash.error().message()) + "\n");
  }
  etcdserverpb::HashKVResponse answer;
  answer.mutable_header()->set_revision(replica_.store().revision());
  answer.set_hash(hash->hash);
  answer.set_compact_revision(hash->compact_revision);
  answer.set_hash_revision(hash->revision);
  base::net::Headers h;
  h.Add("content-type", "application/json");
  h.Add("x-etcd-cluster-id", Hex(replica_.cluster_id()));
  (void)co_await e.Respond(200, std::move(h), transcode::ToJson(answer, transcode::JsonStyle::kGo));
}

}  // namespace kvstore::peer
