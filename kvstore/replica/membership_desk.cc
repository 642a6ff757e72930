#include "kvstore/replica/membership_desk.h"

#include <algorithm>

#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/member_id.h"
#include "kvstore/raft/plausible.h"
#include "kvstore/replica/requests.h"
#include "proto/etcd/server_internal.pb.h"

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
constexpr double kLearnerReady = 0.9;  // of the leader's log

// Of no change: ends the one that was proposed.
raft::ConfChange Nothing() { return {.changes = {{}}}; }

bool IsUsable(const raft::ConfChange& change) {
  return change.changes.size() <= raft::kMaxMembers && std::ranges::none_of(change.changes, [](const auto& c) {
           return c.node_id == raft::kLocalAppendThread || c.node_id == raft::kLocalApplyThread;
         });
}

}  // namespace

// ---- who is there

std::vector<mvcc::Member> MembershipDesk::Members() const {
  std::vector<mvcc::Member> out;
  const mvcc::Buckets& buckets = shared_.store->buckets();
  auto bucket = buckets.find("members");
  if (bucket == buckets.end()) return out;
  for (const auto& [key, json] : bucket->second) {
    if (auto m = mvcc::MemberFromJson(json)) out.push_back(std::move(*m));
  }
  return out;
}

bool MembershipDesk::IsRemoved(NodeId id) const {
  const mvcc::Buckets& buckets = shared_.store->buckets();
  auto bucket = buckets.find("members_removed");
  return bucket != buckets.end() && bucket->second.contains(mvcc::MemberKey(id));
}

bool MembershipDesk::is_learner() const {
  const auto& learners = core_.applied().conf_state.learners;
  return std::find(learners.begin(), learners.end(), shared_.member_id) != learners.end();
}

void MembershipDesk::TellPeers() {
  if (shared_.transport == nullptr) return;
  const Options& options = shared_.options;
  std::vector<mvcc::Member> members = Members();
  if (members.empty() && options.existing) members = options.existing->members;
  // Before its first entries are applied a member of a new cluster knows the others from its flags.
  for (const auto& [name, urls] : members.empty() ? options.initial_cluster : decltype(options.initial_cluster)()) {
    members.push_back({.id = mvcc::MemberId(urls, options.cluster_token), .name = name, .peer_urls = urls});
  }
  std::erase_if(members, [this](const mvcc::Member& m) { return m.id == shared_.member_id; });
  shared_.transport->SetPeers(std::move(members));
}

// ---- what the cluster is told of this member

void MembershipDesk::Publish() {
  if (publishing_ || !core_.has_leader() || !shared_.life.usable()) return;
  const Options& options = shared_.options;
  auto members = Members();
  auto self = std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.id == shared_.member_id; });
  if (self == members.end()) return;  // not applied yet
  etcdserverpb::InternalRaftRequest r;
  if (self->name != options.name || self->client_urls != options.client_urls) {
    auto* set = r.mutable_cluster_member_attr_set();
    set->set_member_id(shared_.member_id);
    set->mutable_member_attributes()->set_name(options.name);
    for (const std::string& u : options.client_urls) set->mutable_member_attributes()->add_client_urls(u);
  } else if (std::string version = CommonVersion(); core_.is_leader() && !version.empty()) {
    r.mutable_cluster_version_set()->set_ver(std::move(version));
  } else {
    return;
  }
  publishing_ = true;
  base::SpawnNow([](MembershipDesk* desk, Life::Token alive, std::string fields) -> Task<void> {
    (void)co_await desk->proposals_.Propose(Context(), std::move(fields));
    if (!*alive) co_return;
    desk->publishing_ = false;
    desk->Publish();
  }(this, shared_.life.token(), r.SerializeAsString()));
}

std::string MembershipDesk::ClusterVersion() const {
  std::string version = shared_.store->BucketValue("cluster", "clusterVersion");
  return version.empty() ? std::string(kClusterVersion) : version;
}

// What the cluster's version is to become; "" when it stays.
std::string MembershipDesk::CommonVersion() const {
  std::string now = shared_.store->BucketValue("cluster", "clusterVersion");
  int common = MajorMinor(kServerVersion);
  for (const mvcc::Member& m : Members()) {
    if (m.id == shared_.member_id) continue;
    std::string theirs = shared_.transport != nullptr ? shared_.transport->ServerVersion(m.id) : "";
    if (!theirs.empty()) common = std::min(common, MajorMinor(theirs));
    if (theirs.empty() && !now.empty()) return "";  // it may be older
  }
  if (!now.empty() && (common <= MajorMinor(now) || !shared_.applier->downgrade_target().empty())) return "";
  return std::to_string(common / 1000) + "." + std::to_string(common % 1000) + ".0";
}

// ---- entries

// Why every member refuses a change, if it does.
Status MembershipDesk::Refusal(const raft::ConfChange& change) const {
  if (change.changes.size() != 1) return Ok();
  const auto& [type, id] = change.changes[0];
  return CheckChange({type, id, change.context}, Members(), IsRemoved(id), shared_.options.max_learners);
}

Status MembershipDesk::Apply(const raft::Entry& e) {
  auto change = wal::DecodeConfChange(e);
  if (!change || !IsUsable(*change)) {
    base::LogError("ignored a membership change", base::DataLoss("it means nothing"), {{"index", e.index}});
    change = Nothing();
  }
  Status refused = Refusal(*change);
  if (!refused.ok()) change->changes[0].node_id = raft::kNone;
  auto members = core_.raft().ApplyConfChange(*change);
  if (!members) {
    base::LogError("refused a membership change", members.error(), {{"index", e.index}});
    refused = mvcc::ErrNotEnoughStarted();
    change = Nothing();
    members = core_.raft().ApplyConfChange(*change);
  }
  if (!members) return members.error();
  core_.MembersAre(std::move(*members));
  bool self_removed = false;
  for (const raft::ConfChangeSingle& c : change->changes) {
    if (c.node_id == raft::kNone) continue;
    bool removes = c.type == ConfChangeType::kRemoveNode;
    self_removed |= removes && c.node_id == shared_.member_id;
    // A leader that is removed is heard no more: nobody waits out an election timeout for it.
    if (removes && c.node_id != shared_.member_id) core_.PeerLost(c.node_id);
    shared_.applier->ApplyMemberChange(c.node_id, removes, c.type == ConfChangeType::kAddNode, change->context);
  }
  proposals_.Answer(ChangeId(e), mvcc::Answer{.error = refused});
  TellPeers();
  if (self_removed && !std::exchange(removed_, true)) Removed();
  return Ok();
}

void MembershipDesk::Removed() {
  base::LogInfo("the local member has been removed from the cluster", {{"id", mvcc::MemberKey(shared_.member_id)}});
  // The others hear of it first, so that they stop waiting for this member's vote.
  shared_.env.executor.After(shared_.options.ElectionTimeout(), [this, alive = shared_.life.token()] {
    if (*alive) on_removed();
  });
}

// ---- changes

VoterHealth MembershipDesk::Health(NodeId target) const {
  auto since = [this](NodeId id) -> std::optional<base::MonoTime> {
    if (id == shared_.member_id) return base::MonoTime::min();
    return shared_.transport != nullptr ? shared_.transport->ActiveSince(id) : std::nullopt;
  };
  base::MonoTime long_enough = shared_.env.executor.Now() - kHealthInterval;
  const auto& voters = core_.applied().conf_state.voters;
  VoterHealth out{.voters = voters.size(), .sees_target = since(target).has_value()};
  for (NodeId id : voters) {
    auto active = since(id);
    out.active += active && *active <= long_enough;
  }
  return out;
}

Status MembershipDesk::MayPromote(NodeId id) const {
  if (!core_.is_leader()) return mvcc::ErrNotLeader();
  const auto& progress = core_.raft().membership().progress;
  auto it = progress.find(id);
  if (it == progress.end()) return mvcc::ErrMemberNotFound();
  auto self = progress.find(shared_.member_id);
  if (self == progress.end()) return mvcc::ErrNotLeader();  // it has removed itself and leads no more in a moment
  if (static_cast<double>(it->second.match) < kLearnerReady * static_cast<double>(self->second.match))
    return mvcc::ErrLearnerNotReady();
  return shared_.options.strict_reconfig_check ? MayGainVoter(Members()) : Ok();
}

Task<Result<std::vector<mvcc::Member>>> MembershipDesk::Change(Context ctx, MemberChange change) {
  if (!shared_.life.usable()) co_return Err(mvcc::ErrStopped());
  if (!IsPromotion(change.context) && shared_.options.strict_reconfig_check) {
    CO_TRY(MayChange(change, Members(), Health(change.id)));
  }
  uint64_t id = core_.NextId();
  auto data = std::make_shared<const std::string>(wal::EncodeConfChangeV1(id, change.type, change.id, change.context));
  raft::ConfChange decoded{.changes = {{change.type, change.id}}, .context = change.context};
  auto alive = shared_.life.token();
  CO_TRY_ASSIGN(mvcc::Answer answer, co_await proposals_.ProposeEntry(ctx, id, [this, data, decoded] {
    return core_.raft().ProposeConfChange(raft::EntryType::kConfChange, data, decoded);
  }));
  if (!answer.error.ok()) co_return Err(answer.error);
  if (!*alive) co_return Err(mvcc::ErrStopped());
  base::LogInfo("applied a configuration change through raft",
                {{"local-member-id", mvcc::MemberKey(shared_.member_id)},
                 {"raft-conf-change-node-id", mvcc::MemberKey(change.id)}});
  co_return Members();
}

Task<Result<std::vector<mvcc::Member>>> MembershipDesk::Promote(Context ctx, NodeId id, std::string token) {
  Context limited = ctx.WithTimeout(shared_.env.executor, shared_.options.RequestTimeout());
  auto alive = shared_.life.token();
  while (!core_.is_leader()) {
    CO_TRY(co_await core_.AwaitLeader(limited));
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (core_.is_leader()) break;
    Transport* transport = shared_.transport;
    if (transport == nullptr || shared_.life.stopping()) co_return Err(mvcc::ErrStopped());
    auto answer =
        co_await transport->Ask(limited, core_.raft().leader(), "/members/promote/" + std::to_string(id), "", token);
    if (!*alive) co_return Err(mvcc::ErrStopped());
    if (answer && answer->status == 200) {
      CO_TRY(co_await reads_.Barrier(limited));
      co_return Members();
    }
    if (answer && answer->status == 404) co_return Err(mvcc::ErrMemberNotFound());
    if (answer && answer->status == 412) {
      bool behind = answer->body.find("in sync with leader") != std::string::npos;
      co_return Err(behind ? mvcc::ErrLearnerNotReady() : mvcc::ErrMemberNotLearner());
    }
    if (!(co_await base::Sleep(shared_.env.executor, limited, shared_.options.heartbeat)).ok() || !*alive)
      co_return Err(mvcc::ErrTimeout());
  }
  CO_TRY(MayPromote(id));
  auto members = co_await Change(ctx, Promotion(id));
  if (members) ++shared_.counters.promotions;
  co_return members;
}

Task<Status> MembershipDesk::MoveLeader(Context ctx, NodeId to) {
  if (!core_.is_leader()) co_return mvcc::ErrNotLeader();
  const auto& voters = core_.applied().conf_state.voters;
  if (std::find(voters.begin(), voters.end(), to) == voters.end()) co_return mvcc::ErrBadLeaderTransferee();
  Context limited = ctx.WithTimeout(shared_.env.executor, shared_.options.RequestTimeout());
  core_.Transfer(to);
  auto alive = shared_.life.token();
  while (core_.raft().leader() != to) {
    if (!(co_await base::Sleep(shared_.env.executor, limited, shared_.options.heartbeat / 4)).ok() || !*alive) {
      co_return base::Unavailable("etcdserver: request timed out, leader transfer took too long");
    }
  }
  co_return Ok();
}

std::optional<NodeId> MembershipDesk::Successor() const {
  std::optional<NodeId> best;
  uint64_t match = 0;
  for (const auto& [id, p] : core_.raft().membership().progress) {
    if (id == shared_.member_id || p.learner || p.match < match) continue;
    if (shared_.transport == nullptr || !shared_.transport->ActiveSince(id)) continue;
    best = id;
    match = p.match;
  }
  return best;
}

}  // namespace kvstore::replica
