// The table of kvctl's commands, and the flags of each.
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
  f.Add("min-create-rev", &v.min_create_rev, "Minimum create revision");
  f.Add("max-create-rev", &v.max_create_rev, "Maximum create revision");
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
  f.Add("initial-cluster", &v.initial_cluster,
        "Initial cluster configuration for restore bootstrap (default: the member alone, at its peer URLs)");
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

void Interactive(base::FlagSet& f, Flags& v) {
  f.Add("interactive", &v.interactive, "Input transaction in interactive mode").Short('i');
}
void Physical(base::FlagSet& f, Flags& v) {
  f.Add("physical", &v.physical, "'true' to wait for compaction to physically remove all old revisions");
}
void Keys(base::FlagSet& f, Flags& v) { f.Add("keys", &v.keys, "Get keys attached to this lease"); }
void Once(base::FlagSet& f, Flags& v) { f.Add("once", &v.once, "renew once and exit"); }
void SessionTtl(base::FlagSet& f, Flags& v) { f.Add("ttl", &v.ttl, "timeout for session"); }
void Listen(base::FlagSet& f, Flags& v) { f.Add("listen", &v.listen, "observation mode").Short('l'); }
void UserAddFlags(base::FlagSet& f, Flags& v) {
  f.Add("interactive", &v.password_interactive, "Read password from the terminal");
  f.Add("new-user-password", &v.new_user_password, "Supply password from the command line flag");
  f.Add("no-password", &v.no_password, "Create a user without password (CN based auth only)");
}
void Detail(base::FlagSet& f, Flags& v) { f.Add("detail", &v.detail, "Show permissions of roles granted to the user"); }
void PasswordFlags(base::FlagSet& f, Flags& v) {
  f.Add("interactive", &v.password_interactive, "Read password from the terminal");
}
void Consistency(base::FlagSet& f, Flags& v) {
  f.Add("consistency", &v.consistency, "Linearizable(l) or Serializable(s)");
}
void HashRevision(base::FlagSet& f, Flags& v) {
  f.Add("rev", &v.rev, "maximum revision to hash (default: latest revision)");
}
void EndpointHash(base::FlagSet& f, Flags& v) {
  Cluster(f, v);
  HashRevision(f, v);
}
void DefragFlags(base::FlagSet& f, Flags& v) {
  Cluster(f, v);
  f.Add("data-dir", &v.data_dir, "a data directory that is not in use");
}
void DumpFlags(base::FlagSet& f, Flags& v) {
  f.Add("data-dir", &v.data_dir, "a data directory that is not in use");
  f.Add("wal-dir", &v.wal_dir, "its log, where that is elsewhere");
  f.Add("rev", &v.rev, "the revision to show (0: the last)");
  f.Add("keys-only", &v.keys_only, "without the values");
}
void BackupFlags(base::FlagSet& f, Flags& v) {
  f.Add("to", &v.to, "directory of the backups");
  f.Add("every", &v.every, "time between backups (0: one, then exit)");
  f.Add("keep", &v.keep, "backups to keep");
}
void RestoreBackupFlags(base::FlagSet& f, Flags& v) {
  f.Add("from", &v.from, "a backup, or a directory whose newest one is taken");
  RestoreFlags(f, v);
}
void MigrateFlags(base::FlagSet& f, Flags& v) {
  f.Add("data-dir", &v.data_dir, "Path to the etcd data dir");
  f.Add("target-version", &v.target_version, "Target etcd version, X.Y");
  f.Add("force", &v.force, "Accepted; there is nothing that could be forced");
}

}  // namespace

const std::vector<Command>& Commands() {
  using Kind = Command::Kind;
  static const std::vector<Command> commands = {
      {"put", "put [options] <key> <value> (<value> can also be given from stdin)",
       "Stores a value under a key. What begins with - goes behind --.",
       "put name value\nput name < file\nput --lease=6d1b3f5f9c2a8e01 name value\nput name -- -1", PutFlags, Put},
      {"get", "get [options] <key> [range_end]", "Reads a key, or the keys from one up to another.",
       "get name\nget --prefix app/ --keys-only\nget a c --rev=100 -w json\nget --prefix app/ --count-only -w fields",
       GetFlags, Get},
      {"del", "del [options] <key> [range_end]", "Deletes a key, or the keys from one up to another.",
       "del name\ndel --prefix app/ --prev-kv\ndel --range a c", DelFlags, Del},
      {"txn", "txn [options]",
       "Reads conditions, then what to do when all hold, then what else, with an empty line behind each of the three.",
       "txn <<< $'mod(\"lock\") = \"0\"\\n\\nput lock mine\\n\\nget lock\\n\\n'\ntxn -i", Interactive, Txn},
      {"watch", "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
       "Shows what happens to keys, or runs a program for each event (ETCD_WATCH_KEY, ETCD_WATCH_VALUE, ...).",
       "watch --prefix app/\nwatch name --rev=100 --prev-kv\nwatch name -- sh -c 'echo \"$ETCD_WATCH_VALUE\"'\nwatch "
       "-i",
       WatchFlags, Watch},
      {"compaction", "compaction [options] <revision>", "Forgets what was before a revision.",
       "compaction 1000\ncompaction --physical 1000", Physical, Compaction},
      {"lease grant", "lease grant <ttl>", "Makes a lease of so many seconds.", "lease grant 60", None, LeaseGrant},
      {"lease revoke", "lease revoke <leaseID>", "Ends a lease and deletes its keys.", "lease revoke 6d1b3f5f9c2a8e01",
       None, LeaseRevoke},
      {"lease timetolive", "lease timetolive <leaseID> [options]", "Tells how long a lease has left.",
       "lease timetolive 6d1b3f5f9c2a8e01 --keys", Keys, LeaseTimeToLive},
      {"lease list", "lease list", "Lists the leases.", "lease list", None, LeaseList},
      {"lease keep-alive", "lease keep-alive [options] <leaseID>", "Renews a lease until it is interrupted.",
       "lease keep-alive 6d1b3f5f9c2a8e01\nlease keep-alive --once 6d1b3f5f9c2a8e01", Once, LeaseKeepAlive},
      {"lock", "lock <lockname> [exec-command arg1 arg2 ...]",
       "Takes a lock and holds it until it is interrupted, or while a program runs.",
       "lock nightly\nlock nightly ./backup.sh\nlock --ttl=60 nightly -- ./backup.sh --full", SessionTtl, Lock,
       Kind::kSession},
      {"elect", "elect <election-name> [proposal]", "Stands in an election with a proposal, or watches who leads.",
       "elect main host-1\nelect --listen main", Listen, Elect, Kind::kSession},
      {"auth enable", "auth enable", "Asks everybody who they are from now on; the user root must be there.",
       "user add root:secret\nauth enable", None, AuthEnable},
      {"auth disable", "auth disable", "Lets everybody in again.", "--user root:secret auth disable", None,
       AuthDisable},
      {"auth status", "auth status", "Tells whether authentication is on.", "auth status", None, AuthStatus},
      {"user add", "user add <user name or user:password> [options]", "Adds a user.",
       "user add alice\nuser add alice:secret\nuser add host-1 --no-password", UserAddFlags, UserAdd},
      {"user delete", "user delete <user name>", "Removes a user.", "user delete alice", None, UserDelete},
      {"user get", "user get <user name> [options]", "Shows the roles of a user.", "user get alice --detail", Detail,
       UserGet},
      {"user list", "user list", "Lists the users.", "user list", None, UserList},
      {"user passwd", "user passwd <user name> [options]", "Changes the password of a user.",
       "user passwd alice\nuser passwd alice --interactive=false < file", PasswordFlags, UserPasswd},
      {"user grant-role", "user grant-role <user name> <role name>", "Gives a role to a user.",
       "user grant-role alice readers", None, UserGrantRole},
      {"user revoke-role", "user revoke-role <user name> <role name>", "Takes a role from a user.",
       "user revoke-role alice readers", None, UserRevokeRole},
      {"role add", "role add <role name>", "Adds a role.", "role add readers", None, RoleAdd},
      {"role delete", "role delete <role name>", "Removes a role.", "role delete readers", None, RoleDelete},
      {"role get", "role get <role name>", "Shows which keys a role may read and write.", "role get readers", None,
       RoleGet},
      {"role list", "role list", "Lists the roles.", "role list", None, RoleList},
      {"role grant-permission", "role grant-permission [options] <role name> <permission type> <key> [endkey]",
       "Lets a role read, write or readwrite keys.",
       "role grant-permission readers read --prefix app/\nrole grant-permission writers readwrite a c", PermissionFlags,
       RoleGrantPermission},
      {"role revoke-permission", "role revoke-permission <role name> <key> [endkey]",
       "Takes keys from a role, named as they were given.", "role revoke-permission readers --prefix app/",
       PermissionFlags, RoleRevokePermission},
      {"member add", "member add <memberName> [options]",
       "Makes room for a member and shows what it is to be started with.",
       "member add m4 --peer-urls=https://10.0.0.4:2380 --learner", PeerUrls, MemberAdd},
      {"member remove", "member remove <memberID>", "Removes a member.", "member remove 8e9e05c52164694d", None,
       MemberRemove},
      {"member update", "member update <memberID> [options]", "Changes where a member is reached by its peers.",
       "member update 8e9e05c52164694d --peer-urls=https://10.0.0.5:2380", PeerUrls, MemberUpdate},
      {"member promote", "member promote <memberID>", "Makes a voter of a learner.", "member promote 8e9e05c52164694d",
       None, MemberPromote},
      {"member list", "member list", "Lists the members.", "member list -w table", Consistency, MemberList},
      {"endpoint status", "endpoint status", "Shows the state of each endpoint.", "endpoint status --cluster -w table",
       Cluster, EndpointStatus},
      {"endpoint health", "endpoint health", "Tells whether each endpoint serves.", "endpoint health --cluster",
       Cluster, EndpointHealth},
      {"endpoint hashkv", "endpoint hashkv [--rev N]", "Shows the hash of the history at each endpoint.",
       "endpoint hashkv --cluster --rev=1000", EndpointHash, EndpointHashKv},
      {"alarm list", "alarm list", "Lists the alarms.", "alarm list", None, AlarmList},
      {"alarm disarm", "alarm disarm", "Ends all alarms.", "alarm disarm", None, AlarmDisarm},
      {"defrag", "defrag [--data-dir DIR]", "Has each endpoint give back all garbage, or a directory without a server.",
       "defrag --cluster\ndefrag --data-dir=/var/lib/etcd", DefragFlags, Defrag},
      {"move-leader", "move-leader <transferee-member-id>",
       "Makes another member the leader; the endpoints must include the one that leads.",
       "move-leader 8e9e05c52164694d", None, MoveLeader},
      {"downgrade validate", "downgrade validate <TARGET_VERSION>",
       "Tells whether the cluster can go down to a version.", "downgrade validate 3.6.0", None, DowngradeValidate},
      {"downgrade enable", "downgrade enable <TARGET_VERSION>", "Lets members of a lower version in.",
       "downgrade enable 3.6.0", None, DowngradeEnable},
      {"downgrade cancel", "downgrade cancel", "Ends a downgrade.", "downgrade cancel", None, DowngradeCancel},
      {"snapshot save", "snapshot save <filename>", "Saves the whole store of one member to a file.",
       "snapshot save /backup/store.db\n--endpoints=10.0.0.1:2379 snapshot save \"/backup/$(date +%F).db\"", None,
       SnapshotSave},
      {"snapshot status", "snapshot status <filename>", "Shows what is in a snapshot.",
       "snapshot status store.db -w table", None, SnapshotStatus, Kind::kOffline},
      {"snapshot restore", "snapshot restore <filename> --data-dir {output dir} [options]",
       "Makes a data directory of a snapshot, for a member of a new cluster.",
       "snapshot restore store.db --data-dir=/var/lib/etcd\nsnapshot restore store.db --data-dir=m1 --name=m1 "
       "--initial-cluster=m1=http://a:2380,m2=http://b:2380 \\\n      --initial-advertise-peer-urls=http://a:2380",
       RestoreFlags, SnapshotRestore, Kind::kOffline},
      {"hashkv", "hashkv <filename>", "Shows the hash of the history in a snapshot or a database.",
       "hashkv store.db --rev=1000", HashRevision, FileHashKv, Kind::kOffline},
      {"dump", "dump --data-dir DIR [prefix]",
       "Shows what is in the data directory of a member that does not run; with -w json first what it is, then a key a "
       "line.",
       "dump --data-dir=/var/lib/etcd /registry/ --keys-only\ndump --data-dir=/var/lib/etcd -w json --rev=1000",
       DumpFlags, Dump, Kind::kOffline},
      {"backup", "backup --to DIR [--every 1h] [--keep 24]",
       "Saves snapshots again and again, each checked before an older one goes.",
       "backup --to /backup\nbackup --to /backup --every 1h --keep 24", BackupFlags, Backup, Kind::kSession},
      {"restore", "restore --from FILE-OR-DIR --data-dir DIR [options]",
       "Makes a data directory of a backup, or of the newest of a directory.",
       "restore --from /backup --data-dir=/var/lib/etcd", RestoreBackupFlags, RestoreBackup, Kind::kOffline},
      {"check perf", "check perf [options]", "Puts a load on the cluster for a minute and judges how it does.",
       "check perf --load=m", CheckFlags, CheckPerf},
      {"check datascale", "check datascale [options]", "Shows how much memory a member needs for many keys.",
       "check datascale --load=s --auto-compact", CheckFlags, CheckDatascale},
      {"migrate", "migrate --data-dir DIR --target-version X.Y",
       "Tells whether a data directory fits a version; there is one version of ours.",
       "migrate --data-dir=/var/lib/etcd --target-version=3.7", MigrateFlags, Migrate, Kind::kOffline},
      {"make-mirror", "make-mirror [options] <destination>",
       "Copies keys to another cluster and keeps the copy as the original is.",
       "make-mirror --prefix app/ --dest-prefix copy/ 10.0.1.1:2379", MirrorFlags, MakeMirror},
      {"completion", "completion [bash|zsh|fish]", "Writes what a shell needs to complete commands.",
       "completion bash > /etc/bash_completion.d/kvctl", None, Completion, Kind::kOffline},
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

}  // namespace kvstore::ctl
