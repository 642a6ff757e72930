#include <cmath>
#include <cstdio>

#include "kvstore/ctl/commands.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

namespace {

std::string Join(const google::protobuf::RepeatedPtrField<std::string>& list, std::string_view by = ",") {
  std::string out;
  for (const std::string& s : list) out += (out.empty() ? "" : std::string(by)) + s;
  return out;
}
std::string YesNo(bool b) { return b ? "true" : "false"; }
std::string Row(const std::vector<std::string>& cells) {
  std::string out;
  for (size_t i = 0; i < cells.size(); ++i) out += (i ? ", " : "") + cells[i];
  return out + "\n";
}

}  // namespace

Task<int> MemberList(Run& run) {
  auto c = Connection::Open(run.loop, run.flags.client, run.flags.client.endpoints);
  if (!c) co_return Fail(c.error());
  pb::MemberListRequest r;
  r.set_linearizable(true);
  auto out = co_await (*c)->Call<pb::MemberListResponse>(run.ctx, "/etcdserverpb.Cluster/MemberList", r);
  if (!out) co_return Fail(out.error());
  std::vector<std::vector<std::string>> rows;
  for (const pb::Member& m : out->members()) {
    rows.push_back({Hex(m.id()), m.name().empty() ? "unstarted" : "started", m.name(), Join(m.peerurls()),
                    Join(m.clienturls()), YesNo(m.islearner())});
  }
  if (run.format == Format::kTable) {
    Out(Table({"ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"}, rows));
  } else if (run.format == Format::kJson) {
    base::JsonWriter w;
    w.BeginObject();
    JsonHeader(w, out->header());
    w.Key("members").BeginArray();
    for (const pb::Member& m : out->members()) {
      w.BeginObject().Key("ID").Uint(m.id());
      if (!m.name().empty()) w.Key("name").String(m.name());
      w.Key("peerURLs").BeginArray();
      for (const auto& u : m.peerurls()) w.String(u);
      w.EndArray();
      if (m.clienturls_size() > 0) {
        w.Key("clientURLs").BeginArray();
        for (const auto& u : m.clienturls()) w.String(u);
        w.EndArray();
      }
      if (m.islearner()) w.Key("isLearner").Bool(true);
      w.EndObject();
    }
    w.EndArray().EndObject();
    Out(w.Take() + "\n");
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header()));
    for (const pb::Member& m : out->members()) {
      Out("\"ID\" : " + std::to_string(m.id()) + "\n\"Name\" : " + base::GoQuote(m.name()) + "\n");
      for (const auto& u : m.peerurls()) Out("\"PeerURL\" : " + base::GoQuote(u) + "\n");
      for (const auto& u : m.clienturls()) Out("\"ClientURL\" : " + base::GoQuote(u) + "\n");
      Out("\"IsLearner\" : " + YesNo(m.islearner()) + "\n\n");
    }
  } else {
    for (const auto& row : rows) Out(Row(row));
  }
  co_return 0;
}

namespace {

std::string StatusFields(const std::string& endpoint, const pb::StatusResponse& s) {
  auto line = [](std::string_view name, const std::string& value) {
    return "\"" + std::string(name) + "\" : " + value + "\n";
  };
  std::string errors = "[";
  for (const auto& e : s.errors()) errors += (errors.size() > 1 ? " " : "") + e;
  return line("ClusterID", std::to_string(s.header().cluster_id())) +
         line("MemberID", std::to_string(s.header().member_id())) +
         line("Revision", std::to_string(s.header().revision())) +
         line("RaftTerm", std::to_string(s.header().raft_term())) + line("Version", base::GoQuote(s.version())) +
         line("StorageVersion", base::GoQuote(s.storageversion())) + line("DBSize", std::to_string(s.dbsize())) +
         line("DBSizeInUse", std::to_string(s.dbsizeinuse())) + line("DBSizeQuota", std::to_string(s.dbsizequota())) +
         line("Leader", std::to_string(s.leader())) + line("IsLearner", YesNo(s.islearner())) +
         line("RaftIndex", std::to_string(s.raftindex())) + line("RaftTerm", std::to_string(s.raftterm())) +
         line("RaftAppliedIndex", std::to_string(s.raftappliedindex())) + line("Errors", errors + "]") +
         line("Endpoint", base::GoQuote(endpoint)) +
         line("DowngradeTargetVersion", base::GoQuote(s.downgradeinfo().targetversion())) +
         line("DowngradeEnabled", YesNo(s.downgradeinfo().enabled())) + "\n";
}

void StatusJson(base::JsonWriter& w, const std::string& endpoint, const pb::StatusResponse& s) {
  w.BeginObject().Key("Endpoint").String(endpoint).Key("Status").BeginObject();
  JsonHeader(w, s.header());
  w.Key("version").String(s.version()).Key("dbSize").Int(s.dbsize()).Key("leader").Uint(s.leader());
  w.Key("raftIndex").Uint(s.raftindex()).Key("raftTerm").Uint(s.raftterm());
  w.Key("raftAppliedIndex").Uint(s.raftappliedindex());
  if (s.errors_size() > 0) {
    w.Key("errors").BeginArray();
    for (const auto& e : s.errors()) w.String(e);
    w.EndArray();
  }
  w.Key("dbSizeInUse").Int(s.dbsizeinuse());
  if (s.islearner()) w.Key("isLearner").Bool(true);
  w.Key("storageVersion").String(s.storageversion()).Key("dbSizeQuota").Int(s.dbsizequota());
  w.Key("downgradeInfo").BeginObject().EndObject().EndObject().EndObject();
}

std::vector<std::string> StatusRow(const std::string& endpoint, const pb::StatusResponse& s) {
  auto size = static_cast<uint64_t>(s.dbsize()), used = static_cast<uint64_t>(s.dbsizeinuse());
  int free = size == 0
                 ? 0
                 : static_cast<int>(std::lround(100.0 * (1 - static_cast<double>(used) / static_cast<double>(size))));
  return {endpoint,
          Hex(s.header().member_id()),
          s.version(),
          s.storageversion(),
          HumanBytes(size),
          HumanBytes(used),
          std::to_string(free) + "%",
          HumanBytes(static_cast<uint64_t>(s.dbsizequota())),
          YesNo(s.leader() == s.header().member_id()),
          YesNo(s.islearner()),
          std::to_string(s.raftterm()),
          std::to_string(s.raftindex()),
          std::to_string(s.raftappliedindex()),
          Join(s.errors(), ", "),
          s.downgradeinfo().targetversion(),
          YesNo(s.downgradeinfo().enabled())};
}

}  // namespace

Task<int> EndpointStatus(Run& run) {
  std::vector<std::vector<std::string>> rows;
  base::JsonWriter w;
  w.BeginArray();
  int code = 0;
  for (const std::string& e : run.flags.client.endpoints) {
    auto c = Connection::Open(run.loop, run.flags.client, {e});
    if (!c) co_return Fail(c.error());
    auto s = co_await (*c)->Call<pb::StatusResponse>(run.ctx, "/etcdserverpb.Maintenance/Status", pb::StatusRequest());
    if (!s) {
      std::fprintf(stderr, "Failed to get the status of endpoint %s (%s)\n", e.c_str(),
                   std::string(s.error().message()).c_str());
      code = kExitError;
      continue;
    }
    rows.push_back(StatusRow(e, *s));
    StatusJson(w, e, *s);
    if (run.format == Format::kFields) Out(StatusFields(e, *s));
  }
  w.EndArray();
  if (run.format == Format::kJson) Out(w.Take() + "\n");
  if (run.format == Format::kSimple) {
    for (const auto& row : rows) Out(Row(row));
  }
  if (run.format == Format::kTable) {
    Out(Table({"ENDPOINT", "ID", "VERSION", "STORAGE VERSION", "DB SIZE", "IN USE", "PERCENTAGE NOT IN USE", "QUOTA",
               "IS LEADER", "IS LEARNER", "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX", "ERRORS",
               "DOWNGRADE TARGET VERSION", "DOWNGRADE ENABLED"},
              rows));
  }
  co_return code;
}

Task<int> EndpointHealth(Run& run) {
  int code = 0;
  base::JsonWriter w;
  w.BeginArray();
  for (const std::string& e : run.flags.client.endpoints) {
    auto c = Connection::Open(run.loop, run.flags.client, {e});
    if (!c) co_return Fail(c.error());
    base::MonoTime from = run.loop.Now();
    pb::RangeRequest r;
    r.set_key("health");
    auto out = co_await (*c)->Call<pb::RangeResponse>(run.ctx, "/etcdserverpb.KV/Range", r);
    double ms = std::chrono::duration<double, std::milli>(run.loop.Now() - from).count();
    char took[32];
    std::snprintf(took, sizeof took, "%.6fms", ms);
    w.BeginObject().Key("endpoint").String(e).Key("health").Bool(out.has_value()).Key("took").String(took);
    if (!out) w.Key("error").String(out.error().message());
    w.EndObject();
    if (run.format == Format::kJson) continue;
    if (out) {
      Out(e + " is healthy: successfully committed proposal: took = " + took + "\n");
    } else {
      code = kExitError;
      std::fprintf(stderr, "%s is unhealthy: failed to commit proposal: %s\n", e.c_str(),
                   std::string(out.error().message()).c_str());
    }
  }
  w.EndArray();
  if (run.format == Format::kJson) Out(w.Take() + "\n");
  co_return code == 0 ? 0 : Fail(code, "unhealthy cluster");
}

Task<int> EndpointHashKv(Run& run) {
  for (const std::string& e : run.flags.client.endpoints) {
    auto c = Connection::Open(run.loop, run.flags.client, {e});
    if (!c) co_return Fail(c.error());
    pb::HashKVRequest r;
    r.set_revision(run.flags.rev);
    auto h = co_await (*c)->Call<pb::HashKVResponse>(run.ctx, "/etcdserverpb.Maintenance/HashKV", r);
    if (!h) co_return Fail(h.error());
    if (run.format == Format::kJson) {
      base::JsonWriter w;
      w.BeginArray().BeginObject().Key("Endpoint").String(e).Key("HashKV").BeginObject();
      JsonHeader(w, h->header());
      w.Key("hash").Uint(h->hash()).Key("compact_revision").Int(h->compact_revision());
      w.Key("hash_revision").Int(h->hash_revision()).EndObject().EndObject().EndArray();
      Out(w.Take() + "\n");
    } else {
      Out(e + ", " + std::to_string(h->hash()) + ", " + std::to_string(h->hash_revision()) + "\n");
    }
  }
  co_return 0;
}

Task<int> AlarmList(Run& run) {
  auto c = Connection::Open(run.loop, run.flags.client, run.flags.client.endpoints);
  if (!c) co_return Fail(c.error());
  auto out = co_await (*c)->Call<pb::AlarmResponse>(run.ctx, "/etcdserverpb.Maintenance/Alarm", pb::AlarmRequest());
  if (!out) co_return Fail(out.error());
  for (const auto& a : out->alarms()) {
    Out("memberID:" + std::to_string(a.memberid()) + " alarm:" + pb::AlarmType_Name(a.alarm()) + " \n");
  }
  co_return 0;
}

}  // namespace kvstore::ctl
