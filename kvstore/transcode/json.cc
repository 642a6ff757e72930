#include "kvstore/transcode/json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <charconv>
#include <cstdio>

#include "base/bytes.h"
#include "base/json_writer.h"

namespace kvstore::transcode {

using base::Err;
using base::InvalidArgument;
using base::Ok;
using base::Result;
using base::Status;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

const JsonValue* JsonValue::Find(std::string_view name) const {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return &items[i];
  }
  return nullptr;
}

// ---- text in

namespace {

constexpr int kMaxDepth = 100;

class Parser {
 public:
  explicit Parser(std::string_view text) : all_(text) {}

  Result<JsonValue> Value(int depth) {
    Space();
    JsonValue v;
    std::tie(v.line, v.column) = Place(at_);
    if (at_ == all_.size())
      return Err(InvalidArgument("proto: syntax error (line " + std::to_string(v.line) + ":" +
                                 std::to_string(v.column) + "): unexpected token "));
    if (depth > kMaxDepth) return Err(InvalidArgument("proto: exceeded maximum recursion depth"));
    size_t from = at_;
    Status s;
    switch (all_[at_]) {
      case '{':
        s = Object(v, depth);
        break;
      case '[':
        s = Array(v, depth);
        break;
      case '"':
        v.kind = JsonValue::Kind::kString;
        s = String(v.text);
        break;
      default:
        s = Scalar(v);
    }
    if (!s.ok()) return Err(s);
    if (v.kind != JsonValue::Kind::kObject && v.kind != JsonValue::Kind::kArray) v.raw = all_.substr(from, at_ - from);
    return v;
  }
  void Space() {
    while (at_ < all_.size() && (all_[at_] == ' ' || all_[at_] == '\n' || all_[at_] == '\t' || all_[at_] == '\r'))
      ++at_;
  }
  size_t at() const { return at_; }
  Status Unexpected() const {
    auto [line, column] = Place(at_);
    size_t end = at_ < all_.size() && (all_[at_] == '{' || all_[at_] == '}' || all_[at_] == '[' || all_[at_] == ']' ||
                                       all_[at_] == ',' || all_[at_] == ':')
                     ? at_ + 1
                     : all_.find_first_of(" \t\r\n,:{}[]", at_);
    return InvalidArgument("proto: syntax error (line " + std::to_string(line) + ":" + std::to_string(column) +
                           "): unexpected token " + std::string(all_.substr(at_, end - at_)));
  }

 private:
  std::pair<int, int> Place(size_t at) const {
    int line = 1, column = 1;
    for (char c : all_.substr(0, at)) {
      column = c == '\n' ? 1 : column + 1;
      line += c == '\n';
    }
    return {line, column};
  }
  bool Eat(char c) {
    Space();
    if (at_ == all_.size() || all_[at_] != c) return false;
    ++at_;
    return true;
  }
  Status Object(JsonValue& v, int depth) {
    v.kind = JsonValue::Kind::kObject;
    ++at_;
    if (Eat('}')) return Ok();
    do {
      Space();
      std::string name;
      if (at_ == all_.size() || all_[at_] != '"') return Unexpected();
      TRY(String(name));
      if (!Eat(':')) return Unexpected();
      TRY_ASSIGN(JsonValue member, Value(depth + 1));
      v.names.push_back(std::move(name));
      v.items.push_back(std::move(member));
    } while (Eat(','));
    return Eat('}') ? Ok() : Unexpected();
  }
  Status Array(JsonValue& v, int depth) {
    v.kind = JsonValue::Kind::kArray;
    ++at_;
    if (Eat(']')) return Ok();
    do {
      TRY_ASSIGN(JsonValue item, Value(depth + 1));
      v.items.push_back(std::move(item));
    } while (Eat(','));
    return Eat(']') ? Ok() : Unexpected();
  }
  Status Scalar(JsonValue& v) {
    auto word = [&](std::string_view w, JsonValue::Kind kind) {
      if (!all_.substr(at_).starts_with(w)) return false;
      v.kind = kind;
      v.text = w;
      at_ += w.size();
      return true;
    };
    if (word("null", JsonValue::Kind::kNull) || word("true", JsonValue::Kind::kBool) ||
        word("false", JsonValue::Kind::kBool)) {
      return Ok();
    }
    size_t end = std::min(all_.find_first_not_of("0123456789+-.eE", at_), all_.size());
    if (end == at_) return Unexpected();
    v.kind = JsonValue::Kind::kNumber;
    v.text = all_.substr(at_, end - at_);
    at_ = end;
    return Ok();
  }
  Status Escape(std::string& out) {
    char c = at_ < all_.size() ? all_[at_++] : '\0';
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (size_t i = kFrom.find(c); c != '\0' && i != std::string_view::npos) {
      out.push_back(kTo[i]);
      return Ok();
    }
    uint32_t code = 0;
    if (c != 'u' || !Hex4(code)) return Unexpected();
    if (code >= 0xd800 && code < 0xdc00 && all_.substr(at_).starts_with("\\u")) {
      uint32_t low = 0;
      at_ += 2;
      if (!Hex4(low) || low < 0xdc00 || low > 0xdfff) return Unexpected();
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    AppendUtf8(out, code);
    return Ok();
  }
  bool Hex4(uint32_t& code) {
    if (all_.size() - at_ < 4) return false;
    auto [end, error] = std::from_chars(all_.data() + at_, all_.data() + at_ + 4, code, 16);
    if (error != std::errc() || end != all_.data() + at_ + 4) return false;
    at_ += 4;
    return true;
  }
  static void AppendUtf8(std::string& out, uint32_t c) {
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
      out.push_back(static_cast<char>(0xc0 | (c >> 6)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
      out.push_back(static_cast<char>(0xe0 | (c >> 12)));
      out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    } else {
      out.push_back(static_cast<char>(0xf0 | (c >> 18)));
      out.push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3f)));
      out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3f)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
    }
  }
  Status String(std::string& out) {
    ++at_;
    while (at_ < all_.size() && all_[at_] != '"') {
      char c = all_[at_];
      if (static_cast<unsigned char>(c) < 0x20) return Unexpected();
      ++at_;
      if (c == '\\') {
        TRY(Escape(out));
      } else {
        out.push_back(c);
      }
    }
    if (at_ == all_.size()) return InvalidArgument("proto: unexpected EOF");
    ++at_;
    return Ok();
  }

  std::string_view all_;
  size_t at_ = 0;
};

}  // namespace

Result<JsonValue> ParseJson(std::string_view text, std::string_view* rest) {
  Parser p(text);
  TRY_ASSIGN(JsonValue v, p.Value(0));
  p.Space();
  if (rest != nullptr) {
    *rest = text.substr(p.at());
  } else if (p.at() != text.size()) {
    return Err(p.Unexpected());
  }
  return v;
}

// ---- JSON into messages

namespace {

Status BadValue(const JsonValue& v, const FieldDescriptor* f) {
  const char* kind = f->type() == FieldDescriptor::TYPE_ENUM    ? "enum"
                     : f->type() == FieldDescriptor::TYPE_BYTES ? "bytes"
                                                                : f->type_name();
  return InvalidArgument("proto: (line " + std::to_string(v.line) + ":" + std::to_string(v.column) +
                         "): invalid value for " + kind + " field " + std::string(f->json_name()) + ": " +
                         (v.raw.empty() ? v.kind == JsonValue::Kind::kArray ? "[" : "{" : v.raw));
}

template <class T>
bool Number(const JsonValue& v, T& out) {
  if (v.kind != JsonValue::Kind::kNumber && v.kind != JsonValue::Kind::kString) return false;
  const char* end = v.text.data() + v.text.size();
  auto [stop, error] = std::from_chars(v.text.data(), end, out);
  return error == std::errc() && stop == end && !v.text.empty();
}

// Standard or URL alphabet, padded or not.
std::optional<std::string> AnyBase64(std::string text) {
  for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  while (!text.empty() && text.back() == '=') text.pop_back();
  while (text.size() % 4 != 0) text.push_back('=');
  return base::Base64Decode(text);
}

Status SetScalar(const JsonValue& v, const FieldDescriptor* f, Message& m) {
  const auto* r = m.GetReflection();
  bool list = f->is_repeated();
  auto set = [&](auto value, auto one, auto add) { list ? (r->*add)(&m, f, value) : (r->*one)(&m, f, value); };
  using R = google::protobuf::Reflection;
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      if (int32_t n; Number(v, n)) return set(n, &R::SetInt32, &R::AddInt32), Ok();
      return BadValue(v, f);
    case FieldDescriptor::CPPTYPE_INT64:
      if (int64_t n; Number(v, n)) return set(n, &R::SetInt64, &R::AddInt64), Ok();
      return BadValue(v, f);
    case FieldDescriptor::CPPTYPE_UINT32:
      if (uint32_t n; Number(v, n)) return set(n, &R::SetUInt32, &R::AddUInt32), Ok();
      return BadValue(v, f);
    case FieldDescriptor::CPPTYPE_UINT64:
      if (uint64_t n; Number(v, n)) return set(n, &R::SetUInt64, &R::AddUInt64), Ok();
      return BadValue(v, f);
    case FieldDescriptor::CPPTYPE_BOOL:
      if (v.kind != JsonValue::Kind::kBool) return BadValue(v, f);
      return set(v.text == "true", &R::SetBool, &R::AddBool), Ok();
    case FieldDescriptor::CPPTYPE_ENUM: {
      int number = 0;
      const auto* named = v.kind == JsonValue::Kind::kString ? f->enum_type()->FindValueByName(v.text) : nullptr;
      if (named != nullptr) {
        number = named->number();
      } else if (v.kind != JsonValue::Kind::kNumber || !Number(v, number)) {
        return BadValue(v, f);
      }
      return set(number, &R::SetEnumValue, &R::AddEnumValue), Ok();
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      if (v.kind != JsonValue::Kind::kString) return BadValue(v, f);
      std::string text = v.text;
      if (f->type() == FieldDescriptor::TYPE_BYTES) {
        auto bytes = AnyBase64(text);
        if (!bytes) return BadValue(v, f);
        text = std::move(*bytes);
      }
      list ? r->AddString(&m, f, std::move(text)) : r->SetString(&m, f, std::move(text));
      return Ok();
    }
    default:
      return BadValue(v, f);
  }
}

Status SetField(const JsonValue& v, const FieldDescriptor* f, Message& m) {
  if (f->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return SetScalar(v, f, m);
  const auto* r = m.GetReflection();
  return FromJson(v, f->is_repeated() ? *r->AddMessage(&m, f) : *r->MutableMessage(&m, f));
}

}  // namespace

Status FromJson(const JsonValue& value, Message& message) {
  auto unexpected = [](const JsonValue& v) {
    return InvalidArgument("proto: syntax error (line " + std::to_string(v.line) + ":" + std::to_string(v.column) +
                           "): unexpected token " + (v.raw.empty() ? "[" : v.raw));
  };
  if (value.kind != JsonValue::Kind::kObject) return unexpected(value);
  const Descriptor* d = message.GetDescriptor();
  for (size_t at = 0; at < value.names.size(); ++at) {
    const std::string& name = value.names[at];
    const JsonValue& v = value.items[at];
    const FieldDescriptor* f = d->FindFieldByName(name);
    for (int i = 0; f == nullptr && i < d->field_count(); ++i) {
      if (d->field(i)->json_name() == name) f = d->field(i);
    }
    if (f == nullptr || v.kind == JsonValue::Kind::kNull) continue;
    if (!f->is_repeated()) {
      TRY(SetField(v, f, message));
      continue;
    }
    if (v.kind != JsonValue::Kind::kArray) return unexpected(v);
    for (const JsonValue& item : v.items) TRY(SetField(item, f, message));
  }
  return Ok();
}

// ---- messages out

namespace {

class Writer {
 public:
  Writer(std::string& out, JsonStyle style) : out_(out), style_(style) {}

  void Object(const Message& m) {
    out_.push_back('{');
    bool first = true;
    const Descriptor* d = m.GetDescriptor();
    const auto* r = m.GetReflection();
    for (int i = 0; i < d->field_count(); ++i) {
      const FieldDescriptor* f = d->field(i);
      if (f->is_repeated() ? r->FieldSize(m, f) == 0 : !r->HasField(m, f)) continue;
      if (!std::exchange(first, false)) out_.push_back(',');
      // Go shows a oneof as a field that holds an object with the chosen member.
      bool wrapped = style_ != JsonStyle::kGateway && f->real_containing_oneof() != nullptr;
      if (wrapped) {
        Name(GoName(f->real_containing_oneof()->name()));
        out_.push_back('{');
      }
      Name(f->name());
      Field(m, f);
      if (wrapped) out_.push_back('}');
    }
    out_.push_back('}');
  }

 private:
  void Name(std::string_view name) {
    base::AppendJsonString(out_, name);
    out_.push_back(':');
  }
  static std::string GoName(const std::string& name) {
    std::string out;
    bool up = true;
    for (char c : name) {
      if (c == '_') {
        up = true;
        continue;
      }
      out.push_back(up && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c);
      up = false;
    }
    return out;
  }
  void Field(const Message& m, const FieldDescriptor* f) {
    if (!f->is_repeated()) return Value(m, f, -1);
    out_.push_back('[');
    for (int i = 0; i < m.GetReflection()->FieldSize(m, f); ++i) {
      if (i > 0) out_.push_back(',');
      Value(m, f, i);
    }
    out_.push_back(']');
  }
  template <class T>
  void Int(T v, bool wide) {
    bool quoted = wide && style_ == JsonStyle::kGateway;
    if (quoted) out_.push_back('"');
    out_ += std::to_string(v);
    if (quoted) out_.push_back('"');
  }
  static bool IsId(std::string_view name) { return name == "cluster_id" || name == "member_id" || name == "ID"; }
  void HexId(uint64_t id) {
    char text[24];
    std::snprintf(text, sizeof text, "\"%lx\"", id);
    out_ += text;
  }
  void Value(const Message& m, const FieldDescriptor* f, int i) {
    const auto* r = m.GetReflection();
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return Int(i < 0 ? r->GetInt32(m, f) : r->GetRepeatedInt32(m, f, i), false);
      case FieldDescriptor::CPPTYPE_UINT32:
        return Int(i < 0 ? r->GetUInt32(m, f) : r->GetRepeatedUInt32(m, f, i), false);
      case FieldDescriptor::CPPTYPE_INT64:
        return Int(i < 0 ? r->GetInt64(m, f) : r->GetRepeatedInt64(m, f, i), true);
      case FieldDescriptor::CPPTYPE_UINT64:
        if (style_ == JsonStyle::kGoHexIds && IsId(f->name())) return HexId(r->GetUInt64(m, f));
        return Int(i < 0 ? r->GetUInt64(m, f) : r->GetRepeatedUInt64(m, f, i), true);
      case FieldDescriptor::CPPTYPE_BOOL:
        out_ += (i < 0 ? r->GetBool(m, f) : r->GetRepeatedBool(m, f, i)) ? "true" : "false";
        return;
      case FieldDescriptor::CPPTYPE_ENUM: {
        int n = i < 0 ? r->GetEnumValue(m, f) : r->GetRepeatedEnumValue(m, f, i);
        const auto* named = f->enum_type()->FindValueByNumber(n);
        if (style_ != JsonStyle::kGateway || named == nullptr) return Int(n, false);
        return base::AppendJsonString(out_, named->name());
      }
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string s = i < 0 ? r->GetString(m, f) : r->GetRepeatedString(m, f, i);
        return base::AppendJsonString(out_, f->type() == FieldDescriptor::TYPE_BYTES ? base::Base64Encode(s) : s);
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Object(i < 0 ? r->GetMessage(m, f) : r->GetRepeatedMessage(m, f, i));
      default:
        out_ += "null";
    }
  }

  std::string& out_;
  JsonStyle style_;
};

}  // namespace

void AppendJson(std::string& out, const Message& message, JsonStyle style) { Writer(out, style).Object(message); }

std::string ToJson(const Message& message, JsonStyle style) {
  std::string out;
  AppendJson(out, message, style);
  return out;
}

}  // namespace kvstore::transcode
