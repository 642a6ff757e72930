// The Auth service, and who a call comes from.
#include "base/bcrypt.h"
#include "base/bytes.h"
#include "base/log.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/service/api_impl.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::service {

using base::Err;
using base::Ok;
using base::Result;
using base::Task;
namespace pb = etcdserverpb;

namespace {

// Numbers of InternalRaftRequest's fields.
enum Field : uint32_t {
  kAuthEnable = 1000,
  kAuthDisable = 1011,
  kAuthenticate = 1012,
  kUserAdd = 1100,
  kUserDelete = 1101,
  kUserChangePassword = 1103,
  kUserGrantRole = 1104,
  kUserRevokeRole = 1105,
  kRoleAdd = 1200,
  kRoleDelete = 1201,
  kRoleGrantPermission = 1203,
  kRoleRevokePermission = 1204,
};
constexpr size_t kTokenLength = 16;

std::string TokenPrefix() {
  static constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::string out;
  while (out.size() < kTokenLength) {
    for (char c : base::SecureRandomBytes(kTokenLength)) {
      // Values beyond the last whole round of the alphabet would favour its beginning.
      auto v = static_cast<unsigned char>(c);
      if (v < 256 / kLetters.size() * kLetters.size() && out.size() < kTokenLength)
        out += kLetters[v % kLetters.size()];
    }
  }
  return out;
}

}  // namespace

void Api::RegisterAuth() {
  const std::string s = "etcdserverpb.Auth";
  Unary(s, "AuthEnable", &Api::AuthChange<kAuthEnable>);
  Unary(s, "AuthDisable", &Api::AuthChange<kAuthDisable>);
  Unary(s, "AuthStatus", &Api::AuthStatus);
  Unary(s, "Authenticate", &Api::Authenticate);
  Unary(s, "UserAdd", &Api::UserAdd);
  Unary(s, "UserGet", &Api::UserGet);
  Unary(s, "UserList", &Api::UserList);
  Unary(s, "UserDelete", &Api::AuthChange<kUserDelete>);
  Unary(s, "UserChangePassword", &Api::UserChangePassword);
  Unary(s, "UserGrantRole", &Api::AuthChange<kUserGrantRole>);
  Unary(s, "UserRevokeRole", &Api::AuthChange<kUserRevokeRole>);
  Unary(s, "RoleAdd", &Api::AuthChange<kRoleAdd>);
  Unary(s, "RoleGet", &Api::RoleGet);
  Unary(s, "RoleList", &Api::RoleList);
  Unary(s, "RoleDelete", &Api::AuthChange<kRoleDelete>);
  Unary(s, "RoleGrantPermission", &Api::AuthChange<kRoleGrantPermission>);
  Unary(s, "RoleRevokePermission", &Api::AuthChange<kRoleRevokePermission>);
}

// ---- who calls

std::string Api::TokenOf(const Call& call) {
  return std::string(call.headers.Get(call.headers.Has("token") ? "token" : "authorization"));
}

Result<mvcc::Identity> Api::Owner(std::string token) {
  mvcc::Auth& auth = replica_.applier().auth();
  if (token.starts_with("Bearer ")) token.erase(0, 7);
  if (options_.tokens.jwt) {
    if (auto who = options_.tokens.Verify(token, replica_.executor().WallNow())) return *who;
  } else if (auto user = auth.UserOfToken(token, replica_.executor().Now())) {
    return mvcc::Identity{*user, auth.revision()};
  }
  base::LogWarning("invalid auth token");
  return Err(mvcc::ErrInvalidAuthToken());
}

base::Status Api::MayAdminister(const std::string& token) {
  mvcc::Auth& auth = replica_.applier().auth();
  if (!auth.enabled()) return Ok();
  mvcc::Identity who;
  if (!token.empty()) {
    TRY_ASSIGN(who, Owner(token));
  }
  return auth.MayAdminister(who);
}

Result<mvcc::Identity> Api::Caller(const Call& call) {
  mvcc::Auth& auth = replica_.applier().auth();
  if (!auth.enabled()) return mvcc::Identity();
  if (call.headers.Has("token") || call.headers.Has("authorization")) return Owner(TokenOf(call));
  if (options_.client_cert_auth && call.peer.verified_chain && !call.headers.Has("grpcgateway-accept")) {
    return mvcc::Identity{call.peer.common_name, auth.revision()};
  }
  return mvcc::Identity();
}

base::Status Api::MustAdminister(const Call& call) {
  TRY_ASSIGN(mvcc::Identity who, Caller(call));
  return replica_.applier().auth().MayAdminister(who);
}

base::Status Api::MustBeSomeone(const Call& call) {
  TRY_ASSIGN(mvcc::Identity who, Caller(call));
  return replica_.applier().auth().enabled() && who.revision == 0 ? mvcc::ErrUserEmpty() : Ok();
}

// What a reader was allowed may have been taken back while it read.
base::Status Api::StillAllowed(const mvcc::Identity& who) const {
  return who.revision != 0 && who.revision != replica_.applier().auth().revision() ? mvcc::ErrAuthOldRevision() : Ok();
}

// ---- the service

template <uint32_t field>
Task<Api::Bytes> Api::AuthChange(const Call& call, std::string request) {
  co_return co_await ProposeBytes(call, field, request);
}

Task<Api::Bytes> Api::AuthStatus(const Call& call, std::string request) {
  pb::AuthStatusResponse out;
  CO_TRY_ASSIGN(mvcc::Identity who, Caller(call));
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  out.set_enabled(replica_.applier().auth().enabled());
  out.set_authrevision(replica_.applier().auth().revision());
  co_return out.SerializeAsString();
}

// The revision of users and roles at which the password was right.
Task<Result<uint64_t>> Api::CheckPassword(std::string name, std::string password) {
  mvcc::Auth& auth = replica_.applier().auth();
  if (!auth.enabled()) co_return Err(mvcc::ErrAuthNotEnabled());
  auto user = auth.FindUser(name);
  if (!user) co_return Err(mvcc::ErrAuthFailed());
  if (user->options().no_password()) co_return Err(mvcc::ErrNoPasswordUser());
  uint64_t revision = auth.revision();
  bool good = co_await base::RunBlocking(pool_, replica_.executor(), [&hash = user->password(), &password] {
    return base::BcryptMatches(hash, password);
  });
  if (!good) {
    base::LogInfo("invalid password", {{"user-name", name}});
    co_return Err(mvcc::ErrAuthFailed());
  }
  co_return revision;
}

Task<Api::Bytes> Api::Authenticate(const Call& call, std::string request) {
  pb::AuthenticateRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(co_await Barrier(call.ctx));
  for (;;) {
    CO_TRY_ASSIGN(uint64_t checked, co_await CheckPassword(r.name(), r.password()));
    // The log gets the name and a new token, never the password.
    pb::InternalAuthenticateRequest internal;
    internal.set_name(r.name());
    if (!options_.tokens.jwt) internal.set_simple_token(TokenPrefix());
    auto out = co_await ProposeAs(call.ctx, {}, kAuthenticate, internal.SerializeAsString());
    if (!out) co_return out;
    // Users or roles changed meanwhile: the password may have, too.
    if (checked != replica_.applier().auth().revision()) continue;
    if (!options_.tokens.jwt) co_return out;
    CO_TRY_ASSIGN(std::string token, options_.tokens.Sign({r.name(), checked}, call.executor.WallNow()));
    wire::PutBytes(*out, 2, token);
    co_return out;
  }
}

Task<Result<std::string>> Api::HashPassword(std::string password) {
  auto hash = co_await base::RunBlocking(
      pool_, replica_.executor(), [this, &password] { return base::BcryptHash(password, options_.bcrypt_cost); });
  if (!hash) co_return Err(base::Unknown(std::string(hash.error().message())));
  co_return base::Base64Encode(*hash);
}

Task<Api::Bytes> Api::UserAdd(const Call& call, std::string request) {
  pb::AuthUserAddRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  if (!r.options().no_password()) {
    // Refused before the expensive part; the apply path checks again.
    CO_TRY(MustAdminister(call));
    CO_TRY_ASSIGN(std::string hash, co_await HashPassword(r.password()));
    r.set_hashedpassword(std::move(hash));
  }
  r.clear_password();
  co_return co_await ProposeBytes(call, kUserAdd, r.SerializeAsString());
}

Task<Api::Bytes> Api::UserChangePassword(const Call& call, std::string request) {
  pb::AuthUserChangePasswordRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  if (!r.password().empty()) {
    CO_TRY(MustAdminister(call));
    CO_TRY_ASSIGN(std::string hash, co_await HashPassword(r.password()));
    r.set_hashedpassword(std::move(hash));
    r.clear_password();
  }
  co_return co_await ProposeBytes(call, kUserChangePassword, r.SerializeAsString());
}

Task<Api::Bytes> Api::UserGet(const Call& call, std::string request) {
  pb::AuthUserGetRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(co_await Barrier(call.ctx));
  CO_TRY_ASSIGN(mvcc::Identity who, Caller(call));
  mvcc::Auth& auth = replica_.applier().auth();
  // Everybody may look at himself.
  if (base::Status s = auth.MayAdminister(who); !s.ok() && r.name() != who.user) co_return Err(s);
  auto user = auth.FindUser(r.name());
  if (!user) co_return Err(mvcc::ErrUserNotFound());
  pb::AuthUserGetResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  *out.mutable_roles() = user->roles();
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::UserList(const Call& call, std::string request) {
  CO_TRY(co_await Barrier(call.ctx));
  CO_TRY(MustAdminister(call));
  pb::AuthUserListResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  for (const std::string& name : replica_.applier().auth().UserNames()) out.add_users(name);
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::RoleGet(const Call& call, std::string request) {
  pb::AuthRoleGetRequest r;
  if (!r.ParseFromString(request)) co_return Err(Unreadable());
  CO_TRY(co_await Barrier(call.ctx));
  CO_TRY_ASSIGN(mvcc::Identity who, Caller(call));
  mvcc::Auth& auth = replica_.applier().auth();
  if (base::Status s = auth.MayAdminister(who); !s.ok() && !auth.HasRole(who.user, r.role())) co_return Err(s);
  auto role = auth.FindRole(r.role());
  if (!role) co_return Err(mvcc::ErrRoleNotFound());
  pb::AuthRoleGetResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  if (r.role() == mvcc::kRoot) {
    auto* all = out.add_perm();
    all->set_permtype(authpb::Permission::READWRITE);
    all->set_range_end(std::string(1, '\0'));
  } else {
    *out.mutable_perm() = role->keypermission();
  }
  co_return out.SerializeAsString();
}

Task<Api::Bytes> Api::RoleList(const Call& call, std::string request) {
  CO_TRY(co_await Barrier(call.ctx));
  CO_TRY(MustAdminister(call));
  pb::AuthRoleListResponse out;
  out.mutable_header()->ParseFromString(Header(replica_.store().revision()));
  for (const std::string& name : replica_.applier().auth().RoleNames()) out.add_roles(name);
  co_return out.SerializeAsString();
}

}  // namespace kvstore::service
