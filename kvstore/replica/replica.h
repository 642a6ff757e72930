// One member at work: drives the raft core, the log and the store in three lanes.
//
//   loop lane     proposals, ticks and storage answers into the core; its Ready out to the other lanes
//   log lane      appends and one fsync for everything that has gathered meanwhile (a blocking pool of one
//                 thread; small work is started by the loop where the system writes without a thread that waits)
//   apply lane    committed entries into the store in bounded turns, answers to whoever proposed them
//
// Promises: a proposal that was answered is on this member's disk and applied; a barrier that returned makes later
// reads see everything that was answered before it was called. After a failure of the disk nothing more is answered:
// the replica stops (on_failure) and a restart begins from what the disk really has.
//
// Owned by the program (or the simulator); everything runs on one executor's strand except the closures handed to the
// pools. Not its job: the API's checks and texts.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "base/sync.h"
#include "kvstore/mvcc/applier.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/raft/raft.h"
#include "kvstore/replica/dying_files.h"
#include "kvstore/replica/start_policy.h"
#include "kvstore/replica/transport.h"
#include "kvstore/wal/wal.h"

namespace kvstore::replica {

struct Options {
  std::string data_dir;
  std::string wal_dir;  // "" = data_dir/member/wal
  std::string name = "default";
  std::vector<std::string> peer_urls = {"http://localhost:2380"};
  std::vector<std::string> client_urls = {"http://localhost:2379"};
  std::string cluster_token = "etcd-cluster";
  uint64_t snapshot_count = 10000;  // applied entries between checkpoints
  base::Duration heartbeat = std::chrono::milliseconds(100);
  int election_ticks = 10;
  wal::Options wal;
  mvcc::StoreOptions store;
  bool unsafe_no_sync = false;

  // A new cluster's members: name -> peer URLs. Empty: this member alone.
  std::map<std::string, std::vector<std::string>> initial_cluster;
  // An existing cluster, as its members told: this member starts with an empty log and hears the rest from them.
  struct Existing {
    uint64_t cluster_id = 0;
    uint64_t member_id = 0;
    std::vector<mvcc::Member> members;
  };
  std::optional<Existing> existing;
  // Disaster recovery: everybody else is dropped from the membership, the data stays.
  bool force_new_cluster = false;
  bool pre_vote = true;
  bool strict_reconfig_check = true;
  uint32_t max_learners = 1;
  base::Duration slow_apply = std::chrono::milliseconds(100);  // a turn of applying that is counted as slow
  uint64_t catch_up_entries = 5000;                            // kept for followers that lag
};

// A change of who is in the cluster: what is proposed as an entry.
struct MemberChange {
  raft::ConfChangeType type = raft::ConfChangeType::kAddNode;
  raft::NodeId id = raft::kNone;
  std::string context;  // the member as JSON
};

// What the world gives: executor, disk and threads come from outside.
struct Environment {
  base::Executor& executor;
  base::FileSystem& fs;
  base::BlockingPool& log_pool;    // one thread
  base::BlockingPool& other_pool;  // checkpoints
};

inline constexpr std::string_view kServerVersion = "3.7.1";
inline constexpr std::string_view kClusterVersion = "3.7.0";

class Replica {
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

  // ---- the cluster. A replica without a transport has no peers to talk to.
  void Attach(Transport& transport) { transport_ = &transport; }
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
  // Returns when this member's files hold nothing any more that was garbage before; everybody is served meanwhile.
  base::Task<base::Status> Defragment(base::Context ctx);
  // Only the leader knows when leases end: these ask it. The new time to live; 0: there is no such lease.
  base::Task<base::Result<int64_t>> RenewLease(base::Context ctx, int64_t id);
  struct LeaseTimes {
    int64_t ttl = -1, granted = 0;
    std::vector<std::string> keys;
  };
  base::Task<base::Result<LeaseTimes>> LeaseTimeToLive(base::Context ctx, int64_t id, bool keys);
  // The same, at the leader: kFailedPrecondition when this member is not.
  base::Result<int64_t> RenewLeaseHere(int64_t id);
  base::Result<LeaseTimes> LeaseTimesHere(int64_t id, bool keys) const;
  bool is_learner() const;
  base::Duration ElectionTimeout() const { return options_.heartbeat * options_.election_ticks; }
  // Who would lead best after this leader: the voter that is connected and has most of the log.
  std::optional<raft::NodeId> Successor() const;
  bool LeaderIsSilent() const { return raft_->LeaderIsSilent(); }
  // True when a barrier would return at once.
  bool ReadsAreCurrent() const;

  mvcc::Store& store() { return *store_; }
  mvcc::Applier& applier() { return *applier_; }
  base::Executor& executor() { return env_.executor; }
  uint64_t member_id() const { return member_id_; }
  uint64_t cluster_id() const { return cluster_id_; }
  uint64_t term() const { return raft_->term(); }
  uint64_t leader() const { return raft_->leader(); }
  raft::Role role() const { return raft_->role(); }
  bool is_leader() const { return raft_->role() == raft::Role::kLeader; }
  uint64_t committed_index() const { return raft_->log().committed(); }
  uint64_t last_index() const { return raft_->log().LastIndex(); }
  uint64_t applied_index() const { return applied_; }
  size_t pending() const { return pending_.size(); }
  const base::Status& failure() const { return failure_; }
  std::vector<mvcc::Member> Members() const;
  mvcc::AppliedMark Mark() const;
  // The version that all members speak, "3.7.0": the lowest of theirs, raised by the leader when the last has come up.
  std::string ClusterVersion() const;

  struct Counters {
    uint64_t leader_changes = 0, proposals_failed = 0, syncs = 0, checkpoints = 0;
    uint64_t reads_failed = 0, reads_slow = 0, leases_expired = 0, promotions = 0, slow_applies = 0, log_bytes = 0,
             compactions = 0, heartbeats_late = 0;
    int64_t last_compaction = 0;  // when it ended, in seconds of the Unix clock; 0: there was none
  };
  const Counters& counters() const { return counters_; }
  // Metrics: an fsync of the log and the writing before it, a turn of applying `entries`, other work.
  std::function<void(base::Duration sync, base::Duration write)> on_sync;
  std::function<void(base::Duration took, size_t entries)> on_apply;
  enum class Work {
    kCompaction,
    kCompactionStep,
    kCheckpoint,
    kStateFile,  // of a checkpoint: its writing and its fsync
    kDiskSync,
    kDatabaseSync,  // all fsyncs of a database that a peer sent; from the transport
    kDatabaseSave,  // its arrival, from the first byte until it has its name
  };
  std::function<void(Work, base::Duration)> on_work;
  bool installing() const { return !installing_.empty() || importing_; }

 private:
  Replica(Environment env, Options options, base::Random random);
  base::Status OpenFiles();
  base::Status ImportForeignState();
  base::Status FinishInstall();
  base::Status CreateLog();
  base::Status Bootstrap();
  base::Status DropOthers(wal::Contents& contents);
  void MakeRaft(wal::Contents contents);

  void Schedule();
  void ProcessScheduled();
  void Process();
  void RouteMessage(raft::Message&& m);
  void CountLate(raft::NodeId heartbeat_to);
  void TellCommit();
  bool NothingToWrite(const raft::Message& m) const;
  void PumpLog();
  void LogLight();
  struct LogWork;
  bool StartLogWork(const std::shared_ptr<LogWork>& work);
  void RunLogWork(const std::shared_ptr<LogWork>& work);
  void LogWorkEnded(LogWork& work);
  void Logged(raft::Message&& m);
  void RemoveLogFiles(std::vector<std::string> files);
  void LogDone(std::vector<raft::Message> done, base::Status result);
  base::Task<void> SendSnapshot(raft::Message m);
  void MaybeInstall();
  struct Installation;
  void InstallDone(Installation& done);
  void Bury(std::unique_ptr<mvcc::Store> replaced);
  void TellPeers();
  void CompactLog();
  void LeaderChanged();
  base::Task<base::Status> AwaitLeader(base::Context ctx);
  base::Status CheckChange(const raft::ConfChangeSingle& change, const std::string& context) const;
  base::Status MayChange(const MemberChange& change) const;
  base::Status MayPromote(raft::NodeId id) const;
  size_t ActiveVoters(base::Duration at_least) const;
  base::Duration RequestTimeout() const;
  void ScheduleApply();
  void ApplySome();
  base::Status ApplyEntry(const raft::Entry& e);
  base::Status ApplyConfChange(const raft::Entry& e);
  void AskReads();
  void AskReadsAgain();
  void AnswerReads(const std::vector<raft::ReadState>& states);
  void ReleaseReads();
  base::Task<base::Result<mvcc::Answer>> ProposeEntry(base::Context ctx, uint64_t id,
                                                      std::function<base::Status()> propose);
  void MaybeCheckpoint();
  base::Status StartCheckpoint();
  void CheckpointDone(base::Result<mvcc::Store::Checkpoint> done);
  void Tick();
  void ExpireProposals();
  void ExpireLeases();
  void BecameLeader();
  void Publish();
  std::string CommonVersion() const;
  void Maintain();
  void HashCompaction(std::shared_ptr<mvcc::View> view);
  void Compacted();
  void ResumeMaintenance();
  void TendDisk();
  void SyncWatchers();
  void Fail(base::Status why);
  void FailWaiting();
  void Post(base::Closure fn);
  void InNextTurn(base::Closure fn);
  uint64_t NextId();

  // What goes to the log in one write and one sync.
  struct LogWork {
    raft::HardState before;
    std::vector<raft::Message> batch;
    uint64_t release_to = 0;
    raft::SnapshotMeta release_meta;
    base::Status Save(wal::Wal& wal);  // once
    size_t Bytes() const;              // what it comes to, at most

    bool saved = false;
    base::Status result;
    base::MonoTime begun, from, to;
    uint64_t bytes = 0;
    size_t segments = 0;
    std::vector<std::string> released;
  };
  struct Waiter {
    Waiter(base::Executor& e, base::MonoTime until) : shot(e), until(until) {}
    base::OneShot<mvcc::Answer> shot;
    base::MonoTime until;  // a tick after it ends the wait
    bool expired = false;
  };
  struct Released {
    bool answered = true;
    base::Status status;
  };
  struct Reader {
    explicit Reader(base::Executor& e) : shot(e) {}
    base::OneShot<Released> shot;
  };
  using Readers = std::vector<std::shared_ptr<Reader>>;

  Environment env_;
  Options options_;
  base::Random random_;
  // Closures that are under way check whether the replica is still there: null when it is not.
  std::shared_ptr<Replica*> alive_ = std::make_shared<Replica*>(this);

  uint64_t member_id_ = 0;
  uint64_t cluster_id_ = 0;
  std::shared_ptr<wal::Wal> wal_;  // shared with the append that is under way
  std::unique_ptr<mvcc::Store> store_;
  std::unique_ptr<mvcc::Applier> applier_;
  raft::MemoryStorage storage_;
  std::unique_ptr<raft::Raft> raft_;
  raft::ConfState conf_state_;

  bool scheduled_ = false;
  bool started_ = false;
  bool stopping_ = false;
  bool was_leader_ = false;
  base::Status failure_;

  raft::Ready ready_;  // its memory is used again
  std::vector<raft::Message> to_log_;
  std::vector<raft::Message> spare_batch_;  // memory for the next
  bool log_busy_ = false;
  raft::HardState saved_;    // as the log on the disk has it
  raft::HardState unsaved_;  // differs from it in the commit index: goes with the next write
  StartPolicy start_policy_;
  bool telling_ = false;  // a timer will tell the followers of the commit index
  std::deque<raft::Message> to_apply_;
  size_t apply_at_ = 0;  // in the front message
  bool apply_scheduled_ = false;
  uint64_t applied_ = 0;
  uint64_t applied_term_ = 0;

  uint64_t next_id_ = 0;
  std::map<uint64_t, std::shared_ptr<Waiter>> pending_;  // proposals by id, the oldest first
  uint64_t next_read_ = 0;
  // Reads go in batches: one question is out, who comes meanwhile waits for the next.
  Readers reads_waiting_;
  Readers reads_asked_;
  std::string reads_key_;
  base::MonoTime reads_asked_at_{};
  std::deque<std::pair<uint64_t, Readers>> reads_confirmed_;  // may go once the index is applied

  Transport* transport_ = nullptr;
  base::Event leader_event_;
  // Snapshots that are in the log but not in the store yet, and what waits for that.
  std::deque<raft::Message> installing_;
  bool importing_ = false;  // the first of them, on another thread: the store must not change
  base::MonoTime log_busy_since_{};
  base::MonoTime compacting_since_{};
  // Peers that get a snapshot or just got one, and the index from which on they need the log.
  std::map<raft::NodeId, uint64_t> catching_up_;
  bool publishing_ = false;
  uint64_t ticks_ = 0;
  std::map<raft::NodeId, base::MonoTime> heartbeats_;  // the last to each, since it was last heard who leads
  bool removed_ = false;
  bool transferring_ = false;

  size_t log_segments_ = 0;  // as of the last finished append
  bool checkpointing_ = false;
  uint64_t checkpointed_ = 0;
  uint64_t release_to_ = 0;  // for the log lane
  raft::SnapshotMeta release_meta_;
  bool maintaining_ = false;
  bool maintenance_waits_ = false;  // for the disk
  bool tending_ = false;
  DyingFiles dying_;
  bool syncing_watchers_ = false;
  base::TimerId tick_timer_ = 0;
  base::Event idle_;
  Counters counters_;
  class EntryReader;
  std::unique_ptr<EntryReader> entry_reader_;
};

}  // namespace kvstore::replica
