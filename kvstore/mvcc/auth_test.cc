#include "kvstore/mvcc/auth.h"

#include <gtest/gtest.h>

#include "kvstore/mvcc/applier.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/testing_store.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::mvcc {
namespace {

// Users and roles: who may do what, and what every change is answered.
class AuthTest : public testing::Test {
 protected:
  using Request = etcdserverpb::InternalRaftRequest;
  base::Status Run(Request r, Identity who = {}, uint64_t index = 1) {
    r.mutable_header()->set_username(who.user);
    r.mutable_header()->set_auth_revision(who.revision);
    auto a = applier.Apply(r, index);
    body = a ? a->body : "";
    return a ? a->error : a.error();
  }
  base::Status AddUser(const std::string& name, const std::string& role) {
    Request user, grant;
    user.mutable_auth_user_add()->set_name(name);
    user.mutable_auth_user_add()->set_hashedpassword(base::Base64Encode("hash"));
    if (base::Status s = Run(user); !s.ok()) return s;
    grant.mutable_auth_user_grant_role()->set_user(name);
    grant.mutable_auth_user_grant_role()->set_role(role);
    return Run(grant);
  }
  base::Status AddRole(const std::string& name) {
    Request r;
    r.mutable_auth_role_add()->set_name(name);
    return Run(r);
  }
  base::Status Grant(authpb::Permission::Type type, const std::string& key, const std::string& end) {
    Request r;
    auto* g = r.mutable_auth_role_grant_permission();
    g->set_name("r");
    g->mutable_perm()->set_permtype(type);
    g->mutable_perm()->set_key(key);
    g->mutable_perm()->set_range_end(end);
    return Run(r);
  }
  Identity As(const std::string& user) { return {user, applier.auth().revision()}; }
  static Request PutOf(const std::string& key) {
    Request r;
    r.mutable_put()->set_key(key);
    return r;
  }

  Fixture f;
  Applier applier{*f.store};
  std::string body;
};

TEST_F(AuthTest, GuardsKeysOnceItIsOn) {
  Request enable;
  enable.mutable_auth_enable();
  EXPECT_EQ(Run(enable), ErrRootUserNotExist());
  ASSERT_TRUE(AddRole("r").ok());
  EXPECT_EQ(AddRole("r"), ErrRoleExists());
  ASSERT_TRUE(AddUser("root", "r").ok());
  EXPECT_EQ(Run(enable), ErrRootRoleNotExist());
  Request root;
  root.mutable_auth_user_grant_role()->set_user("root");
  root.mutable_auth_user_grant_role()->set_role("root");
  ASSERT_TRUE(Run(root).ok());
  ASSERT_TRUE(AddUser("alice", "r").ok());
  EXPECT_EQ(AddUser("bob", "none"), ErrRoleNotFound());
  // Adjacent ranges count as one.
  ASSERT_TRUE(Grant(authpb::Permission::READ, "a", "c").ok());
  ASSERT_TRUE(Grant(authpb::Permission::READ, "c", "e").ok());
  ASSERT_TRUE(Grant(authpb::Permission::WRITE, "k", "").ok());
  EXPECT_EQ(Grant(authpb::Permission::READ, "z", "y"), ErrInvalidAuthMgmt());
  EXPECT_TRUE(Run(PutOf("x")).ok()) << "nobody is asked while it is off";
  uint64_t before = applier.auth().revision();
  ASSERT_TRUE(Run(enable).ok());
  EXPECT_EQ(applier.auth().revision(), before);

  const Auth& auth = applier.auth();
  EXPECT_TRUE(auth.MayRead(As("alice"), "a", "e").ok());
  EXPECT_TRUE(auth.MayRead(As("alice"), "b", "").ok());
  EXPECT_EQ(auth.MayRead(As("alice"), "a", "f"), ErrPermissionDenied());
  EXPECT_EQ(auth.MayRead(As("alice"), "a", std::string(1, '\0')), ErrPermissionDenied());
  EXPECT_EQ(auth.MayRead(As("alice"), "k", ""), ErrPermissionDenied());
  EXPECT_TRUE(Run(PutOf("k"), As("alice")).ok());
  EXPECT_EQ(Run(PutOf("k1"), As("alice")), ErrPermissionDenied());
  EXPECT_EQ(Run(PutOf("k")), ErrUserEmpty());
  EXPECT_EQ(Run(PutOf("k"), {"alice", 1}), ErrAuthOldRevision());
  EXPECT_EQ(Run(PutOf("k"), As("nobody")), ErrPermissionDenied());
  EXPECT_TRUE(Run(PutOf("any"), As("root")).ok());
  EXPECT_EQ(Run(enable, As("alice")), ErrPermissionDenied());
  Request drop;
  drop.mutable_auth_user_delete()->set_name("root");
  EXPECT_EQ(Run(drop, As("root")), ErrInvalidAuthMgmt());
}

TEST_F(AuthTest, ATokenStandsForItsUserUntilItRunsOut) {
  Request login;
  login.mutable_authenticate()->set_name("root");
  login.mutable_authenticate()->set_simple_token("abc");
  EXPECT_EQ(Run(login), ErrAuthNotEnabled());
  ASSERT_TRUE(AddRole("root").ok() && AddUser("root", "root").ok());
  Request enable;
  enable.mutable_auth_enable();
  ASSERT_TRUE(Run(enable).ok());
  ASSERT_TRUE(Run(login, {}, 7).ok());
  etcdserverpb::AuthenticateResponse out;
  ASSERT_TRUE(out.ParseFromString(body));
  EXPECT_EQ(out.token(), "abc.7");
  base::MonoTime now = f.store->now();
  EXPECT_EQ(applier.auth().UserOfToken("abc.7", now), "root");
  EXPECT_EQ(applier.auth().UserOfToken("abc.7", now + std::chrono::seconds(200)), "root");
  EXPECT_EQ(applier.auth().UserOfToken("abc.7", now + std::chrono::seconds(450)), "root") << "being used, it lives on";
  EXPECT_EQ(applier.auth().UserOfToken("abc.7", now + std::chrono::seconds(900)), std::nullopt);
  ASSERT_TRUE(Run(login, {}, 9).ok());
  Request passwd;
  passwd.mutable_auth_user_change_password()->set_name("root");
  passwd.mutable_auth_user_change_password()->set_hashedpassword(base::Base64Encode("other"));
  ASSERT_TRUE(Run(passwd, applier.auth().Root()).ok());
  EXPECT_EQ(applier.auth().UserOfToken("abc.9", now), std::nullopt) << "a new password ends old tokens";
}

}  // namespace
}  // namespace kvstore::mvcc
