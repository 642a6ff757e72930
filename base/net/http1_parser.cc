#include "base/net/http1_parser.h"

#include <algorithm>
#include <array>

namespace base::net {
namespace {

constexpr size_t kMaxChunkLine = 4096;  // size and extensions

constexpr std::array<bool, 256> MakeTokenTable() {
  std::array<bool, 256> t{};
  for (int c = '0'; c <= '9'; ++c) t[static_cast<size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) t[static_cast<size_t>(c)] = t[static_cast<size_t>(c - 32)] = true;
  for (unsigned char c : {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'}) t[c] = true;
  return t;
}
constexpr auto kToken = MakeTokenTable();

bool IsToken(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return kToken[static_cast<uint8_t>(c)]; });
}
bool IsFieldValue(std::string_view s) {
  return std::all_of(s.begin(), s.end(),
                     [](char c) { return c == '\t' || (static_cast<uint8_t>(c) >= 0x20 && c != 0x7f); });
}
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return Lower(x) == Lower(y); });
}
// Optional white space is blank and tab only (RFC 9110, 5.6.3): base::Trim would take more off.
std::string_view Trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// "\r\n" or "\n" at the end of a line, removed. False for a CR anywhere else.
bool StripEnd(std::string_view& line) {
  line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line.find('\r') == std::string_view::npos;
}

bool ParseLength(std::string_view text, uint64_t& out) {
  if (text.empty() || text.size() > 18) return false;
  out = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    out = out * 10 + static_cast<uint64_t>(c - '0');
  }
  return true;
}

}  // namespace

bool HasToken(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    size_t comma = std::min(list.find(','), list.size());
    if (EqualsIgnoringCase(Trim(list.substr(0, comma)), token)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

void Http1Parser::Reset() {
  state_ = State::kHead;
  buffer_.clear();
  if (buffer_.capacity() > 4096) buffer_.shrink_to_fit();
  line_start_ = 0;
  no_body_ = false;
  keep_alive_ = true;
  left_ = 0;
  trailer_bytes_ = 0;
  head_ = {};
  trailers_ = {};
  body_ = {};
}

Http1Parser::Event Http1Parser::Fail(int status, std::string_view what) {
  state_ = State::kError;
  error_status_ = status;
  error_ = what;
  return Event::kError;
}

Http1Parser::Event Http1Parser::Next(std::string_view& input) {
  switch (state_) {
    case State::kHead:
      return ReadHead(input);
    case State::kEnd:
      return Event::kEnd;
    case State::kError:
      return Event::kError;
    case State::kLength:
    case State::kUntilEof:
      return ReadBody(input);
    case State::kChunkSize:
      return ReadChunkSize(input);
    case State::kChunkData:
      return ReadChunkData(input);
    case State::kChunkEnd:
      return ReadChunkEnd(input);
    case State::kTrailers:
      return ReadTrailers(input);
  }
  return Event::kError;
}

Http1Parser::Event Http1Parser::NextAtEof() {
  if (state_ == State::kEnd) return Event::kEnd;
  if (state_ == State::kError) return Event::kError;
  if (state_ == State::kUntilEof) {
    state_ = State::kEnd;
    return Event::kEnd;
  }
  if (idle()) return Event::kNeedMore;
  return Fail(400, "unexpected EOF");
}

bool Http1Parser::TakeLine(std::string_view& input, size_t limit, bool& too_long) {
  size_t lf = input.find('\n');
  size_t take = lf == std::string_view::npos ? input.size() : lf + 1;
  too_long = buffer_.size() + take > limit;
  if (too_long) return false;
  buffer_.append(input.substr(0, take));
  input.remove_prefix(take);
  return lf != std::string_view::npos;
}

Http1Parser::Event Http1Parser::ReadHead(std::string_view& input) {
  for (;;) {
    // Empty lines before a message are skipped (RFC 9112, 2.2).
    while (buffer_.empty() && !input.empty() && (input[0] == '\r' || input[0] == '\n')) input.remove_prefix(1);
    if (input.empty()) return Event::kNeedMore;
    bool too_long = false;
    if (!TakeLine(input, max_head_bytes_, too_long))
      return too_long ? Fail(431, "Request Header Fields Too Large") : Event::kNeedMore;
    std::string_view line = std::string_view(buffer_).substr(line_start_);
    bool first = line_start_ == 0;
    line_start_ = buffer_.size();
    if (!StripEnd(line)) return Fail(400, "bare CR");
    if (first) {
      if (!ParseStartLine(line)) return Event::kError;
    } else if (line.empty()) {
      return DecideBody() ? Event::kHead : Event::kError;
    } else if (!ParseField(line, head_.headers)) {
      return Event::kError;
    }
  }
}

bool Http1Parser::ParseStartLine(std::string_view line) {
  auto version = [this](std::string_view v) {
    if (v.size() != 8 || !v.starts_with("HTTP/1.") || (v[7] != '0' && v[7] != '1')) return false;
    head_.minor = v[7] - '0';
    return true;
  };
  if (kind_ == Kind::kResponse) {
    std::string_view code = line.size() >= 12 ? line.substr(9, 3) : std::string_view();
    uint64_t status = 0;
    if (!version(line.substr(0, 8)) || line.size() < 12 || line[8] != ' ' || !ParseLength(code, status) ||
        status < 100 || (line.size() > 12 && line[12] != ' ')) {
      Fail(502, "malformed HTTP status line");
      return false;
    }
    head_.status = static_cast<int>(status);
    if (line.size() > 13) head_.reason = line.substr(13);
    return true;
  }
  size_t a = line.find(' '), b = line.rfind(' ');
  if (a == std::string_view::npos || a == b) {
    Fail(400, "malformed request line");
    return false;
  }
  std::string_view method = line.substr(0, a), target = line.substr(a + 1, b - a - 1), v = line.substr(b + 1);
  bool target_good = !target.empty() && std::all_of(target.begin(), target.end(),
                                                    [](char c) { return static_cast<uint8_t>(c) > 0x20 && c != 0x7f; });
  if (!IsToken(method) || !target_good) {
    Fail(400, "malformed request line");
    return false;
  }
  if (!version(v)) {
    v.starts_with("HTTP/") ? Fail(505, "unsupported protocol version") : Fail(400, "malformed HTTP version");
    return false;
  }
  head_.method = method;
  head_.target = target;
  return true;
}

bool Http1Parser::ParseField(std::string_view line, Headers& out) {
  size_t colon = line.find(':');
  std::string_view name = line.substr(0, colon);
  if (colon == std::string_view::npos || !IsToken(name)) {
    Fail(400, "malformed header line");
    return false;
  }
  std::string_view value = Trim(line.substr(colon + 1));
  if (!IsFieldValue(value)) {
    Fail(400, "invalid header value");
    return false;
  }
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  out.Add(std::move(lower), std::string(value));
  return true;
}

bool Http1Parser::DecideBody() {
  buffer_.clear();
  const Headers& h = head_.headers;
  std::string_view connection = h.Get("connection");
  keep_alive_ = head_.minor == 1 ? !HasToken(connection, "close") : HasToken(connection, "keep-alive");
  if (kind_ == Kind::kRequest && head_.minor == 1) {
    if (h.GetAll("host").size() != 1) {
      Fail(400, h.Has("host") ? "too many Host headers" : "missing required Host header");
      return false;
    }
  }
  auto codings = h.GetAll("transfer-encoding");
  auto lengths = h.GetAll("content-length");
  if (!codings.empty()) {
    if (codings.size() != 1 || !EqualsIgnoringCase(codings[0], "chunked")) {
      Fail(501, "unsupported transfer encoding");
      return false;
    }
    if (!lengths.empty() || head_.minor == 0) {
      Fail(400, "transfer-encoding beside content-length or in HTTP/1.0");
      return false;
    }
  }
  uint64_t length = 0;
  for (auto text : lengths) {
    if (text != lengths[0] || !ParseLength(text, length)) {
      Fail(400, "bad Content-Length");
      return false;
    }
  }
  bool response = kind_ == Kind::kResponse;
  if (response && (no_body_ || head_.status < 200 || head_.status == 204 || head_.status == 304)) {
    state_ = State::kEnd;
  } else if (!codings.empty()) {
    state_ = State::kChunkSize;
  } else if (!lengths.empty()) {
    left_ = length;
    state_ = length == 0 ? State::kEnd : State::kLength;
  } else if (response) {
    keep_alive_ = false;
    state_ = State::kUntilEof;
  } else {
    state_ = State::kEnd;
  }
  return true;
}

Http1Parser::Event Http1Parser::ReadBody(std::string_view& input) {
  if (input.empty()) return Event::kNeedMore;
  size_t take =
      state_ == State::kUntilEof ? input.size() : static_cast<size_t>(std::min<uint64_t>(left_, input.size()));
  body_ = input.substr(0, take);
  input.remove_prefix(take);
  if (state_ == State::kLength && (left_ -= take) == 0) state_ = State::kEnd;
  return Event::kBody;
}

Http1Parser::Event Http1Parser::ReadChunkSize(std::string_view& input) {
  bool too_long = false;
  if (!TakeLine(input, kMaxChunkLine, too_long)) return too_long ? Fail(400, "chunk line too long") : Event::kNeedMore;
  std::string_view line = buffer_;
  if (!StripEnd(line)) return Fail(400, "bare CR");
  line = Trim(line.substr(0, line.find(';')));
  if (line.empty() || line.size() > 15) return Fail(400, "malformed chunk size");
  uint64_t size = 0;
  for (char c : line) {
    int digit = c >= '0' && c <= '9' ? c - '0' : Lower(c) >= 'a' && Lower(c) <= 'f' ? Lower(c) - 'a' + 10 : -1;
    if (digit < 0) return Fail(400, "malformed chunk size");
    size = size << 4 | static_cast<uint64_t>(digit);
  }
  buffer_.clear();
  left_ = size;
  state_ = size == 0 ? State::kTrailers : State::kChunkData;
  return Next(input);
}

Http1Parser::Event Http1Parser::ReadChunkData(std::string_view& input) {
  if (input.empty()) return Event::kNeedMore;
  size_t take = static_cast<size_t>(std::min<uint64_t>(left_, input.size()));
  body_ = input.substr(0, take);
  input.remove_prefix(take);
  if ((left_ -= take) == 0) state_ = State::kChunkEnd;
  return Event::kBody;
}

Http1Parser::Event Http1Parser::ReadChunkEnd(std::string_view& input) {
  bool too_long = false;
  if (!TakeLine(input, 2, too_long)) return too_long ? Fail(400, "malformed chunk end") : Event::kNeedMore;
  if (buffer_ != "\r\n" && buffer_ != "\n") return Fail(400, "malformed chunk end");
  buffer_.clear();
  state_ = State::kChunkSize;
  return Next(input);
}

Http1Parser::Event Http1Parser::ReadTrailers(std::string_view& input) {
  for (;;) {
    bool too_long = false;
    if (!TakeLine(input, max_head_bytes_ - trailer_bytes_, too_long))
      return too_long ? Fail(431, "trailers too large") : Event::kNeedMore;
    std::string_view line = buffer_;
    trailer_bytes_ += line.size();
    if (!StripEnd(line)) return Fail(400, "bare CR");
    if (line.empty()) {
      buffer_.clear();
      state_ = State::kEnd;
      return Event::kEnd;
    }
    if (!ParseField(line, trailers_)) return Event::kError;
    buffer_.clear();
  }
}

}  // namespace base::net
