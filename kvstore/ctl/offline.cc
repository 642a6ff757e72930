// A data directory that no member is using: what is in it, and its garbage given back.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "base/prefix_end.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/mvcc/applier.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/mvcc/store.h"
#include "kvstore/wal/wal.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::ctl {

using base::Err;
using base::Ok;
using base::Result;
using base::Status;
using base::Task;
namespace pb = etcdserverpb;

namespace {

// A store and its lock, which goes with it.
struct Directory {
  ~Directory() {
    if (lock >= 0) ::close(lock);
  }
  int lock = -1;
  std::unique_ptr<mvcc::Store> store;
};

Result<std::unique_ptr<Directory>> OpenDirectory(const std::string& data_dir) {
  auto out = std::make_unique<Directory>();
  std::string keys = data_dir + "/member/kv";
  base::FileSystem& fs = base::PosixFileSystem();
  TRY_ASSIGN(bool ours, fs.Exists(keys));
  if (!ours) return Err(base::NotFound(data_dir + " is no data directory of kvstore: there is no member/kv in it"));
  out->lock = ::open(data_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (out->lock < 0) return Err(base::FromErrno(errno, data_dir));
  if (::flock(out->lock, LOCK_EX | LOCK_NB) != 0) {
    return Err(base::FailedPrecondition(data_dir + " is in use by another process"));
  }
  TRY_ASSIGN(out->store, mvcc::Store::Open(fs, keys));
  return out;
}

// What the log has beyond the checkpoint and says to be committed, as far as that is known here. Nothing of it is kept:
// the member does it again when it starts.
Status ApplyLog(mvcc::Store& store, const std::string& wal_dir, uint64_t& applied) {
  TRY_ASSIGN(wal::Wal::Opened log, wal::Wal::Open(base::PosixFileSystem(), wal_dir, applied));
  mvcc::Applier applier(store);
  for (const raft::Entry& e : log.contents.entries) {
    if (e.index > log.contents.hard_state.commit) break;
    applied = e.index;
    if (e.type != raft::EntryType::kNormal) {
      auto change = wal::DecodeConfChange(e);
      for (const auto& c : change ? change->changes : std::vector<raft::ConfChangeSingle>()) {
        bool removes = c.type == raft::ConfChangeType::kRemoveNode;
        applier.ApplyMemberChange(c.node_id, removes, c.type == raft::ConfChangeType::kAddNode, change->context);
      }
      continue;
    }
    pb::InternalRaftRequest request;
    if (e.bytes().empty() || !request.ParseFromString(*e.data)) continue;
    auto answer = applier.Apply(request, e.index);
    if (!answer) return answer.error();
  }
  return Ok();
}

void PrintHead(const mvcc::Store& store, uint64_t applied) {
  base::JsonWriter w;
  w.BeginObject().Key("revision").Int(store.revision()).Key("compact_revision").Int(store.compact_revision());
  w.Key("raft_index").Uint(applied).Key("keys").Int(store.Count({"", std::string_view("\0", 1)}, 0));
  w.Key("size").Uint(store.size_bytes()).Key("size_in_use").Uint(store.size_in_use_bytes()).Key("members").BeginArray();
  if (auto members = store.buckets().find("members"); members != store.buckets().end()) {
    for (const auto& [id, json] : members->second) w.Raw(json);
  }
  w.EndArray().EndObject();
  Out(w.Take() + "\n");
}

void PrintKey(const Run& run, const mvcc::KeyValueView& kv) {
  if (run.format != Format::kJson) {
    Out(std::string(kv.key) + "\n" + (run.flags.keys_only ? "" : std::string(kv.value) + "\n"));
    return;
  }
  base::JsonWriter w;
  w.BeginObject().Key("key").String(base::Base64Encode(kv.key)).Key("create_revision").Int(kv.create_revision);
  w.Key("mod_revision").Int(kv.mod_revision).Key("version").Int(kv.version);
  if (kv.lease != 0) w.Key("lease").Int(kv.lease);
  if (!run.flags.keys_only) w.Key("value").String(base::Base64Encode(kv.value));
  w.EndObject();
  Out(w.Take() + "\n");
}

Status DumpDirectory(const Run& run) {
  TRY_ASSIGN(auto directory, OpenDirectory(run.flags.data_dir));
  mvcc::Store& store = *directory->store;
  uint64_t applied = store.checkpointed().index;
  std::string wal_dir = run.flags.wal_dir.empty() ? run.flags.data_dir + "/member/wal" : run.flags.wal_dir;
  TRY(ApplyLog(store, wal_dir, applied));
  if (run.format == Format::kJson) PrintHead(store, applied);
  std::string from = run.args.empty() ? "" : run.args[0], end = base::PrefixEnd(from);
  // A hundred at a time: a store may be larger than the memory.
  constexpr int64_t kPage = 100;
  for (;;) {
    TRY_ASSIGN(auto page, store.Range({.key = from, .end = end, .revision = run.flags.rev, .limit = kPage}));
    for (const std::string& bytes : page.kvs) {
      auto kv = mvcc::DecodeKeyValue(bytes);
      if (!kv) return base::DataLoss("an unreadable key");
      PrintKey(run, *kv);
      from = std::string(kv->key) + '\0';
    }
    if (static_cast<int64_t>(page.kvs.size()) < kPage) return Ok();
  }
}

}  // namespace

Task<int> Dump(Run& run) {
  if (run.flags.data_dir.empty() || run.args.size() > 1) {
    co_return Fail(kExitBadArgs, "dump requires --data-dir, and one prefix at most");
  }
  Status s = DumpDirectory(run);
  if (!s.ok()) co_return Fail(kExitError, s.message());
  co_return 0;
}

Status DefragmentDirectory(const std::string& data_dir) {
  TRY_ASSIGN(auto directory, OpenDirectory(data_dir));
  mvcc::Store& store = *directory->store;
  mvcc::AppliedMark mark = store.checkpointed();
  if (mark.index == 0) return Ok();  // all there is is in the log
  TRY(store.Defragment());
  for (bool more = true; more;) {
    TRY_ASSIGN(more, store.MaintenanceStep());
  }
  TRY_ASSIGN(mvcc::Store::Checkpoint c, store.PrepareCheckpoint(mark));
  TRY(c.Run());
  store.FinishCheckpoint(c);
  return Ok();
}

}  // namespace kvstore::ctl
