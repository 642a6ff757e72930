#include "machinery/codec/envelope.h"

#include "base/protobuf_wire.h"

namespace machinery::codec {

namespace wire = base::wire;

namespace {

constexpr std::string_view kMagic("k8s\0", 4);

// Calls visit(number, content) for every length-delimited field.
template <class Visit>
base::Status ForEachText(std::string_view message, Visit visit) {
  wire::Cursor in(message);
  while (!in.AtEnd()) {
    uint32_t number;
    wire::WireType type;
    std::string_view content;
    if (!in.Tag(&number, &type)) return base::InvalidArgument(in.error());
    if (type != wire::WireType::kBytes) {
      if (!in.Skip(type)) return base::InvalidArgument(in.error());
      continue;
    }
    if (!in.Bytes(&content)) return base::InvalidArgument(in.error());
    visit(number, content);
  }
  return base::Ok();
}

}  // namespace

bool HasEnvelope(std::string_view bytes) { return bytes.starts_with(kMagic); }

base::Result<Envelope> OpenEnvelope(std::string_view bytes) {
  if (!HasEnvelope(bytes)) {
    return base::Err(base::InvalidArgument(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"));
  }
  Envelope out;
  base::Status inner;
  TRY(ForEachText(bytes.substr(kMagic.size()), [&](uint32_t number, std::string_view content) {
    if (number == 2) out.raw = content;
    if (number != 1) return;
    inner = ForEachText(content, [&](uint32_t n, std::string_view text) {
      if (n == 1) out.api_version = text;
      if (n == 2) out.kind = text;
    });
  }));
  TRY(inner);
  return out;
}

std::string SealEnvelope(std::string_view api_version, std::string_view kind, std::string_view raw) {
  const size_t meta = wire::BytesFieldSize(1, api_version.size()) + wire::BytesFieldSize(2, kind.size());
  std::string out;
  out.reserve(kMagic.size() + wire::BytesFieldSize(1, meta) + wire::BytesFieldSize(2, raw.size()) + 4);
  out.append(kMagic);
  wire::PutLength(out, 1, meta);
  wire::PutBytes(out, 1, api_version);
  wire::PutBytes(out, 2, kind);
  wire::PutBytes(out, 2, raw);
  wire::PutBytes(out, 3, "");
  wire::PutBytes(out, 4, "");
  return out;
}

}  // namespace machinery::codec
