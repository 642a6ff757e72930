#include "apiserver/registry/validation/text_diff.h"

#include <algorithm>
#include <vector>

namespace apiserver::registry::validation {
namespace {

using machinery::value::Value;
using Lines = std::vector<std::string>;

void Dump(const Value& v, const std::string& indent, std::string& out) {
  const std::string deeper = indent + " ";
  if (v.is_list() && !v.list().empty()) {
    out += "[\n";
    for (size_t i = 0; i < v.list().size(); ++i) {
      out += deeper;
      Dump(v.list()[i], deeper, out);
      out += i + 1 < v.list().size() ? ",\n" : "\n";
    }
    out += indent + "]";
  } else if (v.is_map() && !v.map().empty()) {
    out += "{\n";
    size_t i = 0;
    for (const auto& e : v.map()) {
      out += deeper;
      machinery::value::AppendJsonString(out, e.key);
      out += ": ";
      Dump(e.value, deeper, out);
      out += ++i < v.map().size() ? ",\n" : "\n";
    }
    out += indent + "}";
  } else {
    machinery::value::AppendJson(out, v);
  }
}

Lines LinesOf(const Value& v) {
  std::string text;
  Dump(v, "", text);
  Lines lines(1);
  for (char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

// One line of the edit script: ' ' in both, '-' only before, '+' only after.
struct Edit {
  char kind;
  const std::string* line;
};

std::vector<Edit> Script(const Lines& a, const Lines& b) {
  // length[i][j]: the longest common subsequence of a from i on and b from j on.
  std::vector<std::vector<uint32_t>> length(a.size() + 1, std::vector<uint32_t>(b.size() + 1));
  for (size_t i = a.size(); i-- > 0;)
    for (size_t j = b.size(); j-- > 0;)
      length[i][j] = a[i] == b[j] ? length[i + 1][j + 1] + 1 : std::max(length[i + 1][j], length[i][j + 1]);
  std::vector<Edit> out;
  size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      out.push_back({' ', &a[i++]});
      ++j;
    } else if (i < a.size() && (j == b.size() || length[i + 1][j] >= length[i][j + 1])) {
      out.push_back({'-', &a[i++]});
    } else {
      out.push_back({'+', &b[j++]});
    }
  }
  return out;
}

std::string Range(size_t first, size_t count) {
  if (count == 1) return std::to_string(first);
  return std::to_string(count == 0 ? first - 1 : first) + "," + std::to_string(count);
}

}  // namespace

std::string TextDiff(const Value& before, const Value& after) {
  constexpr size_t kContext = 3;
  constexpr size_t kMaxCells = 4'000'000;  // beyond it the diff would cost more than it tells
  const Lines a = LinesOf(before), b = LinesOf(after);
  if (a.size() * b.size() > kMaxCells) return {};
  const std::vector<Edit> script = Script(a, b);
  std::string out;
  size_t at = 0, line_a = 1, line_b = 1;  // of script[at]
  auto pass = [&](size_t to) {
    for (; at < to; ++at) {
      line_a += script[at].kind != '+';
      line_b += script[at].kind != '-';
    }
  };
  for (size_t next = 0; next < script.size();) {
    if (script[next].kind == ' ') {
      ++next;
      continue;
    }
    size_t last = next;  // the last edit of this hunk: edits with little in between belong together
    for (size_t i = next; i < script.size() && i <= last + 2 * kContext + 1; ++i)
      if (script[i].kind != ' ') last = i;
    size_t begin = next - std::min(kContext, next - at), end = std::min(script.size(), last + 1 + kContext);
    pass(begin);
    auto count = [&](char not_of) {
      return static_cast<size_t>(std::count_if(script.begin() + static_cast<std::ptrdiff_t>(begin),
                                               script.begin() + static_cast<std::ptrdiff_t>(end),
                                               [&](const Edit& e) { return e.kind != not_of; }));
    };
    out += "@@ -" + Range(line_a, count('+')) + " +" + Range(line_b, count('-')) + " @@\n";
    for (size_t i = begin; i < end; ++i) out += script[i].kind + *script[i].line + "\n";
    pass(end);
    next = end;
  }
  return out;
}

}  // namespace apiserver::registry::validation
