#include "base/go_duration.h"

#include "base/json_writer.h"

namespace base {
namespace {

struct Unit {
  std::string_view name;
  uint64_t nanoseconds;
};
constexpr Unit kUnits[] = {{"ns", 1},           {"us", 1000},      {"\xc2\xb5s", 1000},  // micro sign
                           {"\xce\xbcs", 1000},                                          // Greek mu
                           {"ms", 1000000},     {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000}};

// v / 10^places without trailing zeros of the fraction.
void AppendFraction(std::string& out, uint64_t v, int places) {
  uint64_t scale = 1;
  for (int i = 0; i < places; ++i) scale *= 10;
  out += std::to_string(v / scale);
  std::string fraction = std::to_string(v % scale);
  fraction.insert(0, static_cast<size_t>(places) - fraction.size(), '0');
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  if (!fraction.empty()) out.append(".").append(fraction);
}

Status Invalid(std::string_view what, std::string_view text) {
  return InvalidArgument(std::string("time: ").append(what).append(" ").append(GoQuote(text)));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// One number with its unit from the front of `rest`, in nanoseconds.
Result<uint64_t> ParseTerm(std::string_view& rest, std::string_view whole) {
  constexpr uint64_t kLimit = uint64_t{1} << 63;
  uint64_t integer = 0, fraction = 0;
  double scale = 1;
  size_t digits = 0;
  for (; !rest.empty() && IsDigit(rest[0]); rest.remove_prefix(1), ++digits) {
    if (integer > kLimit / 10) return Err(Invalid("invalid duration", whole));
    integer = integer * 10 + static_cast<uint64_t>(rest[0] - '0');
    if (integer > kLimit) return Err(Invalid("invalid duration", whole));
  }
  if (!rest.empty() && rest[0] == '.') {
    rest.remove_prefix(1);
    for (; !rest.empty() && IsDigit(rest[0]); rest.remove_prefix(1), ++digits) {
      if (fraction > kLimit / 10 - 1) continue;  // more digits than a nanosecond can show
      fraction = fraction * 10 + static_cast<uint64_t>(rest[0] - '0');
      scale *= 10;
    }
  }
  if (digits == 0) return Err(Invalid("invalid duration", whole));
  size_t length = 0;
  while (length < rest.size() && rest[length] != '.' && !IsDigit(rest[length])) ++length;
  if (length == 0) return Err(Invalid("missing unit in duration", whole));
  std::string_view name = rest.substr(0, length);
  rest.remove_prefix(length);
  for (const Unit& unit : kUnits) {
    if (unit.name != name) continue;
    if (integer > kLimit / unit.nanoseconds) return Err(Invalid("invalid duration", whole));
    uint64_t v = integer * unit.nanoseconds;
    if (fraction > 0)
      v += static_cast<uint64_t>(static_cast<double>(fraction) * (static_cast<double>(unit.nanoseconds) / scale));
    if (v > kLimit) return Err(Invalid("invalid duration", whole));
    return v;
  }
  return Err(Invalid("unknown unit " + GoQuote(name) + " in duration", whole));
}

}  // namespace

std::string FormatGoDuration(Duration d) {
  if (d.count() == 0) return "0s";
  bool negative = d.count() < 0;
  uint64_t u = negative ? -static_cast<uint64_t>(d.count()) : static_cast<uint64_t>(d.count());
  std::string out = negative ? "-" : "";
  if (u < 1000000000) {
    if (u < 1000) {
      out += std::to_string(u) + "ns";
    } else if (u < 1000000) {
      AppendFraction(out, u, 3);
      out += "\xc2\xb5s";
    } else {
      AppendFraction(out, u, 6);
      out += "ms";
    }
    return out;
  }
  uint64_t minutes = u / 60000000000;
  if (minutes >= 60) out += std::to_string(minutes / 60) + "h";
  if (minutes > 0) out += std::to_string(minutes % 60) + "m";
  AppendFraction(out, u % 60000000000, 9);
  return out + "s";
}

Result<Duration> ParseGoDuration(std::string_view text) {
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  if (rest == "0") return Duration::zero();
  if (rest.empty()) return Err(Invalid("invalid duration", text));
  uint64_t total = 0;
  while (!rest.empty()) {
    TRY_ASSIGN(uint64_t term, ParseTerm(rest, text));
    total += term;
    if (total > uint64_t{1} << 63) return Err(Invalid("invalid duration", text));
  }
  if (negative) return Duration(static_cast<int64_t>(-total));
  if (total > static_cast<uint64_t>(INT64_MAX)) return Err(Invalid("invalid duration", text));
  return Duration(static_cast<int64_t>(total));
}

}  // namespace base
