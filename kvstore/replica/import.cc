#include "kvstore/replica/import.h"

#include <cstdlib>

#include "base/bytes.h"
#include "base/next_turn.h"
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

std::string ConfStateJson(const std::string& bytes) {
  auto cs = wal::DecodeConfState(bytes).value_or(raft::ConfState());
  std::string out = "{";
  auto list = [&](const char* name, const std::vector<uint64_t>& ids) {
    if (ids.empty()) return;
    out += "\"" + std::string(name) + "\":[";
    for (size_t i = 0; i < ids.size(); ++i) out += (i ? "," : "") + std::to_string(ids[i]);
    out += "],";
  };
  list("voters", cs.voters);
  list("learners", cs.learners);
  list("voters_outgoing", cs.voters_outgoing);
  list("learners_next", cs.learners_next);
  return out + "\"auto_leave\":" + (cs.auto_leave ? "true}" : "false}");
}

}  // namespace

Result<mvcc::AppliedMark> ImportDatabase(base::FileSystem& fs, const std::string& path, mvcc::Store& store) {
  TRY_ASSIGN(auto file, fs.Open(path, base::OpenMode::kRead));
  TRY_ASSIGN(uint64_t size, file->Size());
  if (size % 512 == 32) size -= 32;
  TRY_ASSIGN(bolt::Reader reader, bolt::Reader::Open(*file, size));
  TRY_ASSIGN(std::vector<std::string> names, reader.Buckets());
  mvcc::Buckets buckets;
  for (const std::string& name : names) {
    if (name == "key") continue;
    auto& bucket = buckets[name];
    TRY(reader.ForEach(name, [&](std::string_view k, std::string_view v) {
      bucket[std::string(k)] = v;
      return Ok();
    }));
  }
  mvcc::AppliedMark mark;
  auto number = [&](const char* name) {
    const std::string& v = buckets["meta"][name];
    return v.size() == 8 ? base::GetBigEndian64(v.data()) : 0;
  };
  mark.index = number("consistent_index");
  mark.term = number("term");
  mark.conf_state = wal::EncodeConfState(ConfStateOf(buckets));
  store.ImportBegin(std::move(buckets));
  TRY(reader.ForEach("key", [&](std::string_view k, std::string_view v) { return store.ImportKey(k, v); }));
  TRY(store.ImportDone());
  return mark;
}

namespace {

mvcc::Buckets AllBuckets(const mvcc::Store& store, const mvcc::AppliedMark& mark) {
  mvcc::Buckets buckets = store.ExportBuckets(mark);
  for (const char* name :
       {"alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "members", "members_removed", "meta"}) {
    buckets[name];
  }
  buckets["meta"]["confState"] = ConfStateJson(mark.conf_state);
  buckets["meta"]["storageVersion"] = std::string(kClusterVersion);
  return buckets;
}

}  // namespace

base::Task<Result<DatabaseImage>> TakeImage(mvcc::Store& store, mvcc::AppliedMark mark, base::Executor& executor,
                                            std::function<bool()> wanted) {
  constexpr size_t kKeysPerTurn = 4096;
  mvcc::Gather gather = mvcc::Gather::History(store, store.revision());
  DatabaseImage image{.buckets = AllBuckets(store, mark)};
  for (;;) {
    CO_TRY_ASSIGN(bool more, gather.Step(kKeysPerTurn));
    if (!more) break;
    co_await base::NextTurn(executor);
    if (!wanted()) co_return Err(base::Cancelled("nobody wants the snapshot any more"));
  }
  CO_TRY_ASSIGN(image.keys, gather.Finish());
  co_return image;
}

Status WriteDatabase(DatabaseImage image, base::File& out) {
  mvcc::Sort(image.keys);
  bolt::Writer w(out);
  for (const auto& [name, keys] : image.buckets) {
    TRY(w.BeginBucket(name));
    if (name == "key") TRY(image.keys.ForEach([&](std::string_view k, std::string_view v) { return w.Add(k, v); }));
    for (const auto& [k, v] : keys) TRY(w.Add(k, v));
    TRY(w.EndBucket());
  }
  return StatusOf(w.Finish());
}

Result<uint32_t> HashDatabase(DatabaseImage image) {
  mvcc::Sort(image.keys);
  uint32_t crc = 0;
  auto add = [&](std::string_view k, std::string_view v) {
    crc = base::Crc32c(base::Crc32c(crc, k), v);
    return Ok();
  };
  for (const auto& [name, keys] : image.buckets) {
    crc = base::Crc32c(crc, name);
    if (name == "key") TRY(image.keys.ForEach(add));
    for (const auto& [k, v] : keys) TRY(add(k, v));
  }
  return crc;
}

}  // namespace kvstore::replica
