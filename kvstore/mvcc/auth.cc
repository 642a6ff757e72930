#include "kvstore/mvcc/auth.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "base/protobuf_wire.h"
#include "kvstore/mvcc/errors.h"
#include "kvstore/mvcc/leases.h"
#include "proto/etcd/server_internal.pb.h"

namespace kvstore::mvcc {

namespace wire = base::wire;

using base::Ok;
using base::Status;
namespace pb = etcdserverpb;

namespace {

bool OpenEnded(std::string_view end) { return end.size() == 1 && end[0] == '\0'; }
// Ends are exclusive; none is the largest.
bool EndLess(const std::optional<std::string>& a, const std::optional<std::string>& b) { return a && (!b || *a < *b); }
bool HasRootRole(const authpb::User& u) {
  return std::find(u.roles().begin(), u.roles().end(), kRoot) != u.roles().end();
}

}  // namespace

void Auth::Load() {
  auto& auth = buckets_["auth"];
  buckets_["authUsers"];
  buckets_["authRoles"];
  auto enabled = auth.find("authEnabled");
  enabled_ = enabled != auth.end() && enabled->second == std::string(1, '\1');
  auto revision = auth.find("authRevision");
  revision_ =
      revision != auth.end() && revision->second.size() == 8 ? base::GetBigEndian64(revision->second.data()) : 1;
  cache_.clear();
}

// ---- checks

Auth::Permissions Auth::PermissionsOf(const std::string& name) const {
  Permissions out;
  auto user = FindUser(name);
  if (!user) return out;
  for (const std::string& role_name : user->roles()) {
    auto role = FindRole(role_name);
    if (!role) continue;
    for (const authpb::Permission& p : role->keypermission()) {
      Interval i{p.key(), p.range_end().empty()      ? std::optional(p.key() + '\0')
                          : OpenEnded(p.range_end()) ? std::nullopt
                                                     : std::optional(p.range_end())};
      if (p.permtype() != authpb::Permission::WRITE) out.read.push_back(i);
      if (p.permtype() != authpb::Permission::READ) out.write.push_back(i);
    }
  }
  Merge(out.read);
  Merge(out.write);
  return out;
}

void Auth::Merge(Intervals& list) {
  std::sort(list.begin(), list.end(), [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  Intervals out;
  for (Interval& i : list) {
    bool touches = !out.empty() && (!out.back().end || i.begin <= *out.back().end);
    if (!touches) {
      out.push_back(std::move(i));
    } else if (EndLess(out.back().end, i.end)) {
      out.back().end = std::move(i.end);
    }
  }
  list = std::move(out);
}

bool Auth::Covers(const Intervals& list, std::string_view key, std::string_view end) {
  std::optional<std::string> wanted = end.empty()      ? std::optional(std::string(key) + '\0')
                                      : OpenEnded(end) ? std::nullopt
                                                       : std::optional(std::string(end));
  auto after = std::upper_bound(list.begin(), list.end(), key,
                                [](std::string_view k, const Interval& i) { return k < i.begin; });
  if (after == list.begin()) return false;
  const std::optional<std::string>& until = std::prev(after)->end;
  // A range may be upside down; it begins inside all the same.
  return !EndLess(until, wanted) && (!until || key < *until);
}

Status Auth::Check(const Identity& who, std::string_view key, std::string_view end, bool write) const {
  if (!enabled_) return Ok();
  if (who.revision == 0) return ErrUserEmpty();
  if (who.revision < revision_) return ErrAuthOldRevision();
  auto user = FindUser(who.user);
  if (!user) return ErrPermissionDenied();
  if (HasRootRole(*user)) return Ok();
  auto it = cache_.find(who.user);
  if (it == cache_.end()) it = cache_.emplace(who.user, PermissionsOf(who.user)).first;
  return Covers(write ? it->second.write : it->second.read, key, end) ? Ok() : ErrPermissionDenied();
}

Status Auth::MayRead(const Identity& who, std::string_view key, std::string_view end) const {
  return Check(who, key, end, false);
}
Status Auth::MayWrite(const Identity& who, std::string_view key, std::string_view end) const {
  return Check(who, key, end, true);
}

Status Auth::MayAdminister(const Identity& who) const {
  if (!enabled_) return Ok();
  if (who.user.empty()) return ErrUserEmpty();
  auto user = FindUser(who.user);
  if (!user) return ErrUserNotFound();
  return HasRootRole(*user) ? Ok() : ErrPermissionDenied();
}

Status Auth::MayWriteLease(const Identity& who, int64_t id) const {
  const Lease* lease = enabled_ ? leases_.Find(id) : nullptr;
  if (lease == nullptr || MayAdminister(who).ok()) return Ok();
  for (const std::string& key : lease->keys) TRY(MayWrite(who, key, {}));
  return Ok();
}

Status Auth::MayReadLease(const Identity& who, int64_t id) const {
  const Lease* lease = enabled_ ? leases_.Find(id) : nullptr;
  if (lease == nullptr || MayAdminister(who).ok()) return Ok();
  for (const std::string& key : lease->keys) TRY(MayRead(who, key, {}));
  return Ok();
}

Status Auth::MayPut(const Identity& who, const pb::PutRequest& r) const {
  if (!enabled_) return Ok();
  TRY(MayWrite(who, r.key(), {}));
  // A lease with keys that this user cannot write is one that it could not revoke: nothing more is hung on it.
  TRY(MayWriteLease(who, r.lease()));
  return r.prev_kv() ? MayRead(who, r.key(), {}) : Ok();
}

Status Auth::MayRunOps(const Identity& who, const pb::TxnRequest& r, bool success) const {
  for (const pb::RequestOp& op : success ? r.success() : r.failure()) {
    if (op.has_request_range()) {
      TRY(MayRead(who, op.request_range().key(), op.request_range().range_end()));
    } else if (op.has_request_put()) {
      TRY(MayPut(who, op.request_put()));
    } else if (op.has_request_delete_range()) {
      const auto& d = op.request_delete_range();
      if (d.prev_kv()) TRY(MayRead(who, d.key(), d.range_end()));
      TRY(MayWrite(who, d.key(), d.range_end()));
    } else if (op.has_request_txn()) {
      TRY(MayRun(who, op.request_txn()));
    }
  }
  return Ok();
}

Status Auth::MayRun(const Identity& who, const pb::TxnRequest& r) const {
  if (!enabled_) return Ok();
  for (const pb::Compare& c : r.compare()) TRY(MayRead(who, c.key(), c.range_end()));
  TRY(MayRunOps(who, r, true));
  return MayRunOps(who, r, false);
}

Status Auth::MayApply(const Identity& who, const pb::InternalRaftRequest& r) const {
  if (!enabled_) return Ok();
  if (r.has_put()) return MayPut(who, r.put());
  if (r.has_range()) return MayRead(who, r.range().key(), r.range().range_end());
  if (r.has_txn()) return MayRun(who, r.txn());
  if (r.has_lease_revoke()) return MayWriteLease(who, r.lease_revoke().id());
  if (r.has_delete_range()) {
    TRY(MayWrite(who, r.delete_range().key(), r.delete_range().range_end()));
    return r.delete_range().prev_kv() ? MayRead(who, r.delete_range().key(), r.delete_range().range_end()) : Ok();
  }
  return IsAuth(r) && !r.has_authenticate() ? MayAdminister(who) : Ok();
}

// ---- users and roles

std::optional<authpb::User> Auth::FindUser(const std::string& name) const {
  const auto& users = buckets_["authUsers"];
  auto it = users.find(name);
  authpb::User u;
  if (it == users.end() || !u.ParseFromString(it->second)) return std::nullopt;
  return u;
}

std::optional<authpb::Role> Auth::FindRole(const std::string& name) const {
  const auto& roles = buckets_["authRoles"];
  auto it = roles.find(name);
  authpb::Role r;
  if (it == roles.end() || !r.ParseFromString(it->second)) return std::nullopt;
  return r;
}

std::vector<std::string> Auth::UserNames() const {
  std::vector<std::string> out;
  for (const auto& [name, bytes] : buckets_["authUsers"]) out.push_back(name);
  return out;
}

std::vector<std::string> Auth::RoleNames() const {
  std::vector<std::string> out;
  for (const auto& [name, bytes] : buckets_["authRoles"]) out.push_back(name);
  return out;
}

bool Auth::HasRole(const std::string& user, std::string_view role) const {
  auto u = FindUser(user);
  return u && std::find(u->roles().begin(), u->roles().end(), role) != u->roles().end();
}

void Auth::PutUser(const authpb::User& u) { buckets_["authUsers"][u.name()] = u.SerializeAsString(); }
void Auth::PutRole(const authpb::Role& r) { buckets_["authRoles"][r.name()] = r.SerializeAsString(); }

void Auth::Changed() {
  std::string v;
  base::PutBigEndian64(v, ++revision_);
  buckets_["auth"]["authRevision"] = v;
  cache_.clear();
}

bool Auth::IsAuth(const pb::InternalRaftRequest& r) {
  return r.has_auth_enable() || r.has_auth_disable() || r.has_authenticate() || r.has_auth_user_add() ||
         r.has_auth_user_delete() || r.has_auth_user_change_password() || r.has_auth_user_grant_role() ||
         r.has_auth_user_revoke_role() || r.has_auth_role_add() || r.has_auth_role_delete() ||
         r.has_auth_role_grant_permission() || r.has_auth_role_revoke_permission();
}

Status Auth::Apply(const pb::InternalRaftRequest& r, uint64_t index, base::MonoTime now, std::string& body) {
  if (r.has_authenticate()) return Authenticate(r.authenticate(), index, now, body);
  if (r.has_auth_enable()) return Enable();
  if (r.has_auth_disable()) return Disable();
  if (r.has_auth_user_add()) return AddUser(r.auth_user_add());
  if (r.has_auth_user_delete()) return DeleteUser(r.auth_user_delete().name());
  if (r.has_auth_user_change_password()) {
    return ChangePassword(r.auth_user_change_password().name(), r.auth_user_change_password().hashedpassword());
  }
  if (r.has_auth_user_grant_role()) return GrantRole(r.auth_user_grant_role().user(), r.auth_user_grant_role().role());
  if (r.has_auth_user_revoke_role()) {
    return RevokeRole(r.auth_user_revoke_role().name(), r.auth_user_revoke_role().role());
  }
  if (r.has_auth_role_add()) return AddRole(r.auth_role_add().name());
  if (r.has_auth_role_delete()) return DeleteRole(r.auth_role_delete().role());
  if (r.has_auth_role_grant_permission()) return GrantPermission(r.auth_role_grant_permission());
  if (r.has_auth_role_revoke_permission()) {
    const auto& v = r.auth_role_revoke_permission();
    return RevokePermission(v.role(), v.key(), v.range_end());
  }
  return Ok();
}

Status Auth::Enable() {
  if (enabled_) return Ok();
  auto root = FindUser(std::string(kRoot));
  if (!root) return ErrRootUserNotExist();
  if (!HasRootRole(*root)) return ErrRootRoleNotExist();
  buckets_["auth"]["authEnabled"] = std::string(1, '\1');
  enabled_ = true;
  base::LogInfo("enabled authentication");
  return Ok();
}

Status Auth::Disable() {
  if (!enabled_) return Ok();
  buckets_["auth"]["authEnabled"] = std::string(1, '\0');
  enabled_ = false;
  tokens_.clear();
  Changed();
  base::LogInfo("disabled authentication");
  return Ok();
}

Status Auth::AddUser(const pb::AuthUserAddRequest& r) {
  if (r.name().empty()) return ErrUserEmpty();
  if (FindUser(r.name())) return ErrUserExists();
  authpb::User u;
  u.set_name(r.name());
  u.mutable_options()->set_no_password(r.has_options() && r.options().no_password());
  if (!u.options().no_password()) {
    // The log carries the bcrypt hash in base64.
    auto hash = base::Base64Decode(r.hashedpassword());
    if (!hash) return ErrNoPasswordUser();
    u.set_password(*hash);
  }
  PutUser(u);
  Changed();
  base::LogInfo("added a user", {{"user-name", r.name()}});
  return Ok();
}

Status Auth::DeleteUser(const std::string& name) {
  if (enabled_ && name == kRoot) return ErrInvalidAuthMgmt();
  if (buckets_["authUsers"].erase(name) == 0) return ErrUserNotFound();
  Changed();
  DropTokensOf(name);
  base::LogInfo("deleted a user", {{"user-name", name}});
  return Ok();
}

Status Auth::ChangePassword(const std::string& name, const std::string& hash) {
  auto u = FindUser(name);
  if (!u) return ErrUserNotFound();
  u->clear_password();
  if (!u->has_options() || !u->options().no_password()) {
    auto bytes = base::Base64Decode(hash);
    if (!bytes) return ErrNoPasswordUser();
    u->set_password(*bytes);
  }
  PutUser(*u);
  Changed();
  DropTokensOf(name);
  base::LogInfo("changed a password of a user", {{"user-name", name}});
  return Ok();
}

Status Auth::GrantRole(const std::string& user, const std::string& role) {
  auto u = FindUser(user);
  if (!u) return ErrUserNotFound();
  if (role != kRoot && !FindRole(role)) return ErrRoleNotFound();
  if (HasRole(user, role)) return Ok();  // no change, no new revision
  u->add_roles(role);
  std::sort(u->mutable_roles()->begin(), u->mutable_roles()->end());
  PutUser(*u);
  Changed();
  base::LogInfo("granted a role to a user", {{"user-name", user}, {"added-role-name", role}});
  return Ok();
}

namespace {
bool RemoveRole(authpb::User& u, const std::string& role) {
  auto* roles = u.mutable_roles();
  auto end = std::remove(roles->begin(), roles->end(), role);
  bool found = end != roles->end();
  roles->erase(end, roles->end());
  return found;
}
}  // namespace

Status Auth::RevokeRole(const std::string& user, const std::string& role) {
  if (enabled_ && user == kRoot && role == kRoot) return ErrInvalidAuthMgmt();
  auto u = FindUser(user);
  if (!u) return ErrUserNotFound();
  if (!RemoveRole(*u, role)) return ErrRoleNotGranted();
  PutUser(*u);
  Changed();
  base::LogInfo("revoked a role from a user", {{"user-name", user}, {"revoked-role-name", role}});
  return Ok();
}

Status Auth::AddRole(const std::string& name) {
  if (name.empty()) return ErrRoleEmpty();
  if (FindRole(name)) return ErrRoleExists();
  authpb::Role role;
  role.set_name(name);
  PutRole(role);
  Changed();
  base::LogInfo("created a role", {{"role-name", name}});
  return Ok();
}

Status Auth::DeleteRole(const std::string& name) {
  if (enabled_ && name == kRoot) return ErrInvalidAuthMgmt();
  if (buckets_["authRoles"].erase(name) == 0) return ErrRoleNotFound();
  for (const std::string& user : UserNames()) {
    auto u = FindUser(user);
    if (u && RemoveRole(*u, name)) PutUser(*u);
  }
  Changed();
  base::LogInfo("deleted a role", {{"role-name", name}});
  return Ok();
}

Status Auth::GrantPermission(const pb::AuthRoleGrantPermissionRequest& r) {
  if (!r.has_perm()) return ErrPermissionNotGiven();
  const authpb::Permission& perm = r.perm();
  bool valid =
      !perm.key().empty() && (perm.range_end().empty() || perm.key() < perm.range_end() || OpenEnded(perm.range_end()));
  if (!valid) return ErrInvalidAuthMgmt();
  auto role = FindRole(r.name());
  if (!role) return ErrRoleNotFound();
  auto* perms = role->mutable_keypermission();
  auto it = std::find_if(perms->begin(), perms->end(),
                         [&](const auto& p) { return p.key() == perm.key() && p.range_end() == perm.range_end(); });
  if (it != perms->end()) {
    it->set_permtype(perm.permtype());
  } else {
    *role->add_keypermission() = perm;
    std::sort(perms->begin(), perms->end(), [](const auto& a, const auto& b) { return a.key() < b.key(); });
  }
  PutRole(*role);
  Changed();
  base::LogInfo("granted/updated a permission to a user", {{"user-name", r.name()}});
  return Ok();
}

Status Auth::RevokePermission(const std::string& name, const std::string& key, const std::string& end) {
  auto role = FindRole(name);
  if (!role) return ErrRoleNotFound();
  auto* perms = role->mutable_keypermission();
  auto gone = std::remove_if(perms->begin(), perms->end(),
                             [&](const auto& p) { return p.key() == key && p.range_end() == end; });
  if (gone == perms->end()) return ErrPermissionNotGranted();
  perms->erase(gone, perms->end());
  PutRole(*role);
  Changed();
  base::LogInfo("revoked a permission on range", {{"role-name", name}});
  return Ok();
}

// ---- tokens

Status Auth::Authenticate(const pb::InternalAuthenticateRequest& r, uint64_t index, base::MonoTime now,
                          std::string& body) {
  if (!enabled_) return ErrAuthNotEnabled();
  auto user = FindUser(r.name());
  if (!user || user->options().no_password()) return ErrAuthFailed();
  if (r.simple_token().empty()) return Ok();  // the member that was asked signs one itself
  std::erase_if(tokens_, [now](const auto& t) { return t.second.expiry < now; });
  std::string token = r.simple_token() + "." + std::to_string(index);
  tokens_[token] = {r.name(), now + token_ttl_};
  wire::PutBytes(body, 2, token);
  return Ok();
}

std::optional<std::string> Auth::UserOfToken(const std::string& token, base::MonoTime now) {
  auto it = tokens_.find(token);
  if (it == tokens_.end()) return std::nullopt;
  if (it->second.expiry < now) {
    tokens_.erase(it);
    return std::nullopt;
  }
  it->second.expiry = now + token_ttl_;
  return it->second.user;
}

void Auth::DropTokensOf(const std::string& user) {
  std::erase_if(tokens_, [&](const auto& t) { return t.second.user == user; });
}

}  // namespace kvstore::mvcc
