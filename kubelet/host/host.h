// The machine as the kubelet's parts use it: files of the kubelet's own, files that pods may have touched, and how much
// room is left. A simulation hands in one in memory (kubelet/testing/sim_machine.h).
//
// Calls block for the time of a local file. One strand.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace kubelet {

class Host {
 public:
  explicit Host(base::FileSystem& files) : files_(files) {}
  virtual ~Host() = default;
  // The disk, for files that no pod can reach.
  base::FileSystem& files() const { return files_; }

  // A directory of the kubelet's own, with its parents; it alone gets `mode`, whatever the umask.
  virtual base::Status MakeDirectory(const std::string& path, mode_t mode) = 0;
  // A whole file of the kubelet's own in a directory that only the kubelet can write to.
  virtual base::Status WriteFile(const std::string& path, std::string_view content, mode_t mode) = 0;
  // Up to `limit` bytes of a plain file below `root`, reached through no link: a pod may have put anything there.
  virtual base::Result<std::string> ReadPlain(const std::string& root, const std::string& path, size_t limit) = 0;
  // The end of a log below `root`, as a termination message.
  virtual base::Result<std::string> LastWords(const std::string& root, const std::string& path) = 0;
  virtual bool IsPlain(const std::string& root, const std::string& path) = 0;
  // Removes a directory and all that is in it; links are not followed. OK when there is nothing.
  virtual base::Status RemoveTree(const std::string& directory) = 0;
  virtual void Link(const std::string& target, const std::string& link) = 0;
  // Removes the links in a directory that lead nowhere.
  virtual void RemoveDeadLinks(const std::string& directory) = 0;
  // Paths of the plain files in a directory, sorted; links to such files count.
  virtual std::vector<std::string> ListFiles(const std::string& directory) = 0;
  // The size of a plain file; -1 when there is none.
  virtual int64_t SizeOf(const std::string& path) = 0;

  // The file system that holds `path`; nullopt when it cannot be asked.
  struct Space {
    double free_bytes = 0, bytes = 0, free_inodes = 0, inodes = 0;
    double used_percent = 0;  // of its blocks
  };
  virtual std::optional<Space> SpaceAt(const std::string& path) = 0;
  // What the kernel could still give to programs; nullopt when it does not say.
  std::optional<int64_t> AvailableMemory();

 private:
  base::FileSystem& files_;
};

// This machine's.
Host& MachineHost();

}  // namespace kubelet
