#include <cstdio>

#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"
#include "kvstore/bolt/bolt.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/ctl/restore.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

Task<int> SnapshotSave(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "snapshot save expects one argument");
  const std::string& path = run.args[0];
  base::FileSystem& fs = base::PosixFileSystem();
  auto c = Connection::Open(run.loop, run.flags.client, run.flags.client.endpoints);
  if (!c) co_return Fail(c.error());
  auto stream = co_await (*c)->channel().Open(run.ctx, "/etcdserverpb.Maintenance/Snapshot");
  if (!stream) co_return Fail(stream.error());
  base::Status s = co_await (*stream)->Write(run.ctx, base::Share(pb::SnapshotRequest().SerializeAsString()));
  if (s.ok()) s = co_await (*stream)->CloseWrite(run.ctx);
  if (!s.ok()) co_return Fail(s);
  // Under another name until it is whole: a broken download must not look like a backup.
  std::string part = path + ".part";
  auto file = fs.Open(part, base::OpenMode::kCreate);
  if (!file) co_return Fail(file.error());
  s = (*file)->Truncate(0);
  std::string version;
  while (s.ok()) {
    auto bytes = co_await (*stream)->Read(run.ctx);
    if (!bytes) co_return Fail(bytes.error());
    if (!*bytes) break;
    pb::SnapshotResponse r;
    if (!r.ParseFromString(**bytes)) co_return Fail(kExitError, "unreadable answer");
    version = r.version();
    s = (*file)->Append(r.blob());
  }
  if (s.ok()) s = (*file)->Sync();
  if (s.ok()) s = StatusOf(CheckSnapshot(fs, part, false));
  if (s.ok()) s = fs.Rename(part, path);
  if (!s.ok()) co_return Fail(s);
  Out("Snapshot saved at " + path + "\n");
  if (!version.empty()) Out("Server version " + version + "\n");
  co_return 0;
}

namespace {

base::Result<bolt::Summary> ReadSummary(const std::string& path) {
  base::FileSystem& fs = base::PosixFileSystem();
  TRY_ASSIGN(auto file, fs.Open(path, base::OpenMode::kRead));
  TRY_ASSIGN(uint64_t size, file->Size());
  if (size % 512 == 32) size -= 32;
  TRY_ASSIGN(bolt::Reader reader, bolt::Reader::Open(*file, size));
  return bolt::Summarize(reader, size);
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
        "\n\"Size\" : " + std::to_string(s->total_size) + "\n\"Version\" : " + base::GoQuote(s->version) + "\n");
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
  if (f.initial_cluster.find(',') != std::string::npos) {
    co_return Fail(kExitError, "clusters of more than one member are not supported yet by keelson");
  }
  base::Status s = Restore(base::PosixFileSystem(), o);
  if (!s.ok()) co_return Fail(kExitError, s.message());
  base::LogInfo("restored snapshot", {{"path", o.snapshot}, {"data-dir", o.data_dir}});
  co_return 0;
}

}  // namespace kvstore::ctl
