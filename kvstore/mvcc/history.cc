// The store's past for watchers that have to catch up. Few keys or one: their versions are at hand in the index. Many:
// the timeline is read from where the watcher was, a bounded bit at a time.
#include <algorithm>

#include "kvstore/mvcc/store.h"

namespace kvstore::mvcc {

using base::Err;
using base::Ok;
using base::Result;

namespace {
// What is found quicker in the index than in all that happened meanwhile.
constexpr size_t kFewKeys = 512, kFewVersions = 2048;
// Of records read, wanted or not, before others have their turn.
constexpr uint64_t kReadBytes = 1 << 20;
}  // namespace

Result<EventPtr> Store::PastEvent(const KeyEntry* e, const Revision& r, bool tombstone, std::string_view stored,
                                  bool prev_kv) const {
  auto ev = std::make_shared<Event>();
  ev->is_delete = tombstone;
  ev->revision = r;
  if (tombstone) {
    auto kv = DecodeKeyValue(stored);
    ev->kv = base::Share(EncodeKeyValue({.key = kv->key, .mod_revision = r.main}));
  } else {
    ev->kv = base::Share(std::string(stored));
  }
  ev->key = DecodeKeyValue(*ev->kv)->key;
  if (!prev_kv || r.main <= compact_revision_) return ev;
  // What stood before the whole transaction; a key that it deleted and made anew had nothing before.
  const Version* before = e->At(r.main - 1);
  if (before == nullptr || before->tombstone) return ev;
  auto versions = e->versions();
  auto remade = [&](const Version& v) { return v.main == r.main && v.sub < r.sub && v.tombstone; };
  if (!tombstone && std::any_of(before - versions.data() + versions.begin(), versions.end(), remade)) return ev;
  TRY_ASSIGN(std::string bytes, segments_->Read(before->location()));
  ev->prev_kv = base::Share(std::move(bytes));
  return ev;
}

// Versions from revision `from` on of the range's keys; false: they are not few. Of a single key the first ones, whole
// revisions; `next` is what follows.
bool Store::FewVersions(const KeyRange& range, int64_t from, std::vector<PastVersion>& found, int64_t& next) const {
  size_t keys = 0;
  bool few = true;
  index_.Scan(range, [&](KeyEntry& e) {
    auto versions = e.versions();
    auto it = std::ranges::lower_bound(versions, from, {}, &Version::main);
    for (; it != versions.end() && few; ++it) {
      bool whole = found.empty() || found.back().version.main != it->main;
      if (range.single() && found.size() >= kFewVersions && whole) {
        next = it->main;
        return false;
      }
      found.push_back({&e, *it});
      few = range.single() || found.size() <= kFewVersions;
    }
    return few &= range.single() || ++keys <= kFewKeys;
  });
  return few;
}

Result<History::Slice> Store::EventsFrom(const KeyRange& range, int64_t from, size_t max_bytes, bool prev_kv) const {
  Slice out{{}, revision_ + 1};
  std::vector<PastVersion> found;
  if (!FewVersions(range, from, found, out.next)) return EventsOfMany(range, from, max_bytes, prev_kv);
  std::ranges::sort(found, {}, [](const PastVersion& p) { return p.version.revision(); });
  size_t bytes = 0;
  Cursor cursor(*segments_);
  for (const PastVersion& p : found) {
    // Only between revisions may a batch end.
    if (bytes >= max_bytes && p.version.main != out.events.back()->revision.main) {
      out.next = p.version.main;
      break;
    }
    TRY_ASSIGN(std::string_view stored, cursor.Read(p.version.location()));
    TRY_ASSIGN(EventPtr ev, PastEvent(p.entry, p.version.revision(), p.version.tombstone, stored, prev_kv));
    bytes += ev->bytes();
    out.events.push_back(std::move(ev));
  }
  return out;
}

Result<History::Slice> Store::EventsOfMany(const KeyRange& range, int64_t from, size_t max_bytes, bool prev_kv) const {
  Slice out{{}, revision_ + 1};
  size_t bytes = 0, read = 0;
  int64_t last = 0;
  Cursor cursor(*segments_);
  for (auto it = timeline_.From(from); it != timeline_.end(); ++it) {
    if (it->main != last && (bytes >= max_bytes || read >= kReadBytes)) {
      out.next = it->main;
      break;
    }
    last = it->main;
    TRY_ASSIGN(SegmentRecord r, cursor.ReadAt(it->segment, it->offset));
    read += r.bytes.size() + sizeof(Version);
    auto kv = DecodeKeyValue(r.bytes);
    if (!kv || !range.Contains(kv->key)) continue;
    const KeyEntry* e = prev_kv ? index_.Find(kv->key) : nullptr;
    TRY_ASSIGN(EventPtr ev, PastEvent(e, r.revision, r.tombstone, r.bytes, prev_kv));
    bytes += ev->bytes();
    out.events.push_back(std::move(ev));
  }
  std::ranges::sort(out.events, {}, [](const EventPtr& e) { return e->revision; });
  return out;
}

}  // namespace kvstore::mvcc
