// What a peer may send on its streams, in pieces of any size: messages or a refusal; what was read can be written and
// read the same again, and a member that hears them through the door stays whole.
#include "kvstore/peer/codec.h"
#include "kvstore/wal/fuzz_member.h"

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
  wal::FuzzMember member(/*leads=*/(data[0] & 0x80) != 0);
  bool near = (data[0] & 0x40) != 0;
  auto hear = [&](const raft::Message& m) {
    if (!peer::IsLinkHeartbeat(m)) member.Hear(m, near ? 1 + m.from % 4 : 2, near);
    if ((data[1] & 1) != 0) member.Tick();
  };
  if (data[0] % 3 == 2) {
    if (auto m = peer::DecodeMessage(bytes)) {
      Repeat(*m);
      hear(*m);
    }
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
      hear(**m);
    }
  }
  return 0;
}
