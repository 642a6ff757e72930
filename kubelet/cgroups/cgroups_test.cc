#include "kubelet/cgroups/cgroups.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace kubelet::cgroups {
namespace {

namespace fs = std::filesystem;

// A control group file system as a tree of plain files: the names a kernel offers, written beforehand.
class Tree {
 public:
  Tree() {
    char name[] = "/tmp/cgroupsXXXXXX";
    root_ = mkdtemp(name);
  }
  ~Tree() { fs::remove_all(root_); }
  void Add(const std::string& directory, std::initializer_list<const char*> files) {
    fs::create_directories(root_ + directory);
    for (const char* f : files) std::ofstream(root_ + directory + "/" + f) << "";
  }
  std::string Read(const std::string& file) const {
    std::ifstream in(root_ + file);
    std::string text;
    std::getline(in, text);
    return text;
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

api::Pod BurstablePod() {
  api::Pod pod;
  pod.mutable_metadata()->set_uid("u1");
  auto* c = pod.mutable_spec()->add_containers();
  (*c->mutable_resources()->mutable_requests())["cpu"].set_string("100m");
  (*c->mutable_resources()->mutable_limits())["cpu"].set_string("500m");
  (*c->mutable_resources()->mutable_limits())["memory"].set_string("64Mi");
  return pod;
}

TEST(Cgroups, V2) {
  Tree tree;
  auto files = {"cgroup.subtree_control", "cpu.weight",  "cpu.max",  "memory.max",
                "memory.current",         "memory.stat", "cpu.stat", "pids.max"};
  for (const char* d : {"", "/kubepods", "/kubepods/burstable", "/kubepods/besteffort", "/kubepods/burstable/podu1"})
    tree.Add(d, files);
  auto m = Manager::Open({.mount_root = tree.root(), .version = Version::kV2});
  ASSERT_TRUE(m);
  EXPECT_EQ((*m)->PodPath(BurstablePod()), "/kubepods/burstable/podu1");
  ASSERT_TRUE((*m)->EnsureNode({.cpu_shares = 2048, .memory_bytes = 1 << 30}).ok());
  ASSERT_TRUE((*m)->EnsurePod(BurstablePod(), 100).ok());
  EXPECT_EQ(tree.Read("/kubepods/memory.max"), "1073741824");
  EXPECT_EQ(tree.Read("/kubepods/cpu.weight"), "79");
  EXPECT_EQ(tree.Read("/kubepods/besteffort/cpu.weight"), "1");
  EXPECT_EQ(tree.Read("/kubepods/burstable/podu1/cpu.weight"), "4");
  EXPECT_EQ(tree.Read("/kubepods/burstable/podu1/cpu.max"), "50000 100000");
  EXPECT_EQ(tree.Read("/kubepods/burstable/podu1/memory.max"), "67108864");
  EXPECT_EQ(tree.Read("/kubepods/burstable/podu1/pids.max"), "100");
  EXPECT_EQ((*m)->PodMemoryLimit(BurstablePod()), 67108864);
  EXPECT_EQ((*m)->Pods(), std::vector<std::string>{"u1"});
}

TEST(Cgroups, V1) {
  Tree tree;
  for (const char* c : {"/cpu", "/memory", "/pids"})
    for (const char* d :
         {"", "/x/kubepods", "/x/kubepods/burstable", "/x/kubepods/besteffort", "/x/kubepods/burstable/podu1"})
      tree.Add(std::string(c) + d,
               {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "memory.limit_in_bytes", "pids.max"});
  auto m = Manager::Open({.mount_root = tree.root(), .cgroup_root = "/x", .version = Version::kV1});
  ASSERT_TRUE(m);
  ASSERT_TRUE((*m)->EnsureNode({.cpu_shares = 2048}).ok());
  ASSERT_TRUE((*m)->EnsurePod(BurstablePod(), 0).ok());
  EXPECT_EQ((*m)->PodPath(BurstablePod()), "/x/kubepods/burstable/podu1");
  EXPECT_EQ(tree.Read("/cpu/x/kubepods/cpu.shares"), "2048");
  EXPECT_EQ(tree.Read("/cpu/x/kubepods/burstable/podu1/cpu.shares"), "102");
  EXPECT_EQ(tree.Read("/cpu/x/kubepods/burstable/podu1/cpu.cfs_quota_us"), "50000");
  EXPECT_EQ(tree.Read("/memory/x/kubepods/burstable/podu1/memory.limit_in_bytes"), "67108864");
  EXPECT_EQ(tree.Read("/pids/x/kubepods/burstable/podu1/pids.max"), "");
}

TEST(Cgroups, MissingRightsAreLivedWith) {
  auto m = Manager::Open({.mount_root = "/proc/self/nothing", .version = Version::kV1});
  ASSERT_TRUE(m);
  EXPECT_TRUE((*m)->EnsurePod(BurstablePod(), 0).ok());
  EXPECT_EQ((*m)->PodMemoryLimit(BurstablePod()), std::nullopt);
}

}  // namespace
}  // namespace kubelet::cgroups
