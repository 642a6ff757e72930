#include <cstdio>

#include "base/go_duration.h"
#include "base/json_writer.h"
#include "base/strings.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/transcode/json.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

namespace {

std::string YesNo(bool b) { return b ? "true" : "false"; }

base::Result<uint64_t> MemberArg(const std::vector<std::string>& args) {
  if (args.size() != 1) return base::Err(base::InvalidArgument("member ID is not provided"));
  auto id = ParseUint(args[0], 16);
  if (id) return *id;
  return base::Err(
      base::InvalidArgument("bad member ID arg (" + std::string(id.error().message()) + "), expecting ID in Hex"));
}

// The endpoints of the flags, or with --cluster those that the members advertise.
Task<base::Result<std::vector<std::string>>> Endpoints(Run& run) {
  if (!run.flags.cluster) co_return run.Endpoints();
  CO_TRY_ASSIGN(auto c, co_await Connect(run));
  CO_TRY_ASSIGN(auto list, co_await c->Call<pb::MemberListResponse>(run.ctx, "/etcdserverpb.Cluster/MemberList",
                                                                    pb::MemberListRequest()));
  std::vector<std::string> out;
  for (const pb::Member& m : list.members()) out.insert(out.end(), m.clienturls().begin(), m.clienturls().end());
  co_return out;
}

std::string Took(base::Duration d) { return base::FormatGoDuration(d); }

}  // namespace

Task<base::Result<std::unique_ptr<Connection>>> ConnectTo(const Run& run, std::string endpoint) {
  std::vector<std::string> one = {std::move(endpoint)};
  co_return co_await Connection::Open(run.loop, run.ctx, run.flags.client, std::move(one));
}

Task<base::Status> DefragmentOne(const Run& run, std::string endpoint) {
  CO_TRY_ASSIGN(auto c, co_await ConnectTo(run, std::move(endpoint)));
  co_return StatusOf(co_await c->Call<pb::DefragmentResponse>(run.ctx, "/etcdserverpb.Maintenance/Defragment",
                                                              pb::DefragmentRequest()));
}

Task<int> MemberList(Run& run) {
  pb::MemberListRequest r;
  if (run.flags.consistency != "l" && run.flags.consistency != "s") {
    co_return Fail(kExitBadFeature, "unknown consistency flag " + base::GoQuote(run.flags.consistency));
  }
  r.set_linearizable(run.flags.consistency != "s");
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  auto out = co_await (*c)->Call<pb::MemberListResponse>(run.ctx, "/etcdserverpb.Cluster/MemberList", r);
  if (!out) co_return Fail(out.error());
  std::vector<std::vector<std::string>> rows;
  for (const pb::Member& m : out->members()) {
    rows.push_back({Hex(m.id()), m.name().empty() ? "unstarted" : "started", m.name(),
                    base::Join({m.peerurls().begin(), m.peerurls().end()}, ","),
                    base::Join({m.clienturls().begin(), m.clienturls().end()}, ","), YesNo(m.islearner())});
  }
  int code = 0;
  if (run.format == Format::kTable) {
    Out(Table({"ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"}, rows));
  } else if (PrintGeneric(run, *out, code)) {
    co_return code;
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header(), run.flags.hex));
    for (const pb::Member& m : out->members()) {
      Out(FieldLine("ID", run.flags.hex ? Hex(m.id()) : std::to_string(m.id())) +
          FieldLine("Name", base::GoQuote(m.name())));
      for (const auto& u : m.peerurls()) Out(FieldLine("PeerURL", base::GoQuote(u)));
      for (const auto& u : m.clienturls()) Out(FieldLine("ClientURL", base::GoQuote(u)));
      Out(FieldLine("IsLearner", YesNo(m.islearner())) + "\n");
    }
  } else {
    for (const auto& row : rows) Out(Row(row));
  }
  co_return 0;
}

Task<int> MemberAdd(Run& run) {
  if (run.args.empty()) co_return Fail(kExitBadArgs, "member name not provided");
  if (run.args.size() > 1) {
    std::string text = "too many arguments";
    for (const std::string& a : run.args) {
      if (a.starts_with("http")) text += ", did you mean --peer-urls=" + a;
    }
    co_return Fail(kExitBadArgs, text);
  }
  if (run.flags.peer_urls.empty()) co_return Fail(kExitBadArgs, "member peer urls not provided");
  pb::MemberAddRequest r;
  for (const std::string& u : run.flags.peer_urls) r.add_peerurls(u);
  r.set_islearner(run.flags.learner);
  co_return co_await Simple<pb::MemberAddResponse>(
      run, "/etcdserverpb.Cluster/MemberAdd", r, [&](const pb::MemberAddResponse& out) {
        Out("Member " + Hex(out.member().id()) + " added" + (out.member().islearner() ? " as learner " : " ") +
            "to cluster " + Hex(out.header().cluster_id()) + "\n");
        std::string cluster, urls;
        for (const pb::Member& m : out.members()) {
          for (const std::string& u : m.peerurls()) {
            cluster += (cluster.empty() ? "" : ",") + (m.id() == out.member().id() ? run.args[0] : m.name()) + "=" + u;
          }
        }
        for (const std::string& u : run.flags.peer_urls) urls += (urls.empty() ? "" : ",") + u;
        Out("\nETCD_NAME=" + base::GoQuote(run.args[0]) + "\nETCD_INITIAL_CLUSTER=" + base::GoQuote(cluster) +
            "\nETCD_INITIAL_ADVERTISE_PEER_URLS=" + base::GoQuote(urls) +
            "\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n");
      });
}

Task<int> MemberRemove(Run& run) {
  auto id = MemberArg(run.args);
  if (!id) co_return Fail(kExitBadArgs, id.error().message());
  pb::MemberRemoveRequest r;
  r.set_id(*id);
  co_return co_await Simple<pb::MemberRemoveResponse>(
      run, "/etcdserverpb.Cluster/MemberRemove", r, [&](const pb::MemberRemoveResponse& out) {
        Out("Member " + Hex(*id) + " removed from cluster " + Hex(out.header().cluster_id()) + "\n");
      });
}

Task<int> MemberUpdate(Run& run) {
  auto id = MemberArg(run.args);
  if (!id) co_return Fail(kExitBadArgs, id.error().message());
  if (run.flags.peer_urls.empty()) co_return Fail(kExitBadArgs, "member peer urls not provided");
  pb::MemberUpdateRequest r;
  r.set_id(*id);
  for (const std::string& u : run.flags.peer_urls) r.add_peerurls(u);
  co_return co_await Simple<pb::MemberUpdateResponse>(
      run, "/etcdserverpb.Cluster/MemberUpdate", r, [&](const pb::MemberUpdateResponse& out) {
        Out("Member " + Hex(*id) + " updated in cluster " + Hex(out.header().cluster_id()) + "\n");
      });
}

Task<int> MemberPromote(Run& run) {
  auto id = MemberArg(run.args);
  if (!id) co_return Fail(kExitBadArgs, id.error().message());
  pb::MemberPromoteRequest r;
  r.set_id(*id);
  co_return co_await Simple<pb::MemberPromoteResponse>(
      run, "/etcdserverpb.Cluster/MemberPromote", r, [&](const pb::MemberPromoteResponse& out) {
        Out("Member " + Hex(*id) + " promoted in cluster " + Hex(out.header().cluster_id()) + "\n");
      });
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

std::vector<std::string> StatusRow(const std::string& endpoint, const pb::StatusResponse& s) {
  auto size = static_cast<uint64_t>(s.dbsize()), used = static_cast<uint64_t>(s.dbsizeinuse());
  uint64_t free = size == 0 ? 0 : 100 - used * 100 / size;
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
          base::Join({s.errors().begin(), s.errors().end()}, ", "),
          s.downgradeinfo().targetversion(),
          YesNo(s.downgradeinfo().enabled())};
}

}  // namespace

namespace {

// Prints what each endpoint answered: rows, or one JSON list.
class PerEndpoint {
 public:
  explicit PerEndpoint(Run& run) : run_(run) { json_.BeginArray(); }
  base::JsonWriter& json() { return json_; }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  int Print(const std::vector<std::string>& head) {
    json_.EndArray();
    if (run_.format == Format::kJson) Out(json_.Take() + "\n");
    if (run_.format == Format::kTable) Out(Table(head, rows_));
    if (run_.format == Format::kSimple) {
      for (const auto& row : rows_) Out(Row(row));
    }
    return run_.format == Format::kProtobuf ? Fail(kExitBadFeature, "protobuf not supported as output format") : 0;
  }

 private:
  Run& run_;
  base::JsonWriter json_;
  std::vector<std::vector<std::string>> rows_;
};

std::string Json(const google::protobuf::Message& m) { return transcode::ToJson(m, transcode::JsonStyle::kGo); }

}  // namespace

Task<int> EndpointStatus(Run& run) {
  auto endpoints = co_await Endpoints(run);
  if (!endpoints) co_return Fail(endpoints.error());
  PerEndpoint all(run);
  int code = 0;
  for (const std::string& e : *endpoints) {
    auto c = co_await ConnectTo(run, e);
    if (!c) co_return FailToConnect(run.flags.client, c.error());
    auto s = co_await (*c)->Call<pb::StatusResponse>(run.ctx, "/etcdserverpb.Maintenance/Status", pb::StatusRequest());
    if (!s) {
      std::fprintf(stderr, "Failed to get the status of endpoint %s (%s)\n", e.c_str(), ErrorText(s.error()).c_str());
      code = kExitError;
      continue;
    }
    all.Add(StatusRow(e, *s));
    all.json().BeginObject().Key("Endpoint").String(e).Key("Status").Raw(Json(*s)).EndObject();
    if (run.format == Format::kFields) Out(StatusFields(e, *s));
  }
  int printed = all.Print({"ENDPOINT", "ID", "VERSION", "STORAGE VERSION", "DB SIZE", "IN USE", "PERCENTAGE NOT IN USE",
                           "QUOTA", "IS LEADER", "IS LEARNER", "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX",
                           "ERRORS", "DOWNGRADE TARGET VERSION", "DOWNGRADE ENABLED"});
  co_return code != 0 ? code : printed;
}

Task<int> EndpointHealth(Run& run) {
  auto endpoints = co_await Endpoints(run);
  if (!endpoints) co_return Fail(endpoints.error());
  PerEndpoint all(run);
  bool healthy = true;
  for (const std::string& e : *endpoints) {
    base::MonoTime from = run.loop.Now();
    auto c = co_await ConnectTo(run, e);
    base::Status s = StatusOf(c);
    if (c) {
      pb::RangeRequest r;
      r.set_key("health");
      s = StatusOf(co_await (*c)->Call<pb::RangeResponse>(run.ctx, "/etcdserverpb.KV/Range", r));
      // Who may not read the key has shown that the member commits.
      if (s.code() == base::Code::kPermissionDenied) s = base::Ok();
      if (s.ok()) {
        auto alarms =
            co_await (*c)->Call<pb::AlarmResponse>(run.ctx, "/etcdserverpb.Maintenance/Alarm", pb::AlarmRequest());
        std::string active;
        if (alarms) {
          for (const auto& a : alarms->alarms()) active += (active.empty() ? "" : ", ") + pb::AlarmType_Name(a.alarm());
        }
        if (!active.empty()) s = base::Unavailable("etcdserver: Active Alarm(s): " + active);
      }
    }
    std::string took = Took(run.loop.Now() - from), why = s.ok() ? "" : ErrorText(s);
    healthy &= s.ok();
    if (why.starts_with("etcdserver: Active")) why.erase(0, 12);
    all.Add({e, YesNo(s.ok()), took, why});
    all.json().BeginObject().Key("endpoint").String(e).Key("health").Bool(s.ok()).Key("took").String(took);
    if (!s.ok()) all.json().Key("error").String(why);
    all.json().EndObject();
    if (run.format == Format::kFields) {
      Out(FieldLine("Endpoint", base::GoQuote(e)) + FieldLine("Health", YesNo(s.ok())) + FieldLine("Took", took) +
          FieldLine("Error", why) + "\n");
    } else if (run.format == Format::kSimple && s.ok()) {
      Out(e + " is healthy: successfully committed proposal: took = " + took + "\n");
    } else if (run.format == Format::kSimple) {
      std::fprintf(stderr, "%s is unhealthy: failed to commit proposal: %s\n", e.c_str(), why.c_str());
    }
  }
  int printed = run.format == Format::kSimple ? 0 : all.Print({"ENDPOINT", "HEALTH", "TOOK", "ERROR"});
  co_return healthy ? printed : Fail(kExitError, "unhealthy cluster");
}

Task<int> EndpointHashKv(Run& run) {
  auto endpoints = co_await Endpoints(run);
  if (!endpoints) co_return Fail(endpoints.error());
  PerEndpoint all(run);
  base::Status failed;
  for (const std::string& e : *endpoints) {
    auto c = co_await ConnectTo(run, e);
    if (!c) co_return FailToConnect(run.flags.client, c.error());
    pb::HashKVRequest r;
    r.set_revision(run.flags.rev);
    auto h = co_await (*c)->Call<pb::HashKVResponse>(run.ctx, "/etcdserverpb.Maintenance/HashKV", r);
    if (!h) {
      std::fprintf(stderr, "Failed to get the hash of endpoint %s (%s)\n", e.c_str(), ErrorText(h.error()).c_str());
      failed = h.error();
      continue;
    }
    all.Add({e, std::to_string(h->hash()), std::to_string(h->hash_revision())});
    all.json().BeginObject().Key("Endpoint").String(e).Key("HashKV").Raw(Json(*h)).EndObject();
    if (run.format == Format::kFields) {
      Out(FieldsHeader(h->header(), run.flags.hex) + FieldLine("Endpoint", base::GoQuote(e)) +
          FieldLine("Hash", std::to_string(h->hash())) + FieldLine("HashRevision", std::to_string(h->hash_revision())) +
          "\n");
    }
  }
  int printed = all.Print({"ENDPOINT", "HASH", "HASH REVISION"});
  co_return failed.ok() ? printed : Fail(failed);
}

namespace {

Task<int> Alarms(Run& run, pb::AlarmRequest r) {
  co_return co_await Simple<pb::AlarmResponse>(
      run, "/etcdserverpb.Maintenance/Alarm", r,
      [](const pb::AlarmResponse& out) {
        for (const auto& a : out.alarms()) {
          Out("memberID:" + std::to_string(a.memberid()) + " alarm:" + pb::AlarmType_Name(a.alarm()) + " \n");
        }
      },
      [&](const pb::AlarmResponse& out) {
        for (const auto& a : out.alarms()) {
          Out(FieldLine("MemberID", run.flags.hex ? Hex(a.memberid()) : std::to_string(a.memberid())) +
              FieldLine("AlarmType", pb::AlarmType_Name(a.alarm())) + "\n");
        }
      });
}

Task<int> Downgrade(Run& run, pb::DowngradeRequest r, const char* what) {
  co_return co_await Simple<pb::DowngradeResponse>(
      run, "/etcdserverpb.Maintenance/Downgrade", r, [what](const pb::DowngradeResponse& out) {
        Out("Downgrade " + std::string(what) + " success, cluster version " + out.version() + "\n");
      });
}

int TargetVersion(const Run& run, pb::DowngradeRequest& r) {
  if (run.args.empty()) return Fail(kExitBadArgs, "TARGET_VERSION not provided");
  if (run.args.size() > 1) return Fail(kExitBadArgs, "too many arguments");
  if (run.args[0].empty()) return Fail(kExitBadArgs, "target version not provided");
  r.set_version(run.args[0]);
  return 0;
}

}  // namespace

Task<int> AlarmList(Run& run) {
  if (!run.args.empty()) co_return Fail(kExitBadArgs, "alarm list command accepts no arguments");
  co_return co_await Alarms(run, pb::AlarmRequest());
}

Task<int> AlarmDisarm(Run& run) {
  if (!run.args.empty()) co_return Fail(kExitBadArgs, "alarm disarm command accepts no arguments");
  pb::AlarmRequest r;
  r.set_action(pb::AlarmRequest::DEACTIVATE);
  co_return co_await Alarms(run, r);
}

Task<int> DowngradeValidate(Run& run) {
  pb::DowngradeRequest r;
  if (int code = TargetVersion(run, r)) co_return code;
  r.set_action(pb::DowngradeRequest::VALIDATE);
  co_return co_await Downgrade(run, r, "validate");
}

Task<int> DowngradeEnable(Run& run) {
  pb::DowngradeRequest r;
  if (int code = TargetVersion(run, r)) co_return code;
  r.set_action(pb::DowngradeRequest::ENABLE);
  co_return co_await Downgrade(run, r, "enable");
}

Task<int> DowngradeCancel(Run& run) {
  pb::DowngradeRequest r;
  r.set_action(pb::DowngradeRequest::CANCEL);
  co_return co_await Downgrade(run, r, "cancel");
}

Task<int> MoveLeader(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "move-leader command needs 1 argument");
  auto target = ParseUint(run.args[0], 16);
  if (!target) co_return Fail(kExitBadArgs, target.error().message());
  // Only the leader can hand over.
  for (const std::string& e : run.Endpoints()) {
    auto c = co_await ConnectTo(run, e);
    if (!c) co_return FailToConnect(run.flags.client, c.error());
    auto s = co_await (*c)->Call<pb::StatusResponse>(run.ctx, "/etcdserverpb.Maintenance/Status", pb::StatusRequest());
    if (!s) co_return Fail(s.error());
    if (s->leader() != s->header().member_id()) continue;
    pb::MoveLeaderRequest r;
    r.set_targetid(*target);
    auto out = co_await (*c)->Call<pb::MoveLeaderResponse>(run.ctx, "/etcdserverpb.Maintenance/MoveLeader", r);
    if (!out) co_return Fail(out.error());
    Out("Leadership transferred from " + Hex(s->leader()) + " to " + Hex(*target) + "\n");
    co_return 0;
  }
  std::string all;
  for (const std::string& e : run.Endpoints()) all += (all.empty() ? "" : " ") + e;
  co_return Fail(kExitBadArgs, "no leader endpoint given at [" + all + "]");
}

Task<int> Defrag(Run& run) {
  if (!run.flags.data_dir.empty()) {
    base::MonoTime from = run.loop.Now();
    base::Status s = DefragmentDirectory(run.flags.data_dir);
    if (!s.ok()) {
      co_return Fail(kExitError,
                     "Failed to defragment directory[" + run.flags.data_dir + "]. (" + std::string(s.message()) + ")");
    }
    Out("finished defragmenting directory[" + run.flags.data_dir + "]. took " + Took(run.loop.Now() - from) + "\n");
    co_return 0;
  }
  auto endpoints = co_await Endpoints(run);
  if (!endpoints) co_return Fail(endpoints.error());
  int code = 0;
  for (const std::string& e : *endpoints) {
    base::MonoTime from = run.loop.Now();
    base::Status s = co_await DefragmentOne(run, e);
    std::string took = Took(run.loop.Now() - from);
    if (s.ok()) {
      Out("Finished defragmenting etcd member[" + e + "]. took " + took + "\n");
    } else {
      std::fprintf(stderr, "Failed to defragment etcd member[%s]. took %s. (%s)\n", e.c_str(), took.c_str(),
                   ErrorText(s).c_str());
      code = kExitError;
    }
  }
  co_return code;
}

}  // namespace kvstore::ctl
