// One member at work: drives the raft core, the log and the store in three lanes.
//
//   loop lane     proposals, ticks and storage answers into the core; its Ready out to the other lanes (this file)
//   log lane      appends and one fsync for everything that has gathered meanwhile (log_lane.h)
//   apply lane    committed entries into the store in bounded turns, answers to whoever proposed them (apply_lane.h)
//
// Promises: a proposal that was answered is on this member's disk and applied; a barrier that returned makes later
// reads see everything that was answered before it was called. After a failure of the disk nothing more is answered:
// the replica stops (on_failure) and a restart begins from what the disk really has.
//
// Owned by the program (or the simulator); everything runs on one executor's strand except the closures handed to the
// pools. This is the door: what each thing asked of a replica does, and the state it needs for it, is in one of its
// parts (parts.h). Not its job: the API's checks and texts.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/sync.h"
#include "kvstore/mvcc/applier.h"
#include "kvstore/raft/raft.h"
#include "kvstore/replica/membership_rules.h"
#include "kvstore/replica/observers.h"
#include "kvstore/replica/options.h"
#include "kvstore/replica/requests.h"
#include "kvstore/replica/transport.h"

namespace kvstore::replica {

struct Shared;

class Replica : public Observers {
 public:
  // Opens or makes the member's files; blocks. kDataLoss, kFailedPrecondition: the files cannot be used; says why.
  static base::Result<std::unique_ptr<Replica>> Open(Environment env, Options options, base::Random random);
  ~Replica();
  Replica(const Replica&) = delete;

  // Called once, when the disk failed; before it, from Start on, everything may be called.
  std::function<void(const base::Status&)> on_failure;
  void Start();
  // Fails what is waiting, lets the lanes finish, writes a last checkpoint when `checkpoint`.
  base::Task<void> Stop(bool checkpoint);

  // `fields`: an InternalRaftRequest without its header, in the name of `who`. The answer of applying it. An error here
  // (not in the answer) of ErrStopped or the context's says nothing about whether it will happen.
  base::Task<base::Result<mvcc::Answer>> Propose(base::Context ctx, std::string fields, mvcc::Identity who = {});
  // Linearizable point: later reads of the store see everything answered before this call.
  base::Task<base::Status> ReadBarrier(base::Context ctx);
  // True when a barrier would return at once.
  bool ReadsAreCurrent() const;

  // ---- the cluster. A replica without a transport has no peers to talk to.
  void Attach(Transport& transport);
  // When this member is no longer in the cluster: it must stop for good.
  std::function<void()> on_removed;
  // Whether `sender` may say this: OK, or kDataLoss when it cannot be true (raft/plausible.h).
  base::Status Check(const raft::Message& m, raft::NodeId sender) const;
  // From the transport: what the member `sender` says. kDataLoss: as Check, and its connection is worth nothing; other
  // errors: it comes to nothing here.
  base::Status Receive(raft::Message m, raft::NodeId sender);
  // Where a database that came with a MsgSnap is to be put, synced, before that message is handed to Receive.
  std::string IncomingSnapshotPath(uint64_t index) const;
  void ReportUnreachable(raft::NodeId peer);
  void ReportSnapshot(raft::NodeId peer, bool failed);
  // The connection to a peer broke: if it was the leader's, nobody waits for its silence to last an election timeout.
  void PeerLost(raft::NodeId peer);
  bool IsRemoved(raft::NodeId id) const;

  // Changes the membership with etcd's checks; the members afterwards.
  base::Task<base::Result<std::vector<mvcc::Member>>> ChangeMembers(base::Context ctx, MemberChange change);
  // `token`: of who asks; a leader elsewhere judges it again.
  base::Task<base::Result<std::vector<mvcc::Member>>> PromoteMember(base::Context ctx, raft::NodeId id,
                                                                    std::string token = {});
  base::Task<base::Status> MoveLeader(base::Context ctx, raft::NodeId to);
  // Who would lead best after this leader: the voter that is connected and has most of the log.
  std::optional<raft::NodeId> Successor() const;
  // Returns when this member's files hold nothing any more that was garbage before; everybody is served meanwhile.
  base::Task<base::Status> Defragment(base::Context ctx);
  // Only the leader knows when leases end: these ask it. The new time to live; 0: there is no such lease.
  base::Task<base::Result<int64_t>> RenewLease(base::Context ctx, int64_t id);
  base::Task<base::Result<LeaseTimes>> LeaseTimeToLive(base::Context ctx, int64_t id, bool keys);
  // The same, at the leader: kFailedPrecondition when this member is not.
  base::Result<int64_t> RenewLeaseHere(int64_t id);
  base::Result<LeaseTimes> LeaseTimesHere(int64_t id, bool keys) const;

  mvcc::Store& store();
  mvcc::Applier& applier();
  base::Executor& executor();
  uint64_t member_id() const;
  uint64_t cluster_id() const;
  base::Duration ElectionTimeout() const;
  uint64_t term() const;
  uint64_t leader() const;
  raft::Role role() const;
  bool is_leader() const;
  bool is_learner() const;
  bool LeaderIsSilent() const;
  uint64_t committed_index() const;
  uint64_t last_index() const;
  uint64_t applied_index() const;
  size_t pending() const;
  const base::Status& failure() const;
  std::vector<mvcc::Member> Members() const;
  mvcc::AppliedMark Mark() const;
  // The version that all members speak, "3.7.0": the lowest of theirs, raised by the leader when the last has come up.
  std::string ClusterVersion() const;
  const Counters& counters() const;
  // A snapshot of another member waits to take the store's place.
  bool installing() const;

 private:
  struct Parts;

  Replica(const Environment& env, Options options, base::Random random);
  base::Status OpenFiles();
  void Connect();

  void Process();
  void Route(raft::Message&& m);
  void LeaderChanged(const raft::SoftState& now);
  void CountLate(raft::NodeId heartbeat_to);
  void Tick();
  void EndWaiting();

  std::unique_ptr<Shared> shared_;
  std::unique_ptr<Parts> parts_;
  raft::Ready ready_;  // its memory is used again
  bool was_leader_ = false;
  std::map<raft::NodeId, base::MonoTime> heartbeats_;  // the last to each, since it was last heard who leads
  uint64_t ticks_ = 0;
  base::TimerId tick_timer_ = 0;
};

}  // namespace kvstore::replica
