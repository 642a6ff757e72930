#include "machinery/object/cron.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <vector>

#include "base/strings.h"
#include "machinery/object/go_text.h"

namespace machinery::object {
namespace {

using base::Result;

struct Bounds {
  int low, high;
  const char* const* names;  // of low, low + 1, ...
  int named;
};
constexpr const char* kMonths[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr const char* kWeekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
constexpr Bounds kMinute{0, 59, nullptr, 0}, kHour{0, 23, nullptr, 0}, kDay{1, 31, nullptr, 0},
    kMonth{1, 12, kMonths, 12}, kWeekday{0, 6, kWeekdays, 7};

base::Status Bad(std::string message) { return base::InvalidArgument(std::move(message)); }

Result<int> Number(const std::string& text) {
  std::string_view digits = text;
  if (digits.starts_with("+")) digits.remove_prefix(1);
  int n = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  bool out_of_range = error == std::errc::result_out_of_range;
  if (out_of_range || error != std::errc() || end != digits.data() + digits.size()) {
    return base::Err(Bad("failed to parse int from " + text + ": strconv.Atoi: parsing " + GoQuote(text) + ": " +
                         (out_of_range ? "value out of range" : "invalid syntax")));
  }
  if (n < 0) return base::Err(Bad("negative number (" + std::to_string(n) + ") not allowed: " + text));
  return n;
}

Result<int> NumberOrName(const std::string& text, const Bounds& bounds) {
  std::string lower;
  for (char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (int i = 0; i < bounds.named; ++i)
    if (lower == bounds.names[i]) return bounds.low + i;
  return Number(text);
}

// "*", "3", "1-5", "*/2", "1-9/3"; `star` tells that the text was a star with every value.
Result<uint64_t> Range(const std::string& text, const Bounds& bounds, bool* star) {
  auto parts = base::Split(text, '/');
  auto ends = base::Split(parts[0], '-');
  int low = bounds.low, high = bounds.high, step = 1;
  bool all = ends[0] == "*" || ends[0] == "?";
  if (!all) {
    auto first = NumberOrName(ends[0], bounds);
    if (!first) return base::Err(first.error());
    low = high = *first;
    if (ends.size() > 2) return base::Err(Bad("too many hyphens: " + text));
    if (ends.size() == 2) {
      auto last = NumberOrName(ends[1], bounds);
      if (!last) return base::Err(last.error());
      high = *last;
    }
  }
  if (parts.size() > 2) return base::Err(Bad("too many slashes: " + text));
  if (parts.size() == 2) {
    auto n = Number(parts[1]);
    if (!n) return base::Err(n.error());
    step = *n;
    if (ends.size() == 1) high = bounds.high;
  }
  auto number = [](int n) { return "(" + std::to_string(n) + ")"; };
  if (low < bounds.low)
    return base::Err(Bad("beginning of range " + number(low) + " below minimum " + number(bounds.low) + ": " + text));
  if (high > bounds.high)
    return base::Err(Bad("end of range " + number(high) + " above maximum " + number(bounds.high) + ": " + text));
  if (low > high)
    return base::Err(Bad("beginning of range " + number(low) + " beyond end of range " + number(high) + ": " + text));
  if (step == 0) return base::Err(Bad("step of range should be a positive number: " + text));
  uint64_t bits = 0;
  for (int i = low; i <= high; i += std::min(step, 64)) bits |= uint64_t{1} << i;
  if (all && step == 1) *star = true;
  return bits;
}

Result<uint64_t> List(const std::string& text, const Bounds& bounds, bool* star) {
  uint64_t bits = 0;
  for (const std::string& part : base::Split(text, ',')) {
    if (part.empty()) continue;
    auto range = Range(part, bounds, star);
    if (!range) return base::Err(range.error());
    bits |= *range;
  }
  return bits;
}

constexpr double kLongestDuration = 9223372036;  // what fits Go's nanoseconds

// Go's time.ParseDuration in seconds, rounded down.
std::optional<double> Duration(std::string_view text) {
  if (text.starts_with("+")) text.remove_prefix(1);
  if (text.empty()) return {};
  if (text == "0") return 0;
  double total = 0;
  while (!text.empty()) {
    size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == text.npos) return {};
    double n = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + digits, n);
    if (error != std::errc() || end != text.data() + digits) return {};
    text.remove_prefix(digits);
    size_t letters = std::min(text.find_first_of("0123456789."), text.size());
    std::string_view unit = text.substr(0, letters);
    double seconds = unit == "h"                                    ? 3600
                     : unit == "m"                                  ? 60
                     : unit == "s"                                  ? 1
                     : unit == "ms"                                 ? 1e-3
                     : unit == "us" || unit == "µs" || unit == "μs" ? 1e-6
                     : unit == "ns"                                 ? 1e-9
                                                                    : 0;
    if (seconds == 0) return {};
    total += n * seconds;
    if (!(total <= kLongestDuration)) return {};
    text.remove_prefix(letters);
  }
  return total;
}

Result<CronSchedule> Descriptor(std::string_view text) {
  constexpr std::array<std::array<std::string_view, 2>, 7> kNamed = {{{"@yearly", "0 0 1 1 *"},
                                                                      {"@annually", "0 0 1 1 *"},
                                                                      {"@monthly", "0 0 1 * *"},
                                                                      {"@weekly", "0 0 * * 0"},
                                                                      {"@daily", "0 0 * * *"},
                                                                      {"@midnight", "0 0 * * *"},
                                                                      {"@hourly", "0 * * * *"}}};
  for (const auto& named : kNamed)
    if (text == named[0]) return ParseCron(named[1]);
  constexpr std::string_view kEvery = "@every ";
  if (!text.starts_with(kEvery)) return base::Err(Bad("unrecognized descriptor: " + std::string(text)));
  std::string_view length = text.substr(kEvery.size());
  auto seconds = Duration(length);
  if (!seconds) {
    return base::Err(
        Bad("failed to parse duration " + std::string(text) + ": time: invalid duration " + GoQuote(length)));
  }
  CronSchedule out;
  out.every_seconds = std::max<int64_t>(1, static_cast<int64_t>(*seconds));
  return out;
}

}  // namespace

Result<CronSchedule> ParseCron(std::string_view text) {
  if (text.empty()) return base::Err(Bad("empty spec string"));
  if (text.starts_with("TZ=") || text.starts_with("CRON_TZ=")) {
    size_t space = text.find(' ');
    text = space == text.npos ? "" : text.substr(space + 1);
    while (text.starts_with(' ')) text.remove_prefix(1);
  }
  if (text.starts_with("@")) return Descriptor(text);
  auto words = base::Words(text);
  if (words.size() != 5) {
    return base::Err(
        Bad("expected exactly 5 fields, found " + std::to_string(words.size()) + ": [" + base::Join(words, " ") + "]"));
  }
  CronSchedule out;
  bool star = false;
  struct Part {
    uint64_t* bits;
    const Bounds& bounds;
    bool* star;
  };
  const Part parts[] = {{&out.minutes, kMinute, &star},
                        {&out.hours, kHour, &star},
                        {&out.days, kDay, &out.star_day},
                        {&out.months, kMonth, &star},
                        {&out.weekdays, kWeekday, &out.star_weekday}};
  for (size_t i = 0; i < words.size(); ++i) {
    auto bits = List(words[i], parts[i].bounds, parts[i].star);
    if (!bits) return base::Err(bits.error());
    *parts[i].bits = *bits;
  }
  return out;
}

}  // namespace machinery::object
