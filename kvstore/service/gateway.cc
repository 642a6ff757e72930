// The JSON gateway: POST /v3/... is the same call as its gRPC method, with JSON bodies; streams answer one
// {"result":...} a line.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "base/json_writer.h"
#include "kvstore/service/api_impl.h"
#include "kvstore/transcode/json.h"
#include "proto/etcd/election.pb.h"
#include "proto/etcd/lock.pb.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Err;
using base::Ok;
using base::Result;
using base::Task;
using google::protobuf::Message;

namespace {

struct Route {
  std::string_view path, method;  // "/v3/kv/range", "etcdserverpb.KV.Range"
};
constexpr Route kRoutes[] = {
    {"/v3/kv/range", "etcdserverpb.KV.Range"},
    {"/v3/kv/put", "etcdserverpb.KV.Put"},
    {"/v3/kv/deleterange", "etcdserverpb.KV.DeleteRange"},
    {"/v3/kv/txn", "etcdserverpb.KV.Txn"},
    {"/v3/kv/compaction", "etcdserverpb.KV.Compact"},
    {"/v3/watch", "etcdserverpb.Watch.Watch"},
    {"/v3/lease/grant", "etcdserverpb.Lease.LeaseGrant"},
    {"/v3/lease/revoke", "etcdserverpb.Lease.LeaseRevoke"},
    {"/v3/kv/lease/revoke", "etcdserverpb.Lease.LeaseRevoke"},
    {"/v3/lease/keepalive", "etcdserverpb.Lease.LeaseKeepAlive"},
    {"/v3/lease/timetolive", "etcdserverpb.Lease.LeaseTimeToLive"},
    {"/v3/kv/lease/timetolive", "etcdserverpb.Lease.LeaseTimeToLive"},
    {"/v3/lease/leases", "etcdserverpb.Lease.LeaseLeases"},
    {"/v3/kv/lease/leases", "etcdserverpb.Lease.LeaseLeases"},
    {"/v3/cluster/member/add", "etcdserverpb.Cluster.MemberAdd"},
    {"/v3/cluster/member/remove", "etcdserverpb.Cluster.MemberRemove"},
    {"/v3/cluster/member/update", "etcdserverpb.Cluster.MemberUpdate"},
    {"/v3/cluster/member/list", "etcdserverpb.Cluster.MemberList"},
    {"/v3/cluster/member/promote", "etcdserverpb.Cluster.MemberPromote"},
    {"/v3/maintenance/alarm", "etcdserverpb.Maintenance.Alarm"},
    {"/v3/maintenance/status", "etcdserverpb.Maintenance.Status"},
    {"/v3/maintenance/defragment", "etcdserverpb.Maintenance.Defragment"},
    {"/v3/maintenance/hash", "etcdserverpb.Maintenance.Hash"},
    {"/v3/maintenance/hashkv", "etcdserverpb.Maintenance.HashKV"},
    {"/v3/maintenance/snapshot", "etcdserverpb.Maintenance.Snapshot"},
    {"/v3/maintenance/transfer-leadership", "etcdserverpb.Maintenance.MoveLeader"},
    {"/v3/maintenance/downgrade", "etcdserverpb.Maintenance.Downgrade"},
    {"/v3/auth/enable", "etcdserverpb.Auth.AuthEnable"},
    {"/v3/auth/disable", "etcdserverpb.Auth.AuthDisable"},
    {"/v3/auth/status", "etcdserverpb.Auth.AuthStatus"},
    {"/v3/auth/authenticate", "etcdserverpb.Auth.Authenticate"},
    {"/v3/auth/user/add", "etcdserverpb.Auth.UserAdd"},
    {"/v3/auth/user/get", "etcdserverpb.Auth.UserGet"},
    {"/v3/auth/user/list", "etcdserverpb.Auth.UserList"},
    {"/v3/auth/user/delete", "etcdserverpb.Auth.UserDelete"},
    {"/v3/auth/user/changepw", "etcdserverpb.Auth.UserChangePassword"},
    {"/v3/auth/user/grant", "etcdserverpb.Auth.UserGrantRole"},
    {"/v3/auth/user/revoke", "etcdserverpb.Auth.UserRevokeRole"},
    {"/v3/auth/role/add", "etcdserverpb.Auth.RoleAdd"},
    {"/v3/auth/role/get", "etcdserverpb.Auth.RoleGet"},
    {"/v3/auth/role/list", "etcdserverpb.Auth.RoleList"},
    {"/v3/auth/role/delete", "etcdserverpb.Auth.RoleDelete"},
    {"/v3/auth/role/grant", "etcdserverpb.Auth.RoleGrantPermission"},
    {"/v3/auth/role/revoke", "etcdserverpb.Auth.RoleRevokePermission"},
    {"/v3/lock/lock", "v3lockpb.Lock.Lock"},
    {"/v3/lock/unlock", "v3lockpb.Lock.Unlock"},
    {"/v3/election/campaign", "v3electionpb.Election.Campaign"},
    {"/v3/election/proclaim", "v3electionpb.Election.Proclaim"},
    {"/v3/election/leader", "v3electionpb.Election.Leader"},
    {"/v3/election/observe", "v3electionpb.Election.Observe"},
    {"/v3/election/resign", "v3electionpb.Election.Resign"},
};

const google::protobuf::MethodDescriptor* FindRoute(std::string_view path) {
  // Named, so that their descriptors are linked.
  (void)v3lockpb::LockRequest::descriptor();
  (void)v3electionpb::CampaignRequest::descriptor();
  for (const Route& r : kRoutes) {
    if (r.path == path) {
      return google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(std::string(r.method));
    }
  }
  return nullptr;
}

std::unique_ptr<Message> NewMessage(const google::protobuf::Descriptor* type) {
  return std::unique_ptr<Message>(google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
}

std::string ErrorJson(const base::Status& s) {
  base::JsonWriter w;
  w.BeginObject().Key("code").Int(static_cast<int64_t>(s.code())).Key("message").String(s.message()).EndObject();
  return w.Take();
}

Task<void> RespondJson(base::net::Exchange& e, const AccessControl& access, int status, std::string body) {
  base::net::Headers headers = access.AnswerHeaders(e.headers());
  headers.Set("content-type", "application/json");
  (void)co_await e.Respond(status, std::move(headers), std::move(body));
}

// JSON values of the body in, lines out.
class JsonStream final : public base::net::GrpcServerStream {
 public:
  JsonStream(base::net::Exchange& e, const AccessControl& access, const base::net::GrpcCall& call,
             const google::protobuf::MethodDescriptor& method, std::string body)
      : exchange_(e), access_(access), call_(call), method_(method), body_(std::move(body)), rest_(body_) {}

  const base::net::GrpcCall& call() const override { return call_; }
  Task<Result<std::optional<std::string>>> Read() override {
    if (rest_.find_first_not_of(" \t\r\n") == std::string_view::npos) co_return std::nullopt;
    auto value = transcode::ParseJson(rest_, &rest_);
    if (!value) co_return Err(value.error());
    auto request = NewMessage(method_.input_type());
    if (base::Status s = transcode::FromJson(*value, *request); !s.ok()) co_return Err(s);
    co_return request->SerializeAsString();
  }
  Task<base::Status> Write(base::SharedBytes message) override {
    CO_TRY(co_await Begin(200));
    auto response = NewMessage(method_.output_type());
    if (!response->ParseFromString(*message)) co_return base::Internal("unreadable answer");
    std::string line = "{\"result\":";
    transcode::AppendJson(line, *response, transcode::JsonStyle::kGateway);
    co_return co_await exchange_.Write(base::Share(line + "}\n"));
  }
  size_t unsent_bytes() const override { return exchange_.unsent_bytes(); }
  void AddTrailer(std::string, std::string) override {}

  Task<void> End(base::Status s) {
    if (!started_ && !s.ok()) {
      co_await RespondJson(exchange_, access_, base::HttpStatusOf(s.code()), ErrorJson(s));
      co_return;
    }
    (void)co_await Begin(200);
    if (!s.ok()) (void)co_await exchange_.Write(base::Share("{\"error\":" + ErrorJson(s) + "}\n"));
    (void)co_await exchange_.Finish();
  }

 private:
  Task<base::Status> Begin(int status) {
    if (std::exchange(started_, true)) co_return Ok();
    base::net::Headers headers = access_.AnswerHeaders(exchange_.headers());
    headers.Set("content-type", "application/json");
    co_return co_await exchange_.StartResponse(status, std::move(headers));
  }
  base::net::Exchange& exchange_;
  const AccessControl& access_;
  const base::net::GrpcCall& call_;
  const google::protobuf::MethodDescriptor& method_;
  std::string body_;
  std::string_view rest_;
  bool started_ = false;
};

}  // namespace

Task<void> Api::HandleGateway(base::net::Exchange& e) {
  const auto* method = FindRoute(e.path());
  if (method == nullptr)
    co_return co_await RespondJson(e, options_.access, 404, ErrorJson(base::NotFound("Not Found")));
  if (e.method() != "POST") {
    co_return co_await RespondJson(e, options_.access, 501, ErrorJson(base::Unimplemented("Method Not Allowed")));
  }
  auto body = co_await e.ReadAll(e.context(), 2 * options_.max_request_bytes + (512 << 10));
  if (!body)
    co_return co_await RespondJson(e, options_.access, base::HttpStatusOf(body.error().code()),
                                   ErrorJson(body.error()));
  // A token is the user's; the certificate of the connection is not taken for him here, as in the original.
  base::net::Peer peer = e.peer();
  peer.verified_chain = false;
  Call call{e.headers(), peer, e.context(), e.executor()};
  std::string name = "/" + method->service()->full_name() + "/" + method->name();
  if (auto stream = streams_.find(name); stream != streams_.end()) {
    JsonStream json(e, options_.access, call, *method, std::move(*body));
    base::Status s = co_await stream->second(json);
    co_return co_await json.End(s);
  }
  auto request = NewMessage(method->input_type());
  base::Status bad;
  if (body->find_first_not_of(" \t\r\n") != std::string::npos) {
    auto value = transcode::ParseJson(*body);
    bad = value ? transcode::FromJson(*value, *request) : value.error();
  }
  auto unary = unary_.find(name);
  if (bad.ok() && unary == unary_.end()) bad = base::Unimplemented("unknown method " + name);
  Bytes out = bad.ok() ? co_await unary->second(call, request->SerializeAsString()) : Bytes(Err(bad));
  if (!out)
    co_return co_await RespondJson(e, options_.access, base::HttpStatusOf(out.error().code()), ErrorJson(out.error()));
  auto response = NewMessage(method->output_type());
  if (!response->ParseFromString(*out)) out = "{}";
  co_await RespondJson(e, options_.access, 200, transcode::ToJson(*response, transcode::JsonStyle::kGateway));
}

}  // namespace kvstore::service
