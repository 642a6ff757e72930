#include "machinery/object/time.h"

#include "base/json_writer.h"

namespace machinery::object {

namespace {

constexpr std::string_view kTimeLayout = "2006-01-02T15:04:05Z07:00";
constexpr std::string_view kMicroLayout = "2006-01-02T15:04:05.000000Z07:00";

bool IsDigit(std::string_view s, size_t i) { return i < s.size() && s[i] >= '0' && s[i] <= '9'; }
int Digit(std::string_view s, size_t i) { return s[i] - '0'; }

// Days since 1970 of a date in the Gregorian calendar (years start in March, so that leap days come last).
int64_t DaysOf(int64_t year, int month, int day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t year_of_era = year - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

struct Date {
  int64_t year;
  int month, day;
};
Date DateOf(int64_t days) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int64_t day_of_era = days - era * 146097;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  auto day_of_year = static_cast<int>(day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100));
  int shifted = (5 * day_of_year + 2) / 153;
  int month = shifted + (shifted < 10 ? 3 : -9);
  return {year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1};
}

int DaysIn(int64_t year, int month) {
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : kDays[month - 1];
}

// One pass over the text in the layout's steps, with Go's error at the step that fails.
class Parser {
 public:
  Parser(std::string_view text, bool micro) : text_(text), rest_(text), micro_(micro) {}

  base::Result<Time> Run() {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    if (rest_.size() < 4 || !IsDigit(rest_, 0) || !IsDigit(rest_, 1) || !IsDigit(rest_, 2) || !IsDigit(rest_, 3)) {
      return Cannot("2006");
    }
    for (int i = 0; i < 4; ++i) year = year * 10 + Digit(rest_, static_cast<size_t>(i));
    rest_.remove_prefix(4);
    bool ok = Literal("-") && Number("01", true, &month, {1, 12, "month"}) && Literal("-") &&
              Number("02", true, &day, {0, 99, "day"}) && Literal("T") && Number("15", false, &hour, {0, 23, "hour"}) &&
              Literal(":") && Number("04", true, &minute, {0, 59, "minute"}) && Literal(":") &&
              Number("05", true, &second, {0, 59, "second"}) && Fraction() && Zone();
    if (!ok) return base::Err(error_);
    if (!rest_.empty()) return Wrong("extra text: " + base::GoQuote(rest_));
    if (day < 1 || day > DaysIn(year, month)) return Wrong("day out of range");
    return Time{DaysOf(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_seconds_, nanos_};
  }

 private:
  std::unexpected<base::Status> Cannot(std::string_view element) {
    Fail(element);
    return base::Err(error_);
  }
  std::unexpected<base::Status> Wrong(const std::string& what) {
    error_ = base::InvalidArgument("parsing time " + base::GoQuote(text_) + ": " + what);
    return base::Err(error_);
  }
  bool Fail(std::string_view element) {
    error_ = base::InvalidArgument("parsing time " + base::GoQuote(text_) + " as " +
                                   base::GoQuote(micro_ ? kMicroLayout : kTimeLayout) + ": cannot parse " +
                                   base::GoQuote(rest_) + " as " + base::GoQuote(element));
    return false;
  }

  bool Literal(std::string_view want) {
    if (!rest_.starts_with(want)) return Fail(want);
    rest_.remove_prefix(want.size());
    return true;
  }
  struct Range {
    int low, high;
    const char* name;
  };
  bool Number(std::string_view element, bool two_digits, int* out, const Range& range) {
    if (!IsDigit(rest_, 0) || (two_digits && !IsDigit(rest_, 1))) return Fail(element);
    size_t n = IsDigit(rest_, 1) ? 2 : 1;
    *out = n == 2 ? Digit(rest_, 0) * 10 + Digit(rest_, 1) : Digit(rest_, 0);
    rest_.remove_prefix(n);
    if (*out < range.low || *out > range.high) return (void)Wrong(std::string(range.name) + " out of range"), false;
    return true;
  }
  bool Fraction() {
    size_t n = 1;
    if (!rest_.empty() && (rest_[0] == '.' || rest_[0] == ',')) {
      while (IsDigit(rest_, n)) ++n;
    }
    if (micro_) {
      if (n < 7) return Fail(".000000");
      n = 7;
    }
    if (n == 1) return true;
    for (size_t i = 1, unit = 100'000'000; i < n && unit > 0; ++i, unit /= 10) {
      nanos_ += static_cast<int32_t>(static_cast<size_t>(Digit(rest_, i)) * unit);
    }
    rest_.remove_prefix(n);
    return true;
  }
  bool Zone() {
    if (rest_.starts_with('Z')) {
      rest_.remove_prefix(1);
      return true;
    }
    bool shaped = rest_.size() >= 6 && (rest_[0] == '+' || rest_[0] == '-') && IsDigit(rest_, 1) && IsDigit(rest_, 2) &&
                  rest_[3] == ':' && IsDigit(rest_, 4) && IsDigit(rest_, 5);
    if (!shaped) return Fail("Z07:00");
    int hours = Digit(rest_, 1) * 10 + Digit(rest_, 2), minutes = Digit(rest_, 4) * 10 + Digit(rest_, 5);
    if (hours > 24) return (void)Wrong("time zone offset hour out of range"), false;
    if (minutes > 60) return (void)Wrong("time zone offset minute out of range"), false;
    offset_seconds_ = (hours * 60 + minutes) * 60 * (rest_[0] == '-' ? -1 : 1);
    rest_.remove_prefix(6);
    return true;
  }

  std::string_view text_, rest_;
  bool micro_;
  base::Status error_;
  int32_t nanos_ = 0;
  int offset_seconds_ = 0;
};

// `n` digits of `v` backwards from `end`.
void PutDigits(char* end, int64_t v, int n) {
  for (; n > 0; --n, v /= 10) *--end = static_cast<char>('0' + v % 10);
}

void Append(std::string& out, int64_t seconds, int32_t micros) {
  int64_t days = seconds / 86400, second = seconds % 86400;
  if (second < 0) second += 86400, --days;
  Date date = DateOf(days);
  if (date.year < 0 || date.year > 9999) {
    out += std::to_string(date.year);  // no four digits: what Go prints, too
    date.year = 0;
    size_t year = out.size();
    Append(out, DaysOf(0, date.month, date.day) * 86400 + second, micros);
    out.erase(year, 4);
    return;
  }
  char text[] = "0000-00-00T00:00:00.000000";
  PutDigits(text + 4, date.year, 4);
  PutDigits(text + 7, date.month, 2);
  PutDigits(text + 10, date.day, 2);
  PutDigits(text + 13, second / 3600, 2);
  PutDigits(text + 16, second / 60 % 60, 2);
  PutDigits(text + 19, second % 60, 2);
  if (micros >= 0) PutDigits(text + 26, micros, 6);
  out.append(text, micros >= 0 ? 26 : 19);
  out.push_back('Z');
}

std::string Format(int64_t seconds, int32_t micros) {
  std::string out;
  Append(out, seconds, micros);
  return out;
}

}  // namespace

base::Result<Time> ParseTime(std::string_view text) { return Parser(text, false).Run(); }
base::Result<Time> ParseMicroTime(std::string_view text) { return Parser(text, true).Run(); }
void AppendTime(std::string& out, int64_t seconds) { Append(out, seconds, -1); }
std::string FormatTime(int64_t seconds) { return Format(seconds, -1); }
std::string FormatMicroTime(int64_t seconds, int32_t nanos) { return Format(seconds, nanos / 1000); }

}  // namespace machinery::object
