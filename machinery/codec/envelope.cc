// The envelope around stored and sent Protobuf (runtime.Unknown behind four bytes of magic), and the one edit that is
// made to encoded objects: their resourceVersion.
#include "machinery/codec/codec.h"
#include "machinery/codec/wire.h"

namespace machinery::codec {

namespace {

constexpr std::string_view kMagic("k8s\0", 4);

base::Status Malformed(const WireReader& in) { return base::InvalidArgument(in.error()); }

// Calls visit(number, wire, bytes of a length-delimited field, where its tag starts) for every field.
template <class Visit>
base::Status ForEachField(std::string_view message, Visit visit) {
  WireReader in(message);
  while (!in.AtEnd()) {
    auto start = static_cast<size_t>(in.position() - message.data());
    uint32_t number;
    Wire wire;
    std::string_view bytes;
    if (!in.Tag(&number, &wire)) return Malformed(in);
    if (wire == Wire::kBytes ? !in.Bytes(&bytes) : !in.Skip(wire)) return Malformed(in);
    visit(number, wire, bytes, start, static_cast<size_t>(in.position() - message.data()));
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
  auto visit = [&](uint32_t number, Wire wire, std::string_view field, size_t, size_t) {
    if (wire != Wire::kBytes) return;
    if (number == 1) {
      inner = ForEachField(field, [&](uint32_t n, Wire w, std::string_view text, size_t, size_t) {
        if (w == Wire::kBytes && n == 1) out.api_version = text;
        if (w == Wire::kBytes && n == 2) out.kind = text;
      });
    } else if (number == 2) {
      out.raw = field;
    } else if (number == 3) {
      out.content_encoding = field;
    } else if (number == 4) {
      out.content_type = field;
    }
  };
  TRY(ForEachField(bytes.substr(kMagic.size()), visit));
  TRY(inner);
  return out;
}

std::string SealEnvelope(std::string_view api_version, std::string_view kind, std::string_view raw) {
  WireWriter out;
  out.Field(4, "");
  out.Field(3, "");
  out.Field(2, raw);
  size_t before = out.size();
  out.Field(2, kind);
  out.Field(1, api_version);
  out.Close(1, before);
  out.Bytes(kMagic);
  return out.Take();
}

std::string EncodeEnvelope(const schema::Type& type, const value::Value& v) {
  return SealEnvelope(v.At("apiVersion").string_or(), v.At("kind").string_or(), EncodeProtobuf(type, v));
}

base::Result<value::Value> DecodeEnvelope(const schema::Type& type, std::string_view bytes) {
  TRY_ASSIGN(Envelope envelope, OpenEnvelope(bytes));
  TRY_ASSIGN(value::Value v, DecodeProtobuf(type, envelope.raw));
  auto& entries = v.map().entries();
  // kind and apiVersion come first, as in JSON.
  auto put = [&](const char* name, const std::string& text) {
    if (!text.empty()) entries.insert(entries.begin(), {name, value::Value(text)});
  };
  put("apiVersion", envelope.api_version);
  put("kind", envelope.kind);
  return v;
}

base::Result<std::string> SpliceResourceVersion(std::string_view message, std::string_view resource_version) {
  constexpr uint32_t kMetadata = 1, kResourceVersion = 6;
  std::string_view metadata;
  size_t metadata_start = 0, metadata_end = 0;
  TRY(ForEachField(message, [&](uint32_t number, Wire wire, std::string_view bytes, size_t start, size_t end) {
    if (number == kMetadata && wire == Wire::kBytes) metadata = bytes, metadata_start = start, metadata_end = end;
  }));
  // Fields ascend, so the place is behind the last smaller one.
  size_t from = 0, to = 0;
  TRY(ForEachField(metadata, [&](uint32_t number, Wire, std::string_view, size_t start, size_t end) {
    if (number < kResourceVersion) from = to = end;
    if (number == kResourceVersion) from = start, to = end;
  }));
  WireWriter out;
  out.Bytes(message.substr(metadata_end));
  size_t before = out.size();
  out.Bytes(metadata.substr(to));
  out.Field(kResourceVersion, resource_version);
  out.Bytes(metadata.substr(0, from));
  out.Close(kMetadata, before);
  out.Bytes(message.substr(0, metadata_start));
  return out.Take();
}

}  // namespace machinery::codec
