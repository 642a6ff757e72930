#include "machinery/client/wire.h"

namespace machinery::client::wire {
namespace {
constexpr std::string_view kMagic("k8s\0", 4);

void PutVarint(std::string& out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out.push_back(static_cast<char>(v | 0x80));
  out.push_back(static_cast<char>(v));
}
}  // namespace

bool Reader::Varint(uint64_t& out) {
  out = 0;
  for (int shift = 0; shift < 70 && !rest_.empty(); shift += 7) {
    auto b = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    if (shift < 64) out |= static_cast<uint64_t>(b & 0x7f) << shift;
    if (!(b & 0x80)) return true;
  }
  return ok_ = false;
}

bool Reader::Take(uint64_t n, std::string_view& out) {
  if (n > rest_.size()) return ok_ = false;
  out = rest_.substr(0, n);
  rest_.remove_prefix(n);
  return true;
}

bool Reader::Next() {
  if (rest_.empty() || !ok_) return false;
  uint64_t tag, length;
  if (!Varint(tag)) return false;
  field_ = static_cast<int>(tag >> 3);
  bytes_ = {};
  number_ = 0;
  switch (tag & 7) {
    case 0:
      return Varint(number_);
    case 1:
      return Take(8, bytes_);
    case 2:
      return Varint(length) && Take(length, bytes_);
    case 5:
      return Take(4, bytes_);
    default:
      return ok_ = false;
  }
}

void PutBytes(std::string& out, int field, std::string_view bytes) {
  PutVarint(out, static_cast<uint64_t>(field) << 3 | 2);
  PutVarint(out, bytes.size());
  out.append(bytes);
}

base::Result<Envelope> OpenEnvelope(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return base::Err(base::InvalidArgument("not a Kubernetes protobuf message"));
  Envelope out;
  Reader unknown(bytes.substr(kMagic.size()));
  while (unknown.Next()) {
    if (unknown.field() == 2) out.raw = unknown.bytes();
    if (unknown.field() != 1) continue;
    Reader meta(unknown.bytes());
    while (meta.Next()) {
      if (meta.field() == 1) out.api_version = meta.bytes();
      if (meta.field() == 2) out.kind = meta.bytes();
    }
  }
  if (!unknown.ok()) return base::Err(base::InvalidArgument("truncated protobuf envelope"));
  return out;
}

std::string SealEnvelope(std::string_view api_version, std::string_view kind, std::string_view raw) {
  std::string meta;
  PutBytes(meta, 1, api_version);
  PutBytes(meta, 2, kind);
  std::string out(kMagic);
  out.reserve(raw.size() + meta.size() + 24);
  PutBytes(out, 1, meta);
  PutBytes(out, 2, raw);
  PutBytes(out, 3, "");
  PutBytes(out, 4, "");
  return out;
}

}  // namespace machinery::client::wire
