#include "kubelet/host/host.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "kubelet/lines/lines.h"
#include "kubelet/paths/paths.h"

namespace kubelet {
namespace {

namespace fs = std::filesystem;

class Machine final : public Host {
 public:
  Machine() : Host(base::PosixFileSystem()) {}

  base::Status MakeDirectory(const std::string& path, mode_t mode) override {
    std::error_code ec;
    fs::create_directories(path, ec);
    if (ec) return base::Unknown("making " + path + ": " + ec.message());
    chmod(path.c_str(), mode);
    return base::Ok();
  }
  base::Status WriteFile(const std::string& path, std::string_view content, mode_t mode) override {
    return paths::WriteOwnFile(path, content, mode);
  }
  base::Result<std::string> ReadPlain(const std::string& root, const std::string& path, size_t limit) override {
    return paths::ReadPlainFile(root, path, limit);
  }
  base::Result<std::string> LastWords(const std::string& root, const std::string& path) override {
    TRY_ASSIGN(paths::Fd log, paths::OpenPlainFile(root, path, O_RDONLY, paths::Links::kNever));
    return lines::LastWords(log.get());
  }
  bool IsPlain(const std::string& root, const std::string& path) override {
    return paths::OpenPlainFile(root, path, O_RDONLY, paths::Links::kNever).has_value();
  }
  base::Status RemoveTree(const std::string& directory) override { return paths::RemoveTree(directory); }
  void Link(const std::string& target, const std::string& link) override {
    std::error_code ec;
    fs::create_symlink(target, link, ec);
  }
  void RemoveDeadLinks(const std::string& directory) override {
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(directory, ec))
      if (entry.is_symlink(ec) && !fs::exists(entry.path(), ec)) fs::remove(entry.path(), ec);
  }
  std::vector<std::string> ListFiles(const std::string& directory) override {
    std::vector<std::string> out;
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(directory, ec))
      if (entry.is_regular_file(ec)) out.push_back(entry.path().string());
    std::ranges::sort(out);
    return out;
  }
  int64_t SizeOf(const std::string& path) override {
    struct stat st{};
    return stat(path.c_str(), &st) == 0 ? st.st_size : -1;
  }
  std::optional<Space> SpaceAt(const std::string& path) override {
    struct statvfs st{};
    if (statvfs(path.c_str(), &st) != 0) return std::nullopt;
    auto bytes = [&](auto blocks) { return static_cast<double>(blocks) * static_cast<double>(st.f_frsize); };
    Space out{bytes(st.f_bavail), bytes(st.f_blocks), static_cast<double>(st.f_favail),
              static_cast<double>(st.f_files)};
    if (st.f_blocks > 0)
      out.used_percent = 100.0 * static_cast<double>(st.f_blocks - st.f_bavail) / static_cast<double>(st.f_blocks);
    return out;
  }
};

}  // namespace

std::optional<int64_t> Host::AvailableMemory() {
  constexpr std::string_view kKey = "MemAvailable:";
  auto text = base::ReadFile(files_, "/proc/meminfo");
  size_t at = text ? text->find(kKey) : std::string::npos;
  if (at == std::string::npos) return std::nullopt;
  return int64_t{1024} * std::atoll(text->c_str() + at + kKey.size());
}

Host& MachineHost() {
  static Machine machine;
  return machine;
}

}  // namespace kubelet
