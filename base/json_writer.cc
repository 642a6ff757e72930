#include "base/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>

namespace base {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// Characters that leave AppendJsonString's fast run.
constexpr std::array<bool, 256> MakeSpecial() {
  std::array<bool, 256> t{};
  for (int c = 0; c < 0x20; ++c) t[static_cast<size_t>(c)] = true;
  for (unsigned char c : {'"', '\\', '<', '>', '&'}) t[c] = true;
  for (size_t c = 0x80; c < 256; ++c) t[c] = true;
  return t;
}
constexpr auto kSpecial = MakeSpecial();

// Length of the valid UTF-8 sequence at the front of `s` (RFC 3629: no surrogates, no overlong forms), 0 when invalid.
size_t Utf8Length(std::string_view s) {
  auto at = [&](size_t i) { return i < s.size() ? static_cast<uint8_t>(s[i]) : 0; };
  auto tail = [&](size_t i) { return (at(i) & 0xc0) == 0x80; };
  uint8_t c = at(0);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if (c == 0xe0 && at(1) < 0xa0) return 0;
    if (c == 0xed && at(1) >= 0xa0) return 0;
    return 3;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (c == 0xf0 && at(1) < 0x90) return 0;
    if (c == 0xf4 && at(1) >= 0x90) return 0;
    return 4;
  }
  return 0;
}

void AppendEscaped(std::string& out, uint8_t c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
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
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    default:
      out += "\\u00";
      out.push_back(kHex[c >> 4]);
      out.push_back(kHex[c & 15]);
  }
}

struct Decimal {
  bool negative;
  std::string digits;  // without the point
  int exponent;        // of the first digit
};
Decimal Shortest(double v) {
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  Decimal d{};
  if (text.starts_with('-')) {
    d.negative = true;
    text.remove_prefix(1);
  }
  size_t e = text.find('e');
  for (char c : text.substr(0, e))
    if (c != '.') d.digits.push_back(c);
  std::string_view exponent = text.substr(e + 1);
  if (exponent.starts_with('+')) exponent.remove_prefix(1);
  std::from_chars(exponent.data(), exponent.data() + exponent.size(), d.exponent);
  return d;
}

void AppendPlain(std::string& out, const Decimal& d) {
  if (d.negative) out.push_back('-');
  if (d.exponent < 0) {
    out += "0.";
    out.append(static_cast<size_t>(-d.exponent - 1), '0');
    out += d.digits;
    return;
  }
  auto whole = static_cast<size_t>(d.exponent) + 1;
  if (d.digits.size() <= whole) {
    out += d.digits;
    out.append(whole - d.digits.size(), '0');
  } else {
    out.append(d.digits, 0, whole).append(".").append(d.digits, whole);
  }
}

// Go writes at least `places` exponent digits: e+06, but e-7 in JSON.
void AppendExponent(std::string& out, const Decimal& d, size_t places) {
  if (d.negative) out.push_back('-');
  out.push_back(d.digits[0]);
  if (d.digits.size() > 1) out.append(".").append(d.digits, 1);
  out += d.exponent < 0 ? "e-" : "e+";
  std::string e = std::to_string(std::abs(d.exponent));
  if (e.size() < places) out.append(places - e.size(), '0');
  out += e;
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  out.push_back('"');
  size_t run = 0;
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<uint8_t>(text[i]);
    if (!kSpecial[c]) {
      ++i;
      continue;
    }
    size_t length = c < 0x80 ? 1 : Utf8Length(text.substr(i, 4));
    bool separator = length == 3 && c == 0xe2 && text[i + 1] == '\x80' && (text[i + 2] & '\xfe') == '\xa8';
    if (length > 1 && !separator) {
      i += length;
      continue;
    }
    out.append(text, run, i - run);
    if (c < 0x80) {
      AppendEscaped(out, c);
    } else if (length == 0) {
      out += "\\ufffd";
      length = 1;
    } else {
      out += "\\u202";
      out.push_back(kHex[text[i + 2] & 15]);
    }
    i += length;
    run = i;
  }
  out.append(text, run);
  out.push_back('"');
}

void AppendJsonNumber(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  if (value == 0) {
    out += std::signbit(value) ? "-0" : "0";
    return;
  }
  Decimal d = Shortest(value);
  if (d.exponent < -6 || d.exponent >= 21) {
    // encoding/json shortens e-09 to e-9 and leaves e+21 as it is.
    AppendExponent(out, d, d.exponent < 0 ? 1 : 2);
  } else {
    AppendPlain(out, d);
  }
}

std::string GoFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == 0) return std::signbit(value) ? "-0" : "0";
  Decimal d = Shortest(value);
  std::string out;
  // With the shortest precision Go changes to the exponent form as if the precision were 6.
  if (d.exponent < -4 || d.exponent >= 6) {
    AppendExponent(out, d, 2);
  } else {
    AppendPlain(out, d);
  }
  return out;
}

std::string GoQuote(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<uint8_t>(text[i]);
    size_t length = Utf8Length(text.substr(i, 4));
    if (length > 1) {
      out.append(text, i, length);
      i += length;
      continue;
    }
    ++i;
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c >= 0x20 && c < 0x7f) {
      out.push_back(static_cast<char>(c));
    } else if (c == '\n' || c == '\r' || c == '\t') {
      AppendEscaped(out, c);
    } else if (c == '\a' || c == '\b' || c == '\f' || c == '\v') {
      out.push_back('\\');
      out.push_back(c == '\a' ? 'a' : c == '\b' ? 'b' : c == '\f' ? 'f' : 'v');
    } else {
      out += "\\x";
      out.push_back(kHex[c >> 4]);
      out.push_back(kHex[c & 15]);
    }
  }
  out.push_back('"');
  return out;
}

}  // namespace base
