// kvctl's commands. Each takes its words and flags and returns the exit code; output goes to stdout, errors to stderr
// as etcdctl words them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/flags.h"
#include "kvstore/client/client.h"
#include "kvstore/ctl/print.h"

namespace google::protobuf {
class Message;
}
namespace etcdserverpb {
class DeleteRangeRequest;
class DeleteRangeResponse;
class PutRequest;
class PutResponse;
class RangeRequest;
class RangeResponse;
}  // namespace etcdserverpb

namespace kvstore::ctl {

using client::ClientFlags;
using client::Connection;

// Exit codes of the original.
inline constexpr int kExitError = 1;
inline constexpr int kExitBadConnection = 2;
inline constexpr int kExitInvalidInput = 3;
inline constexpr int kExitBadFeature = 4;
inline constexpr int kExitInterrupted = 5;
inline constexpr int kExitBadArgs = 128;

// Every flag of every command; a command adds the ones it knows.
struct Flags {
  ClientFlags client;
  std::string write_out = "simple";
  bool hex = false, debug = false;
  std::string discovery_domain, discovery_service;
  bool insecure_discovery = true;
  // keys
  bool prefix = false, from_key = false, keys_only = false, count_only = false, print_value_only = false;
  bool prev_kv = false, ignore_value = false, ignore_lease = false, progress_notify = false, interactive = false;
  bool range = false, physical = false, stream = false;
  int64_t limit = 0, rev = 0;
  int64_t min_mod_rev = 0, max_mod_rev = 0, min_create_rev = 0, max_create_rev = 0;
  std::string order, sort_by, consistency = "l", lease = "0";
  // leases, locks, elections
  bool once = false, keys = false, listen = false;
  int64_t ttl = 10;
  // users and roles
  bool detail = false, no_password = false;
  bool password_interactive = true;
  std::string new_user_password;
  // members
  std::vector<std::string> peer_urls;
  bool learner = false, cluster = false;
  // snapshots
  std::string data_dir, wal_dir, name = "default", initial_cluster, initial_cluster_token = "etcd-cluster";
  std::vector<std::string> initial_advertise_peer_urls = {"http://localhost:2380"};
  bool skip_hash_check = false, mark_compacted = false;
  uint64_t bump_revision = 0, initial_memory_map_size = 0;
  std::string target_version;
  bool force = false;
  base::Duration lock_timeout = std::chrono::seconds(10);
  // backups
  std::string to, from;
  base::Duration every{};
  uint32_t keep = 24;
  // checks and mirrors
  std::string load = "s", check_prefix, dest_prefix;
  std::string dest_cacert, dest_cert, dest_key, dest_user, dest_password;
  std::string prefix_text;  // make-mirror: a prefix, not a switch
  bool no_dest_prefix = false, auto_compact = false, auto_defrag = false, dest_insecure_transport = true;
  int64_t max_txn_ops = 128;
};

struct Run {
  base::Loop& loop;
  base::Context ctx;  // ends with the first signal
  const Flags& flags;
  Format format;
  std::vector<std::string> args;     // behind the command's words
  std::vector<std::string> program;  // behind "--"
  std::vector<std::string> Endpoints() const { return flags.client.endpoints; }
};

struct Command {
  const char* words;  // "member list"
  const char* usage;
  const char* about;     // a sentence
  const char* examples;  // lines that go behind the program's name
  void (*add_flags)(base::FlagSet&, Flags&);
  base::Task<int> (*run)(Run&);
  enum class Kind {
    kCall,     // asks servers; a signal just ends it
    kSession,  // has something to give back when a signal comes, and ends with a code of its own
    kOffline,  // asks nobody
  } kind = Kind::kCall;
};
const std::vector<Command>& Commands();
// "compact" is "compaction" too; null for words that are no command.
const Command* FindCommand(std::string_view words);

base::Task<int> Put(Run& run);
base::Task<int> Get(Run& run);
base::Task<int> Del(Run& run);
base::Task<int> Txn(Run& run);
base::Task<int> Watch(Run& run);
base::Task<int> Compaction(Run& run);
base::Task<int> LeaseGrant(Run& run);
base::Task<int> LeaseRevoke(Run& run);
base::Task<int> LeaseTimeToLive(Run& run);
base::Task<int> LeaseList(Run& run);
base::Task<int> LeaseKeepAlive(Run& run);
base::Task<int> Lock(Run& run);
base::Task<int> Elect(Run& run);
base::Task<int> AuthEnable(Run& run);
base::Task<int> AuthDisable(Run& run);
base::Task<int> AuthStatus(Run& run);
base::Task<int> UserAdd(Run& run);
base::Task<int> UserDelete(Run& run);
base::Task<int> UserGet(Run& run);
base::Task<int> UserList(Run& run);
base::Task<int> UserPasswd(Run& run);
base::Task<int> UserGrantRole(Run& run);
base::Task<int> UserRevokeRole(Run& run);
base::Task<int> RoleAdd(Run& run);
base::Task<int> RoleDelete(Run& run);
base::Task<int> RoleGet(Run& run);
base::Task<int> RoleList(Run& run);
base::Task<int> RoleGrantPermission(Run& run);
base::Task<int> RoleRevokePermission(Run& run);
base::Task<int> MemberAdd(Run& run);
base::Task<int> MemberRemove(Run& run);
base::Task<int> MemberUpdate(Run& run);
base::Task<int> MemberPromote(Run& run);
base::Task<int> MemberList(Run& run);
base::Task<int> EndpointStatus(Run& run);
base::Task<int> EndpointHealth(Run& run);
base::Task<int> EndpointHashKv(Run& run);
base::Task<int> AlarmList(Run& run);
base::Task<int> AlarmDisarm(Run& run);
base::Task<int> MoveLeader(Run& run);
base::Task<int> Defrag(Run& run);
base::Task<int> Dump(Run& run);
// Without a server: nobody may be using the directory.
base::Status DefragmentDirectory(const std::string& data_dir);
base::Task<int> DowngradeValidate(Run& run);
base::Task<int> DowngradeEnable(Run& run);
base::Task<int> DowngradeCancel(Run& run);
base::Task<int> SnapshotSave(Run& run);
base::Task<int> SnapshotStatus(Run& run);
base::Task<int> SnapshotRestore(Run& run);
base::Task<int> FileHashKv(Run& run);
base::Task<int> Backup(Run& run);
base::Task<int> RestoreBackup(Run& run);
base::Task<int> CheckPerf(Run& run);
base::Task<int> CheckDatascale(Run& run);
base::Task<int> Migrate(Run& run);
base::Task<int> MakeMirror(Run& run);
base::Task<int> Completion(Run& run);

// ---- what the commands share

// "Error: text" on stderr; the code.
int Fail(int code, std::string_view text);
int Fail(const base::Status& why, int code = kExitError);
// When no connection could be had: flags that make none are the caller's error, not a server's.
int FailToConnect(const ClientFlags& flags, const base::Status& why);
// A line of the standard input, not shown where it is typed.
std::string AskSecret(const std::string& prompt);
// As the Go client words an error it got.
std::string ErrorText(const base::Status& why);
void Out(std::string_view text);
// JSON, protobuf and the formats a command does not have; true when that was all.
bool PrintGeneric(const Run& run, const google::protobuf::Message& m, int& code);
base::Task<base::Result<std::unique_ptr<Connection>>> Connect(const Run& run);
base::Task<base::Result<std::unique_ptr<Connection>>> ConnectTo(const Run& run, std::string endpoint);
// Asks one member to defragment.
base::Task<base::Status> DefragmentOne(const Run& run, std::string endpoint);
// Words and flags into requests; an exit code when they make none.
// A value that is not among the words is read from the standard input, unless that holds a transaction.
int BuildPut(const Run& run, etcdserverpb::PutRequest& r, bool may_read);
int BuildGet(const Run& run, etcdserverpb::RangeRequest& r);
int BuildDel(const Run& run, etcdserverpb::DeleteRangeRequest& r);
void PrintPut(const Run& run, const etcdserverpb::PutResponse& r);
void PrintGet(const Run& run, const etcdserverpb::RangeResponse& r);
void PrintDel(const Run& run, const etcdserverpb::DeleteRangeResponse& r);
// Runs a program with the environment's variables and more; its exit code, or why it could not be started as Go's
// os/exec words it. Blocks: for pools.
base::Result<int> RunProgram(const std::vector<std::string>& argv, const std::vector<std::string>& environment);

// One call of no particular shape: request out, answer printed by `simple` and `fields`.
template <class Response, class Request>
base::Task<int> Simple(Run& run, std::string method, Request request, std::function<void(const Response&)> simple,
                       std::function<void(const Response&)> fields = nullptr) {
  auto c = co_await Connect(run);
  if (!c) co_return FailToConnect(run.flags.client, c.error());
  auto out = co_await (*c)->template Call<Response>(run.ctx, std::move(method), std::move(request));
  if (!out) co_return Fail(out.error());
  int code = 0;
  if (PrintGeneric(run, *out, code)) co_return code;
  if (run.format == Format::kFields) {
    Out(FieldsHeader(out->header(), run.flags.hex));
    if (fields) fields(*out);
  } else {
    simple(*out);
  }
  co_return 0;
}

}  // namespace kvstore::ctl
