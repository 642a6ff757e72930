#include <algorithm>
#include <charconv>

#include "machinery/value/text.h"
#include "machinery/value/value.h"

namespace machinery::value {

namespace {

// Writes what stands at p (p < end) and cannot stand for itself; returns the place behind it.
const char* AppendEscape(std::string& out, const char* p, const char* end) {
  static constexpr char kHex[] = "0123456789abcdef";
  auto c = static_cast<unsigned char>(*p);
  if (c >= 0x80) {
    size_t n = Utf8Length(p, end);
    if (n == 0) {
      out += "\\ufffd";
      return p + 1;
    }
    // U+2028 and U+2029 end lines in JavaScript: Go escapes them.
    bool separator = n == 3 && c == 0xE2 && p[1] == '\x80' && (p[2] == '\xA8' || p[2] == '\xA9');
    separator ? out.append(p[2] == '\xA8' ? "\\u2028" : "\\u2029") : out.append(p, n);
    return p + n;
  }
  static constexpr std::string_view kFrom = "\"\\\b\f\n\r\t", kTo = "\"\\bfnrt";
  if (size_t i = kFrom.find(static_cast<char>(c)); i != kFrom.npos) {
    const char pair[2] = {'\\', kTo[i]};
    out.append(pair, 2);
  } else {
    const char escape[6] = {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
    out.append(escape, 6);
  }
  return p + 1;
}

void AppendMap(std::string& out, const Map& map, bool sort_keys) {
  std::vector<const Map::Entry*> order;
  order.reserve(map.size());
  for (const Map::Entry& e : map) order.push_back(&e);
  if (sort_keys) std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->key < b->key; });
  char before = '{';
  for (const Map::Entry* e : order) {
    out.push_back(before);
    AppendJsonString(out, e->key);
    out.push_back(':');
    AppendJson(out, e->value, sort_keys);
    before = ',';
  }
  if (map.empty()) out.push_back('{');
  out.push_back('}');
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  out.push_back('"');
  const char* p = text.data();
  const char* end = p + text.size();
  for (;;) {
    const char* stop = SkipJsonSafe(p, end);
    out.append(p, stop);
    if (stop == end) break;
    p = AppendEscape(out, stop, end);
  }
  out.push_back('"');
}

void AppendJson(std::string& out, const Value& v, bool sort_keys) {
  switch (v.kind()) {
    case Kind::kNull:
      out += "null";
      return;
    case Kind::kBool:
      out += v.as_bool() ? "true" : "false";
      return;
    case Kind::kInt: {
      char text[24];
      out.append(text, std::to_chars(text, text + sizeof text, v.as_int()).ptr);
      return;
    }
    case Kind::kNumber:
      out += v.number_text();
      return;
    case Kind::kString:
      AppendJsonString(out, v.as_string());
      return;
    case Kind::kList: {
      char before = '[';
      for (const Value& item : v.list()) {
        out.push_back(before);
        AppendJson(out, item, sort_keys);
        before = ',';
      }
      if (v.list().empty()) out.push_back('[');
      out.push_back(']');
      return;
    }
    case Kind::kMap:
      AppendMap(out, v.map(), sort_keys);
      return;
  }
}

std::string ToJson(const Value& v, bool pretty, bool sort_keys) {
  std::string out;
  AppendJson(out, v, sort_keys);
  return pretty ? IndentJson(out) : out;
}

std::string IndentJson(std::string_view compact) {
  std::string out;
  out.reserve(compact.size() * 2);
  size_t depth = 0;
  auto line = [&] { out.append("\n").append(depth * 2, ' '); };
  for (size_t i = 0; i < compact.size(); ++i) {
    char c = compact[i];
    switch (c) {
      case '"': {
        size_t start = i++;
        while (i < compact.size() && compact[i] != '"') i += compact[i] == '\\' ? 2 : 1;
        out += compact.substr(start, i + 1 - start);
        break;
      }
      case '{':
      case '[':
        out.push_back(c);
        if (i + 1 < compact.size() && (compact[i + 1] == '}' || compact[i + 1] == ']')) {
          out.push_back(compact[++i]);
        } else {
          ++depth;
          line();
        }
        break;
      case '}':
      case ']':
        --depth;
        line();
        out.push_back(c);
        break;
      case ',':
        out.push_back(c);
        line();
        break;
      case ':':
        out += ": ";
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

}  // namespace machinery::value
