// Message bytes -> JSON text without a tree between: what lists and watches cost. One pass over a message notes where
// its fields lie, then they are printed in JSON's order.
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "machinery/codec/codec.h"
#include "machinery/codec/text_value.h"
#include "machinery/codec/wire_scalars.h"
#include "machinery/object/quantity.h"
#include "machinery/object/time.h"
#include "machinery/value/text.h"

namespace machinery::codec {

namespace {

using schema::Field;
using schema::FieldIndex;
using schema::FlatField;
using schema::Shape;
using schema::Type;

// Where a field's values lie in the message. Of a single field the last one counts; of a repeated one the stretch from
// the first tag to behind the last value, in which other fields may stand.
struct Span {
  const char* begin;
  const char* end;
  uint64_t number;  // varint or fixed value of a single scalar
};
// One span for each flat field. Only those in `present` are set: clearing them all would cost more than the rest.
struct Spans {
  uint64_t present[2] = {0, 0};
  std::array<Span, schema::kMaxFlatFields> at;

  bool Has(size_t i) const { return present[i / 64] >> (i % 64) & 1; }
  Span& Mark(size_t i) {
    present[i / 64] |= uint64_t{1} << (i % 64);
    return at[i];
  }
};

class Transcoder {
 public:
  Transcoder(const TranscodeOptions& options, std::string& out) : options_(options), out_(out) {}

  base::Status Run(const Type& type, std::string_view message) {
    const size_t before = out_.size();
    if (Struct(type, message, kMaxMessageDepth, true, false)) return base::Ok();
    if (!scattered_) return base::InvalidArgument(error_);
    out_.resize(before);
    TRY_ASSIGN(value::Value v, DecodeProtobuf(type, message));
    auto put = [&](const char* name, std::string_view text) {
      auto& entries = v.map().entries();
      if (!text.empty()) entries.insert(entries.begin(), {name, value::Value(text)});
    };
    put("apiVersion", options_.api_version);
    put("kind", options_.kind);
    if (!options_.resource_version.empty()) v.Ensure("metadata").Set("resourceVersion", options_.resource_version);
    AppendJson(out_, type, v);
    return base::Ok();
  }

 private:
  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }
  bool Fail(const Cursor& in) { return Fail(std::string(in.error())); }

  // Notes every field of `message` in `spans`, inlined ones where they stand in their owner's row.
  bool Scan(const Type& type, std::string_view message, Spans& spans, size_t base, int depth) {
    if (depth <= 0) return Fail("proto: exceeded max depth");
    Cursor in(message);
    const FieldIndex& index = *type.index;
    schema::FieldSet inlined;
    while (!in.AtEnd()) {
      const char* start = in.position();
      uint32_t number;
      WireType wire;
      if (!in.Tag(&number, &wire)) return Fail(in);
      int i = number < index.by_number.size() ? index.by_number[number] : -1;
      if (i < 0) {
        if (!in.Skip(wire)) return Fail(in);
        continue;
      }
      const Field& field = type.fields[static_cast<size_t>(i)];
      const size_t flat = base + index.first[static_cast<size_t>(i)];
      const Shape shape = field.type->shape;
      std::string_view bytes;
      if (shape == Shape::kList || shape == Shape::kMap) {
        if (!in.Skip(wire)) return Fail(in);
        if (!spans.Has(flat)) spans.Mark(flat).begin = start;
        spans.at[flat].end = in.position();
      } else if (wire != WireOf(shape)) {
        return Fail("proto: wrong wireType = " + std::to_string(static_cast<int>(wire)) + " for field " + field.name);
      } else if (wire == WireType::kBytes) {
        if (!in.Bytes(&bytes)) return Fail(in);
        if (field.inlined) {
          // No writer splits an inlined struct in two, but one may; spans could not hold its lists then.
          if (inlined[static_cast<size_t>(i)]) {
            scattered_ = true;
            return false;
          }
          inlined.set(static_cast<size_t>(i));
          if (!Scan(*field.type, bytes, spans, flat, depth - 1)) return false;
        } else {
          spans.Mark(flat) = {bytes.data(), bytes.data() + bytes.size(), 0};
        }
      } else {
        Span& span = spans.Mark(flat);
        if (wire == WireType::kVarint ? !in.Varint(&span.number) : !in.Fixed64(&span.number)) return Fail(in);
        span.begin = span.end = start;
      }
    }
    return true;
  }

  bool Struct(const Type& type, std::string_view message, int depth, bool root, bool metadata) {
    const FieldIndex& index = *type.index;
    Spans spans;
    if (!Scan(type, message, spans, 0, depth)) return false;
    out_.push_back('{');
    const size_t opened = out_.size();
    if (type.type_meta && root) Head();
    const bool splice_here = metadata && !options_.resource_version.empty();
    const bool splice_below = root && !options_.resource_version.empty();
    for (size_t word = 0; word * 64 < index.flat.size(); ++word) {
      // Fields that are there and fields that are always printed; the others cost nothing.
      uint64_t todo = spans.present[word] | index.always_words[word];
      if (splice_here || splice_below) todo |= index.metadata_words[word];
      for (; todo != 0; todo &= todo - 1) {
        size_t i = word * 64 + static_cast<size_t>(__builtin_ctzll(todo));
        const FlatField& f = index.flat[i];
        if (splice_here && f.field->number == 6) {
          out_ += f.key;
          value::AppendJsonString(out_, options_.resource_version);
          out_.push_back(',');
        } else if (spans.Has(i)) {
          if (!PrintField(f, spans.at[i], depth, root)) return false;
        } else if (splice_below && f.field->number == 1 && f.type->shape == Shape::kStruct) {
          out_ += f.key;
          if (!Struct(*f.type, {}, depth - 1, false, true)) return false;
          out_.push_back(',');
        } else if (f.always) {
          out_ += f.key;
          out_ += f.pointer ? std::string_view("null") : std::string_view(f.type->index->zero_json);
          out_.push_back(',');
        }
      }
    }
    // Every field ends in a comma; the last one's becomes the bracket.
    if (out_.size() == opened) {
      out_.push_back('}');
    } else {
      out_.back() = '}';
    }
    return true;
  }

  void Head() {
    auto put = [&](const char* key, std::string_view text) {
      if (text.empty()) return;
      out_ += key;
      value::AppendJsonString(out_, text);
      out_.push_back(',');
    };
    put("\"kind\":", options_.kind);
    put("\"apiVersion\":", options_.api_version);
  }

  // `"name":value,` or nothing where JSON leaves it out.
  bool PrintField(const FlatField& f, const Span& span, int depth, bool root) {
    const Type& type = *f.type;
    std::string_view bytes(span.begin, static_cast<size_t>(span.end - span.begin));
    const bool keep_zero = f.always || f.pointer;
    switch (type.shape) {
      case Shape::kString:
        if (bytes.empty() && !keep_zero) return true;
        out_ += f.key;
        if (!Text(bytes)) return false;
        break;
      case Shape::kBool:
      case Shape::kInt32:
      case Shape::kInt64:
        if (span.number == 0 && !keep_zero) return true;
        out_ += f.key;
        Number(type.shape, span.number);
        break;
      case Shape::kDouble:
        if (span.number << 1 == 0 && !keep_zero) return true;
        out_ += f.key;
        if (!Scalar(type.shape, span.number)) return false;
        break;
      case Shape::kBytes:
        if (bytes.empty() && !keep_zero) return true;
        out_ += f.key;
        Base64(bytes);
        break;
      case Shape::kList:
        out_ += f.key;
        if (!List(f.field->number, *type.element, bytes, depth)) return false;
        break;
      case Shape::kMap:
        out_ += f.key;
        if (!Map(f.field->number, *type.element, bytes, depth)) return false;
        break;
      case Shape::kStruct:
        out_ += f.key;
        if (!Struct(type, bytes, depth - 1, false, root && f.field->number == 1)) return false;
        break;
      default: {
        size_t before = out_.size();
        out_ += f.key;
        size_t at = out_.size();
        if (!Value(type, bytes, depth)) return false;
        // Null and [] are what an absent one looks like: printed only where JSON always prints the field.
        std::string_view printed = std::string_view(out_).substr(at);
        if (!f.always && (printed == "null" || (printed == "[]" && type.shape == Shape::kStringList && !f.pointer))) {
          out_.resize(before);
          return true;
        }
      }
    }
    out_.push_back(',');
    return true;
  }

  // A length-delimited value: list element, map value, or a field with a form of its own.
  bool Value(const Type& type, std::string_view bytes, int depth) {
    switch (type.shape) {
      case Shape::kString:
        return Text(bytes);
      case Shape::kBytes:
        Base64(bytes);
        return true;
      case Shape::kStruct:
        return Struct(type, bytes, depth - 1, false, false);
      case Shape::kRawExtension:
      case Shape::kFieldsV1:
      case Shape::kAnyJson:
        return Raw(bytes, depth);
      case Shape::kStringList:
      case Shape::kSchemaOrArray:
      case Shape::kSchemaOrBool:
      case Shape::kSchemaOrStringArray:
        return ByTree(type, bytes);
      case Shape::kTime: {
        WireTime t;
        if (!ReadTime(bytes, &t)) return Fail("unexpected EOF");
        if (t.seconds == 0 && t.nanos == 0) {
          out_ += "null";
          return true;
        }
        out_.push_back('"');
        object::AppendTime(out_, t.seconds);
        out_.push_back('"');
        return true;
      }
      case Shape::kQuantity: {
        auto text = ReadRaw(bytes);  // field 1, too
        if (!text || !object::Quantity::IsPlain(*text)) return TextForm(type, bytes);
        out_.push_back('"');
        out_ += *text;
        out_.push_back('"');
        return true;
      }
      default:
        return TextForm(type, bytes);
    }
  }

  bool TextForm(const Type& type, std::string_view bytes) {
    auto v = ReadTextMessage(type.shape, bytes);
    if (!v) return Fail(std::string(v.error().message()));
    value::AppendJson(out_, *v);
    return true;
  }

  bool ByTree(const Type& type, std::string_view bytes) {
    auto v = DecodeProtobuf(type, bytes);
    if (!v) return Fail(std::string(v.error().message()));
    AppendJson(out_, type, *v);
    return true;
  }

  bool Text(std::string_view text) {
    if (value::SkipAscii(text.data(), text.data() + text.size()) != text.data() + text.size() &&
        !value::IsValidUtf8(text)) {
      return Fail("proto: string field contains invalid UTF-8");
    }
    value::AppendJsonString(out_, text);
    return true;
  }
  void Base64(std::string_view bytes) {
    out_.push_back('"');
    AppendBase64(out_, bytes);
    out_.push_back('"');
  }
  void Number(Shape shape, uint64_t v) {
    if (shape == Shape::kBool) {
      out_ += v ? "true" : "false";
      return;
    }
    int64_t number = shape == Shape::kInt32 ? static_cast<int32_t>(v) : static_cast<int64_t>(v);
    char text[24];
    out_.append(text, std::to_chars(text, text + sizeof text, number).ptr);
  }
  bool Scalar(Shape shape, uint64_t v) {
    if (shape != Shape::kDouble) {
      Number(shape, v);
      return true;
    }
    auto d = ScalarOf(shape, v);
    if (!d) return Fail(std::string(d.error().message()));
    value::AppendJson(out_, *d);
    return true;
  }

  // JSON inside a message is printed compact, with Go's escapes.
  bool Raw(std::string_view bytes, int depth) {
    auto raw = ReadRaw(bytes);
    if (!raw) return Fail(std::string(raw.error().message()));
    if (raw->empty()) {
      out_ += "null";
      return true;
    }
    auto v = value::FromJson(*raw);
    if (!v) return Fail(std::string(v.error().message()));
    value::AppendJson(out_, *v);
    return true;
  }

  bool List(int32_t want, const Type& element, std::string_view stretch, int depth) {
    Cursor in(stretch);
    out_.push_back('[');
    while (!in.AtEnd()) {
      uint32_t number;
      WireType wire;
      if (!in.Tag(&number, &wire)) return Fail(in);
      if (number != static_cast<uint32_t>(want)) {
        if (!in.Skip(wire)) return Fail(in);
        continue;
      }
      if (!Elements(element, wire, in, depth)) return false;
    }
    if (out_.back() == ',') {
      out_.back() = ']';
    } else {
      out_.push_back(']');
    }
    return true;
  }
  bool Elements(const Type& element, WireType wire, Cursor& in, int depth) {
    const WireType own = WireOf(element.shape);
    if (wire != own && wire != WireType::kBytes)
      return Fail("proto: wrong wireType = " + std::to_string(static_cast<int>(wire)));
    std::string_view bytes;
    if (wire == WireType::kBytes && !in.Bytes(&bytes)) return Fail(in);
    if (own == WireType::kBytes) {
      if (!Value(element, bytes, depth)) return false;
      out_.push_back(',');
      return true;
    }
    // One number, or many packed ones.
    Cursor packed(bytes);
    Cursor& numbers = wire == WireType::kBytes ? packed : in;
    bool many = wire == WireType::kBytes;
    while (!many || !numbers.AtEnd()) {
      uint64_t v;
      if (own == WireType::kVarint ? !numbers.Varint(&v) : !numbers.Fixed64(&v)) return Fail(numbers);
      if (!Scalar(element.shape, v)) return false;
      out_.push_back(',');
      if (!many) break;
    }
    return true;
  }

  struct Entry {
    std::string_view key, bytes;
    uint64_t number = 0;
    bool has_value = false;
  };
  bool ReadEntry(const Type& element, std::string_view bytes, Entry* out) {
    Cursor in(bytes);
    while (!in.AtEnd()) {
      uint32_t number;
      WireType wire;
      if (!in.Tag(&number, &wire)) return Fail(in);
      bool read;
      if (number == 1 && wire == WireType::kBytes) {
        read = in.Bytes(&out->key);
      } else if (number == 2 && wire == WireOf(element.shape)) {
        out->has_value = true;
        read = wire == WireType::kBytes    ? in.Bytes(&out->bytes)
               : wire == WireType::kVarint ? in.Varint(&out->number)
                                           : in.Fixed64(&out->number);
      } else {
        if (number == 2)
          return Fail("proto: wrong wireType = " + std::to_string(static_cast<int>(wire)) + " for field value");
        read = in.Skip(wire);
      }
      if (!read) return Fail(in);
    }
    return true;
  }
  bool PrintEntry(const Type& element, const Entry& entry, int depth) {
    if (!Text(entry.key)) return false;
    out_.push_back(':');
    if (!entry.has_value) {
      out_ += element.index->zero_json;
    } else if (WireOf(element.shape) != WireType::kBytes) {
      if (!Scalar(element.shape, entry.number)) return false;
    } else if (!Value(element, entry.bytes, depth)) {
      return false;
    }
    out_.push_back(',');
    return true;
  }

  bool Map(int32_t want, const Type& element, std::string_view stretch, int depth) {
    Cursor in(stretch);
    out_.push_back('{');
    const size_t opened = out_.size();
    std::string_view last;
    bool first = true;
    while (!in.AtEnd()) {
      uint32_t number;
      WireType wire;
      if (!in.Tag(&number, &wire)) return Fail(in);
      if (number != static_cast<uint32_t>(want)) {
        if (!in.Skip(wire)) return Fail(in);
        continue;
      }
      std::string_view bytes;
      if (wire != WireType::kBytes) return Fail("proto: wrong wireType = " + std::to_string(static_cast<int>(wire)));
      if (!in.Bytes(&bytes)) return Fail(in);
      Entry entry;
      if (!ReadEntry(element, bytes, &entry)) return false;
      if (!first && entry.key <= last) {
        // Written by somebody who does not sort, or twice: start over in order.
        out_.resize(opened);
        return SortedMap(want, element, stretch, depth);
      }
      first = false;
      last = entry.key;
      if (!PrintEntry(element, entry, depth)) return false;
    }
    CloseMap(opened);
    return true;
  }
  void CloseMap(size_t opened) {
    if (out_.size() == opened) {
      out_.push_back('}');
    } else {
      out_.back() = '}';
    }
  }
  bool SortedMap(int32_t want, const Type& element, std::string_view stretch, int depth) {
    const size_t opened = out_.size();
    std::vector<Entry> entries;
    Cursor in(stretch);
    while (!in.AtEnd()) {
      uint32_t number;
      WireType wire;
      std::string_view bytes;
      if (!in.Tag(&number, &wire)) return Fail(in);
      if (number != static_cast<uint32_t>(want)) {
        if (!in.Skip(wire)) return Fail(in);
        continue;
      }
      if (wire != WireType::kBytes || !in.Bytes(&bytes)) return Fail(in);
      if (!ReadEntry(element, bytes, &entries.emplace_back())) return false;
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      int order = a.key.compare(b.key);
      return order != 0 ? order < 0 : a.key.data() < b.key.data();  // as they came
    });
    for (size_t i = 0; i < entries.size(); ++i) {
      bool again = i + 1 < entries.size() && entries[i + 1].key == entries[i].key;  // the last one counts
      if (!again && !PrintEntry(element, entries[i], depth)) return false;
    }
    CloseMap(opened);
    return true;
  }

  const TranscodeOptions& options_;
  std::string& out_;
  std::string error_;
  bool scattered_ = false;
};

}  // namespace

base::Status TranscodeToJson(const Type& type, std::string_view message, const TranscodeOptions& o, std::string& out) {
  size_t before = out.size();
  base::Status s = Transcoder(o, out).Run(type, message);
  if (!s.ok()) out.resize(before);
  return s;
}

}  // namespace machinery::codec
