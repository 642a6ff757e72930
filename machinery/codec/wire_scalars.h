// The scalars of the Type language on the wire, both ways. For machinery/codec.
#pragma once

#include <string>
#include <string_view>

#include "base/protobuf_wire.h"
#include "machinery/schema/type.h"

namespace machinery::codec {

using base::wire::BackWriter;
using base::wire::Cursor;
using base::wire::WireType;

// Messages within messages. Any tree of value::kMaxDepth fits: a level of a tree is two messages at most (a schema in
// its union), so that what was decoded from JSON and stored can always be read again.
constexpr int kMaxMessageDepth = 2 * value::kMaxDepth + 8;

inline WireType WireOf(schema::Shape shape) {
  switch (shape) {
    case schema::Shape::kBool:
    case schema::Shape::kInt32:
    case schema::Shape::kInt64:
      return WireType::kVarint;
    case schema::Shape::kDouble:
      return WireType::kFixed64;
    default:
      return WireType::kBytes;
  }
}

// kBool, kInt32, kInt64, kDouble.
base::Result<value::Value> ScalarOf(schema::Shape shape, uint64_t wire_value);
// Quantity, IntOrString, Time, MicroTime, Duration, Timestamp: messages that are one scalar in the tree.
base::Result<value::Value> ReadTextMessage(schema::Shape shape, std::string_view message);
// Their fields backwards into `out`; the error is that of the text.
base::Status WriteTextMessage(schema::Shape shape, const value::Value& v, BackWriter& out);
// The bytes of field 1: the JSON text inside RawExtension, FieldsV1 and JSON.
base::Result<std::string_view> ReadRaw(std::string_view message);

// seconds and nanos of a time's message.
struct WireTime {
  int64_t seconds = 0;
  int32_t nanos = 0;
};
bool ReadTime(std::string_view message, WireTime* out);

}  // namespace machinery::codec
