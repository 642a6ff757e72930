// The disk, as an interface: the machine's (PosixFileSystem) or the simulator's (base/testing/sim_disk.h), which loses
// un-synced writes, tears sectors and fails. All calls block; use a BlockingPool where that matters. A FileSystem is
// thread-safe; a File belongs to one thread at a time (reads at offsets are thread-safe).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace base {

class File {
 public:
  virtual ~File() = default;  // closes; un-synced data may be lost
  // Up to `size` bytes at `offset`; fewer only at the end of the file.
  virtual Result<std::string> ReadAt(uint64_t offset, size_t size) const = 0;
  virtual Status WriteAt(uint64_t offset, std::string_view bytes) = 0;
  virtual Status Append(std::string_view bytes) = 0;
  virtual Status Truncate(uint64_t size) = 0;
  // Reserves space so that later writes below `size` cannot fail for lack of it; the size becomes at least `size`,
  // zero-filled.
  virtual Status Allocate(uint64_t size) = 0;
  // Data (and the size) are on the disk when it returns OK. After a failure nothing may be assumed of un-synced data:
  // callers must not retry and go on (fsyncgate); they stop.
  virtual Status Sync() = 0;
  virtual Result<uint64_t> Size() const = 0;
};

enum class OpenMode {
  kRead,             // must exist
  kReadWrite,        // must exist
  kCreate,           // read-write, made when absent
  kCreateExclusive,  // read-write, must not exist
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode, int permissions = 0600) = 0;
  virtual Result<bool> Exists(const std::string& path) = 0;
  // Names (not paths), sorted.
  virtual Result<std::vector<std::string>> List(const std::string& directory) = 0;
  // With parents; OK when it exists.
  virtual Status MakeDirectories(const std::string& path, int permissions = 0700) = 0;
  // Atomic; durable only after SyncDirectory of the target's parent.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status Remove(const std::string& path) = 0;
  virtual Status RemoveAll(const std::string& path) = 0;
  // Makes creations, renames and removals in `directory` durable.
  virtual Status SyncDirectory(const std::string& directory) = 0;
  // Free bytes for ordinary users of the file system that holds `path`.
  virtual Result<uint64_t> FreeSpace(const std::string& path) = 0;
};

// The machine's disk. Thread-safe.
FileSystem& PosixFileSystem();

// Whole files.
Result<std::string> ReadFile(FileSystem& fs, const std::string& path);
// Writes a temporary file beside `path`, syncs it, renames it over `path`, syncs the directory: a reader sees the old
// or the new content, also after a crash.
Status WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view content, int permissions = 0600);

}  // namespace base
