// Protobuf's wire format, for what is read or written without a message class: the codec of objects, log records,
// stored KeyValues, envelopes. A Cursor takes one tag or value after the other; a Reader walks the fields of a message;
// Put... append to a string; a BackWriter fills its buffer from the back, for a length stands before its message.
//
// Whatever the bytes are, reading ends with an error and never beyond them: a varint of more than 64 bits, a length
// beyond the end, field number 0 and wire types that do not exist. Error texts are those of Protobuf's generated Go
// code. Views point into the input. Pure; any thread.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace base::wire {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kStartGroup = 3, kEndGroup = 4, kFixed32 = 5 };

// All return false on malformed input; error() says why.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : p_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool AtEnd() const { return p_ == end_; }
  const char* position() const { return p_; }
  bool Tag(uint32_t* number, WireType* type) {
    uint64_t tag;
    if (!Varint(&tag)) return false;
    *number = static_cast<uint32_t>(tag >> 3);
    *type = static_cast<WireType>(tag & 7);
    if (tag >> 3 == 0 || tag >> 3 > kMaxFieldNumber) return Fail("proto: illegal tag");
    return true;
  }
  bool Varint(uint64_t* out) {
    if (p_ != end_ && static_cast<unsigned char>(*p_) < 0x80) {
      *out = static_cast<unsigned char>(*p_++);
      return true;
    }
    return LongVarint(out);
  }
  bool Bytes(std::string_view* out) {
    uint64_t n;
    if (!Varint(&n)) return false;
    if (n > static_cast<uint64_t>(end_ - p_)) {
      return Fail(n >> 63 ? "proto: negative length found during unmarshaling" : "unexpected EOF");
    }
    *out = {p_, static_cast<size_t>(n)};
    p_ += n;
    return true;
  }
  bool Fixed64(uint64_t* out) { return Fixed(out, 8); }
  bool Fixed32(uint64_t* out) { return Fixed(out, 4); }
  // The value of a field nobody wants, also a whole group.
  bool Skip(WireType type);
  const char* error() const { return error_; }
  bool Fail(const char* why) {
    error_ = why;
    return false;
  }

 private:
  static constexpr uint32_t kMaxFieldNumber = (1u << 29) - 1;

  bool LongVarint(uint64_t* out);
  bool Fixed(uint64_t* out, ptrdiff_t n) {
    if (end_ - p_ < n) return Fail("unexpected EOF");
    *out = 0;
    std::memcpy(out, p_, static_cast<size_t>(n));  // little-endian hosts only, as everywhere in Keelson
    p_ += n;
    return true;
  }

  const char* p_;
  const char* end_;
  const char* error_ = "unexpected EOF";
};

// Walks the fields of one message. Next() is false at the end and on malformed input, of which groups are a kind here;
// ok() tells the two apart.
class Reader {
 public:
  explicit Reader(std::string_view message) : in_(message) {}

  bool Next() {
    if (!ok_ || in_.AtEnd()) return false;
    WireType type;
    return ok_ = in_.Tag(&field_, &type) && Value(type);
  }
  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  // Of a varint or fixed field; 0 for another type.
  uint64_t value() const { return value_; }
  // Content of a length-delimited field; "" for another type.
  std::string_view bytes() const { return bytes_; }

 private:
  bool Value(WireType type) {
    if (type == WireType::kBytes) {
      value_ = 0;
      return in_.Bytes(&bytes_);
    }
    bytes_ = {};
    if (type == WireType::kVarint) return in_.Varint(&value_);
    if (type == WireType::kFixed64) return in_.Fixed64(&value_);
    return type == WireType::kFixed32 && in_.Fixed32(&value_);
  }

  Cursor in_;
  std::string_view bytes_;
  uint64_t value_ = 0;
  uint32_t field_ = 0;
  bool ok_ = true;
};

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
constexpr uint64_t Tag(uint32_t field, WireType type) { return uint64_t{field} << 3 | static_cast<uint64_t>(type); }
inline void PutVarint(std::string& out, uint64_t v) {
  char bytes[kMaxVarint];
  out.append(bytes, static_cast<size_t>(WriteVarint(bytes, v) - bytes));
}
constexpr size_t VarintSize(uint64_t v) { return v == 0 ? 1 : (static_cast<size_t>(std::bit_width(v)) + 6) / 7; }
// A varint field, also when it is zero (proto2 with presence).
inline void PutUint(std::string& out, uint32_t field, uint64_t v) {
  char bytes[2 * kMaxVarint];
  char* value = WriteVarint(bytes, Tag(field, WireType::kVarint));
  out.append(bytes, static_cast<size_t>(WriteVarint(value, v) - bytes));
}
// proto3: zero is left out.
inline void PutNonZero(std::string& out, uint32_t field, uint64_t v) {
  if (v != 0) PutUint(out, field, v);
}
// Tag and length of what the caller appends next.
inline void PutLength(std::string& out, uint32_t field, size_t length) {
  char head[2 * kMaxVarint];
  char* value = WriteVarint(head, Tag(field, WireType::kBytes));
  out.append(head, static_cast<size_t>(WriteVarint(value, length) - head));
}
inline void PutBytes(std::string& out, uint32_t field, std::string_view bytes) {
  PutLength(out, field, bytes.size());
  out.append(bytes);
}
inline void PutNonEmpty(std::string& out, uint32_t field, std::string_view bytes) {
  if (!bytes.empty()) PutBytes(out, field, bytes);
}
constexpr size_t BytesFieldSize(uint32_t field, size_t size) {
  return VarintSize(Tag(field, WireType::kBytes)) + VarintSize(size) + size;
}

// Fills its buffer from the back: first what stands last.
class BackWriter {
 public:
  size_t size() const { return capacity_ - at_; }
  void Bytes(std::string_view bytes) {
    Need(bytes.size());
    at_ -= bytes.size();
    if (!bytes.empty()) std::memcpy(buffer_.get() + at_, bytes.data(), bytes.size());
  }
  void Byte(char c) {
    Need(1);
    buffer_[--at_] = c;
  }
  void Varint(uint64_t v) {
    if (v < 0x80) return Byte(static_cast<char>(v));
    char text[kMaxVarint];
    Bytes({text, static_cast<size_t>(WriteVarint(text, v) - text)});
  }
  void Tag(int32_t number, WireType type) { Varint(wire::Tag(static_cast<uint32_t>(number), type)); }
  // tag, length, bytes.
  void Field(int32_t number, std::string_view bytes) {
    Bytes(bytes);
    Head(number, bytes.size());
  }
  // tag and length of what was written since size() was `before`.
  void Close(int32_t number, size_t before) { Head(number, size() - before); }
  void IntField(int32_t number, uint64_t v) {
    Varint(v);
    Tag(number, WireType::kVarint);
  }
  std::string Take() const { return std::string(buffer_.get() + at_, size()); }

 private:
  void Head(int32_t number, size_t length) {
    Varint(length);
    Tag(number, WireType::kBytes);
  }
  void Need(size_t n) {
    if (n > at_) Grow(n);
  }
  void Grow(size_t n);

  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t at_ = 0;
};

}  // namespace base::wire
