#include "kvstore/replica/replica.h"

#include "base/go_duration.h"
#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/raft/plausible.h"
#include "kvstore/replica/parts.h"

namespace kvstore::replica {

using base::Context;
using base::Ok;
using base::Result;
using base::Status;
using base::Task;
using raft::NodeId;

namespace {

constexpr uint64_t kPublishEvery = 5;  // ticks

Options Completed(Options options) {
  if (options.wal_dir.empty()) options.wal_dir = options.data_dir + "/member/wal";
  if (options.unsafe_no_sync) options.wal.blocks = nullptr;  // every write through them is a sync
  return options;
}

}  // namespace

// ---- opening

Replica::Replica(const Environment& env, Options options, base::Random random)
    : shared_(std::make_unique<Shared>(env, Completed(std::move(options)), random, *this)) {}

Replica::~Replica() {
  shared_->life.End();
  if (tick_timer_ != 0) shared_->env.executor.CancelTimer(tick_timer_);
  if (parts_) EndWaiting();
}

Result<std::unique_ptr<Replica>> Replica::Open(Environment env, Options options, base::Random random) {
  std::unique_ptr<Replica> r(new Replica(env, std::move(options), random));
  TRY(r->OpenFiles());
  return r;
}

Status Replica::OpenFiles() {
  TRY_ASSIGN(Opened opened, OpenMember(shared_->env.fs, shared_->options));
  shared_->member_id = opened.contents.metadata.node_id;
  shared_->cluster_id = opened.contents.metadata.cluster_id;
  shared_->store = std::move(opened.store);
  shared_->applier = std::make_unique<mvcc::Applier>(*shared_->store);
  shared_->store->SetNow(shared_->env.executor.Now());
  parts_ = std::make_unique<Parts>(*shared_, opened.contents, std::move(opened.wal));
  Connect();
  return Ok();
}

// What follows from what, where that goes against the order of the parts.
void Replica::Connect() {
  Parts& p = *parts_;
  shared_->life.on_failure = [this](const Status& why) {
    EndWaiting();
    if (on_failure) on_failure(why);
  };
  p.core.on_turn = [this] { Process(); };
  p.log.on_logged = [&p](raft::Message&& m) { p.snapshots.Logged(std::move(m)); };
  p.log.on_written = [this, &p] {
    p.snapshots.MaybeInstall();
    Process();
  };
  p.apply.on_change = [&p](const raft::Entry& e) { return p.membership.Apply(e); };
  p.apply.on_compaction = [&p] { p.maintenance.Begin(); };
  p.apply.on_applied = [&p] { p.snapshots.CompactLog(); };
  p.apply.on_turn = [&p] {
    p.snapshots.MaybeInstall();
    p.reads.Release();
    p.maintenance.MaybeCheckpoint();
    p.disk.Tend();
  };
  p.disk.on_tended = [&p] { p.maintenance.Resume(); };
  p.maintenance.snapshot_waits = [&p] { return p.snapshots.waiting(); };
  p.maintenance.snapshot_runs = [&p] { return p.snapshots.importing(); };
  p.maintenance.on_checkpoint = [&p] { p.snapshots.MaybeInstall(); };
  p.snapshots.route = [this](raft::Message&& m) { Route(std::move(m)); };
  p.snapshots.on_replaced = [&p] { p.membership.TellPeers(); };
  p.snapshots.on_installed = [&p] { p.reads.Release(); };
  p.membership.on_removed = [this] {
    if (on_removed) on_removed();
  };
}

void Replica::Start() {
  // unreachable from outside: the program starts it once.
  CHECK(!shared_->life.started());
  shared_->life.Start();
  shared_->store->watches().on_work = [this] { parts_->maintenance.SyncWatchers(); };
  parts_->membership.TellPeers();
  parts_->core.Schedule();
  // With nothing to apply either: a member that is alone leads at once, not after an election timeout.
  parts_->apply.Schedule();
  Tick();
}

// ---- loop lane

void Replica::Process() {
  if (shared_->life.failed()) return;
  Core& core = parts_->core;
  parts_->reads.Ask();
  core.TellCommit();
  raft::Ready rd = std::move(ready_);
  while (core.raft().HasReady()) {
    core.raft().TakeReady(rd);
    if (rd.soft_state) LeaderChanged(*rd.soft_state);
    parts_->reads.Answered(rd.read_states);
    for (raft::Message& m : rd.messages) Route(std::move(m));
  }
  ready_ = std::move(rd);
  parts_->log.Pump();
}

void Replica::Route(raft::Message&& m) {
  Transport* transport = shared_->transport;
  if (m.to == raft::kLocalAppendThread) {
    parts_->log.Add(std::move(m));
  } else if (m.to == raft::kLocalApplyThread) {
    parts_->apply.Add(std::move(m));
  } else if (m.to == shared_->member_id) {
    (void)parts_->core.raft().Step(std::move(m));
  } else if (transport != nullptr && !IsRemoved(m.to)) {
    if (m.type == raft::MessageType::kSnap) {
      base::SpawnNow(parts_->snapshots.Send(std::move(m)));
    } else {
      if (m.type == raft::MessageType::kHeartbeat) CountLate(m.to);
      transport->Send(std::move(m));
    }
  }
}

void Replica::LeaderChanged(const raft::SoftState& now) {
  if (now.leader != raft::kNone) ++shared_->counters.leader_changes;
  parts_->core.LeaderChanged();
  // Whatever was asked of the former leader is asked again.
  shared_->life.Post([this] {
    parts_->reads.AskAgain();
    parts_->reads.Ask();
  });
  bool leads = now.role == raft::Role::kLeader;
  if (leads && !was_leader_) {
    parts_->leases.ExtendAll();
    base::LogInfo("elected leader",
                  {{"local-member-id", mvcc::MemberKey(shared_->member_id)}, {"term", parts_->core.raft().term()}});
    shared_->life.Post([this] { parts_->membership.Publish(); });
  }
  was_leader_ = leads;
  heartbeats_.clear();
}

// A leader whose followers wait twice as long as they should is told of: it or its disk is overloaded.
void Replica::CountLate(NodeId heartbeat_to) {
  base::MonoTime now = shared_->env.executor.Now();
  base::Duration interval = shared_->options.heartbeat;
  auto [last, first] = heartbeats_.try_emplace(heartbeat_to, now);
  base::Duration late = now - std::exchange(last->second, now) - 2 * interval;
  if (first || late <= base::Duration::zero()) return;
  ++shared_->counters.heartbeats_late;
  base::LogWarning(
      "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk",
      {{"to", mvcc::MemberKey(heartbeat_to)},
       {"heartbeat-interval", base::FormatGoDuration(interval)},
       {"expected-duration", base::FormatGoDuration(2 * interval)},
       {"exceeded-duration", base::FormatGoDuration(late)}});
}

void Replica::Tick() {
  tick_timer_ = 0;
  if (!shared_->life.usable()) return;
  Core& core = parts_->core;
  // A leader whose disk hangs holds everybody up; a follower's cannot vouch for anything, so it does not stand either.
  base::Duration busy = parts_->log.BusyFor(shared_->env.executor.Now());
  bool stalled = busy > ElectionTimeout() && core.applied().conf_state.voters.size() > 1;
  if (stalled && is_leader()) {
    base::LogWarning("leader steps down: its log is not getting to the disk", {{"for", busy.count()}});
    core.raft().StepDown();
  }
  if (!stalled) core.raft().Tick();
  parts_->reads.Retry();
  if (++ticks_ % kPublishEvery == 0) parts_->membership.Publish();
  parts_->proposals.Expire();
  core.ScheduleIfReady();
  parts_->leases.Expire();
  parts_->disk.Tend();  // someone may have stopped reading a file that is to go
  tick_timer_ = shared_->env.executor.After(shared_->options.heartbeat, [this, alive = shared_->life.token()] {
    if (*alive) Tick();
  });
}

// ---- from peers

Status Replica::Check(const raft::Message& m, NodeId sender) const {
  TRY(raft::CheckPeerMessage(m, sender, parts_->core.raft()));
  for (const raft::Entry& e : m.entries) {
    if (e.type == raft::EntryType::kNormal) continue;
    if (!wal::DecodeConfChange(e)) return base::DataLoss("raft: an unreadable membership change");
  }
  return Ok();
}

Status Replica::Receive(raft::Message m, NodeId sender) {
  if (!shared_->life.usable() || !shared_->life.started()) return mvcc::ErrStopped();
  TRY(Check(m, sender));
  if (m.type == raft::MessageType::kProp && m.entries[0].type != raft::EntryType::kNormal) {
    m.change = std::make_shared<const raft::ConfChange>(*wal::DecodeConfChange(m.entries[0]));
  }
  if (m.type == raft::MessageType::kSnap) {
    auto there =
        m.snapshot ? shared_->env.fs.Exists(IncomingSnapshotPath(m.snapshot->meta.index)) : Result<bool>(false);
    if (!there || !*there) return base::InvalidArgument("a snapshot came without its database");
  }
  raft::Raft& core = parts_->core.raft();
  // Who asks will be refused for its log and then waits anew: whoever refuses it had better stand itself.
  bool stand =
      m.type == raft::MessageType::kPreVote && core.LeaderIsSilent() && !core.log().IsUpToDate({m.log_term, m.index});
  Status s = core.Receive(std::move(m));
  if (stand && core.LeaderIsSilent()) (void)core.Campaign();
  parts_->core.ScheduleIfReady();
  return s;
}

void Replica::Attach(Transport& transport) { shared_->transport = &transport; }
std::string Replica::IncomingSnapshotPath(uint64_t index) const {
  return replica::IncomingSnapshotPath(shared_->options.data_dir, index);
}
void Replica::ReportUnreachable(NodeId peer) { parts_->core.ReportUnreachable(peer); }
void Replica::ReportSnapshot(NodeId peer, bool failed) { parts_->snapshots.Report(peer, failed); }
void Replica::PeerLost(NodeId peer) { parts_->core.PeerLost(peer); }
bool Replica::IsRemoved(NodeId id) const { return parts_->membership.IsRemoved(id); }

// ---- the end

void Replica::EndWaiting() {
  parts_->proposals.EndAll();
  parts_->reads.EndAll();
  parts_->core.WakeWaiters();
}

Task<void> Replica::Stop(bool checkpoint) {
  Life& life = shared_->life;
  Parts& p = *parts_;
  life.BeginStop();
  EndWaiting();
  if (tick_timer_ != 0) shared_->env.executor.CancelTimer(std::exchange(tick_timer_, 0));
  while (!life.failed() &&
         (p.log.busy() || p.maintenance.checkpointing() || p.snapshots.waiting() || !p.apply.empty())) {
    (void)co_await life.idle.Wait(Context());
  }
  if (life.failed()) co_return;
  if (checkpoint && p.core.applied().index != p.maintenance.checkpointed()) {
    Status s = p.maintenance.StartCheckpoint();
    if (!s.ok()) life.Fail(s);
    while (!life.failed() && p.maintenance.checkpointing()) (void)co_await life.idle.Wait(Context());
  }
  p.log.Pump();
  while (!life.failed() && p.log.busy()) (void)co_await life.idle.Wait(Context());
}

// ---- what a part does

Task<Result<mvcc::Answer>> Replica::Propose(Context ctx, std::string fields, mvcc::Identity who) {
  return parts_->proposals.Propose(std::move(ctx), std::move(fields), std::move(who));
}
Task<Status> Replica::ReadBarrier(Context ctx) { return parts_->reads.Barrier(std::move(ctx)); }
bool Replica::ReadsAreCurrent() const { return parts_->reads.AreCurrent(); }

Task<Result<std::vector<mvcc::Member>>> Replica::ChangeMembers(Context ctx, MemberChange change) {
  return parts_->membership.Change(std::move(ctx), std::move(change));
}
Task<Result<std::vector<mvcc::Member>>> Replica::PromoteMember(Context ctx, NodeId id, std::string token) {
  return parts_->membership.Promote(std::move(ctx), id, std::move(token));
}
Task<Status> Replica::MoveLeader(Context ctx, NodeId to) { return parts_->membership.MoveLeader(std::move(ctx), to); }
std::optional<NodeId> Replica::Successor() const { return parts_->membership.Successor(); }
Task<Status> Replica::Defragment(Context ctx) { return parts_->maintenance.Defragment(std::move(ctx)); }

Task<Result<int64_t>> Replica::RenewLease(Context ctx, int64_t id) { return parts_->leases.Renew(std::move(ctx), id); }
Task<Result<LeaseTimes>> Replica::LeaseTimeToLive(Context ctx, int64_t id, bool keys) {
  return parts_->leases.TimeToLive(std::move(ctx), id, keys);
}
Result<int64_t> Replica::RenewLeaseHere(int64_t id) { return parts_->leases.RenewHere(id); }
Result<LeaseTimes> Replica::LeaseTimesHere(int64_t id, bool keys) const { return parts_->leases.TimesHere(id, keys); }

mvcc::Store& Replica::store() { return *shared_->store; }
mvcc::Applier& Replica::applier() { return *shared_->applier; }
base::Executor& Replica::executor() { return shared_->env.executor; }
uint64_t Replica::member_id() const { return shared_->member_id; }
uint64_t Replica::cluster_id() const { return shared_->cluster_id; }
base::Duration Replica::ElectionTimeout() const { return shared_->options.ElectionTimeout(); }
uint64_t Replica::term() const { return parts_->core.raft().term(); }
uint64_t Replica::leader() const { return parts_->core.raft().leader(); }
raft::Role Replica::role() const { return parts_->core.raft().role(); }
bool Replica::is_leader() const { return parts_->core.is_leader(); }
bool Replica::is_learner() const { return parts_->membership.is_learner(); }
bool Replica::LeaderIsSilent() const { return parts_->core.raft().LeaderIsSilent(); }
uint64_t Replica::committed_index() const { return parts_->core.raft().log().committed(); }
uint64_t Replica::last_index() const { return parts_->core.raft().log().LastIndex(); }
uint64_t Replica::applied_index() const { return parts_->core.applied().index; }
size_t Replica::pending() const { return parts_->proposals.size(); }
const Status& Replica::failure() const { return shared_->life.failure(); }
std::vector<mvcc::Member> Replica::Members() const { return parts_->membership.Members(); }
mvcc::AppliedMark Replica::Mark() const { return parts_->core.Mark(); }
std::string Replica::ClusterVersion() const { return parts_->membership.ClusterVersion(); }
const Counters& Replica::counters() const { return shared_->counters; }
bool Replica::installing() const { return parts_->snapshots.waiting() || parts_->snapshots.importing(); }

}  // namespace kvstore::replica
