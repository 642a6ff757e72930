// kvctl's commands. Each takes its words and flags and returns the exit code; output goes to stdout, errors to stderr
// as etcdctl words them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/flags.h"
#include "kvstore/ctl/client.h"
#include "kvstore/ctl/print.h"

namespace kvstore::ctl {

// Exit codes of the original.
inline constexpr int kExitError = 1;
inline constexpr int kExitBadFeature = 4;
inline constexpr int kExitInterrupted = 5;
inline constexpr int kExitBadArgs = 128;

// Every flag of every command; a command adds the ones it knows.
struct Flags {
  ClientFlags client;
  std::string write_out = "simple";
  bool hex = false;
  // keys
  bool prefix = false, from_key = false, keys_only = false, count_only = false, print_value_only = false;
  bool prev_kv = false, ignore_value = false, ignore_lease = false, progress_notify = false;
  int64_t limit = 0, rev = 0;
  int64_t min_mod_rev = 0, max_mod_rev = 0, min_create_rev = 0, max_create_rev = 0;
  std::string order, sort_by, consistency = "l", lease = "0";
  // endpoints
  bool cluster = false;
  // snapshots
  std::string data_dir, wal_dir, name = "default", initial_cluster, initial_cluster_token = "etcd-cluster";
  std::vector<std::string> initial_advertise_peer_urls = {"http://localhost:2380"};
  bool skip_hash_check = false;
};

struct Run {
  base::Loop& loop;
  base::Context ctx;
  const Flags& flags;
  Format format;
  std::vector<std::string> args;  // behind the command's words
};

struct Command {
  const char* words;  // "member list"
  const char* usage;
  void (*add_flags)(base::FlagSet&, Flags&);
  base::Task<int> (*run)(Run&);
};
const std::vector<Command>& Commands();

base::Task<int> Put(Run& run);
base::Task<int> Get(Run& run);
base::Task<int> Del(Run& run);
base::Task<int> Watch(Run& run);
base::Task<int> Compaction(Run& run);
base::Task<int> MemberList(Run& run);
base::Task<int> EndpointStatus(Run& run);
base::Task<int> EndpointHealth(Run& run);
base::Task<int> EndpointHashKv(Run& run);
base::Task<int> AlarmList(Run& run);
base::Task<int> SnapshotSave(Run& run);
base::Task<int> SnapshotStatus(Run& run);
base::Task<int> SnapshotRestore(Run& run);

// "Error: text" on stderr; the code.
int Fail(int code, std::string_view text);
int Fail(const base::Status& why);
void Out(std::string_view text);

}  // namespace kvstore::ctl
