// The peer protocol over HTTP, as etcd's members speak it among one another: two long streams from each member to each
// other one (appends, and everything else), a pipeline of POSTs while a stream is down, snapshots as one POST. And its
// other end: what is asked on the peer port.
//
//   GET  /raft/stream/message/<id>, /raft/stream/msgapp/<id>   the asked member writes, the asking one (<id>) reads
//   POST /raft   one message       POST /raft/snapshot   a message and the database behind it
//   GET  /raft/probing, /members, /members/hashkv, /version, /downgrade/enabled
//   POST /leases, /leases/internal, /members/promote/<id>
//
// Promises: Send never waits; queues are bounded, and what does not fit is dropped and told to the replica. Requests
// with another cluster's id get 412, from a removed member 410. Owned by the program; the replica's strand, which is
// its loop.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/net/client.h"
#include "base/net/server.h"
#include "base/sync.h"
#include "kvstore/mvcc/store.h"
#include "kvstore/peer/codec.h"
#include "kvstore/replica/replica.h"

namespace kvstore::peer {

// How long a peer may leave a request unanswered or a stream silent.
inline constexpr base::Duration kReadTimeout = std::chrono::seconds(5);
// An id as headers and paths have it. 0: not an id.
uint64_t ParseHex(std::string_view text);

// What a member says its data are at a revision.
struct MemberHash {
  mvcc::Store::Hash hash;
  int64_t revision = 0;  // its own, now
};

// How connections to other members are made.
struct Dialing {
  std::shared_ptr<base::net::ClientTls> tls;  // for https peers
  std::string local_address;                  // they come from it; "" = as the kernel chooses
};

struct TransportOptions {
  std::vector<std::string> own_urls;  // what X-PeerURLs says
  Dialing dialing;
};

class HttpTransport final : public replica::Transport {
 public:
  HttpTransport(base::Loop& loop, replica::Replica& replica, base::FileSystem& fs, base::BlockingPool& pool,
                TransportOptions options);
  ~HttpTransport() override;

  // Whether the owner of a token ("" = nobody) may change the cluster: asked before a promotion that a peer hands on.
  std::function<base::Status(const std::string& token)> may_administer;
  // For every request of the peer listeners.
  base::Task<void> Handle(base::net::Exchange& exchange);
  // Ends all streams; nothing is sent or taken any more.
  base::Task<void> Stop();

  void Send(raft::Message m) override;
  void SendSnapshot(raft::Message m, std::unique_ptr<replica::DatabaseStream> database) override;
  void SetPeers(std::vector<mvcc::Member> peers) override;
  std::optional<base::MonoTime> ActiveSince(raft::NodeId peer) const override;
  std::string ServerVersion(raft::NodeId peer) const override;
  base::Task<base::Result<replica::PeerAnswer>> Ask(base::Context ctx, raft::NodeId peer, std::string path,
                                                    std::string body, std::string token) override;
  // The peer's HashKV at `revision`. kOutOfRange: it has not come there or has compacted it away.
  base::Task<base::Result<MemberHash>> AskHash(base::Context ctx, raft::NodeId peer, int64_t revision);

 private:
  struct Peer;
  struct Writer;
  using PeerPtr = std::shared_ptr<Peer>;

  PeerPtr Add(raft::NodeId id, std::vector<std::string> urls);
  void Drop(raft::NodeId id);
  PeerPtr Find(raft::NodeId id) const;
  void Dropped(const Peer& peer, const raft::Message& m);
  base::net::Headers RequestHeaders(raft::NodeId to) const;

  base::Task<void> ReadStreams(PeerPtr peer, StreamKind kind);
  base::Task<base::Status> ReadStream(Peer& peer, StreamKind kind);
  base::Task<void> Pipeline(PeerPtr peer);
  base::Task<base::Status> Post(Peer& peer, const raft::Message& m);
  base::Task<void> StreamSnapshot(PeerPtr peer, raft::Message m, std::shared_ptr<replica::DatabaseStream> database);
  base::Task<base::Status> PostSnapshot(Peer& peer, const raft::Message& m, replica::DatabaseStream& database);
  void CheckRemoved(int status);

  // The other end.
  base::Task<void> ServeRaft(base::net::Exchange& e);
  base::Task<void> ServeStream(base::net::Exchange& e);
  base::Task<void> WriteStream(base::net::Exchange& e, PeerPtr peer, StreamKind kind);
  base::Task<void> ServeMessage(base::net::Exchange& e, raft::NodeId from);
  base::Task<void> ServeSnapshot(base::net::Exchange& e, raft::NodeId from);
  base::Task<base::Result<raft::Message>> TakeSnapshot(base::net::Exchange& e, raft::NodeId from);
  base::Task<base::Result<raft::Message>> ReadSnapshotHead(base::net::Exchange& e, std::string& rest);
  base::Task<base::Result<base::Duration>> SaveBody(base::net::Exchange& e, std::string piece,
                                                    std::shared_ptr<base::File> file);
  base::Task<void> RefuseNonsense(base::net::Exchange& e, raft::NodeId from, const base::Status& why);
  base::Task<void> ServeLease(base::net::Exchange& e);
  base::Task<void> ServePromote(base::net::Exchange& e);
  base::Task<void> ServeHash(base::net::Exchange& e);
  base::Task<void> Text(base::net::Exchange& e, int status, std::string text);
  std::string Incompatibility(const base::net::Headers& h) const;
  void AddRemote(const base::net::Headers& h);

  base::Loop& loop_;
  replica::Replica& replica_;
  base::FileSystem& fs_;
  base::BlockingPool& pool_;
  TransportOptions options_;
  base::TaskScope tasks_;
  std::map<raft::NodeId, PeerPtr> peers_;
  std::map<raft::NodeId, bool> listed_;  // who is a member, in contrast to who only told its URLs
  uint64_t next_file_ = 0;
  bool told_removed_ = false;
};

// What the members of a running cluster say of themselves: for a member that joins it.
struct ClusterView {
  uint64_t cluster_id = 0;
  std::vector<mvcc::Member> members;
};
base::Task<base::Result<ClusterView>> AskForMembers(base::Loop& loop, std::vector<std::string> peer_urls,
                                                    const Dialing& dialing);

}  // namespace kvstore::peer
