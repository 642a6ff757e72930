#include "machinery/value/text.h"
#include "machinery/value/value.h"

namespace machinery::value {

namespace {
bool Continues(unsigned char c) { return (c & 0xC0) == 0x80; }
}  // namespace

// The well-formed sequences of the Unicode standard's table 3-7: no overlong forms, no surrogates, nothing past
// U+10FFFF.
size_t Utf8Length(const char* p, const char* end) {
  const auto* s = reinterpret_cast<const unsigned char*>(p);
  const size_t n = static_cast<size_t>(end - p);
  unsigned char c = s[0];
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c <= 0xDF) return n >= 2 && Continues(s[1]) ? 2 : 0;
  if (c >= 0xE0 && c <= 0xEF) {
    if (n < 3 || !Continues(s[1]) || !Continues(s[2])) return 0;
    if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F)) return 0;
    return 3;
  }
  if (c >= 0xF0 && c <= 0xF4) {
    if (n < 4 || !Continues(s[1]) || !Continues(s[2]) || !Continues(s[3])) return 0;
    if ((c == 0xF0 && s[1] < 0x90) || (c == 0xF4 && s[1] > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

void AppendUtf8(std::string& out, uint32_t rune) {
  auto put = [&out](uint32_t c) { out.push_back(static_cast<char>(c)); };
  if (rune < 0x80) {
    put(rune);
  } else if (rune < 0x800) {
    put(0xC0 | rune >> 6), put(0x80 | (rune & 0x3F));
  } else if (rune < 0x10000) {
    put(0xE0 | rune >> 12), put(0x80 | (rune >> 6 & 0x3F)), put(0x80 | (rune & 0x3F));
  } else {
    put(0xF0 | rune >> 18), put(0x80 | (rune >> 12 & 0x3F)), put(0x80 | (rune >> 6 & 0x3F)), put(0x80 | (rune & 0x3F));
  }
}

bool IsValidUtf8(std::string_view text) {
  const char* p = text.data();
  const char* end = p + text.size();
  while ((p = SkipAscii(p, end)) != end) {
    size_t n = Utf8Length(p, end);
    if (n == 0) return false;
    p += n;
  }
  return true;
}

bool IsValidUtf8(const Value& v) {
  if (v.is_string()) return IsValidUtf8(std::string_view(v.as_string()));
  if (v.is_list()) {
    for (const Value& item : v.list())
      if (!IsValidUtf8(item)) return false;
  } else if (v.is_map()) {
    for (const auto& e : v.map())
      if (!IsValidUtf8(std::string_view(e.key)) || !IsValidUtf8(e.value)) return false;
  }
  return true;
}

std::string_view Utf8Prefix(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && Continues(static_cast<unsigned char>(text[bytes]))) --bytes;
  return text.substr(0, bytes);
}

std::string ToValidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char *p = text.data(), *end = p + text.size(); p != end;) {
    size_t n = Utf8Length(p, end);
    if (n == 0) {
      out += "\xEF\xBF\xBD";
      ++p;
    } else {
      out.append(p, n);
      p += n;
    }
  }
  return out;
}

}  // namespace machinery::value
