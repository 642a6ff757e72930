// mvccpb.KeyValue as values and as the exact bytes that are stored, hashed and sent. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvstore::mvcc {

// A position in history: `main` counts transactions, `sub` changes within one.
struct Revision {
  int64_t main = 0;
  int64_t sub = 0;
  auto operator<=>(const Revision&) const = default;
};

// Views into the bytes it was decoded from.
struct KeyValueView {
  std::string_view key;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  std::string_view value;
  int64_t lease = 0;
};

std::string EncodeKeyValue(const KeyValueView& kv);
// The same message without its value: what a keys-only read gets. `without_lease`: only what an index of keys knows.
std::string WithoutValue(std::string_view encoded, bool without_lease);
std::optional<KeyValueView> DecodeKeyValue(std::string_view bytes);

// The bbolt key of a revision: 8 bytes main, '_', 8 bytes sub, 't' for a tombstone.
std::string RevisionKey(const Revision& r, bool tombstone);

// [key, end) as the API means it: no end = the one key; end "\0" = everything from key on.
struct KeyRange {
  std::string_view key;
  std::string_view end;
  bool single() const { return end.empty(); }
  bool open_ended() const { return end.size() == 1 && end[0] == '\0'; }
  bool Contains(std::string_view k) const {
    if (single()) return k == key;
    return k >= key && (open_ended() || k < end);
  }
};

}  // namespace kvstore::mvcc
