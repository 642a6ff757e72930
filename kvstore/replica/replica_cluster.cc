// The half of a replica that has to do with the other members: how it starts among them, snapshots that come and go,
// changes of the membership, and what only the leader can answer.
#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/raft/plausible.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/identity.h"
#include "kvstore/replica/import.h"
#include "kvstore/replica/replica.h"
#include "kvstore/wire/wire.h"

namespace kvstore::replica {

using base::Context;
using base::Err;
using base::Ok;
using base::Result;
using base::Status;
using base::Task;
using raft::ConfChangeType;
using raft::NodeId;

namespace {

constexpr base::Duration kHealthInterval = std::chrono::seconds(5);
constexpr uint64_t kMaxLogBytes = 64 << 20;  // beyond it fewer entries are kept for followers that lag
constexpr uint64_t kFewEntries = 500;
constexpr base::Duration kCatchUpTime = std::chrono::seconds(10);
constexpr double kLearnerReady = 0.9;  // of the leader's log

bool IsPromotion(std::string_view context) { return context.find("\"isPromote\":true") != std::string_view::npos; }

uint64_t ChangeId(const raft::Entry& e) {
  if (e.type != raft::EntryType::kConfChange) return 0;
  wire::Reader r(e.bytes());
  while (r.Next()) {
    if (r.field() == 1) return r.value();
  }
  return 0;
}

}  // namespace

// ---- starting

Status Replica::CreateLog() {
  wal::Metadata who;
  if (options_.existing) {
    who = {options_.existing->member_id, options_.existing->cluster_id};
  } else {
    who.node_id = MemberId(options_.peer_urls, options_.cluster_token);
    std::vector<uint64_t> ids;
    for (const auto& [name, urls] : options_.initial_cluster) ids.push_back(MemberId(urls, options_.cluster_token));
    if (ids.empty()) ids.push_back(who.node_id);
    who.cluster_id = ClusterId(ids);
  }
  TRY_ASSIGN(auto fresh, wal::Wal::Create(env_.fs, options_.wal_dir, who, options_.wal));
  return Ok();
}

// A new cluster's log begins with its members, in the order of their ids: every member writes the same entries.
Status Replica::Bootstrap() {
  std::vector<mvcc::Member> members;
  for (const auto& [name, urls] : options_.initial_cluster) {
    members.push_back({.id = MemberId(urls, options_.cluster_token), .name = name, .peer_urls = urls});
  }
  if (members.empty()) members.push_back({.id = member_id_, .name = options_.name, .peer_urls = options_.peer_urls});
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  raft::Entries entries;
  for (mvcc::Member& m : members) {
    std::sort(m.peer_urls.begin(), m.peer_urls.end());
    raft::Entry e{.type = raft::EntryType::kConfChange, .term = 1, .index = entries.size() + 1};
    e.data = std::make_shared<const std::string>(
        wal::EncodeConfChangeV1(0, ConfChangeType::kAddNode, m.id, mvcc::MemberToJson(m)));
    entries.push_back(std::move(e));
  }
  TRY(wal_->Save({.term = 1, .commit = entries.size()}, entries));
  return wal_->Sync();
}

// Entries that were not known to be committed are dropped, and removals of everybody else are appended as committed.
Status Replica::DropOthers(wal::Contents& contents) {
  const mvcc::AppliedMark& mark = store_->checkpointed();
  uint64_t commit = std::max(contents.hard_state.commit, mark.index);
  while (!contents.entries.empty() && contents.entries.back().index > commit) contents.entries.pop_back();
  auto conf = wal::DecodeConfState(mark.conf_state).value_or(raft::ConfState());
  std::set<NodeId> ids(conf.voters.begin(), conf.voters.end());
  ids.insert(conf.learners.begin(), conf.learners.end());
  for (const raft::Entry& e : contents.entries) {
    if (e.type == raft::EntryType::kNormal) continue;
    auto change = wal::DecodeConfChange(e);
    for (const auto& c : change ? change->changes : std::vector<raft::ConfChangeSingle>()) {
      if (c.type == ConfChangeType::kRemoveNode) ids.erase(c.node_id);
      if (c.type == ConfChangeType::kAddNode || c.type == ConfChangeType::kAddLearnerNode) ids.insert(c.node_id);
    }
  }
  uint64_t last = contents.entries.empty() ? mark.index : contents.entries.back().index;
  uint64_t term = std::max<uint64_t>(contents.hard_state.term, 1);
  raft::Entries added;
  auto add = [&](std::string data) {
    raft::Entry e{.type = raft::EntryType::kConfChange, .term = term, .index = ++last};
    e.data = std::make_shared<const std::string>(std::move(data));
    added.push_back(std::move(e));
  };
  if (!ids.contains(member_id_)) {
    mvcc::Member self{.id = member_id_, .name = options_.name, .peer_urls = options_.peer_urls};
    add(wal::EncodeConfChangeV1(0, ConfChangeType::kAddNode, member_id_, mvcc::MemberToJson(self)));
  }
  for (NodeId id : ids) {
    if (id != member_id_) add(wal::EncodeConfChangeV1(0, ConfChangeType::kRemoveNode, id, ""));
  }
  contents.hard_state.term = term;
  contents.hard_state.commit = last;
  base::LogInfo("forcing restart member", {{"commit-index", last}, {"removed", added.size()}});
  TRY(wal_->Save(contents.hard_state, added));
  TRY(wal_->Sync());
  contents.entries.insert(contents.entries.end(), added.begin(), added.end());
  return Ok();
}

// ---- snapshots
//
// In: the database comes as member/snap/<index>.snap.db; the log notes the snapshot; the file is renamed to
// installing.db and from then on, whatever happens, the store is made anew from it.

std::string Replica::IncomingSnapshotPath(uint64_t index) const {
  char name[40];
  std::snprintf(name, sizeof name, "%016" PRIx64 ".snap.db", index);
  return options_.data_dir + "/member/snap/" + name;
}

namespace {

// Fills an empty store. `known`: the snapshots that the log speaks of; the database is one of them.
Status ImportAndCheckpoint(base::FileSystem& fs, const std::string& path, const std::vector<raft::SnapshotMeta>& known,
                           mvcc::Store& store) {
  TRY_ASSIGN(mvcc::AppliedMark mark, ImportDatabase(fs, path, store));
  auto meta = std::find_if(known.begin(), known.end(), [&](const auto& m) { return m.index == mark.index; });
  if (meta == known.end()) return base::DataLoss("the database " + path + " is of no snapshot that the log knows");
  mark.term = meta->term;
  mark.conf_state = wal::EncodeConfState(meta->conf_state);
  TRY_ASSIGN(mvcc::Store::Checkpoint c, store.PrepareCheckpoint(mark));
  TRY(c.Run());
  store.FinishCheckpoint(c);
  return Ok();
}

}  // namespace

// At start: a snapshot whose installation was cut short, or that the log notes and nothing more.
Status Replica::FinishInstall() {
  std::string snap = options_.data_dir + "/member/snap", installing = snap + "/installing.db";
  std::string kv = options_.data_dir + "/member/kv";
  if (!wal::Exists(env_.fs, options_.wal_dir)) return Ok();
  TRY_ASSIGN(bool cut_short, env_.fs.Exists(installing));
  TRY_ASSIGN(std::vector<std::string> names, env_.fs.List(snap));
  bool any = std::any_of(names.begin(), names.end(), [](const auto& n) { return n.find(".snap.db") != n.npos; });
  if (!cut_short && !any) return Ok();
  TRY_ASSIGN(std::vector<raft::SnapshotMeta> known, wal::ReadSnapshots(env_.fs, options_.wal_dir));
  auto install = [&]() -> Status {
    store_.reset();
    TRY(env_.fs.RemoveAll(kv));
    TRY_ASSIGN(store_, mvcc::Store::Open(env_.fs, kv, options_.store));
    TRY(ImportAndCheckpoint(env_.fs, installing, known, *store_));
    TRY(env_.fs.Remove(installing));
    return env_.fs.SyncDirectory(snap);
  };
  if (cut_short) TRY(install());
  if (!store_) {
    TRY_ASSIGN(store_, mvcc::Store::Open(env_.fs, kv, options_.store));
  }
  for (const raft::SnapshotMeta& m : known) {
    TRY_ASSIGN(bool there, env_.fs.Exists(IncomingSnapshotPath(m.index)));
    if (!there || m.index <= store_->checkpointed().index) continue;
    TRY(env_.fs.Rename(IncomingSnapshotPath(m.index), installing));
    TRY(env_.fs.SyncDirectory(snap));
    TRY(install());
  }
  for (const std::string& n : names) {
    if (n.find(".snap.db") != n.npos) (void)env_.fs.Remove(snap + "/" + n);
  }
  return Ok();
}

// Made beside the strand, so that this member goes on answering its leader and its clients meanwhile.
struct Replica::Installation {
  std::string snap, incoming, installing;
  raft::SnapshotMeta meta;
  std::unique_ptr<mvcc::Store> store;
  std::shared_ptr<base::File> database;  // once its name is gone
  Status result;

  Status Run(base::FileSystem& fs) {
    TRY(fs.Rename(incoming, installing));
    TRY(fs.SyncDirectory(snap));
    TRY(ImportAndCheckpoint(fs, installing, {meta}, *store));
    TRY_ASSIGN(database, fs.Open(installing, base::OpenMode::kReadWrite));
    TRY(fs.Remove(installing));
    return fs.SyncDirectory(snap);
  }
};

void Replica::MaybeInstall() {
  if (installing_.empty() || importing_ || !to_apply_.empty() || checkpointing_ || !failure_.ok()) return;
  importing_ = true;
  auto job = std::make_shared<Installation>();
  job->meta = installing_.front().snapshot->meta;
  job->snap = options_.data_dir + "/member/snap";
  job->incoming = IncomingSnapshotPath(job->meta.index);
  job->installing = job->snap + "/installing.db";
  job->store = store_->Beside();
  base::LogInfo("applying snapshot",
                {{"current-applied-index", applied_}, {"incoming-snapshot-index", job->meta.index}});
  env_.other_pool.Run([job, &fs = env_.fs] { job->result = job->Run(fs); }, env_.executor,
                      [this, job, alive = alive_] {
                        if (*alive) InstallDone(*job);
                      });
}

void Replica::InstallDone(Installation& done) {
  importing_ = false;
  if (!failure_.ok()) return;
  if (!done.result.ok()) {
    Fail(done.result.Annotate("snapshot: "));
    return idle_.NotifyAll();
  }
  raft::Message work = std::move(installing_.front());
  installing_.pop_front();
  int64_t told = store_->revision();
  store_->Replace(*done.store);
  applier_->Load();
  store_->leases().ExtendAll(env_.executor.Now());
  conf_state_ = done.meta.conf_state;
  applied_ = checkpointed_ = done.meta.index;
  applied_term_ = done.meta.term;
  // What was proposed here and is inside the snapshot can no longer be answered: its proposers time out.
  store_->RestartWatches(told);
  TellPeers();
  base::LogInfo("applied snapshot", {{"snapshot-index", done.meta.index}, {"revision", store_->revision()}});
  for (raft::Message& r : work.responses) RouteMessage(std::move(r));
  dying_.Add(std::move(done.database));
  Bury(std::move(done.store));
  MaybeInstall();
  ReleaseReads();
  Schedule();
  if (installing_.empty()) idle_.NotifyAll();
}

// What a snapshot replaced takes long to free.
void Replica::Bury(std::unique_ptr<mvcc::Store> replaced) {
  struct Job {
    std::unique_ptr<mvcc::Store> store;
    std::vector<std::shared_ptr<base::File>> files;
  };
  auto job = std::make_shared<Job>(Job{std::move(replaced), {}});
  auto work = [job] {
    job->files = job->store->Abandon();
    job->store.reset();
  };
  env_.other_pool.Run(work, env_.executor, [this, job, alive = alive_] {
    if (!*alive) return;
    for (auto& file : job->files) dying_.Add(std::move(file));
    TendDisk();
  });
}

// Out: the state as it is now, whatever index the core asked for; the database is made as it is sent.
Task<void> Replica::SendSnapshot(raft::Message m) {
  auto alive = alive_;
  NodeId to = m.to;
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->meta = {conf_state_, applied_, applied_term_};
  catching_up_[to] = applied_;
  auto image = co_await TakeImage(*store_, Mark(), env_.executor, [this, alive] { return *alive && !stopping_; });
  if (!*alive) co_return;
  m.snapshot = std::move(snapshot);
  struct Job {
    Result<DatabaseImage> image;
    Result<std::unique_ptr<DatabaseStream>> database = Err(mvcc::ErrStopped());
  };
  auto job = std::make_shared<Job>(Job{std::move(image)});
  auto lay_out = [job] {
    job->database = job->image ? DatabaseStream::Make(std::move(*job->image)) : Err(job->image.error());
  };
  env_.other_pool.Run(lay_out, env_.executor, [this, job, alive, m = std::move(m)]() mutable {
    if (!*alive) return;
    if (job->database) return transport_->SendSnapshot(std::move(m), std::move(*job->database));
    base::LogError("failed to make a database snapshot", job->database.error(),
                   {{"remote-peer-id", mvcc::MemberKey(m.to)}});
    ReportSnapshot(m.to, true);
  });
}

// ---- messages

Status Replica::Check(const raft::Message& m, NodeId sender) const {
  TRY(raft::CheckPeerMessage(m, sender, *raft_));
  for (const raft::Entry& e : m.entries) {
    if (e.type == raft::EntryType::kNormal) continue;
    if (!wal::DecodeConfChange(e)) return base::DataLoss("raft: an unreadable membership change");
  }
  return Ok();
}

Status Replica::Receive(raft::Message m, NodeId sender) {
  if (!failure_.ok() || stopping_ || !started_) return mvcc::ErrStopped();
  TRY(Check(m, sender));
  if (m.type == raft::MessageType::kProp && m.entries[0].type != raft::EntryType::kNormal) {
    m.change = std::make_shared<const raft::ConfChange>(*wal::DecodeConfChange(m.entries[0]));
  }
  if (m.type == raft::MessageType::kSnap) {
    auto there = m.snapshot ? env_.fs.Exists(IncomingSnapshotPath(m.snapshot->meta.index)) : Result<bool>(false);
    if (!there || !*there) return base::InvalidArgument("a snapshot came without its database");
  }
  // Who asks will be refused for its log and then waits anew: whoever refuses it had better stand itself.
  bool stand = m.type == raft::MessageType::kPreVote && raft_->LeaderIsSilent() &&
               !raft_->log().IsUpToDate({m.log_term, m.index});
  Status s = raft_->Receive(std::move(m));
  if (stand && raft_->LeaderIsSilent()) (void)raft_->Campaign();
  if (raft_->HasReady()) Schedule();
  return s;
}

void Replica::ReportUnreachable(NodeId peer) {
  if (!failure_.ok() || !started_) return;
  raft_->ReportUnreachable(peer);
  if (raft_->HasReady()) Schedule();
}

void Replica::ReportSnapshot(NodeId peer, bool failed) {
  if (!failure_.ok() || !started_) return;
  raft_->ReportSnapshot(peer, failed);
  if (raft_->HasReady()) Schedule();
  auto from = catching_up_.find(peer);
  if (from == catching_up_.end()) return;
  // It has the state of some time ago: what came since must still be here when it asks.
  env_.executor.After(failed ? base::Duration(0) : kCatchUpTime, [this, alive = alive_, peer, index = from->second] {
    if (!*alive) return;
    auto still = catching_up_.find(peer);
    if (still != catching_up_.end() && still->second == index) catching_up_.erase(still);
  });
}

void Replica::PeerLost(NodeId peer) {
  ReportUnreachable(peer);
  if (!started_ || stopping_ || !failure_.ok() || peer != raft_->leader() || is_leader()) return;
  // Forgetting is safe: a leader that lives is known again by its next heartbeat, and an election begins with a
  // pre-vote that followers who still hear it refuse. The members do not all stand at once.
  raft_->ForgetLeader();
  Schedule();
  auto delay = std::chrono::milliseconds(20 + random_.Below(100));
  env_.executor.After(delay, [this, alive = alive_] {
    if (!*alive || stopping_ || !failure_.ok() || raft_->leader() != raft::kNone) return;
    if (raft_->role() != raft::Role::kFollower) return;
    (void)raft_->Campaign();
    Schedule();
  });
}

void Replica::LeaderChanged() {
  transferring_ = false;
  leader_event_.NotifyAll();
  // Whatever was asked of the former leader is asked again.
  Post([this] {
    AskReadsAgain();
    AskReads();
  });
}

Task<Status> Replica::AwaitLeader(Context ctx) {
  auto alive = alive_;
  while (*alive && failure_.ok() && !stopping_ && raft_->leader() == raft::kNone) {
    CO_TRY(co_await leader_event_.Wait(ctx));
  }
  co_return Ok();
}

// As the original: 5 s for queueing and the disk, and two elections.
base::Duration Replica::RequestTimeout() const { return std::chrono::seconds(5) + 2 * ElectionTimeout(); }

void Replica::CompactLog() {
  bool alone = conf_state_.voters.size() <= 1 && conf_state_.learners.empty() && conf_state_.voters_outgoing.empty();
  if (alone) return storage_.Compact(applied_);
  bool large = storage_.bytes() > kMaxLogBytes;
  uint64_t keep = large ? std::min(kFewEntries, options_.catch_up_entries) : options_.catch_up_entries;
  uint64_t to = applied_ > keep ? applied_ - keep : 0;
  for (const auto& [peer, index] : catching_up_) to = large ? to : std::min(to, index);
  if (to > 0) storage_.Compact(to);
}

// ---- membership

bool Replica::IsRemoved(NodeId id) const {
  auto bucket = store_->buckets().find("members_removed");
  return bucket != store_->buckets().end() && bucket->second.contains(mvcc::MemberKey(id));
}

bool Replica::is_learner() const {
  return std::find(conf_state_.learners.begin(), conf_state_.learners.end(), member_id_) != conf_state_.learners.end();
}

void Replica::TellPeers() {
  if (transport_ == nullptr) return;
  std::vector<mvcc::Member> members = Members();
  if (members.empty() && options_.existing) members = options_.existing->members;
  // Before its first entries are applied a member of a new cluster knows the others from its flags.
  for (const auto& [name, urls] : members.empty() ? options_.initial_cluster : decltype(options_.initial_cluster)()) {
    members.push_back({.id = MemberId(urls, options_.cluster_token), .name = name, .peer_urls = urls});
  }
  std::erase_if(members, [this](const mvcc::Member& m) { return m.id == member_id_; });
  transport_->SetPeers(std::move(members));
}

// What every member decides alike when it applies a change: the text of the original's checks in its order.
Status Replica::CheckChange(const raft::ConfChangeSingle& change, const std::string& context) const {
  if (IsRemoved(change.node_id)) return mvcc::ErrMemberNotFound();
  std::vector<mvcc::Member> members = Members();
  auto known = std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.id == change.node_id; });
  bool adds = change.type == ConfChangeType::kAddNode || change.type == ConfChangeType::kAddLearnerNode;
  if (adds && IsPromotion(context)) {
    if (known == members.end()) return mvcc::ErrMemberNotFound();
    return known->is_learner ? Ok() : mvcc::ErrMemberNotLearner();
  }
  if (adds && known != members.end()) return mvcc::ErrMemberExists();
  if (!adds && known == members.end()) return mvcc::ErrMemberNotFound();
  if (change.type == ConfChangeType::kRemoveNode) return Ok();
  auto wanted = mvcc::MemberFromJson(context).value_or(mvcc::Member());
  size_t learners = 1;
  for (const mvcc::Member& m : members) {
    learners += m.is_learner;
    if (m.id == change.node_id) continue;
    for (const std::string& u : m.peer_urls) {
      if (std::find(wanted.peer_urls.begin(), wanted.peer_urls.end(), u) != wanted.peer_urls.end()) {
        return mvcc::ErrPeerUrlExists();
      }
    }
  }
  bool learner = change.type == ConfChangeType::kAddLearnerNode && wanted.is_learner;
  return learner && learners > options_.max_learners ? mvcc::ErrTooManyLearners() : Ok();
}

namespace {
// Of no change: ends the one that was proposed.
raft::ConfChange Nothing() { return {.changes = {{}}}; }

bool IsUsable(const raft::ConfChange& change) {
  return change.changes.size() <= raft::kMaxMembers && std::ranges::none_of(change.changes, [](const auto& c) {
           return c.node_id == raft::kLocalAppendThread || c.node_id == raft::kLocalApplyThread;
         });
}
}  // namespace

// What cannot be done is refused, by every member alike: they have the same entry and the same membership.
Status Replica::ApplyConfChange(const raft::Entry& e) {
  auto change = wal::DecodeConfChange(e);
  if (!change || !IsUsable(*change)) {
    base::LogError("ignored a membership change", base::DataLoss("it means nothing"), {{"index", e.index}});
    change = Nothing();
  }
  Status refused;
  if (change->changes.size() == 1) refused = CheckChange(change->changes[0], change->context);
  if (!refused.ok()) change->changes[0].node_id = raft::kNone;
  auto conf = raft_->ApplyConfChange(*change);
  if (!conf) {
    base::LogError("refused a membership change", conf.error(), {{"index", e.index}});
    refused = mvcc::ErrNotEnoughStarted();
    change = Nothing();
    conf = raft_->ApplyConfChange(*change);
  }
  TRY_ASSIGN(conf_state_, std::move(conf));
  bool self_removed = false;
  for (const raft::ConfChangeSingle& c : change->changes) {
    if (c.node_id == raft::kNone) continue;
    bool removes = c.type == ConfChangeType::kRemoveNode;
    self_removed |= removes && c.node_id == member_id_;
    // A leader that is removed is heard no more: nobody waits out an election timeout for it.
    if (removes && c.node_id != member_id_) PeerLost(c.node_id);
    applier_->ApplyMemberChange(c.node_id, removes, c.type == ConfChangeType::kAddNode, change->context);
  }
  if (auto waiting = pending_.find(ChangeId(e)); waiting != pending_.end()) {
    waiting->second->shot.Set(mvcc::Answer{.error = refused});
    pending_.erase(waiting);
  }
  TellPeers();
  if (self_removed && !std::exchange(removed_, true)) {
    base::LogInfo("the local member has been removed from the cluster", {{"id", mvcc::MemberKey(member_id_)}});
    // The others hear of it first, so that they stop waiting for this member's vote.
    env_.executor.After(ElectionTimeout(), [this, alive = alive_] {
      if (*alive && on_removed) on_removed();
    });
  }
  return Ok();
}

size_t Replica::ActiveVoters(base::Duration at_least) const {
  size_t n = 0;
  base::MonoTime since = env_.executor.Now() - at_least;
  for (NodeId id : conf_state_.voters) {
    auto active = id == member_id_ ? std::optional(base::MonoTime::min())
                  : transport_     ? transport_->ActiveSince(id)
                                   : std::nullopt;
    n += active && *active <= since;
  }
  return n;
}

Status Replica::MayChange(const MemberChange& change) const {
  if (!options_.strict_reconfig_check) return Ok();
  size_t voters = 0, started = 0;
  bool learner = change.type == ConfChangeType::kAddLearnerNode;
  for (const mvcc::Member& m : Members()) {
    if (m.id == change.id && m.is_learner && change.type == ConfChangeType::kRemoveNode) return Ok();
    if (m.is_learner || (m.id == change.id && change.type == ConfChangeType::kRemoveNode)) continue;
    ++voters;
    started += !m.name.empty();
  }
  if (change.type == ConfChangeType::kAddNode || learner) {
    bool second = started == 1 && voters == 1;  // one member grows to two: its data is being restored
    if (!learner && !second && started < (voters + 1) / 2 + 1) return mvcc::ErrNotEnoughStarted();
    size_t active = ActiveVoters(kHealthInterval);
    return voters > 1 && active < (voters + 1) / 2 + 1 ? mvcc::ErrUnhealthy() : Ok();
  }
  if (change.type != ConfChangeType::kRemoveNode) return Ok();
  if (started < voters / 2 + 1) return mvcc::ErrNotEnoughStarted();
  if (change.id != member_id_ && !(transport_ && transport_->ActiveSince(change.id))) return Ok();
  size_t all = conf_state_.voters.size();
  return ActiveVoters(kHealthInterval) < 2 + (all - 1) / 2 ? mvcc::ErrUnhealthy() : Ok();
}

Status Replica::MayPromote(NodeId id) const {
  if (!is_leader()) return mvcc::ErrNotLeader();
  const auto& progress = raft_->membership().progress;
  auto it = progress.find(id);
  if (it == progress.end()) return mvcc::ErrMemberNotFound();
  auto self = progress.find(member_id_);
  if (self == progress.end()) return mvcc::ErrNotLeader();  // it has removed itself and leads no more in a moment
  if (static_cast<double>(it->second.match) < kLearnerReady * static_cast<double>(self->second.match))
    return mvcc::ErrLearnerNotReady();
  if (!options_.strict_reconfig_check) return Ok();
  size_t voters = 1, started = 1;
  for (const mvcc::Member& m : Members()) {
    voters += !m.is_learner;
    started += !m.is_learner && !m.name.empty();
  }
  return started < voters / 2 + 1 ? mvcc::ErrNotEnoughStarted() : Ok();
}

Task<Result<std::vector<mvcc::Member>>> Replica::ChangeMembers(Context ctx, MemberChange change) {
  if (!failure_.ok() || stopping_) co_return Err(mvcc::ErrStopped());
  if (!IsPromotion(change.context)) CO_TRY(MayChange(change));
  uint64_t id = NextId();
  auto data = std::make_shared<const std::string>(wal::EncodeConfChangeV1(id, change.type, change.id, change.context));
  raft::ConfChange decoded{.changes = {{change.type, change.id}}, .context = change.context};
  auto alive = alive_;
  CO_TRY_ASSIGN(mvcc::Answer answer, co_await ProposeEntry(ctx, id, [this, data, decoded] {
                  return raft_->ProposeConfChange(raft::EntryType::kConfChange, data, decoded);
                }));
  if (!answer.error.ok()) co_return Err(answer.error);
  if (!*alive) co_return Err(mvcc::ErrStopped());
  base::LogInfo(
      "applied a configuration change through raft",
      {{"local-member-id", mvcc::MemberKey(member_id_)}, {"raft-conf-change-node-id", mvcc::MemberKey(change.id)}});
  co_return Members();
}

std::string Replica::ClusterVersion() const {
  std::string version = store_->BucketValue("cluster", "clusterVersion");
  return version.empty() ? std::string(kClusterVersion) : version;
}

// What the cluster's version is to become; "" when it stays.
std::string Replica::CommonVersion() const {
  std::string now = store_->BucketValue("cluster", "clusterVersion");
  int common = MajorMinor(kServerVersion);
  for (const mvcc::Member& m : Members()) {
    if (m.id == member_id_) continue;
    std::string theirs = transport_ != nullptr ? transport_->ServerVersion(m.id) : "";
    if (!theirs.empty()) common = std::min(common, MajorMinor(theirs));
    if (theirs.empty() && !now.empty()) return "";  // it may be older
  }
  if (!now.empty() && (common <= MajorMinor(now) || !applier_->downgrade_target().empty())) return "";
  return std::to_string(common / 1000) + "." + std::to_string(common % 1000) + ".0";
}

Task<Result<std::vector<mvcc::Member>>> Replica::PromoteMember(Context ctx, NodeId id, std::string token) {
  Context limited = ctx.WithTimeout(env_.executor, RequestTimeout());
  auto alive = alive_;
  while (!is_leader()) {
    CO_TRY(co_await AwaitLeader(limited));
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (is_leader()) break;
    if (transport_ == nullptr || stopping_) co_return Err(mvcc::ErrStopped());
    auto answer = co_await transport_->Ask(limited, leader(), "/members/promote/" + std::to_string(id), "", token);
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (answer && answer->status == 200) {
      CO_TRY(co_await ReadBarrier(limited));
      co_return Members();
    }
    if (answer && answer->status == 404) co_return Err(mvcc::ErrMemberNotFound());
    if (answer && answer->status == 412) {
      bool behind = answer->body.find("in sync with leader") != std::string::npos;
      co_return Err(behind ? mvcc::ErrLearnerNotReady() : mvcc::ErrMemberNotLearner());
    }
    if (!(co_await base::Sleep(env_.executor, limited, options_.heartbeat)).ok() || !*alive)
      co_return Err(mvcc::ErrTimeout());
  }
  CO_TRY(MayPromote(id));
  mvcc::Member m{.id = id};
  std::string context = mvcc::MemberToJson(m);
  context.insert(context.size() - 1, ",\"isPromote\":true");
  auto members = co_await ChangeMembers(ctx, {ConfChangeType::kAddNode, id, std::move(context)});
  if (members) ++counters_.promotions;
  co_return members;
}

Task<Status> Replica::MoveLeader(Context ctx, NodeId to) {
  if (!is_leader()) co_return mvcc::ErrNotLeader();
  const auto& voters = conf_state_.voters;
  if (std::find(voters.begin(), voters.end(), to) == voters.end()) co_return mvcc::ErrBadLeaderTransferee();
  Context limited = ctx.WithTimeout(env_.executor, RequestTimeout());
  transferring_ = to != member_id_;
  raft_->TransferLeader(to);
  Schedule();
  auto alive = alive_;
  while (raft_->leader() != to) {
    if (!(co_await base::Sleep(env_.executor, limited, options_.heartbeat / 4)).ok() || !*alive) {
      co_return base::Unavailable("etcdserver: request timed out, leader transfer took too long");
    }
  }
  co_return Ok();
}

std::optional<NodeId> Replica::Successor() const {
  std::optional<NodeId> best;
  uint64_t match = 0;
  for (const auto& [id, p] : raft_->membership().progress) {
    if (id == member_id_ || p.learner || !transport_ || !transport_->ActiveSince(id) || p.match < match) continue;
    best = id;
    match = p.match;
  }
  return best;
}

// ---- leases: their ends are counted by the leader alone

Result<int64_t> Replica::RenewLeaseHere(int64_t id) {
  if (!is_leader()) return Err(mvcc::ErrNotLeader());
  auto ttl = store_->leases().Renew(id, env_.executor.Now());
  return ttl.value_or(0);
}

Result<Replica::LeaseTimes> Replica::LeaseTimesHere(int64_t id, bool keys) const {
  if (!is_leader()) return Err(mvcc::ErrNotLeader());
  LeaseTimes out;
  const mvcc::Lease* lease = store_->leases().Find(id);
  if (lease == nullptr || lease->ending || lease->expiry <= env_.executor.Now()) return out;
  out.ttl = std::chrono::duration_cast<std::chrono::seconds>(lease->expiry - env_.executor.Now()).count();
  out.granted = lease->ttl;
  if (keys) out.keys.assign(lease->keys.begin(), lease->keys.end());
  return out;
}

Task<Result<int64_t>> Replica::RenewLease(Context ctx, int64_t id) {
  Context limited = ctx.WithTimeout(env_.executor, RequestTimeout());
  auto alive = alive_;
  for (;;) {
    CO_TRY(co_await AwaitLeader(limited));
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (!failure_.ok() || stopping_) co_return Err(mvcc::ErrStopped());
    if (is_leader()) {
      // A lease granted before this call must be known, even right after an election.
      CO_TRY(co_await ReadBarrier(limited));
      if (is_leader()) co_return RenewLeaseHere(id);
    }
    std::string body;
    wire::PutUint(body, 1, static_cast<uint64_t>(id));
    if (transport_ == nullptr) co_return Err(mvcc::ErrNoLeader());
    auto answer = co_await transport_->Ask(limited, leader(), "/leases", std::move(body), "");
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (answer && answer->status == 404) co_return 0;
    if (answer && answer->status == 200) {
      int64_t ttl = 0;
      wire::Reader r(answer->body);
      while (r.Next()) {
        if (r.field() == 3) ttl = static_cast<int64_t>(r.value());
      }
      co_return ttl;
    }
    if (!(co_await base::Sleep(env_.executor, limited, options_.heartbeat / 2)).ok() || !*alive)
      co_return Err(mvcc::ErrTimeout());
  }
}

Task<Result<Replica::LeaseTimes>> Replica::LeaseTimeToLive(Context ctx, int64_t id, bool keys) {
  Context limited = ctx.WithTimeout(env_.executor, RequestTimeout());
  auto alive = alive_;
  for (;;) {
    CO_TRY(co_await AwaitLeader(limited));
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (!failure_.ok() || stopping_) co_return Err(mvcc::ErrStopped());
    if (is_leader()) {
      CO_TRY(co_await ReadBarrier(limited));
      if (is_leader()) co_return LeaseTimesHere(id, keys);
    }
    std::string inner, body;
    wire::PutUint(inner, 1, static_cast<uint64_t>(id));
    if (keys) wire::PutUint(inner, 2, 1);
    wire::PutBytes(body, 1, inner);
    if (transport_ == nullptr) co_return Err(mvcc::ErrNoLeader());
    auto answer = co_await transport_->Ask(limited, leader(), "/leases/internal", std::move(body), "");
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (answer && answer->status == 404) co_return LeaseTimes();
    if (answer && answer->status == 200) {
      LeaseTimes out;
      wire::Reader outer(answer->body);
      while (outer.Next()) {
        wire::Reader r(outer.bytes());
        while (r.Next()) {
          if (r.field() == 3) out.ttl = static_cast<int64_t>(r.value());
          if (r.field() == 4) out.granted = static_cast<int64_t>(r.value());
          if (r.field() == 5) out.keys.emplace_back(r.bytes());
        }
      }
      co_return out;
    }
    if (!(co_await base::Sleep(env_.executor, limited, options_.heartbeat / 2)).ok() || !*alive)
      co_return Err(mvcc::ErrTimeout());
  }
}

}  // namespace kvstore::replica
