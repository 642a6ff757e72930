// grpc.health.v1, and the announcements of downgrades.
#include <charconv>

#include "kvstore/mvcc/errors.h"
#include "kvstore/service/api_impl.h"
#include "proto/etcd/membership.pb.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Err;
using base::Ok;
using base::Task;
namespace pb = etcdserverpb;

namespace {

constexpr uint32_t kDowngradeInfoSet = 1302;
constexpr base::Duration kHealthPeriod = std::chrono::seconds(1);

struct SemanticVersion {
  int major = 0, minor = 0;
  std::string Text() const { return std::to_string(major) + "." + std::to_string(minor); }
};

// "3.6" or "3.6.1"; what stands behind the minor number does not matter to a cluster.
std::optional<SemanticVersion> ParseVersion(std::string_view text) {
  SemanticVersion v;
  const char* end = text.data() + text.size();
  auto [dot, error] = std::from_chars(text.data(), end, v.major);
  if (error != std::errc() || dot == end || *dot != '.') return std::nullopt;
  auto [rest, error2] = std::from_chars(dot + 1, end, v.minor);
  if (error2 != std::errc()) return std::nullopt;
  int patch = 0;
  if (rest == end) return v;
  auto [last, error3] = std::from_chars(rest + 1, end, patch);
  return *rest == '.' && error3 == std::errc() && last == end ? std::optional(v) : std::nullopt;
}

enum class Serving : uint64_t { kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

std::string HealthBytes(Serving serving) {
  std::string out;
  wire::PutUint(out, 1, static_cast<uint64_t>(serving));
  return out;
}

// Only the server as a whole is known, by the empty name.
bool IsWholeServer(std::string_view request) {
  wire::Reader r(request);
  while (r.Next()) {
    if (r.field() == 1 && !r.bytes().empty()) return false;
  }
  return true;
}

}  // namespace

Task<Api::Bytes> Api::HealthCheck(const Call& call, std::string request) {
  if (!IsWholeServer(request)) co_return Err(base::NotFound("unknown service"));
  bool serving = replica_.failure().ok() && replica_.leader() != 0;
  co_return HealthBytes(serving ? Serving::kServing : Serving::kNotServing);
}

// Says how it is, and again whenever that changes.
Task<base::Status> Api::HealthWatch(base::net::GrpcServerStream& stream) {
  CO_TRY_ASSIGN(std::optional<std::string> request, co_await stream.Read());
  bool known = IsWholeServer(request.value_or(""));
  std::optional<Serving> told;
  for (;;) {
    bool serving = replica_.failure().ok() && replica_.leader() != 0;
    Serving now = !known ? Serving::kServiceUnknown : serving ? Serving::kServing : Serving::kNotServing;
    if (told != now) {
      told = now;
      CO_TRY(co_await stream.Write(base::Share(HealthBytes(now))));
    }
    CO_TRY(co_await base::Sleep(stream.call().executor, stream.call().ctx, kHealthPeriod));
  }
}

// A downgrade is allowed by one minor version and announced in the log; the members are replaced one by one afterwards.
Task<Api::Bytes> Api::Downgrade(const Call& call, std::string request) {
  pb::DowngradeRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(MustAdminister(call));
  CO_TRY(co_await Barrier(call.ctx));
  SemanticVersion cluster = ParseVersion(replica_.ClusterVersion()).value_or(*ParseVersion(replica::kClusterVersion));
  bool under_way = !replica_.applier().downgrade_target().empty();
  membershippb::DowngradeInfoSetRequest set;
  if (r.action() != pb::DowngradeRequest::CANCEL) {
    auto target = ParseVersion(r.version());
    if (!target) co_return Err(mvcc::ErrWrongDowngradeVersion());
    if (target->major != cluster.major || target->minor + 1 != cluster.minor) {
      co_return Err(mvcc::ErrInvalidDowngradeTarget());
    }
    if (under_way) co_return Err(mvcc::ErrDowngradeInProcess());
    set.set_enabled(true);
    set.set_ver(target->Text() + ".0");
  }
  bool changes =
      r.action() == pb::DowngradeRequest::ENABLE || (r.action() == pb::DowngradeRequest::CANCEL && under_way);
  if (changes) CO_TRY(co_await ProposeBytes(call, kDowngradeInfoSet, set.SerializeAsString()));
  pb::DowngradeResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  out.set_version(cluster.Text());
  co_return out.SerializeAsString();
}

}  // namespace kvstore::service
