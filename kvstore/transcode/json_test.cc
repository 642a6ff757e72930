#include "kvstore/transcode/json.h"

#include <gtest/gtest.h>

#include "proto/etcd/rpc.pb.h"

namespace kvstore::transcode {
namespace {

base::Status Read(std::string_view text, google::protobuf::Message& m) {
  auto v = ParseJson(text);
  return v ? FromJson(*v, m) : v.error();
}

TEST(Json, ReadsWhatTheGatewayTakes) {
  etcdserverpb::RangeRequest r;
  ASSERT_TRUE(Read(R"({"key":"YQ==","rangeEnd":"Yg","limit":"5","revision":7,"sort_order":"DESCEND","sort_target":2,
                       "keys_only":true,"unknown":{"a":[1,2]},"serializable":null})",
                   r)
                  .ok());
  EXPECT_EQ(r.key(), "a");
  EXPECT_EQ(r.range_end(), "b");
  EXPECT_EQ(r.limit(), 5);
  EXPECT_EQ(r.revision(), 7);
  EXPECT_EQ(r.sort_order(), etcdserverpb::RangeRequest::DESCEND);
  EXPECT_EQ(r.sort_target(), etcdserverpb::RangeRequest::CREATE);
  EXPECT_TRUE(r.keys_only());
}

TEST(Json, NamesThePlaceOfAnError) {
  etcdserverpb::PutRequest r;
  EXPECT_EQ(Read(R"({"key":"Zw==","value":"%%"})", r).message(),
            R"(proto: (line 1:23): invalid value for bytes field value: "%%")");
  EXPECT_EQ(Read("{\"lease\":\n\"x\"}", r).message(), R"(proto: (line 2:1): invalid value for int64 field lease: "x")");
  EXPECT_EQ(Read("nope", r).message(), "proto: syntax error (line 1:1): unexpected token nope");
  EXPECT_FALSE(Read("{\"key\":\"YQ==\"} x", r).ok());
  EXPECT_FALSE(Read(std::string(500, '['), r).ok());
  EXPECT_FALSE(Read("{\"key\":\"\\ud800\\u0041\"}", r).ok());
  EXPECT_FALSE(Read("{\"key\":\"", r).ok());
}

TEST(Json, WritesBothStyles) {
  etcdserverpb::TxnResponse t;
  t.set_succeeded(true);
  t.add_responses()->mutable_response_put()->mutable_header()->set_revision(19);
  EXPECT_EQ(ToJson(t, JsonStyle::kGateway),
            R"({"succeeded":true,"responses":[{"response_put":{"header":{"revision":"19"}}}]})");
  EXPECT_EQ(ToJson(t, JsonStyle::kGo),
            R"({"succeeded":true,"responses":[{"Response":{"response_put":{"header":{"revision":19}}}}]})");
  etcdserverpb::AuthRoleGetResponse role;
  role.add_perm()->set_permtype(authpb::Permission::READWRITE);
  EXPECT_EQ(ToJson(role, JsonStyle::kGateway), R"({"perm":[{"permType":"READWRITE"}]})");
  EXPECT_EQ(ToJson(role, JsonStyle::kGo), R"({"perm":[{"permType":2}]})");
}

}  // namespace
}  // namespace kvstore::transcode
