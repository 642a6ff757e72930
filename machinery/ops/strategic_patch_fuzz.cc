// The first byte picks a type; a document of it and a strategic merge patch.
#include "machinery/codec/fuzz_types.h"
#include "machinery/ops/fuzz_patch.h"
#include "machinery/ops/patch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace machinery;
  if (size == 0) return 0;
  auto input = ops::DocumentAndPatch({reinterpret_cast<const char*>(data) + 1, size - 1});
  if (!input) return 0;
  ops::CheckResult(
      ops::ApplyStrategicMergePatch(codec::FuzzType(data[0]), std::move(input->first), std::move(input->second)));
  return 0;
}
