// The key index: every key in order with the revisions it has, in memory; the bytes are in Segments. A B+tree of depth
// two whose leaves hold pointers to one allocation per key. Owned by the Store; one strand.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "kvstore/mvcc/segments.h"

namespace kvstore::mvcc {

// One revision of one key.
struct Version {
  int64_t main = 0;
  uint32_t sub = 0;
  uint32_t segment = 0;
  uint32_t offset = 0;
  uint32_t length : 31 = 0;
  uint32_t tombstone : 1 = 0;

  Revision revision() const { return {main, sub}; }
  Location location() const { return {segment, offset, length}; }
  void MoveTo(const Location& l) {
    segment = l.segment;
    offset = l.offset;
    length = l.length;
  }
};

// A key and its history. The common key has one revision, which stands inside.
class KeyEntry {
 public:
  static KeyEntry* New(std::string_view key);
  static void Delete(KeyEntry* e);
  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_size_}; }

  std::span<Version> versions() { return {capacity_ == 0 ? &one_ : many_, count_}; }
  std::span<const Version> versions() const { return {capacity_ == 0 ? &one_ : many_, count_}; }
  void Add(const Version& v);
  // Forgets the first `n`.
  void RemoveFront(size_t n);
  void SortByRevision();
  // The newest at or before `rev`, or null.
  const Version* At(int64_t rev) const;
  const Version* Last() const { return count_ == 0 ? nullptr : &versions().back(); }
  Version* Find(const Revision& r);

  // Of the living generation; 0 when the key is deleted.
  int64_t create_revision = 0;
  int64_t version = 0;

 private:
  KeyEntry() = default;
  uint32_t key_size_ = 0;
  uint32_t count_ = 0;
  uint32_t capacity_ = 0;  // 0: the one inside
  union {
    Version one_{};
    Version* many_;
  };
};

class KeyIndex {
 public:
  KeyIndex() = default;
  ~KeyIndex() { Clear(); }
  void Clear();
  void Swap(KeyIndex& other) {
    leaves_.swap(other.leaves_);
    std::swap(size_, other.size_);
  }
  KeyIndex(const KeyIndex&) = delete;

  KeyEntry* Find(std::string_view key) const;
  // For who means to add a version.
  KeyEntry& FindOrAdd(std::string_view key);
  // A version was added to a key that was found some other way.
  void Touch(std::string_view key) { LeafOf(key)->second.living = kUnknown; }
  void Erase(std::string_view key);
  // Keys of the range in order until `each` returns false. `each` must not add or erase keys.
  void Scan(const KeyRange& range, const std::function<bool(KeyEntry&)>& each) const;
  // Up to `n` keys at or behind `from`.
  std::vector<KeyEntry*> From(std::string_view from, size_t n) const;
  // Keys of the range that are there at revision `at`. Whole leaves are counted once and then again only when a key of
  // theirs has changed, so that a page of a long list does not cost a walk over the rest.
  int64_t Count(const KeyRange& range, int64_t at) const;
  size_t size() const { return size_; }

 private:
  static constexpr int32_t kUnknown = -1;
  struct Leaf {
    std::vector<KeyEntry*> keys;
    // Keys that are there at revision `newest`, the leaf's last change, and since; filled in by Count.
    mutable int32_t living = kUnknown;
    mutable int64_t newest = 0;
    int64_t CountAt(int64_t at) const;
  };
  using Leaves = std::map<std::string, Leaf, std::less<>>;  // by a lower bound of the leaf's keys
  static constexpr size_t kLeafKeys = 256;
  Leaves::iterator LeafOf(std::string_view key);
  Leaves::const_iterator LeafOf(std::string_view key) const { return const_cast<KeyIndex*>(this)->LeafOf(key); }

  Leaves leaves_;
  size_t size_ = 0;
};

}  // namespace kvstore::mvcc
