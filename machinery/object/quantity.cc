#include "machinery/object/quantity.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

namespace machinery::object {

namespace {

__extension__ using Wide = __int128;

constexpr int kNano = -9;
constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max();
constexpr Wide kMaxWide = ~(static_cast<Wide>(1) << 127);

base::Status BadFormat() {
  return base::InvalidArgument(
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}
base::Status BadNumber() { return base::InvalidArgument("unable to parse numeric part of quantity"); }
base::Status BadSuffix() { return base::InvalidArgument("unable to parse quantity's suffix"); }

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

struct Parts {
  bool negative = false;
  std::string_view number, fraction, suffix;  // leading zeros of `number` are gone; "" stands as "0"
};

// Reads what the regular expression of the error text allows, as loosely as the original does.
std::optional<Parts> Split(std::string_view s) {
  Parts out;
  size_t i = 0;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) out.negative = s[i++] == '-';
  while (i < s.size() && s[i] == '0') ++i;
  size_t start = i;
  while (i < s.size() && IsDigit(s[i])) ++i;
  out.number = i > start ? s.substr(start, i - start) : "0";
  if (i < s.size() && s[i] == '.') {
    start = ++i;
    while (i < s.size() && IsDigit(s[i])) ++i;
    out.fraction = s.substr(start, i - start);
  }
  start = i;
  while (i < s.size() && std::string_view("eEinumkKMGTP").find(s[i]) != std::string_view::npos) ++i;
  if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
  while (i < s.size() && IsDigit(s[i])) ++i;
  if (i < s.size()) return std::nullopt;
  out.suffix = s.substr(start);
  return out;
}

struct Suffix {
  Quantity::Format format = Quantity::Format::kDecimalSI;
  int32_t exponent = 0;  // of 2 for kBinarySI, else of 10
};

constexpr std::string_view kDecimalNames[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
constexpr std::string_view kBinaryNames[] = {"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

std::optional<Suffix> ReadSuffix(std::string_view s) {
  for (int i = 0; i < 10; ++i) {
    if (s == kDecimalNames[i]) return Suffix{Quantity::Format::kDecimalSI, 3 * i - 9};
  }
  for (int i = 0; i < 6; ++i) {
    if (s == kBinaryNames[i]) return Suffix{Quantity::Format::kBinarySI, 10 * i + 10};
  }
  if (s.size() < 2 || (s[0] != 'e' && s[0] != 'E')) return std::nullopt;
  s.remove_prefix(s[1] == '+' && s.size() > 2 && s[2] != '-' ? 2 : 1);
  int64_t exponent = 0;
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), exponent);
  if (error != std::errc() || end != s.data() + s.size()) return std::nullopt;
  // The original cuts to 32 bits; what does not fit there could not be told from another number.
  if (exponent != static_cast<int32_t>(exponent)) return std::nullopt;
  return Suffix{Quantity::Format::kDecimalExponent, static_cast<int32_t>(exponent)};
}

bool MultiplyOverflows(Wide a, Wide b, Wide* out) { return __builtin_mul_overflow(a, b, out); }

std::optional<Wide> PowerOfTen(int64_t n) {
  if (n < 0 || n > 38) return std::nullopt;
  Wide out = 1;
  while (n-- > 0) out *= 10;
  return out;
}

// Divides by 10^n, rounding away from zero.
Wide DivideUp(Wide value, int64_t n) {
  auto divisor = PowerOfTen(n);
  if (!divisor) return value == 0 ? 0 : value < 0 ? -1 : 1;
  Wide quotient = value / *divisor;
  if (quotient * *divisor != value) quotient += value < 0 ? -1 : 1;
  return quotient;
}

std::optional<Wide> ReadDigits(std::string_view a, std::string_view b) {
  Wide out = 0;
  for (std::string_view part : {a, b}) {
    for (char c : part) {
      if (MultiplyOverflows(out, 10, &out) || __builtin_add_overflow(out, static_cast<Wide>(c - '0'), &out))
        return std::nullopt;
    }
  }
  return out;
}

std::string WideText(Wide v) {
  if (v == 0) return "0";
  bool negative = v < 0;
  std::string out;
  while (v != 0) {
    int digit = static_cast<int>(v % 10);
    out.push_back(static_cast<char>('0' + (digit < 0 ? -digit : digit)));
    v /= 10;
  }
  if (negative) out.push_back('-');
  std::reverse(out.begin(), out.end());
  return out;
}

int Digits(Wide v) {
  int n = 0;
  for (; v != 0; v /= 10) ++n;
  return n;
}

}  // namespace

Quantity Quantity::FromInt(int64_t value, Format format) {
  Quantity q;
  q.mantissa_ = value;
  q.format_ = format;
  return q;
}
Quantity Quantity::FromMilli(int64_t value, Format format) {
  Quantity q = FromInt(value, format);
  q.exponent_ = -3;
  return q;
}

base::Result<Quantity> Quantity::ParseParts(std::string_view text, bool* keep_text) {
  if (text.empty()) return base::Err(BadFormat());
  auto parts = Split(text);
  if (!parts) return base::Err(BadFormat());
  auto suffix = ReadSuffix(parts->suffix);
  if (!suffix) return base::Err(BadSuffix());
  const bool binary = suffix->format == Format::kBinarySI;

  // Zeros at the end of a fraction carry nothing but may be many.
  std::string_view fraction = parts->fraction;
  if (parts->number.size() + fraction.size() > 38) {
    while (!fraction.empty() && fraction.back() == '0') fraction.remove_suffix(1);
  }
  std::string_view number = parts->number;
  int64_t zeros = 0;
  if (number.size() > 36 && fraction.empty()) {
    while (number.back() == '0' && number.size() > 1) number.remove_suffix(1), ++zeros;
  }
  auto digits = ReadDigits(number, fraction);
  if (!digits) return base::Err(BadNumber());
  Quantity q;
  q.mantissa_ = *digits;
  q.format_ = suffix->format;
  int64_t exponent = zeros - static_cast<int64_t>(fraction.size());
  if (!binary) {
    exponent += suffix->exponent;
  } else if (MultiplyOverflows(q.mantissa_, static_cast<Wide>(1) << suffix->exponent, &q.mantissa_)) {
    q.mantissa_ = kMaxWide;  // capped below
  }
  if (exponent > std::numeric_limits<int32_t>::max() || exponent < std::numeric_limits<int32_t>::min()) {
    return base::Err(BadNumber());
  }
  if (exponent < kNano) {
    q.mantissa_ = DivideUp(q.mantissa_, kNano - exponent);
    exponent = kNano;
  }
  q.exponent_ = static_cast<int32_t>(exponent);
  if (binary && q > FromInt(kMax64)) q = FromInt(kMax64, Format::kBinarySI);
  if (binary && !q.IsZero() && q < FromInt(1)) q.format_ = Format::kDecimalSI;

  // What the original's quick path takes, it prints as it was written.
  const int size = static_cast<int>(parts->number.size() + parts->fraction.size());
  *keep_text = false;
  if (binary) {
    int room = 15 - static_cast<int>(parts->number.size()) -
               static_cast<int>(static_cast<float>(suffix->exponent) * 3 / 10) - 1;
    *keep_text = parts->fraction.empty() && room >= 0 && (*digits & 7) != 0;
  } else if (size <= 18 && suffix->exponent - static_cast<int64_t>(parts->fraction.size()) >= kNano) {
    std::string shifted = std::string(parts->number) + std::string(parts->fraction);
    int64_t scale = suffix->exponent - static_cast<int64_t>(parts->fraction.size());
    *keep_text = scale % 3 == 0 && !shifted.ends_with("000") && shifted[0] != '0';
  }
  if (parts->negative) q.mantissa_ = -q.mantissa_;
  if (q.mantissa_ == 0) q.exponent_ = 0;
  return q;
}

base::Result<Quantity> Quantity::Parse(std::string_view text) {
  bool keep_text;
  return ParseParts(text, &keep_text);
}

bool Quantity::IsPlain(std::string_view text) {
  size_t digits = 0;
  uint64_t n = 0;
  for (; digits < text.size() && IsDigit(text[digits]); ++digits) {
    if (digits == 10) return false;
    n = n * 10 + static_cast<uint64_t>(text[digits] - '0');
  }
  if (digits == 0) return false;
  std::string_view suffix = text.substr(digits);
  if (text[0] == '0') return text.size() == 1;
  if (suffix.size() == 2 && suffix[1] == 'i') {
    // Up to four digits and Gi no capping or rounding is near; what 1024 does not divide is canonical.
    return digits <= 4 && n % 1024 != 0 && (suffix[0] == 'K' || suffix[0] == 'M' || suffix[0] == 'G');
  }
  bool known = suffix.empty() || (suffix.size() == 1 && std::string_view("mkMG").find(suffix[0]) != suffix.npos);
  return known && n % 1000 != 0;
}

base::Result<std::string> Quantity::Normalize(std::string_view text) {
  if (IsPlain(text)) return std::string(text);
  bool keep_text;
  TRY_ASSIGN(Quantity q, ParseParts(text, &keep_text));
  return keep_text ? std::string(text) : q.ToString();
}

std::string Quantity::ToString() const {
  if (mantissa_ == 0) return "0";
  Wide value = mantissa_;
  int64_t exponent = exponent_;
  Quantity magnitude = Sign() < 0 ? -*this : *this;
  if (format_ == Format::kBinarySI && IsInteger() && magnitude >= FromInt(1024)) {
    auto power = PowerOfTen(std::max<int64_t>(exponent, 0));
    Wide units;
    if (power && !MultiplyOverflows(value, *power, &units)) {
      units = exponent < 0 ? DivideUp(units, -exponent) : units;
      size_t steps = 0;
      while (units % 1024 == 0 && steps < std::size(kBinaryNames)) units /= 1024, ++steps;
      return WideText(units) + std::string(steps ? kBinaryNames[steps - 1] : "");
    }
  }
  while (value % 10 == 0) value /= 10, ++exponent;
  std::string text = WideText(value);
  for (; exponent % 3 != 0; --exponent) text.push_back('0');
  // There is no suffix past E. (The original of v1.36 prints nothing there and so another number; later ones print
  // e21.)
  if (format_ == Format::kDecimalExponent || exponent > 18) {
    return text + (exponent ? "e" + std::to_string(exponent) : "");
  }
  return text + std::string(kDecimalNames[exponent / 3 + 3]);
}

int64_t Quantity::ScaledValue(int scale) const {
  constexpr int64_t kMin64 = std::numeric_limits<int64_t>::min();
  int64_t shift = static_cast<int64_t>(exponent_) - scale;
  Wide value = mantissa_;
  if (shift < 0) {
    value = DivideUp(value, -shift);
  } else if (value != 0) {
    auto power = PowerOfTen(shift);
    if (!power || MultiplyOverflows(value, *power, &value)) return mantissa_ < 0 ? kMin64 : kMax64;
  }
  if (value > kMax64) return kMax64;
  if (value < kMin64) return kMin64;
  return static_cast<int64_t>(value);
}

bool Quantity::IsInteger() const {
  if (exponent_ >= 0) return true;
  auto divisor = PowerOfTen(-static_cast<int64_t>(exponent_));
  return mantissa_ == 0 || (divisor && mantissa_ % *divisor == 0);
}

bool Quantity::IsFinerThan(int scale) const {
  if (exponent_ >= scale || mantissa_ == 0) return false;
  auto divisor = PowerOfTen(static_cast<int64_t>(scale) - exponent_);
  return !divisor || mantissa_ % *divisor != 0;
}

Quantity Quantity::RoundedUp(int scale) const {
  if (!IsFinerThan(scale)) return *this;
  Quantity out = *this;
  out.mantissa_ = DivideUp(mantissa_, static_cast<int64_t>(scale) - exponent_);
  out.exponent_ = scale;
  return out;
}

double Quantity::AsDouble() const { return static_cast<double>(mantissa_) * std::pow(10.0, exponent_); }

Quantity Quantity::operator-() const {
  Quantity out = *this;
  out.mantissa_ = -out.mantissa_;
  return out;
}

Quantity& Quantity::operator+=(const Quantity& other) {
  if (IsZero()) return *this = other;
  if (other.IsZero()) return *this;
  const Quantity& coarse = exponent_ < other.exponent_ ? other : *this;
  const Quantity& fine = exponent_ < other.exponent_ ? *this : other;
  auto power = PowerOfTen(static_cast<int64_t>(coarse.exponent_) - fine.exponent_);
  Wide sum;
  if (!power || MultiplyOverflows(coarse.mantissa_, *power, &sum) ||
      __builtin_add_overflow(sum, fine.mantissa_, &sum)) {
    // The coarse part is beyond what the fine one can change within 38 digits.
    sum = coarse.mantissa_;
    exponent_ = coarse.exponent_;
  } else {
    exponent_ = sum == 0 ? 0 : fine.exponent_;
  }
  mantissa_ = sum;
  return *this;
}

Quantity& Quantity::operator-=(const Quantity& other) {
  if (IsZero()) format_ = other.format_;
  return *this += -other;
}

std::strong_ordering operator<=>(const Quantity& a, const Quantity& b) {
  if (a.Sign() != b.Sign()) return a.Sign() <=> b.Sign();
  if (a.IsZero()) return std::strong_ordering::equal;
  // Where the decimal points are far apart the number of digits decides.
  int64_t a_size = Digits(a.mantissa_) + static_cast<int64_t>(a.exponent_);
  int64_t b_size = Digits(b.mantissa_) + static_cast<int64_t>(b.exponent_);
  if (a_size != b_size) return a.Sign() > 0 ? a_size <=> b_size : b_size <=> a_size;
  // Same number of digits before the point: aligning the coarser one adds as many digits as the finer one has more.
  Wide x = a.mantissa_, y = b.mantissa_;
  auto shift = static_cast<int64_t>(a.exponent_) - b.exponent_;
  if (auto power = PowerOfTen(shift < 0 ? -shift : shift)) (shift > 0 ? x : y) *= *power;
  return x < y ? std::strong_ordering::less : x > y ? std::strong_ordering::greater : std::strong_ordering::equal;
}

}  // namespace machinery::object
