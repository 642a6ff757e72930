// Users, roles and what they may touch, as etcd's buckets auth, authUsers and authRoles hold them, and the simple
// tokens that stand for users who have shown their password.
//
// Promises: the same requests in the same order leave the same users, roles and revision on every member; the checks
// answer with etcd's errors. Tokens are this process's memory and die with it. Not its job: hashing passwords, signing
// tokens, finding out who calls. Owned by the Applier; one strand.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "base/status.h"

namespace authpb {
class User;
class Role;
}  // namespace authpb
namespace etcdserverpb {
class InternalRaftRequest;
class TxnRequest;
class PutRequest;
class AuthUserAddRequest;
class AuthRoleGrantPermissionRequest;
class InternalAuthenticateRequest;
}  // namespace etcdserverpb

namespace kvstore::mvcc {

using Buckets = std::map<std::string, std::map<std::string, std::string>>;
class Leases;

// Who asks, and the revision of users and roles at which that was found out. Empty: nobody said.
struct Identity {
  std::string user;
  uint64_t revision = 0;
};

inline constexpr std::string_view kRoot = "root";

class Auth {
 public:
  Auth(Buckets& buckets, const Leases& leases) : buckets_(buckets), leases_(leases) { Load(); }
  // Again from the buckets, after they came from elsewhere.
  void Load();

  bool enabled() const { return enabled_; }
  // Changes with every change of users or roles; 1 at the beginning.
  uint64_t revision() const { return revision_; }
  // For what the member proposes itself.
  Identity Root() const { return enabled_ ? Identity{std::string(kRoot), revision_} : Identity{}; }

  // All are OK while authentication is off.
  base::Status MayRead(const Identity& who, std::string_view key, std::string_view end) const;
  base::Status MayWrite(const Identity& who, std::string_view key, std::string_view end) const;
  base::Status MayAdminister(const Identity& who) const;
  base::Status MayPut(const Identity& who, const etcdserverpb::PutRequest& r) const;
  base::Status MayRun(const Identity& who, const etcdserverpb::TxnRequest& r) const;
  // Revoking a lease deletes its keys, renewing it keeps them.
  base::Status MayWriteLease(const Identity& who, int64_t lease) const;
  base::Status MayReadLease(const Identity& who, int64_t lease) const;
  // The gate of the apply path: what a committed request needs.
  base::Status MayApply(const Identity& who, const etcdserverpb::InternalRaftRequest& r) const;

  std::optional<authpb::User> FindUser(const std::string& name) const;
  std::optional<authpb::Role> FindRole(const std::string& name) const;
  std::vector<std::string> UserNames() const;
  std::vector<std::string> RoleNames() const;
  bool HasRole(const std::string& user, std::string_view role) const;

  static bool IsAuth(const etcdserverpb::InternalRaftRequest& r);
  // Applies a request about users and roles; `index` is its place in the log. `body` gets the answer's fields.
  base::Status Apply(const etcdserverpb::InternalRaftRequest& r, uint64_t index, base::MonoTime now, std::string& body);

  // The user a simple token stands for; being used keeps it alive.
  std::optional<std::string> UserOfToken(const std::string& token, base::MonoTime now);
  void SetTokenTtl(base::Duration ttl) { token_ttl_ = ttl; }

 private:
  // Disjoint and in order; no end = open.
  struct Interval {
    std::string begin;
    std::optional<std::string> end;
  };
  using Intervals = std::vector<Interval>;
  struct Permissions {
    Intervals read, write;
  };
  struct Token {
    std::string user;
    base::MonoTime expiry;
  };

  base::Status Check(const Identity& who, std::string_view key, std::string_view end, bool write) const;
  Permissions PermissionsOf(const std::string& user) const;
  static void Merge(Intervals& list);
  static bool Covers(const Intervals& list, std::string_view key, std::string_view end);
  base::Status MayRunOps(const Identity& who, const etcdserverpb::TxnRequest& r, bool success) const;

  base::Status Enable();
  base::Status Disable();
  base::Status AddUser(const etcdserverpb::AuthUserAddRequest& r);
  base::Status DeleteUser(const std::string& name);
  base::Status ChangePassword(const std::string& name, const std::string& hash);
  base::Status GrantRole(const std::string& user, const std::string& role);
  base::Status RevokeRole(const std::string& user, const std::string& role);
  base::Status AddRole(const std::string& name);
  base::Status DeleteRole(const std::string& name);
  base::Status GrantPermission(const etcdserverpb::AuthRoleGrantPermissionRequest& r);
  base::Status RevokePermission(const std::string& name, const std::string& key, const std::string& end);
  base::Status Authenticate(const etcdserverpb::InternalAuthenticateRequest& r, uint64_t index, base::MonoTime now,
                            std::string& body);
  void Changed();
  void DropTokensOf(const std::string& user);
  void PutUser(const authpb::User& u);
  void PutRole(const authpb::Role& r);

  Buckets& buckets_;
  const Leases& leases_;
  bool enabled_ = false;
  uint64_t revision_ = 1;
  mutable std::map<std::string, Permissions, std::less<>> cache_;  // of the users as they are
  std::map<std::string, Token> tokens_;
  base::Duration token_ttl_ = std::chrono::seconds(300);
};

}  // namespace kvstore::mvcc
