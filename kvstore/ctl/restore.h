// A snapshot file becomes the data directory of a new cluster's first member, as `etcdutl snapshot restore` makes it:
// the database with the new membership, a log of one entry, a .snap file. Blocks.
#pragma once

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
  bool skip_hash_check = false;
};

base::Status Restore(base::FileSystem& fs, const RestoreOptions& options);
// The database's size in a snapshot file whose SHA-256 holds; `skip`: also one without.
base::Result<uint64_t> CheckSnapshot(base::FileSystem& fs, const std::string& path, bool skip);

}  // namespace kvstore::ctl
