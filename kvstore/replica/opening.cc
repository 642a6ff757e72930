#include "kvstore/replica/opening.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "kvstore/mvcc/member_id.h"
#include "kvstore/replica/import.h"
#include "kvstore/replica/install.h"

namespace kvstore::replica {

using base::Ok;
using base::Result;
using base::Status;
using raft::ConfChangeType;
using raft::NodeId;

namespace {

// A data directory of etcd itself: its database becomes the first checkpoint, its log goes on.
Status ImportForeignState(base::FileSystem& fs, const Options& options, mvcc::Store& store) {
  std::string db = options.data_dir + "/member/snap/db";
  TRY_ASSIGN(bool exists, fs.Exists(db));
  if (!exists) return Ok();
  TRY_ASSIGN(mvcc::AppliedMark mark, ImportDatabase(fs, db, store));
  TRY_ASSIGN(mvcc::Store::Checkpoint c, store.PrepareCheckpoint(mark));
  TRY(c.Run());
  store.FinishCheckpoint(c);
  base::LogInfo("imported etcd database", {{"path", db}, {"consistent-index", mark.index}});
  return Ok();
}

Status CreateLog(base::FileSystem& fs, const Options& options) {
  wal::Metadata who;
  if (options.existing) {
    who = {options.existing->member_id, options.existing->cluster_id};
  } else {
    who.node_id = mvcc::MemberId(options.peer_urls, options.cluster_token);
    std::vector<uint64_t> ids;
    for (const auto& [name, urls] : options.initial_cluster) ids.push_back(mvcc::MemberId(urls, options.cluster_token));
    if (ids.empty()) ids.push_back(who.node_id);
    who.cluster_id = mvcc::ClusterId(ids);
  }
  TRY_ASSIGN(auto fresh, wal::Wal::Create(fs, options.wal_dir, who, options.wal));
  return Ok();
}

// A new cluster's log begins with its members, in the order of their ids: every member writes the same entries.
Status Bootstrap(const Options& options, NodeId self, wal::Wal& wal) {
  std::vector<mvcc::Member> members;
  for (const auto& [name, urls] : options.initial_cluster) {
    members.push_back({.id = mvcc::MemberId(urls, options.cluster_token), .name = name, .peer_urls = urls});
  }
  if (members.empty()) members.push_back({.id = self, .name = options.name, .peer_urls = options.peer_urls});
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  raft::Entries entries;
  for (mvcc::Member& m : members) {
    std::sort(m.peer_urls.begin(), m.peer_urls.end());
    raft::Entry e{.type = raft::EntryType::kConfChange, .term = 1, .index = entries.size() + 1};
    e.data = std::make_shared<const std::string>(
        wal::EncodeConfChangeV1(0, ConfChangeType::kAddNode, m.id, mvcc::MemberToJson(m)));
    entries.push_back(std::move(e));
  }
  TRY(wal.Save({.term = 1, .commit = entries.size()}, entries));
  return wal.Sync();
}

// Who is a member once these entries are applied.
std::set<NodeId> MembersAfter(const mvcc::AppliedMark& mark, const raft::Entries& entries) {
  auto conf = wal::DecodeConfState(mark.conf_state).value_or(raft::ConfState());
  std::set<NodeId> ids(conf.voters.begin(), conf.voters.end());
  ids.insert(conf.learners.begin(), conf.learners.end());
  for (const raft::Entry& e : entries) {
    if (e.type == raft::EntryType::kNormal) continue;
    auto change = wal::DecodeConfChange(e);
    for (const auto& c : change ? change->changes : std::vector<raft::ConfChangeSingle>()) {
      if (c.type == ConfChangeType::kRemoveNode) ids.erase(c.node_id);
      if (c.type == ConfChangeType::kAddNode || c.type == ConfChangeType::kAddLearnerNode) ids.insert(c.node_id);
    }
  }
  return ids;
}

// Entries that were not known to be committed are dropped, and removals of everybody else are appended as committed.
Status DropOthers(const Options& options, const mvcc::AppliedMark& mark, wal::Contents& contents, wal::Wal& wal) {
  NodeId self_id = contents.metadata.node_id;
  uint64_t commit = std::max(contents.hard_state.commit, mark.index);
  while (!contents.entries.empty() && contents.entries.back().index > commit) contents.entries.pop_back();
  std::set<NodeId> ids = MembersAfter(mark, contents.entries);
  uint64_t last = contents.entries.empty() ? mark.index : contents.entries.back().index;
  uint64_t term = std::max<uint64_t>(contents.hard_state.term, 1);
  raft::Entries added;
  auto add = [&](std::string data) {
    raft::Entry e{.type = raft::EntryType::kConfChange, .term = term, .index = ++last};
    e.data = std::make_shared<const std::string>(std::move(data));
    added.push_back(std::move(e));
  };
  if (!ids.contains(self_id)) {
    mvcc::Member self{.id = self_id, .name = options.name, .peer_urls = options.peer_urls};
    add(wal::EncodeConfChangeV1(0, ConfChangeType::kAddNode, self_id, mvcc::MemberToJson(self)));
  }
  for (NodeId id : ids) {
    if (id != self_id) add(wal::EncodeConfChangeV1(0, ConfChangeType::kRemoveNode, id, ""));
  }
  contents.hard_state.term = term;
  contents.hard_state.commit = last;
  base::LogInfo("forcing restart member", {{"commit-index", last}, {"removed", added.size()}});
  TRY(wal.Save(contents.hard_state, added));
  TRY(wal.Sync());
  contents.entries.insert(contents.entries.end(), added.begin(), added.end());
  return Ok();
}

}  // namespace

Result<Opened> OpenMember(base::FileSystem& fs, const Options& options) {
  Opened out;
  std::string member = options.data_dir + "/member";
  TRY(fs.MakeDirectories(member + "/snap"));
  TRY_ASSIGN(out.store, FinishInstall(fs, options));
  if (!out.store) {
    TRY_ASSIGN(out.store, mvcc::Store::Open(fs, member + "/kv", options.store));
  }
  if (out.store->checkpointed().index == 0) TRY(ImportForeignState(fs, options, *out.store));
  const mvcc::AppliedMark& mark = out.store->checkpointed();
  if (!wal::Exists(fs, options.wal_dir)) {
    if (mark.index != 0) {
      return base::Err(
          base::DataLoss("the write-ahead log " + options.wal_dir + " is missing, but there is a checkpoint"));
    }
    TRY(CreateLog(fs, options));
  }
  auto open_log = [&]() -> Status {
    TRY_ASSIGN(auto opened, wal::Wal::Open(fs, options.wal_dir, mark.index, options.wal));
    out.wal = std::move(opened.wal);
    out.contents = std::move(opened.contents);
    return Ok();
  };
  TRY(open_log());
  if (mark.index == 0 && out.contents.entries.empty() && !options.existing) {
    TRY(Bootstrap(options, out.contents.metadata.node_id, *out.wal));
    TRY(open_log());
  }
  if (options.force_new_cluster) TRY(DropOthers(options, mark, out.contents, *out.wal));
  return out;
}

}  // namespace kvstore::replica
