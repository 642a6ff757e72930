// What a member is told at its start, and what the world gives it. Values; any thread.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/file.h"
#include "kvstore/mvcc/members.h"
#include "kvstore/mvcc/store.h"
#include "kvstore/replica/version.h"
#include "kvstore/wal/wal.h"

namespace kvstore::replica {

struct Options {
  std::string data_dir;
  std::string wal_dir;  // "" = data_dir/member/wal
  std::string name = "default";
  std::vector<std::string> peer_urls = {"http://localhost:2380"};
  std::vector<std::string> client_urls = {"http://localhost:2379"};
  std::string cluster_token = "etcd-cluster";
  uint64_t snapshot_count = 10000;  // applied entries between checkpoints
  base::Duration heartbeat = std::chrono::milliseconds(100);
  int election_ticks = 10;
  wal::Options wal;
  mvcc::StoreOptions store;
  bool unsafe_no_sync = false;

  // A new cluster's members: name -> peer URLs. Empty: this member alone.
  std::map<std::string, std::vector<std::string>> initial_cluster;
  // An existing cluster, as its members told: this member starts with an empty log and hears the rest from them.
  struct Existing {
    uint64_t cluster_id = 0;
    uint64_t member_id = 0;
    std::vector<mvcc::Member> members;
  };
  std::optional<Existing> existing;
  // Disaster recovery: everybody else is dropped from the membership, the data stays.
  bool force_new_cluster = false;
  bool pre_vote = true;
  bool strict_reconfig_check = true;
  uint32_t max_learners = 1;
  base::Duration slow_apply = std::chrono::milliseconds(100);  // a turn of applying that is counted as slow
  uint64_t catch_up_entries = 5000;                            // kept for followers that lag

  base::Duration ElectionTimeout() const { return heartbeat * election_ticks; }
  // As the original: 5 s for queueing and the disk, and two elections.
  base::Duration RequestTimeout() const { return std::chrono::seconds(5) + 2 * ElectionTimeout(); }
};

// What the world gives: executor, disk and threads come from outside.
struct Environment {
  base::Executor& executor;
  base::FileSystem& fs;
  base::BlockingPool& log_pool;    // one thread
  base::BlockingPool& other_pool;  // checkpoints
};

}  // namespace kvstore::replica
