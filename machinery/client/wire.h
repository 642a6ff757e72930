// Reads Protobuf's wire format field by field, without a message class: for lists, whose items are parsed as the kind
// the caller asks for, and for the k8s\0 envelope. Pure; errors are kInvalidArgument.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace machinery::client::wire {

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  // Moves to the next field; false at the end or on an error (see ok()).
  bool Next();
  int field() const { return field_; }
  // Content of a length-delimited field; "" for another wire type.
  std::string_view bytes() const { return bytes_; }
  uint64_t number() const { return number_; }
  bool ok() const { return ok_; }

 private:
  bool Varint(uint64_t& out);
  bool Take(uint64_t n, std::string_view& out);
  std::string_view rest_, bytes_;
  uint64_t number_ = 0;
  int field_ = 0;
  bool ok_ = true;
};

void PutBytes(std::string& out, int field, std::string_view bytes);

struct Envelope {
  std::string_view api_version, kind, raw;
};
// Kubernetes' magic k8s\0 and runtime.Unknown {typeMeta=1 {apiVersion=1, kind=2}, raw=2, ...}.
base::Result<Envelope> OpenEnvelope(std::string_view bytes);
std::string SealEnvelope(std::string_view api_version, std::string_view kind, std::string_view raw);

}  // namespace machinery::client::wire
