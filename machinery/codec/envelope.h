// The envelope of stored and sent Protobuf: "k8s\0" and runtime.Unknown {typeMeta = 1 {apiVersion = 1, kind = 2}, raw =
// 2}. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace machinery::codec {

struct Envelope {
  std::string_view api_version, kind, raw;  // into the input
};
bool HasEnvelope(std::string_view bytes);
// kInvalidArgument where the bytes are none.
base::Result<Envelope> OpenEnvelope(std::string_view bytes);
std::string SealEnvelope(std::string_view api_version, std::string_view kind, std::string_view raw);

}  // namespace machinery::codec
