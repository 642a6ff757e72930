#include "kubelet/paths/paths.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace kubelet::paths {
namespace {

std::vector<std::string> Components(std::string_view path) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < path.size()) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string_view part = path.substr(at, end - at);
    if (!part.empty() && part != ".") out.emplace_back(part);
    at = end + 1;
  }
  return out;
}

// openat2, or -1 with ENOSYS where the kernel (or a filter in front of it) has none.
int Openat2(int root, const char* path, int flags, uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(static_cast<unsigned>(flags | O_CLOEXEC));
  how.resolve = resolve;
  // EAGAIN: something was renamed meanwhile, and the kernel could not be sure.
  for (int attempt = 0;; ++attempt) {
    int fd = static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how));
    if (fd >= 0 || errno != EAGAIN || attempt == 100) return fd;
  }
}

bool HasOpenat2() {
  static const bool has = [] {
    int fd = Openat2(AT_FDCWD, "/", O_PATH, 0);
    if (fd >= 0) close(fd);
    return fd >= 0;
  }();
  return has;
}

// One by one, no link at all.
int OpenStepwise(int root, const std::string& path, int flags) {
  auto parts = Components(path);
  if (parts.empty()) return openat(root, ".", flags | O_CLOEXEC);
  int at = dup(root);
  for (size_t i = 0; i < parts.size() && at >= 0; ++i) {
    bool last = i + 1 == parts.size();
    int next = openat(at, parts[i].c_str(), (last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC);
    struct stat st{};
    // O_PATH opens the link itself where O_NOFOLLOW keeps it from being followed.
    if (next >= 0 && fstat(next, &st) == 0 && S_ISLNK(st.st_mode)) {
      close(next);
      next = -1;
      errno = ELOOP;
    }
    int error = errno;
    close(at);
    errno = error;
    at = next;
  }
  return at;
}

base::Status Escapes(const std::string& path) { return base::PermissionDenied("\"" + path + "\" leads out"); }

struct CloseDirectory {
  void operator()(DIR* d) const { closedir(d); }
};
using Listing = std::unique_ptr<DIR, CloseDirectory>;

std::vector<std::string> Names(const Fd& directory) {
  std::vector<std::string> out;
  // Another descriptor of the same directory: closedir closes it, and its place is its own.
  Listing list(fdopendir(openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (!list) return out;
  while (const dirent* e = readdir(list.get())) {
    std::string name = e->d_name;
    if (name != "." && name != "..") out.push_back(std::move(name));
  }
  return out;
}

// A subdirectory of our tree, unless something is mounted there.
int OpenChild(int parent, const char* name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  if (HasOpenat2()) return Openat2(parent, name, kFlags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  struct stat outer{}, inner{};
  int fd = openat(parent, name, kFlags | O_CLOEXEC);
  if (fd >= 0 && (fstat(parent, &outer) != 0 || fstat(fd, &inner) != 0 || outer.st_dev != inner.st_dev)) {
    close(fd);
    errno = EXDEV;
    return -1;
  }
  return fd;
}

base::Status Unlink(int parent, const std::string& name, int flags) {
  if (unlinkat(parent, name.c_str(), flags) == 0 || errno == ENOENT) return base::Ok();
  return base::FromErrno(errno, "removing " + name);
}

// Empties a tree without going down into it: what is nested deeper than one directory is first moved up beside it. So
// neither descriptors nor the stack grow with a depth that a pod chooses.
class Remover {
 public:
  explicit Remover(Fd root) : root_(std::move(root)) {}

  base::Status Empty() {
    while (true) {
      auto names = Names(root_);
      if (names.empty()) return base::Ok();
      for (const auto& name : names) TRY(Entry(name));
    }
  }

 private:
  base::Status Entry(const std::string& name) {
    if (unlinkat(root_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return base::Ok();
    if (errno != EISDIR && errno != EPERM) return base::FromErrno(errno, "removing " + name);
    if (unlinkat(root_.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return base::Ok();
    if (errno != ENOTEMPTY && errno != EEXIST) return base::FromErrno(errno, "removing " + name);
    Fd child(OpenChild(root_.get(), name.c_str()));
    if (!child.valid()) return base::FromErrno(errno, "entering " + name);
    for (const auto& inner : Names(child)) TRY(Raise(child.get(), inner));
    return Unlink(root_.get(), name, AT_REMOVEDIR);
  }

  // Removes one entry of a child, or moves it up where it is a directory that is not empty.
  base::Status Raise(int child, const std::string& name) {
    if (unlinkat(child, name.c_str(), 0) == 0 || errno == ENOENT) return base::Ok();
    if (errno != EISDIR && errno != EPERM) return base::FromErrno(errno, "removing " + name);
    if (unlinkat(child, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return base::Ok();
    if (errno != ENOTEMPTY && errno != EEXIST) return base::FromErrno(errno, "removing " + name);
    while (true) {
      std::string to = ".removed-" + std::to_string(next_++);
      if (renameat2(child, name.c_str(), root_.get(), to.c_str(), RENAME_NOREPLACE) == 0) return base::Ok();
      if (errno != EEXIST) return base::FromErrno(errno, "removing " + name);
    }
  }

  Fd root_;
  uint64_t next_ = 0;
};

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

bool IsComponent(std::string_view name) {
  if (name.empty() || name == "." || name == ".." || name.size() > 255) return false;
  return std::ranges::none_of(name,
                              [](char c) { return c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool IsInside(std::string_view path) {
  if (path.starts_with('/') || path.find('\0') != std::string_view::npos) return false;
  auto parts = Components(path);
  return std::ranges::find(parts, "..") == parts.end();
}

base::Result<Fd> OpenDirectory(const std::string& directory) {
  Fd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return base::Err(base::FromErrno(errno, directory));
  return fd;
}

base::Result<Fd> OpenInside(const Fd& root, const std::string& path, int flags, Links links) {
  if (!IsInside(path)) return base::Err(Escapes(path));
  uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (links == Links::kNever ? RESOLVE_NO_SYMLINKS : 0);
  std::string relative = path.empty() ? "." : path;
  Fd fd(HasOpenat2() ? Openat2(root.get(), relative.c_str(), flags, resolve)
                     : OpenStepwise(root.get(), relative, flags));
  if (fd.valid()) return fd;
  return base::Err(errno == EXDEV || errno == ELOOP ? Escapes(path) : base::FromErrno(errno, path));
}

base::Result<Fd> MakeInside(const Fd& root, const std::string& path, mode_t mode) {
  auto whole = OpenInside(root, path, O_PATH, Links::kInside);
  if (whole || whole.error().code() != base::Code::kNotFound) return whole;
  // The longest part that is there already.
  auto parts = Components(path);
  size_t have = parts.size();
  base::Result<Fd> at = base::Err(base::NotFound(path));
  while (have-- > 0) {
    std::string prefix = ".";
    for (size_t i = 0; i < have; ++i) prefix += "/" + parts[i];
    at = OpenInside(root, prefix, O_RDONLY | O_DIRECTORY, Links::kInside);
    if (at) break;
    if (at.error().code() != base::Code::kNotFound) return at;
  }
  for (; at && have < parts.size(); ++have) {
    bool made = mkdirat(at->get(), parts[have].c_str(), mode & 0777) == 0;
    if (!made && errno != EEXIST) return base::Err(base::FromErrno(errno, parts[have]));
    // Whoever put a link there in between gets an error, whoever put a file there mounts his own file.
    bool last = have + 1 == parts.size();
    int flags = O_NOFOLLOW | O_CLOEXEC | (made || !last ? O_RDONLY | O_DIRECTORY : O_PATH);
    Fd next(openat(at->get(), parts[have].c_str(), flags));
    if (!next.valid()) return base::Err(base::FromErrno(errno, parts[have]));
    struct stat st{};
    if (fstat(next.get(), &st) != 0 || S_ISLNK(st.st_mode)) return base::Err(Escapes(path));
    if (made && fchmod(next.get(), mode & 07777) != 0) return base::Err(base::FromErrno(errno, parts[have]));
    at = std::move(next);
  }
  return at;
}

base::Result<Fd> OpenPlainFile(const std::string& directory, const std::string& path, int flags, Links links) {
  if (!path.starts_with(directory + "/")) return base::Err(Escapes(path));
  TRY_ASSIGN(Fd root, OpenDirectory(directory));
  TRY_ASSIGN(Fd fd, OpenInside(root, path.substr(directory.size() + 1), flags | O_NONBLOCK | O_NOCTTY, links));
  struct stat st{};
  if (fstat(fd.get(), &st) != 0) return base::Err(base::FromErrno(errno, path));
  if (!S_ISREG(st.st_mode)) return base::Err(base::FailedPrecondition(path + " is not a plain file"));
  return fd;
}

base::Result<std::string> ReadPlainFile(const std::string& directory, const std::string& path, size_t limit) {
  TRY_ASSIGN(Fd fd, OpenPlainFile(directory, path, O_RDONLY, Links::kNever));
  std::string out(limit, '\0');
  size_t done = 0;
  while (done < limit) {
    ssize_t n = read(fd.get(), out.data() + done, limit - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::Err(base::FromErrno(errno, path));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  out.resize(done);
  return out;
}

base::Status WriteOwnFile(const std::string& path, std::string_view content, mode_t mode) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode));
  struct stat st{};
  if (!fd.valid() || fstat(fd.get(), &st) != 0) return base::FromErrno(errno, path);
  if (!S_ISREG(st.st_mode)) return base::FailedPrecondition(path + " is not a plain file");
  while (!content.empty()) {
    ssize_t n = write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::FromErrno(errno, path);
    content.remove_prefix(static_cast<size_t>(n));
  }
  if (fchmod(fd.get(), mode) != 0) return base::FromErrno(errno, path);
  return base::Ok();
}

base::Status RemoveTree(const std::string& directory) {
  Fd root(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root.valid()) {
    if (errno == ENOENT) return base::Ok();
    // A file or a link where a directory should be: it goes, and nothing behind it.
    if (errno == ENOTDIR || errno == ELOOP) return Unlink(AT_FDCWD, directory, 0);
    return base::FromErrno(errno, directory);
  }
  TRY(Remover(std::move(root)).Empty());
  return Unlink(AT_FDCWD, directory, AT_REMOVEDIR);
}

}  // namespace kubelet::paths
