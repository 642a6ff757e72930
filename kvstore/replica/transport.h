// What a replica needs of whoever carries its messages to the other members: the peer protocol over HTTP in life
// (kvstore/peer), a simulated network in tests. Owned by the program; called on the replica's strand.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/executor.h"
#include "base/file.h"
#include "base/task.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/raft/types.h"

namespace kvstore::replica {

class DatabaseStream;

struct PeerAnswer {
  int status = 0;  // as HTTP's
  std::string body;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Never waits. What cannot be queued or delivered is dropped, and told by Replica::ReportUnreachable.
  virtual void Send(raft::Message m) = 0;
  // The message, then the whole database; the outcome is told by Replica::ReportSnapshot.
  virtual void SendSnapshot(raft::Message m, std::unique_ptr<DatabaseStream> database) = 0;
  // Everybody else in the cluster, whenever that changes.
  virtual void SetPeers(std::vector<mvcc::Member> peers) = 0;
  // Since when a peer has been heard of without a break.
  virtual std::optional<base::MonoTime> ActiveSince(raft::NodeId peer) const = 0;
  // The server version a peer has told, "3.7.1"; "" as long as it has not.
  virtual std::string ServerVersion(raft::NodeId) const { return {}; }
  // A question to one peer, beside the messages: lease renewals, promotions. `token`: of whoever asks, "" = nobody.
  virtual base::Task<base::Result<PeerAnswer>> Ask(base::Context ctx, raft::NodeId peer, std::string path,
                                                   std::string body, std::string token) = 0;
};

}  // namespace kvstore::replica
