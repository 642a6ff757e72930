// Protobuf's wire format by hand, for the few messages on kvstore's hot paths and disks whose bytes must be exact: a
// writer of fields and a bounds-checked reader. Pure; any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace kvstore::wire {

constexpr size_t kMaxVarint = 10;

// Behind the last byte.
inline char* WriteVarint(char* to, uint64_t v) {
  while (v >= 0x80) {
    *to++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *to++ = static_cast<char>(v);
  return to;
}
inline void PutVarint(std::string& out, uint64_t v) {
  char bytes[kMaxVarint];
  out.append(bytes, static_cast<size_t>(WriteVarint(bytes, v) - bytes));
}
inline size_t VarintSize(uint64_t v) {
  size_t n = 1;
  while (v >= 0x80) {
    v >>= 7;
    ++n;
  }
  return n;
}
// A varint field, also when it is zero (proto2 with presence).
inline void PutUint(std::string& out, uint32_t field, uint64_t v) {
  char bytes[2 * kMaxVarint];
  out.append(bytes, static_cast<size_t>(WriteVarint(WriteVarint(bytes, field << 3), v) - bytes));
}
// proto3: zero is left out.
inline void PutNonZero(std::string& out, uint32_t field, uint64_t v) {
  if (v != 0) PutUint(out, field, v);
}
inline void PutBytes(std::string& out, uint32_t field, std::string_view bytes) {
  char head[2 * kMaxVarint];
  out.append(head, static_cast<size_t>(WriteVarint(WriteVarint(head, field << 3 | 2), bytes.size()) - head));
  out.append(bytes);
}
inline void PutNonEmpty(std::string& out, uint32_t field, std::string_view bytes) {
  if (!bytes.empty()) PutBytes(out, field, bytes);
}
inline size_t BytesFieldSize(uint32_t field, size_t size) {
  return VarintSize(field << 3 | 2) + VarintSize(size) + size;
}

// Walks the fields of one message. Next() is false at the end and on malformed input; ok() tells the two apart.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  bool Next() {
    if (in_.empty() || !ok_) return false;
    uint64_t tag;
    if (!Varint(tag) || (tag >> 3) == 0 || (tag >> 3) > 0x1fffffff) return Fail();
    field_ = static_cast<uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0:
        bytes_ = {};
        return Varint(value_) || Fail();
      case 1:
        return Fixed(8);
      case 2: {
        uint64_t n;
        if (!Varint(n) || n > in_.size()) return Fail();
        bytes_ = in_.substr(0, n);
        in_.remove_prefix(n);
        value_ = 0;
        return true;
      }
      case 5:
        return Fixed(4);
      default:
        return Fail();
    }
  }
  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  uint64_t value() const { return value_; }
  std::string_view bytes() const { return bytes_; }

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }
  bool Varint(uint64_t& v) {
    v = 0;
    for (size_t i = 0; i < in_.size() && i < kMaxVarint; ++i) {
      uint64_t b = static_cast<unsigned char>(in_[i]);
      v |= (b & 0x7f) << (7 * i);
      if (b < 0x80) {
        in_.remove_prefix(i + 1);
        return true;
      }
    }
    return false;
  }
  bool Fixed(size_t n) {
    if (in_.size() < n) return Fail();
    bytes_ = in_.substr(0, n);
    value_ = 0;
    std::memcpy(&value_, bytes_.data(), n);
    in_.remove_prefix(n);
    return true;
  }

  std::string_view in_;
  std::string_view bytes_;
  uint64_t value_ = 0;
  uint32_t field_ = 0;
  bool ok_ = true;
};

}  // namespace kvstore::wire
