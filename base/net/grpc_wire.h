// The bytes of gRPC's framing, for both halves and the fuzzer. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/executor.h"
#include "base/status.h"

namespace base::net {

// 5 bytes: not compressed, big-endian length.
std::string GrpcPrefix(size_t message_size);

// Messages out of a stream of bytes.
class GrpcMessageReader {
 public:
  explicit GrpcMessageReader(size_t max_message) : max_(max_message) {}
  void Feed(std::string bytes);
  // The next whole message; nullopt when more bytes are needed; kResourceExhausted, kInternal, kUnimplemented.
  Result<std::optional<std::string>> Next();
  // Fails early when the announced size is over the limit.
  Status CheckSize() const;
  bool empty() const { return offset_ == buffer_.size(); }
  size_t size() const { return buffer_.size() - offset_; }
  size_t memory() const { return buffer_.capacity(); }
  // Something has come behind the first message.
  bool HasMore() const;

 private:
  size_t max_;
  std::string buffer_;
  size_t offset_ = 0;
};

// "100m", "5S" (at most 8 digits and one of H M S m u n).
std::optional<Duration> ParseGrpcTimeout(std::string_view text);
std::string FormatGrpcTimeout(Duration d);
// Percent-encoding of grpc-message.
std::string EncodeGrpcMessage(std::string_view text);
std::string DecodeGrpcMessage(std::string_view text);
// Base64 of *-bin metadata: sent without padding, accepted with and without.
std::string EncodeGrpcBinary(std::string_view bytes);
std::optional<std::string> DecodeGrpcBinary(std::string_view text);

}  // namespace base::net
