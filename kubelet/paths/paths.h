// Files in places that pods can write to: opened, made and removed without ever leaving the directory they belong to.
// A pod may put a link, a pipe, a device or a mount wherever it can write, and may do so between two looks; so nothing
// here looks at a path and uses it later: what was opened is changed and mounted through its descriptor.
//
// All calls block. Thread-safe.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace kubelet::paths {

// A descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd();
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // A name for it that mount and the like take: nothing but this descriptor stands behind it.
  std::string ProcPath() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_ = -1;
};

// Whether a name of somebody else's can be one component of a path: not "", "." or "..", no slash, no NUL, no control
// character, not too long.
bool IsComponent(std::string_view name);
// Whether a path is relative and has no ".." in it.
bool IsInside(std::string_view path);

// Opens a directory that no pod can replace: the kubelet's own, or one that whoever runs the node has named.
base::Result<Fd> OpenDirectory(const std::string& directory);

enum class Links {
  kNever,   // a link on the way is an error
  kInside,  // links are followed as long as they stay inside; absolute ones do not
};
// Opens what is at `path` inside `root`. kNotFound when there is nothing. Without openat2 (before Linux 5.6) links are
// never followed.
base::Result<Fd> OpenInside(const Fd& root, const std::string& path, int flags, Links links);
// The same; directories that are missing are made with `mode`, whatever the umask. Links in the existing part count as
// kInside; what is made is entered through no link.
base::Result<Fd> MakeInside(const Fd& root, const std::string& path, mode_t mode);

// Opens a plain file for reading or writing; never waits for the other end of a pipe. `path` is below `directory`, both
// absolute.
base::Result<Fd> OpenPlainFile(const std::string& directory, const std::string& path, int flags, Links links);
// Up to `limit` bytes of a plain file.
base::Result<std::string> ReadPlainFile(const std::string& directory, const std::string& path, size_t limit);
// Writes a whole file of the kubelet's own in a directory that only the kubelet can write to.
base::Status WriteOwnFile(const std::string& path, std::string_view content, mode_t mode);

// Removes a directory and all that is in it. Links are removed, not followed; a mount below ends it with an error
// before anything behind the mount is touched. Any depth. OK when there is nothing.
base::Status RemoveTree(const std::string& directory);

}  // namespace kubelet::paths
