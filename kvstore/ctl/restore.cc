#include "kvstore/ctl/restore.h"

#include <map>

#include "base/bytes.h"
#include "kvstore/bolt/bolt.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/replica/identity.h"
#include "kvstore/wal/wal.h"

namespace kvstore::ctl {

using base::Err;
using base::Ok;
using base::Result;
using base::Status;

Result<uint64_t> CheckSnapshot(base::FileSystem& fs, const std::string& path, bool skip) {
  TRY_ASSIGN(auto file, fs.Open(path, base::OpenMode::kRead));
  TRY_ASSIGN(uint64_t size, file->Size());
  bool has_hash = size % 512 == 32;
  if (!has_hash) {
    if (!skip) return Err(base::InvalidArgument("snapshot missing hash but --skip-hash-check=false"));
    return size;
  }
  size -= 32;
  if (skip) return size;
  base::Sha256Stream sha;
  for (uint64_t at = 0; at < size;) {
    TRY_ASSIGN(std::string piece, file->ReadAt(at, std::min<uint64_t>(size - at, 1 << 20)));
    if (piece.empty()) return Err(base::DataLoss("short read of " + path));
    sha.Add(piece);
    at += piece.size();
  }
  TRY_ASSIGN(std::string want, file->ReadAt(size, 32));
  std::string got = sha.Finish();
  if (got != want) {
    return Err(base::DataLoss("expected sha256 " + base::HexEncode(want) + ", got " + base::HexEncode(got)));
  }
  return size;
}

namespace {

Status CopyDatabase(const bolt::Reader& from, const mvcc::Member& self, base::File& to) {
  TRY_ASSIGN(std::vector<std::string> names, from.Buckets());
  std::map<std::string, std::map<std::string, std::string>> small;
  for (const std::string& n : names) {
    if (n == "key") continue;
    TRY(from.ForEach(n, [&](std::string_view k, std::string_view v) {
      small[n][std::string(k)] = v;
      return Ok();
    }));
  }
  for (const char* n : {"alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "meta"}) small[n];
  // A new cluster: its own members, its own place in its own log.
  small["members"] = {{mvcc::MemberKey(self.id), mvcc::MemberToJson(self)}};
  small["members_removed"].clear();
  small["alarm"].clear();
  std::string one;
  base::PutBigEndian64(one, 1);
  small["meta"]["consistent_index"] = one;
  small["meta"]["term"] = one;
  small["meta"]["confState"] = "{\"voters\":[" + std::to_string(self.id) + "],\"auto_leave\":false}";
  bolt::Writer w(to);
  for (const auto& [name, keys] : small) {
    TRY(w.BeginBucket(name));
    if (name == "key") {
      TRY(from.ForEach("key", [&](std::string_view k, std::string_view v) { return w.Add(k, v); }));
    }
    for (const auto& [k, v] : keys) TRY(w.Add(k, v));
    TRY(w.EndBucket());
  }
  TRY(w.Finish());
  return to.Sync();
}

Status MakeLog(base::FileSystem& fs, const RestoreOptions& o, const mvcc::Member& self) {
  std::string dir = o.wal_dir.empty() ? o.data_dir + "/member/wal" : o.wal_dir;
  TRY_ASSIGN(auto wal, wal::Wal::Create(fs, dir, {self.id, replica::ClusterId({self.id})}));
  raft::Entry first{.type = raft::EntryType::kConfChange, .term = 1, .index = 1};
  first.data = std::make_shared<const std::string>(
      wal::EncodeConfChangeV1(0, raft::ConfChangeType::kAddNode, self.id, mvcc::MemberToJson(self)));
  TRY(wal->Save({.term = 1, .vote = self.id, .commit = 1}, {first}));
  raft::Snapshot snapshot{.meta = {.conf_state = {.voters = {self.id}}, .index = 1, .term = 1}};
  TRY(wal::WriteSnap(fs, o.data_dir + "/member/snap", snapshot));
  TRY(wal->SaveSnapshot(snapshot.meta));
  return wal->Sync();
}

}  // namespace

Status Restore(base::FileSystem& fs, const RestoreOptions& o) {
  auto present = fs.List(o.data_dir);
  if (present && !present->empty()) {
    return base::FailedPrecondition("data-dir \"" + o.data_dir + "\" not empty or could not be read");
  }
  TRY_ASSIGN(uint64_t size, CheckSnapshot(fs, o.snapshot, o.skip_hash_check));
  TRY_ASSIGN(auto in, fs.Open(o.snapshot, base::OpenMode::kRead));
  TRY_ASSIGN(bolt::Reader reader, bolt::Reader::Open(*in, size));
  mvcc::Member self{.id = replica::MemberId(o.peer_urls, o.cluster_token), .name = o.name, .peer_urls = o.peer_urls};
  TRY(fs.MakeDirectories(o.data_dir + "/member/snap"));
  TRY_ASSIGN(auto db, fs.Open(o.data_dir + "/member/snap/db", base::OpenMode::kCreateExclusive));
  TRY(CopyDatabase(reader, self, *db));
  TRY(MakeLog(fs, o, self));
  return fs.SyncDirectory(o.data_dir + "/member/snap");
}

}  // namespace kvstore::ctl
