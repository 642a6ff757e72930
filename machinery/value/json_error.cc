#include <cstdio>
#include <vector>

#include "machinery/value/json_reader.h"
#include "machinery/value/text.h"

namespace machinery::value {

namespace {

// Latin-1 characters that Go's %q leaves as they are; the byte at fault is shown as the rune of that number.
bool PrintsAsItself(uint32_t rune) { return (rune >= 0x20 && rune < 0x7F) || (rune > 0xA0 && rune != 0xAD); }

std::string EscapeRune(uint32_t rune, char quote) {
  static constexpr std::string_view kFrom = "\a\b\f\n\r\t\v", kTo = "abfnrtv";
  std::string out;
  if (rune == '\\' || rune == static_cast<uint32_t>(quote)) return {'\\', static_cast<char>(rune)};
  if (rune < 0x20 && kFrom.find(static_cast<char>(rune)) != kFrom.npos) {
    return {'\\', kTo[kFrom.find(static_cast<char>(rune))]};
  }
  if (PrintsAsItself(rune)) {
    AppendUtf8(out, rune);
    return out;
  }
  char text[16];
  std::snprintf(text, sizeof text, rune < 0x80 ? "\\x%02x" : "\\u%04x", rune);
  return text;
}

// Walks the text as Go's scanner does and stops at the byte it would stop at.
class Checker {
 public:
  Checker(std::string_view text, int max_depth) : text_(text), max_depth_(static_cast<size_t>(max_depth)) {}

  std::string Run() {
    if (!Values()) return error_;
    SkipSpace();
    if (at_ < text_.size()) Fail("after top-level value");
    return error_;
  }

 private:
  bool Fail(std::string_view context) {
    if (at_ >= text_.size()) {
      error_ = "unexpected end of JSON input";
    } else {
      error_ = "invalid character '" + EscapeRune(static_cast<unsigned char>(text_[at_]), '\'') + "' ";
      error_ += context;
    }
    return false;
  }
  char Now() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Digit() const { return Now() >= '0' && Now() <= '9'; }
  void SkipSpace() {
    while (at_ < text_.size() && std::string_view(" \n\t\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  // Without recursion: `open_` holds the brackets around the place.
  bool Values() {
    for (;;) {
      SkipSpace();
      char c = Now();
      if (c == '{' || c == '[') {
        ++at_;
        open_.push_back(c);
        if (open_.size() > max_depth_) return (error_ = "exceeded max depth", false);
        SkipSpace();
        if (Now() != (c == '{' ? '}' : ']')) {
          if (c == '{' && !Key()) return false;
          continue;
        }
        ++at_;
        open_.pop_back();
      } else if (!Scalar()) {
        return false;
      }
      bool more = false;
      if (!Closings(&more)) return false;
      if (!more) return true;
    }
  }

  // Behind a value: closing brackets, then a comma (and the next key) or the end.
  bool Closings(bool* more) {
    while (!open_.empty()) {
      SkipSpace();
      bool object = open_.back() == '{';
      if (Now() == ',') {
        ++at_;
        *more = true;
        SkipSpace();
        return !object || Key();
      }
      if (Now() != (object ? '}' : ']')) return Fail(object ? "after object key:value pair" : "after array element");
      ++at_;
      open_.pop_back();
    }
    return true;
  }

  bool Key() {
    if (Now() != '"') return Fail("looking for beginning of object key string");
    if (!String()) return false;
    SkipSpace();
    if (Now() != ':') return Fail("after object key");
    ++at_;
    return true;
  }

  bool Scalar() {
    switch (Now()) {
      case '"':
        return String();
      case 't':
        return Word("true");
      case 'f':
        return Word("false");
      case 'n':
        return Word("null");
      default:
        return Now() == '-' || Digit() ? Number() : Fail("looking for beginning of value");
    }
  }

  bool Word(std::string_view word) {
    for (char want : word) {
      if (at_ >= text_.size() || Now() != want) {
        return Fail("in literal " + std::string(word) + " (expecting '" + want + "')");
      }
      ++at_;
    }
    return true;
  }

  bool String() {
    for (++at_; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == '"') return (++at_, true);
      if (static_cast<unsigned char>(c) < 0x20) return Fail("in string literal");
      if (c != '\\') continue;
      ++at_;
      if (Now() == 'u' && at_ < text_.size()) {
        for (int i = 0; i < 4; ++i) {
          ++at_;
          if (at_ >= text_.size() || !std::isxdigit(static_cast<unsigned char>(Now()))) {
            return Fail("in \\u hexadecimal character escape");
          }
        }
      } else if (at_ >= text_.size() || std::string_view("bfnrt\\/\"").find(Now()) == std::string_view::npos) {
        return Fail("in string escape code");
      }
    }
    return Fail("");
  }

  bool Number() {
    if (Now() == '-') {
      ++at_;
      if (!Digit()) return Fail("in numeric literal");
    }
    if (Now() == '0') {
      ++at_;
    } else {
      while (Digit()) ++at_;
    }
    if (Now() == '.') {
      ++at_;
      if (!Digit()) return Fail("after decimal point in numeric literal");
      while (Digit()) ++at_;
    }
    if (Now() == 'e' || Now() == 'E') {
      ++at_;
      if (Now() == '+' || Now() == '-') ++at_;
      if (!Digit()) return Fail("in exponent of numeric literal");
      while (Digit()) ++at_;
    }
    return true;
  }

  std::string_view text_;
  size_t max_depth_;
  size_t at_ = 0;
  std::vector<char> open_;
  std::string error_;
};

}  // namespace

std::string JsonSyntaxError(std::string_view text, int max_depth) { return Checker(text, max_depth).Run(); }

std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (const char *p = text.data(), *end = p + text.size(); p != end;) {
    size_t n = Utf8Length(p, end);
    if (n == 1) {
      out += EscapeRune(static_cast<unsigned char>(*p++), '"');
    } else if (n == 0) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(*p++));
      out += hex;
    } else {
      out.append(p, n);
      p += n;
    }
  }
  return out + '"';
}

}  // namespace machinery::value
