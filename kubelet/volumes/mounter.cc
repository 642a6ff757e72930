#include "kubelet/volumes/mounter.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/json_writer.h"
#include "base/log.h"
#include "kubelet/paths/paths.h"
#include "kubelet/volumes/atomic_writer.h"
#include "kubelet/volumes/mounts.h"

namespace kubelet::volumes {
namespace {

namespace fs = std::filesystem;

base::Status MountTmpfs(const std::string& path, int64_t bytes) {
  if (IsMountPoint(path)) return base::Ok();
  std::string options = bytes > 0 ? "size=" + std::to_string(bytes) : "";
  if (mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) == 0) return base::Ok();
  if (errno == EPERM || errno == EACCES) {
    // Without the right to mount, content on the disk serves better than a pod that never starts.
    base::LogWarning("Memory-backed volume stays on the disk: mounting tmpfs is not permitted", {{"path", path}});
    return base::Ok();
  }
  return base::FromErrno(errno, "mounting tmpfs at " + path);
}

base::Status Own(const std::string& path, int64_t group) {
  if (group < 0) return base::Ok();
  if (chown(path.c_str(), -1, static_cast<gid_t>(group)) != 0) return base::FromErrno(errno, path);
  if (chmod(path.c_str(), 02777) != 0) return base::FromErrno(errno, path);
  return base::Ok();
}

base::Status HostPathType(const std::string& path, const std::string& type) {
  struct stat st{};
  int found = stat(path.c_str(), &st);
  auto fail = [&](const char* what) {
    return base::FailedPrecondition("hostPath type check failed: " + path + " is not a " + what);
  };
  if (type.empty()) return base::Ok();
  std::error_code ec;
  if (type == "DirectoryOrCreate") {
    if (found != 0) fs::create_directories(path, ec);
    if (ec) return base::Unknown(ec.message());
    return found == 0 && !S_ISDIR(st.st_mode) ? fail("directory") : base::Ok();
  }
  if (type == "FileOrCreate") {
    if (found == 0) return S_ISREG(st.st_mode) ? base::Ok() : fail("file");
    int fd = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0) return base::FromErrno(errno, path);
    close(fd);
    return base::Ok();
  }
  bool ok = found == 0;
  if (type == "Directory") return ok && S_ISDIR(st.st_mode) ? base::Ok() : fail("directory");
  if (type == "File") return ok && S_ISREG(st.st_mode) ? base::Ok() : fail("file");
  if (type == "Socket") return ok && S_ISSOCK(st.st_mode) ? base::Ok() : fail("socket file");
  if (type == "CharDevice") return ok && S_ISCHR(st.st_mode) ? base::Ok() : fail("character device");
  if (type == "BlockDevice") return ok && S_ISBLK(st.st_mode) ? base::Ok() : fail("block device");
  return base::InvalidArgument("hostPath type \"" + type + "\" is unknown");
}

void MarkReady(const std::string& pod_directory, const std::string& name) {
  std::error_code ec;
  std::string directory = pod_directory + "/plugins/kubernetes.io~empty-dir/" + name;
  fs::create_directories(directory, ec);
  (void)paths::WriteOwnFile(directory + "/ready", "", 0640);
}

base::Status Execute(const Setup& setup, const Place& at) {
  if (setup.check_path) return HostPathType(setup.path, setup.path_type);
  std::error_code ec;
  bool fresh = !fs::exists(setup.path, ec);
  fs::create_directories(setup.path, ec);
  if (ec) return base::Unknown("making " + setup.path + ": " + ec.message());
  if (setup.tmpfs) TRY(MountTmpfs(setup.path, setup.tmpfs_bytes));
  if (fresh && chmod(setup.path.c_str(), 0777) != 0) return base::FromErrno(errno, setup.path);
  if (fresh) TRY(Own(setup.path, at.group));
  if (setup.payload) TRY(WritePayload(setup.path, *setup.payload, at.group, at.now_ns));
  if (fresh) MarkReady(at.pod_directory, setup.wrapped ? "wrapped_" + at.volume : at.volume);
  return base::Ok();
}

// What a container mounts for a subPath: a mount point of the kubelet's own, a file or a directory as the source is.
base::Status PrepareTarget(const std::string& target, bool directory) {
  std::error_code ec;
  fs::create_directories(fs::path(target).parent_path(), ec);
  if (ec) return base::Unknown(ec.message());
  struct stat st{};
  bool there = lstat(target.c_str(), &st) == 0;
  if (there && S_ISDIR(st.st_mode) == directory) return base::Ok();
  if (there) TRY(paths::RemoveTree(target));
  if (!directory) return paths::WriteOwnFile(target, "", 0640);
  return mkdir(target.c_str(), 0750) == 0 ? base::Ok() : base::FromErrno(errno, target);
}

bool SameFile(const struct stat& a, const std::string& path) {
  struct stat b{};
  return lstat(path.c_str(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

base::Result<paths::Fd> OpenSubPath(const SubPath& sub, const char*& failed) {
  TRY_ASSIGN(paths::Fd root, paths::OpenDirectory(sub.volume_path));
  auto there = paths::OpenInside(root, sub.path, O_PATH, paths::Links::kInside);
  if (there || there.error().code() != base::Code::kNotFound) return there;
  failed = "failed to create subPath directory";
  struct stat st{};
  if (fstat(root.get(), &st) != 0) return base::Err(base::FromErrno(errno, sub.volume_path));
  // As the volume is, so is what is made in it; the group comes by the set-group-id bit.
  return paths::MakeInside(root, sub.path, st.st_mode & 07777);
}

// What was opened is what is mounted: nobody can change the path in between.
base::Status BindOpened(const paths::Fd& source, const std::string& target) {
  struct stat st{};
  if (fstat(source.get(), &st) != 0) return base::FromErrno(errno, target);
  if (IsMountPoint(target)) {
    if (SameFile(st, target)) return base::Ok();
    if (umount2(target.c_str(), UMOUNT_NOFOLLOW) != 0) return base::FromErrno(errno, "unmounting " + target);
  }
  TRY(PrepareTarget(target, S_ISDIR(st.st_mode)));
  if (mount(source.ProcPath().c_str(), target.c_str(), nullptr, MS_BIND, nullptr) == 0) return base::Ok();
  return base::FromErrno(errno, "mounting " + target);
}

// A pod is told only that it failed: why may say something about the node's files.
base::Result<std::string> Bind(const SubPath& sub, const std::string& target) {
  const char* failed = "failed to prepare subPath";
  auto source = OpenSubPath(sub, failed);
  base::Status bound = source ? BindOpened(*source, target) : source.error();
  if (bound.ok()) return target;
  base::LogError("A subPath could not be mounted", bound, {{"volume", sub.volume_path}, {"subPath", sub.path}});
  return base::Err(base::FailedPrecondition(std::string(failed) + " for volumeMount " + base::GoQuote(sub.volume) +
                                            " of container " + base::GoQuote(sub.container)));
}

base::Status Remove(const std::string& directory) {
  auto mounts = MountsBelow(directory);
  std::ranges::reverse(mounts);
  for (const auto& m : mounts)
    if (umount2(m.c_str(), UMOUNT_NOFOLLOW) != 0 && umount2(m.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 &&
        errno != EINVAL)
      return base::FromErrno(errno, "unmounting " + m);
  // Never delete through something that is still mounted: it may be somebody's data.
  if (!MountsBelow(directory).empty()) return base::Unavailable(directory + " still has mounts");
  return paths::RemoveTree(directory).Annotate("removing " + directory);
}

class Machine final : public Mounter {
 public:
  base::Status Make(const Setup& setup, const Place& at) override { return Execute(setup, at); }
  base::Result<std::string> BindSubPath(const SubPath& sub, const std::string& target) override {
    return Bind(sub, target);
  }
  base::Status Remove(const std::string& directory) override { return volumes::Remove(directory); }
  std::vector<std::string> List(const std::string& pods_directory) override {
    std::vector<std::string> out;
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(pods_directory, ec))
      out.push_back(entry.path().filename().string());
    return out;
  }
};

}  // namespace

Mounter& MachineMounter() {
  static Machine machine;
  return machine;
}

}  // namespace kubelet::volumes
