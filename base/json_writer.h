// JSON text out, as Go's encoding/json writes it: `<`, `>`, `&`, U+2028 and U+2029 escaped, invalid UTF-8 replaced. A
// thin, fast appender: it puts commas and quotes, the caller says the order. Reading JSON is not its job.
//
//   base::JsonWriter w;
//   w.BeginObject().Key("ok").Bool(true).Key("names").BeginArray().String("a").EndArray().EndObject();
//   w.text() == R"({"ok":true,"names":["a"]})"
//
// One strand.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace base {

// "text" in quotes, with Go's escapes for JSON.
void AppendJsonString(std::string& out, std::string_view text);
// The shortest text that reads back as the same number, in Go's choice of notation for JSON; NaN and infinities, which
// JSON has not, become null.
void AppendJsonNumber(std::string& out, double value);
// Go's %q: for error texts and log fields.
std::string GoQuote(std::string_view text);
// Go's strconv.FormatFloat(v, 'g', -1, 64): for metrics and flags.
std::string GoFloat(double value);

class JsonWriter {
 public:
  JsonWriter() = default;
  explicit JsonWriter(std::string buffer) : out_(std::move(buffer)) {}

  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view key) {
    Comma();
    AppendJsonString(out_, key);
    out_.push_back(':');
    comma_ = false;
    return *this;
  }
  JsonWriter& String(std::string_view s) {
    Comma();
    AppendJsonString(out_, s);
    return *this;
  }
  JsonWriter& Int(int64_t v) { return Raw(std::to_string(v)); }
  JsonWriter& Uint(uint64_t v) { return Raw(std::to_string(v)); }
  JsonWriter& Double(double v) {
    Comma();
    AppendJsonNumber(out_, v);
    return *this;
  }
  JsonWriter& Bool(bool v) { return Raw(v ? "true" : "false"); }
  JsonWriter& Null() { return Raw("null"); }
  // Text that is JSON already.
  JsonWriter& Raw(std::string_view json) {
    Comma();
    out_.append(json);
    return *this;
  }

  const std::string& text() const { return out_; }
  std::string Take() { return std::move(out_); }

 private:
  void Comma() {
    if (comma_) out_.push_back(',');
    comma_ = true;
  }
  JsonWriter& Open(char c) {
    Comma();
    out_.push_back(c);
    comma_ = false;
    return *this;
  }
  JsonWriter& Close(char c) {
    out_.push_back(c);
    comma_ = true;
    return *this;
  }

  std::string out_;
  bool comma_ = false;
};

}  // namespace base
