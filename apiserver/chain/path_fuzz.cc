// A request line as a peer may send it: the reader says what it asks for, or that it is no path, and what it says is
// text.
#include "apiserver/chain/request_info.h"
#include "machinery/value/value.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace apiserver::chain;
  if (size == 0) return 0;
  static constexpr std::string_view kMethods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "X"};
  std::string_view method = kMethods[data[0] % std::size(kMethods)];
  std::string_view line(reinterpret_cast<const char*>(data) + 1, size - 1);
  size_t mark = line.find('?');
  Query query = ReadQuery(mark == line.npos ? std::string_view() : line.substr(mark + 1));
  auto info = ReadRequestInfo(method, line.substr(0, mark), query);
  if (!info) {
    CHECK(!info.error().message().empty());
    return 0;
  }
  CHECK(machinery::value::IsValidUtf8(std::string_view(info->path)));
  (void)AttributesOf({.name = "somebody"}, *info);
  CHECK(info->subresource.empty() || info->parts.size() > 2);
  return 0;
}
