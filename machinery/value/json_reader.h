// A strict pull reader of JSON text, the ground of value::FromJson and of the codec's typed decoder. It only says "not
// well-formed"; the words for that come from JsonSyntaxError, which reads the text again, slowly. That keeps the fast
// path free of messages.
//
// Why by hand and not on a library: the codec reads straight into typed trees (no intermediate document), must follow
// Go's leniency byte for byte (invalid UTF-8, lone surrogates, depth) and reports Go's error texts. Against nlohmann's
// SAX reader the same tree is built about four times faster. One strand; the text must outlive the reader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "machinery/value/value.h"

namespace machinery::value {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : p_(text.data()), end_(text.data() + text.size()) {}

  // The next byte that is no white space, 0 at the end (a NUL byte is no JSON anyway).
  char Peek() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
    return p_ == end_ ? '\0' : *p_;
  }
  bool Consume(char c) {
    if (Peek() != c) return false;
    ++p_;
    return true;
  }
  // All of these start at the value's first byte (after Peek) and leave the reader behind it; false: not well-formed.
  // Strings without escapes are views into the text, others into *scratch.
  bool ReadString(std::string_view* out, std::string* scratch);
  bool ReadNumber(std::string_view* text);
  bool ReadWord(std::string_view word);  // "true", "false", "null"
  bool ReadScalar(Value* out);
  // Any value; at most `depth` more levels. The raw text is what lies between position() before and after.
  bool SkipValue(int depth);
  bool ReadValue(Value* out, int depth, const ParseOptions& options);

  const char* position() const { return p_; }
  bool AtEnd() { return Peek() == '\0' && p_ == end_; }
  size_t nodes() const { return nodes_; }
  const std::string& duplicate() const { return duplicate_; }

 private:
  bool ReadEscapedString(std::string* scratch);
  bool ReadEscape(std::string* scratch);
  bool ReadHex4(uint32_t* out);
  bool ReadObject(Value* out, int depth, const ParseOptions& options);
  bool ReadArray(Value* out, int depth, const ParseOptions& options);

  const char* p_;
  const char* end_;
  size_t nodes_ = 0;
  std::string scratch_;
  std::string duplicate_;
};

// Why `text` is no JSON, in the words of Go's encoding/json; "" when it is well-formed.
std::string JsonSyntaxError(std::string_view text, int max_depth = kMaxDepth);

}  // namespace machinery::value
