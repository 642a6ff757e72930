#include "kubelet/volumes/atomic_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/random.h"

namespace kubelet::volumes {
namespace {

namespace fs = std::filesystem;

base::Status CheckPath(const std::string& path) {
  if (path.empty() || path[0] == '/' || path.starts_with("..") || path.size() > 4096)
    return base::InvalidArgument("invalid path \"" + path + "\" in volume");
  for (const auto& part : fs::path(path))
    if (part == "..") return base::InvalidArgument("path \"" + path + "\" must not contain \"..\"");
  return base::Ok();
}

base::Result<std::string> ReadWhole(const std::string& path) { return base::ReadFile(base::PosixFileSystem(), path); }

base::Status WriteOne(const std::string& path, const PayloadFile& file, int64_t group) {
  int mode = file.mode;
  if (group >= 0) mode |= (mode & 0400) ? 0440 : 0400;
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode & 0777);
  if (fd < 0) return base::FromErrno(errno, path);
  size_t done = 0;
  base::Status out;
  while (done < file.content.size()) {
    ssize_t n = write(fd, file.content.data() + done, file.content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      out = base::FromErrno(errno, path);
      break;
    }
    done += n;
  }
  // The umask must not narrow what the pod asked for; ownership before mode, since chown clears bits.
  if (out.ok() && (group >= 0 || file.owner >= 0))
    if (fchown(fd, file.owner >= 0 ? static_cast<uid_t>(file.owner) : static_cast<uid_t>(-1),
               group >= 0 ? static_cast<gid_t>(group) : static_cast<gid_t>(-1)) != 0)
      out = base::FromErrno(errno, path);
  if (out.ok() && fchmod(fd, mode) != 0) out = base::FromErrno(errno, path);
  close(fd);
  return out;
}

bool Same(const std::string& data, const Payload& payload) {
  std::error_code ec;
  if (!fs::is_directory(data, ec)) return false;
  size_t files = 0;
  for (auto it = fs::recursive_directory_iterator(data, ec); !ec && it != fs::recursive_directory_iterator();
       it.increment(ec))
    if (it->is_regular_file(ec)) ++files;
  if (ec || files != payload.size()) return false;
  for (const auto& [path, file] : payload) {
    auto have = ReadWhole(data + "/" + path);
    if (!have || *have != file.content) return false;
  }
  return true;
}

std::string StampName(int64_t now_ns) {
  time_t seconds = now_ns / 1'000'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  strftime(text, sizeof text, "..%Y_%m_%d_%H_%M_%S.", &parts);
  static thread_local base::Random random = base::Random::System();
  return text + std::to_string(random.Below(4'000'000'000));
}

std::string LinkTarget(const std::string& path) {
  std::error_code ec;
  return fs::read_symlink(path, ec).string();
}

}  // namespace

base::Status WritePayload(const std::string& directory, const Payload& payload, int64_t group, int64_t now_ns) {
  for (const auto& [path, file] : payload) TRY(CheckPath(path));
  const std::string data = directory + "/..data";
  const std::string old = LinkTarget(data);
  std::error_code ec;
  if (old.empty() || !Same(directory + "/" + old, payload)) {
    const std::string stamp = StampName(now_ns);
    const std::string fresh = directory + "/" + stamp;
    if (!fs::create_directory(fresh, ec)) return base::Unknown("making " + fresh + ": " + ec.message());
    chmod(fresh.c_str(), 0755);
    for (const auto& [path, file] : payload) {
      fs::create_directories(fs::path(fresh + "/" + path).parent_path(), ec);
      TRY(WriteOne(fresh + "/" + path, file, group));
    }
    if (group >= 0) {
      for (const auto& entry : fs::recursive_directory_iterator(fresh, ec))
        if (entry.is_directory(ec))
          if (chown(entry.path().c_str(), -1, static_cast<gid_t>(group)) != 0) return base::FromErrno(errno, fresh);
      if (chown(fresh.c_str(), -1, static_cast<gid_t>(group)) != 0) return base::FromErrno(errno, fresh);
    }
    const std::string temporary = directory + "/..data_tmp";
    unlink(temporary.c_str());
    if (symlink(stamp.c_str(), temporary.c_str()) != 0) return base::FromErrno(errno, temporary);
    if (rename(temporary.c_str(), data.c_str()) != 0) return base::FromErrno(errno, data);
  }
  std::set<std::string> visible;
  for (const auto& [path, file] : payload) visible.insert(fs::path(path).begin()->string());
  for (const auto& name : visible) {
    const std::string link = directory + "/" + name, target = "..data/" + name;
    if (LinkTarget(link) == target) continue;
    fs::remove_all(link, ec);
    if (symlink(target.c_str(), link.c_str()) != 0) return base::FromErrno(errno, link);
  }
  const std::string current = LinkTarget(data);
  for (const auto& entry : fs::directory_iterator(directory, ec)) {
    std::string name = entry.path().filename().string();
    bool stale = name.starts_with("..") ? name != "..data" && name != current : !visible.contains(name);
    if (stale) fs::remove_all(entry.path(), ec);
  }
  return base::Ok();
}

}  // namespace kubelet::volumes
