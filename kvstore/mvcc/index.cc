#include "kvstore/mvcc/index.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/status.h"

namespace kvstore::mvcc {

KeyEntry* KeyEntry::New(std::string_view key) {
  void* memory = std::malloc(sizeof(KeyEntry) + key.size());
  // unreachable from outside: the size of requests is bounded; memory that is out ends every process.
  CHECK_MSG(memory != nullptr, "out of memory");
  auto* e = new (memory) KeyEntry();
  e->key_size_ = static_cast<uint32_t>(key.size());
  key.copy(reinterpret_cast<char*>(e + 1), key.size());  // an empty key's bytes may be nowhere
  return e;
}

void KeyEntry::Delete(KeyEntry* e) {
  if (e->capacity_ != 0) std::free(e->many_);
  std::free(e);
}

void KeyEntry::Add(const Version& v) {
  if (capacity_ == 0 && count_ == 0) {
    one_ = v;
  } else if (count_ < capacity_) {
    many_[count_] = v;
  } else {
    uint32_t capacity = std::max<uint32_t>(4, count_ + count_ / 2);
    auto* grown = static_cast<Version*>(std::malloc(capacity * sizeof(Version)));
    // unreachable from outside: as above.
    CHECK_MSG(grown != nullptr, "out of memory");
    std::memcpy(grown, versions().data(), count_ * sizeof(Version));
    if (capacity_ != 0) std::free(many_);
    many_ = grown;
    capacity_ = capacity;
    many_[count_] = v;
  }
  ++count_;
}

void KeyEntry::RemoveFront(size_t n) {
  if (n == 0) return;
  // unreachable from outside: callers count the versions they pass (Store::Superseded).
  CHECK(n <= count_);
  count_ -= static_cast<uint32_t>(n);
  if (capacity_ == 0) return;
  std::memmove(many_, many_ + n, count_ * sizeof(Version));
  if (count_ > 1) return;
  Version* old = many_;
  Version last = count_ == 1 ? old[0] : Version{};
  std::free(old);
  capacity_ = 0;
  one_ = last;
}

void KeyEntry::SortByRevision() {
  auto v = versions();
  std::sort(v.begin(), v.end(), [](const Version& a, const Version& b) { return a.revision() < b.revision(); });
}

const Version* KeyEntry::At(int64_t rev) const {
  auto v = versions();
  auto it = std::upper_bound(v.begin(), v.end(), rev, [](int64_t r, const Version& x) { return r < x.main; });
  return it == v.begin() ? nullptr : &*std::prev(it);
}

Version* KeyEntry::Find(const Revision& r) {
  auto v = versions();
  auto it =
      std::lower_bound(v.begin(), v.end(), r, [](const Version& x, const Revision& y) { return x.revision() < y; });
  return it != v.end() && it->revision() == r ? &*it : nullptr;
}

void KeyIndex::Clear() {
  for (auto& [bound, leaf] : leaves_) {
    for (KeyEntry* e : leaf.keys) KeyEntry::Delete(e);
  }
  leaves_.clear();
  size_ = 0;
}

namespace {
auto LowerBound(const std::vector<KeyEntry*>& leaf, std::string_view key) {
  return std::lower_bound(leaf.begin(), leaf.end(), key,
                          [](const KeyEntry* e, std::string_view k) { return e->key() < k; });
}
}  // namespace

KeyIndex::Leaves::iterator KeyIndex::LeafOf(std::string_view key) {
  if (leaves_.empty()) leaves_.emplace(std::string(), Leaf());
  return std::prev(leaves_.upper_bound(key));  // the first bound is "", so there always is one
}

KeyEntry* KeyIndex::Find(std::string_view key) const {
  const auto& leaf = LeafOf(key)->second.keys;
  auto at = LowerBound(leaf, key);
  return at != leaf.end() && (*at)->key() == key ? *at : nullptr;
}

KeyEntry& KeyIndex::FindOrAdd(std::string_view key) {
  auto it = LeafOf(key);
  it->second.living = kUnknown;
  auto* leaf = &it->second.keys;
  auto at = LowerBound(*leaf, key);
  if (at != leaf->end() && (*at)->key() == key) return **at;
  if (leaf->size() >= kLeafKeys) {
    // Keys that arrive in order leave full leaves behind.
    size_t split = at == leaf->end() ? leaf->size() * 7 / 8 : leaf->size() / 2;
    std::vector<KeyEntry*> upper(leaf->begin() + static_cast<long>(split), leaf->end());
    leaf->resize(split);
    leaf->shrink_to_fit();
    std::string bound(upper.front()->key());
    bool goes_up = key >= bound;
    upper.reserve(kLeafKeys);
    auto up = leaves_.emplace(std::move(bound), Leaf{std::move(upper)}).first;
    if (goes_up) leaf = &up->second.keys;
    at = LowerBound(*leaf, key);
  }
  ++size_;
  return **leaf->insert(at, KeyEntry::New(key));
}

void KeyIndex::Erase(std::string_view key) {
  auto it = LeafOf(key);
  auto& keys = it->second.keys;
  auto at = LowerBound(keys, key);
  if (at == keys.end() || (*at)->key() != key) return;
  KeyEntry::Delete(*at);
  keys.erase(at);
  it->second.living = kUnknown;
  --size_;
  if (keys.empty() && it != leaves_.begin()) leaves_.erase(it);
}

void KeyIndex::Scan(const KeyRange& range, const std::function<bool(KeyEntry&)>& each) const {
  if (range.single()) {
    if (KeyEntry* e = Find(range.key)) each(*e);
    return;
  }
  bool open = range.open_ended();
  for (auto it = LeafOf(range.key); it != leaves_.end(); ++it) {
    for (auto at = LowerBound(it->second.keys, range.key); at != it->second.keys.end(); ++at) {
      if (!open && (*at)->key() >= range.end) return;
      if (!each(**at)) return;
    }
  }
}

namespace {
bool IsThere(const KeyEntry& e, int64_t at) {
  const Version* v = e.At(at);
  return v != nullptr && !v->tombstone;
}
}  // namespace

int64_t KeyIndex::Leaf::CountAt(int64_t at) const {
  if (living == kUnknown) {
    living = 0;
    newest = 0;
    for (const KeyEntry* e : keys) {
      const Version* last = e->Last();
      if (last == nullptr) continue;
      living += !last->tombstone;
      newest = std::max(newest, last->main);
    }
  }
  if (newest <= at) return living;
  return std::count_if(keys.begin(), keys.end(), [at](const KeyEntry* e) { return IsThere(*e, at); });
}

int64_t KeyIndex::Count(const KeyRange& range, int64_t at) const {
  if (range.single()) {
    const KeyEntry* e = Find(range.key);
    return e != nullptr && IsThere(*e, at);
  }
  int64_t n = 0;
  for (auto it = LeafOf(range.key); it != leaves_.end(); ++it) {
    const auto& keys = it->second.keys;
    auto from = LowerBound(keys, range.key);
    auto to = range.open_ended() ? keys.end() : LowerBound(keys, range.end);
    if (from == keys.begin() && to == keys.end()) {
      n += it->second.CountAt(at);
    } else {
      n += std::count_if(from, std::max(from, to), [at](const KeyEntry* e) { return IsThere(*e, at); });
    }
    if (to != keys.end()) break;
  }
  return n;
}

std::vector<KeyEntry*> KeyIndex::From(std::string_view from, size_t n) const {
  static constexpr std::string_view kOpen("\0", 1);
  std::vector<KeyEntry*> out;
  Scan({from, kOpen}, [&](KeyEntry& e) {
    out.push_back(&e);
    return out.size() < n;
  });
  return out;
}

}  // namespace kvstore::mvcc
