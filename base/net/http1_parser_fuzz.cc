// HTTP/1.1 messages from hostile bytes, cut in two at every possible place: whatever comes out must not depend on how
// the bytes arrived.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/net/http1_parser.h"
#include "base/status.h"

namespace {

using base::net::Http1Parser;

// What a connection would see, as one text.
std::string Digest(std::string_view first, std::string_view second, Http1Parser::Kind kind) {
  Http1Parser parser(kind, 4096);
  std::string out, pending;
  int messages = 0;
  for (std::string_view piece : {first, second}) {
    pending.append(piece);
    std::string_view input = pending;
    for (bool more = true; more && messages < 64;) {
      switch (parser.Next(input)) {
        case Http1Parser::Event::kNeedMore:
          more = false;
          break;
        case Http1Parser::Event::kHead:
          out += "head " + parser.head().method + " " + parser.head().target + "\n";
          for (const auto& [name, value] : parser.head().headers.fields()) out += name + ":" + value + "\n";
          break;
        case Http1Parser::Event::kBody:
          out += parser.body();
          break;
        case Http1Parser::Event::kEnd:
          out += "\nend\n";
          ++messages;
          parser.Reset();
          break;
        case Http1Parser::Event::kError:
          return out + "error " + std::to_string(parser.error_status());
      }
    }
    pending = std::string(input);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string_view all(reinterpret_cast<const char*>(data) + 2, size - 2);
  size_t cut = all.empty() ? 0 : (static_cast<size_t>(data[0]) << 8 | data[1]) % (all.size() + 1);
  for (auto kind : {Http1Parser::Kind::kRequest, Http1Parser::Kind::kResponse}) {
    std::string whole = Digest(all, "", kind);
    std::string halves = Digest(all.substr(0, cut), all.substr(cut), kind);
    CHECK_MSG(whole == halves, "the cut changes the meaning");
  }
  return 0;
}
