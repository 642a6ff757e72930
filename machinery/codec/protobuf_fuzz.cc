// The first byte picks a type, the rest is message bytes: the way through the tree and the way straight to JSON agree,
// and re-encoding settles at once.
#include "machinery/codec/codec.h"
#include "machinery/codec/fuzz_types.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery;
  if (size == 0) return 0;
  const schema::Type& type = codec::FuzzType(data[0]);
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto v = codec::DecodeProtobuf(type, bytes);
  std::string straight;
  base::Status s = codec::TranscodeToJson(type, bytes, {}, straight);
  if (!v) return 0;
  CHECK(s.ok());
  CHECK(codec::EncodeJson(type, *v, false, false) == straight);
  std::string encoded = codec::EncodeProtobuf(type, *v);
  auto again = codec::DecodeProtobuf(type, encoded);
  CHECK(again.has_value());
  CHECK(codec::EncodeProtobuf(type, *again) == encoded);
  return 0;
}
