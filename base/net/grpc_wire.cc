#include "base/net/grpc_wire.h"

#include "base/bytes.h"
#include "base/net/http.h"

namespace base::net {

static constexpr uint32_t kReserveUpTo = 256 << 10;

std::string GrpcPrefix(size_t message_size) {
  std::string out(1, '\0');
  PutBigEndian32(out, static_cast<uint32_t>(message_size));
  return out;
}

void GrpcMessageReader::Feed(std::string bytes) {
  if (empty()) {
    buffer_ = std::move(bytes);
    offset_ = 0;
    return;
  }
  if (offset_ > 0) {
    buffer_.erase(0, offset_);
    offset_ = 0;
  }
  buffer_ += bytes;
}

Status GrpcMessageReader::CheckSize() const {
  if (buffer_.size() - offset_ < 5) return Ok();
  const char* p = buffer_.data() + offset_;
  if (p[0] == 1) return Unimplemented("grpc: Decompressor is not installed for a compressed message");
  if (p[0] != 0)
    return Internal("grpc: received unexpected payload format " + std::to_string(static_cast<uint8_t>(p[0])));
  uint32_t size = GetBigEndian32(p + 1);
  if (size > max_)
    return ResourceExhausted("grpc: received message larger than max (" + std::to_string(size) + " vs. " +
                             std::to_string(max_) + ")");
  return Ok();
}

bool GrpcMessageReader::HasMore() const {
  return size() > 5 && size() - 5 > size_t{GetBigEndian32(buffer_.data() + offset_ + 1)};
}

Result<std::optional<std::string>> GrpcMessageReader::Next() {
  TRY(CheckSize());
  size_t have = buffer_.size() - offset_;
  if (have < 5) return std::nullopt;
  uint32_t size = GetBigEndian32(buffer_.data() + offset_ + 1);
  if (have < 5 + size_t{size}) {
    // What is only announced takes no memory yet.
    if (size <= kReserveUpTo) buffer_.reserve(offset_ + 5 + size);
    return std::nullopt;
  }
  if (have == 5 + size_t{size}) {
    buffer_.erase(0, std::exchange(offset_, 0) + 5);
    return std::exchange(buffer_, {});
  }
  std::string message = buffer_.substr(offset_ + 5, size);
  offset_ += 5 + size_t{size};
  return message;
}

std::optional<Duration> ParseGrpcTimeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  int64_t n = 0;
  for (char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + (c - '0');
  }
  switch (text.back()) {
    case 'H':
      // 99999999 hours do not fit; forever is the same.
      return n > 2000000 ? Duration::max() / 2 : Duration(std::chrono::hours(n));
    case 'M':
      return n > 100000000 ? Duration::max() / 2 : Duration(std::chrono::minutes(n));
    case 'S':
      return Duration(std::chrono::seconds(n));
    case 'm':
      return Duration(std::chrono::milliseconds(n));
    case 'u':
      return Duration(std::chrono::microseconds(n));
    case 'n':
      return Duration(n);
    default:
      return std::nullopt;
  }
}

std::string FormatGrpcTimeout(Duration d) {
  int64_t ns = d.count() <= 0 ? 1 : d.count();
  struct Unit {
    int64_t size;
    char letter;
  };
  // The finest unit that fits in eight digits, rounded up: a deadline must not come early.
  for (Unit u : {Unit{1, 'n'}, Unit{1000, 'u'}, Unit{1000000, 'm'}, Unit{1000000000, 'S'}, Unit{60000000000, 'M'}}) {
    int64_t n = ns / u.size + (ns % u.size != 0);
    if (n < 100000000) return std::to_string(n) + u.letter;
  }
  return std::to_string(ns / 3600000000000 + 1) + "H";
}

std::string EncodeGrpcMessage(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
      out.push_back(kDigits[static_cast<uint8_t>(c) & 15]);
    }
  }
  return out;
}
std::string DecodeGrpcMessage(std::string_view text) { return PercentDecode(text); }

std::string EncodeGrpcBinary(std::string_view bytes) {
  std::string out = Base64Encode(bytes);
  while (out.ends_with('=')) out.pop_back();
  return out;
}
std::optional<std::string> DecodeGrpcBinary(std::string_view text) {
  std::string padded(text);
  while (padded.size() % 4 != 0) padded.push_back('=');
  return Base64Decode(padded);
}

}  // namespace base::net
