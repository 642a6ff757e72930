// gRPC's framing and metadata encodings from hostile bytes.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/net/grpc_wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace base::net;
  std::string_view all(reinterpret_cast<const char*>(data), size);
  GrpcMessageReader reader(1 << 16);
  std::string rebuilt;
  size_t at = 0;
  bool good = true;
  while (good && at < size) {
    size_t n = 1 + data[at] % 64;
    reader.Feed(std::string(all.substr(at, n)));
    at += n;
    for (;;) {
      auto message = reader.Next();
      good = message.has_value();
      if (!good || !*message) break;
      rebuilt += GrpcPrefix((*message)->size()) + **message;
    }
  }
  CHECK(all.starts_with(rebuilt));
  if (auto timeout = ParseGrpcTimeout(all); timeout && timeout->count() > 0) {
    auto again = ParseGrpcTimeout(FormatGrpcTimeout(*timeout));
    CHECK(again.has_value() && *again >= *timeout);
  }
  CHECK(DecodeGrpcMessage(EncodeGrpcMessage(all)) == all);
  CHECK(DecodeGrpcBinary(EncodeGrpcBinary(all)) == all);
  (void)DecodeGrpcBinary(all);
  return 0;
}
