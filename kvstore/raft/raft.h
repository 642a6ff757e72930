// The Raft core: elections with pre-vote and check-quorum, replication with flow control, linearizable reads, leader
// transfer, membership changes (joint consensus), snapshots. Deterministic: messages and ticks in, a Ready out; no
// clock, no I/O, no threads. One strand.
//
// The driver's loop: Step / Tick / Propose..., then while HasReady(): TakeReady() and route its messages.
// Storage writes are asynchronous: a Ready's messages to kLocalAppendThread and kLocalApplyThread describe work, whose
// `responses` the driver sends (or steps, when addressed to this node) once the work is done; appends in order, applies
// in order, the two independent of each other. Everything else may be sent at once.
//
// Sources: the Raft paper and Ongaro's dissertation; message numbers and local messages are etcd's.
#pragma once

#include <deque>
#include <optional>
#include <set>

#include "base/random.h"
#include "base/status.h"
#include "kvstore/raft/log.h"
#include "kvstore/raft/membership.h"

namespace kvstore::raft {

enum class Role : uint8_t { kFollower, kCandidate, kLeader, kPreCandidate };
std::string_view RoleName(Role role);  // "StateFollower"

struct Options {
  NodeId id = kNone;
  int election_ticks = 10;
  int heartbeat_ticks = 1;
  Storage* storage = nullptr;  // not owned
  uint64_t applied = 0;        // what the state machine already has
  bool pre_vote = true;
  bool check_quorum = true;
  // A leader answers reads without asking around, trusting its clock; a product never does.
  bool lease_reads = false;
  bool disable_conf_change_validation = false;
  bool step_down_on_removal = false;
  Tracer tracer;
  // A commit index that moved is told with whatever is sent next, or by TellCommit, not in messages of its own; and a
  // message that tells nothing else is not answered.
  bool commit_in_passing = false;
  bool apply_unstable = false;  // apply what is committed before this node's own disk has it
  uint64_t max_message_bytes = 512 << 10;
  uint64_t max_uncommitted_bytes = 1 << 30;
  uint64_t max_applying_bytes = 64 << 20;
  MembershipLimits limits;
};

struct SoftState {
  NodeId leader = kNone;
  Role role = Role::kFollower;
  bool operator==(const SoftState&) const = default;
};

// A read with this context may be answered once `index` is applied.
struct ReadState {
  uint64_t index = 0;
  std::string context;
};

struct Ready {
  std::optional<SoftState> soft_state;  // when it changed
  std::vector<ReadState> read_states;
  std::vector<Message> messages;
};

class Raft {
 public:
  Raft(Options options, base::Random random);

  void Tick();
  // A message of a peer. kInvalidArgument: peers do not send that, or do not belong to this cluster.
  base::Status Receive(Message&& m);
  // A message of this node's own: a response of storage work.
  base::Status Step(Message&& m);
  base::Status Campaign();
  // kUnavailable: no leader, or the log's uncommitted tail is full ("raft proposal dropped").
  base::Status Propose(std::shared_ptr<const std::string> data);
  base::Status ProposeConfChange(EntryType type, std::shared_ptr<const std::string> data, const ConfChange& change);
  void ReadIndex(std::string context);
  // With commit_in_passing. True: somebody does not know yet how far the log is committed.
  bool CommitUntold() const;
  // Tells those who have not been told of `index`, and those who wait for an entry that they forwarded.
  void TellCommit(uint64_t index);
  void TransferLeader(NodeId to);
  void ForgetLeader();
  // Whether a heartbeat's answer with this context confirms reads that this leader has not asked about.
  bool ConfirmsTooMuch(const std::string& context) const;
  // A follower that has heard of no leader for an election timeout, and not stood yet.
  bool LeaderIsSilent() const { return role_ == Role::kFollower && election_elapsed_ >= options_.election_ticks; }
  // A leader that cannot do its work (its disk stalls) makes room for another.
  void StepDown();
  void ReportUnreachable(NodeId id);
  void ReportSnapshot(NodeId id, bool failed);
  // The driver calls this when it applies a membership entry. A change with kNone ids only ends the pending one.
  base::Result<ConfState> ApplyConfChange(const ConfChange& change);

  bool HasReady() const;
  Ready TakeReady() {
    Ready ready;
    TakeReady(ready);
    return ready;
  }
  // Into an old one, whose memory is used again.
  void TakeReady(Ready& rd);

  NodeId id() const { return options_.id; }
  uint64_t term() const { return term_; }
  NodeId leader() const { return leader_; }
  Role role() const { return role_; }
  HardState hard_state() const { return {term_, vote_, log_.committed()}; }
  const Log& log() const { return log_; }
  const Membership& membership() const { return membership_; }
  // For tests that fix the moment of an election.
  void SetElectionTimeout(int ticks) { randomized_election_ticks_ = ticks; }
  // Entries may be handed to Propose as long as this is below the limit.
  uint64_t uncommitted_bytes() const { return uncommitted_bytes_; }

 private:
  enum class Campaigning : uint8_t { kPreElection, kElection, kTransfer };

  void BecomeFollower(uint64_t term, NodeId leader);
  void BecomeCandidate();
  void BecomePreCandidate();
  void BecomeLeader();
  void Reset(uint64_t term);
  void Hup(bool transfer);
  void StartCampaign(Campaigning kind);
  VoteResult Poll(const Message& m);

  bool StepTerm(const Message& m);  // false: the message is dealt with
  void StepVote(const Message& m);
  void StepStorageAppendResp(const Message& m);
  void StepStorageApplyResp(const Message& m);
  base::Status StepLeader(Message& m);
  base::Status StepCandidate(Message& m);
  base::Status StepFollower(Message& m);
  base::Status LeaderPropose(Message& m);
  std::string WhyNotChange(const ConfChange& change) const;  // "": it may be proposed
  void CheckQuorum();
  void LeaderReadIndex(Message& m);
  void LeaderAppResp(Progress& p, const Message& m);
  void LeaderHeartbeatResp(Progress& p, const Message& m);
  void LeaderTransfer(const Message& m);

  void HandleAppend(const Message& m);
  void HandleHeartbeat(const Message& m);
  void HandleSnapshot(const Message& m);
  bool RestoreSnapshot(const std::shared_ptr<const Snapshot>& s);

  void Send(Message&& m);
  void SendAppend(NodeId to) { MaybeSendAppend(to, true); }
  bool MaybeSendAppend(NodeId to, bool send_if_empty);
  bool MaybeSendSnapshot(NodeId to, Progress& p);
  void SendHeartbeat(NodeId to, const std::string& context);
  void SendTimeoutNow(NodeId to);
  void BroadcastAppend();
  void BroadcastHeartbeat();
  void AskAQuorum();
  bool AppendEntries(Entries entries);
  bool MaybeCommit();
  void AppliedTo(uint64_t index, uint64_t bytes);
  void SwitchTo(Membership m);

  bool Promotable() const;
  bool PastElectionTimeout() const { return election_elapsed_ >= randomized_election_ticks_; }
  void RandomizeElectionTimeout();
  bool CommittedInTerm() const { return log_.TermOrZero(log_.committed()) == term_; }
  bool HasUnappliedConfChange() const;
  static base::Status Dropped() { return base::Unavailable("raft proposal dropped"); }

  bool NeedStorageAppend() const;
  Message StorageAppendMessage();
  Message StorageApplyMessage(Entries entries);

  // Reads that wait for a quorum to confirm the leadership (dissertation 6.4).
  // Reads are numbered; a heartbeat carries the number of the latest and its answer confirms all up to that one. A
  // number is only good for its term, and so are heartbeats.
  struct PendingRead {
    Message request;
    uint64_t index;
  };
  bool IsQuorum(const std::set<NodeId>& ids) const;
  void AddRead(Message request);
  void AnswerRead(const Message& request, uint64_t index);
  void AckReads(NodeId from, const std::string& context);
  uint64_t LatestRead() const { return confirmed_reads_ + reads_.size(); }
  std::string ReadContext() const;

  Options options_;
  base::Random random_;
  Log log_;
  Membership membership_;

  uint64_t term_ = 0;
  NodeId vote_ = kNone;
  NodeId leader_ = kNone;
  NodeId transferee_ = kNone;
  Role role_ = Role::kFollower;
  bool is_learner_ = false;
  std::map<NodeId, bool> votes_;
  uint64_t pending_conf_index_ = 0;
  uint64_t uncommitted_bytes_ = 0;
  uint64_t acknowledged_ = 0;  // to this term's leader

  int election_elapsed_ = 0;
  int heartbeat_elapsed_ = 0;
  uint64_t ticks_ = 0;
  int randomized_election_ticks_ = 0;

  std::deque<PendingRead> reads_;
  uint64_t confirmed_reads_ = 0;
  uint64_t asked_everybody_ = 0;  // to confirm the reads up to this one
  std::map<NodeId, uint64_t> read_acks_;
  std::vector<Message> reads_before_commit_;  // arrived before this term's first commit

  std::vector<Message> messages_;               // may go at once
  std::vector<Message> messages_after_append_;  // promises about the log: only once it is on the disk
  std::vector<ReadState> read_states_;
  SoftState previous_soft_;
  HardState previous_hard_;
};

// raftpb.Message numbers that a node only ever sends to itself.
bool IsLocalMessage(MessageType type);
bool IsResponseMessage(MessageType type);

}  // namespace kvstore::raft
