#include "kvstore/service/corruption.h"

#include <algorithm>
#include <map>

#include "base/go_duration.h"
#include "base/log.h"
#include "base/protobuf_wire.h"
#include "kvstore/replica/hash.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

namespace wire = base::wire;

using base::Context;
using base::Ok;
using base::Status;
using base::Task;
using raft::NodeId;
namespace pb = etcdserverpb;

namespace {

constexpr uint32_t kAlarmField = 10;  // of InternalRaftRequest

void Warn(const char* what, const mvcc::Store::Hash& ours, NodeId peer, const mvcc::Store::Hash& theirs) {
  base::LogWarning(what, {{"local-member-revision", ours.revision},
                          {"local-member-compact-revision", ours.compact_revision},
                          {"local-member-hash", ours.hash},
                          {"remote-peer-id", mvcc::MemberKey(peer)},
                          {"remote-peer-compact-revision", theirs.compact_revision},
                          {"remote-peer-hash", theirs.hash}});
}

}  // namespace

Task<std::vector<CorruptionChecker::PeerHash>> CorruptionChecker::AskAll(Context ctx, int64_t revision) {
  std::vector<PeerHash> out;
  for (const mvcc::Member& m : replica_.Members()) {
    if (m.id == replica_.member_id()) continue;
    auto hash = co_await transport_.AskHash(ctx, m.id, revision);
    if (!hash) {
      base::LogWarning(
          "failed hash kv request",
          {{"requested-revision", revision}, {"remote-peer-id", mvcc::MemberKey(m.id)}, {"error", hash.error()}});
    }
    out.push_back({m.id, std::move(hash)});
  }
  co_return out;
}

Task<Status> CorruptionChecker::InitialCheck(Context ctx) {
  std::string self = mvcc::MemberKey(replica_.member_id());
  base::LogInfo("starting initial corruption check", {{"local-member-id", self}});
  CO_TRY_ASSIGN(mvcc::Store::Hash ours, co_await replica::HashKv(replica_, pool_, ctx, 0));
  bool different = false;
  for (const PeerHash& a : co_await AskAll(ctx, ours.revision)) {
    if (!a.hash || a.hash->hash.hash == ours.hash) continue;
    bool comparable = a.hash->hash.compact_revision == ours.compact_revision;
    different |= comparable;
    Warn(comparable ? "found different hash values from remote peer"
                    : "found different compact revision values from remote peer",
         ours, a.from, a.hash->hash);
  }
  if (different) co_return base::DataLoss(self + " found data inconsistency with peers");
  base::LogInfo("initial corruption checking passed; no corruption", {{"local-member-id", self}});
  co_return Ok();
}

Task<void> CorruptionChecker::Alarm(Context ctx, NodeId member) {
  pb::AlarmRequest alarm;
  alarm.set_action(pb::AlarmRequest::ACTIVATE);
  alarm.set_memberid(member);
  alarm.set_alarm(pb::CORRUPT);
  std::string fields;
  wire::PutBytes(fields, kAlarmField, alarm.SerializeAsString());
  auto answer = co_await replica_.Propose(ctx, std::move(fields));
  if (!answer)
    base::LogError("failed to raise the alarm CORRUPT", answer.error(), {{"member", mvcc::MemberKey(member)}});
}

Task<void> CorruptionChecker::PeriodicCheck(Context ctx) {
  auto before = co_await replica::HashKv(replica_, pool_, ctx, 0);
  if (!before) co_return base::LogWarning("failed to check hash KV", {{"error", before.error()}});
  auto answers = co_await AskAll(ctx, before->revision);
  // Only behind a barrier is this member's own revision surely not older than what a follower said.
  if (Status s = co_await replica_.ReadBarrier(ctx); !s.ok()) {
    co_return base::LogWarning("failed to check hash KV", {{"error", s}});
  }
  int64_t revision = replica_.store().revision(), compacted = replica_.store().compact_revision();
  size_t checked = 0;
  NodeId suspect = raft::kNone;
  for (const PeerHash& a : answers) {
    if (!a.hash) continue;
    ++checked;
    const auto& theirs = a.hash->hash;
    const char* wrong = a.hash->revision > revision ? "revision from follower must be less than or equal to leader's"
                        : theirs.compact_revision > compacted
                            ? "compact revision from follower must be less than or equal to leader's"
                        : theirs.compact_revision == before->compact_revision && theirs.hash != before->hash
                            ? "same compact revision then hashes must match"
                            : nullptr;
    if (wrong == nullptr) continue;
    Warn(wrong, *before, a.from, theirs);
    if (suspect == raft::kNone) suspect = a.from;
  }
  if (suspect != raft::kNone) co_await Alarm(ctx, suspect);
  base::LogInfo("finished peer corruption check", {{"number-of-peers-checked", checked}});
}

Task<void> CorruptionChecker::CompactionCheck(Context ctx) {
  int64_t compacted = replica_.store().compact_revision();
  if (compacted <= compaction_checked_) co_return;
  auto ours = co_await replica::HashKv(replica_, pool_, ctx, 0);
  if (!ours) co_return base::LogWarning("failed to check hash KV", {{"error", ours.error()}});
  std::map<uint32_t, std::vector<NodeId>> by_hash = {{ours->hash, {replica_.member_id()}}};
  size_t members = 1, checked = 1;
  for (const PeerHash& a : co_await AskAll(ctx, ours->revision)) {
    ++members;
    if (!a.hash || a.hash->hash.compact_revision != ours->compact_revision) continue;
    ++checked;
    by_hash[a.hash->hash.hash].push_back(a.from);
  }
  if (by_hash.size() == 1) {
    // Who could not be asked is asked again.
    if (checked == members) compaction_checked_ = compacted;
    base::LogInfo("finished compaction hash check",
                  {{"number-of-peers-checked", checked - 1}, {"compact-revision", ours->compact_revision}});
    co_return;
  }
  compaction_checked_ = compacted;
  auto majority = std::ranges::find_if(by_hash, [&](const auto& e) { return e.second.size() > members / 2; });
  bool known = majority != by_hash.end();
  if (known) by_hash.erase(majority);
  for (const auto& [hash, ids] : by_hash) {
    for (NodeId id : ids) {
      base::LogWarning("Detected compaction hash mismatch", {{"peer-id", mvcc::MemberKey(id)},
                                                             {"peer-hash", hash},
                                                             {"leader-compact-revision", ours->compact_revision},
                                                             {"quorum-exist", known}});
      if (known) co_await Alarm(ctx, id);
    }
  }
  // Without a majority nobody knows who is right: the alarm is for all.
  if (!known) co_await Alarm(ctx, raft::kNone);
}

Task<void> CorruptionChecker::Every(Context ctx, base::Duration interval,
                                    Task<void> (CorruptionChecker::*check)(Context)) {
  while ((co_await base::Sleep(replica_.executor(), ctx, interval)).ok()) {
    if (replica_.is_leader()) co_await (this->*check)(ctx);
  }
}

Task<void> CorruptionChecker::Run(Context ctx, CorruptionCheckOptions options) {
  base::TaskScope checks(replica_.executor(), ctx);
  if (options.every > base::Duration::zero()) {
    base::LogInfo("enabled corruption checking", {{"local-member-id", mvcc::MemberKey(replica_.member_id())},
                                                  {"interval", base::FormatGoDuration(options.every)}});
    checks.Spawn(Every(checks.context(), options.every, &CorruptionChecker::PeriodicCheck));
  }
  if (options.after_compaction > base::Duration::zero()) {
    checks.Spawn(Every(checks.context(), options.after_compaction, &CorruptionChecker::CompactionCheck));
  }
  co_await checks.Join();
}

}  // namespace kvstore::service
