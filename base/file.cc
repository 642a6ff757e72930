#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace base {
namespace {

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }

  Result<std::string> ReadAt(uint64_t offset, size_t size) const override {
    std::string out;
    out.resize_and_overwrite(size, [](char*, size_t n) { return n; });
    size_t got = 0;
    while (got < size) {
      ssize_t n = ::pread(fd_, out.data() + got, size - got, static_cast<off_t>(offset + got));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Err(FromErrno(errno, "read " + path_));
      if (n == 0) break;
      got += static_cast<size_t>(n);
    }
    out.resize(got);
    return out;
  }

  Status WriteAt(uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FromErrno(errno, "write " + path_);
      bytes.remove_prefix(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return Ok();
  }

  Status Append(std::string_view bytes) override {
    TRY_ASSIGN(uint64_t size, Size());
    return WriteAt(size, bytes);
  }

  Status Truncate(uint64_t size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return FromErrno(errno, "truncate " + path_);
    return Ok();
  }

  Status Allocate(uint64_t size) override {
    int error = 0;
    do error = ::posix_fallocate(fd_, 0, static_cast<off_t>(size));
    while (error == EINTR);
    if (error == EOPNOTSUPP || error == EINVAL) {
      // A file system without fallocate: at least the size becomes right.
      TRY_ASSIGN(uint64_t now, Size());
      return now < size ? Truncate(size) : Ok();
    }
    return error == 0 ? Ok() : FromErrno(error, "allocate " + path_);
  }

  Status Sync() override {
    if (::fdatasync(fd_) != 0) return FromErrno(errno, "fdatasync " + path_);
    return Ok();
  }

  Result<uint64_t> Size() const override {
    struct stat st;
    if (::fstat(fd_, &st) != 0) return Err(FromErrno(errno, "stat " + path_));
    return static_cast<uint64_t>(st.st_size);
  }

 private:
  int fd_;
  std::string path_;
};

class Posix final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode, int permissions) override {
    int flags = O_CLOEXEC;
    switch (mode) {
      case OpenMode::kRead:
        flags |= O_RDONLY;
        break;
      case OpenMode::kReadWrite:
        flags |= O_RDWR;
        break;
      case OpenMode::kCreate:
        flags |= O_RDWR | O_CREAT;
        break;
      case OpenMode::kCreateExclusive:
        flags |= O_RDWR | O_CREAT | O_EXCL;
        break;
    }
    int fd;
    do fd = ::open(path.c_str(), flags, permissions);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return Err(FromErrno(errno, "open " + path));
    return std::make_unique<PosixFile>(fd, path);
  }

  Result<bool> Exists(const std::string& path) override {
    struct stat st;
    if (::stat(path.c_str(), &st) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return Err(FromErrno(errno, "stat " + path));
  }

  Result<std::vector<std::string>> List(const std::string& directory) override {
    DIR* dir = ::opendir(directory.c_str());
    if (dir == nullptr) return Err(FromErrno(errno, "open " + directory));
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(dir)) {
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    int error = errno;
    ::closedir(dir);
    if (error != 0) return Err(FromErrno(error, "read " + directory));
    std::sort(names.begin(), names.end());
    return names;
  }

  Status MakeDirectories(const std::string& path, int permissions) override {
    for (size_t at = 1; at <= path.size(); ++at) {
      if (at < path.size() && path[at] != '/') continue;
      std::string part = path.substr(0, at);
      if (::mkdir(part.c_str(), static_cast<mode_t>(permissions)) == 0 || errno == EEXIST) continue;
      // A parent above us may be read-only yet exist.
      int error = errno;
      struct stat st;
      if (::stat(part.c_str(), &st) != 0) return FromErrno(error, "mkdir " + part);
    }
    struct stat st;
    if (::stat(path.c_str(), &st) != 0) return FromErrno(errno, "mkdir " + path);
    return S_ISDIR(st.st_mode) ? Ok() : FromErrno(ENOTDIR, "mkdir " + path);
  }

  Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return FromErrno(errno, "rename " + from + " " + to);
    return Ok();
  }

  Status Remove(const std::string& path) override {
    if (::remove(path.c_str()) != 0) return FromErrno(errno, "remove " + path);
    return Ok();
  }

  Status RemoveAll(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    return error ? FromErrno(error.value(), "remove " + path) : Ok();
  }

  Status SyncDirectory(const std::string& directory) override {
    int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return FromErrno(errno, "open " + directory);
    int error = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    return error == 0 ? Ok() : FromErrno(error, "fsync " + directory);
  }

  Result<uint64_t> FreeSpace(const std::string& path) override {
    struct statvfs st;
    if (::statvfs(path.c_str(), &st) != 0) return Err(FromErrno(errno, "statvfs " + path));
    return static_cast<uint64_t>(st.f_bavail) * st.f_frsize;
  }
};

std::string ParentOf(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

FileSystem& PosixFileSystem() {
  static Posix posix;
  return posix;
}

Result<std::string> ReadFile(FileSystem& fs, const std::string& path) {
  TRY_ASSIGN(auto file, fs.Open(path, OpenMode::kRead));
  TRY_ASSIGN(uint64_t size, file->Size());
  // Files of /proc and /sys say 0 and have content all the same: read until nothing comes.
  TRY_ASSIGN(std::string out, file->ReadAt(0, size + 1));
  if (out.size() == size && size > 0) return out;
  for (;;) {
    TRY_ASSIGN(std::string more, file->ReadAt(out.size(), 4096));
    if (more.empty()) return out;
    out += more;
  }
}

Status WriteFileAtomically(FileSystem& fs, const std::string& path, std::string_view content, int permissions) {
  std::string temporary = path + ".tmp";
  Status gone = fs.Remove(temporary);
  if (!gone.ok() && gone.code() != Code::kNotFound) return gone;
  {
    TRY_ASSIGN(auto file, fs.Open(temporary, OpenMode::kCreateExclusive, permissions));
    TRY(file->Append(content));
    TRY(file->Sync());
  }
  TRY(fs.Rename(temporary, path));
  return fs.SyncDirectory(ParentOf(path));
}

}  // namespace base
