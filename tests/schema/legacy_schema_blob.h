// The schemas of API versions that v1.36 no longer serves, as bytes, for tests of the codec: one serialized
// FileDescriptorSet in the form of proto::SchemaBlob(), imports (also those from proto/k8s) included.
//
// Thread-safe. Owner: tests/schema.
#pragma once

#include <string_view>

namespace tests {

std::string_view LegacySchemaBlob();

}  // namespace tests
