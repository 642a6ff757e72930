#include "machinery/value/json_reader.h"

#include <charconv>
#include <cstring>

#include "machinery/value/text.h"

namespace machinery::value {

namespace {
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
}  // namespace

bool JsonReader::ReadString(std::string_view* out, std::string* scratch) {
  const char* start = p_ + 1;
  const char* stop = SkipJsonPlain(start, end_);
  if (stop != end_ && *stop == '"') {
    *out = {start, static_cast<size_t>(stop - start)};
    p_ = stop + 1;
    return true;
  }
  scratch->assign(start, stop);
  p_ = stop;
  if (!ReadEscapedString(scratch)) return false;
  *out = *scratch;
  return true;
}

bool JsonReader::ReadEscapedString(std::string* scratch) {
  while (p_ != end_) {
    auto c = static_cast<unsigned char>(*p_);
    if (c == '"') {
      ++p_;
      return true;
    }
    if (c < 0x20) return false;
    if (c == '\\') {
      ++p_;
      if (!ReadEscape(scratch)) return false;
    } else if (c >= 0x80) {
      size_t n = Utf8Length(p_, end_);
      n ? scratch->append(p_, n) : scratch->append("\xEF\xBF\xBD");
      p_ += n ? n : 1;
    }
    const char* stop = SkipJsonPlain(p_, end_);
    scratch->append(p_, stop);
    p_ = stop;
  }
  return false;
}

bool JsonReader::ReadHex4(uint32_t* out) {
  if (end_ - p_ < 4) return false;
  auto [stop, error] = std::from_chars(p_, p_ + 4, *out, 16);
  if (error != std::errc() || stop != p_ + 4) return false;
  p_ += 4;
  return true;
}

bool JsonReader::ReadEscape(std::string* scratch) {
  if (p_ == end_) return false;
  char c = *p_++;
  static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
  if (size_t i = kFrom.find(c); i != kFrom.npos) {
    scratch->push_back(kTo[i]);
    return true;
  }
  uint32_t rune;
  if (c != 'u' || !ReadHex4(&rune)) return false;
  if (rune >= 0xD800 && rune < 0xE000) {
    // A pair of surrogates is one rune; Go turns a lone one into U+FFFD and reads on behind it.
    const char* behind = p_;
    uint32_t low = 0;
    if (rune < 0xDC00 && end_ - p_ >= 6 && p_[0] == '\\' && p_[1] == 'u') {
      p_ += 2;
      if (!ReadHex4(&low)) return false;
    }
    if (low >= 0xDC00 && low < 0xE000) {
      rune = 0x10000 + ((rune - 0xD800) << 10) + (low - 0xDC00);
    } else {
      rune = 0xFFFD;
      p_ = behind;
    }
  }
  AppendUtf8(*scratch, rune);
  return true;
}

bool JsonReader::ReadNumber(std::string_view* text) {
  const char* start = p_;
  if (*p_ == '-') ++p_;
  if (p_ == end_ || !IsDigit(*p_)) return false;
  if (*p_ == '0') {
    ++p_;
  } else {
    while (p_ != end_ && IsDigit(*p_)) ++p_;
  }
  if (p_ != end_ && *p_ == '.') {
    ++p_;
    if (p_ == end_ || !IsDigit(*p_)) return false;
    while (p_ != end_ && IsDigit(*p_)) ++p_;
  }
  if (p_ != end_ && (*p_ == 'e' || *p_ == 'E')) {
    ++p_;
    if (p_ != end_ && (*p_ == '+' || *p_ == '-')) ++p_;
    if (p_ == end_ || !IsDigit(*p_)) return false;
    while (p_ != end_ && IsDigit(*p_)) ++p_;
  }
  *text = {start, static_cast<size_t>(p_ - start)};
  return true;
}

bool JsonReader::ReadWord(std::string_view word) {
  if (static_cast<size_t>(end_ - p_) < word.size() || std::memcmp(p_, word.data(), word.size()) != 0) return false;
  p_ += word.size();
  return true;
}

bool JsonReader::ReadScalar(Value* out) {
  std::string_view text;
  switch (Peek()) {
    case '"':
      if (!ReadString(&text, &scratch_)) return false;
      *out = Value(text);
      return true;
    case 't':
      *out = Value(true);
      return ReadWord("true");
    case 'f':
      *out = Value(false);
      return ReadWord("false");
    case 'n':
      *out = Value();
      return ReadWord("null");
    default:
      if (p_ == end_ || (*p_ != '-' && !IsDigit(*p_)) || !ReadNumber(&text)) return false;
      *out = Value::Number(std::string(text));
      return true;
  }
}

bool JsonReader::ReadValue(Value* out, int depth, const ParseOptions& options) {
  if (++nodes_ > options.max_nodes) return false;
  char c = Peek();
  if (c == '{') return depth > 0 && ReadObject(out, depth - 1, options);
  if (c == '[') return depth > 0 && ReadArray(out, depth - 1, options);
  return ReadScalar(out);
}

bool JsonReader::ReadObject(Value* out, int depth, const ParseOptions& options) {
  ++p_;
  *out = Value(Map());
  Map& map = out->map();
  if (Consume('}')) return true;
  do {
    std::string_view key;
    if (Peek() != '"' || !ReadString(&key, &scratch_)) return false;
    Value* place = map.Find(key);
    if (place && options.reject_duplicates && duplicate_.empty()) duplicate_ = key;
    if (!place) place = &map.Append(std::string(key), Value());
    if (!Consume(':') || !ReadValue(place, depth, options)) return false;
  } while (Consume(','));
  return Consume('}');
}

bool JsonReader::ReadArray(Value* out, int depth, const ParseOptions& options) {
  ++p_;
  *out = Value(List());
  List& list = out->list();
  if (Consume(']')) return true;
  do {
    if (!ReadValue(&list.emplace_back(), depth, options)) return false;
  } while (Consume(','));
  return Consume(']');
}

bool JsonReader::SkipValue(int depth) {
  std::string_view text;
  switch (Peek()) {
    case '"':
      return ReadString(&text, &scratch_);
    case 't':
      return ReadWord("true");
    case 'f':
      return ReadWord("false");
    case 'n':
      return ReadWord("null");
    case '[':
      ++p_;
      if (depth <= 0) return false;
      if (Consume(']')) return true;
      do {
        if (!SkipValue(depth - 1)) return false;
      } while (Consume(','));
      return Consume(']');
    case '{':
      ++p_;
      if (depth <= 0) return false;
      if (Consume('}')) return true;
      do {
        if (Peek() != '"' || !ReadString(&text, &scratch_) || !Consume(':') || !SkipValue(depth - 1)) return false;
      } while (Consume(','));
      return Consume('}');
    default:
      return p_ != end_ && (*p_ == '-' || IsDigit(*p_)) && ReadNumber(&text);
  }
}

base::Result<Value> FromJson(std::string_view text, const ParseOptions& options) {
  JsonReader reader(text);
  Value out;
  if (!reader.ReadValue(&out, options.max_depth, options) || !reader.AtEnd()) {
    if (reader.nodes() > options.max_nodes) return base::Err(base::InvalidArgument("too many values in JSON input"));
    return base::Err(base::InvalidArgument(JsonSyntaxError(text, options.max_depth)));
  }
  if (!reader.duplicate().empty()) {
    return base::Err(base::InvalidArgument("duplicate field " + Quote(reader.duplicate())));
  }
  return out;
}

}  // namespace machinery::value
