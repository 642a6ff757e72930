// Quantities of resources: "100m", "1536Mi", "2e3". Exact decimal numbers with the suffix style they were written in
// (apimachinery pkg/api/resource). Arithmetic is exact as long as the digits of a result fit 128 bits (38 digits from
// the smallest unit on); beyond that it saturates. Parsing rounds anything finer than a nano away from zero.
//
// Values; thread-safe.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace machinery::object {

class Quantity {
 public:
  enum class Format : uint8_t { kDecimalSI, kBinarySI, kDecimalExponent };  // 12M, 12Mi, 12e6

  Quantity() = default;  // 0
  static Quantity FromInt(int64_t value, Format format = Format::kDecimalSI);
  static Quantity FromMilli(int64_t value, Format format = Format::kDecimalSI);
  // The errors are the original's: "quantities must match the regular expression '...'", "unable to parse numeric part
  // of quantity", "unable to parse quantity's suffix".
  static base::Result<Quantity> Parse(std::string_view text);

  // The text the original prints for a quantity it read from `text`: the text itself where a quick look finds it
  // canonical enough ("1.500" stays), else the canonical form ("0.5" -> "500m").
  static base::Result<std::string> Normalize(std::string_view text);

  // Whether the original prints `text` as it is, seen at a glance: plain digits and a usual suffix. False means "look
  // closer".
  static bool IsPlain(std::string_view text);

  // Canonical: no fraction, the largest suffix that loses nothing.
  std::string ToString() const;
  Format format() const { return format_; }

  bool IsZero() const { return mantissa_ == 0; }
  int Sign() const { return mantissa_ == 0 ? 0 : mantissa_ < 0 ? -1 : 1; }
  // Rounded up (away from zero) to units, thousandths, 10^scale; saturated at int64's limits.
  int64_t Value() const { return ScaledValue(0); }
  int64_t MilliValue() const { return ScaledValue(-3); }
  int64_t ScaledValue(int scale) const;
  bool IsInteger() const;               // no fraction
  bool IsFinerThan(int scale) const;    // not a whole number of 10^scale
  Quantity RoundedUp(int scale) const;  // away from zero, to a whole number of 10^scale
  double AsDouble() const;

  // A zero takes the other's format, as in the original.
  Quantity& operator+=(const Quantity& other);
  Quantity& operator-=(const Quantity& other);
  Quantity operator-() const;
  friend Quantity operator+(Quantity a, const Quantity& b) { return a += b; }
  friend Quantity operator-(Quantity a, const Quantity& b) { return a -= b; }
  // By value: "1" == "1000m".
  friend std::strong_ordering operator<=>(const Quantity& a, const Quantity& b);
  friend bool operator==(const Quantity& a, const Quantity& b) { return (a <=> b) == 0; }

 private:
  __extension__ using Wide = __int128;
  static base::Result<Quantity> ParseParts(std::string_view text, bool* keep_text);

  // mantissa_ * 10^exponent_
  Wide mantissa_ = 0;
  int32_t exponent_ = 0;
  Format format_ = Format::kDecimalSI;
};

}  // namespace machinery::object
