#include "kvstore/replica/requests.h"

#include <gtest/gtest.h>

#include "kvstore/wal/codec.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::replica {
namespace {

TEST(Requests, AreWhatEtcdReads) {
  etcdserverpb::InternalRaftRequest r;
  ASSERT_TRUE(r.ParseFromString(WithHeader(LeaseRevokeRequest(77), 9, {.user = "root", .revision = 4})));
  EXPECT_EQ(r.header().id(), 9u);
  EXPECT_EQ(r.header().username(), "root");
  EXPECT_EQ(r.header().auth_revision(), 4u);
  EXPECT_EQ(r.lease_revoke().id(), 77);
  ASSERT_TRUE(r.ParseFromString(WithHeader("", 9, {})));
  EXPECT_EQ(r.header().username(), "");
}

TEST(Requests, AChangeTellsItsId) {
  raft::Entry e{.type = raft::EntryType::kConfChange};
  e.data = std::make_shared<const std::string>(wal::EncodeConfChangeV1(1234, raft::ConfChangeType::kAddNode, 5, "{}"));
  EXPECT_EQ(ChangeId(e), 1234u);
  e.type = raft::EntryType::kConfChangeV2;
  EXPECT_EQ(ChangeId(e), 0u);
}

TEST(Requests, LeaseQuestionsAndAnswers) {
  etcdserverpb::LeaseKeepAliveRequest renew;
  ASSERT_TRUE(renew.ParseFromString(LeaseKeepAliveQuestion(-5)));
  EXPECT_EQ(renew.id(), -5);
  etcdserverpb::LeaseKeepAliveResponse renewed;
  renewed.set_ttl(60);
  EXPECT_EQ(LeaseKeepAliveAnswer(renewed.SerializeAsString()), 60);
  etcdserverpb::LeaseTimeToLiveRequest times;
  // leasepb's messages wrap etcdserverpb's as field 1.
  std::string question = LeaseTimesQuestion(5, true);
  ASSERT_TRUE(times.ParseFromString(question.substr(2)));
  EXPECT_EQ(times.id(), 5);
  EXPECT_TRUE(times.keys());
  etcdserverpb::LeaseTimeToLiveResponse told;
  told.set_ttl(-1);
  told.set_grantedttl(30);
  told.add_keys("a");
  std::string inner = told.SerializeAsString();
  LeaseTimes answer = LeaseTimesAnswer(std::string("\x0a") + static_cast<char>(inner.size()) + inner);
  EXPECT_EQ(answer.ttl, -1);
  EXPECT_EQ(answer.granted, 30);
  EXPECT_EQ(answer.keys, (std::vector<std::string>{"a"}));
  EXPECT_EQ(LeaseTimesAnswer("\xff nonsense").keys.size(), 0u);
}

}  // namespace
}  // namespace kvstore::replica
