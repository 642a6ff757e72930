// The tree: one object as data, in JSON's model. Every format (JSON, YAML, Protobuf) is decoded to it and encoded from
// it by codec/, guided by a schema::Type; bytes stand as base64 text, quantities, times and durations as their
// canonical text, number text is kept exact. A tree decoded by schema holds its fields in schema order.
//
// Owned by whoever holds it; moves are cheap, copies are deep. One thread at a time; const access from many.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace machinery::value {

class Value;
struct MapEntry;
using List = std::vector<Value>;

// A map's entries in insertion order. Keys are unique. Lookup is linear for small maps and indexed for large ones.
class Map {
 public:
  using Entry = MapEntry;  // {key, value}
  Map();
  Map(std::initializer_list<Entry> entries);
  Map(const Map&);
  Map(Map&&) noexcept;
  Map& operator=(const Map&);
  Map& operator=(Map&&) noexcept;
  ~Map();

  const Value* Find(std::string_view key) const;
  Value* Find(std::string_view key);
  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  // Replaces in place or appends.
  Value& Set(std::string_view key, Value v);
  // Appends without looking for the key: for decoders that know it is new.
  Value& Append(std::string key, Value v);
  bool Remove(std::string_view key);
  void Clear();
  // Removes the entries that `gone` names in one pass; the others keep their order.
  size_t RemoveIf(const std::function<bool(const Entry&)>& gone);
  // Makes Find fast on a large map whose index was dropped: before a loop of lookups.
  void EnsureIndex();
  size_t size() const;
  bool empty() const;
  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<Entry>& entries();
  void SortByKey();
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  auto begin() { return entries().begin(); }
  auto end() { return entries().end(); }

 private:
  struct Index;
  void Added();
  void DropIndex() {
    if (index_) DeleteIndex();
  }
  void DeleteIndex();

  std::vector<Entry> entries_;
  Index* index_ = nullptr;  // owned; built past a size by Set and Append, dropped when a caller may move entries
};

enum class Kind : uint8_t { kNull, kBool, kInt, kNumber, kString, kList, kMap };

class Value {
 public:
  Value() {}  // null
  Value(std::nullptr_t) {}
  Value(bool b);
  Value(int v) : Value(static_cast<int64_t>(v)) {}
  Value(int64_t v);
  Value(std::string s);
  Value(std::string_view s) {
    new (&text_) std::string(s);
    kind_ = Kind::kString;
  }
  Value(const char* s) : Value(std::string_view(s)) {}
  Value(List list);
  Value(Map map);
  // A number that is no int64 (fraction, exponent, too large), with its JSON text.
  static Value Number(std::string text);
  static Value Double(double d);  // text as Go's encoding/json prints it
  Value(const Value&);
  Value(Value&& other) noexcept { Take(other); }
  Value& operator=(const Value&);
  Value& operator=(Value&& other) noexcept {
    if (this != &other) {
      Clear();
      Take(other);
    }
    return *this;
  }
  ~Value() { Clear(); }

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_bool() const { return kind_ == Kind::kBool; }
  bool is_int() const { return kind_ == Kind::kInt; }
  bool is_number() const { return kind_ == Kind::kInt || kind_ == Kind::kNumber; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_list() const { return kind_ == Kind::kList; }
  bool is_map() const { return kind_ == Kind::kMap; }

  // Of another kind: a bug of the caller, which ends the request that met it and not the process (base/bug.h).
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;              // any number
  std::string_view number_text() const;  // kNumber
  const std::string& as_string() const;
  const List& list() const;
  List& list();
  const Map& map() const;
  Map& map();

  // Lenient readers for code that knows the schema: the value, or the zero value when absent, null or of another kind.
  std::string_view string_or(std::string_view otherwise = {}) const;
  int64_t int_or(int64_t otherwise = 0) const;
  bool bool_or(bool otherwise = false) const;

  // Walks map fields: v.At("spec").At("nodeName").string_or(). Null value when anything on the way is missing.
  const Value& At(std::string_view field) const;
  template <class... F>
  const Value& At(std::string_view field, F... more) const {
    return At(field).At(more...);
  }
  const Value& At(size_t index) const;  // of a list
  // The field, made (and this made a map) when missing.
  Value& Ensure(std::string_view field);
  // Sets a field of a map (this becomes a map when null).
  Value& Set(std::string_view field, Value v);
  bool Remove(std::string_view field);  // false when absent

  // Deep equality in JSON's sense; order of map entries does not count, 1 and 1.0 differ.
  friend bool operator==(const Value& a, const Value& b);

  static const Value& Null();

 private:
  // The text stands in the value itself: most strings of an object fit std::string's own buffer, so a field costs no
  // allocation of its own.
  Kind kind_ = Kind::kNull;
  union {
    bool bool_;
    int64_t int_ = 0;
    std::string text_;  // kString, kNumber
    List list_;
    Map map_;
  };
  void Take(Value& other) noexcept;  // *this holds nothing
  void Clear() {
    if (kind_ >= Kind::kNumber) Destroy();
    kind_ = Kind::kNull;
  }
  void Destroy();
};

struct MapEntry {
  std::string key;
  Value value;
};

inline Map::Map(Map&& other) noexcept
    : entries_(std::move(other.entries_)), index_(std::exchange(other.index_, nullptr)) {}
inline Map& Map::operator=(Map&& other) noexcept {
  entries_ = std::move(other.entries_);
  std::swap(index_, other.index_);
  other.DropIndex();
  return *this;
}
inline Map::~Map() { DropIndex(); }
inline Map::Map() {}
inline size_t Map::size() const { return entries_.size(); }
inline bool Map::empty() const { return entries_.empty(); }
inline std::vector<MapEntry>& Map::entries() {
  DropIndex();
  return entries_;
}

inline void Value::Take(Value& other) noexcept {
  switch (other.kind_) {
    case Kind::kNumber:
    case Kind::kString:
      new (&text_) std::string(std::move(other.text_));
      break;
    case Kind::kList:
      new (&list_) List(std::move(other.list_));
      break;
    case Kind::kMap:
      new (&map_) Map(std::move(other.map_));
      break;
    default:
      int_ = other.int_;
      kind_ = other.kind_;
      other.kind_ = Kind::kNull;
      return;
  }
  kind_ = other.kind_;
  other.Destroy();
  other.kind_ = Kind::kNull;
}
inline void Value::Destroy() {
  switch (kind_) {
    case Kind::kNumber:
    case Kind::kString:
      text_.~basic_string();
      break;
    case Kind::kList:
      list_.~List();
      break;
    case Kind::kMap:
      map_.~Map();
      break;
    default:
      break;
  }
}

// JSON text of a tree as it stands (schema-less): compact; `pretty` as two-space indent. HTML characters are escaped as
// Go does, bytes that are no UTF-8 become \ufffd. Sorted: map keys in byte order.
std::string ToJson(const Value& v, bool pretty = false, bool sort_keys = false);
void AppendJson(std::string& out, const Value& v, bool sort_keys = false);
// `text` as a JSON string with its quotes.
void AppendJsonString(std::string& out, std::string_view text);
// `compact` JSON indented by two spaces as Go does; the input must be valid.
std::string IndentJson(std::string_view compact);
// The text with every byte that is no UTF-8 replaced by U+FFFD.
std::string ToValidUtf8(std::string_view text);
bool IsValidUtf8(std::string_view text);
// Every text and key of the tree is.
bool IsValidUtf8(const Value& v);
// The longest beginning of at most `bytes` bytes that cuts no character of a valid text.
std::string_view Utf8Prefix(std::string_view text, size_t bytes);
// How deep a tree may be that comes from outside: whoever walks a tree (or frees it) recurses, and the stack holds many
// times this depth. The original reads 10,000 levels of JSON and says the same words beyond.
inline constexpr int kMaxDepth = 1000;
struct ParseOptions {
  int max_depth = kMaxDepth;
  size_t max_nodes = 5'000'000;
  bool reject_duplicates = false;
};
// Strict RFC 8259 with Go's leniency (invalid UTF-8 becomes U+FFFD). Errors are worded as Go's encoding/json words
// them: "invalid character 'x' looking for beginning of value". The last duplicate wins unless rejected.
base::Result<Value> FromJson(std::string_view text, const ParseOptions& options = {});
// YAML 1.1 as sigs.k8s.io/yaml reads it (the first document; an empty one is null), map keys sorted as its detour
// through JSON does; alias expansion is bounded as in go-yaml. Errors are worded as go-yaml's: "yaml: line 3: did not
// find expected node content". Rejected duplicates are all listed.
base::Result<Value> FromYaml(std::string_view text, const ParseOptions& options = {});
// As FromYaml; keys that occur twice go to *duplicates in the original's words (`line 4: key "a" already set in map`)
// and the last one wins.
base::Result<Value> FromYaml(std::string_view text, const ParseOptions& options, std::vector<std::string>* duplicates);
// As sigs.k8s.io/yaml writes it: sorted keys, compact sequences.
std::string ToYaml(const Value& v);

}  // namespace machinery::value
