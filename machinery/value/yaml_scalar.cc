#include "machinery/value/yaml_scalar.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

namespace machinery::value {

namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

YamlScalar Float(double d) {
  YamlScalar out{YamlTag::kFloat, Value(), d, std::isfinite(d)};
  if (out.finite) out.value = Value::Double(d);
  return out;
}

std::optional<YamlScalar> Named(std::string_view s) {
  auto any = [s](std::initializer_list<std::string_view> names) {
    for (std::string_view n : names) {
      if (n == s) return true;
    }
    return false;
  };
  constexpr double kInf = std::numeric_limits<double>::infinity();
  if (any({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) {
    return YamlScalar{YamlTag::kBool, Value(true)};
  }
  if (any({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})) {
    return YamlScalar{YamlTag::kBool, Value(false)};
  }
  if (any({"", "~", "null", "Null", "NULL"})) return YamlScalar{YamlTag::kNull, Value()};
  if (any({".nan", ".NaN", ".NAN"})) return Float(std::numeric_limits<double>::quiet_NaN());
  if (any({".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"})) return Float(kInf);
  if (any({"-.inf", "-.Inf", "-.INF"})) return Float(-kInf);
  if (s == "<<") return YamlScalar{YamlTag::kMerge, Value("<<")};
  return std::nullopt;
}

// Go's strconv.ParseInt(s, 0, 64), falling back to ParseUint; the underscores are gone.
std::optional<Value> Integer(std::string_view s) {
  bool negative = !s.empty() && s[0] == '-';
  bool plus = !s.empty() && s[0] == '+';
  std::string_view digits = s.substr(negative || plus ? 1 : 0);
  int base = 10;
  if (digits.size() > 1 && digits[0] == '0') {
    char mark = static_cast<char>(digits[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    digits.remove_prefix(base == 8 && mark != 'o' ? 1 : 2);
  }
  uint64_t magnitude = 0;
  auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size()) return std::nullopt;
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (negative) {
    if (magnitude > kMax + 1) return std::nullopt;
    return Value(static_cast<int64_t>(~magnitude + 1));
  }
  if (magnitude <= kMax) return Value(static_cast<int64_t>(magnitude));
  if (plus) return std::nullopt;  // Go's ParseUint takes no sign
  return Value::Number(std::to_string(magnitude));
}

// [-+]? (.digits | digits (. digits*)?) ([eE] [-+]? digits)?
bool LooksLikeFloat(std::string_view s) {
  size_t i = 0;
  auto digits = [&] {
    size_t start = i;
    while (i < s.size() && IsDigit(s[i])) ++i;
    return i > start;
  };
  if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
  if (i < s.size() && s[i] == '.') {
    ++i;
    if (!digits()) return false;
  } else {
    if (!digits()) return false;
    if (i < s.size() && s[i] == '.') {
      ++i;
      digits();
    }
  }
  if (i < s.size() && (s[i] == 'e' || s[i] == 'E')) {
    ++i;
    if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
    if (!digits()) return false;
  }
  return i == s.size();
}

std::optional<YamlScalar> FloatText(std::string_view s) {
  if (!LooksLikeFloat(s)) return std::nullopt;
  double d = std::strtod(std::string(s).c_str(), nullptr);
  if (!std::isfinite(d)) return std::nullopt;
  return Float(d);
}

// YYYY-M-D, alone or with a time; only the shape matters because it stays text either way.
bool LooksLikeTimestamp(std::string_view s) {
  return s.size() >= 8 && IsDigit(s[0]) && IsDigit(s[1]) && IsDigit(s[2]) && IsDigit(s[3]) && s[4] == '-';
}

}  // namespace

YamlScalar ResolveYaml(std::string_view s, bool allow_timestamp) {
  YamlScalar text{YamlTag::kString, Value(s)};
  char first = s.empty() ? 'N' : s[0];
  bool number = IsDigit(first) || first == '-' || first == '+';
  if (!number && !s.empty() && std::string_view("yYnNtTfFoO~.").find(first) == std::string_view::npos) {
    // "<<" is looked up by its caller, "N" stands for the empty text.
    return text;
  }
  if (auto named = Named(s)) return *named;
  if (first == '.') {
    // go-yaml asks Go's ParseFloat here, which also reads underscores in none but hexadecimal floats.
    if (auto f = FloatText(s)) return *f;
    return text;
  }
  if (!number) return text;
  std::string plain;
  for (char c : s) {
    if (c != '_') plain.push_back(c);
  }
  if (auto i = Integer(plain)) return {YamlTag::kInt, std::move(*i)};
  if (auto f = FloatText(plain)) return *f;
  if (allow_timestamp && LooksLikeTimestamp(s)) text.tag = YamlTag::kTimestamp;
  return text;
}

std::string YamlFloatKey(double number) {
  if (std::isnan(number)) return ".nan";
  if (std::isinf(number)) return number > 0 ? ".inf" : "-.inf";
  // %g with the shortest digits of a float: scientific below 1e-4 and from 1e21 on.
  float f = static_cast<float>(number);
  char buffer[128];
  float magnitude = std::fabs(f);
  bool scientific = magnitude != 0 && (magnitude < 1e-4f || magnitude >= 1e21f);
  auto format = scientific ? std::chars_format::scientific : std::chars_format::fixed;
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, f, format).ptr);
}

}  // namespace machinery::value
