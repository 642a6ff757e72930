// Any bytes: the fast reader and the slow one agree on what is JSON, and what was read prints and reads back the same.
#include "machinery/value/json_reader.h"
#include "machinery/value/value.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery::value;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const ParseOptions options{.max_depth = 200, .max_nodes = 100'000};
  auto v = FromJson(text, options);
  std::string error = JsonSyntaxError(text, options.max_depth);
  CHECK(v.has_value() ? error.empty() : !error.empty() || v.error().message() == "too many values in JSON input");
  if (v) {
    std::string printed = ToJson(*v);
    auto again = FromJson(printed, options);
    CHECK(again.has_value() && *again == *v && ToJson(*again) == printed);
    CHECK(FromJson(ToJson(*v, true), options).has_value());
  }
  return 0;
}
