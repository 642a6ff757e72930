// The Cluster service: who is in the cluster and how that is changed. And the hand-over of leadership.
#include <algorithm>
#include <chrono>

#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/member_id.h"
#include "kvstore/service/api_impl.h"
#include "kvstore/service/config.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::service {

using base::Err;
using base::Ok;
using base::Task;
namespace pb = etcdserverpb;

namespace {

void Fill(pb::Member* to, const mvcc::Member& m) {
  to->set_id(m.id);
  to->set_name(m.name);
  for (const std::string& u : m.peer_urls) to->add_peerurls(u);
  for (const std::string& u : m.client_urls) to->add_clienturls(u);
  to->set_islearner(m.is_learner);
}

template <class Response>
void FillAll(Response& to, const std::vector<mvcc::Member>& members) {
  for (const mvcc::Member& m : members) Fill(to.add_members(), m);
}

template <class Repeated>
base::Result<std::vector<std::string>> PeerUrls(const Repeated& given) {
  std::vector<std::string> urls(given.begin(), given.end());
  if (urls.empty()) return Err(mvcc::ErrMemberBadUrls());
  for (const std::string& u : urls) {
    if (!ParseListenUrl(u)) return Err(mvcc::ErrMemberBadUrls());
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

}  // namespace

void Api::RegisterCluster() {
  const std::string cluster = "etcdserverpb.Cluster";
  Unary(cluster, "MemberList", &Api::MemberList);
  Unary(cluster, "MemberAdd", &Api::MemberAdd);
  Unary(cluster, "MemberRemove", &Api::MemberRemove);
  Unary(cluster, "MemberUpdate", &Api::MemberUpdate);
  Unary(cluster, "MemberPromote", &Api::MemberPromote);
  Unary("etcdserverpb.Maintenance", "MoveLeader", &Api::MoveLeader);
}

Task<Api::Bytes> Api::MemberList(const Call& call, std::string request) {
  pb::MemberListRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  if (r.linearizable()) CO_TRY(co_await Barrier(call.ctx));
  CO_TRY(MustBeSomeone(call));
  pb::MemberListResponse out;
  out.mutable_header()->ParseFromString(Header(0));
  FillAll(out, replica_.Members());
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::MemberAdd(const Call& call, std::string request) {
  pb::MemberAddRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  mvcc::Member m{.is_learner = r.islearner()};
  CO_TRY_ASSIGN(m.peer_urls, PeerUrls(r.peerurls()));
  CO_TRY(MustAdminister(call));
  // The original's way: an id from the URLs and the second of the request.
  auto now = std::chrono::duration_cast<std::chrono::seconds>(call.executor.WallNow().time_since_epoch());
  m.id = mvcc::MemberId(m.peer_urls, std::to_string(now.count()));
  using raft::ConfChangeType;
  replica::MemberChange change{r.islearner() ? ConfChangeType::kAddLearnerNode : ConfChangeType::kAddNode, m.id,
                               mvcc::MemberToJson(m)};
  CO_TRY_ASSIGN(std::vector<mvcc::Member> members, co_await replica_.ChangeMembers(call.ctx, std::move(change)));
  pb::MemberAddResponse out;
  out.mutable_header()->ParseFromString(Header(0));
  Fill(out.mutable_member(), m);
  FillAll(out, members);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::MemberRemove(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  pb::MemberRemoveRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY_ASSIGN(std::vector<mvcc::Member> members,
                co_await replica_.ChangeMembers(call.ctx, {raft::ConfChangeType::kRemoveNode, r.id(), ""}));
  pb::MemberRemoveResponse out;
  out.mutable_header()->ParseFromString(Header(0));
  FillAll(out, members);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::MemberUpdate(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  pb::MemberUpdateRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  mvcc::Member m{.id = r.id()};
  CO_TRY_ASSIGN(m.peer_urls, PeerUrls(r.peerurls()));
  replica::MemberChange change{raft::ConfChangeType::kUpdateNode, m.id, mvcc::MemberToJson(m)};
  CO_TRY_ASSIGN(std::vector<mvcc::Member> members, co_await replica_.ChangeMembers(call.ctx, std::move(change)));
  pb::MemberUpdateResponse out;
  out.mutable_header()->ParseFromString(Header(0));
  FillAll(out, members);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::MemberPromote(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  pb::MemberPromoteRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY_ASSIGN(std::vector<mvcc::Member> members, co_await replica_.PromoteMember(call.ctx, r.id(), TokenOf(call)));
  pb::MemberPromoteResponse out;
  out.mutable_header()->ParseFromString(Header(0));
  FillAll(out, members);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::MoveLeader(const Call& call, std::string request) {
  CO_TRY(MustAdminister(call));
  pb::MoveLeaderRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(co_await replica_.MoveLeader(call.ctx, r.targetid()));
  pb::MoveLeaderResponse out;
  out.mutable_header()->ParseFromString(Header(0));
  co_return out.SerializeAsString();
}

}  // namespace kvstore::service
