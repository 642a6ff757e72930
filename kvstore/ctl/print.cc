#include "kvstore/ctl/print.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "base/json_writer.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

base::Result<Format> ParseFormat(const std::string& name) {
  if (name == "simple") return Format::kSimple;
  if (name == "table") return Format::kTable;
  if (name == "json") return Format::kJson;
  if (name == "fields") return Format::kFields;
  if (name == "protobuf") return Format::kProtobuf;
  return base::Err(base::InvalidArgument("unsupported output format"));
}

std::string Table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width;
  for (const std::string& h : head) width.push_back(h.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  auto rule = [&](const char* left, const char* middle, const char* right) {
    std::string out = left;
    for (size_t i = 0; i < width.size(); ++i) {
      for (size_t k = 0; k < width[i] + 2; ++k) out += "─";
      out += i + 1 < width.size() ? middle : right;
    }
    return out + "\n";
  };
  std::string out = rule("┌", "┬", "┐");
  for (size_t i = 0; i < head.size(); ++i) {
    size_t space = width[i] - head[i].size();
    out += "│ " + std::string(space / 2, ' ') + head[i] + std::string(space - space / 2, ' ') + " ";
  }
  out += "│\n" + rule("├", "┼", "┤");
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) out += "│ " + std::string(width[i] - row[i].size(), ' ') + row[i] + " ";
    out += "│\n";
  }
  return out + rule("└", "┴", "┘");
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double v = static_cast<double>(bytes);
  size_t unit = 0;
  for (; v >= 1000 && unit < 6; v /= 1000) ++unit;
  char buf[32];
  bool whole = unit == 0 || v >= 10;
  std::snprintf(buf, sizeof buf, whole ? "%.0f %s" : "%.1f %s", v, kUnits[unit]);
  return buf;
}

std::string Hex(uint64_t id) {
  char buf[24];
  std::snprintf(buf, sizeof buf, "%lx", static_cast<unsigned long>(id));
  return buf;
}

std::string Text(const std::string& bytes, bool hex) {
  if (!hex) return bytes;
  std::string out;
  char buf[8];
  for (char c : bytes) {
    std::snprintf(buf, sizeof buf, "\\x%02x", static_cast<unsigned char>(c));
    out += buf;
  }
  return out;
}

std::string Hex16(int64_t id) {
  char buf[24];
  std::snprintf(buf, sizeof buf, "%016lx", static_cast<unsigned long>(id));
  return buf;
}

std::string Row(const std::vector<std::string>& cells) {
  std::string out;
  for (size_t i = 0; i < cells.size(); ++i) out += (i ? ", " : "") + cells[i];
  return out + "\n";
}

std::string FieldLine(std::string_view name, std::string_view value) {
  return "\"" + std::string(name) + "\" : " + std::string(value) + "\n";
}

std::string FieldsHeader(const etcdserverpb::ResponseHeader& h, bool hex) {
  auto id = [hex](uint64_t v) { return hex ? Hex(v) : std::to_string(v); };
  std::string out = FieldLine("ClusterID", id(h.cluster_id())) + FieldLine("MemberID", id(h.member_id()));
  if (h.revision() != 0) out += FieldLine("Revision", std::to_string(h.revision()));
  return out + FieldLine("RaftTerm", std::to_string(h.raft_term()));
}

std::string FieldsKv(const mvccpb::KeyValue& kv, std::string_view prefix, bool hex) {
  auto line = [prefix](std::string_view name, std::string_view value) {
    return FieldLine(std::string(prefix) + std::string(name), value);
  };
  return line("Key", base::GoQuote(kv.key())) + line("CreateRevision", std::to_string(kv.create_revision())) +
         line("ModRevision", std::to_string(kv.mod_revision())) + line("Version", std::to_string(kv.version())) +
         line("Value", base::GoQuote(kv.value())) + line("Lease", hex ? Hex16(kv.lease()) : std::to_string(kv.lease()));
}

base::Result<std::string> Unquote(std::string_view& text) {
  auto bad = [] { return base::Err(base::InvalidArgument("invalid quoted string")); };
  if (text.empty() || text[0] != '"') return bad();
  std::string out;
  static constexpr std::string_view kFrom = "abfnrtv\\\"'", kTo = "\a\b\f\n\r\t\v\\\"'";
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return out;
    }
    if (text[i] != '\\') {
      out.push_back(text[i]);
      continue;
    }
    if (++i == text.size()) break;
    if (size_t k = kFrom.find(text[i]); k != std::string_view::npos) {
      out.push_back(kTo[k]);
    } else if (text[i] == 'x' && i + 2 < text.size()) {
      out.push_back(static_cast<char>(std::strtoul(std::string(text.substr(i + 1, 2)).c_str(), nullptr, 16)));
      i += 2;
    } else {
      return bad();
    }
  }
  return bad();
}

base::Result<std::vector<std::string>> SplitWords(std::string_view line) {
  std::vector<std::string> out;
  while (true) {
    while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
    if (line.empty()) return out;
    if (line[0] == '"') {
      TRY_ASSIGN(std::string word, Unquote(line));
      out.push_back(std::move(word));
    } else if (line[0] == '\'') {
      size_t end = line.find('\'', 1);
      if (end == std::string_view::npos) return base::Err(base::InvalidArgument("unterminated quote"));
      out.emplace_back(line.substr(1, end - 1));
      line.remove_prefix(end + 1);
    } else {
      size_t end = std::min(line.find_first_of(" \t"), line.size());
      out.emplace_back(line.substr(0, end));
      line.remove_prefix(end);
    }
  }
}

namespace {
template <class T>
base::Result<T> Parse(const char* function, const std::string& text, int radix) {
  T out{};
  std::string_view digits = text;
  if (digits.starts_with("+") && digits.size() > 1) digits.remove_prefix(1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, radix);
  bool range = error == std::errc::result_out_of_range;
  if (!range && (error != std::errc() || end != digits.data() + digits.size())) {
    return base::Err(base::InvalidArgument("strconv." + std::string(function) + ": parsing " + base::GoQuote(text) +
                                           ": invalid syntax"));
  }
  if (range) {
    return base::Err(base::InvalidArgument("strconv." + std::string(function) + ": parsing " + base::GoQuote(text) +
                                           ": value out of range"));
  }
  return out;
}
}  // namespace

base::Result<int64_t> ParseInt(const std::string& text, int radix) { return Parse<int64_t>("ParseInt", text, radix); }
base::Result<uint64_t> ParseUint(const std::string& text, int radix) {
  return Parse<uint64_t>("ParseUint", text, radix);
}

}  // namespace kvstore::ctl
