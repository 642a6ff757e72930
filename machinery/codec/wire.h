// Protobuf's wire format: reading with every check, writing backwards (lengths are known when they are written). Errors
// carry the words of the original's generated Go code. Pure; one strand. For machinery/codec.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "machinery/value/value.h"

namespace machinery::codec {

// Messages within messages. Any tree of value::kMaxDepth fits: a level of a tree is two messages at most (a schema in
// its union), so that what was decoded from JSON and stored can always be read again.
constexpr int kMaxMessageDepth = 2 * value::kMaxDepth + 8;

enum class Wire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kStartGroup = 3, kEndGroup = 4, kFixed32 = 5 };

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : p_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool AtEnd() const { return p_ == end_; }
  const char* position() const { return p_; }
  // All return false on malformed input; error() says why.
  bool Tag(uint32_t* number, Wire* wire) {
    uint64_t tag;
    if (!Varint(&tag)) return false;
    *number = static_cast<uint32_t>(tag >> 3);
    *wire = static_cast<Wire>(tag & 7);
    if (tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1) return Fail("proto: illegal tag");
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
  bool Fixed64(uint64_t* out) {
    if (end_ - p_ < 8) return Fail("unexpected EOF");
    std::memcpy(out, p_, 8);  // little-endian hosts only, as everywhere in Keelson
    p_ += 8;
    return true;
  }
  // The value of a field nobody wants.
  bool Skip(Wire wire);
  const char* error() const { return error_; }
  bool Fail(const char* why) {
    error_ = why;
    return false;
  }

 private:
  bool LongVarint(uint64_t* out);

  const char* p_;
  const char* end_;
  const char* error_ = "unexpected EOF";
};

// Fills its buffer from the back.
class WireWriter {
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
    char text[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) text[n++] = static_cast<char>(v | 0x80);
    text[n++] = static_cast<char>(v);
    Bytes({text, n});
  }
  void Tag(int32_t number, Wire wire) { Varint(static_cast<uint64_t>(number) << 3 | static_cast<uint64_t>(wire)); }
  // tag, length, bytes.
  void Field(int32_t number, std::string_view bytes) {
    Bytes(bytes);
    Head(number, bytes.size());
  }
  // tag and length of what was written since size() was `before`.
  void Close(int32_t number, size_t before) { Head(number, size() - before); }
  void IntField(int32_t number, uint64_t v) {
    Varint(v);
    Tag(number, Wire::kVarint);
  }
  std::string Take() const { return std::string(buffer_.get() + at_, size()); }

 private:
  void Head(int32_t number, size_t length) {
    Varint(length);
    Tag(number, Wire::kBytes);
  }
  void Need(size_t n) {
    if (n > at_) Grow(n);
  }
  void Grow(size_t n);

  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t at_ = 0;
};

}  // namespace machinery::codec
