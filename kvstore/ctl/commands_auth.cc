// Authentication, users and roles.
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "base/bytes.h"
#include "base/json_writer.h"
#include "base/prefix_end.h"
#include "kvstore/ctl/commands.h"
#include "proto/etcd/rpc.pb.h"

namespace kvstore::ctl {

using base::Task;
namespace pb = etcdserverpb;

namespace {

constexpr const char* kService = "/etcdserverpb.Auth/";

std::string Method(const char* name) { return std::string(kService) + name; }

int Needs(const char* text) { return Fail(kExitBadArgs, text); }

int NewPassword(const Run& run, const std::string& name, std::string& password) {
  if (!run.flags.password_interactive) {
    std::cin >> password;
    return 0;
  }
  password = AskSecret("Password of " + name + ": ");
  if (password.empty()) return Fail(kExitBadArgs, "empty password");
  if (AskSecret("Type password of " + name + " again for confirmation: ") != password) {
    return Fail(kExitBadArgs, "given passwords are different");
  }
  return 0;
}

// Who may touch what, as `role get` shows it.
void PrintRole(const std::string& name, const pb::AuthRoleGetResponse& r) {
  Out("Role " + name + "\n");
  auto print = [&](const char* title, authpb::Permission::Type other) {
    Out(title);
    for (const authpb::Permission& p : r.perm()) {
      if (p.permtype() == other) continue;
      if (p.range_end().empty()) {
        Out("\t" + p.key() + "\n");
        continue;
      }
      bool open = p.range_end() == std::string(1, '\0');
      Out("\t[" + p.key() + ", " + (open ? "<open ended>" : p.range_end() + ")"));
      if (!p.key().empty() && base::PrefixEnd(p.key()) == p.range_end()) Out(" (prefix " + p.key() + ")");
      Out("\n");
    }
  };
  print("KV Read:\n", authpb::Permission::WRITE);
  print("KV Write:\n", authpb::Permission::READ);
}

void RoleFields(const pb::AuthRoleGetResponse& r) {
  for (const authpb::Permission& p : r.perm()) {
    Out("\"PermType\" :  " + authpb::Permission::Type_Name(p.permtype()) + "\n");
    Out(FieldLine("Key", base::GoQuote(p.key())) + FieldLine("RangeEnd", base::GoQuote(p.range_end())));
  }
}

}  // namespace

std::string AskSecret(const std::string& prompt) {
  Out(prompt);
  std::fflush(stdout);
  termios shown{};
  bool terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
  if (terminal) {
    termios hidden = shown;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
  }
  std::string line;
  std::getline(std::cin, line);
  if (terminal) tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
  Out("\n");
  return line;
}

// ---- auth

Task<int> AuthEnable(Run& run) {
  if (!run.args.empty()) co_return Needs("auth enable command does not accept any arguments");
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  for (;;) {
    auto out = co_await (*c)->Call<pb::AuthEnableResponse>(run.ctx, Method("AuthEnable"), pb::AuthEnableRequest());
    if (out) break;
    if (out.error().message() != "etcdserver: root user does not have root role") co_return Fail(out.error());
    // The first administrator's role is made on the way.
    pb::AuthRoleAddRequest role;
    role.set_name("root");
    auto added = co_await (*c)->Call<pb::AuthRoleAddResponse>(run.ctx, Method("RoleAdd"), role);
    if (!added) co_return Fail(added.error());
    pb::AuthUserGrantRoleRequest grant;
    grant.set_user("root");
    grant.set_role("root");
    auto granted = co_await (*c)->Call<pb::AuthUserGrantRoleResponse>(run.ctx, Method("UserGrantRole"), grant);
    if (!granted) co_return Fail(granted.error());
  }
  Out("Authentication Enabled\n");
  co_return 0;
}

Task<int> AuthDisable(Run& run) {
  if (!run.args.empty()) co_return Needs("auth disable command does not accept any arguments");
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  auto out = co_await (*c)->Call<pb::AuthDisableResponse>(run.ctx, Method("AuthDisable"), pb::AuthDisableRequest());
  if (!out) co_return Fail(out.error());
  Out("Authentication Disabled\n");
  co_return 0;
}

Task<int> AuthStatus(Run& run) {
  if (!run.args.empty()) co_return Needs("auth status command does not accept any arguments");
  auto text = [](const pb::AuthStatusResponse& r) { return std::string(r.enabled() ? "true" : "false"); };
  co_return co_await Simple<pb::AuthStatusResponse>(
      run, Method("AuthStatus"), pb::AuthStatusRequest(),
      [&](const pb::AuthStatusResponse& r) {
        Out("Authentication Status: " + text(r) + "\nAuthRevision: " + std::to_string(r.authrevision()) + "\n");
      },
      [&](const pb::AuthStatusResponse& r) {
        Out(FieldLine("Enabled", text(r)) + FieldLine("AuthRevision", std::to_string(r.authrevision())));
      });
}

// ---- users

Task<int> UserAdd(Run& run) {
  if (run.args.size() != 1) co_return Needs("user add command requires user name as its argument");
  const Flags& f = run.flags;
  std::string name = run.args[0], password = f.new_user_password;
  pb::AuthUserAddRequest r;
  if (f.no_password) {
    r.mutable_options()->set_no_password(true);
  } else if (password.empty()) {
    size_t colon = name.find(':');
    if (colon != std::string::npos) {
      password = name.substr(colon + 1);
      name.resize(colon);
      if (name.empty()) co_return Fail(kExitBadArgs, "empty user name is not allowed");
    } else if (int code = NewPassword(run, name, password)) {
      co_return code;
    }
  }
  r.set_name(name);
  if (!f.no_password) {
    r.set_password(password);
    r.mutable_options();
  }
  co_return co_await Simple<pb::AuthUserAddResponse>(run, Method("UserAdd"), r,
                                                     [&](const auto&) { Out("User " + name + " created\n"); });
}

Task<int> UserDelete(Run& run) {
  if (run.args.size() != 1) co_return Needs("user delete command requires user name as its argument");
  pb::AuthUserDeleteRequest r;
  r.set_name(run.args[0]);
  co_return co_await Simple<pb::AuthUserDeleteResponse>(
      run, Method("UserDelete"), r, [&](const auto&) { Out("User " + run.args[0] + " deleted\n"); });
}

namespace {

Task<int> UserDetail(Run& run) {
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  pb::AuthUserGetRequest r;
  r.set_name(run.args[0]);
  auto user = co_await (*c)->Call<pb::AuthUserGetResponse>(run.ctx, Method("UserGet"), r);
  if (!user) co_return Fail(user.error());
  Out("User: " + run.args[0] + "\n");
  for (const std::string& name : user->roles()) {
    pb::AuthRoleGetRequest get;
    get.set_role(name);
    auto role = co_await (*c)->Call<pb::AuthRoleGetResponse>(run.ctx, Method("RoleGet"), get);
    if (!role) co_return Fail(role.error());
    Out("\n");
    int code = 0;
    if (PrintGeneric(run, *role, code)) continue;
    if (run.format == Format::kFields) {
      Out(FieldsHeader(role->header(), run.flags.hex));
      RoleFields(*role);
    } else {
      PrintRole(name, *role);
    }
  }
  co_return 0;
}

}  // namespace

Task<int> UserGet(Run& run) {
  if (run.args.size() != 1) co_return Needs("user get command requires user name as its argument");
  if (run.flags.detail) co_return co_await UserDetail(run);
  pb::AuthUserGetRequest r;
  r.set_name(run.args[0]);
  co_return co_await Simple<pb::AuthUserGetResponse>(
      run, Method("UserGet"), r,
      [&](const pb::AuthUserGetResponse& u) {
        Out("User: " + run.args[0] + "\nRoles:");
        for (const std::string& role : u.roles()) Out(" " + role);
        Out("\n");
      },
      [&](const pb::AuthUserGetResponse& u) {
        Out("\"Roles\" :");
        for (const std::string& role : u.roles()) Out(" " + base::GoQuote(role));
        Out("\n");
      });
}

Task<int> UserList(Run& run) {
  if (!run.args.empty()) co_return Needs("user list command requires no arguments");
  co_return co_await Simple<pb::AuthUserListResponse>(
      run, Method("UserList"), pb::AuthUserListRequest(),
      [](const pb::AuthUserListResponse& r) {
        for (const std::string& u : r.users()) Out(u + "\n");
      },
      [](const pb::AuthUserListResponse& r) {
        Out("\"Users\" :");
        for (const std::string& u : r.users()) Out(" " + base::GoQuote(u));
        Out("\n");
      });
}

Task<int> UserPasswd(Run& run) {
  if (run.args.size() != 1) co_return Needs("user passwd command requires user name as its argument");
  pb::AuthUserChangePasswordRequest r;
  std::string password;
  if (int code = NewPassword(run, run.args[0], password)) co_return code;
  r.set_name(run.args[0]);
  r.set_password(password);
  co_return co_await Simple<pb::AuthUserChangePasswordResponse>(run, Method("UserChangePassword"), r,
                                                                [](const auto&) { Out("Password updated\n"); });
}

Task<int> UserGrantRole(Run& run) {
  if (run.args.size() != 2) co_return Needs("user grant command requires user name and role name as its argument");
  pb::AuthUserGrantRoleRequest r;
  r.set_user(run.args[0]);
  r.set_role(run.args[1]);
  co_return co_await Simple<pb::AuthUserGrantRoleResponse>(run, Method("UserGrantRole"), r, [&](const auto&) {
    Out("Role " + run.args[1] + " is granted to user " + run.args[0] + "\n");
  });
}

Task<int> UserRevokeRole(Run& run) {
  if (run.args.size() != 2) co_return Needs("user revoke-role requires user name and role name as its argument");
  pb::AuthUserRevokeRoleRequest r;
  r.set_name(run.args[0]);
  r.set_role(run.args[1]);
  co_return co_await Simple<pb::AuthUserRevokeRoleResponse>(run, Method("UserRevokeRole"), r, [&](const auto&) {
    Out("Role " + run.args[1] + " is revoked from user " + run.args[0] + "\n");
  });
}

// ---- roles

Task<int> RoleAdd(Run& run) {
  if (run.args.size() != 1) co_return Needs("role add command requires role name as its argument");
  pb::AuthRoleAddRequest r;
  r.set_name(run.args[0]);
  co_return co_await Simple<pb::AuthRoleAddResponse>(run, Method("RoleAdd"), r,
                                                     [&](const auto&) { Out("Role " + run.args[0] + " created\n"); });
}

Task<int> RoleDelete(Run& run) {
  if (run.args.size() != 1) co_return Needs("role delete command requires role name as its argument");
  pb::AuthRoleDeleteRequest r;
  r.set_role(run.args[0]);
  co_return co_await Simple<pb::AuthRoleDeleteResponse>(
      run, Method("RoleDelete"), r, [&](const auto&) { Out("Role " + run.args[0] + " deleted\n"); });
}

Task<int> RoleGet(Run& run) {
  if (run.args.size() != 1) co_return Needs("role get command requires role name as its argument");
  pb::AuthRoleGetRequest r;
  r.set_role(run.args[0]);
  co_return co_await Simple<pb::AuthRoleGetResponse>(
      run, Method("RoleGet"), r, [&](const pb::AuthRoleGetResponse& out) { PrintRole(run.args[0], out); }, RoleFields);
}

Task<int> RoleList(Run& run) {
  if (!run.args.empty()) co_return Needs("role list command requires no arguments");
  co_return co_await Simple<pb::AuthRoleListResponse>(
      run, Method("RoleList"), pb::AuthRoleListRequest(),
      [](const pb::AuthRoleListResponse& r) {
        for (const std::string& role : r.roles()) Out(role + "\n");
      },
      [](const pb::AuthRoleListResponse& r) {
        Out("\"Roles\" :");
        for (const std::string& role : r.roles()) Out(" " + base::GoQuote(role));
        Out("\n");
      });
}

namespace {

// Key and end of a permission; words from `at` on.
int PermissionRange(const Run& run, size_t at, std::string& key, std::string& end) {
  const Flags& f = run.flags;
  key = run.args[at];
  bool has_end = run.args.size() > at + 1;
  if (f.prefix && f.from_key) return Fail(kExitBadArgs, "--from-key and --prefix flags are mutually exclusive");
  if (key.empty()) {
    key = std::string(1, '\0');
    if (f.prefix || f.from_key) end = std::string(1, '\0');
    return 0;
  }
  if (has_end && f.prefix) return Fail(kExitBadArgs, "unexpected endkey argument with --prefix flag");
  if (has_end && f.from_key) return Fail(kExitBadArgs, "unexpected endkey argument with --from-key flag");
  end = has_end ? run.args[at + 1] : f.prefix ? base::PrefixEnd(key) : f.from_key ? std::string(1, '\0') : "";
  return 0;
}

}  // namespace

Task<int> RoleGrantPermission(Run& run) {
  if (run.args.size() < 3) {
    co_return Needs("role grant command requires role name, permission type, and key [endkey] as its argument");
  }
  std::string type = run.args[1];
  for (char& c : type) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  authpb::Permission::Type kind = authpb::Permission::READ;
  if (!authpb::Permission::Type_Parse(type, &kind)) {
    co_return Fail(kExitBadArgs, "invalid permission type: " + run.args[1]);
  }
  std::string key, end;
  if (int code = PermissionRange(run, 2, key, end)) co_return code;
  pb::AuthRoleGrantPermissionRequest r;
  r.set_name(run.args[0]);
  r.mutable_perm()->set_permtype(kind);
  r.mutable_perm()->set_key(key);
  r.mutable_perm()->set_range_end(end);
  co_return co_await Simple<pb::AuthRoleGrantPermissionResponse>(
      run, Method("RoleGrantPermission"), r, [&](const auto&) { Out("Role " + run.args[0] + " updated\n"); });
}

Task<int> RoleRevokePermission(Run& run) {
  if (run.args.size() < 2) {
    co_return Needs("role revoke-permission command requires role name and key [endkey] as its argument");
  }
  std::string key, end;
  if (int code = PermissionRange(run, 1, key, end)) co_return code;
  pb::AuthRoleRevokePermissionRequest r;
  r.set_role(run.args[0]);
  r.set_key(key);
  r.set_range_end(end);
  co_return co_await Simple<pb::AuthRoleRevokePermissionResponse>(
      run, Method("RoleRevokePermission"), r, [&](const auto&) {
        const std::string& shown = run.args[1];
        std::string what = end.empty()                   ? "key " + shown
                           : end == std::string(1, '\0') ? "range [" + shown + ", <open ended>"
                                                         : "range [" + shown + ", " + end + ")";
        Out("Permission of " + what + " is revoked from role " + run.args[0] + "\n");
      });
}

}  // namespace kvstore::ctl
