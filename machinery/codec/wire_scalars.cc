#include "machinery/codec/wire_scalars.h"

#include <bit>

#include "base/go_duration.h"
#include "machinery/object/quantity.h"
#include "machinery/object/time.h"

namespace machinery::codec {

using base::Err;
using base::InvalidArgument;
using base::Result;
using schema::Shape;
using value::Value;

namespace {

// All numbers (by field number below 4) and the text field of a small message.
struct Small {
  uint64_t numbers[4] = {};
  std::string_view texts[4];
  const char* error = nullptr;
};
Small ReadSmall(std::string_view message) {
  Small out;
  Cursor in(message);
  while (!in.AtEnd()) {
    uint32_t number;
    WireType wire;
    bool read = in.Tag(&number, &wire);
    if (read && number < 4 && wire == WireType::kVarint) {
      read = in.Varint(&out.numbers[number]);
    } else if (read && number < 4 && wire == WireType::kBytes) {
      read = in.Bytes(&out.texts[number]);
    } else if (read) {
      read = in.Skip(wire);
    }
    if (!read) {
      out.error = in.error();
      return out;
    }
  }
  return out;
}

}  // namespace

bool ReadTime(std::string_view message, WireTime* out) {
  Small small = ReadSmall(message);
  out->seconds = static_cast<int64_t>(small.numbers[1]);
  out->nanos = static_cast<int32_t>(small.numbers[2]);
  return small.error == nullptr;
}

Result<Value> ScalarOf(Shape shape, uint64_t v) {
  switch (shape) {
    case Shape::kBool:
      return Value(v != 0);
    case Shape::kInt32:
      return Value(static_cast<int64_t>(static_cast<int32_t>(v)));
    case Shape::kDouble: {
      auto d = std::bit_cast<double>(v);
      if (d != d || d - d != 0) return Err(InvalidArgument("json: unsupported value: not a finite number"));
      return Value::Double(d);
    }
    default:
      return Value(static_cast<int64_t>(v));
  }
}

Result<Value> ReadTextMessage(Shape shape, std::string_view message) {
  Small small = ReadSmall(message);
  if (small.error) return Err(InvalidArgument(small.error));
  auto seconds = static_cast<int64_t>(small.numbers[1]);
  auto nanos = static_cast<int32_t>(small.numbers[2]);
  switch (shape) {
    case Shape::kQuantity: {
      if (small.texts[1].empty()) return Value("0");
      TRY_ASSIGN(std::string text, object::Quantity::Normalize(small.texts[1]));
      return Value(std::move(text));
    }
    case Shape::kIntOrString:
      if (small.numbers[1] == 1) {
        if (!value::IsValidUtf8(small.texts[3]))
          return Err(InvalidArgument("proto: string field contains invalid UTF-8"));
        return Value(small.texts[3]);
      }
      return Value(static_cast<int64_t>(static_cast<int32_t>(small.numbers[2])));
    case Shape::kDuration:
      return Value(base::FormatGoDuration(base::Duration(seconds)));
    case Shape::kMicroTime:
      // The original's zero time and 1970 are one on the wire.
      return seconds == 0 && nanos == 0 ? Value() : Value(object::FormatMicroTime(seconds, nanos));
    default:
      return seconds == 0 && nanos == 0 ? Value() : Value(object::FormatTime(seconds));
  }
}

base::Status WriteTextMessage(Shape shape, const Value& v, BackWriter& out) {
  switch (shape) {
    case Shape::kQuantity: {
      if (v.is_null()) {
        out.Field(1, "0");
        return base::Ok();
      }
      TRY_ASSIGN(std::string text, object::Quantity::Normalize(v.is_string() ? v.as_string() : value::ToJson(v)));
      out.Field(1, text);
      return base::Ok();
    }
    case Shape::kIntOrString:
      out.Field(3, v.string_or());
      out.IntField(2, static_cast<uint64_t>(v.int_or()));
      out.IntField(1, v.is_string() ? 1 : 0);
      return base::Ok();
    case Shape::kDuration: {
      TRY_ASSIGN(base::Duration d, base::ParseGoDuration(v.string_or("0s")));
      out.IntField(1, static_cast<uint64_t>(d.count()));
      return base::Ok();
    }
    default: {
      if (v.is_null()) return base::Ok();
      TRY_ASSIGN(object::Time t,
                 shape == Shape::kMicroTime ? object::ParseMicroTime(v.string_or()) : object::ParseTime(v.string_or()));
      if (t.IsZero()) return base::Ok();
      out.IntField(2, shape == Shape::kMicroTime ? static_cast<uint64_t>(t.nanos / 1000 * 1000) : 0);
      out.IntField(1, static_cast<uint64_t>(t.seconds));
      return base::Ok();
    }
  }
}

Result<std::string_view> ReadRaw(std::string_view message) {
  Small small = ReadSmall(message);
  if (small.error) return Err(InvalidArgument(small.error));
  return small.texts[1];
}

}  // namespace machinery::codec
