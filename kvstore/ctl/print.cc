#include "kvstore/ctl/print.h"

#include <algorithm>
#include <cstdio>

#include "base/bytes.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

base::Result<Format> ParseFormat(const std::string& name) {
  if (name == "simple") return Format::kSimple;
  if (name == "table") return Format::kTable;
  if (name == "json") return Format::kJson;
  if (name == "fields") return Format::kFields;
  if (name == "protobuf") {
    return base::Err(base::Unimplemented("output format protobuf is not supported yet by keelson"));
  }
  return base::Err(base::InvalidArgument("unsupported output format: " + name));
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

void JsonHeader(base::JsonWriter& w, const etcdserverpb::ResponseHeader& h, std::string_view name) {
  w.Key(name).BeginObject();
  if (h.cluster_id() != 0) w.Key("cluster_id").Uint(h.cluster_id());
  if (h.member_id() != 0) w.Key("member_id").Uint(h.member_id());
  if (h.revision() != 0) w.Key("revision").Int(h.revision());
  if (h.raft_term() != 0) w.Key("raft_term").Uint(h.raft_term());
  w.EndObject();
}

void JsonKv(base::JsonWriter& w, const mvccpb::KeyValue& kv) {
  w.BeginObject();
  if (!kv.key().empty()) w.Key("key").String(base::Base64Encode(kv.key()));
  if (kv.create_revision() != 0) w.Key("create_revision").Int(kv.create_revision());
  if (kv.mod_revision() != 0) w.Key("mod_revision").Int(kv.mod_revision());
  if (kv.version() != 0) w.Key("version").Int(kv.version());
  if (!kv.value().empty()) w.Key("value").String(base::Base64Encode(kv.value()));
  if (kv.lease() != 0) w.Key("lease").Int(kv.lease());
  w.EndObject();
}

std::string FieldsHeader(const etcdserverpb::ResponseHeader& h) {
  std::string out = "\"ClusterID\" : " + std::to_string(h.cluster_id()) + "\n";
  out += "\"MemberID\" : " + std::to_string(h.member_id()) + "\n";
  if (h.revision() != 0) out += "\"Revision\" : " + std::to_string(h.revision()) + "\n";
  return out + "\"RaftTerm\" : " + std::to_string(h.raft_term()) + "\n";
}

std::string FieldsKv(const mvccpb::KeyValue& kv) {
  return "\"Key\" : " + base::GoQuote(kv.key()) + "\n\"CreateRevision\" : " + std::to_string(kv.create_revision()) +
         "\n\"ModRevision\" : " + std::to_string(kv.mod_revision()) +
         "\n\"Version\" : " + std::to_string(kv.version()) + "\n\"Value\" : " + base::GoQuote(kv.value()) +
         "\n\"Lease\" : " + std::to_string(kv.lease()) + "\n";
}

}  // namespace kvstore::ctl
