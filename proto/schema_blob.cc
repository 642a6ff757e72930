#include "proto/schema_blob.h"

#include "proto/embed_blob.h"

KEELSON_EMBED(keelson_schema_blob, KEELSON_SCHEMA_BLOB)

namespace proto {

std::string_view SchemaBlob() {
  return {keelson_schema_blob_begin, static_cast<size_t>(keelson_schema_blob_end - keelson_schema_blob_begin)};
}

}  // namespace proto
