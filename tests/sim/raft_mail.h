// What travels between the members of a simulated cluster, and how: Raft's messages; databases of snapshots, piece by
// piece, which break off on their way; questions to the leader and their answers. It stands in for kvstore/peer.
// Owned by the run; one thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/sync.h"
#include "base/testing/sim_network.h"
#include "kvstore/replica/transport.h"
#include "tests/sim/raft_members.h"

namespace tests::sim {

class SimMail {
 public:
  SimMail(RaftWorld& world, SimMembers& members);
  ~SimMail();

  // The member hears and is heard.
  void Connect(SimMember& m);
  void Disconnect(SimMember& m) { network_.Disconnect(m.address()); }

  // A message; a piece of a snapshot's database, or the word that it has arrived; a question or its answer.
  struct Packet {
    kvstore::raft::Message message;
    uint64_t transfer = 0;  // its number
    std::string piece;
    size_t offset = 0;
    bool last = false;
    bool acknowledged = false;
    uint64_t once = 0;      // the stream it travels on does not say it twice
    uint64_t question = 0;  // its number
    std::string path, body;
    std::optional<kvstore::replica::PeerAnswer> answer;
  };
  base::testing::SimNetwork<Packet>& network() { return network_; }

 private:
  class Transport;
  // A database on its way, piece by piece as a stream carries it: the next one goes when the last has arrived.
  struct Transfer {
    int from = 0;
    uint64_t life = 0;  // of the sender
    kvstore::raft::Message message;
    std::string database;
    size_t sent = 0;
  };

  void Carry(int from, kvstore::raft::Message m);
  void Deliver(int from, SimMember& to, Packet p);
  void Refuse(int from, uint64_t to);
  void Arrive(SimMember& m, int from, Packet p);
  void Receive(SimMember& m, int from, kvstore::raft::Message message);

  void CarryDatabase(int from, kvstore::raft::Message m, std::string database);
  void SendPiece(uint64_t number);
  void TakePiece(SimMember& m, int from, Packet p);
  void PieceArrived(const Packet& p);
  void Report(const Transfer& t, bool failed);

  base::Task<base::Result<kvstore::replica::PeerAnswer>> Ask(int from, base::Context ctx, kvstore::raft::NodeId peer,
                                                             std::string path, std::string body);
  base::Task<void> Reply(Door door, int self, int from, Packet p);

  RaftWorld& world_;
  SimMembers& members_;
  base::testing::SimNetwork<Packet> network_;
  std::map<int, std::unique_ptr<Transport>> transports_;
  std::map<uint64_t, Transfer> transfers_;
  uint64_t next_transfer_ = 0;
  std::map<uint64_t, std::shared_ptr<base::OneShot<kvstore::replica::PeerAnswer>>> questions_;
  uint64_t next_question_ = 0;
  std::set<uint64_t> arrived_once_;
  uint64_t next_once_ = 0;
};

}  // namespace tests::sim
