#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/bytes.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "base/sync.h"
#include "base/version.h"
#include "kvstore/bolt/bolt.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/ctl/restore.h"
#include "kvstore/mvcc/store.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

namespace {

// One line of the original's client log, on stderr.
void Note(base::WallTime now, std::string_view message, std::string_view path) {
  std::time_t seconds =
      std::chrono::system_clock::to_time_t(std::chrono::time_point_cast<std::chrono::system_clock::duration>(now));
  char stamp[32];
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
  base::JsonWriter w;
  w.BeginObject().Key("level").String("info").Key("ts").String(stamp).Key("msg").String(message);
  w.Key("path").String(path).EndObject();
  std::fprintf(stderr, "%s\n", w.Take().c_str());
}

struct Saved {
  uint64_t bytes = 0;
  std::string version;
};

std::string PartOf(const std::string& path) { return path + ".part"; }

base::Result<std::unique_ptr<base::File>> OpenPart(const std::string& path) {
  auto file = base::PosixFileSystem().Open(PartOf(path), base::OpenMode::kCreate);
  if (file) return file;
  std::string why(file.error().message());
  return base::Err(base::Status(file.error().code(), "could not open " + PartOf(path) + " (" + why + ")"));
}

// Downloads under another name until it is whole and its hash holds: a broken download must not look like a backup.
Task<base::Result<Saved>> Download(Run& run, std::string path, std::unique_ptr<base::File> file) {
  base::FileSystem& fs = base::PosixFileSystem();
  std::string part = PartOf(path);
  CO_TRY_ASSIGN(auto c, co_await Connect(run));
  CO_TRY(file->Truncate(0));
  Note(run.loop.WallNow(), "created temporary db file", part);
  CO_TRY_ASSIGN(auto stream, co_await c->Stream(run.ctx, "/etcdserverpb.Maintenance/Snapshot"));
  CO_TRY(co_await stream->Write(run.ctx, base::Share(pb::SnapshotRequest().SerializeAsString())));
  CO_TRY(co_await stream->CloseWrite(run.ctx));
  Saved out;
  constexpr uint64_t kTell = 64 << 20;
  for (uint64_t told = 0;;) {
    auto bytes = co_await stream->Read(run.ctx);
    if (!bytes) {
      (void)fs.Remove(part);
      co_return base::Err(bytes.error());
    }
    if (!*bytes) break;
    pb::SnapshotResponse r;
    if (!r.ParseFromString(**bytes)) co_return base::Err(base::DataLoss("unreadable answer"));
    out.version = r.version();
    out.bytes += r.blob().size();
    CO_TRY(file->Append(r.blob()));
    if (out.bytes - told >= kTell) {
      told = out.bytes;
      std::fprintf(stderr, "%s of %s\n", HumanBytes(out.bytes).c_str(),
                   HumanBytes(out.bytes + r.remaining_bytes()).c_str());
    }
  }
  CO_TRY(file->Sync());
  CO_TRY(CheckSnapshot(fs, part, false));
  CO_TRY(fs.Rename(part, path));
  co_return out;
}

}  // namespace

Task<int> SnapshotSave(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "snapshot save expects one argument <filename>");
  if (auto endpoints = run.Endpoints(); endpoints.size() > 1) {
    std::string all;
    for (const std::string& e : endpoints) all += (all.empty() ? "" : " ") + e;
    co_return Fail(kExitInterrupted, "snapshot must be requested to one selected node, not multiple [" + all + "]");
  }
  auto file = OpenPart(run.args[0]);
  if (!file) co_return Fail(kExitInterrupted, file.error().message());
  auto saved = co_await Download(run, run.args[0], std::move(*file));
  if (!saved) {
    // Errors of streams are shown with their code, also those that the client knows.
    std::string text = ErrorText(saved.error());
    if (text.starts_with("etcdserver: ") && saved.error().code() == base::Code::kPermissionDenied) {
      text = "rpc error: code = PermissionDenied desc = " + text;
    }
    co_return Fail(kExitInterrupted, text);
  }
  Out("Snapshot saved at " + run.args[0] + "\n");
  if (!saved->version.empty()) Out("Server version " + saved->version + "\n");
  co_return 0;
}

namespace {

base::Result<bolt::Summary> ReadSummary(const std::string& path) {
  base::FileSystem& fs = base::PosixFileSystem();
  TRY_ASSIGN(auto file, fs.Open(path, base::OpenMode::kRead));
  TRY_ASSIGN(uint64_t size, file->Size());
  if (size % 512 == 32) size -= 32;
  auto reader = bolt::Reader::Open(*file, size);
  if (!reader) return base::Err(base::DataLoss("invalid database"));
  return bolt::Summarize(*reader, size);
}

}  // namespace

namespace {

// The keys of a database through a store of its own, in a directory that goes away.
base::Result<mvcc::Store::Hash> HashOfFile(const std::string& path, int64_t revision) {
  base::FileSystem& fs = base::PosixFileSystem();
  TRY_ASSIGN(auto file, fs.Open(path, base::OpenMode::kRead));
  TRY_ASSIGN(uint64_t size, file->Size());
  if (size % 512 == 32) size -= 32;
  TRY_ASSIGN(bolt::Reader reader, bolt::Reader::Open(*file, size));
  std::string scratch = path + ".hashkv.tmp";
  TRY(fs.MakeDirectories(scratch));
  auto run = [&]() -> base::Result<mvcc::Store::Hash> {
    TRY_ASSIGN(auto store, mvcc::Store::Open(fs, scratch));
    mvcc::Buckets buckets;
    TRY(reader.ForEach("meta", [&](std::string_view k, std::string_view v) {
      buckets["meta"][std::string(k)] = v;
      return base::Ok();
    }));
    TRY(store->ImportBegin(std::move(buckets)));
    TRY(reader.ForEach("key", [&](std::string_view k, std::string_view v) { return store->ImportKey(k, v); }));
    TRY(store->ImportDone());
    return store->HashAt(revision);
  };
  auto out = run();
  (void)fs.RemoveAll(scratch);
  return out;
}

}  // namespace

Task<int> SnapshotStatus(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "snapshot status requires exactly one argument");
  auto s = ReadSummary(run.args[0]);
  if (!s) co_return Fail(kExitError, s.error().message());
  std::vector<std::string> row = {Hex(s->hash), std::to_string(s->revision), std::to_string(s->total_keys),
                                  HumanBytes(static_cast<uint64_t>(s->total_size)), s->version};
  if (run.format == Format::kTable) {
    Out(Table({"HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"}, {row}));
  } else if (run.format == Format::kJson) {
    base::JsonWriter w;
    w.BeginObject().Key("hash").Uint(s->hash).Key("revision").Int(s->revision).Key("totalKey").Int(s->total_keys);
    w.Key("totalSize").Int(s->total_size).Key("version").String(s->version).EndObject();
    Out(w.Take() + "\n");
  } else if (run.format == Format::kFields) {
    Out("\"Hash\" : " + std::to_string(s->hash) + "\n\"Revision\" : " + row[1] + "\n\"Keys\" : " + row[2] +
        "\n\"Size\" : " + std::to_string(s->total_size) + "\n\"Version\" : " + s->version + "\n");
  } else {
    Out(row[0] + ", " + row[1] + ", " + row[2] + ", " + row[3] + ", " + row[4] + "\n");
  }
  co_return 0;
}

Task<int> SnapshotRestore(Run& run) {
  const Flags& f = run.flags;
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "snapshot restore requires exactly one argument");
  RestoreOptions o{.snapshot = run.args[0],
                   .data_dir = f.data_dir.empty() ? f.name + ".etcd" : f.data_dir,
                   .wal_dir = f.wal_dir,
                   .name = f.name,
                   .peer_urls = f.initial_advertise_peer_urls,
                   .cluster_token = f.initial_cluster_token,
                   .skip_hash_check = f.skip_hash_check};
  if ((f.bump_revision > 0) != f.mark_compacted) {
    co_return Fail(kExitBadArgs, "--mark-compacted required if --revision-bump > 0");
  }
  o.bump_revision = f.bump_revision;
  std::string_view rest = f.initial_cluster;
  while (!rest.empty()) {
    std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
    size_t eq = item.find('=');
    if (eq == std::string_view::npos) co_return Fail(kExitError, "URL scheme must be http, https, unix, or unixs: ");
    o.initial_cluster[std::string(item.substr(0, eq))].emplace_back(item.substr(eq + 1));
  }
  base::Status s = Restore(base::PosixFileSystem(), o);
  if (!s.ok()) co_return Fail(kExitError, s.message());
  std::fprintf(stderr, "restored snapshot\t{\"path\": %s, \"wal-dir\": %s, \"data-dir\": %s, \"snap-dir\": %s}\n",
               base::GoQuote(o.snapshot).c_str(),
               base::GoQuote(o.wal_dir.empty() ? o.data_dir + "/member/wal" : o.wal_dir).c_str(),
               base::GoQuote(o.data_dir).c_str(), base::GoQuote(o.data_dir + "/member/snap").c_str());
  co_return 0;
}

// ---- backups

namespace {

constexpr std::string_view kBackupPrefix = "backup-", kBackupSuffix = ".db";

std::string BackupName(base::WallTime now) {
  std::time_t seconds =
      std::chrono::system_clock::to_time_t(std::chrono::time_point_cast<std::chrono::system_clock::duration>(now));
  char stamp[32];
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
  return std::string(kBackupPrefix) + stamp + std::string(kBackupSuffix);
}

// Names sort by their time.
base::Result<std::vector<std::string>> ListBackups(const std::string& directory) {
  TRY_ASSIGN(std::vector<std::string> names, base::PosixFileSystem().List(directory));
  std::erase_if(names,
                [](const std::string& n) { return !n.starts_with(kBackupPrefix) || !n.ends_with(kBackupSuffix); });
  std::sort(names.begin(), names.end());
  return names;
}

// One backup: downloaded, its hash and its pages checked, older ones beyond `keep` removed.
Task<base::Status> BackUpOnce(Run& run) {
  base::FileSystem& fs = base::PosixFileSystem();
  const std::string& to = run.flags.to;
  CO_TRY(fs.MakeDirectories(to));
  std::string path = to + "/" + BackupName(run.loop.WallNow());
  CO_TRY_ASSIGN(auto file, OpenPart(path));
  CO_TRY_ASSIGN(Saved saved, co_await Download(run, path, std::move(file)));
  auto summary = ReadSummary(path);
  if (!summary) {
    (void)fs.Remove(path);
    co_return summary.error();
  }
  CO_TRY(fs.SyncDirectory(to));
  Out(path + ", " + Hex(summary->hash) + ", " + std::to_string(summary->revision) + ", " + HumanBytes(saved.bytes) +
      "\n");
  std::fflush(stdout);
  CO_TRY_ASSIGN(std::vector<std::string> names, ListBackups(to));
  for (size_t i = 0; i + run.flags.keep < names.size(); ++i) CO_TRY(fs.Remove(to + "/" + names[i]));
  co_return base::Ok();
}

}  // namespace

Task<int> Backup(Run& run) {
  const Flags& f = run.flags;
  if (!run.args.empty() || f.to.empty()) co_return Fail(kExitBadArgs, "backup needs --to with a directory");
  if (f.keep == 0) co_return Fail(kExitBadArgs, "--keep must be at least 1");
  for (;;) {
    base::Status s = co_await BackUpOnce(run);
    if (f.every <= base::Duration::zero()) co_return s.ok() ? 0 : Fail(s);
    // A backup that failed is said and tried again at the next turn; what is there stays.
    if (!s.ok() && !run.ctx.done()) std::fprintf(stderr, "backup failed: %s\n", ErrorText(s).c_str());
    if (!(co_await base::Sleep(run.loop, run.ctx, f.every)).ok()) co_return 0;
  }
}

// The newest backup of a directory, or the file itself, becomes a data directory.
Task<int> RestoreBackup(Run& run) {
  if (run.flags.from.empty() || !run.args.empty()) {
    co_return Fail(kExitBadArgs, "restore needs --from with a backup or a directory of backups");
  }
  std::string path = run.flags.from;
  if (auto names = ListBackups(path); names) {
    if (names->empty()) co_return Fail(kExitError, "no backups in " + path);
    path += "/" + names->back();
  }
  auto summary = ReadSummary(path);
  if (!summary) co_return Fail(kExitError, path + ": " + std::string(summary.error().message()));
  run.args = {path};
  int code = co_await SnapshotRestore(run);
  if (code == 0) Out("restored " + path + ", revision " + std::to_string(summary->revision) + "\n");
  co_return code;
}

// etcdutl's migration of a data directory from one storage version to another. There is one version of ours.
Task<int> Migrate(Run& run) {
  constexpr std::string_view kVersion = base::version::kEtcdLine;
  const Flags& f = run.flags;
  if (f.data_dir.empty() || f.target_version.empty()) {
    std::string missing = f.data_dir.empty() ? "\"data-dir\"" : "";
    if (f.target_version.empty()) missing += (missing.empty() ? "" : ", ") + std::string("\"target-version\"");
    co_return Fail(kExitError, "required flag(s) " + missing + " not set");
  }
  if (std::count(f.target_version.begin(), f.target_version.end(), '.') != 1) {
    co_return Fail(kExitBadArgs,
                   "wrong target version format, expected \"X.Y\", got " + base::GoQuote(f.target_version));
  }
  if (f.target_version < "3.5") {
    co_return Fail(kExitBadArgs,
                   "target version " + base::GoQuote(f.target_version) + " not supported. Minimal \"3.5\"");
  }
  if (auto listed = base::PosixFileSystem().List(f.data_dir + "/member"); !listed) {
    co_return Fail(kExitError, listed.error().message());
  }
  if (f.target_version == kVersion) {
    std::fprintf(stderr, "storage version up-to-date\t{\"storage-version\": \"%s\"}\n", std::string(kVersion).c_str());
    co_return 0;
  }
  co_return Fail(kExitError, "this data directory has the one storage version " + std::string(kVersion) +
                                 "; for another one restore a snapshot with that version's etcdutl");
}

// etcdutl's offline hash: over the keys of a database file.
Task<int> FileHashKv(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "hashkv requires exactly one argument");
  auto hash = HashOfFile(run.args[0], run.flags.rev);
  if (!hash) {
    std::string_view why = hash.error().message();
    constexpr std::string_view kServer = "etcdserver: ";
    co_return Fail(kExitError, why.starts_with(kServer) ? why.substr(kServer.size()) : why);
  }
  if (run.format == Format::kJson) {
    base::JsonWriter w;
    w.BeginObject().Key("hash").Uint(hash->hash).Key("hashRevision").Int(hash->revision);
    w.Key("compactRevision").Int(hash->compact_revision).EndObject();
    Out(w.Take() + "\n");
  } else if (run.format == Format::kTable) {
    Out(Table({"HASH", "HASH REVISION", "COMPACT REVISION"},
              {{std::to_string(hash->hash), std::to_string(hash->revision), std::to_string(hash->compact_revision)}}));
  } else if (run.format == Format::kFields) {
    Out(FieldLine("Hash", std::to_string(hash->hash)) + FieldLine("Hash revision", std::to_string(hash->revision)) +
        FieldLine("Compact revision", std::to_string(hash->compact_revision)));
  } else {
    Out(Row({std::to_string(hash->hash), std::to_string(hash->revision), std::to_string(hash->compact_revision)}));
  }
  co_return 0;
}

}  // namespace kvstore::ctl
