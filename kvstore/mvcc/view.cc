#include "kvstore/mvcc/view.h"

#include <algorithm>

#include "base/bytes.h"
#include "kvstore/mvcc/store.h"

namespace kvstore::mvcc {

using base::Err;
using base::Ok;
using base::Result;
using base::Status;

Status View::ForEach(const std::function<Status(std::string_view, std::string_view)>& each) const {
  Cursor cursor(segments);
  for (const Version& v : versions) {
    TRY_ASSIGN(std::string_view bytes, cursor.Read(v.location()));
    TRY(each(RevisionKey(v.revision(), v.tombstone), bytes));
  }
  return Ok();
}

Gather::Gather(Store& store, Kind kind, int64_t revision, std::string key, std::string end)
    : store_(&store),
      at_work_(store.gatherers_),
      generation_(store.generation_),
      kind_(kind),
      revision_(revision),
      compact_revision_(store.compact_revision_),
      cursor_(std::move(key)),
      end_(kind != Kind::kRange ? std::string(1, '\0') : std::move(end)) {
  ++*at_work_;
}

Gather::~Gather() {
  if (at_work_) --*at_work_;
}

void Gather::Keep(const Version& v) {
  found_.push_back(v);
  bytes_ += v.length;
}

void Gather::KeepHistory(const KeyEntry& e) {
  auto versions = e.versions();
  const Version* seen = nullptr;
  if (kind_ == Kind::kHashed) {
    seen = e.At(revision_);
    // A key that was deleted at the revision itself counts as gone there, also when it was put again.
    for (size_t i = versions.size(); i > 0 && versions[i - 1].main >= revision_; --i) {
      if (versions[i - 1].main == revision_ && versions[i - 1].tombstone) seen = nullptr;
    }
    if (seen != nullptr && seen->tombstone) seen = nullptr;
    any_seen_ |= seen != nullptr;
  } else if (kind_ == Kind::kCompacted) {
    // A tombstone of the compaction's own revision is among what it leaves.
    seen = e.At(revision_);
    if (seen != nullptr && seen->tombstone && seen->main != revision_) seen = nullptr;
    any_seen_ |= seen != nullptr;
  }
  size_t from = compact_revision_ > 0 ? Store::Superseded(e, compact_revision_) : 0;
  for (size_t i = from; i < versions.size() && versions[i].main <= revision_; ++i) {
    const Version& v = versions[i];
    if (kind_ == Kind::kHistory || v.main > compact_revision_) {
      Keep(v);
    } else if (v.main < compact_revision_ || !v.tombstone) {
      old_.emplace_back(v, &v == seen);
    }
  }
}

Result<bool> Gather::Step(size_t keys) {
  if (generation_ != store_->generation_) return Err(base::Unavailable("the store was replaced by a snapshot"));
  KeyRange range{cursor_, end_};
  std::string last;
  size_t seen = 0;
  store_->index_.Scan(range, [&](KeyEntry& e) {
    if (kind_ != Kind::kRange) {
      KeepHistory(e);
      seen += e.versions().size();
    } else if (const Version* v = e.At(revision_); v != nullptr && !v->tombstone) {
      Keep(*v);
    }
    if (++seen < keys) return true;
    last = e.key();
    return false;
  });
  if (seen < keys || range.single()) return false;
  cursor_ = std::move(last) + '\0';
  return true;
}

Result<View> Gather::Finish() {
  if (generation_ != store_->generation_) return Err(base::Unavailable("the store was replaced by a snapshot"));
  for (const auto& [version, seen] : old_) {
    if (seen || !any_seen_) Keep(version);
  }
  old_.clear();
  store_->counts().ranges += kind_ == Kind::kRange;
  View view{.revision = revision_, .compact_revision = compact_revision_, .versions = std::move(found_)};
  TRY_ASSIGN(view.segments, store_->segments_->View());
  return view;
}

void Sort(View& view) {
  std::sort(view.versions.begin(), view.versions.end(),
            [](const Version& a, const Version& b) { return a.revision() < b.revision(); });
}

Result<uint32_t> HashOf(const View& view) {
  uint32_t crc = base::Crc32c(0, "key");
  TRY(view.ForEach([&](std::string_view key, std::string_view value) {
    crc = base::Crc32c(base::Crc32c(crc, key), value);
    return Ok();
  }));
  return crc;
}

}  // namespace kvstore::mvcc
