#include "kubelet/volumes/volume.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "kubelet/volumes/atomic_writer.h"
#include "kubelet/volumes/plugins.h"

namespace kubelet::volumes {
namespace {

namespace fs = std::filesystem;

// Mount points at or below a directory, deepest last as the kernel lists them.
std::vector<std::string> MountsBelow(const std::string& directory) {
  std::vector<std::string> out;
  std::ifstream in("/proc/self/mountinfo");
  std::string line;
  while (std::getline(in, line)) {
    size_t at = 0;
    for (int field = 0; field < 4 && at != std::string::npos; ++field) at = line.find(' ', at + (field ? 1 : 0));
    if (at == std::string::npos) continue;
    std::string point = line.substr(at + 1, line.find(' ', at + 1) - at - 1);
    // Octal escapes of blanks.
    for (size_t i; (i = point.find("\\040")) != std::string::npos;) point.replace(i, 4, " ");
    if (point == directory || point.starts_with(directory + "/")) out.push_back(point);
  }
  return out;
}

bool IsMountPoint(const std::string& path) {
  auto below = MountsBelow(path);
  return std::ranges::find(below, path) != below.end();
}

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
  std::ofstream(directory + "/ready");
}

base::Status Execute(const Setup& setup, const std::string& pod_directory, const std::string& name, int64_t group,
                     int64_t now_ns) {
  if (setup.check_path) return HostPathType(setup.path, setup.path_type);
  std::error_code ec;
  bool fresh = !fs::exists(setup.path, ec);
  fs::create_directories(setup.path, ec);
  if (ec) return base::Unknown("making " + setup.path + ": " + ec.message());
  if (setup.tmpfs) TRY(MountTmpfs(setup.path, setup.tmpfs_bytes));
  if (fresh && chmod(setup.path.c_str(), 0777) != 0) return base::FromErrno(errno, setup.path);
  if (fresh) TRY(Own(setup.path, group));
  if (setup.payload) TRY(WritePayload(setup.path, *setup.payload, group, now_ns));
  if (fresh) MarkReady(pod_directory, setup.wrapped ? "wrapped_" + name : name);
  return base::Ok();
}

int64_t GroupOf(const api::Pod& pod) {
  return pod.spec().securitycontext().has_fsgroup() ? pod.spec().securitycontext().fsgroup() : -1;
}

// Opens a path inside a directory without ever leaving it, making missing directories on the way.
base::Result<int> OpenInside(const std::string& directory, const std::string& sub_path) {
  int root = open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return base::Err(base::FromErrno(errno, directory));
  auto resolve = [&](const std::string& path) {
    open_how how{};
    how.flags = O_PATH | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
  };
  int fd = resolve(sub_path);
  if (fd < 0 && errno == ENOENT) {
    std::string so_far;
    for (const auto& part : fs::path(sub_path)) {
      std::string parent = so_far.empty() ? "." : so_far;
      so_far += (so_far.empty() ? "" : "/") + part.string();
      int at = resolve(so_far);
      if (at >= 0) {
        close(at);
        continue;
      }
      int in = resolve(parent);
      if (in < 0) break;
      std::string self = "/proc/self/fd/" + std::to_string(in) + "/" + part.string();
      mkdir(self.c_str(), 0750);
      chmod(self.c_str(), 0777);
      close(in);
    }
    fd = resolve(sub_path);
  }
  int error = errno;
  close(root);
  if (fd < 0) return base::Err(base::FromErrno(error, "failed to prepare subPath " + sub_path));
  return fd;
}

base::Result<std::string> Bind(const std::string& target, const std::string& volume_path, const std::string& sub_path) {
  if (IsMountPoint(target)) return target;
  TRY_ASSIGN(int fd, OpenInside(volume_path, sub_path));
  struct stat st{};
  fstat(fd, &st);
  std::error_code ec;
  if (S_ISDIR(st.st_mode)) {
    fs::create_directories(target, ec);
  } else {
    fs::create_directories(fs::path(target).parent_path(), ec);
    std::ofstream(target, std::ios::app);
  }
  std::string self = "/proc/self/fd/" + std::to_string(fd);
  int mounted = mount(self.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr);
  int error = errno;
  std::string real = fs::read_symlink(self, ec).string();
  close(fd);
  if (mounted == 0) return target;
  if (error == EPERM) return real;  // the checked path itself: weaker against a later swap, but it works
  return base::Err(base::FromErrno(error, "failed to prepare subPath " + sub_path));
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
  std::error_code ec;
  fs::remove_all(directory, ec);
  if (ec) return base::Unknown("removing " + directory + ": " + ec.message());
  return base::Ok();
}

}  // namespace

const Plugin* FindPlugin(const api::Volume& volume) {
#define VOLUME(name) &name##Plugin(),
  static const Plugin* const kPlugins[] = {
#include "kubelet/volumes/volumes.def"
  };
#undef VOLUME
  for (const Plugin* p : kPlugins)
    if (p->Handles(volume.volumesource())) return p;
  return nullptr;
}

std::string SourceName(const api::VolumeSource& source) {
  const auto* d = source.GetDescriptor();
  for (int i = 0; i < d->field_count(); ++i)
    if (source.GetReflection()->HasField(source, d->field(i))) return std::string(d->field(i)->json_name());
  return "unknown";
}

Manager::Manager(base::Executor& executor, base::BlockingPool& pool, Source& source, std::string pods_directory)
    : executor_(executor), pool_(pool), source_(source), pods_directory_(std::move(pods_directory)) {}

bool Manager::Refreshes(const api::Pod& pod) {
  return std::ranges::any_of(pod.spec().volumes(), [](const auto& v) {
    const Plugin* p = FindPlugin(v);
    return p && p->refreshes();
  });
}

base::Task<Manager::Outcome> Manager::SetUp(base::Context ctx, PodPtr pod) {
  Outcome out;
  const std::string pod_directory = PodDirectory(RuntimeUid(*pod));
  const int64_t group = GroupOf(*pod);
  for (const auto& volume : pod->spec().volumes()) {
    const Plugin* plugin = FindPlugin(volume);
    if (!plugin) {
      out.errors.push_back({volume.name(), base::Unimplemented("volumes of type " + SourceName(volume.volumesource()) +
                                                               " are not supported yet")});
      continue;
    }
    Request request{pod, &volume,
                    pod_directory + "/volumes/" + std::string(plugin->directory_name()) + "/" + volume.name(),
                    &source_};
    auto setup = co_await plugin->Prepare(ctx, request);
    if (!setup) {
      out.errors.push_back({volume.name(), setup.error()});
      continue;
    }
    int64_t now = WallNanos(executor_.clock());
    base::Status done = co_await base::RunBlocking(pool_, executor_, [&setup, &pod_directory, &volume, group, now] {
      return Execute(*setup, pod_directory, volume.name(), group, now);
    });
    if (!done.ok())
      out.errors.push_back({volume.name(), done});
    else
      out.mounted[volume.name()] = {setup->path, setup->wrapped};
  }
  co_return out;
}

base::Task<base::Result<std::string>> Manager::BindSubPath(std::string uid, std::string volume, std::string volume_path,
                                                           std::string container, int index, std::string sub_path) {
  std::string target = PodDirectory(uid) + "/volume-subpaths/" + volume + "/" + container + "/" + std::to_string(index);
  co_return co_await base::RunBlocking(pool_, executor_, [&] { return Bind(target, volume_path, sub_path); });
}

base::Task<base::Status> Manager::TearDown(std::string uid) {
  CHECK(!uid.empty());
  std::string directory = PodDirectory(uid);
  co_return co_await base::RunBlocking(pool_, executor_, [directory] { return Remove(directory); });
}

std::vector<std::string> Manager::PodsOnDisk() const {
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(pods_directory_, ec)) out.push_back(entry.path().filename().string());
  return out;
}

base::Status AddItems(const google::protobuf::RepeatedPtrField<api::KeyToPath>& items,
                      const std::map<std::string, std::string>& contents, int default_mode, bool optional,
                      const std::string& what, Payload& out) {
  if (items.empty()) {
    for (const auto& [key, content] : contents) out[key] = {content, default_mode, -1};
    return base::Ok();
  }
  for (const auto& item : items) {
    auto it = contents.find(item.key());
    if (it == contents.end()) {
      if (optional) continue;
      return base::FailedPrecondition(what == "secret" ? "references non-existent secret key: " + item.key()
                                                       : what + " references non-existent config key: " + item.key());
    }
    out[item.path()] = {it->second, item.has_mode() ? item.mode() : default_mode, -1};
  }
  return base::Ok();
}

std::map<std::string, std::string> ContentsOf(const api::ConfigMap& map) {
  std::map<std::string, std::string> out(map.data().begin(), map.data().end());
  out.insert(map.binarydata().begin(), map.binarydata().end());
  return out;
}

std::map<std::string, std::string> ContentsOf(const api::Secret& secret) {
  return {secret.data().begin(), secret.data().end()};
}

base::Status AddDownward(const google::protobuf::RepeatedPtrField<api::DownwardAPIVolumeFile>& items,
                         const api::Pod& pod, const NodeFacts& node, int default_mode, Payload& out) {
  for (const auto& item : items) {
    auto text = item.has_fieldref() ? FieldText(pod, item.fieldref().fieldpath(), node)
                                    : ResourceText(pod, item.resourcefieldref(), "", node);
    if (!text) return text.error();
    out[item.path()] = {*text, item.has_mode() ? item.mode() : default_mode, -1};
  }
  return base::Ok();
}

}  // namespace kubelet::volumes
