#include "tests/schema/legacy_schema_blob.h"

#include "proto/embed_blob.h"

KEELSON_EMBED(keelson_legacy_schema_blob, KEELSON_SCHEMA_BLOB)

namespace tests {

std::string_view LegacySchemaBlob() {
  return {keelson_legacy_schema_blob_begin,
          static_cast<size_t>(keelson_legacy_schema_blob_end - keelson_legacy_schema_blob_begin)};
}

}  // namespace tests
