// What a peer may send on its streams, in pieces of any size: messages or a refusal; what was read can be written and
// read the same again.
#include "kvstore/peer/codec.h"

namespace {

using namespace kvstore;

std::string Encoded(const raft::Message& m) {
  std::string out;
  peer::EncodeMessage(out, m);
  return out;
}

void Repeat(const raft::Message& m) {
  std::string once = Encoded(m);
  auto again = peer::DecodeMessage(once);
  CHECK(again.has_value());
  CHECK(Encoded(*again) == once);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  if (data[0] % 3 == 2) {
    if (auto m = peer::DecodeMessage(bytes)) Repeat(*m);
    return 0;
  }
  auto kind = data[0] % 3 == 0 ? peer::StreamKind::kMessage : peer::StreamKind::kAppend;
  peer::StreamDecoder decoder(kind, 1, 2);
  size_t piece = 1 + data[1];
  while (!bytes.empty()) {
    decoder.Feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    for (;;) {
      auto m = decoder.Next();
      if (!m) return 0;
      if (!*m) break;
      Repeat(**m);
    }
  }
  return 0;
}
