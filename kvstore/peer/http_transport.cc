#include "kvstore/peer/http_transport.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/peer/http_transport_impl.h"
#include "kvstore/replica/export.h"
#include "kvstore/transcode/json.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::peer {

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

constexpr base::Duration kDialEvery = std::chrono::milliseconds(100);
constexpr base::Duration kSnapshotAnswer = std::chrono::seconds(60);
constexpr base::Duration kHashAnswer = std::chrono::seconds(7);  // what the original gives a request
constexpr std::string_view kErrorPrefix = "etcdserver: ";
constexpr int kPipelines = 4;
// Who tell their URLs and are no members yet: more than any cluster grows by at once.
constexpr size_t kMaxStrangers = 16;
constexpr base::Duration kAfterNonsense = std::chrono::seconds(2);  // until somebody who sent it is called again

}  // namespace

std::string Hex(uint64_t id) {
  char text[24];
  std::snprintf(text, sizeof text, "%" PRIx64, id);
  return text;
}

Task<Status> OnPool(base::BlockingPool& pool, base::Executor& home, std::function<Status()> work) {
  auto shot = std::make_shared<base::OneShot<bool>>(home);
  auto result = std::make_shared<Status>();
  pool.Run([work = std::move(work), result] { *result = work(); }, home, [shot] { shot->Set(true); });
  (void)co_await shot->Wait(Context());
  co_return *result;
}

uint64_t ParseHex(std::string_view text) {
  if (text.empty() || text.size() > 16) return 0;
  char* end = nullptr;
  std::string copy(text);
  uint64_t id = std::strtoull(copy.c_str(), &end, 16);
  return *end == '\0' ? id : 0;
}

// ---- peers

HttpTransport::HttpTransport(base::Loop& loop, replica::Replica& replica, base::FileSystem& fs,
                             base::BlockingPool& pool, TransportOptions options)
    : loop_(loop), replica_(replica), fs_(fs), pool_(pool), options_(std::move(options)), tasks_(loop, Context()) {}

HttpTransport::~HttpTransport() = default;

Task<void> HttpTransport::Stop() {
  while (!peers_.empty()) Drop(peers_.begin()->first);
  co_await tasks_.CancelAndJoin();
}

HttpTransport::PeerPtr HttpTransport::Find(NodeId id) const {
  auto it = peers_.find(id);
  return it == peers_.end() ? nullptr : it->second;
}

HttpTransport::PeerPtr HttpTransport::Add(NodeId id, std::vector<std::string> urls) {
  auto peer = std::make_shared<Peer>(loop_, id, std::move(urls), tasks_.context(), options_.dialing);
  peers_[id] = peer;
  base::LogInfo("starting remote peer", {{"remote-peer-id", Hex(id)}});
  tasks_.Spawn(ReadStreams(peer, StreamKind::kMessage));
  tasks_.Spawn(ReadStreams(peer, StreamKind::kAppend));
  for (int i = 0; i < kPipelines; ++i) tasks_.Spawn(Pipeline(peer));
  return peer;
}

void HttpTransport::Drop(NodeId id) {
  auto it = peers_.find(id);
  if (it == peers_.end()) return;
  PeerPtr peer = it->second;
  peers_.erase(it);
  peer->ctx.Cancel();
  peer->posts.Close();
  for (auto& w : peer->writers) {
    if (w) w->queue.Close();
  }
  base::LogInfo("stopped remote peer", {{"remote-peer-id", Hex(id)}});
}

void HttpTransport::SetPeers(std::vector<mvcc::Member> members) {
  if (tasks_.context().done()) return;
  std::map<NodeId, bool> listed;
  for (mvcc::Member& m : members) {
    listed[m.id] = true;
    PeerPtr known = Find(m.id);
    if (known && known->urls == m.peer_urls) continue;
    if (known) Drop(m.id);
    Add(m.id, std::move(m.peer_urls));
  }
  // Whoever was a member and is none any more is gone; who only told its URLs may be about to become one.
  for (const auto& [id, yes] : listed_) {
    if (!listed.contains(id)) Drop(id);
  }
  listed_ = std::move(listed);
}

std::optional<base::MonoTime> HttpTransport::ActiveSince(NodeId id) const {
  PeerPtr peer = Find(id);
  return peer ? peer->active_since : std::nullopt;
}

std::string HttpTransport::ServerVersion(NodeId id) const {
  PeerPtr peer = Find(id);
  return peer ? peer->version : "";
}

// A member that was just added may call before this one has applied its addition.
void HttpTransport::AddRemote(const base::net::Headers& h) {
  NodeId from = ParseHex(h.Get("x-server-from"));
  std::string_view urls = h.Get("x-peerurls");
  if (from == raft::kNone || from == replica_.member_id() || urls.empty()) return;
  if (Find(from) || replica_.IsRemoved(from)) return;
  if (peers_.size() - listed_.size() >= kMaxStrangers) return;
  Add(from, base::SplitNonEmpty(urls, ','));
}

base::net::Headers HttpTransport::RequestHeaders(NodeId to) const {
  base::net::Headers h;
  h.Add("x-server-from", Hex(replica_.member_id()));
  h.Add("x-server-version", std::string(replica::kServerVersion));
  h.Add("x-min-cluster-version", std::string(kMinClusterVersion));
  h.Add("x-etcd-cluster-id", Hex(replica_.cluster_id()));
  h.Add("x-raft-to", Hex(to));
  std::string urls;
  for (const std::string& u : options_.own_urls) urls += (urls.empty() ? "" : ",") + u;
  h.Add("x-peerurls", urls);
  return h;
}

void HttpTransport::CheckRemoved(int status) {
  if (status != 410 && status != 403) return;
  if (!std::exchange(told_removed_, true)) {
    base::LogWarning("the member has been permanently removed from the cluster");
  }
  if (replica_.on_removed) replica_.on_removed();
}

// ---- sending

void HttpTransport::Dropped(const Peer& peer, const Message& m) {
  base::LogV(2, "dropped internal Raft message since sending buffer is full",
             {{"message-type", raft::MessageTypeName(m.type)}, {"remote-peer-id", Hex(peer.id)}});
  NodeId id = peer.id;
  // Never inside Send: the core is in the middle of something.
  tasks_.Spawn([](HttpTransport* self, NodeId to) -> Task<void> {
    co_await base::Yield(self->loop_);
    self->replica_.ReportUnreachable(to);
  }(this, id));
}

void HttpTransport::Send(Message m) {
  PeerPtr peer = Find(m.to);
  if (!peer) return;
  auto& append = peer->writers[static_cast<size_t>(StreamKind::kAppend)];
  auto& rest = peer->writers[static_cast<size_t>(StreamKind::kMessage)];
  Writer* writer = m.type == MessageType::kApp && append ? append.get() : rest.get();
  bool taken = writer ? writer->queue.TryPush(m) : peer->posts.TryPush(m);
  if (!taken) Dropped(*peer, m);
}

Task<void> HttpTransport::Pipeline(PeerPtr peer) {
  while (!peer->ctx.done()) {
    auto m = co_await peer->posts.Pop(peer->ctx);
    if (!m) co_return;
    Status s = co_await Post(*peer, *m);
    if (s.ok() || peer->ctx.done()) continue;
    peer->active_since.reset();
    replica_.ReportUnreachable(peer->id);
  }
}

Task<Status> HttpTransport::Post(Peer& peer, const Message& m) {
  base::net::ClientRequest r{.method = "POST", .path = "/raft", .headers = RequestHeaders(peer.id)};
  r.headers.Set("content-type", "application/protobuf");
  std::string body;
  EncodeMessage(body, m);
  r.body = base::Share(std::move(body));
  Context ctx = peer.ctx.WithTimeout(loop_, kReadTimeout);
  CO_TRY_ASSIGN(auto response, co_await peer.client.Do(ctx, std::move(r)));
  (void)co_await response->ReadAll(ctx, 64 << 10);
  CheckRemoved(response->status());
  if (response->status() != 204) co_return base::Unavailable("peer answered " + std::to_string(response->status()));
  if (!peer.active_since) peer.active_since = loop_.Now();
  co_return Ok();
}

void HttpTransport::SendSnapshot(Message m, std::unique_ptr<replica::DatabaseStream> database) {
  PeerPtr peer = Find(m.to);
  tasks_.Spawn(StreamSnapshot(std::move(peer), std::move(m), std::move(database)));
}

Task<void> HttpTransport::StreamSnapshot(PeerPtr peer, Message m, std::shared_ptr<replica::DatabaseStream> database) {
  co_await base::Yield(loop_);  // never inside SendSnapshot: the core is in the middle of something
  Status s = base::Unavailable("no such peer");
  if (peer) {
    base::LogInfo("sending database snapshot",
                  {{"snapshot-index", m.snapshot->meta.index}, {"remote-peer-id", Hex(peer->id)}});
    s = co_await PostSnapshot(*peer, m, *database);
  }
  if (s.ok()) {
    base::LogInfo("sent database snapshot",
                  {{"snapshot-index", m.snapshot->meta.index}, {"remote-peer-id", Hex(m.to)}});
  } else {
    base::LogError("failed to send database snapshot", s, {{"remote-peer-id", Hex(m.to)}});
    replica_.ReportUnreachable(m.to);
  }
  replica_.ReportSnapshot(m.to, !s.ok());
}

Task<Status> HttpTransport::PostSnapshot(Peer& peer, const Message& m, replica::DatabaseStream& database) {
  base::net::ClientRequest r{.method = "POST", .path = "/raft/snapshot", .headers = RequestHeaders(peer.id)};
  r.headers.Set("content-type", "application/octet-stream");
  CO_TRY_ASSIGN(auto stream, co_await peer.client.Open(peer.ctx, std::move(r)));
  std::string body, head;
  EncodeMessage(body, m);
  base::PutBigEndian64(head, body.size());
  CO_TRY(co_await stream->Write(peer.ctx, base::Share(head + body)));
  for (;;) {
    CO_TRY_ASSIGN(std::string piece, co_await base::RunBlocking(pool_, loop_, [&] { return database.Next(); }));
    if (piece.empty()) break;
    CO_TRY(co_await stream->Write(peer.ctx, base::Share(std::move(piece))));
  }
  CO_TRY(co_await stream->CloseWrite(peer.ctx));
  CO_TRY_ASSIGN(auto* response, co_await stream->Response(peer.ctx.WithTimeout(loop_, kSnapshotAnswer)));
  CheckRemoved(response->status());
  if (response->status() != 204) co_return base::Unavailable("peer answered " + std::to_string(response->status()));
  co_return Ok();
}

Task<Result<replica::PeerAnswer>> HttpTransport::Ask(Context ctx, NodeId to, std::string path, std::string body,
                                                     std::string token) {
  PeerPtr peer = Find(to);
  if (!peer) co_return Err(base::Unavailable("no such peer"));
  base::net::ClientRequest r{.method = "POST", .path = std::move(path), .headers = RequestHeaders(to)};
  r.headers.Set("content-type", "application/protobuf");
  if (!token.empty()) r.headers.Set("authorization", std::move(token));
  r.body = base::Share(std::move(body));
  Context limited = ctx.WithTimeout(loop_, kReadTimeout);
  CO_TRY_ASSIGN(auto response, co_await peer->client.Do(limited, std::move(r)));
  replica::PeerAnswer answer{.status = response->status()};
  CO_TRY_ASSIGN(answer.body, co_await response->ReadAll(limited, kMaxMessageBytes));
  co_return answer;
}

Task<Result<MemberHash>> HttpTransport::AskHash(Context ctx, NodeId to, int64_t revision) {
  PeerPtr peer = Find(to);
  if (!peer) co_return Err(base::Unavailable("no such peer"));
  base::net::ClientRequest r{.path = "/members/hashkv", .headers = RequestHeaders(to)};
  r.headers.Set("content-type", "application/json");
  r.body = base::Share("{\"revision\":" + std::to_string(revision) + "}");
  Context limited = ctx.WithTimeout(loop_, kHashAnswer);
  CO_TRY_ASSIGN(auto response, co_await peer->client.Do(limited, std::move(r)));
  CO_TRY_ASSIGN(std::string body, co_await response->ReadAll(limited, 64 << 10));
  for (const Status& s : {mvcc::ErrCompacted(), mvcc::ErrFutureRev()}) {
    if (response->status() == 400 && body.find(s.message().substr(kErrorPrefix.size())) != body.npos) co_return Err(s);
  }
  if (response->status() != 200) {
    co_return Err(base::Unavailable("peer answered " + std::to_string(response->status()) + " " + body));
  }
  CO_TRY_ASSIGN(transcode::JsonValue json, transcode::ParseJson(body));
  etcdserverpb::HashKVResponse m;
  CO_TRY(transcode::FromJson(json, m));
  co_return MemberHash{{m.hash(), m.compact_revision(), m.hash_revision()}, m.header().revision()};
}

// ---- receiving what peers stream

Task<void> HttpTransport::ReadStreams(PeerPtr peer, StreamKind kind) {
  const char* name = kind == StreamKind::kAppend ? "stream MsgApp v2" : "stream Message";
  bool told = false;
  while (!peer->ctx.done()) {
    Status s = co_await ReadStream(*peer, kind);
    if (peer->ctx.done()) co_return;
    if (!std::exchange(told, true) || s.code() == base::Code::kDataLoss) {
      std::string why = s.ok() ? "EOF" : s.ToString();
      base::LogWarning("lost TCP streaming connection with remote peer",
                       {{"stream-reader-type", name}, {"remote-peer-id", Hex(peer->id)}, {"error", why}});
    }
    if (s.ok()) told = false;  // it had been there
    peer->active_since.reset();
    bool nonsense = s.code() == base::Code::kDataLoss;
    (void)co_await base::Sleep(loop_, peer->ctx, nonsense ? kAfterNonsense : kDialEvery);
  }
}

// OK: the stream was there and ended.
Task<Status> HttpTransport::ReadStream(Peer& peer, StreamKind kind) {
  base::net::ClientRequest r{.path = std::string(kStreamPaths[static_cast<size_t>(kind)]) + Hex(replica_.member_id()),
                             .headers = RequestHeaders(peer.id)};
  CO_TRY_ASSIGN(auto response, co_await peer.client.Do(peer.ctx.WithTimeout(loop_, kReadTimeout), std::move(r)));
  if (response->status() == 410) CheckRemoved(410);
  if (response->status() != 200) {
    auto why = co_await response->ReadAll(peer.ctx.WithTimeout(loop_, kReadTimeout), 4096);
    co_return base::Unavailable("peer answered " + std::to_string(response->status()) + " " + why.value_or(""));
  }
  base::LogInfo("established TCP streaming connection with remote peer",
                {{"stream-reader-type", kind == StreamKind::kAppend ? "stream MsgApp v2" : "stream Message"},
                 {"remote-peer-id", Hex(peer.id)}});
  if (std::string_view theirs = response->headers().Get("x-etcd-cluster-id");
      !theirs.empty() && theirs != Hex(replica_.cluster_id())) {
    co_return base::DataLoss("cluster ID mismatch");
  }
  if (!peer.active_since) peer.active_since = loop_.Now();
  peer.version = response->headers().Get("x-server-version");
  StreamDecoder decoder(kind, replica_.member_id(), peer.id);
  for (;;) {
    auto bytes = co_await response->Read(peer.ctx.WithTimeout(loop_, kReadTimeout));
    if (!bytes || bytes->empty()) {
      if (kind == StreamKind::kMessage && !peer.ctx.done()) replica_.PeerLost(peer.id);
      co_return Ok();
    }
    decoder.Feed(*bytes);
    for (;;) {
      CO_TRY_ASSIGN(std::optional<Message> m, decoder.Next());
      if (!m) break;
      if (IsLinkHeartbeat(*m)) continue;
      // What comes to nothing here is the core's business; what cannot be true ends the connection.
      if (Status s = replica_.Receive(std::move(*m), peer.id); s.code() == base::Code::kDataLoss) co_return s;
    }
  }
}

}  // namespace kvstore::peer
