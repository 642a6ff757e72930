#include "kvstore/ctl/restore.h"

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "kvstore/bolt/bolt.h"
#include "kvstore/mvcc/member_id.h"
#include "kvstore/mvcc/members.h"
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

// The new cluster as its first log entries make it: members in the order of their ids.
struct Cluster {
  std::vector<mvcc::Member> members;
  mvcc::Member self;
  std::vector<uint64_t> Ids() const {
    std::vector<uint64_t> out;
    for (const mvcc::Member& m : members) out.push_back(m.id);
    return out;
  }
};

Result<Cluster> NewCluster(const RestoreOptions& o) {
  auto initial = o.initial_cluster;
  if (initial.empty()) initial[o.name] = o.peer_urls;
  Cluster out;
  for (const auto& [name, urls] : initial) {
    mvcc::Member m{.id = mvcc::MemberId(urls, o.cluster_token), .name = name, .peer_urls = urls};
    if (name == o.name) out.self = m;
    out.members.push_back(std::move(m));
  }
  std::sort(out.members.begin(), out.members.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  if (out.self.id == 0) {
    return Err(
        base::InvalidArgument("couldn't find local name \"" + o.name + "\" in the initial cluster configuration"));
  }
  auto sorted = [](std::vector<std::string> v) { return std::sort(v.begin(), v.end()), v; };
  if (sorted(out.self.peer_urls) != sorted(o.peer_urls)) {
    return Err(base::InvalidArgument("--initial-cluster must include " + o.name + "=" +
                                     (o.peer_urls.empty() ? "" : o.peer_urls[0]) +
                                     " given --initial-advertise-peer-urls"));
  }
  return out;
}

std::string RevisionKey(int64_t main) {
  std::string k;
  base::PutBigEndian64(k, static_cast<uint64_t>(main));
  k.push_back('_');
  base::PutBigEndian64(k, 0);
  return k;
}

// The buckets beside the keys: of a new cluster, with its own members and its own place in its own log.
void StartOver(const Cluster& cluster, std::map<std::string, std::map<std::string, std::string>>& small) {
  for (const char* n : {"alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "meta"}) small[n];
  small["members"].clear();
  std::string voters;
  for (const mvcc::Member& m : cluster.members) {
    small["members"][mvcc::MemberKey(m.id)] = mvcc::MemberToJson(m);
    voters += (voters.empty() ? "" : ",") + std::to_string(m.id);
  }
  small["members_removed"].clear();
  small["alarm"].clear();
  std::string index, term;
  base::PutBigEndian64(index, cluster.members.size());
  base::PutBigEndian64(term, 1);
  small["meta"]["consistent_index"] = index;
  small["meta"]["term"] = term;
  small["meta"]["confState"] = "{\"voters\":[" + voters + "],\"auto_leave\":false}";
}

Status CopyDatabase(const bolt::Reader& from, const Cluster& cluster, uint64_t bump, base::File& to) {
  TRY_ASSIGN(std::vector<std::string> names, from.Buckets());
  std::map<std::string, std::map<std::string, std::string>> small;
  std::string last;  // revisions are in order
  for (const std::string& n : names) {
    TRY(from.ForEach(n, [&](std::string_view k, std::string_view v) {
      if (n == "key") {
        last = k;
      } else {
        small[n][std::string(k)] = v;
      }
      return Ok();
    }));
  }
  StartOver(cluster, small);
  if (bump > 0) {
    int64_t latest = last.size() >= 8 ? static_cast<int64_t>(base::GetBigEndian64(last.data())) : 1;
    latest += static_cast<int64_t>(bump);
    small["key"][RevisionKey(latest)] = "";
    small["meta"]["scheduledCompactRev"] = RevisionKey(latest);
  }
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

Status MakeLog(base::FileSystem& fs, const RestoreOptions& o, const Cluster& cluster) {
  std::string dir = o.wal_dir.empty() ? o.data_dir + "/member/wal" : o.wal_dir;
  std::vector<uint64_t> ids = cluster.Ids();
  TRY_ASSIGN(auto wal, wal::Wal::Create(fs, dir, {cluster.self.id, mvcc::ClusterId(ids)}));
  std::vector<raft::Entry> entries;
  for (const mvcc::Member& m : cluster.members) {
    raft::Entry e{.type = raft::EntryType::kConfChange, .term = 1, .index = entries.size() + 1};
    e.data = std::make_shared<const std::string>(
        wal::EncodeConfChangeV1(0, raft::ConfChangeType::kAddNode, m.id, mvcc::MemberToJson(m)));
    entries.push_back(std::move(e));
  }
  uint64_t commit = entries.size();
  TRY(wal->Save({.term = 1, .vote = ids[0], .commit = commit}, entries));
  raft::Snapshot snapshot{.meta = {.conf_state = {.voters = ids}, .index = commit, .term = 1}};
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
  TRY_ASSIGN(Cluster cluster, NewCluster(o));
  TRY(fs.MakeDirectories(o.data_dir + "/member/snap"));
  TRY_ASSIGN(auto db, fs.Open(o.data_dir + "/member/snap/db", base::OpenMode::kCreateExclusive));
  TRY(CopyDatabase(reader, cluster, o.bump_revision, *db));
  TRY(MakeLog(fs, o, cluster));
  return fs.SyncDirectory(o.data_dir + "/member/snap");
}

}  // namespace kvstore::ctl
