// Any bytes as an envelope, and as a message whose resourceVersion is replaced.
#include "machinery/codec/codec.h"
#include "machinery/codec/fuzz_types.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const schema::Type& type = codec::FuzzType(0);
  if (auto open = codec::OpenEnvelope(bytes)) {
    std::string sealed = codec::SealEnvelope(open->api_version, open->kind, open->raw);
    auto again = codec::OpenEnvelope(sealed);
    CHECK(again.has_value() && again->raw == open->raw && again->kind == open->kind);
    if (auto v = codec::DecodeEnvelope(type, bytes)) codec::EncodeEnvelope(type, *v);
    bytes = open->raw;
  }
  auto spliced = codec::SpliceResourceVersion(bytes, "42");
  if (spliced && codec::DecodeProtobuf(type, bytes)) {
    auto v = codec::DecodeProtobuf(type, *spliced);
    CHECK(v.has_value() && v->At("metadata", "resourceVersion").string_or() == "42");
  }
  return 0;
}
