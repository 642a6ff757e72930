// Any text as a label and as a field selector: what was read prints as what is read again, and matches alike.
#include "machinery/ops/selector.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const value::Value labels{value::Map{{"a", value::Value("b")}, {"app", value::Value("1")}}};
  if (auto s = ops::LabelSelector::Parse(text)) {
    auto again = ops::LabelSelector::Parse(s->ToString());
    CHECK(again.has_value() && again->requirements().size() == s->requirements().size());
    CHECK(again->Matches(labels) == s->Matches(labels));
  }
  if (auto s = ops::FieldSelector::Parse(text)) {
    auto again = ops::FieldSelector::Parse(s->ToString());
    CHECK(again.has_value() && again->terms().size() == s->terms().size());  // "==" is sorted behind "=", then is one
  }
  return 0;
}
