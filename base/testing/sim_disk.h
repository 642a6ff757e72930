// A disk that can lose what was not synced. Files live in memory; a crash keeps what was synced and, of the rest, what
// the seed says: single 512-byte sectors of un-synced writes, un-synced sizes, directory entries. Errors are injected
// by rate or armed one by one. One thread.
//
// What the model takes for granted, as real disks and etcd's log do: a sector is written whole or not at all; a synced
// sector does not change by itself (unless FlipBit is called).
#pragma once

#include <map>
#include <memory>
#include <set>

#include "base/file.h"
#include "base/random.h"

namespace base::testing {

class SimDisk final : public FileSystem {
 public:
  struct Faults {
    uint64_t read_error_one_in = 0;   // 0 = never; EIO
    uint64_t write_error_one_in = 0;  // EIO
    uint64_t sync_error_one_in = 0;   // EIO, and the un-synced data of that file may be gone
    uint64_t capacity = UINT64_MAX;   // bytes; beyond it writes fail with ENOSPC
    bool ignore_sync = false;         // a disk (or a bug) that lies: Sync does nothing
  };
  explicit SimDisk(uint64_t seed) : random_(seed) {}

  Faults faults;

  // Power fails: open files become unusable (every call fails), un-synced state is lost or kept as the seed says.
  void Crash();
  // Everything so far is durable (the harness prepares a state).
  void SyncAll();
  // Flips one bit of a file's synced content.
  void FlipBit(const std::string& path, uint64_t bit);
  uint64_t used() const;
  uint64_t syncs() const { return syncs_; }
  uint64_t faults_injected() const { return injected_; }

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode, int permissions = 0600) override;
  Result<bool> Exists(const std::string& path) override;
  Result<std::vector<std::string>> List(const std::string& directory) override;
  Status MakeDirectories(const std::string& path, int permissions = 0700) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status RemoveAll(const std::string& path) override;
  Status SyncDirectory(const std::string& directory) override;
  Result<uint64_t> FreeSpace(const std::string& path) override;

 private:
  friend class SimFile;
  struct Inode {
    std::string now;
    std::string synced;
    std::set<uint64_t> dirty;  // sectors that differ from `synced`
  };
  using InodePtr = std::shared_ptr<Inode>;
  // Directory entries by full path: a file's inode, or null for a directory.
  using Names = std::map<std::string, InodePtr>;

  bool Fails(uint64_t one_in);
  static std::string ParentOf(const std::string& path);

  Random random_;
  Names now_;
  Names synced_;
  std::shared_ptr<int> epoch_ = std::make_shared<int>(0);
  uint64_t syncs_ = 0;
  uint64_t injected_ = 0;
};

}  // namespace base::testing
