#include "machinery/object/go_text.h"

#include <algorithm>
#include <cstdio>

#include "base/strings.h"

namespace machinery::object {
namespace {

// Length of the UTF-8 sequence at `s`, its code point in *rune; 0 when malformed.
size_t DecodeRune(std::string_view s, uint32_t* rune) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  unsigned char lead = byte(0);
  size_t length = lead < 0x80 ? 1 : lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
  if (length == 0 || lead >= 0xF5 || s.size() < length) return 0;
  uint32_t r = length == 1 ? lead : lead & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    r = r << 6 | (byte(i) & 0x3F);
  }
  static constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (r < kSmallest[length] || (r >= 0xD800 && r < 0xE000) || r > 0x10FFFF) return 0;
  *rune = r;
  return length;
}

// What unicode.IsPrint refuses, as far as messages meet it: controls, soft hyphen, format and separator characters,
// private use and non-characters.
bool IsPrintable(uint32_t r) {
  if (r < 0x20 || (r >= 0x7F && r <= 0xA0) || r == 0xAD) return false;
  if ((r >= 0x2000 && r <= 0x200F) || (r >= 0x2028 && r <= 0x202F) || (r >= 0x205F && r <= 0x206F)) return false;
  if (r == 0x1680 || r == 0x180E || r == 0x3000 || r == 0xFEFF) return false;
  if ((r >= 0xE000 && r <= 0xF8FF) || r >= 0xF0000 || (r & 0xFFFE) == 0xFFFE) return false;
  return true;
}

void AppendFormat(std::string& out, const char* format, unsigned v) {
  char text[16];
  std::snprintf(text, sizeof text, format, v);
  out += text;
}

void AppendRune(std::string& out, std::string_view bytes, uint32_t rune) {
  switch (rune) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\a':
      out += "\\a";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\v':
      out += "\\v";
      return;
  }
  if (IsPrintable(rune)) {
    out += bytes;
  } else {
    AppendFormat(out, rune < 0x80 ? "\\x%02x" : rune < 0x10000 ? "\\u%04x" : "\\U%08x", rune);
  }
}

}  // namespace

std::string GoQuote(std::string_view s) {
  std::string out = "\"";
  while (!s.empty()) {
    uint32_t rune = 0;
    size_t length = DecodeRune(s, &rune);
    if (length == 0) {
      AppendFormat(out, "\\x%02x", static_cast<unsigned char>(s[0]));
      length = 1;
    } else {
      AppendRune(out, s.substr(0, length), rune);
    }
    s.remove_prefix(length);
  }
  return out + '"';
}

std::string GoText(const value::Value& v) {
  if (v.is_null()) return "<nil>";
  if (v.is_string()) return v.as_string();
  if (v.is_list()) {
    std::vector<std::string> items;
    for (const value::Value& item : v.list()) items.push_back(GoText(item));
    return "[" + base::Join(items, " ") + "]";
  }
  if (v.is_map()) {
    std::vector<std::string> items;
    for (const auto& entry : v.map()) items.push_back(entry.key + ":" + GoText(entry.value));
    std::sort(items.begin(), items.end());
    return "map[" + base::Join(items, " ") + "]";
  }
  return value::ToJson(v);
}

}  // namespace machinery::object
