#include "kvstore/mvcc/store.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/protobuf_wire.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/view.h"

namespace kvstore::mvcc {

namespace wire = base::wire;

using base::DataLoss;
using base::Err;
using base::Ok;
using base::Result;
using base::SharedBytes;
using base::Status;

namespace {

constexpr std::string_view kStateMagic = "KEELKVS\n";
constexpr uint32_t kStateFormat = 1;
constexpr size_t kCompactKeysPerStep = 512;
constexpr size_t kCompactionHashes = 10;
constexpr size_t kCompactVersionsPerStep = 16384;
constexpr size_t kRewriteBytesPerStep = 128 << 10;
// Of foreign databases: with larger ones the next could wrap, or does not fit a record's head.
constexpr uint64_t kMaxRevision = uint64_t{1} << 62, kMaxSubRevision = (uint64_t{1} << 31) - 1;

std::string StatePath(const std::string& directory) { return directory + "/state"; }

std::vector<uint32_t> SortedOffsets(std::string_view encoded) {
  std::vector<uint32_t> out;
  out.reserve(encoded.size() / 4);
  for (; encoded.size() >= 4; encoded.remove_prefix(4)) out.push_back(base::GetLittleEndian32(encoded.data()));
  std::sort(out.begin(), out.end());
  return out;
}

std::string BigEndian(uint64_t v) {
  std::string out;
  base::PutBigEndian64(out, v);
  return out;
}

}  // namespace

// ---- opening

Result<std::unique_ptr<Store>> Store::Open(base::FileSystem& fs, std::string directory, StoreOptions options) {
  std::unique_ptr<Store> s(new Store(fs, std::move(directory), options));
  TRY(fs.MakeDirectories(s->directory_));
  TRY_ASSIGN(bool exists, fs.Exists(StatePath(s->directory_)));
  std::string state;
  if (exists) {
    TRY_ASSIGN(state, base::ReadFile(fs, StatePath(s->directory_)));
  }
  TRY(s->LoadState(state));
  return s;
}

std::string Store::EncodeState(const AppliedMark& mark) const {
  std::string body;
  wire::PutUint(body, 1, mark.index);
  wire::PutUint(body, 2, mark.term);
  wire::PutBytes(body, 3, mark.conf_state);
  wire::PutUint(body, 4, static_cast<uint64_t>(revision_));
  wire::PutUint(body, 5, static_cast<uint64_t>(compact_revision_ + 1));
  for (const auto& [bucket, entries] : ExportBuckets(mark)) {
    if (bucket == "meta") continue;
    for (const auto& [key, value] : entries) {
      std::string item;
      wire::PutBytes(item, 1, bucket);
      wire::PutBytes(item, 2, key);
      wire::PutBytes(item, 3, value);
      wire::PutBytes(body, 7, item);
    }
  }
  return body;
}

Status Store::LoadState(std::string_view state) {
  std::vector<std::pair<uint32_t, uint64_t>> segments;
  std::map<uint32_t, std::vector<uint32_t>> dead;
  Buckets buckets;
  if (!state.empty()) {
    if (state.size() < 16 || !state.starts_with(kStateMagic)) return DataLoss("checkpoint: not a state file");
    if (base::GetLittleEndian32(state.data() + 8) > kStateFormat) {
      return base::FailedPrecondition("checkpoint: written by a newer version");
    }
    std::string_view body = state.substr(16);
    if (base::GetLittleEndian32(state.data() + 12) != base::Crc32c(0, body))
      return DataLoss("checkpoint: crc mismatch");
    wire::Reader r(body);
    while (r.Next()) {
      if (r.field() == 1) mark_.index = r.value();
      if (r.field() == 2) mark_.term = r.value();
      if (r.field() == 3) mark_.conf_state = r.bytes();
      if (r.field() == 4) revision_ = static_cast<int64_t>(r.value());
      if (r.field() == 5) compact_revision_ = static_cast<int64_t>(r.value()) - 1;
      if (r.field() != 6 && r.field() != 7) continue;
      wire::Reader item(r.bytes());
      uint64_t numbers[3] = {};
      std::string_view texts[4];
      while (item.Next()) {
        if (item.field() < 3) numbers[item.field()] = item.value();
        if (item.field() < 4) texts[item.field()] = item.bytes();
      }
      if (r.field() == 6) {
        segments.emplace_back(static_cast<uint32_t>(numbers[1]), numbers[2]);
        dead[segments.back().first] = SortedOffsets(texts[3]);
      } else {
        buckets[std::string(texts[1])][std::string(texts[2])] = texts[3];
      }
    }
    if (!r.ok()) return DataLoss("checkpoint: unreadable");
  }
  TRY_ASSIGN(segments_, Segments::Open(fs_, directory_, segments, options_.segments));
  LoadBuckets(std::move(buckets));
  for (const auto& [id, length] : segments) {
    // What was forgotten stays forgotten. It cannot be found out again: a deleted key's last tombstone may have gone
    // with its segment while older records of the key still stand in others.
    auto index = [this, &gone = dead[id]](const SegmentRecord& r) -> Status {
      if (!std::binary_search(gone.begin(), gone.end(), r.location.offset)) return IndexRecord(r);
      segments_->MarkDead(r.location);
      return Ok();
    };
    TRY(segments_->Scan(id, 0, SIZE_MAX, index));
  }
  timeline_.Sort();
  PruneAll();
  return Ok();
}

void Store::LoadBuckets(Buckets buckets) {
  for (const auto& [key, value] : buckets["lease"]) {
    int64_t id = 0, ttl = 0, remaining = 0;
    wire::Reader r(value);
    while (r.Next()) {
      if (r.field() == 1) id = static_cast<int64_t>(r.value());
      if (r.field() == 2) ttl = static_cast<int64_t>(r.value());
      if (r.field() == 3) remaining = static_cast<int64_t>(r.value());
    }
    leases_.Restore(id, ttl, remaining);
  }
  buckets.erase("lease");
  buckets.erase("meta");
  buckets_ = std::move(buckets);
}

Status Store::IndexRecord(const SegmentRecord& r) {
  auto kv = DecodeKeyValue(r.bytes);
  // A record of no bytes is how `snapshot restore --bump-revision` marks the revision it skips to; no range holds its
  // key.
  if (!kv || (kv->key.empty() && !r.bytes.empty())) return DataLoss("segment: unreadable key value");
  KeyEntry& e = index_.FindOrAdd(kv->key);
  Version v{.main = r.revision.main,
            .sub = static_cast<uint32_t>(r.revision.sub),
            .segment = r.location.segment,
            .offset = r.location.offset,
            .length = r.location.length,
            .tombstone = r.tombstone};
  bool newest = e.Last() == nullptr || e.Last()->revision() < r.revision;
  if (!newest && e.Find(r.revision) != nullptr) {
    // Rewritten, and the crash came before the old copy's segment went.
    segments_->MarkDead(r.location);
    return Ok();
  }
  e.Add(v);
  timeline_.Add(v.main, v.location());
  if (!newest) {
    e.SortByRevision();
    return Ok();
  }
  e.create_revision = r.tombstone ? 0 : kv->create_revision;
  e.version = r.tombstone ? 0 : kv->version;
  if (int64_t old = leases_.LeaseOf(kv->key)) leases_.Detach(old, kv->key);
  if (kv->lease != 0 && !r.tombstone) leases_.Attach(kv->lease, kv->key);
  return Ok();
}

void Store::PruneAll() {
  if (compact_revision_ <= 0) return;
  std::vector<std::string> gone;
  index_.Scan({std::string_view("\0", 0), std::string_view("\0", 1)}, [&](KeyEntry& e) {
    ForgetFirst(e, Superseded(e, compact_revision_));
    if (e.versions().empty()) gone.emplace_back(e.key());
    return true;
  });
  for (const std::string& k : gone) index_.Erase(k);
  timeline_.ForgetBefore(compact_revision_);
}

// ---- reading

Status Store::CheckRevision(int64_t revision) const {
  if (revision > revision_) return ErrFutureRev();
  if (revision > 0 && revision < compact_revision_) return ErrCompacted();
  return Ok();
}

Result<RangeResult> Store::Range(const RangeQuery& q) const {
  ++counts_.ranges;
  TRY(CheckRevision(q.revision));
  RangeResult out;
  out.revision = visible_revision();
  int64_t at = q.revision > 0 ? q.revision : out.revision;
  if (q.count_only) {
    out.count = index_.Count({q.key, q.end}, at);
    return out;
  }
  Cursor cursor(*segments_);
  Status failed;
  bool all = true;
  index_.Scan({q.key, q.end}, [&](KeyEntry& e) {
    const Version* v = e.At(at);
    if (v == nullptr || v->tombstone) return true;
    if (q.limit > 0 && out.count >= q.limit) return all = false;
    ++out.count;
    auto bytes = cursor.Read(v->location());
    if (!bytes) {
      failed = bytes.error();
      return false;
    }
    out.kvs.emplace_back(*bytes);
    return true;
  });
  if (!failed.ok()) return Err(failed);
  if (!all) out.count = index_.Count({q.key, q.end}, at);
  return out;
}

int64_t Store::Count(const KeyRange& range, int64_t revision) const {
  return index_.Count(range, revision > 0 ? revision : revision_ + 1);
}

Result<std::optional<std::string>> Store::Get(std::string_view key) const {
  KeyEntry* e = index_.Find(key);
  if (e == nullptr || e->Last() == nullptr || e->Last()->tombstone) return std::nullopt;
  TRY_ASSIGN(std::string bytes, segments_->Read(e->Last()->location()));
  return std::move(bytes);
}

// ---- writing

void Store::Begin() {
  // unreachable from outside: of all five, only the applier and RevokeLease begin and end transactions; a request whose
  // middle fails is an error of the disk, after which the member applies nothing more.
  CHECK(!in_txn_);
  in_txn_ = true;
  changes_ = 0;
  counted_before_ = counts_.operations();
}

Result<SharedBytes> Store::PreviousOf(const KeyEntry& e) const {
  const Version* last = e.Last();
  if (last == nullptr || last->tombstone) return SharedBytes();
  TRY_ASSIGN(std::string bytes, segments_->Read(last->location()));
  return base::Share(std::move(bytes));
}

Status Store::Change(KeyEntry& e, bool tombstone, SharedBytes encoded, SharedBytes previous) {
  Revision r{revision_ + 1, changes_++};
  // Watchers are told what stood before the whole transaction; a key that it made anew had nothing before.
  if (const Version* last = e.Last(); hub_.wants_prev_kv() && last != nullptr && last->main == r.main) {
    const Version* before = e.At(revision_);
    bool fresh = !tombstone && e.create_revision == r.main;
    previous = nullptr;
    if (before != nullptr && !before->tombstone && !fresh) {
      TRY_ASSIGN(std::string bytes, segments_->Read(before->location()));
      previous = base::Share(std::move(bytes));
    }
  }
  TRY_ASSIGN(Location at, segments_->Append(r, tombstone, *encoded));
  e.Add({.main = r.main,
         .sub = static_cast<uint32_t>(r.sub),
         .segment = at.segment,
         .offset = at.offset,
         .length = at.length,
         .tombstone = tombstone});
  timeline_.Add(r.main, at);
  if (!hub_.has_watchers()) return Ok();
  auto ev = std::make_shared<Event>();
  ev->is_delete = tombstone;
  ev->revision = r;
  // A stored tombstone is the bare key; what is told about it has its revision.
  ev->kv = tombstone ? base::Share(EncodeKeyValue({.key = e.key(), .mod_revision = r.main})) : std::move(encoded);
  ev->key = DecodeKeyValue(*ev->kv)->key;
  ev->prev_kv = std::move(previous);
  events_.push_back(std::move(ev));
  return Ok();
}

Result<std::optional<std::string>> Store::Put(std::string_view key, std::string_view value, int64_t lease,
                                              bool want_previous) {
  CHECK(in_txn_);
  ++counts_.puts;
  counts_.put_bytes += key.size() + value.size();
  KeyEntry& e = index_.FindOrAdd(key);
  SharedBytes previous;
  if (want_previous || hub_.wants_prev_kv()) {
    TRY_ASSIGN(previous, PreviousOf(e));
  }
  int64_t main = revision_ + 1;
  if (e.create_revision == 0) e.create_revision = main;
  ++e.version;
  KeyValueView kv{.key = key,
                  .create_revision = e.create_revision,
                  .mod_revision = main,
                  .version = e.version,
                  .value = value,
                  .lease = lease};
  TRY(Change(e, false, base::Share(EncodeKeyValue(kv)), previous));
  if (int64_t old = leases_.LeaseOf(key); old != lease) {
    if (old != 0) leases_.Detach(old, key);
    if (lease != 0) leases_.Attach(lease, key);
  }
  std::optional<std::string> out;
  if (want_previous && previous) out = *previous;
  return out;
}

Result<Store::Deleted> Store::DeleteRange(const KeyRange& range, bool want_previous) {
  CHECK(in_txn_);
  ++counts_.deletes;
  std::vector<KeyEntry*> doomed;
  index_.Scan(range, [&](KeyEntry& e) {
    if (e.Last() != nullptr && !e.Last()->tombstone) doomed.push_back(&e);
    return true;
  });
  Deleted out;
  for (KeyEntry* e : doomed) {
    SharedBytes previous;
    if (want_previous || hub_.wants_prev_kv()) {
      TRY_ASSIGN(previous, PreviousOf(*e));
    }
    e->create_revision = 0;
    e->version = 0;
    index_.Touch(e->key());
    TRY(Change(*e, true, base::Share(EncodeKeyValue({.key = e->key()})), previous));
    if (int64_t lease = leases_.LeaseOf(e->key())) leases_.Detach(lease, e->key());
    ++out.count;
    if (want_previous && previous) out.previous.push_back(*previous);
  }
  return out;
}

int64_t Store::End() {
  CHECK(in_txn_);
  in_txn_ = false;
  counts_.txns += counts_.operations() > counted_before_ + 1;
  if (changes_ > 0) ++revision_;
  if (!events_.empty()) {
    std::vector<EventPtr> events = std::move(events_);
    events_.clear();
    hub_.Notify(revision_, events);
  }
  return revision_;
}

std::string Store::BucketValue(const std::string& bucket, const std::string& key) const {
  auto found = buckets_.find(bucket);
  if (found == buckets_.end()) return "";
  auto value = found->second.find(key);
  return value == found->second.end() ? "" : value->second;
}

Status Store::RevokeLease(int64_t id) {
  TRY_ASSIGN(std::vector<std::string> keys, leases_.Revoke(id));
  ++counts_.leases_revoked;
  Begin();
  for (const std::string& k : keys) TRY(DeleteRange({k, {}}, false));
  End();
  return Ok();
}

// ---- compaction

size_t Store::Superseded(const KeyEntry& e, int64_t compact_revision) {
  auto versions = e.versions();
  size_t n = 0;
  while (n < versions.size() && versions[n].main <= compact_revision) ++n;
  if (n == 0) return 0;
  // The newest of these stays, unless it says that the key was gone before.
  const Version& newest = versions[n - 1];
  return newest.tombstone && newest.main < compact_revision ? n : n - 1;
}

void Store::ForgetFirst(KeyEntry& e, size_t n) {
  for (const Version& v : e.versions().first(n)) {
    segments_->MarkDead(v.location());
    if (v.main >= compact_revision_) timeline_.Forget(v.main, v.location());
  }
  e.RemoveFront(n);
  compacted_versions_ += n;
}

Status Store::Compact(int64_t revision) {
  if (revision <= compact_revision_) return ErrCompacted();
  if (revision > revision_) return ErrFutureRev();
  if (!compacting_ && !hashing_) {
    hashing_ = true;
    gather_to_hash_ = std::make_shared<Gather>(Gather::Compacted(*this, revision));
  }
  compact_revision_ = revision;
  timeline_.ForgetBefore(revision);
  compacting_ = true;
  compact_cursor_.clear();
  return Ok();
}

Result<bool> Store::MaintenanceStep() {
  if (gather_to_hash_) {
    TRY(GatherToHash());
    return true;
  }
  if (*gatherers_ > 0) return compacting_ || defragmenting() || rewriting_ != 0 || segments_->MostlyGarbage() != 0;
  if (compacting_) {
    TRY(CompactSome());
    // What is left of a small store is one segment, which would never be full.
    if (!compacting_) TRY(segments_->SealGarbage());
    return true;
  }
  if (rewriting_ == 0) {
    rewriting_ = NextToRewrite();
    rewrite_offset_ = 0;
  }
  if (rewriting_ == 0) return false;
  TRY(RewriteSome());
  return true;
}

Status Store::Defragment() {
  TRY(segments_->Seal());
  defragment_below_ = segments_->next_id();
  return Ok();
}

uint32_t Store::NextToRewrite() {
  if (uint32_t most = segments_->MostlyGarbage(); most != 0) return most;
  uint32_t next = segments_->WithGarbage(defragment_below_);
  if (next == 0) defragment_below_ = 0;
  return next;
}

Status Store::GatherToHash() {
  TRY_ASSIGN(bool more, gather_to_hash_->Step(kCompactKeysPerStep));
  if (more) return Ok();
  TRY_ASSIGN(View view, gather_to_hash_->Finish());
  gather_to_hash_.reset();
  view_to_hash_ = std::make_shared<View>(std::move(view));
  return Ok();
}

Status Store::CompactSome() {
  std::vector<KeyEntry*> some = index_.From(compact_cursor_, kCompactKeysPerStep);
  std::vector<std::string> gone;
  size_t room = kCompactVersionsPerStep;
  for (KeyEntry* e : some) {
    size_t n = Superseded(*e, compact_revision_);
    ForgetFirst(*e, std::min(n, room));
    if (n > room) {
      // The rest of this key's history in the next step.
      compact_cursor_ = e->key();
      break;
    }
    room -= n;
    compact_cursor_ = std::string(e->key()) + '\0';
    if (e->versions().empty()) gone.emplace_back(e->key());
  }
  if (some.size() < kCompactKeysPerStep && (some.empty() || compact_cursor_ > some.back()->key())) {
    compacting_ = false;
    compact_cursor_.clear();
  }
  for (const std::string& k : gone) index_.Erase(k);
  return Ok();
}

Status Store::RewriteSome() {
  if (!segments_->Empty(rewriting_)) {
    auto move = [this](const SegmentRecord& r) -> Status {
      auto kv = DecodeKeyValue(r.bytes);
      if (!kv) return DataLoss("segment: unreadable key value");
      KeyEntry* e = index_.Find(kv->key);
      Version* v = e != nullptr ? e->Find(r.revision) : nullptr;
      if (v == nullptr || !(v->location() == r.location)) return Ok();
      TRY_ASSIGN(Location to, segments_->Append(r.revision, r.tombstone, r.bytes));
      v->MoveTo(to);
      timeline_.Moved(v->main, r.location, to);
      segments_->MarkDead(r.location);
      return Ok();
    };
    TRY_ASSIGN(rewrite_offset_, segments_->Scan(rewriting_, rewrite_offset_, kRewriteBytesPerStep, move));
    if (rewrite_offset_ != 0) return Ok();
  }
  // unreachable from outside: a record is either moved here or was counted dead when it was forgotten.
  CHECK_MSG(segments_->Empty(rewriting_), "a rewritten segment still has live records");
  segments_->Drop(rewriting_);
  rewriting_ = 0;
  return Ok();
}

// ---- hash

Result<Store::Hash> Store::HashAt(int64_t revision) {
  if (revision == 0) revision = revision_;
  TRY(CheckRevision(revision));
  Gather gather = Gather::Hashed(*this, revision);
  TRY(gather.Step(SIZE_MAX));
  TRY_ASSIGN(View view, gather.Finish());
  Sort(view);
  TRY_ASSIGN(uint32_t hash, HashOf(view));
  return Hash{hash, view.compact_revision, revision};
}

void Store::RememberHash(const View& view, const Result<uint32_t>& hash) {
  hashing_ = false;
  if (hash) compaction_hashes_[view.revision] = {*hash, view.compact_revision, view.revision};
  if (compaction_hashes_.size() > kCompactionHashes) compaction_hashes_.erase(compaction_hashes_.begin());
}

std::optional<Store::Hash> Store::CompactionHash(int64_t revision) const {
  auto found = compaction_hashes_.find(revision);
  return found == compaction_hashes_.end() ? std::nullopt : std::optional(found->second);
}

// ---- checkpoints

Result<Store::Checkpoint> Store::PrepareCheckpoint(const AppliedMark& mark) {
  CHECK(!in_txn_);
  Checkpoint c;
  TRY_ASSIGN(c.files, segments_->PrepareSync());
  c.fields = EncodeState(mark);
  c.path = StatePath(directory_);
  c.mark = mark;
  return c;
}

Status Store::Checkpoint::Run() const {
  TRY(SyncKeys());
  return WriteState();
}

Status Store::Checkpoint::WriteState() const {
  std::string body = fields;
  for (const Segments::SyncPlan::Part& part : files.segments) {
    std::string seg;
    wire::PutUint(seg, 1, part.id);
    wire::PutUint(seg, 2, part.length);
    wire::PutNonEmpty(seg, 3, part.dead_offsets);
    wire::PutBytes(body, 6, seg);
  }
  std::string head(kStateMagic);
  base::PutLittleEndian32(head, kStateFormat);
  base::PutLittleEndian32(head, base::Crc32c(0, body));
  TRY(base::WriteFileAtomically(*files.fs, path, head + body));
  return files.Clean();
}

// ---- snapshots

Buckets Store::ExportBuckets(const AppliedMark& mark) const {
  Buckets out = buckets_;
  auto& lease = out["lease"];
  for (const auto& [id, l] : leases_.all()) {
    std::string value;
    wire::PutNonZero(value, 1, static_cast<uint64_t>(id));
    wire::PutNonZero(value, 2, static_cast<uint64_t>(l.ttl));
    wire::PutNonZero(value, 3, static_cast<uint64_t>(l.remaining));
    lease[BigEndian(static_cast<uint64_t>(id))] = value;
  }
  auto& meta = out["meta"];
  meta["consistent_index"] = BigEndian(mark.index);
  meta["term"] = BigEndian(mark.term);
  if (compact_revision_ > 0) {
    meta["scheduledCompactRev"] = RevisionKey({compact_revision_, 0}, false);
    meta["finishedCompactRev"] = RevisionKey({compact_revision_, 0}, false);
  }
  return out;
}

std::unique_ptr<Store> Store::Beside() const {
  std::unique_ptr<Store> s(new Store(fs_, directory_, options_));
  s->segments_ = Segments::Beside(*segments_);
  return s;
}

void Store::Replace(Store& fresh) {
  CHECK(!in_txn_ && !fresh.in_txn_);
  ++generation_;
  index_.Swap(fresh.index_);
  timeline_.Swap(fresh.timeline_);
  std::swap(segments_, fresh.segments_);
  std::swap(leases_, fresh.leases_);
  std::swap(buckets_, fresh.buckets_);
  std::swap(mark_, fresh.mark_);
  std::swap(revision_, fresh.revision_);
  std::swap(compact_revision_, fresh.compact_revision_);
  compacting_ = false;
  compact_cursor_.clear();
  if (gather_to_hash_ || view_to_hash_) hashing_ = false;
  gather_to_hash_.reset();
  view_to_hash_.reset();
  rewriting_ = rewrite_offset_ = defragment_below_ = 0;
}

std::vector<std::shared_ptr<base::File>> Store::Abandon() {
  index_.Clear();
  Timeline().Swap(timeline_);
  return segments_->Abandon();
}

namespace {
// 0: never compacted.
uint64_t CompactedAt(const Buckets& buckets) {
  uint64_t latest = 0;
  auto meta = buckets.find("meta");
  for (const char* name : {"scheduledCompactRev", "finishedCompactRev"}) {
    if (meta == buckets.end() || !meta->second.contains(name)) continue;
    const std::string& revision = meta->second.at(name);
    if (revision.size() >= 17) latest = std::max(latest, base::GetBigEndian64(revision.data()));
  }
  return latest;
}
}  // namespace

Status Store::CheckBuckets(const Buckets& buckets) {
  bool fits = CompactedAt(buckets) <= kMaxRevision;
  return fits ? Ok() : DataLoss("snapshot: a compaction at a revision out of range");
}

Status Store::ImportBegin(Buckets buckets) {
  TRY(CheckBuckets(buckets));
  if (auto at = static_cast<int64_t>(CompactedAt(buckets)); at > 0) compact_revision_ = at;
  revision_ = std::max(revision_, compact_revision_);
  LoadBuckets(std::move(buckets));
  return Ok();
}

Result<SegmentRecord> Store::ReadKey(std::string_view k, std::string_view value) {
  bool tombstone = k.size() == 18 && k[17] == 't';
  if ((k.size() != 17 && !tombstone) || k[8] != '_') return Err(DataLoss("snapshot: a key that is no revision"));
  uint64_t main = base::GetBigEndian64(k.data()), sub = base::GetBigEndian64(k.data() + 9);
  if (main > kMaxRevision || sub > kMaxSubRevision) return Err(DataLoss("snapshot: a revision out of range"));
  auto kv = DecodeKeyValue(value);
  if (!kv || (kv->key.empty() && !value.empty())) return Err(DataLoss("snapshot: unreadable key value"));
  return SegmentRecord{.revision = {static_cast<int64_t>(main), static_cast<int64_t>(sub)},
                       .tombstone = tombstone,
                       .location = {},
                       .bytes = value};
}

Status Store::ImportKey(std::string_view k, std::string_view value) {
  TRY_ASSIGN(SegmentRecord r, ReadKey(k, value));
  TRY_ASSIGN(r.location, segments_->Append(r.revision, r.tombstone, value));
  if (auto step = segments_->NextSync()) {
    TRY(step->Run());
    segments_->Synced(*step);
  }
  revision_ = std::max(revision_, r.revision.main);
  return IndexRecord(r);
}

Status Store::ImportDone() {
  timeline_.Sort();
  PruneAll();
  return Ok();
}

}  // namespace kvstore::mvcc
