// Any bytes: YAML is read or refused, and what was read prints as YAML that is read again.
#include "machinery/value/value.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery::value;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const ParseOptions options{.max_depth = 200, .max_nodes = 20'000};
  std::vector<std::string> duplicates;
  auto v = FromYaml(text, options, &duplicates);
  if (!v) return 0;
  CHECK(FromJson(ToJson(*v)).has_value());
  auto again = FromYaml(ToYaml(*v), {.max_depth = 400});
  CHECK(again.has_value() || size > 100'000);
  return 0;
}
