// A document and a merge patch; what has been merged changes nothing when it is merged again.
#include "machinery/ops/fuzz_patch.h"
#include "machinery/ops/patch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery::ops;
  auto input = DocumentAndPatch({reinterpret_cast<const char*>(data), size});
  if (!input) return 0;
  auto once = ApplyMergePatch(input->first, input->second);
  CheckResult(once);
  if (once) CHECK(*ApplyMergePatch(*once, input->second) == *once);
  return 0;
}
