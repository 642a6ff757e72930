// First: CRI has enum values named as the signal macros that other headers bring in.
#include "kubelet/volumes/mounter.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/testing/sim_executor.h"
#include "kubelet/volumes/atomic_writer.h"
#include "kubelet/volumes/mounts.h"

namespace kubelet::volumes {
namespace {

namespace fs = std::filesystem;

class Directory {
 public:
  Directory() {
    char name[] = "/tmp/volumesXXXXXX";
    path_ = mkdtemp(name);
  }
  ~Directory() { fs::remove_all(path_); }
  const std::string& path() const { return path_; }
  std::string Read(const std::string& file) const {
    std::ifstream in(path_ + "/" + file);
    std::string text;
    std::getline(in, text);
    return text;
  }

 private:
  std::string path_;
};

TEST(AtomicWriter, LayoutAndUpdate) {
  Directory d;
  ASSERT_TRUE(WritePayload(d.path(), {{"a", {"1", 0644}}, {"sub/b", {"2", 0600}}}, -1, 1795368570000000000).ok());
  EXPECT_EQ(d.Read("a"), "1");
  EXPECT_EQ(d.Read("sub/b"), "2");
  EXPECT_EQ(fs::read_symlink(d.path() + "/a"), "..data/a");
  std::string data = fs::read_symlink(d.path() + "/..data");
  EXPECT_TRUE(data.starts_with("..2026_11_22_17_29_30.")) << data;
  struct stat st{};
  ASSERT_EQ(stat((d.path() + "/sub/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  // The same again changes nothing; other content swaps the directory and leaves nothing behind.
  ASSERT_TRUE(WritePayload(d.path(), {{"a", {"1", 0644}}, {"sub/b", {"2", 0600}}}, -1, 0).ok());
  EXPECT_EQ(fs::read_symlink(d.path() + "/..data"), data);
  ASSERT_TRUE(WritePayload(d.path(), {{"a", {"3", 0644}}}, -1, 1795368571000000000).ok());
  EXPECT_EQ(d.Read("a"), "3");
  EXPECT_FALSE(fs::exists(d.path() + "/sub"));
  EXPECT_FALSE(fs::exists(d.path() + "/" + data));
}

TEST(AtomicWriter, RefusesToLeave) {
  Directory d;
  EXPECT_FALSE(WritePayload(d.path(), {{"../x", {"1", 0644}}}, -1, 0).ok());
  EXPECT_FALSE(WritePayload(d.path(), {{"/x", {"1", 0644}}}, -1, 0).ok());
  EXPECT_FALSE(WritePayload(d.path(), {{"a/../../x", {"1", 0644}}}, -1, 0).ok());
}

class FakeSource final : public Source {
 public:
  std::map<std::string, std::string> config;
  base::Task<base::Result<std::shared_ptr<const api::ConfigMap>>> ConfigMap(base::Context, std::string,
                                                                            std::string name) override {
    if (config.empty()) co_return base::Err(base::NotFound("configmap \"" + name + "\" not found"));
    auto map = std::make_shared<api::ConfigMap>();
    for (auto& [k, v] : config) (*map->mutable_data())[k] = v;
    co_return std::shared_ptr<const api::ConfigMap>(map);
  }
  base::Task<base::Result<std::shared_ptr<const api::Secret>>> Secret(base::Context, std::string,
                                                                      std::string name) override {
    co_return base::Err(base::NotFound("secret \"" + name + "\" not found"));
  }
  base::Task<base::Result<Token>> ServiceAccountToken(base::Context, PodPtr, std::string, int64_t) override {
    co_return Token{"token", 0};
  }
  NodeFacts FactsFor(const api::Pod&) override { return {.node_name = "n1"}; }
};

TEST(Manager, KindsAndErrors) {
  Directory d;
  base::testing::SimExecutor executor(1, base::testing::SimExecutor::Order::kFifo);
  base::testing::SimBlockingPool pool;
  FakeSource source;
  Manager manager(executor, pool, MachineMounter(), source, d.path());
  auto pod = std::make_shared<api::Pod>();
  pod->mutable_metadata()->set_uid("u1");
  pod->mutable_metadata()->set_namespace_("ns");
  (*pod->mutable_metadata()->mutable_labels())["app"] = "x";
  auto* e = pod->mutable_spec()->add_volumes();
  e->set_name("e");
  e->mutable_volumesource()->mutable_emptydir();
  auto* c = pod->mutable_spec()->add_volumes();
  c->set_name("c");
  c->mutable_volumesource()->mutable_configmap()->mutable_localobjectreference()->set_name("m");
  auto* h = pod->mutable_spec()->add_volumes();
  h->set_name("h");
  h->mutable_volumesource()->mutable_hostpath()->set_path(d.path());
  h->mutable_volumesource()->mutable_hostpath()->set_type("File");
  auto* n = pod->mutable_spec()->add_volumes();
  n->set_name("n");
  n->mutable_volumesource()->mutable_nfs()->set_path("/x");
  Manager::Outcome outcome;
  auto run = [&] {
    base::Spawn(executor, [](Manager& m, PodPtr p, Manager::Outcome& out) -> base::Task<void> {
      out = co_await m.SetUp(base::Context(), p);
    }(manager, pod, outcome));
    while (executor.Step()) {
    }
  };
  run();
  ASSERT_EQ(outcome.errors.size(), 3u);
  EXPECT_EQ(outcome.errors[0].status.message(), "configmap \"m\" not found");
  EXPECT_EQ(outcome.errors[1].status.message(), "hostPath type check failed: " + d.path() + " is not a file");
  EXPECT_EQ(outcome.errors[2].status.message(), "volumes of type nfs are not supported yet");
  EXPECT_TRUE(fs::is_directory(d.path() + "/u1/volumes/kubernetes.io~empty-dir/e"));
  EXPECT_TRUE(fs::exists(d.path() + "/u1/plugins/kubernetes.io~empty-dir/e/ready"));

  source.config = {{"k", "v"}};
  h->mutable_volumesource()->mutable_hostpath()->set_type("Directory");
  pod->mutable_spec()->mutable_volumes()->RemoveLast();
  run();
  ASSERT_TRUE(outcome.errors.empty());
  EXPECT_EQ(d.Read("u1/volumes/kubernetes.io~configmap/c/k"), "v");
  EXPECT_TRUE(fs::exists(d.path() + "/u1/plugins/kubernetes.io~empty-dir/wrapped_c/ready"));
  EXPECT_TRUE(outcome.mounted["c"].read_only);
  EXPECT_FALSE(outcome.mounted["e"].read_only);

  base::Spawn(executor, [](Manager& m) -> base::Task<void> { EXPECT_TRUE((co_await m.TearDown("u1")).ok()); }(manager));
  while (executor.Step()) {
  }
  EXPECT_FALSE(fs::exists(d.path() + "/u1"));
}

TEST(Mounts, PointsAndTheirEscapes) {
  EXPECT_EQ(MountPointOf("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw"), "/mnt2");
  EXPECT_EQ(MountPointOf("36 35 98:0 / /a\\040b\\011c\\134d\\012 rw - x y z"), "/a b\tc\\d\n");
  EXPECT_EQ(MountPointOf("36 35 98:0 / /odd\\04 rw"), "/odd\\04");
  EXPECT_EQ(MountPointOf("36 35"), "");
  EXPECT_TRUE(IsMountPoint("/proc"));
}

// In a mount namespace of a child: what it mounts is gone with it.
TEST(Manager, SubPaths) {
  Directory d;
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(77);
    base::testing::SimExecutor executor(1, base::testing::SimExecutor::Order::kFifo);
    base::testing::SimBlockingPool pool;
    FakeSource source;
    Manager manager(executor, pool, MachineMounter(), source, d.path());
    std::string volume = d.path() + "/u1/volumes/kubernetes.io~empty-dir/v";
    fs::create_directories(volume);
    chmod(volume.c_str(), 02777);
    if (chown(volume.c_str(), 0, 4242) != 0) _exit(77);
    std::ofstream(volume + "/file") << "text";
    fs::create_directories(d.path() + "/host");
    std::ofstream(d.path() + "/host/secret") << "secret";
    fs::create_symlink(d.path() + "/host/secret", volume + "/link");
    fs::create_symlink("file", volume + "/inner");
    std::vector<base::Result<std::string>> got;
    base::Status torn;
    base::Spawn(executor, [](Manager& m, std::string at, auto& out, base::Status& end) -> base::Task<void> {
      int i = 0;
      for (const char* path : {"new/deep", "file", "inner", "link", "file/x"})
        out.push_back(co_await m.BindSubPath("u1", {"v", at, "c", i++, path}));
      // The same again, and another thing in the same place.
      out.push_back(co_await m.BindSubPath("u1", {"v", at, "c", 0, "new/deep"}));
      out.push_back(co_await m.BindSubPath("u1", {"v", at, "c", 1, "new"}));
      end = co_await m.TearDown("u1");
    }(manager, volume, got, torn));
    struct stat deep{};
    while (executor.Step())
      if (deep.st_ino == 0) (void)stat((volume + "/new/deep").c_str(), &deep);
    bool fine = (deep.st_mode & 07777) == 02777 && deep.st_gid == 4242;
    std::string base = d.path() + "/u1/volume-subpaths/v/c/";
    const bool wanted[] = {true, true, true, false, false, true, true};
    for (size_t i = 0; i < got.size(); ++i) {
      fine = fine && got[i].has_value() == wanted[i];
      if (got[i].has_value() != wanted[i]) fprintf(stderr, "case %zu\n", i);
    }
    fine = fine && got.size() == 7 && *got[0] == base + "0" && *got[2] == base + "2" && *got[6] == base + "1";
    fine = fine && got[3].error().message() == "failed to prepare subPath for volumeMount \"v\" of container \"c\"";
    // Mounts and links go, what they lead to stays.
    fine = fine && torn.ok() && !fs::exists(d.path() + "/u1") && fs::exists(d.path() + "/host/secret");
    _exit(fine ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "mounting is not permitted here";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace kubelet::volumes
