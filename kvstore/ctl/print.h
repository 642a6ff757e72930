// What kvctl prints, in etcdctl's formats: simple, table, json, fields. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/json_writer.h"
#include "base/status.h"

namespace etcdserverpb {
class ResponseHeader;
}
namespace mvccpb {
class KeyValue;
}

namespace kvstore::ctl {

enum class Format { kSimple, kTable, kJson, kFields };
base::Result<Format> ParseFormat(const std::string& name);

// A box with centred heads and cells set to the right.
std::string Table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);
// "20 kB", "2.1 GB": powers of 1000, one decimal below ten.
std::string HumanBytes(uint64_t bytes);
std::string Hex(uint64_t id);
// With `hex`, every byte as \x..; otherwise as it is.
std::string Text(const std::string& bytes, bool hex);

// "header":{...} as the first field of an open object.
void JsonHeader(base::JsonWriter& w, const etcdserverpb::ResponseHeader& h, std::string_view name = "header");
void JsonKv(base::JsonWriter& w, const mvccpb::KeyValue& kv);
std::string FieldsHeader(const etcdserverpb::ResponseHeader& h);
std::string FieldsKv(const mvccpb::KeyValue& kv);

}  // namespace kvstore::ctl
