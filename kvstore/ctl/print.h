// What kvctl prints, in etcdctl's formats: simple, table, json, fields, protobuf. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace etcdserverpb {
class ResponseHeader;
}
namespace mvccpb {
class KeyValue;
}

namespace kvstore::ctl {

enum class Format { kSimple, kTable, kJson, kFields, kProtobuf };
base::Result<Format> ParseFormat(const std::string& name);

// A box with centred heads and cells set to the right.
std::string Table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);
std::string Row(const std::vector<std::string>& cells);  // "a, b, c\n"
// "20 kB", "2.1 GB": powers of 1000, one decimal below ten.
std::string HumanBytes(uint64_t bytes);
std::string Hex(uint64_t id);
std::string Hex16(int64_t id);  // 16 digits, as leases are shown
// With `hex`, every byte as \x..; otherwise as it is.
std::string Text(const std::string& bytes, bool hex);
// `"Name" : value` and a line's end.
std::string FieldLine(std::string_view name, std::string_view value);
std::string FieldsHeader(const etcdserverpb::ResponseHeader& h, bool hex = false);
std::string FieldsKv(const mvccpb::KeyValue& kv, std::string_view prefix = "", bool hex = false);

// Words of a line, in the quotes a shell knows.
base::Result<std::vector<std::string>> SplitWords(std::string_view line);
// Reads a Go string literal at the beginning of `text` and moves behind it.
base::Result<std::string> Unquote(std::string_view& text);
// strconv's error texts.
base::Result<int64_t> ParseInt(const std::string& text, int radix = 10);
base::Result<uint64_t> ParseUint(const std::string& text, int radix = 10);

}  // namespace kvstore::ctl
