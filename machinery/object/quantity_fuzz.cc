// Any text as a quantity: printing keeps the value and comes to rest, and arithmetic undoes itself. It may take two
// rounds to come to rest: 62.5Ki is 64000 in the binary form, which read again is decimal, 64k (as in the original).
#include "machinery/object/quantity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using machinery::object::Quantity;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto q = Quantity::Parse(text);
  auto normal = Quantity::Normalize(text);
  CHECK(q.has_value() == normal.has_value());
  if (!q) return 0;
  auto again = Quantity::Parse(q->ToString());
  CHECK(again.has_value() && *again == *q);
  std::string settled = again->ToString();
  CHECK(Quantity::Parse(settled)->ToString() == settled);
  CHECK(*Quantity::Parse(*normal) == *q);
  CHECK(*Quantity::Normalize(settled) == settled);
  CHECK(((*q) - (*q)).IsZero());
  q->Value();
  q->MilliValue();
  CHECK((*q <=> -*q) == (q->Sign() <=> 0));
  return 0;
}
