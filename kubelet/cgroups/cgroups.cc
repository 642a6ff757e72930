#include "kubelet/cgroups/cgroups.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/log.h"
#include "kubelet/model/resources.h"

namespace kubelet::cgroups {
namespace {

namespace fs = std::filesystem;

constexpr long kCgroup2Magic = 0x63677270;

base::Status Write(const std::string& path, const std::string& value) {
  int fd = open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return base::FromErrno(errno, path);
  ssize_t n = write(fd, value.data(), value.size());
  int error = errno;
  close(fd);
  return n < 0 ? base::FromErrno(error, path) : base::Ok();
}

std::optional<std::string> Read(const std::string& path) {
  std::ifstream in(path);
  std::string text;
  if (!std::getline(in, text)) return std::nullopt;
  return text;
}

std::optional<int64_t> ReadNumber(const std::string& path) {
  auto text = Read(path);
  if (!text || text->empty() || !isdigit(static_cast<unsigned char>((*text)[0]))) return std::nullopt;
  return static_cast<int64_t>(strtoull(text->c_str(), nullptr, 10));
}

uint64_t Field(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string k; in >> k;) {
    uint64_t v = 0;
    in >> v;
    if (k == key) return v;
  }
  return 0;
}

base::Status MakeDirectory(const std::string& path) {
  std::error_code ec;
  fs::create_directories(path, ec);
  return ec ? base::FromErrno(ec.value(), "making " + path) : base::Ok();
}

// Removes a group and those below it; the runtime's leftovers go with it.
base::Status RemoveGroup(const std::string& path) {
  std::error_code ec;
  if (!fs::exists(path, ec)) return base::Ok();
  for (const auto& entry : fs::directory_iterator(path, ec))
    if (entry.is_directory(ec)) TRY(RemoveGroup(entry.path().string()));
  if (rmdir(path.c_str()) != 0 && errno != ENOENT) return base::FromErrno(errno, path);
  return base::Ok();
}

std::string_view ClassDirectory(QosClass qos) {
  switch (qos) {
    case QosClass::kGuaranteed:
      return "";
    case QosClass::kBurstable:
      return "/burstable";
    case QosClass::kBestEffort:
      return "/besteffort";
  }
  return "";
}

// What both versions share: paths, and saying once what is not permitted.
class Base : public Manager {
 public:
  explicit Base(Options o) : options_(std::move(o)) {
    std::string root = options_.cgroup_root;
    while (root.ends_with('/')) root.pop_back();
    if (!root.empty() && root[0] != '/') root = "/" + root;
    top_ = root + (options_.per_qos ? "/kubepods" : "");
  }
  std::string PodPath(const api::Pod& pod) const override {
    if (!options_.per_qos) return top_.empty() ? "/" : top_;
    return top_ + std::string(ClassDirectory(QosOf(pod))) + "/pod" + RuntimeUid(pod);
  }
  base::Status EnsureNode(const Limits& limits) override {
    if (!options_.per_qos) return base::Ok();
    TRY(Ensure(top_, limits));
    Limits lowest;
    lowest.cpu_shares = 2;
    TRY(Ensure(top_ + "/besteffort", lowest));
    return Ensure(top_ + "/burstable", lowest);
  }
  base::Status SetBurstableShares(int64_t milli_cpu) override {
    if (!options_.per_qos) return base::Ok();
    Limits l;
    l.cpu_shares = SharesOf(milli_cpu);
    return Ensure(top_ + "/burstable", l);
  }
  base::Status EnsurePod(const api::Pod& pod, int64_t pids_limit) override {
    if (!options_.per_qos) return base::Ok();
    Limits l = LimitsOf(pod);
    if (pids_limit > 0) l.pids = pids_limit;
    return Ensure(PodPath(pod), l);
  }
  std::vector<std::string> Pods() const override {
    std::set<std::string> out;
    std::error_code ec;
    for (const auto& root : Roots())
      for (const char* sub : {"", "/burstable", "/besteffort"})
        for (const auto& entry : fs::directory_iterator(root + top_ + sub, ec)) {
          std::string name = entry.path().filename().string();
          if (name.starts_with("pod") && entry.is_directory(ec)) out.insert(name.substr(3));
        }
    return {out.begin(), out.end()};
  }
  base::Status RemovePod(const std::string& uid) override {
    if (!options_.per_qos || uid.empty()) return base::Ok();
    base::Status out;
    for (const auto& root : Roots())
      for (const char* sub : {"", "/burstable", "/besteffort"}) {
        base::Status s = RemoveGroup(root + top_ + sub + "/pod" + uid);
        if (!s.ok()) out = s;
      }
    return out;
  }

 protected:
  virtual base::Status Ensure(const std::string& path, const Limits& limits) = 0;
  virtual std::vector<std::string> Roots() const = 0;

  void Try(const std::string& path, const std::string& value) const {
    base::Status s = Write(path, value);
    if (s.ok()) return;
    std::string name = fs::path(path).filename().string();
    if (!complained_.insert(name).second) return;
    base::LogWarning("A control group's value could not be set; pods run without it", {{"file", path}, {"err", s}});
  }

  Options options_;
  std::string top_;
  mutable std::set<std::string> complained_;
};

class V1 final : public Base {
 public:
  explicit V1(Options o) : Base(std::move(o)) {
    for (const char* name : {"cpu", "memory", "pids", "cpuset", "cpuacct", "blkio", "hugetlb", "devices", "freezer"}) {
      std::error_code ec;
      std::string path = fs::canonical(options_.mount_root + "/" + name, ec).string();
      if (!ec && std::ranges::find(roots_, path) == roots_.end()) roots_.push_back(path);
      if (!ec) controllers_[name] = path;
    }
  }
  Version version() const override { return Version::kV1; }

  std::optional<int64_t> PodMemoryLimit(const api::Pod& pod) const override {
    auto root = controllers_.find("memory");
    if (root == controllers_.end()) return std::nullopt;
    auto limit = ReadNumber(root->second + PodPath(pod) + "/memory.limit_in_bytes");
    // Version 1 says "none" as the largest whole number of pages.
    return limit && *limit < (int64_t{1} << 62) ? limit : std::nullopt;
  }
  std::optional<Usage> PodUsage(const api::Pod& pod) const override { return UsageOf(PodPath(pod)); }
  std::optional<Usage> NodeUsage() const override { return UsageOf(""); }

 protected:
  std::vector<std::string> Roots() const override { return roots_; }

  base::Status Ensure(const std::string& path, const Limits& l) override {
    for (const auto& root : roots_) {
      base::Status s = MakeDirectory(root + path);
      if (!s.ok() && complained_.insert(root).second)
        base::LogWarning("A control group could not be made", {{"path", root + path}, {"err", s}});
    }
    if (auto cpuset = controllers_.find("cpuset"); cpuset != controllers_.end()) Inherit(cpuset->second, path);
    auto in = [&](const char* controller, const char* file) -> std::string {
      auto it = controllers_.find(controller);
      return it == controllers_.end() ? std::string() : it->second + path + "/" + file;
    };
    auto set = [&](const std::string& file, int64_t value) {
      if (!file.empty()) Try(file, std::to_string(value));
    };
    if (l.cpu_shares) set(in("cpu", "cpu.shares"), *l.cpu_shares);
    if (l.cpu_quota_us) {
      set(in("cpu", "cpu.cfs_period_us"), l.cpu_period_us);
      set(in("cpu", "cpu.cfs_quota_us"), *l.cpu_quota_us);
    }
    if (l.memory_bytes) set(in("memory", "memory.limit_in_bytes"), *l.memory_bytes);
    if (l.pids) set(in("pids", "pids.max"), *l.pids);
    return base::Ok();
  }

 private:
  // A fresh cpuset group holds no CPUs and takes no process until it does.
  void Inherit(const std::string& root, const std::string& path) const {
    std::string parent = root, full;
    for (const auto& part : fs::path(path).relative_path()) {
      full = parent + "/" + part.string();
      for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
        auto have = Read(full + file);
        if (have && !have->empty()) continue;
        if (auto above = Read(parent + file); above && !above->empty()) Try(full + file, *above);
      }
      parent = full;
    }
  }
  std::optional<Usage> UsageOf(const std::string& path) const {
    auto memory = controllers_.find("memory"), cpu = controllers_.find("cpuacct");
    if (memory == controllers_.end() || cpu == controllers_.end()) return std::nullopt;
    Usage u;
    u.cpu_ns = ReadNumber(cpu->second + path + "/cpuacct.usage").value_or(0);
    u.memory_bytes = ReadNumber(memory->second + path + "/memory.usage_in_bytes").value_or(0);
    uint64_t inactive = Field(memory->second + path + "/memory.stat", "total_inactive_file");
    u.working_set_bytes = u.memory_bytes > inactive ? u.memory_bytes - inactive : 0;
    return u;
  }
  std::vector<std::string> roots_;
  std::map<std::string, std::string> controllers_;
};

class V2 final : public Base {
 public:
  explicit V2(Options o) : Base(std::move(o)) {}
  Version version() const override { return Version::kV2; }

  std::optional<int64_t> PodMemoryLimit(const api::Pod& pod) const override {
    return ReadNumber(options_.mount_root + PodPath(pod) + "/memory.max");  // "max": none
  }
  std::optional<Usage> PodUsage(const api::Pod& pod) const override { return UsageOf(PodPath(pod)); }
  std::optional<Usage> NodeUsage() const override { return UsageOf(""); }

 protected:
  std::vector<std::string> Roots() const override { return {options_.mount_root}; }

  base::Status Ensure(const std::string& path, const Limits& l) override {
    // Controllers reach a group only when every group above hands them down.
    std::string at = options_.mount_root;
    for (const auto& part : fs::path(path).relative_path()) {
      for (const char* c : {"+cpu", "+memory", "+pids", "+cpuset", "+hugetlb", "+io"})
        if (!Write(at + "/cgroup.subtree_control", c).ok()) Complain(at, c);
      at += "/" + part.string();
      TRY(MakeDirectory(at));
    }
    if (l.cpu_shares) Try(at + "/cpu.weight", std::to_string(WeightOfShares(*l.cpu_shares)));
    if (l.cpu_quota_us)
      Try(at + "/cpu.max",
          (*l.cpu_quota_us < 0 ? "max" : std::to_string(*l.cpu_quota_us)) + " " + std::to_string(l.cpu_period_us));
    if (l.memory_bytes) Try(at + "/memory.max", std::to_string(*l.memory_bytes));
    if (l.pids) Try(at + "/pids.max", std::to_string(*l.pids));
    return base::Ok();
  }

 private:
  void Complain(const std::string& path, const char* controller) const {
    if (complained_.insert(controller).second)
      base::LogV(2, "A controller is not available", {{"path", path}, {"controller", controller}});
  }
  std::optional<Usage> UsageOf(const std::string& path) const {
    const std::string at = options_.mount_root + path;
    Usage u;
    u.cpu_ns = Field(at + "/cpu.stat", "usage_usec") * 1000;
    u.memory_bytes = ReadNumber(at + "/memory.current").value_or(0);
    uint64_t inactive = Field(at + "/memory.stat", "inactive_file");
    u.working_set_bytes = u.memory_bytes > inactive ? u.memory_bytes - inactive : 0;
    return u;
  }
};

}  // namespace

Limits LimitsOf(const api::Pod& pod) {
  PodResources r = Aggregate(pod);
  Limits l;
  // Best effort: the least; otherwise what is asked for. A pod is limited where all its containers are.
  l.cpu_shares = SharesOf(r.cpu_request_milli.value_or(r.cpu_limited ? r.cpu_limit_milli.value_or(0) : 0));
  if (r.cpu_limited && r.cpu_limit_milli) l.cpu_quota_us = QuotaOf(*r.cpu_limit_milli);
  if (r.memory_limited && r.memory_limit) l.memory_bytes = *r.memory_limit;
  return l;
}

int64_t WeightOfShares(int64_t shares) {
  if (shares < 2) shares = 2;
  return 1 + ((shares - 2) * 9999) / 262142;
}

base::Result<std::unique_ptr<Manager>> Manager::Open(Options options) {
  if (!options.version) {
    struct statfs st{};
    if (statfs(options.mount_root.c_str(), &st) != 0) return base::Err(base::FromErrno(errno, options.mount_root));
    options.version = st.f_type == kCgroup2Magic ? Version::kV2 : Version::kV1;
  }
  if (*options.version == Version::kV2) return std::make_unique<V2>(std::move(options));
  return std::make_unique<V1>(std::move(options));
}

}  // namespace kubelet::cgroups
