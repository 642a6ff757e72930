// The first byte picks a type, the rest is its JSON: what was read prints as what is read again, by way of message
// bytes too.
#include "machinery/codec/codec.h"
#include "machinery/codec/fuzz_types.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery;
  if (size == 0) return 0;
  const schema::Type& type = codec::FuzzType(data[0]);
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  codec::DecodeReport report;
  auto v = codec::DecodeJson(type, text, {.report = &report, .max_depth = 100});
  if (!v) {
    CHECK(!v.error().message().empty());
    return 0;
  }
  std::string json = codec::EncodeJson(type, *v);
  CHECK(value::ToJson(*v) + "\n" == json);
  auto again = codec::DecodeJson(type, json);
  CHECK(again.has_value() && *again == *v);
  auto message = codec::DecodeProtobuf(type, codec::EncodeProtobuf(type, *v));
  CHECK(message.has_value());
  return 0;
}
