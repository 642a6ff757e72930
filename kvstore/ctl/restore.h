// A snapshot file becomes the data directory of a new cluster's first member, as `etcdutl snapshot restore` makes it:
// the database with the new membership, a log of one entry, a .snap file. Blocks.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file.h"

namespace kvstore::ctl {

struct RestoreOptions {
  std::string snapshot;
  std::string data_dir;
  std::string wal_dir;  // "" = data_dir/member/wal
  std::string name = "default";
  std::vector<std::string> peer_urls;
  std::string cluster_token;
  // Every member of the new cluster by name, this one among them; empty: this one alone.
  std::map<std::string, std::vector<std::string>> initial_cluster;
  bool skip_hash_check = false;
  // Revisions that clients may have seen of the lost cluster are skipped, and what stood before is compacted.
  uint64_t bump_revision = 0;
};

base::Status Restore(base::FileSystem& fs, const RestoreOptions& options);
// The database's size in a snapshot file whose SHA-256 holds; `skip`: also one without.
base::Result<uint64_t> CheckSnapshot(base::FileSystem& fs, const std::string& path, bool skip);

}  // namespace kvstore::ctl
