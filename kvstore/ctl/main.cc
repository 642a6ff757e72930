// kvctl: etcdctl and etcdutl for kvstore (and for etcd).
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/daemon.h"
#include "base/log.h"
#include "kvstore/ctl/commands.h"

namespace kvstore::ctl {
namespace {

void RangeFlags(base::FlagSet& f, Flags& v) {
  f.Add("prefix", &v.prefix, "keys with matching prefix");
  f.Add("from-key", &v.from_key, "keys that are greater than or equal to the given key using byte compare");
  f.Add("prev-kv", &v.prev_kv, "previous key-value pairs");
}
void None(base::FlagSet&, Flags&) {}

}  // namespace

const std::vector<Command>& Commands() {
  static const std::vector<Command> commands = {
      {"put", "put [options] <key> <value>",
       [](base::FlagSet& f, Flags& v) {
         f.Add("prev-kv", &v.prev_kv, "return the previous key-value pair before modification");
         f.Add("lease", &v.lease, "lease ID (in hexadecimal) to attach to the key");
         f.Add("ignore-value", &v.ignore_value, "updates the key using its current value");
         f.Add("ignore-lease", &v.ignore_lease, "updates the key using its current lease");
       },
       Put},
      {"get", "get [options] <key> [range_end]",
       [](base::FlagSet& f, Flags& v) {
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
       },
       Get},
      {"del", "del [options] <key> [range_end]", RangeFlags, Del},
      {"watch", "watch [options] <key> [range_end]",
       [](base::FlagSet& f, Flags& v) {
         f.Add("prefix", &v.prefix, "Watch on a prefix if prefix is set");
         f.Add("rev", &v.rev, "Revision to start watching");
         f.Add("prev-kv", &v.prev_kv, "get the previous key-value pair before the event happens");
         f.Add("progress-notify", &v.progress_notify, "get periodic watch progress notification from server");
       },
       Watch},
      {"compaction", "compaction <revision>", None, Compaction},
      {"compact", "compact <revision>", None, Compaction},
      {"member list", "member list", None, MemberList},
      {"endpoint status", "endpoint status", None, EndpointStatus},
      {"endpoint health", "endpoint health", None, EndpointHealth},
      {"endpoint hashkv", "endpoint hashkv [--rev N]",
       [](base::FlagSet& f, Flags& v) { f.Add("rev", &v.rev, "maximum revision to hash (0 = all)"); }, EndpointHashKv},
      {"alarm list", "alarm list", None, AlarmList},
      {"snapshot save", "snapshot save <filename>", None, SnapshotSave},
      {"snapshot status", "snapshot status <filename>", None, SnapshotStatus},
      {"snapshot restore", "snapshot restore <filename> --data-dir {output dir} [options]",
       [](base::FlagSet& f, Flags& v) {
         f.Add("data-dir", &v.data_dir, "Path to the output data directory");
         f.Add("wal-dir", &v.wal_dir, "Path to the WAL directory (use --data-dir if none given)");
         f.Add("name", &v.name, "Human-readable name for this member");
         f.Add("initial-cluster", &v.initial_cluster, "Initial cluster configuration for restore bootstrap");
         f.Add("initial-cluster-token", &v.initial_cluster_token, "Initial cluster token for the etcd cluster");
         f.Add("initial-advertise-peer-urls", &v.initial_advertise_peer_urls, "List of this member's peer URLs");
         f.Add("skip-hash-check", &v.skip_hash_check, "Ignore snapshot integrity hash value");
         f.Unsupported({"bump-revision", "mark-compacted", "initial-memory-map-size"});
       },
       SnapshotRestore},
  };
  return commands;
}

namespace {

constexpr std::string_view kGlobalsWithValue[] = {"--endpoints", "--cacert",          "--cert",         "--key",
                                                  "--write-out", "--command-timeout", "--dial-timeout", "-w"};

// The command is the first words that are neither flags nor values of global flags.
const Command* FindCommand(const std::vector<std::string>& args) {
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
  for (const Command& c : Commands()) {
    if (c.words == words[0] || (words.size() == 2 && c.words == words[0] + " " + words[1])) return &c;
  }
  return nullptr;
}

std::string Usage() {
  std::string out = "NAME:\n\tkvctl - A command line client for kvstore and etcd.\n\nCOMMANDS:\n";
  for (const Command& c : Commands()) out += "\t" + std::string(c.usage) + "\n";
  return out + "\tversion\n\nFlags of a command: kvctl <command> --help\n";
}

base::Task<base::Status> RunCommand(base::Daemon& daemon, const Command& command, Run run, int& code) {
  code = co_await command.run(run);
  std::fflush(stdout);
  co_return base::Ok();
}

}  // namespace

int Main(int argc, char** argv) {
  std::vector<std::string> args(argv + 1, argv + argc);
  if (args == std::vector<std::string>{"version"}) {
    // Linked to under the originals' names it answers with them.
    std::string name(argv[0]);
    Out(name.substr(name.rfind('/') + 1) + " version: 3.7.1\nAPI version: 3.7\n");
    return 0;
  }
  const Command* command = FindCommand(args);
  if (command == nullptr) {
    bool help = args.empty() || args[0] == "help" || args[0] == "--help" || args[0] == "-h";
    if (help) {
      Out(Usage());
      return 0;
    }
    std::fprintf(stderr, "Error: unknown command %s for \"kvctl\"\nRun 'kvctl --help' for usage.\n",
                 base::GoQuote(args[0]).c_str());
    return kExitError;
  }
  Flags flags;
  base::FlagSet set({.name = std::string("kvctl ") + command->words, .env_prefix = "ETCDCTL_"});
  set.AllowPositional();
  command->add_flags(set, flags);
  set.Section("Global");
  set.Add("endpoints", &flags.client.endpoints, "gRPC endpoints");
  set.Add("cacert", &flags.client.cacert, "verify certificates of TLS-enabled secure servers using this CA bundle");
  set.Add("cert", &flags.client.cert, "identify secure client using this TLS certificate file");
  set.Add("key", &flags.client.key, "identify secure client using this TLS key file");
  set.Add("insecure-skip-tls-verify", &flags.client.insecure_skip_tls_verify, "skip server certificate verification");
  set.Add("command-timeout", &flags.client.command_timeout,
          "timeout for short running command (excluding dial timeout)");
  set.Add("dial-timeout", &flags.client.dial_timeout, "dial timeout for client connections");
  set.Add("write-out", &flags.write_out, "set the output format (fields, json, simple, table)").Short('w');
  set.Add("hex", &flags.hex, "print byte strings as hex encoded strings");
  set.Unsupported({"user", "password", "debug", "discovery-srv", "keepalive-time", "keepalive-timeout", "cluster"});
  if (auto code = set.ParseOrExitCode(argc, argv)) return *code;
  auto format = ParseFormat(flags.write_out);
  if (!format) return Fail(kExitBadFeature, format.error().message());
  size_t words = 1 + static_cast<size_t>(std::count(command->words, command->words + std::strlen(command->words), ' '));
  std::vector<std::string> rest(set.positional().begin() + static_cast<long>(words), set.positional().end());
  base::Daemon daemon;
  int code = 0;
  Run run{daemon.loop(), daemon.context(), flags, *format, std::move(rest)};
  int failed = daemon.Run([&](base::Daemon& d) { return RunCommand(d, *command, std::move(run), code); });
  return code != 0 ? code : failed;
}

}  // namespace kvstore::ctl

int main(int argc, char** argv) { return kvstore::ctl::Main(argc, argv); }
