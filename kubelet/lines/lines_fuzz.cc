// Bytes of a log file, cut into pieces by the first byte: the answer does not depend on the cuts, keeps to its limits,
// and has nothing in it that is not in the file.
#include "base/status.h"
#include "kubelet/lines/lines.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kubelet::lines;
  if (size < 3) return 0;
  size_t piece = 1 + data[0];
  Options options{.timestamps = (data[1] & 1) != 0};
  if (data[1] & 2) options.limit_bytes = data[2];
  if (data[1] & 4) options.tail_lines = data[2];
  if (data[1] & 8) options.stream = data[1] & 16 ? "Stdout" : "Stderr";
  std::string_view log(reinterpret_cast<const char*>(data) + 3, size - 3);
  Reader whole(options), cut(options);
  std::string first = whole.Feed(log), second;
  first += whole.Finish();
  for (size_t at = 0; at < log.size(); at += piece) second += cut.Feed(log.substr(at, piece));
  second += cut.Finish();
  CHECK(first == second);
  if (options.limit_bytes) CHECK(first.size() <= static_cast<size_t>(*options.limit_bytes));
  if (!options.timestamps) CHECK(first.size() <= log.size());
  return 0;
}
