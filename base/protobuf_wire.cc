#include "base/protobuf_wire.h"

#include <algorithm>

namespace base::wire {

bool Cursor::LongVarint(uint64_t* out) {
  uint64_t v = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (p_ == end_) return Fail("unexpected EOF");
    auto c = static_cast<unsigned char>(*p_++);
    if (shift == 63 && c > 1) break;
    v |= static_cast<uint64_t>(c & 0x7F) << shift;
    if (c < 0x80) {
      *out = v;
      return true;
    }
  }
  return Fail("proto: integer overflow");
}

bool Cursor::Skip(WireType type) {
  uint64_t number;
  std::string_view bytes;
  // Groups are history, but an unknown field may be one; they nest, so count instead of recursing.
  size_t depth = 0;
  do {
    switch (type) {
      case WireType::kVarint:
        if (!Varint(&number)) return false;
        break;
      case WireType::kFixed64:
        if (!Fixed64(&number)) return false;
        break;
      case WireType::kBytes:
        if (!Bytes(&bytes)) return false;
        break;
      case WireType::kStartGroup:
        ++depth;
        break;
      case WireType::kEndGroup:
        if (depth == 0) return Fail("proto: unexpected end of group");
        --depth;
        break;
      case WireType::kFixed32:
        if (!Fixed32(&number)) return false;
        break;
      default:
        return Fail("proto: illegal wireType");
    }
    uint32_t field;
    if (depth > 0 && !Tag(&field, &type)) return false;
  } while (depth > 0);
  return true;
}

void BackWriter::Grow(size_t n) {
  size_t used = size();
  size_t bigger = std::max<size_t>({1024, capacity_ * 2, used + n});
  auto grown = std::make_unique_for_overwrite<char[]>(bigger);
  if (used) std::memcpy(grown.get() + bigger - used, buffer_.get() + at_, used);
  buffer_ = std::move(grown);
  capacity_ = bigger;
  at_ = bigger - used;
}

}  // namespace base::wire
