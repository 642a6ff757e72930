// JSON text <-> Protobuf messages by their descriptors. Errors of reading are worded as Go's protojson words them, with
// the place. Unknown names are skipped. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace google::protobuf {
class Message;
}

namespace kvstore::transcode {

struct JsonValue {
  enum class Kind { kNull, kBool, kNumber, kString, kObject, kArray } kind = Kind::kNull;
  std::string text;                // a string's content, a number's text, "true"
  std::string raw;                 // of scalars: as it stood there
  std::vector<std::string> names;  // of an object's items
  std::vector<JsonValue> items;
  int line = 1, column = 1;
  // The item of that name, or null.
  const JsonValue* Find(std::string_view name) const;
};

// Reads one value; what follows it is left in `rest` when given and an error otherwise. Nests 100 deep at most.
base::Result<JsonValue> ParseJson(std::string_view text, std::string_view* rest = nullptr);

// Merges an object into `message`. kInvalidArgument.
base::Status FromJson(const JsonValue& value, google::protobuf::Message& message);

enum class JsonStyle {
  kGateway,   // {"count":"1","permType":"READWRITE"}
  kGo,        // {"count":1,"permType":2}
  kGoHexIds,  // as kGo, the IDs of the cluster and its members as "8e9e05c52164694d"
};
std::string ToJson(const google::protobuf::Message& message, JsonStyle style);
void AppendJson(std::string& out, const google::protobuf::Message& message, JsonStyle style);

}  // namespace kvstore::transcode
