#include "machinery/value/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/bug.h"

namespace machinery::value {

namespace {

// Below this a scan over short keys beats hashing them.
constexpr size_t kIndexFrom = 24;

uint32_t HashKey(std::string_view key, uint64_t seed) {
  uint64_t h = seed ^ key.size();
  const char* p = key.data();
  size_t n = key.size();
  auto mix = [&h](uint64_t word) {
    h = (h ^ word) * 0xFF51AFD7ED558CCDull;
    h ^= h >> 32;
  };
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    mix(word);
  }
  uint64_t tail = 0;
  std::memcpy(&tail, p, n);
  mix(tail);
  return static_cast<uint32_t>(h);
}

[[noreturn, gnu::cold]] void Mistaken(const char* wanted, Kind kind) {
  static constexpr const char* kNames[] = {"null", "bool", "int", "number", "string", "list", "map"};
  base::ThrowRequestBug(std::string("a ") + wanted + " was expected in the tree, found a " +
                        kNames[static_cast<int>(kind)]);
}

bool IsInteger(std::string_view text, int64_t* v) {
  if (text.empty() || text == "-0") return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *v);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

// Open addressing over positions in `entries_`: keys stay where they are, so growing the vector does not disturb it.
struct Map::Index {
  std::vector<uint32_t> slots;  // position + 1; 0 is empty
  // Where it happens to lie: who does not know it cannot choose keys that fall on one another. Nothing that can be seen
  // depends on it, because entries stand in the order they came.
  uint64_t seed = 0x9E3779B97F4A7C15ull ^ reinterpret_cast<uintptr_t>(this);

  explicit Index(const std::vector<Entry>& entries) {
    size_t n = 64;
    while (n < entries.size() * 3) n *= 2;
    slots.resize(n);
    for (size_t i = 0; i < entries.size(); ++i) Insert(entries[i].key, i);
  }
  void Insert(std::string_view key, size_t position) {
    size_t i = HashKey(key, seed) & (slots.size() - 1);
    while (slots[i] != 0) i = (i + 1) & (slots.size() - 1);
    slots[i] = static_cast<uint32_t>(position + 1);
  }
  size_t Find(const std::vector<Entry>& entries, std::string_view key) const {
    for (size_t i = HashKey(key, seed) & (slots.size() - 1); slots[i] != 0; i = (i + 1) & (slots.size() - 1)) {
      if (entries[slots[i] - 1].key == key) return slots[i] - 1;
    }
    return entries.size();
  }
};

Value::Value(bool b) : kind_(Kind::kBool) { bool_ = b; }
Value::Value(int64_t v) : kind_(Kind::kInt) { int_ = v; }
Value::Value(std::string s) {
  new (&text_) std::string(std::move(s));
  kind_ = Kind::kString;
}
Value::Value(List list) {
  new (&list_) List(std::move(list));
  kind_ = Kind::kList;
}
Value::Value(Map map) {
  new (&map_) Map(std::move(map));
  kind_ = Kind::kMap;
}

Value Value::Number(std::string text) {
  int64_t v;
  if (IsInteger(text, &v)) return Value(v);
  Value out(std::move(text));
  out.kind_ = Kind::kNumber;
  return out;
}

Value Value::Double(double d) {
  char buffer[400];
  double magnitude = std::fabs(d);
  bool scientific = magnitude != 0 && (magnitude < 1e-6 || magnitude >= 1e21);
  auto format = scientific ? std::chars_format::scientific : std::chars_format::fixed;
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, d, format).ptr);
  // Go writes e-9, not e-09; two digits stay.
  size_t n = text.size();
  if (scientific && n >= 4 && text[n - 4] == 'e' && text[n - 2] == '0') text.erase(n - 2, 1);
  return Number(std::move(text));
}

Value::Value(const Value& other) {
  switch (other.kind_) {
    case Kind::kNumber:
    case Kind::kString:
      new (&text_) std::string(other.text_);
      break;
    case Kind::kList:
      new (&list_) List(other.list_);
      break;
    case Kind::kMap:
      new (&map_) Map(other.map_);
      break;
    default:
      int_ = other.int_;
  }
  kind_ = other.kind_;
}

Value& Value::operator=(const Value& other) {
  if (this != &other) *this = Value(other);
  return *this;
}

bool Value::as_bool() const {
  if (!is_bool()) Mistaken("bool", kind_);
  return bool_;
}
int64_t Value::as_int() const {
  if (!is_int()) Mistaken("int", kind_);
  return int_;
}
double Value::as_double() const {
  if (!is_number()) Mistaken("number", kind_);
  if (is_int()) return static_cast<double>(int_);
  return std::strtod(text_.c_str(), nullptr);
}
std::string_view Value::number_text() const {
  if (kind_ != Kind::kNumber) Mistaken("number text", kind_);
  return text_;
}
const std::string& Value::as_string() const {
  if (!is_string()) Mistaken("string", kind_);
  return text_;
}
const List& Value::list() const {
  if (!is_list()) Mistaken("list", kind_);
  return list_;
}
List& Value::list() {
  if (!is_list()) Mistaken("list", kind_);
  return list_;
}
const Map& Value::map() const {
  if (!is_map()) Mistaken("map", kind_);
  return map_;
}
Map& Value::map() {
  if (!is_map()) Mistaken("map", kind_);
  return map_;
}

std::string_view Value::string_or(std::string_view otherwise) const {
  return is_string() ? std::string_view(text_) : otherwise;
}
int64_t Value::int_or(int64_t otherwise) const { return is_int() ? int_ : otherwise; }
bool Value::bool_or(bool otherwise) const { return is_bool() ? bool_ : otherwise; }

const Value& Value::Null() {
  static const Value null;
  return null;
}

const Value& Value::At(std::string_view field) const {
  const Value* found = is_map() ? map_.Find(field) : nullptr;
  return found ? *found : Null();
}
const Value& Value::At(size_t index) const { return is_list() && index < list_.size() ? list_[index] : Null(); }

Value& Value::Ensure(std::string_view field) {
  if (!is_map()) *this = Value(Map());
  Value* found = map_.Find(field);
  return found ? *found : map_.Append(std::string(field), Value());
}
Value& Value::Set(std::string_view field, Value v) {
  if (!is_map()) *this = Value(Map());
  return map_.Set(field, std::move(v));
}
bool Value::Remove(std::string_view field) { return is_map() && map_.Remove(field); }

static bool SameMap(const Map& a, const Map& b) {
  if (a.size() != b.size()) return false;
  // Entries of equal objects mostly stand in the same order.
  for (size_t i = 0; i < a.size(); ++i) {
    const Map::Entry& entry = a.entries()[i];
    const Map::Entry& beside = b.entries()[i];
    const Value* other = beside.key == entry.key ? &beside.value : b.Find(entry.key);
    if (!other || !(entry.value == *other)) return false;
  }
  return true;
}

bool operator==(const Value& a, const Value& b) {
  if (a.kind_ != b.kind_) return false;
  switch (a.kind_) {
    case Kind::kNull:
      return true;
    case Kind::kBool:
      return a.bool_ == b.bool_;
    case Kind::kInt:
      return a.int_ == b.int_;
    case Kind::kNumber:
    case Kind::kString:
      return a.text_ == b.text_;
    case Kind::kList:
      return a.list_ == b.list_;
    case Kind::kMap:
      return SameMap(a.map_, b.map_);
  }
  return false;
}

Map::Map(std::initializer_list<Entry> entries) {
  for (const Entry& e : entries) Set(e.key, e.value);
}
Map::Map(const Map& other) : entries_(other.entries_) {
  if (other.index_) index_ = new Index(*other.index_);
}
Map& Map::operator=(const Map& other) {
  if (this != &other) *this = Map(other);
  return *this;
}
void Map::DeleteIndex() {
  delete index_;
  index_ = nullptr;
}

const Value* Map::Find(std::string_view key) const {
  if (index_) {
    size_t i = index_->Find(entries_, key);
    return i < entries_.size() ? &entries_[i].value : nullptr;
  }
  for (const Entry& e : entries_) {
    if (e.key == key) return &e.value;
  }
  return nullptr;
}
Value* Map::Find(std::string_view key) { return const_cast<Value*>(std::as_const(*this).Find(key)); }

Value& Map::Set(std::string_view key, Value v) {
  if (Value* found = Find(key)) {
    *found = std::move(v);
    return *found;
  }
  return Append(std::string(key), std::move(v));
}

Value& Map::Append(std::string key, Value v) {
  entries_.push_back({std::move(key), std::move(v)});
  if (entries_.size() > kIndexFrom) Added();
  return entries_.back().value;
}

void Map::Added() {
  if (!index_ || entries_.size() * 2 > index_->slots.size()) {
    DropIndex();
    index_ = new Index(entries_);
  } else {
    index_->Insert(entries_.back().key, entries_.size() - 1);
  }
}

bool Map::Remove(std::string_view key) {
  Value* found = Find(key);
  if (!found) return false;
  size_t i = 0;
  while (&entries_[i].value != found) ++i;
  entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(i));
  DropIndex();
  return true;
}

size_t Map::RemoveIf(const std::function<bool(const Entry&)>& gone) {
  size_t removed = std::erase_if(entries_, gone);
  if (removed) DropIndex();
  return removed;
}

void Map::EnsureIndex() {
  if (!index_ && entries_.size() > kIndexFrom) index_ = new Index(entries_);
}

void Map::Clear() {
  entries_.clear();
  DropIndex();
}

void Map::SortByKey() {
  auto before = [](const Entry& a, const Entry& b) { return a.key < b.key; };
  if (std::is_sorted(entries_.begin(), entries_.end(), before)) return;
  DropIndex();
  std::sort(entries_.begin(), entries_.end(), before);
  // Maps of decoded objects are sorted, and looked into afterwards.
  if (entries_.size() > kIndexFrom) index_ = new Index(entries_);
}

}  // namespace machinery::value
