// Any text as a quantity: printing is stable, equal in value, and arithmetic undoes itself.
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
  CHECK(again->ToString() == q->ToString());
  CHECK(*Quantity::Parse(*normal) == *q);
  CHECK(*Quantity::Normalize(*normal) == *normal);
  CHECK(((*q) - (*q)).IsZero());
  q->Value();
  q->MilliValue();
  CHECK((*q <=> -*q) == (q->Sign() <=> 0));
  return 0;
}
