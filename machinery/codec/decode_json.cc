// JSON text -> tree, driven by a Type. What is accepted, what is dropped and what an error says follows
// sigs.k8s.io/json (Go's encoding/json, case-sensitive, with strict reports): wrong types are collected and the first
// is reported, an error of a type with a text form ends decoding, malformed text outranks both.
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <set>
#include <utility>

#include "base/go_duration.h"
#include "machinery/codec/codec.h"
#include "machinery/codec/text_value.h"
#include "machinery/object/quantity.h"
#include "machinery/object/time.h"
#include "machinery/value/json_reader.h"
#include "machinery/value/text.h"

namespace machinery::codec {

namespace {

using schema::Field;
using schema::FieldIndex;
using schema::FlatField;
using schema::Shape;
using schema::Type;
using value::JsonReader;
using value::Value;

// "k8s.io.api.core.v1.PodSpec" -> "v1.PodSpec", as Go names the type.
std::string GoName(const Type& type) {
  switch (type.shape) {
    case Shape::kString:
      return "string";
    case Shape::kBool:
      return "bool";
    case Shape::kInt32:
      return "int32";
    case Shape::kInt64:
      return "int64";
    case Shape::kDouble:
      return "float64";
    case Shape::kBytes:
      return "[]uint8";
    case Shape::kList:
      return "[]" + GoName(*type.element);
    case Shape::kMap:
      return "map[string]" + GoName(*type.element);
    default: {
      std::string_view name = type.name;
      size_t dot = name.rfind('.');
      size_t before = dot == name.npos || dot == 0 ? name.npos : name.rfind('.', dot - 1);
      return std::string(before == name.npos ? name : name.substr(before + 1));
    }
  }
}

// Where the decoder is, as a list on the stack; it becomes text only when something is wrong.
struct Frame {
  const Frame* up = nullptr;
  const Type* owner = nullptr;  // of a struct's field
  std::string_view name;        // field or map key
  int64_t index = -1;           // of a list
};

void AppendPath(std::string& out, const Frame* f) {
  if (!f || (f->name.data() == nullptr && f->index < 0)) return;
  AppendPath(out, f->up);
  if (f->index >= 0) {
    out += "[" + std::to_string(f->index) + "]";
  } else {
    if (!out.empty()) out += '.';
    out += f->name;
  }
}

class Decoder {
 public:
  Decoder(std::string_view text, const DecodeOptions& options)
      : text_(text), in_(text), report_(options.report), max_depth_(options.max_depth) {}

  base::Result<Value> Run(const Type& type) {
    Value out;
    Frame root;
    bool read = Decode(type, false, &out, root, max_depth_) && in_.AtEnd();
    if (!read) {
      std::string syntax = value::JsonSyntaxError(text_, max_depth_);
      if (syntax.empty()) syntax = stopped_.empty() ? "exceeded max depth" : stopped_;
      return base::Err(base::InvalidArgument(syntax));
    }
    if (!first_error_.empty()) return base::Err(base::InvalidArgument(first_error_));
    return out;
  }

 private:
  // --- errors -------------------------------------------------------------------------------------------------------

  std::string WrongType(std::string_view what, std::string_view go_type, const Frame& at) const {
    std::string fields;
    const Type* owner = nullptr;
    for (const Frame* f = &at; f; f = f->up) {
      if (!f->owner) continue;
      if (!owner) owner = f->owner;
      fields = fields.empty() ? std::string(f->name) : std::string(f->name) + "." + fields;
    }
    std::string out = "json: cannot unmarshal " + std::string(what) + " into Go ";
    if (!owner) return out + "value of type " + std::string(go_type);
    std::string_view name = owner->name;
    return out + "struct field " + std::string(name.substr(name.rfind('.') + 1)) + "." + fields + " of type " +
           std::string(go_type);
  }
  // Remembered; decoding goes on behind the value.
  void Mistake(std::string error) {
    if (first_error_.empty()) first_error_ = std::move(error);
  }
  // Decoding ends here.
  bool Stop(std::string error) {
    if (stopped_.empty()) stopped_ = std::move(error);
    return false;
  }
  // "string", "number", ... of the value at hand, which is skipped.
  bool SkipWrong(std::string_view go_type, const Frame& at, int depth) {
    Mistake(WrongType(KindWord(in_.Peek()), go_type, at));
    return in_.SkipValue(depth);
  }
  static std::string_view KindWord(char c) {
    switch (c) {
      case '"':
        return "string";
      case '{':
        return "object";
      case '[':
        return "array";
      case 't':
      case 'f':
        return "bool";
      default:
        return "number";
    }
  }
  void Report(std::string_view what, const Frame& at, std::string_view name) {
    if (!report_ || report_->problems.size() >= 100) return;
    std::string path;
    AppendPath(path, &at);
    if (!path.empty()) path += '.';
    path += name;
    std::string problem = std::string(what) + " " + value::Quote(path);
    if (reported_.insert(problem).second) report_->problems.push_back(std::move(problem));
  }

  // --- values -------------------------------------------------------------------------------------------------------

  bool Decode(const Type& type, bool pointer, Value* out, const Frame& at, int depth) {
    char c = in_.Peek();
    if (c == 'n') return in_.ReadWord("null") && DecodeNull(type, pointer, out);
    switch (type.shape) {
      case Shape::kString:
        return DecodeString(type, out, at, depth);
      case Shape::kBool:
        if (c != 't' && c != 'f') return SkipWrong("bool", at, depth);
        *out = c == 't';
        return in_.ReadWord(c == 't' ? "true" : "false");
      case Shape::kInt32:
      case Shape::kInt64:
        return DecodeInt(type, out, at, depth);
      case Shape::kDouble:
        return DecodeDouble(out, at, depth);
      case Shape::kBytes:
        return DecodeBytes(out, at, depth);
      case Shape::kStruct:
        if (c != '{') return SkipWrong(GoName(type), at, depth);
        return depth > 0 && DecodeStruct(type, out, at, depth - 1);
      case Shape::kList:
      case Shape::kStringList:
        if (c != '[') return SkipWrong(GoName(type), at, depth);
        return depth > 0 && DecodeList(*type.element, out, at, depth - 1);
      case Shape::kMap:
        if (c != '{') return SkipWrong(GoName(type), at, depth);
        return depth > 0 && DecodeMap(*type.element, out, at, depth - 1);
      case Shape::kRawExtension:
      case Shape::kFieldsV1:
      case Shape::kAnyJson:
        return in_.ReadValue(out, depth, value::ParseOptions{.max_depth = max_depth_});
      case Shape::kSchemaOrArray:
      case Shape::kSchemaOrBool:
      case Shape::kSchemaOrStringArray:
        return DecodeUnion(type, out, at, depth);
      default:
        return DecodeText(type, out, at, depth);
    }
  }

  bool DecodeNull(const Type& type, bool pointer, Value* out) {
    if (pointer) {
      *out = Value();
    } else if (type.shape == Shape::kDuration) {
      return Stop("time: invalid duration \"\"");
    } else {
      *out = type.index->zero;
    }
    return true;
  }

  bool DecodeString(const Type& type, Value* out, const Frame& at, int depth) {
    if (in_.Peek() != '"') return SkipWrong("string", at, depth);
    std::string_view text;
    if (!in_.ReadString(&text, &scratch_)) return false;
    *out = Value(text);
    return true;
  }

  bool DecodeInt(const Type& type, Value* out, const Frame& at, int depth) {
    char c = in_.Peek();
    if (c != '-' && (c < '0' || c > '9')) return SkipWrong(GoName(type), at, depth);
    std::string_view text;
    if (!in_.ReadNumber(&text)) return false;
    int64_t v = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
    bool fits = error == std::errc() && end == text.data() + text.size() &&
                (type.shape == Shape::kInt64 || v == static_cast<int32_t>(v));
    if (fits) {
      *out = v;
    } else {
      Mistake(WrongType("number " + std::string(text), GoName(type), at));
    }
    return true;
  }

  bool DecodeDouble(Value* out, const Frame& at, int depth) {
    char c = in_.Peek();
    if (c != '-' && (c < '0' || c > '9')) return SkipWrong("float64", at, depth);
    std::string_view text;
    if (!in_.ReadNumber(&text)) return false;
    double v = std::strtod(std::string(text).c_str(), nullptr);
    if (std::isfinite(v)) {
      *out = Value::Double(v);
    } else {
      Mistake(WrongType("number " + std::string(text), "float64", at));
    }
    return true;
  }

  bool DecodeBytes(Value* out, const Frame& at, int depth) {
    if (in_.Peek() != '"') return SkipWrong("[]uint8", at, depth);
    std::string_view text;
    if (!in_.ReadString(&text, &scratch_)) return false;
    auto bytes = DecodeBase64(text);
    if (!bytes) {
      Mistake(std::string(bytes.error().message()));
      return true;
    }
    std::string canonical;
    AppendBase64(canonical, *bytes);
    *out = Value(std::move(canonical));
    return true;
  }

  // Times, durations, quantities and int-or-string read their own text in the original: it is their error that counts.
  bool DecodeText(const Type& type, Value* out, const Frame& at, int depth) {
    if (type.shape == Shape::kQuantity) return DecodeQuantity(out, depth);
    const bool int_or_string = type.shape == Shape::kIntOrString;
    char c = in_.Peek();
    if (c != '"') {
      if (int_or_string && (c == '-' || (c >= '0' && c <= '9'))) return DecodeInt32(out, at);
      return Stop(WrongType(KindWord(c), int_or_string ? "int32" : "string", at));
    }
    std::string_view text;
    if (!in_.ReadString(&text, &scratch_)) return false;
    if (int_or_string) {
      *out = Value(text);
      return true;
    }
    auto canonical = CanonicalText(type.shape, text);
    if (!canonical) return Stop(std::string(canonical.error().message()));
    *out = std::move(*canonical);
    return true;
  }

  static base::Result<Value> CanonicalText(Shape shape, std::string_view text) {
    if (shape == Shape::kDuration) {
      TRY_ASSIGN(base::Duration d, base::ParseGoDuration(text));
      return Value(base::FormatGoDuration(d));
    }
    if (shape == Shape::kMicroTime) {
      TRY_ASSIGN(object::Time t, object::ParseMicroTime(text));
      return t.IsZero() ? Value() : Value(object::FormatMicroTime(t.seconds, t.nanos));
    }
    TRY_ASSIGN(object::Time t, object::ParseTime(text));
    return t.IsZero() ? Value() : Value(object::FormatTime(t.seconds));
  }

  bool DecodeInt32(Value* out, const Frame& at) {
    std::string_view text;
    if (!in_.ReadNumber(&text)) return false;
    int32_t v = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (error != std::errc() || end != text.data() + text.size()) {
      return Stop(WrongType("number " + std::string(text), "int32", at));
    }
    *out = v;
    return true;
  }

  bool DecodeQuantity(Value* out, int depth) {
    char c = in_.Peek();
    const char* start = in_.position();
    if (!in_.SkipValue(depth)) return false;
    // The original looks at the raw text, without undoing escapes.
    std::string_view raw(start, static_cast<size_t>(in_.position() - start));
    if (c == '"') raw = raw.substr(1, raw.size() - 2);
    while (!raw.empty() && std::isspace(static_cast<unsigned char>(raw.front()))) raw.remove_prefix(1);
    while (!raw.empty() && std::isspace(static_cast<unsigned char>(raw.back()))) raw.remove_suffix(1);
    auto text = object::Quantity::Normalize(raw);
    if (!text) return Stop(std::string(text.error().message()));
    *out = Value(std::move(*text));
    return true;
  }

  // A schema, or a boolean, a list of schemas, a list of strings instead. Inside, the original decodes afresh and
  // reports no unknown fields.
  bool DecodeUnion(const Type& type, Value* out, const Frame& at, int depth) {
    DecodeReport* report = std::exchange(report_, nullptr);
    bool read = DecodeUnionBody(type, out, at, depth);
    report_ = report;
    return read;
  }
  bool DecodeUnionBody(const Type& type, Value* out, const Frame& at, int depth) {
    char c = in_.Peek();
    if (c == '{') return depth > 0 && DecodeStruct(*type.element, out, at, depth - 1);
    if (c == '[' && type.shape != Shape::kSchemaOrBool) {
      if (depth <= 0) return false;
      return type.shape == Shape::kSchemaOrArray ? DecodeList(*type.element, out, at, depth - 1)
                                                 : DecodeStrings(out, at, depth - 1);
    }
    if (type.shape == Shape::kSchemaOrBool) {
      if (c != 't' && c != 'f') return Stop("boolean or JSON schema expected");
      *out = c == 't';
      return in_.ReadWord(c == 't' ? "true" : "false");
    }
    *out = Value();
    return in_.SkipValue(depth);
  }
  bool DecodeStrings(Value* out, const Frame& at, int depth) {
    static const Type text = [] {
      Type t;
      t.shape = Shape::kString;
      t.index = schema::MakeFieldIndex(t);
      return t;
    }();
    return DecodeList(text, out, at, depth);
  }

  // --- containers
  // -----------------------------------------------------------------------------------------------------

  bool DecodeStruct(const Type& type, Value* out, const Frame& at, int depth) {
    const FieldIndex& index = *type.index;
    Row row(index);
    schema::FieldSet given;
    in_.Consume('{');
    if (!in_.Consume('}')) {
      size_t guess = 0;
      do {
        std::string_view key;
        if (in_.Peek() != '"' || !in_.ReadString(&key, &scratch_)) return false;
        int found = index.Find(key, guess);
        if (found < 0) {
          if (report_) Report("unknown field", at, key);
          if (!in_.Consume(':') || !in_.SkipValue(depth)) return false;
          continue;
        }
        auto flat = static_cast<size_t>(found);
        guess = flat + 1;
        if (given[flat] && report_) Report("duplicate field", at, key);
        given.set(flat);
        if (!in_.Consume(':') || !DecodeField(index.flat[flat], flat, row, type, at, depth)) return false;
      } while (in_.Consume(','));
      if (!in_.Consume('}')) return false;
    }
    *out = row.Finish();
    return true;
  }

  // tidy: parameters: once per field of every object; nothing is packed up to be taken apart at once
  bool DecodeField(const FlatField& f, size_t flat, Row& row, const Type& owner, const Frame& at, int depth) {
    if (f.type->shape == Shape::kString && in_.Peek() == '"') {
      std::string_view text;
      if (!in_.ReadString(&text, &scratch_)) return false;
      row.Put(flat, Value(text));
      return true;
    }
    Frame here{&at, &owner, f.field->name};
    Value v = f.pointer ? Value() : NullOf(*f.type);
    if (!Decode(*f.type, f.pointer, &v, here, depth)) return false;
    row.Put(flat, std::move(v));
    return true;
  }
  // What stands where decoding met a wrong type; the tree is thrown away then, so it only has to be cheap.
  static Value NullOf(const Type& type) { return type.shape == Shape::kString ? Value("") : Value(); }

  bool DecodeList(const Type& element, Value* out, const Frame& at, int depth) {
    *out = Value(value::List());
    value::List& list = out->list();
    in_.Consume('[');
    if (in_.Consume(']')) return true;
    Frame here{&at, nullptr, {}, 0};
    do {
      if (!Decode(element, false, &list.emplace_back(), here, depth)) return false;
      ++here.index;
    } while (in_.Consume(','));
    return in_.Consume(']');
  }

  bool DecodeMap(const Type& element, Value* out, const Frame& at, int depth) {
    *out = Value(value::Map());
    value::Map& map = out->map();
    in_.Consume('{');
    if (in_.Consume('}')) return true;
    do {
      std::string_view key;
      if (in_.Peek() != '"' || !in_.ReadString(&key, &scratch_)) return false;
      std::string own;
      if (key.data() == scratch_.data()) key = own = key;  // the reader's buffer changes below
      Value* place = map.Find(key);
      if (place && report_) Report("duplicate field", at, key);
      if (!place) place = &map.Append(std::string(key), Value());
      Frame here{&at, nullptr, key};
      if (!in_.Consume(':') || !Decode(element, false, place, here, depth)) return false;
    } while (in_.Consume(','));
    map.SortByKey();
    return in_.Consume('}');
  }

  std::string_view text_;
  JsonReader in_;
  DecodeReport* report_;
  int max_depth_;
  std::string first_error_, stopped_;
  std::set<std::string> reported_;
  std::string scratch_;
};

}  // namespace

base::Result<Value> DecodeJson(const Type& type, std::string_view text, const DecodeOptions& o) {
  return Decoder(text, o).Run(type);
}

// By way of text: patches and YAML are rare and small beside what arrives as JSON, and one decoder is one truth.
base::Result<Value> Normalize(const Type& type, const Value& raw, const DecodeOptions& o) {
  return DecodeJson(type, value::ToJson(raw), o);
}

base::Result<Value> DecodeYaml(const Type& type, std::string_view text, const DecodeOptions& o) {
  std::vector<std::string> duplicates;
  TRY_ASSIGN(Value raw, value::FromYaml(text, {.max_depth = o.max_depth}, o.report ? &duplicates : nullptr));
  if (!duplicates.empty()) {
    std::string problem = "yaml: unmarshal errors:";
    for (const std::string& d : duplicates) problem += "\n  " + d;
    o.report->problems.push_back(std::move(problem));
  }
  return Normalize(type, raw, o);
}

}  // namespace machinery::codec
