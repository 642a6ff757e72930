// Any text as a time: what is read prints as what reads the same.
#include "machinery/object/time.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery::object;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto t = ParseTime(text)) {
    // A zone can push a time out of the years that four digits can say.
    if (t->seconds >= -62167219200 && t->seconds < 253402300800) {
      auto again = ParseTime(FormatTime(t->seconds));
      CHECK(again.has_value() && again->seconds == t->seconds);
    }
  }
  if (auto t = ParseMicroTime(text)) {
    if (t->seconds >= -62167219200 && t->seconds < 253402300800) {
      auto again = ParseMicroTime(FormatMicroTime(t->seconds, t->nanos));
      CHECK(again.has_value() && *again == *t);
    }
  }
  return 0;
}
