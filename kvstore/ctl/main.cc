// kvctl: etcdctl and etcdutl for kvstore (and for etcd).
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/daemon.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/net/dns.h"
#include "kvstore/ctl/commands.h"

namespace kvstore::ctl {
namespace {

void None(base::FlagSet&, Flags&) {}
void Cluster(base::FlagSet& f, Flags& v) {
  f.Add("cluster", &v.cluster, "use all endpoints from the cluster member list");
}
void PutFlags(base::FlagSet& f, Flags& v) {
  f.Add("prev-kv", &v.prev_kv, "return the previous key-value pair before modification");
  f.Add("lease", &v.lease, "lease ID (in hexadecimal) to attach to the key");
  f.Add("ignore-value", &v.ignore_value, "updates the key using its current value");
  f.Add("ignore-lease", &v.ignore_lease, "updates the key using its current lease");
}
void GetFlags(base::FlagSet& f, Flags& v) {
  f.Add("prefix", &v.prefix, "Get keys with matching prefix");
  f.Add("from-key", &v.from_key, "Get keys that are greater than or equal to the given key using byte compare");
  f.Add("limit", &v.limit, "Maximum number of results");
  f.Add("rev", &v.rev, "Specify the kv revision");
  f.Add("order", &v.order, "Order of results; ASCEND or DESCEND (ASCEND by default)");
  f.Add("sort-by", &v.sort_by, "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION");
  f.Add("keys-only", &v.keys_only, "Get only the keys");
  f.Add("count-only", &v.count_only, "Get only the count");
  f.Add("print-value-only", &v.print_value_only, "Only write values when using the \"simple\" output format");
  f.Add("consistency", &v.consistency, "Linearizable(l) or Serializable(s)");
  f.Add("min-mod-rev", &v.min_mod_rev, "Minimum modification revision");
  f.Add("max-mod-rev", &v.max_mod_rev, "Maximum modification revision");
  f.Add("min-create-rev", &v.min_create_rev, "Minimum creation revision");
  f.Add("max-create-rev", &v.max_create_rev, "Maximum creation revision");
  f.Add("stream", &v.stream, "Use the RangeStream RPC");
}
void DelFlags(base::FlagSet& f, Flags& v) {
  f.Add("prefix", &v.prefix, "delete keys with matching prefix");
  f.Add("from-key", &v.from_key, "delete keys that are greater than or equal to the given key using byte compare");
  f.Add("prev-kv", &v.prev_kv, "return deleted key-value pairs");
  f.Add("range", &v.range, "delete range of keys");
}
void WatchFlags(base::FlagSet& f, Flags& v) {
  f.Add("prefix", &v.prefix, "Watch on a prefix if prefix is set");
  f.Add("rev", &v.rev, "Revision to start watching");
  f.Add("prev-kv", &v.prev_kv, "get the previous key-value pair before the event happens");
  f.Add("progress-notify", &v.progress_notify, "get periodic watch progress notification from server");
  f.Add("interactive", &v.interactive, "Interactive mode").Short('i');
}
void PermissionFlags(base::FlagSet& f, Flags& v) {
  f.Add("prefix", &v.prefix, "a prefix permission");
  f.Add("from-key", &v.from_key, "a permission of keys that are greater than or equal to the given key");
}
void PeerUrls(base::FlagSet& f, Flags& v) {
  f.Add("peer-urls", &v.peer_urls, "comma separated peer URLs for the member.");
  f.Add("learner", &v.learner, "indicates if the new member is raft learner");
}
void RestoreFlags(base::FlagSet& f, Flags& v) {
  f.Add("data-dir", &v.data_dir, "Path to the output data directory");
  f.Add("wal-dir", &v.wal_dir, "Path to the WAL directory (use --data-dir if none given)");
  f.Add("name", &v.name, "Human-readable name for this member");
  f.Add("initial-cluster", &v.initial_cluster, "Initial cluster configuration for restore bootstrap");
  f.Add("initial-cluster-token", &v.initial_cluster_token, "Initial cluster token for the etcd cluster");
  f.Add("initial-advertise-peer-urls", &v.initial_advertise_peer_urls, "List of this member's peer URLs");
  f.Add("skip-hash-check", &v.skip_hash_check, "Ignore snapshot integrity hash value");
  f.Add("bump-revision", &v.bump_revision, "How much to increase the latest revision after restore");
  f.Add("mark-compacted", &v.mark_compacted, "Mark the latest revision after restore as compacted");
  f.Add("initial-memory-map-size", &v.initial_memory_map_size, "Accepted; no database is mapped into memory here");
}
void CheckFlags(base::FlagSet& f, Flags& v) {
  f.Add("load", &v.load, "The workload: s(small), m(medium), l(large), xl(xLarge)");
  f.Add("prefix", &v.check_prefix, "The prefix for writing the check's keys.");
  f.Add("auto-compact", &v.auto_compact, "Compact storage with last revision after test is finished.");
  f.Add("auto-defrag", &v.auto_defrag, "Defragment storage after test is finished.");
}
void MirrorFlags(base::FlagSet& f, Flags& v) {
  f.Add("prefix", &v.prefix_text, "Key-value prefix to mirror");
  f.Add("rev", &v.rev, "Specify the kv revision to start to mirror");
  f.Add("max-txn-ops", &v.max_txn_ops, "Maximum number of operations permitted in a transaction");
  f.Add("dest-prefix", &v.dest_prefix, "destination prefix to mirror a prefix to a different prefix");
  f.Add("no-dest-prefix", &v.no_dest_prefix, "mirror key-values to the root of the destination cluster");
  f.Add("dest-cacert", &v.dest_cacert, "CA bundle of the destination cluster");
  f.Add("dest-cert", &v.dest_cert, "client certificate for the destination cluster");
  f.Add("dest-key", &v.dest_key, "its key");
  f.Add("dest-insecure-transport", &v.dest_insecure_transport, "Disable transport security to the destination");
  f.Add("dest-user", &v.dest_user, "Destination username[:password]");
  f.Add("dest-password", &v.dest_password, "Destination password");
}

}  // namespace

const std::vector<Command>& Commands() {
  static const std::vector<Command> commands = {
      {"put", "put [options] <key> <value> (<value> can also be given from stdin)", PutFlags, Put},
      {"get", "get [options] <key> [range_end]", GetFlags, Get},
      {"del", "del [options] <key> [range_end]", DelFlags, Del},
      {"txn", "txn [options]",
       [](base::FlagSet& f, Flags& v) {
         f.Add("interactive", &v.interactive, "Input transaction in interactive mode").Short('i');
       },
       Txn},
      {"watch", "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]", WatchFlags, Watch},
      {"compaction", "compaction [options] <revision>",
       [](base::FlagSet& f, Flags& v) {
         f.Add("physical", &v.physical, "wait for compaction to physically remove all old revisions");
       },
       Compaction},
      {"lease grant", "lease grant <ttl>", None, LeaseGrant},
      {"lease revoke", "lease revoke <leaseID>", None, LeaseRevoke},
      {"lease timetolive", "lease timetolive <leaseID> [options]",
       [](base::FlagSet& f, Flags& v) { f.Add("keys", &v.keys, "Get keys attached to this lease"); }, LeaseTimeToLive},
      {"lease list", "lease list", None, LeaseList},
      {"lease keep-alive", "lease keep-alive [options] <leaseID>",
       [](base::FlagSet& f, Flags& v) { f.Add("once", &v.once, "renew once and exit"); }, LeaseKeepAlive},
      {"lock", "lock <lockname> [exec-command arg1 arg2 ...]",
       [](base::FlagSet& f, Flags& v) { f.Add("ttl", &v.ttl, "timeout for session"); }, Lock},
      {"elect", "elect <election-name> [proposal]",
       [](base::FlagSet& f, Flags& v) { f.Add("listen", &v.listen, "observation mode").Short('l'); }, Elect},
      {"auth enable", "auth enable", None, AuthEnable},
      {"auth disable", "auth disable", None, AuthDisable},
      {"auth status", "auth status", None, AuthStatus},
      {"user add", "user add <user name or user:password> [options]",
       [](base::FlagSet& f, Flags& v) {
         f.Add("interactive", &v.password_interactive, "Read password from the terminal");
         f.Add("new-user-password", &v.new_user_password, "Supply password from the command line flag");
         f.Add("no-password", &v.no_password, "Create a user without password (CN based auth only)");
       },
       UserAdd},
      {"user delete", "user delete <user name>", None, UserDelete},
      {"user get", "user get <user name> [options]",
       [](base::FlagSet& f, Flags& v) { f.Add("detail", &v.detail, "Show permissions of roles granted to the user"); },
       UserGet},
      {"user list", "user list", None, UserList},
      {"user passwd", "user passwd <user name> [options]",
       [](base::FlagSet& f, Flags& v) {
         f.Add("interactive", &v.password_interactive, "Read password from the terminal");
       },
       UserPasswd},
      {"user grant-role", "user grant-role <user name> <role name>", None, UserGrantRole},
      {"user revoke-role", "user revoke-role <user name> <role name>", None, UserRevokeRole},
      {"role add", "role add <role name>", None, RoleAdd},
      {"role delete", "role delete <role name>", None, RoleDelete},
      {"role get", "role get <role name>", None, RoleGet},
      {"role list", "role list", None, RoleList},
      {"role grant-permission", "role grant-permission [options] <role name> <permission type> <key> [endkey]",
       PermissionFlags, RoleGrantPermission},
      {"role revoke-permission", "role revoke-permission <role name> <key> [endkey]", PermissionFlags,
       RoleRevokePermission},
      {"member add", "member add <memberName> [options]", PeerUrls, MemberAdd},
      {"member remove", "member remove <memberID>", None, MemberRemove},
      {"member update", "member update <memberID> [options]", PeerUrls, MemberUpdate},
      {"member promote", "member promote <memberID>", None, MemberPromote},
      {"member list", "member list",
       [](base::FlagSet& f, Flags& v) { f.Add("consistency", &v.consistency, "Linearizable(l) or Serializable(s)"); },
       MemberList},
      {"endpoint status", "endpoint status", Cluster, EndpointStatus},
      {"endpoint health", "endpoint health", Cluster, EndpointHealth},
      {"endpoint hashkv", "endpoint hashkv [--rev N]",
       [](base::FlagSet& f, Flags& v) {
         Cluster(f, v);
         f.Add("rev", &v.rev, "maximum revision to hash (default: latest revision)");
       },
       EndpointHashKv},
      {"alarm list", "alarm list", None, AlarmList},
      {"alarm disarm", "alarm disarm", None, AlarmDisarm},
      {"defrag", "defrag [--data-dir DIR]",
       [](base::FlagSet& f, Flags& v) {
         Cluster(f, v);
         f.Add("data-dir", &v.data_dir, "a data directory that is not in use");
       },
       Defrag},
      {"move-leader", "move-leader <transferee-member-id>", None, MoveLeader},
      {"downgrade validate", "downgrade validate <TARGET_VERSION>", None, DowngradeValidate},
      {"downgrade enable", "downgrade enable <TARGET_VERSION>", None, DowngradeEnable},
      {"downgrade cancel", "downgrade cancel", None, DowngradeCancel},
      {"snapshot save", "snapshot save <filename>", None, SnapshotSave},
      {"snapshot status", "snapshot status <filename>", None, SnapshotStatus},
      {"snapshot restore", "snapshot restore <filename> --data-dir {output dir} [options]", RestoreFlags,
       SnapshotRestore},
      {"hashkv", "hashkv <filename>",
       [](base::FlagSet& f, Flags& v) { f.Add("rev", &v.rev, "maximum revision to hash (default: latest revision)"); },
       FileHashKv},
      {"backup", "backup --to DIR [--every 1h] [--keep 24]",
       [](base::FlagSet& f, Flags& v) {
         f.Add("to", &v.to, "directory of the backups");
         f.Add("every", &v.every, "time between backups (0: one, then exit)");
         f.Add("keep", &v.keep, "backups to keep");
       },
       Backup},
      {"restore", "restore --from FILE-OR-DIR --data-dir DIR [options]",
       [](base::FlagSet& f, Flags& v) {
         f.Add("from", &v.from, "a backup, or a directory whose newest one is taken");
         RestoreFlags(f, v);
       },
       RestoreBackup},
      {"check perf", "check perf [options]", CheckFlags, CheckPerf},
      {"check datascale", "check datascale [options]", CheckFlags, CheckDatascale},
      {"migrate", "migrate --data-dir DIR --target-version X.Y",
       [](base::FlagSet& f, Flags& v) {
         f.Add("data-dir", &v.data_dir, "Path to the etcd data dir");
         f.Add("target-version", &v.target_version, "Target etcd version, X.Y");
         f.Add("force", &v.force, "Accepted; there is nothing that could be forced");
       },
       Migrate},
      {"make-mirror", "make-mirror [options] <destination>", MirrorFlags, MakeMirror},
      {"completion", "completion bash|zsh|fish", None, Completion},
  };
  return commands;
}

const Command* FindCommand(std::string_view words) {
  if (words == "compact") words = "compaction";
  for (const Command& c : Commands()) {
    if (words == c.words) return &c;
  }
  return nullptr;
}

namespace {

constexpr std::string_view kGlobalsWithValue[] = {"--endpoints",
                                                  "--cacert",
                                                  "--cert",
                                                  "--key",
                                                  "--write-out",
                                                  "--dial-timeout",
                                                  "--command-timeout",
                                                  "--user",
                                                  "--password",
                                                  "--keepalive-time",
                                                  "--auth-jwt-token",
                                                  "--keepalive-timeout",
                                                  "--max-request-bytes",
                                                  "--discovery-srv",
                                                  "--discovery-srv-name",
                                                  "-d",
                                                  "-w",
                                                  "--max-recv-bytes"};

// The command is the first words that are neither flags nor values of global flags; `first` is the first of them.
const Command* CommandOf(const std::vector<std::string>& args, std::string& first) {
  std::vector<std::string> words;
  for (size_t i = 0; i < args.size() && words.size() < 2; ++i) {
    if (!args[i].starts_with("-")) {
      words.push_back(args[i]);
    } else if (std::find(std::begin(kGlobalsWithValue), std::end(kGlobalsWithValue), args[i]) !=
               std::end(kGlobalsWithValue)) {
      ++i;
    }
  }
  if (words.empty()) return nullptr;
  first = words[0];
  const Command* one = FindCommand(words[0]);
  return one != nullptr || words.size() < 2 ? one : FindCommand(words[0] + " " + words[1]);
}

std::string Usage() {
  std::string out = "NAME:\n\tkvctl - A command line client for kvstore and etcd.\n\nCOMMANDS:\n";
  for (const Command& c : Commands()) out += "\t" + std::string(c.usage) + "\n";
  return out + "\tversion\n\nFlags of a command: kvctl <command> --help\n";
}

void AddGlobals(base::FlagSet& set, Flags& flags) {
  ClientFlags& c = flags.client;
  set.Section("Global");
  set.Add("endpoints", &c.endpoints, "gRPC endpoints");
  set.Add("cacert", &c.cacert, "verify certificates of TLS-enabled secure servers using this CA bundle");
  set.Add("cert", &c.cert, "identify secure client using this TLS certificate file");
  set.Add("key", &c.key, "identify secure client using this TLS key file");
  set.Add("insecure-skip-tls-verify", &c.insecure_skip_tls_verify, "skip server certificate verification");
  set.Add("insecure-transport", &c.insecure_transport, "disable transport security for client connections");
  set.Add("user", &c.user, "username[:password] for authentication");
  set.Add("password", &c.password, "password for authentication");
  set.Add("auth-jwt-token", &c.token, "JWT token used for authentication");
  set.Add("command-timeout", &c.command_timeout, "timeout for short running command (excluding dial timeout)");
  set.Add("dial-timeout", &c.dial_timeout, "dial timeout for client connections");
  set.Add("keepalive-time", &c.keepalive_time, "keepalive time for client connections");
  set.Add("keepalive-timeout", &c.keepalive_timeout, "keepalive timeout for client connections");
  set.Add("max-request-bytes", &c.max_request_bytes, "client-side request send limit in bytes");
  set.Add("max-recv-bytes", &c.max_receive_bytes, "client-side response receive limit in bytes");
  set.Add("write-out", &flags.write_out, "set the output format (fields, json, protobuf, simple, table)").Short('w');
  set.Add("hex", &flags.hex, "print byte strings as hex encoded strings");
  set.Add("debug", &flags.debug, "enable client-side debug logging");
  set.Add("timeout", &flags.lock_timeout, "accepted; commands on files wait for no lock").Hidden();
  set.Add("discovery-srv", &flags.discovery_domain, "domain name to query for SRV records describing cluster endpoints")
      .Short('d');
  set.Add("discovery-srv-name", &flags.discovery_service, "service name to query when using DNS discovery");
  set.Add("insecure-discovery", &flags.insecure_discovery, "accept insecure SRV records describing cluster endpoints");
}

// Endpoints from DNS, in place of those of the flag where there are any.
base::Status Discover(Flags& flags) {
  if (flags.discovery_domain.empty()) return base::Ok();
  std::string suffix = flags.discovery_service.empty() ? "" : "-" + flags.discovery_service, errors;
  std::vector<std::string> found;
  bool any = false;
  for (const auto& [scheme, service] : {std::pair("https", "etcd-client-ssl"), std::pair("http", "etcd-client")}) {
    auto records = base::net::MachineNameService().Services(service + suffix, flags.discovery_domain);
    if (!records) {
      errors += (errors.empty() ? "" : " and ") + std::string(records.error().message());
      continue;
    }
    any = true;
    for (const base::net::ServiceRecord& r : *records) {
      std::string endpoint = std::string(scheme) + "://" + r.target + ":" + std::to_string(r.port);
      if (flags.insecure_discovery || endpoint.starts_with("https://")) {
        found.push_back(std::move(endpoint));
      } else {
        std::fprintf(stderr, "ignoring discovered insecure endpoint %s\n", base::GoQuote(endpoint).c_str());
      }
    }
  }
  if (!any) return base::NotFound("dns lookup errors: " + errors);
  if (!flags.insecure_discovery) flags.client.server_name = flags.discovery_domain;
  if (!found.empty()) flags.client.endpoints = std::move(found);
  return base::Ok();
}

base::Task<base::Status> RunCommand(const Command& command, Run run, int& code) {
  code = co_await command.run(run);
  std::fflush(stdout);
  co_return base::Ok();
}

// How the command is used, as the original's help has it.
std::string UsageOf(const std::string& program, const Command& command) {
  Flags ignored;
  bool help = false;
  std::string_view words = command.words;
  base::FlagSet own({.name = program});
  own.Section("Own");
  command.add_flags(own, ignored);
  own.Add("help", &help, "help for " + std::string(words.substr(words.rfind(' ') + 1))).Short('h');
  std::string text = own.Help();
  constexpr std::string_view kHead = "Own flags:\n\n", kTail = "\nGlobal flags:";
  size_t from = text.find(kHead) + kHead.size();
  return "Usage:\n  " + program + " " + command.usage + " [flags]\n\nFlags:\n" +
         text.substr(from, text.find(kTail, from) - from);
}

int RunMain(const std::string& program_name, const Command& command, std::vector<std::string> args) {
  // What stands behind "--" is a program's, for commands that start one.
  std::vector<std::string> program;
  if (auto dashes = std::find(args.begin(), args.end(), "--"); dashes != args.end() && command.run != Put) {
    program.assign(dashes + 1, args.end());
    args.erase(dashes, args.end());
  }
  Flags flags;
  base::FlagSet set({.name = std::string("kvctl ") + command.words, .env_prefix = "ETCDCTL_"});
  set.AllowPositional();
  command.add_flags(set, flags);
  AddGlobals(set, flags);
  if (base::Status s = set.Parse(args); !s.ok()) {
    std::fprintf(stderr, "Error: %s\n%s\n", std::string(s.message()).c_str(), UsageOf(program_name, command).c_str());
    return kExitError;
  }
  if (set.help_requested()) {
    Out(UsageOf(program_name, command) + "\nGlobal flags: " + program_name + " options\n");
    return 0;
  }
  if (base::Status s = Discover(flags); !s.ok()) return Fail(kExitError, s.message());
  auto format = ParseFormat(flags.write_out);
  if (!format) return Fail(kExitBadFeature, format.error().message());
  size_t words = 1 + static_cast<size_t>(std::count(command.words, command.words + std::strlen(command.words), ' '));
  std::vector<std::string> rest(set.positional().begin() + static_cast<long>(words), set.positional().end());
  // Only what went wrong: a signal that ends a watch is no news.
  (void)base::SetupLogging({.minimum = base::LogLevel::kError});
  base::Daemon daemon;
  int code = 0;
  Run run{daemon.loop(), daemon.context(), flags, *format, std::move(rest), std::move(program)};
  int failed = daemon.Run([&](base::Daemon&) { return RunCommand(command, std::move(run), code); });
  return code != 0 ? code : failed;
}

int Main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  // Linked to under the originals' names it answers with them.
  std::string name(argv[0]);
  name = name.substr(name.rfind('/') + 1);
  if (!args.empty() && args[0] == "version") {
    Out(name + " version: 3.7.1\nAPI version: 3.7\n");
    return 0;
  }
  if (!args.empty() && args[0] == "options") {
    Flags flags;
    base::FlagSet set({.name = name});
    AddGlobals(set, flags);
    Out(set.Help());
    return 0;
  }
  std::string first;
  if (const Command* command = CommandOf(args, first)) return RunMain(name, *command, std::move(args));
  bool help = args.empty() || first == "help" || args[0] == "--help" || args[0] == "-h";
  if (help) {
    Out(Usage());
    return 0;
  }
  std::fprintf(stderr, "Error: unknown command %s for \"%s\"\nRun '%s --help' for usage.\n",
               base::GoQuote(first).c_str(), name.c_str(), name.c_str());
  return kExitError;
}

}  // namespace
}  // namespace kvstore::ctl

int main(int argc, char** argv) { return kvstore::ctl::Main(argc, argv); }
