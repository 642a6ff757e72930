// A document and a JSON patch: it applies or it does not, in bounded time and memory.
#include "machinery/ops/fuzz_patch.h"
#include "machinery/ops/patch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery::ops;
  auto input = DocumentAndPatch({reinterpret_cast<const char*>(data), size});
  if (input) CheckResult(ApplyJsonPatch(std::move(input->first), input->second));
  return 0;
}
