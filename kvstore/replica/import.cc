#include "kvstore/replica/import.h"

#include <cstdlib>

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

Status ExportDatabase(const mvcc::Store& store, const mvcc::AppliedMark& mark, base::File& out) {
  bolt::Writer w(out);
  for (const auto& [name, keys] : AllBuckets(store, mark)) {
    TRY(w.BeginBucket(name));
    if (name == "key") {
      TRY(store.ExportKeys([&](std::string_view k, std::string_view v) { return w.Add(k, v); }));
    }
    for (const auto& [k, v] : keys) TRY(w.Add(k, v));
    TRY(w.EndBucket());
  }
  return StatusOf(w.Finish());
}

base::Task<Status> ExportDatabaseInTurns(mvcc::Store& store, mvcc::AppliedMark mark, base::File& out, base::Context ctx,
                                         base::Executor& executor) {
  constexpr size_t kKeysPerTurn = 256;
  // Both at one moment: the keys' revision and what stands beside them.
  mvcc::Store::Walk walk(store);
  const mvcc::Buckets buckets = AllBuckets(store, mark);
  bolt::Writer w(out);
  for (const auto& [name, keys] : buckets) {
    CO_TRY(w.BeginBucket(name));
    for (bool more = name == "key"; more;) {
      CO_TRY_ASSIGN(more, walk.Step(kKeysPerTurn, [&](std::string_view k, std::string_view v) { return w.Add(k, v); }));
      co_await base::Yield(executor);
      if (ctx.done()) co_return ctx.status();
    }
    for (const auto& [k, v] : keys) CO_TRY(w.Add(k, v));
    CO_TRY(w.EndBucket());
  }
  co_return StatusOf(w.Finish());
}

}  // namespace kvstore::replica
