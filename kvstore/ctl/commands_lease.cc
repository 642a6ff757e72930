// Leases, and what is built on them: locks and elections.
#include <cstdio>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "base/sync.h"
#include "kvstore/ctl/commands.h"
#include "kvstore/transcode/json.h"
#include "proto/etcd/election.pb.h"
#include "proto/etcd/lock.pb.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

namespace {

// The Go client's lease answers put the header's fields beside their own.
base::JsonWriter WithHeader(const pb::ResponseHeader& h) {
  base::JsonWriter w;
  w.BeginObject();
  if (h.cluster_id() != 0) w.Key("cluster_id").Uint(h.cluster_id());
  if (h.member_id() != 0) w.Key("member_id").Uint(h.member_id());
  if (h.revision() != 0) w.Key("revision").Int(h.revision());
  if (h.raft_term() != 0) w.Key("raft_term").Uint(h.raft_term());
  return w;
}
void PrintJson(base::JsonWriter& w) {
  w.EndObject();
  Out(w.Take() + "\n");
  std::fflush(stdout);
}

std::string IdField(const Run& run, int64_t id) {
  return FieldLine("ID", run.flags.hex ? Hex16(id) : std::to_string(id));
}

base::Result<int64_t> LeaseArg(const std::string& arg) {
  auto id = ParseInt(arg, 16);
  if (id) return *id;
  return base::Err(
      base::InvalidArgument("bad lease ID arg (" + std::string(id.error().message()) + "), expecting ID in Hex"));
}

// A call that asks and one that answers in the formats of leases.
template <class Response, class Request>
Task<base::Result<Response>> Ask(Run& run, std::string method, Request r) {
  CO_TRY_ASSIGN(auto c, co_await Connect(run));
  co_return co_await c->template Call<Response>(run.ctx, "/etcdserverpb.Lease/" + method, std::move(r));
}

bool HasFormat(const Run& run) { return run.format != Format::kTable && run.format != Format::kProtobuf; }
int NoFormat(const Run& run) {
  return Fail(kExitBadFeature,
              std::string(run.format == Format::kTable ? "table" : "protobuf") + " not supported as output format");
}

}  // namespace

Task<int> LeaseGrant(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "lease grant command needs TTL argument");
  auto ttl = ParseInt(run.args[0]);
  if (!ttl) co_return Fail(kExitBadArgs, "bad TTL (" + std::string(ttl.error().message()) + ")");
  if (!HasFormat(run)) co_return NoFormat(run);
  pb::LeaseGrantRequest r;
  r.set_ttl(*ttl);
  auto out = co_await Ask<pb::LeaseGrantResponse>(run, "LeaseGrant", r);
  if (!out) co_return Fail(kExitError, "failed to grant lease (" + ErrorText(out.error()) + ")");
  if (run.format == Format::kJson) {
    base::JsonWriter w = WithHeader(out->header());
    w.Key("ID").Int(out->id()).Key("TTL").Int(out->ttl()).Key("Error").String(out->error());
    PrintJson(w);
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header(), run.flags.hex) + IdField(run, out->id()) +
        FieldLine("TTL", std::to_string(out->ttl())));
  } else {
    Out("lease " + Hex16(out->id()) + " granted with TTL(" + std::to_string(out->ttl()) + "s)\n");
  }
  co_return 0;
}

Task<int> LeaseRevoke(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "lease revoke command needs 1 argument");
  auto id = LeaseArg(run.args[0]);
  if (!id) co_return Fail(kExitBadArgs, id.error().message());
  pb::LeaseRevokeRequest r;
  r.set_id(*id);
  auto out = co_await Ask<pb::LeaseRevokeResponse>(run, "LeaseRevoke", r);
  if (!out) co_return Fail(kExitError, "failed to revoke lease (" + ErrorText(out.error()) + ")");
  int code = 0;
  if (PrintGeneric(run, *out, code)) co_return code;
  Out(run.format == Format::kFields ? FieldsHeader(out->header(), run.flags.hex)
                                    : "lease " + Hex16(*id) + " revoked\n");
  co_return 0;
}

Task<int> LeaseTimeToLive(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "lease timetolive command needs lease ID as argument");
  auto id = LeaseArg(run.args[0]);
  if (!id) co_return Fail(kExitBadArgs, id.error().message());
  if (!HasFormat(run)) co_return NoFormat(run);
  pb::LeaseTimeToLiveRequest r;
  r.set_id(*id);
  r.set_keys(run.flags.keys);
  auto out = co_await Ask<pb::LeaseTimeToLiveResponse>(run, "LeaseTimeToLive", r);
  if (!out) co_return Fail(out.error(), kExitBadConnection);
  if (run.format == Format::kJson) {
    base::JsonWriter w = WithHeader(out->header());
    w.Key("id").Int(out->id()).Key("ttl").Int(out->ttl()).Key("granted-ttl").Int(out->grantedttl()).Key("keys");
    if (out->keys().empty()) {
      w.Null();
    } else {
      w.BeginArray();
      for (const auto& k : out->keys()) w.String(base::Base64Encode(k));
      w.EndArray();
    }
    PrintJson(w);
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header(), run.flags.hex) + IdField(run, out->id()) +
        FieldLine("TTL", std::to_string(out->ttl())) + FieldLine("GrantedTTL", std::to_string(out->grantedttl())));
    for (const auto& k : out->keys()) Out(FieldLine("Key", base::GoQuote(k)));
  } else if (out->grantedttl() == 0 && out->ttl() == -1) {
    Out("lease " + Hex16(out->id()) + " already expired\n");
  } else {
    std::string text = "lease " + Hex16(out->id()) + " granted with TTL(" + std::to_string(out->grantedttl()) +
                       "s), remaining(" + std::to_string(out->ttl()) + "s)";
    if (run.flags.keys) {
      std::string keys;
      for (const auto& k : out->keys()) keys += (keys.empty() ? "" : " ") + k;
      text += ", attached keys([" + keys + "])";
    }
    Out(text + "\n");
  }
  co_return 0;
}

Task<int> LeaseList(Run& run) {
  if (!HasFormat(run)) co_return NoFormat(run);
  auto out = co_await Ask<pb::LeaseLeasesResponse>(run, "LeaseLeases", pb::LeaseLeasesRequest());
  if (!out) co_return Fail(out.error(), kExitBadConnection);
  if (run.format == Format::kJson) {
    base::JsonWriter w = WithHeader(out->header());
    w.Key("leases").BeginArray();
    for (const auto& l : out->leases()) w.BeginObject().Key("id").Int(l.id()).EndObject();
    w.EndArray();
    PrintJson(w);
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header(), run.flags.hex));
    for (const auto& l : out->leases()) Out(IdField(run, l.id()));
  } else {
    Out("found " + std::to_string(out->leases_size()) + " leases\n");
    for (const auto& l : out->leases()) Out(Hex16(l.id()) + "\n");
  }
  co_return 0;
}

namespace {

// A stream on which one lease is renewed.
class Renewal {
 public:
  static Task<base::Result<std::unique_ptr<Renewal>>> Open(Connection& c, base::Context ctx, int64_t lease) {
    CO_TRY_ASSIGN(auto stream, co_await c.Stream(ctx, "/etcdserverpb.Lease/LeaseKeepAlive"));
    co_return std::unique_ptr<Renewal>(new Renewal(std::move(stream), lease));
  }
  Task<base::Result<pb::LeaseKeepAliveResponse>> Once(base::Context ctx) {
    pb::LeaseKeepAliveRequest r;
    r.set_id(lease_);
    CO_TRY(co_await stream_->Write(ctx, base::Share(r.SerializeAsString())));
    CO_TRY_ASSIGN(auto bytes, co_await stream_->Read(ctx));
    pb::LeaseKeepAliveResponse out;
    if (!bytes || !out.ParseFromString(*bytes)) co_return base::Err(base::Unavailable("the stream ended"));
    co_return out;
  }

 private:
  Renewal(std::unique_ptr<base::net::GrpcClientStream> s, int64_t lease) : stream_(std::move(s)), lease_(lease) {}
  std::unique_ptr<base::net::GrpcClientStream> stream_;
  int64_t lease_;
};

void PrintKeepAlive(const Run& run, const pb::LeaseKeepAliveResponse& r) {
  if (run.format == Format::kJson) {
    base::JsonWriter w = WithHeader(r.header());
    w.Key("ID").Int(r.id()).Key("TTL").Int(r.ttl());
    PrintJson(w);
  } else if (run.format == Format::kFields) {
    Out(FieldsHeader(r.header(), run.flags.hex) + IdField(run, r.id()) + FieldLine("TTL", std::to_string(r.ttl())));
  } else {
    Out("lease " + Hex16(r.id()) + " keepalived with TTL(" + std::to_string(r.ttl()) + ")\n");
  }
  std::fflush(stdout);
}

}  // namespace

Task<int> LeaseKeepAlive(Run& run) {
  if (run.args.size() != 1) co_return Fail(kExitBadArgs, "lease keep-alive command needs lease ID as argument");
  auto id = LeaseArg(run.args[0]);
  if (!id) co_return Fail(kExitBadArgs, id.error().message());
  if (!HasFormat(run)) co_return NoFormat(run);
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  auto renewal = co_await Renewal::Open(**c, run.ctx, *id);
  if (!renewal) co_return Fail(renewal.error(), kExitBadConnection);
  for (;;) {
    auto out = co_await (*renewal)->Once(run.ctx);
    if (!out) co_return run.ctx.done() ? 0 : Fail(out.error(), kExitBadConnection);
    if (out->ttl() <= 0) {
      if (run.flags.once) co_return Fail(kExitBadConnection, "etcdserver: requested lease not found");
      if (run.format == Format::kSimple) Out("lease " + Hex16(*id) + " expired or revoked.\n");
      co_return 0;
    }
    PrintKeepAlive(run, *out);
    if (run.flags.once) co_return 0;
    // As the Go client: three renewals within a time to live.
    if (!(co_await base::Sleep(run.loop, run.ctx, std::chrono::seconds(out->ttl()) / 3)).ok()) co_return 0;
  }
}

namespace {

// A lease of one's own, renewed until the session ends.
class Session {
 public:
  Session(Run& run, Connection& c) : run_(run), c_(c), tasks_(run.loop, base::Context()) {}
  Task<base::Status> Start(int64_t ttl) {
    pb::LeaseGrantRequest r;
    r.set_ttl(ttl);
    CO_TRY_ASSIGN(auto granted,
                  co_await c_.Call<pb::LeaseGrantResponse>(run_.ctx, "/etcdserverpb.Lease/LeaseGrant", r));
    lease_ = granted.id();
    CO_TRY_ASSIGN(renewal_, co_await Renewal::Open(c_, tasks_.context(), lease_));
    tasks_.Spawn(Renew());
    co_return base::Ok();
  }
  int64_t lease() const { return lease_; }
  // Until a signal comes or the lease is lost; false then.
  Task<bool> Held() {
    base::Event never(run_.loop);
    base::Context both = run_.ctx.WithCancel();
    lost_ = [both]() mutable { both.Cancel(); };
    if (!dead_) (void)co_await never.Wait(both);
    lost_ = nullptr;
    co_return !dead_;
  }
  Task<void> End() {
    co_await tasks_.CancelAndJoin();
    pb::LeaseRevokeRequest r;
    r.set_id(lease_);
    (void)co_await c_.Call<pb::LeaseRevokeResponse>(base::Context(), "/etcdserverpb.Lease/LeaseRevoke", r);
  }

 private:
  Task<void> Renew() {
    base::Context ctx = tasks_.context();
    for (;;) {
      auto out = co_await renewal_->Once(ctx);
      if (ctx.done()) co_return;
      if (!out || out->ttl() <= 0) break;
      if (!(co_await base::Sleep(run_.loop, ctx, std::chrono::seconds(out->ttl()) / 3)).ok()) co_return;
    }
    dead_ = true;
    if (lost_) lost_();
  }
  Run& run_;
  Connection& c_;
  base::TaskScope tasks_;
  std::unique_ptr<Renewal> renewal_;
  int64_t lease_ = 0;
  bool dead_ = false;
  std::function<void()> lost_;
};

// Shows a key as `get` would.
Task<bool> ShowKey(Run& run, Connection& c, std::string key) {
  pb::RangeRequest r;
  r.set_key(key);
  auto out = co_await c.Call<pb::RangeResponse>(run.ctx, "/etcdserverpb.KV/Range", r);
  if (!out || out->kvs_size() == 0) co_return false;
  int code = 0;
  if (!PrintGeneric(run, *out, code)) PrintGet(run, *out);
  std::fflush(stdout);
  co_return true;
}

// A call that may wait as long as others hold what it wants: no time limit but the signal.
template <class Response, class Request>
Task<base::Result<Response>> Patiently(Connection& c, base::Context ctx, std::string method, Request r) {
  CO_TRY_ASSIGN(auto stream, co_await c.Stream(ctx, method));
  CO_TRY(co_await stream->Write(ctx, base::Share(r.SerializeAsString())));
  CO_TRY(co_await stream->CloseWrite(ctx));
  CO_TRY_ASSIGN(auto bytes, co_await stream->Read(ctx));
  Response out;
  if (!bytes || !out.ParseFromString(*bytes)) co_return base::Err(base::Internal("unreadable answer"));
  co_return std::move(out);
}

Task<int> HoldLock(Run& run, Connection& c, Session& session) {
  v3lockpb::LockRequest r;
  r.set_name(run.args[0]);
  r.set_lease(session.lease());
  auto lock = co_await Patiently<v3lockpb::LockResponse>(c, run.ctx, "/v3lockpb.Lock/Lock", r);
  if (!lock) co_return Fail(lock.error());
  std::vector<std::string> program(run.args.begin() + 1, run.args.end());
  program.insert(program.end(), run.program.begin(), run.program.end());
  if (!program.empty()) {
    auto pool = base::NewThreadPool("program", 1);
    std::vector<std::string> environment = {"ETCD_LOCK_KEY=" + lock->key(),
                                            "ETCD_LOCK_REV=" + std::to_string(lock->header().revision())};
    auto code = co_await base::RunBlocking(*pool, run.loop, [&] { return RunProgram(program, environment); });
    if (!code) co_return Fail(kExitError, code.error().message());
    co_return *code == 0 ? 0 : Fail(*code, "exit status " + std::to_string(*code));
  }
  if (!co_await ShowKey(run, c, lock->key())) co_return Fail(kExitError, "lock lost on init");
  co_return co_await session.Held() ? 0 : Fail(kExitError, "session expired");
}

}  // namespace

Task<int> Lock(Run& run) {
  if (run.args.empty()) {
    co_return Fail(kExitBadArgs, "lock takes a lock name argument and an optional command to execute");
  }
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  Session session(run, **c);
  if (base::Status s = co_await session.Start(run.flags.ttl); !s.ok()) co_return Fail(s);
  int code = co_await HoldLock(run, **c, session);
  co_await session.End();
  co_return code;
}

namespace {

Task<int> Observe(Run& run, Connection& c) {
  v3electionpb::LeaderRequest r;
  r.set_name(run.args[0]);
  auto stream = co_await c.Stream(run.ctx, "/v3electionpb.Election/Observe");
  if (!stream) co_return Fail(stream.error());
  base::Status sent = co_await (*stream)->Write(run.ctx, base::Share(r.SerializeAsString()));
  if (sent.ok()) sent = co_await (*stream)->CloseWrite(run.ctx);
  while (sent.ok()) {
    auto bytes = co_await (*stream)->Read(run.ctx);
    v3electionpb::LeaderResponse leader;
    if (!bytes || !*bytes || !leader.ParseFromString(**bytes)) break;
    pb::RangeResponse as_get;
    *as_get.mutable_header() = leader.header();
    *as_get.add_kvs() = leader.kv();
    int code = 0;
    if (!PrintGeneric(run, as_get, code)) PrintGet(run, as_get);
    std::fflush(stdout);
  }
  co_return run.ctx.done() ? 0 : Fail(kExitError, "elect: observer lost");
}

Task<int> Campaign(Run& run, Connection& c, Session& session) {
  v3electionpb::CampaignRequest r;
  r.set_name(run.args[0]);
  r.set_value(run.args[1]);
  r.set_lease(session.lease());
  auto won = co_await Patiently<v3electionpb::CampaignResponse>(c, run.ctx, "/v3electionpb.Election/Campaign", r);
  if (!won) co_return run.ctx.done() ? 0 : Fail(won.error());
  (void)co_await ShowKey(run, c, won->leader().key());
  if (!co_await session.Held()) co_return Fail(kExitError, "elect: session expired");
  v3electionpb::ResignRequest resign;
  *resign.mutable_leader() = won->leader();
  (void)co_await c.Call<v3electionpb::ResignResponse>(base::Context(), "/v3electionpb.Election/Resign", resign);
  co_return 0;
}

}  // namespace

Task<int> Elect(Run& run) {
  size_t n = run.args.size();
  if (n != 1 && n != 2) {
    co_return Fail(kExitBadArgs, "elect takes one election name argument and an optional proposal argument");
  }
  if (n == 1 && !run.flags.listen) co_return Fail(kExitBadArgs, "no proposal argument but -l not set");
  if (n == 2 && run.flags.listen) co_return Fail(kExitBadArgs, "proposal given but -l is set");
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  if (n == 1) co_return co_await Observe(run, **c);
  constexpr int64_t kElectionTtl = 60;
  Session session(run, **c);
  if (base::Status s = co_await session.Start(kElectionTtl); !s.ok()) co_return Fail(s);
  int code = co_await Campaign(run, **c, session);
  co_await session.End();
  co_return code;
}

}  // namespace kvstore::ctl
