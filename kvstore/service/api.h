// The etcd v3 API over one replica: gRPC methods, and the small HTTP surface beside them (/health, /livez, /readyz,
// /version, /metrics, the JSON gateway under /v3/). Request bytes are checked against who asks, proposed or read, and
// answered; nothing is kept here but the streams.
//
// Owned by the program; runs on the replica's strand. What is not served yet answers UNIMPLEMENTED with words that say
// so.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "base/net/grpc.h"
#include "kvstore/replica/export.h"
#include "kvstore/replica/replica.h"
#include "kvstore/service/access.h"
#include "kvstore/service/features.h"
#include "kvstore/service/tokens.h"

namespace etcdserverpb {
class RangeRequest;
class ResponseHeader;
class WatchRequest;
}  // namespace etcdserverpb

namespace kvstore::service {

struct ApiOptions {
  uint64_t max_request_bytes = 1572864;
  uint32_t max_txn_ops = 128;
  int64_t quota_backend_bytes = 0;  // 0 = 2 GiB, < 0 = none
  base::Duration watch_progress_interval = std::chrono::minutes(10);
  TokenPolicy tokens;
  int bcrypt_cost = 10;
  bool gateway = true;  // POST /v3/...
  Features features;
  AccessControl access;
  bool client_cert_auth = false;                                 // a verified certificate's common name is a user
  bool pprof = false;                                            // /debug/pprof/
  base::Duration slow_request = std::chrono::milliseconds(300);  // one that took longer is told of
};

inline constexpr int64_t kDefaultQuotaBytes = 2LL << 30;

// What a listener is for. Whoever may ask how a member is may not therefore read its keys.
enum class Surface : uint8_t { kAll, kGrpc, kHttp, kHealth };
std::string_view TrafficName(Surface surface);  // as the log has it: "grpc+http"

class Api {
 public:
  // What takes long enough to run beside the strand: checking passwords; reading for long answers, hashes, snapshots.
  struct Pools {
    base::BlockingPool& passwords;
    base::BlockingPool& readers;
  };
  Api(replica::Replica& replica, Pools pools, base::MetricsRegistry& metrics, ApiOptions options);
  ~Api();
  // For every request of a listener of that kind.
  base::Task<void> Handle(base::net::Exchange& exchange, Surface surface = Surface::kAll);
  // Whether the owner of `token` ("" = nobody) may change the cluster.
  base::Status MayAdminister(const std::string& token);

 private:
  using Bytes = base::Result<std::string>;
  using Call = base::net::GrpcCall;
  using Handler = base::Task<Bytes> (Api::*)(const Call&, std::string);

  void RegisterKv();
  void RegisterLease();
  void RegisterMaintenance();
  void RegisterAuth();
  void RegisterConcurrency();
  void RegisterCluster();
  void RegisterHealth();
  void Unary(const std::string& service, const std::string& method, Handler handler);
  void Stream(const std::string& service, const std::string& method,
              base::Task<base::Status> (Api::*handler)(base::net::GrpcServerStream&));
  void TellSlow(const Call& call, const std::string& method, base::Duration took, size_t in, size_t out) const;
  base::Task<void> EndWithoutLeader(base::Context here, base::Context stream);

  base::Task<Bytes> Range(const Call& call, std::string request);
  base::Task<Bytes> RangeOfMany(const Call& call, const etcdserverpb::RangeRequest& request);
  base::Task<Bytes> Put(const Call& call, std::string request);
  base::Task<Bytes> DeleteRange(const Call& call, std::string request);
  base::Task<Bytes> Txn(const Call& call, std::string request);
  base::Task<Bytes> Compact(const Call& call, std::string request);
  base::Task<base::Status> RangeStream(base::net::GrpcServerStream& stream);
  base::Task<Bytes> LeaseGrant(const Call& call, std::string request);
  base::Task<Bytes> LeaseRevoke(const Call& call, std::string request);
  base::Task<Bytes> LeaseTimeToLive(const Call& call, std::string request);
  base::Task<Bytes> LeaseLeases(const Call& call, std::string request);
  base::Task<base::Status> LeaseKeepAlive(base::net::GrpcServerStream& stream);
  base::Task<Bytes> Status(const Call& call, std::string request);
  base::Task<Bytes> HashKv(const Call& call, std::string request);
  base::Task<Bytes> Hash(const Call& call, std::string request);
  base::Task<base::Result<replica::DatabaseImage>> TakeImage(const Call& call);
  base::Task<Bytes> Alarm(const Call& call, std::string request);
  base::Task<Bytes> Defragment(const Call& call, std::string request);
  base::Task<Bytes> MoveLeader(const Call& call, std::string request);
  base::Task<base::Status> Snapshot(base::net::GrpcServerStream& stream);
  base::Task<Bytes> MemberList(const Call& call, std::string request);
  base::Task<Bytes> MemberAdd(const Call& call, std::string request);
  base::Task<Bytes> MemberRemove(const Call& call, std::string request);
  base::Task<Bytes> MemberUpdate(const Call& call, std::string request);
  base::Task<Bytes> MemberPromote(const Call& call, std::string request);

  template <uint32_t field>
  base::Task<Bytes> AuthChange(const Call& call, std::string request);
  base::Task<Bytes> AuthStatus(const Call& call, std::string request);
  base::Task<Bytes> Authenticate(const Call& call, std::string request);
  base::Task<Bytes> UserAdd(const Call& call, std::string request);
  base::Task<Bytes> UserChangePassword(const Call& call, std::string request);
  base::Task<Bytes> UserGet(const Call& call, std::string request);
  base::Task<Bytes> UserList(const Call& call, std::string request);
  base::Task<Bytes> RoleGet(const Call& call, std::string request);
  base::Task<Bytes> RoleList(const Call& call, std::string request);
  base::Task<base::Result<uint64_t>> CheckPassword(std::string name, std::string password);
  base::Task<base::Result<std::string>> HashPassword(std::string password);

  base::Task<Bytes> Lock(const Call& call, std::string request);
  base::Task<Bytes> Unlock(const Call& call, std::string request);
  base::Task<Bytes> Campaign(const Call& call, std::string request);
  base::Task<Bytes> Proclaim(const Call& call, std::string request);
  base::Task<Bytes> Leader(const Call& call, std::string request);
  base::Task<Bytes> Resign(const Call& call, std::string request);
  base::Task<base::Status> Observe(base::net::GrpcServerStream& stream);
  class KeyWatch;
  template <class Response, class Request>
  base::Task<base::Result<Response>> Typed(const Call& call, Handler handler, Request request);
  base::Task<base::Result<int64_t>> SessionLease(const Call& call, int64_t lease);
  base::Task<base::Status> WaitForEarlier(const Call& call, std::string prefix, int64_t revision);
  base::Task<base::Status> DropKey(const Call& call, std::string key, int64_t created);
  base::Task<base::Result<etcdserverpb::ResponseHeader>> ProclaimAs(const Call& call, std::string key, int64_t created,
                                                                    int64_t lease, std::string value);

  base::Task<Bytes> Downgrade(const Call& call, std::string request);
  base::Task<Bytes> HealthCheck(const Call& call, std::string request);
  base::Task<base::Status> HealthWatch(base::net::GrpcServerStream& stream);
  base::Task<base::Status> Watch(base::net::GrpcServerStream& stream);

  struct WatchSession;
  base::Task<void> WatchWriter(WatchSession& session);
  base::Task<void> WatchIdle(WatchSession& session);
  void WatchCommand(WatchSession& session, const etcdserverpb::WatchRequest& request);
  void RefuseWatch(WatchSession& session, std::string_view reason);
  base::Task<base::Status> SendItem(WatchSession& session, mvcc::WatchItem item);

  std::string Header(int64_t revision) const;
  // Header and body of an answer, or its error.
  Bytes Respond(const mvcc::Answer& answer) const;
  static std::string TokenOf(const Call& call);
  base::Result<mvcc::Identity> Owner(std::string token);
  // Who calls: by token, or by certificate. Nobody while authentication is off.
  base::Result<mvcc::Identity> Caller(const Call& call);
  base::Status MustAdminister(const Call& call);
  base::Status MustBeSomeone(const Call& call);
  base::Status StillAllowed(const mvcc::Identity& who) const;
  // In the caller's name; `field` is the request's number in InternalRaftRequest.
  base::Task<Bytes> ProposeBytes(const Call& call, uint32_t field, std::string_view request);
  base::Task<Bytes> ProposeAs(base::Context ctx, mvcc::Identity who, uint32_t field, std::string_view request);
  base::Task<base::Status> Barrier(base::Context ctx);
  bool HasRoom(size_t cost) const;
  // Says it in an alarm, and returns the error.
  base::Task<base::Status> NoSpace(base::Context ctx);

  base::Task<void> HandleHttp(base::net::Exchange& exchange);
  // /metrics, /health, /livez, /readyz: answers and says so where the path is one of these; `headers` as below.
  base::Task<bool> HandleHealth(base::net::Exchange& exchange, base::net::Headers& headers);
  base::Task<bool> Admit(base::net::Exchange& exchange);
  base::Task<void> HandleGateway(base::net::Exchange& exchange);
  // Answers and says so where the path is one of its own; `headers` are what every answer begins with.
  base::Task<bool> HandlePprof(base::net::Exchange& exchange, base::net::Headers& headers);
  std::pair<int, std::string> HealthText(std::string_view query);
  std::optional<std::pair<int, std::string>> Checks(std::string_view type, std::string_view one,
                                                    std::string_view query);
  std::string MetricsText();
  std::string Variables() const;  // /debug/vars

  replica::Replica& replica_;
  base::BlockingPool& pool_;
  base::BlockingPool& reader_pool_;
  base::MetricsRegistry& registry_;
  ApiOptions options_;
  base::net::GrpcService grpc_;
  std::map<std::string, base::net::GrpcUnaryHandler> unary_;  // the same again, for the gateway
  std::map<std::string, base::net::GrpcStreamHandler> streams_;
  bool raising_alarm_ = false;
  uint64_t watch_streams_ = 0;
  struct Metrics;
  std::unique_ptr<Metrics> metrics_;
};

}  // namespace kvstore::service
