#include "kvstore/replica/install.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "kvstore/replica/import.h"
#include "kvstore/wal/wal.h"

namespace kvstore::replica {

using base::Ok;
using base::Result;
using base::Status;

namespace {

std::string SnapFolder(const std::string& data_dir) { return data_dir + "/member/snap"; }
std::string InstallingPath(const std::string& data_dir) { return SnapFolder(data_dir) + "/installing.db"; }
bool IsIncoming(const std::string& name) { return name.find(".snap.db") != name.npos; }

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

std::string IncomingSnapshotPath(const std::string& data_dir, uint64_t index) {
  char name[40];
  std::snprintf(name, sizeof name, "%016" PRIx64 ".snap.db", index);
  return SnapFolder(data_dir) + "/" + name;
}

Result<std::unique_ptr<mvcc::Store>> FinishInstall(base::FileSystem& fs, const Options& options) {
  std::unique_ptr<mvcc::Store> store;
  std::string snap = SnapFolder(options.data_dir), installing = InstallingPath(options.data_dir);
  std::string kv = options.data_dir + "/member/kv";
  if (!wal::Exists(fs, options.wal_dir)) return store;
  TRY_ASSIGN(bool cut_short, fs.Exists(installing));
  TRY_ASSIGN(std::vector<std::string> names, fs.List(snap));
  if (!cut_short && std::none_of(names.begin(), names.end(), IsIncoming)) return store;
  TRY_ASSIGN(std::vector<raft::SnapshotMeta> known, wal::ReadSnapshots(fs, options.wal_dir));
  auto install = [&]() -> Status {
    store.reset();
    TRY(fs.RemoveAll(kv));
    TRY_ASSIGN(store, mvcc::Store::Open(fs, kv, options.store));
    TRY(ImportAndCheckpoint(fs, installing, known, *store));
    TRY(fs.Remove(installing));
    return fs.SyncDirectory(snap);
  };
  if (cut_short) TRY(install());
  if (!store) {
    TRY_ASSIGN(store, mvcc::Store::Open(fs, kv, options.store));
  }
  for (const raft::SnapshotMeta& m : known) {
    std::string incoming = IncomingSnapshotPath(options.data_dir, m.index);
    TRY_ASSIGN(bool there, fs.Exists(incoming));
    if (!there || m.index <= store->checkpointed().index) continue;
    TRY(fs.Rename(incoming, installing));
    TRY(fs.SyncDirectory(snap));
    TRY(install());
  }
  for (const std::string& n : names) {
    if (IsIncoming(n)) (void)fs.Remove(snap + "/" + n);
  }
  return store;
}

Status Installation::Run(base::FileSystem& fs) {
  std::string snap = SnapFolder(data_dir), installing = InstallingPath(data_dir);
  TRY(fs.Rename(IncomingSnapshotPath(data_dir, meta.index), installing));
  TRY(fs.SyncDirectory(snap));
  TRY(ImportAndCheckpoint(fs, installing, {meta}, *store));
  TRY_ASSIGN(database, fs.Open(installing, base::OpenMode::kReadWrite));
  TRY(fs.Remove(installing));
  return fs.SyncDirectory(snap);
}

}  // namespace kvstore::replica
