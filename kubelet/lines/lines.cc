#include "kubelet/lines/lines.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace kubelet::lines {
namespace {

constexpr size_t kBlock = 64 << 10;
constexpr size_t kLongestLine = 1 << 20;  // runtimes split lines long before
constexpr int64_t kLastLines = 80;
constexpr size_t kLastBytes = 2048;
constexpr int64_t kSecond = 1'000'000'000;

// Reads exactly `digits` digits and moves on; -1 when they are not there.
int Number(std::string_view& text, size_t digits) {
  if (text.size() < digits) return -1;
  int out = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    out = out * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return out;
}

bool Skip(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<int64_t> Zone(std::string_view text) {
  if (text == "Z") return 0;
  bool west = text.starts_with('-');
  if (!west && !text.starts_with('+')) return std::nullopt;
  text.remove_prefix(1);
  int hours = Number(text, 2);
  if (!Skip(text, ':')) return std::nullopt;
  int minutes = Number(text, 2);
  if (hours < 0 || hours > 24 || minutes < 0 || minutes > 60 || !text.empty()) return std::nullopt;
  return (west ? -1 : 1) * (hours * 3600 + minutes * 60) * kSecond;
}

std::optional<int64_t> ParseTime(std::string_view text) {
  tm t{};
  int year = Number(text, 4);
  if (year < 1678 || year > 2261 || !Skip(text, '-')) return std::nullopt;  // what nanoseconds can count
  t.tm_year = year - 1900;
  t.tm_mon = Number(text, 2) - 1;
  if (!Skip(text, '-')) return std::nullopt;
  t.tm_mday = Number(text, 2);
  if (!Skip(text, 'T')) return std::nullopt;
  t.tm_hour = Number(text, 2);
  if (!Skip(text, ':')) return std::nullopt;
  t.tm_min = Number(text, 2);
  if (!Skip(text, ':')) return std::nullopt;
  t.tm_sec = Number(text, 2);
  if (t.tm_mon < 0 || t.tm_mon > 11 || t.tm_mday < 1 || t.tm_mday > 31 || t.tm_hour < 0 || t.tm_hour > 23 ||
      t.tm_min < 0 || t.tm_min > 59 || t.tm_sec < 0 || t.tm_sec > 59)
    return std::nullopt;
  int64_t fraction = 0;
  if (Skip(text, '.')) {
    int64_t unit = kSecond / 10;
    if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
    for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; text.remove_prefix(1), unit /= 10)
      fraction += (text[0] - '0') * unit;
  }
  auto zone = Zone(text);
  if (!zone) return std::nullopt;
  return timegm(&t) * kSecond + fraction - *zone;
}

// As clients get them: always nine digits.
std::string TimeText(int64_t ns) {
  int64_t fraction = ((ns % kSecond) + kSecond) % kSecond;
  time_t seconds = (ns - fraction) / kSecond;
  tm t{};
  gmtime_r(&seconds, &t);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                     t.tm_min, t.tm_sec, fraction);
}

}  // namespace

std::optional<Line> Parse(std::string_view raw) {
  auto word = [&]() -> std::optional<std::string_view> {
    size_t end = raw.find(' ');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view out = raw.substr(0, end);
    raw.remove_prefix(end + 1);
    return out;
  };
  Line line;
  auto time = word(), stream = word(), tags = word();
  if (!time || !stream || !tags) return std::nullopt;
  auto ns = ParseTime(*time);
  if (!ns || (*stream != "stdout" && *stream != "stderr")) return std::nullopt;
  line.time_ns = *ns;
  line.from_stderr = *stream == "stderr";
  // Tags are separated by colons; the first says whether the line goes on.
  if (tags->substr(0, tags->find(':')) == "P" && raw.ends_with('\n')) raw.remove_suffix(1);
  line.text = raw;
  return line;
}

Reader::Reader(Options options) : options_(std::move(options)) {
  left_ = options_.limit_bytes.value_or(-1);
  if (options_.tail_lines && !options_.follow) lines_left_ = std::max<int64_t>(0, *options_.tail_lines);
}

std::string Reader::Feed(std::string_view bytes) {
  std::string out;
  while (!done()) {
    size_t end = bytes.find('\n');
    if (end == std::string_view::npos) break;
    if (pending_.empty()) {
      Add(bytes.substr(0, end + 1), out);
    } else {
      pending_.append(bytes.substr(0, end + 1));
      Add(std::exchange(pending_, {}), out);
    }
    bytes.remove_prefix(end + 1);
  }
  if (!done()) pending_.append(bytes);
  // No runtime writes such a line; its beginning is as good as all of it.
  if (pending_.size() > kLongestLine) pending_.resize(kLongestLine);
  return out;
}

std::string Reader::Finish() {
  std::string out;
  if (!pending_.empty() && !done()) Add(std::exchange(pending_, {}), out);
  return out;
}

void Reader::Add(std::string_view raw, std::string& out) {
  auto line = Parse(raw);
  if (!line) return;
  bool wanted = line->time_ns >= options_.since_ns && !(options_.stream == "Stdout" && line->from_stderr) &&
                !(options_.stream == "Stderr" && !line->from_stderr);
  if (wanted) {
    std::string text = options_.timestamps && line_start_ ? TimeText(line->time_ns) + " " : "";
    text += line->text;
    if (left_ >= 0 && static_cast<int64_t>(text.size()) > left_) text.resize(static_cast<size_t>(left_));
    if (left_ >= 0) left_ -= static_cast<int64_t>(text.size());
    out += text;
  }
  if (lines_left_ > 0) --lines_left_;
  line_start_ = line->text.empty() || line->text.ends_with('\n');
}

int64_t TailOffset(int fd, int64_t lines) {
  struct stat st{};
  if (fstat(fd, &st) != 0) return 0;
  int64_t at = st.st_size, found = 0;
  std::string block;
  while (at > 0) {
    int64_t from = std::max<int64_t>(0, at - static_cast<int64_t>(kBlock));
    block.resize(static_cast<size_t>(at - from));
    if (pread(fd, block.data(), block.size(), from) != static_cast<ssize_t>(block.size())) return from;
    for (size_t i = block.size(); i-- > 0;)
      if (block[i] == '\n' && found++ == std::max<int64_t>(0, lines)) return from + static_cast<int64_t>(i) + 1;
    at = from;
  }
  return 0;
}

std::string LastWords(int fd) {
  Reader reader({.tail_lines = kLastLines});
  std::string out, block(kBlock, '\0');
  int64_t at = TailOffset(fd, kLastLines);
  while (!reader.done()) {
    ssize_t n = pread(fd, block.data(), block.size(), at);
    if (n <= 0) break;
    at += n;
    out += reader.Feed(std::string_view(block).substr(0, static_cast<size_t>(n)));
    if (out.size() > kLastBytes) out.erase(0, out.size() - kLastBytes);
  }
  out += reader.Finish();
  if (out.size() > kLastBytes) out.erase(0, out.size() - kLastBytes);
  return out;
}

}  // namespace kubelet::lines
