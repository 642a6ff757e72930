#include "kvstore/replica/export.h"

#include "base/bytes.h"
#include "base/next_turn.h"
#include "kvstore/replica/options.h"
#include "kvstore/wal/codec.h"

namespace kvstore::replica {

using base::Err;
using base::Ok;
using base::Result;
using base::Status;

namespace {

constexpr size_t kKeysPerTurn = 4096;
constexpr std::string_view kKeys = "key";  // the bucket of the history

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

DatabaseStream::DatabaseStream(DatabaseImage image)
    : image_(std::move(image)), cursor_(image_.keys.segments), bucket_(image_.buckets.begin()) {}

Result<std::unique_ptr<DatabaseStream>> DatabaseStream::Make(DatabaseImage image) {
  mvcc::Sort(image.keys);
  std::unique_ptr<DatabaseStream> s(new DatabaseStream(std::move(image)));
  TRY_ASSIGN(s->extent_, s->LayOut());
  s->writer_ = std::make_unique<bolt::Writer>(s->extent_, s->out_);
  return s;
}

Result<bolt::Extent> DatabaseStream::LayOut() const {
  bolt::Writer w;
  for (const auto& [name, entries] : image_.buckets) {
    TRY(w.BeginBucket(name));
    if (name == kKeys) {
      for (const mvcc::Version& v : image_.keys.versions) {
        TRY(w.AddLength(mvcc::RevisionKey(v.revision(), v.tombstone), v.length));
      }
    }
    for (const auto& [k, v] : entries) TRY(w.Add(k, v));
    TRY(w.EndBucket());
  }
  return w.Finish();
}

Status DatabaseStream::Step() {
  if (bucket_ == image_.buckets.end()) {
    done_ = true;
    return StatusOf(writer_->Finish());
  }
  const auto& [name, entries] = *bucket_;
  if (!std::exchange(begun_, true)) {
    entry_ = entries.begin();
    return writer_->BeginBucket(name);
  }
  if (name == kKeys && version_ < image_.keys.versions.size()) {
    const mvcc::Version& v = image_.keys.versions[version_++];
    TRY_ASSIGN(std::string_view bytes, cursor_.Read(v.location()));
    return writer_->Add(mvcc::RevisionKey(v.revision(), v.tombstone), bytes);
  }
  if (entry_ != entries.end()) {
    const auto& [k, v] = *entry_++;
    return writer_->Add(k, v);
  }
  begun_ = false;
  ++bucket_;
  return writer_->EndBucket();
}

Result<std::string> DatabaseStream::Next() {
  while (out_.empty() && !done_) TRY(Step());
  return std::exchange(out_, {});
}

Result<std::string> DatabaseStream::Rest() {
  std::string all;
  for (;;) {
    TRY_ASSIGN(std::string piece, Next());
    if (piece.empty()) return all;
    all += piece;
  }
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
    if (name == kKeys) TRY(image.keys.ForEach(add));
    for (const auto& [k, v] : keys) TRY(add(k, v));
  }
  return crc;
}

}  // namespace kvstore::replica
