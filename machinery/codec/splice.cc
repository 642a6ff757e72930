// The one edit that is made to encoded objects: their resourceVersion.
#include "base/protobuf_wire.h"
#include "machinery/codec/codec.h"

namespace machinery::codec {

using base::wire::BackWriter;
using base::wire::Cursor;
using base::wire::WireType;

namespace {

// Calls visit(number, type, bytes of a length-delimited field, where its tag starts, where its value ends) for every
// field.
template <class Visit>
base::Status ForEachField(std::string_view message, Visit visit) {
  Cursor in(message);
  while (!in.AtEnd()) {
    auto start = static_cast<size_t>(in.position() - message.data());
    uint32_t number;
    WireType type;
    std::string_view bytes;
    if (!in.Tag(&number, &type)) return base::InvalidArgument(in.error());
    if (type == WireType::kBytes ? !in.Bytes(&bytes) : !in.Skip(type)) return base::InvalidArgument(in.error());
    visit(number, type, bytes, start, static_cast<size_t>(in.position() - message.data()));
  }
  return base::Ok();
}

}  // namespace

base::Result<std::string> SpliceResourceVersion(std::string_view message, std::string_view resource_version) {
  constexpr uint32_t kMetadata = 1, kResourceVersion = 6;
  std::string_view metadata;
  size_t metadata_start = 0, metadata_end = 0;
  TRY(ForEachField(message, [&](uint32_t number, WireType type, std::string_view bytes, size_t start, size_t end) {
    if (number == kMetadata && type == WireType::kBytes) metadata = bytes, metadata_start = start, metadata_end = end;
  }));
  // Fields ascend, so the place is behind the last smaller one.
  size_t from = 0, to = 0;
  TRY(ForEachField(metadata, [&](uint32_t number, WireType, std::string_view, size_t start, size_t end) {
    if (number < kResourceVersion) from = to = end;
    if (number == kResourceVersion) from = start, to = end;
  }));
  BackWriter out;
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
