#include "kvstore/replica/import.h"

#include <cstdlib>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "kvstore/bolt/bolt.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/replica/replica.h"

namespace kvstore::replica {

using base::Err;
using base::Ok;
using base::Result;
using base::Status;

namespace {

// The numbers of one array in etcd's JSON of a ConfState.
std::vector<uint64_t> Ids(const std::string& json, const std::string& name) {
  std::vector<uint64_t> out;
  size_t at = json.find("\"" + name + "\":[");
  if (at == std::string::npos) return out;
  const char* p = json.c_str() + at + name.size() + 4;
  for (char* end; *p != '\0' && *p != ']'; p = *end == ',' ? end + 1 : end) {
    uint64_t id = std::strtoull(p, &end, 10);
    if (end == p) break;
    out.push_back(id);
  }
  return out;
}

raft::ConfState ConfStateOf(mvcc::Buckets& buckets) {
  const std::string& json = buckets["meta"]["confState"];
  raft::ConfState cs{.voters = Ids(json, "voters"),
                     .learners = Ids(json, "learners"),
                     .voters_outgoing = Ids(json, "voters_outgoing"),
                     .learners_next = Ids(json, "learners_next"),
                     .auto_leave = json.find("\"auto_leave\":true") != std::string::npos};
  if (!cs.voters.empty()) return cs;
  // Databases of before 3.5 have no such entry; the members are the voters.
  for (const auto& [key, value] : buckets["members"]) {
    auto m = mvcc::MemberFromJson(value);
    if (m && !m->is_learner) cs.voters.push_back(m->id);
  }
  return cs;
}

// A database whose buckets have been read.
struct Database {
  std::unique_ptr<base::File> file;
  std::optional<bolt::Reader> reader;
  mvcc::Buckets buckets;

  uint64_t Number(const char* name) {
    const std::string& v = buckets["meta"][name];
    return v.size() == 8 ? base::GetBigEndian64(v.data()) : 0;
  }
};

Result<std::unique_ptr<Database>> OpenDatabase(base::FileSystem& fs, const std::string& path) {
  auto db = std::make_unique<Database>();
  TRY_ASSIGN(db->file, fs.Open(path, base::OpenMode::kRead));
  TRY_ASSIGN(uint64_t size, db->file->Size());
  if (size % 512 == 32) size -= 32;
  TRY_ASSIGN(db->reader, bolt::Reader::Open(*db->file, size));
  TRY_ASSIGN(std::vector<std::string> names, db->reader->Buckets());
  for (const std::string& name : names) {
    if (name == "key") continue;
    auto& bucket = db->buckets[name];
    TRY(db->reader->ForEach(name, [&](std::string_view k, std::string_view v) {
      bucket[std::string(k)] = v;
      return Ok();
    }));
  }
  return db;
}

}  // namespace

Result<mvcc::AppliedMark> ImportDatabase(base::FileSystem& fs, const std::string& path, mvcc::Store& store) {
  TRY_ASSIGN(auto db, OpenDatabase(fs, path));
  mvcc::AppliedMark mark;
  mark.index = db->Number("consistent_index");
  mark.term = db->Number("term");
  mark.conf_state = wal::EncodeConfState(ConfStateOf(db->buckets));
  TRY(store.ImportBegin(std::move(db->buckets)));
  TRY(db->reader->ForEach("key", [&](std::string_view k, std::string_view v) { return store.ImportKey(k, v); }));
  TRY(store.ImportDone());
  return mark;
}

Status CheckDatabase(base::FileSystem& fs, const std::string& path, uint64_t index) {
  TRY_ASSIGN(auto db, OpenDatabase(fs, path));
  if (db->Number("consistent_index") != index) return base::DataLoss("snapshot: the database is of another index");
  TRY(mvcc::Store::CheckBuckets(db->buckets));
  return db->reader->ForEach("key", [](std::string_view k, std::string_view v) -> Status {
    auto record = mvcc::Store::ReadKey(k, v);
    return record ? Ok() : record.error();
  });
}

}  // namespace kvstore::replica
